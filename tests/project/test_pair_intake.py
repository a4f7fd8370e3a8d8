"""A project on pairs that one has: what `rushes init --pairs` writes, and what is imported, trained on and held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rushes.files import content_hash
from rushes.formats.sides import swapped
from rushes.media.write import write_video
from rushes.recipes.dpo import Options, comparisons
from rushes.records import Candidate
from rushes.store.database import Store
from rushes.training.comparison import LatentGrid

Rushes = Callable[..., tuple[int, str, str]]
PAIRS = 6
GRID = LatentGrid(5, 4, 8.0, first_frame=False)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of better and worse videos; pairs 4 and 5 are of one prompt."""
    folders = tmp_path / "good", tmp_path / "bad"
    rng = np.random.default_rng(0)
    for folder in folders:
        folder.mkdir()
        for k in range(PAIRS):
            frames = np.repeat(rng.integers(0, 255, (17, 8, 8, 3), np.uint8), 4, 1).repeat(4, 2)
            write_video(folder / f"{k}.mp4", frames, 8)
    for k in range(PAIRS):
        (folders[0] / f"{k}.txt").write_text("A cat  asleep" if k == 4 else "a cat asleep" if k == 5 else f"dog {k}")
    return folders


def test_pairs_are_imported_and_prompts_held_out(rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert rushes("init", project, "--pairs", *sides, "--set", "footage.eval_fraction=0.4")[0] == 0
    code, out, err = rushes("import", project, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["prompts"] == 2 and 2 * (PAIRS - result["pairs"]) == len(held_out(project))
    with Store.open(project) as store:
        held = {clip.caption.casefold() for clip in store.clips("eval")}
        trained = {view.caption.casefold() for c in comparisons(store, Options(), GRID) for view in c.views}
        assert len(held) == 2 and not held & trained and store.clips("train") == ()
        assert all(clip.frames == 1 and store.media.sound(clip.media) for clip in store.clips("eval"))
        assert len(comparisons(store, Options(), GRID)) == result["pairs"]
    rows = json.loads((project / "pairs.json").read_text())["rows"]
    assert len(rows) == PAIRS and sum(row["held_out"] for row in rows) == PAIRS - result["pairs"]
    before = held_out(project)
    (sides[0] / "more.txt").write_text("a horse")
    for side, level in zip(sides, (50, 200), strict=True):
        write_video(side / "more.mp4", np.full((17, 32, 32, 3), level, np.uint8), 8)
    again = json.loads(rushes("import", project, "--json")[1])
    assert again["pairs"] + len(held_out(project)) // 2 == PAIRS + 1
    assert set(before) <= set(held_out(project))


def test_sides_of_two_sizes_are_reported_in_the_shape_that_both_are_trained_in(
    rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    """What neither would lose alone, one of them loses beside the other, and the table says so."""
    rng = np.random.default_rng(1)
    for folder, size in zip(sides, ((32, 48), (48, 32)), strict=True):
        write_video(folder / "0.mp4", rng.integers(0, 255, (17, *size, 3), np.uint8), 8)
    project, shape = tmp_path / "project", ("--set", "backbone.height_px=32", "--set", "backbone.width_px=32")
    assert rushes("init", project, "--pairs", *sides, *shape, "--set", "footage.eval_fraction=0.4")[0] == 0
    code, _, err = rushes("import", project, "--set", "backbone.sizes=[[32, 32], [32, 48], [48, 32]]")
    assert code == 0, err
    (row,) = (row for row in json.loads((project / "pairs.json").read_text())["rows"] if row["entry"] == "0")
    (left,), (right,) = row["left"]["shapes"], row["right"]["shapes"]
    assert left == right and (left["height_px"], left["width_px"]) == (32, 48)
    assert row["left"]["share"] == 0 and row["right"]["share"] == pytest.approx(5 / 9)


def held_out(project: Path) -> list[Candidate]:
    with Store.open(project) as store:
        return [row for row in store.candidates(split="eval") if row.kind == "imported"]


def test_a_table_with_one_prompt_cannot_be_split(rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [{"prompt": "a cat", "chosen": f"good/{k}.mp4", "rejected": f"bad/{k}.mp4"} for k in range(2)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert rushes("init", tmp_path / "project", "--pairs", tmp_path / "pairs.jsonl")[0] == 0
    code, _, err = rushes("import", tmp_path / "project")
    assert code == 2 and "all pairs have the same prompt" in err and "add pairs with other prompts" in err
    project = tmp_path / "project"
    assert f"`rushes set {project} footage.eval_fraction=0`, then `rushes train {project}`" in err
    code, _, err = rushes("run", project, "--set", "footage.eval_fraction=0")
    assert code == 2 and f"to train without a verdict run `rushes train {project}`" in err


def test_pairs_without_prompts_are_told_how_to_get_them(
    rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    for text in sides[0].glob("*.txt"):
        text.unlink()
    assert rushes("init", project, "--pairs", *sides)[0] == 0
    code, _, err = rushes("import", project)
    assert code == 2 and f"no pair has a prompt: `rushes set {project} footage.prompts=FILE`" in err
    assert rushes("set", project, "footage.answers=0=right")[0] == 0


def test_a_refusal_counts_pairs_of_both_sides(rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert rushes("init", project, "--pairs", *sides, "--set", "backbone.frames=9")[0] == 0
    code, _, err = rushes("import", project)
    assert code == 2 and f"none of {PAIRS} entries can be used ({PAIRS} longer" in err, err
    assert f"`rushes set {project} footage.window=first`" in err


def shards(sides: tuple[Path, Path], folder: Path, names: tuple[str, str] = ("video_w", "video_l")) -> Path:
    """The pairs of `sides` as a data set of the Hub has them, two shards with the videos in them."""
    rows = [
        {"prompt": f"dog {k}", **{name: {"bytes": (side / f"{k}.mp4").read_bytes(), "path": f"{k}.mp4"}
                                  for name, side in zip(names, sides, strict=True)}}
        for k in range(PAIRS)
    ]  # fmt: skip
    (folder / "data").mkdir(parents=True)
    for at in range(2):
        pq.write_table(pa.Table.from_pylist(rows[at::2]), folder / f"data/train-0000{at}-of-00002.parquet")
    return folder


def test_the_shards_of_a_data_set_are_pairs(rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path) -> None:
    project, hub = tmp_path / "project", shards(sides, tmp_path / "hub")
    assert rushes("init", project, "--pairs", hub)[0] == 0
    for _ in range(2):
        code, out, err = rushes("import", project, "--json")
        assert code == 0, err
        assert json.loads(out)["pairs"] + len(held_out(project)) // 2 == PAIRS
        with Store.open(project) as store:
            assert len(store.preferences()) == PAIRS and all(row.labels == (1,) for row in store.preferences())
            assert {content_hash(path) for side in sides for path in side.glob("*.mp4")} == {
                row.media for row in store.candidates()
            }
    assert not list(project.glob(".pairs-*"))
    before = (tmp_path / "project" / "pairs.json").read_text()
    assert "data/train-00001-of-00002.parquet, row 2" in before
    other = tmp_path / "other"
    assert rushes("init", other, "--set", "backbone.frames=17")[0] == 0
    code, out, err = rushes("labels", "import", other, hub, "--json")
    assert code == 0 and json.loads(out)["pairs"] == PAIRS, err
    assert "video_w won 6 of 6 pairs" in err and "left = data-train-00000-of-00002.parquet-row-0-video_w.mp4" in err


def test_columns_that_do_not_say_which_is_better_are_named_by_the_user(
    rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    hub, project = shards(sides, tmp_path / "hub", ("ours", "theirs")), tmp_path / "project"
    code, _, err = rushes("init", project, "--pairs", hub)
    assert code == 2 and err.count("\n") == 1 and not project.exists()
    assert "it has prompt, ours, theirs: assign the columns with --columns chosen=COLUMN" in err
    asked = "chosen=theirs,rejected=ours"
    assert "not a table; leave them out" in rushes("init", project, "--pairs", *sides, "--columns", asked)[2]
    assert "only for --pairs" in rushes("init", project, "--columns", asked)[2]
    assert rushes("init", project, "--pairs", hub, "--columns", asked)[0] == 0
    assert f'columns = "{asked}"' in (project / "rushes.toml").read_text()
    assert rushes("import", project)[0] == 0
    with Store.open(project) as store:
        media = {row.id: row.media for row in store.candidates()}
        winners = {media[row.left] for row in store.preferences()}
    assert winners == {content_hash(path) for path in sides[1].glob("*.mp4")}


def test_what_init_refuses(rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        code, out, err = rushes("init", tmp_path / "new", *arguments)
        assert (code, out) == (2, "") and not (tmp_path / "new").exists()
        return err

    assert "no such folder or file" in refused("--pairs", tmp_path / "nowhere")
    assert "not 3" in refused("--pairs", *sides, sides[0])
    assert "cannot be combined" in refused("--pairs", *sides, "--footage", sides[0])
    assert "only for --pairs" in refused("--prompts", sides[0])
    assert "does not train on pairs alone; use --recipe dpo" in refused("--pairs", *sides, "--recipe", "realdpo")


def test_sides_whose_names_say_the_opposite_are_refused(
    rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    good, bad = sides
    project = tmp_path / "project"
    code, _, err = rushes("init", project, "--pairs", bad, good)
    assert code == 2 and f"run `rushes init {project} --pairs {good} {bad}`" in err and not project.exists()
    assert "name two" in rushes("init", project, "--pairs", good, good)[2]
    columns = "chosen=rejected,rejected=chosen"
    (tmp_path / "t.jsonl").write_text('{"prompt": "a", "chosen": "good/0.mp4", "rejected": "bad/0.mp4"}\n')
    code, _, err = rushes("init", project, "--pairs", tmp_path / "t.jsonl", "--columns", columns)
    assert code == 2 and "give chosen=chosen,rejected=rejected" in err
    assert rushes("init", project, "--pairs", good, bad)[0] == 0
    exchanged = ("--set", f"footage.path={bad}", "--set", f"footage.rejected={good}")
    code, _, err = rushes("import", project, *exchanged)
    assert code == 2 and f"`rushes set {project} footage.path={good} footage.rejected={bad}`" in err
    code, _, err = rushes("import", project, "--set", "footage.eval_fraction=0")
    assert code == 0 and "left = good/0.mp4, right = bad/0.mp4" in err


@pytest.mark.parametrize(
    ("better", "worse", "opposite"),
    [
        ("rejected", "chosen", True),
        ("my-losers", "b", True),
        ("a", "run_good_2", True),
        ("good", "good_too", False),
        ("badger", "winnow", False),
        ("chosen", "rejected", False),
    ],
)
def test_whole_words_of_a_name_say_its_side(better: str, worse: str, opposite: bool) -> None:
    assert swapped(better, worse) is opposite


def test_settings_that_do_not_fit(rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert rushes("init", project, "--pairs", *sides)[0] == 0
    text = (project / "rushes.toml").read_text()
    assert 'kind = "pairs"' in text and 'recipe = "dpo"' in text and len(text.splitlines()) <= 25
    code, _, err = rushes("import", project, "--set", f"footage.bench={sides[0]}")
    assert code == 2 and "footage.bench: with footage.kind pairs, held-out prompts come from the pairs" in err
    assert "label.by: the world's verifier" in rushes("import", project, "--set", "label.by=world")[2]
    assert "footage.kind is pairs" in rushes("preflight", project)[2]


def test_pairs_stand_where_clips_do_in_a_plan_and_a_rehearsal(
    rushes: Rushes, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    small = ("backbone.height_px=32", "backbone.width_px=32", "backbone.frames=5", "footage.window=first")
    assert rushes("init", project, "--pairs", *sides, *(f"--set={text}" for text in small))[0] == 0
    code, _, err = rushes("plan", project)
    assert code == 2 and f"has no pairs yet; run `rushes import {project}` first" in err
    imported = json.loads(rushes("import", project, "--json")[1])
    code, out, err = rushes("plan", project, "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert (plan["clips"], plan["prompts"]) == (imported["pairs"], imported["prompts"])
    assert plan["takes"] == 0 and {"encode", "train", "evaluate"} <= plan["hours"].keys()
    code, out, err = rushes("run", project, "--rehearse")
    assert code == 0, err
    assert "every stage ran, on 4 pairs and 2 steps" in out and "generate:" not in out
