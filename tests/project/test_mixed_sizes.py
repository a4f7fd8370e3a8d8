"""Landscape, portrait and square clips, short and long, in one project, from import to report."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from rushes.footage.split import film_of
from rushes.media.read import probe
from rushes.media.write import write_video
from rushes.progress import no_bar
from rushes.project.project import open_project
from rushes.project.recipe_data import recipe_comparisons
from rushes.project.run_evaluation import held_out_clips
from rushes.project.settings import read_settings
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.store.latents import LatentKey, LatentStore
from rushes.text_reader import parse_json
from rushes.training.loop import split

from ..projects import Rushes

SIZES = {"landscape": (24, 48), "portrait": (48, 24), "square": (32, 32)}
SHAPES = {"landscape": "9x16x32", "portrait": "9x32x16", "square": "9x16x16", "short": "5x32x16"}
SETS = (
    "backbone.sizes=[[16, 32], [32, 16], [16, 16]]",
    "backbone.height_px=16",
    "backbone.width_px=32",
    "backbone.frames=[9, 5]",
    "generate.takes=1",
    "generate.steps=1",
    "train.steps=3",
    "train.batch=3",
    "train.mirror=true",
    "train.held_out=1",
    "train.checkpoint_every=3",
    "evaluate.prompts=8",
    "evaluate.steps=1",
    "footage.eval_fraction=0.7",
)
DEFAULT = "9x16x32"


def footage(folder: Path) -> Path:
    """Three clips of each size that fill 9 frames, and one portrait clip that fills 5."""
    folder.mkdir()
    for seed, name in enumerate([*(f"{name}-{at}" for name in SIZES for at in range(3)), "portrait-short"]):
        size = SIZES[name.partition("-")[0]]
        images = np.random.default_rng(seed).integers(0, 255, (6 if "short" in name else 12, *size, 3), np.uint8)
        write_video(folder / f"{name}.mp4", images, 8.0)
        (folder / f"{name}.txt").write_text(f"noise number {seed}\n", encoding="utf-8")
    return folder


@pytest.fixture
def project(rushes: Rushes, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    init = rushes("init", folder, "--recipe", "realdpo", "--footage", footage(tmp_path / "footage"), "--full")
    assert init[0] == 0, init
    code, _, err = rushes("set", folder, *SETS)
    assert code == 0, err
    return folder


def shape_of(clip: Clip) -> str:
    name = Path(clip.source).stem
    return SHAPES["short" if "short" in name else name.partition("-")[0]]


def test_each_clip_keeps_its_shape_from_import_to_report(rushes: Rushes, project: Path) -> None:
    """Takes, latents and pairs have the shape of their clip; the report has a row for each."""
    code, out, err = rushes("preflight", project)
    assert code == 0, err
    assert "32 x 16" in out and "to 32 x 16 px, 9 frames" in out
    written = parse_json((project / "preflight.json").read_text(), project)
    counted = {f"{row['frames']}x{row['height_px']}x{row['width_px']}": row["clips"] for row in written["shapes"]}
    assert counted == {"9x16x32": 3, "5x16x32": 0, "9x32x16": 3, "5x32x16": 1, "9x16x16": 3, "5x16x16": 0}
    code, _, err = rushes("run", project)
    assert code == 0 and "3 of 3 comparisons are also mirrored" in err, err
    assert "generate: " in err and "of 32 x 16 px, 9 frames: 0.00 h" in err and "evaluate: base: " in err
    with Store.open(project) as store:
        clips = {clip.id: clip for clip in store.clips()}
        takes = store.candidates()
    (name,) = {path.name.partition("-")[0] for path in (project / "latents").glob("*.safetensors")}
    latents = LatentStore(project / "latents", name)
    for take in takes:
        frames, height, width = map(int, shape_of(clips[take.clip_id]).split("x"))
        info = probe(project / "media" / take.media[:2] / f"{take.media}.mp4")
        scale = info.height_px // height
        assert (info.frames, info.height_px, info.width_px) == (frames, height * scale, width * scale)
        shape = "" if shape_of(clips[take.clip_id]) == DEFAULT else shape_of(clips[take.clip_id])
        if take.split == "train":
            for edit, media in product(("", "mirror"), (take.media, clips[take.clip_id].media)):
                latent = latents.get(str(LatentKey(media, edit, shape=shape)))
                assert latent is not None and latent.shape[1:] == (1 + (frames - 1) // 4, height // 16, width // 16)
    rows = [json.loads(line) for line in (project / "runs" / "realdpo" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 3 and "MiB at" in rows[0]["gradients_why"]
    shapes = Counter(
        (take.height_px, take.width_px) for take in takes if take.split == "eval" and take.system == "base"
    )
    result = json.loads((project / "reports" / "realdpo.json").read_text())
    assert len(result["shapes"]) == len({(t.height_px, t.width_px, t.frames) for t in takes if t.split == "eval"})
    page = (project / "reports" / "realdpo.html").read_text()
    assert any(height > width for height, width in shapes)
    for height, width in shapes:
        assert f'width="{width}" height="{height}"' in page and f"{height} x {width} px" in page


def test_a_plan_says_hours_of_each_shape(rushes: Rushes, project: Path) -> None:
    """Shapes that no clip has take none; the longest clips take most, and all parts make up the whole."""
    assert rushes("import", project)[0] == 0
    code, out, err = rushes("plan", project, "--json", "--tflops", "1e-6")
    assert code == 0, err
    plan = json.loads(out)
    hours = {shape: row["hours"] for shape, row in plan["shapes"].items()}
    assert hours.keys() == {
        f"{h} x {w} px, {f} frames" for f, h, w in ((9, 16, 32), (9, 32, 16), (9, 16, 16), (5, 32, 16))
    }
    assert sum(hours.values()) == pytest.approx(plan["total_hours"], rel=0.01)
    assert plan["clips"] == sum(row["clips"] for row in plan["shapes"].values()) == 3


def test_a_take_of_another_shape_is_refused_by_name(rushes: Rushes, project: Path) -> None:
    """Sizes that change leave takes behind, which no pair may hold; others stay, as nothing of theirs changed."""
    for command in ("import", "generate"):
        code, _, err = rushes(command, project)
        assert code == 0, err
    with Store.open(project) as store:
        portrait = {clip.id for clip in store.clips("train") if "portrait" in clip.source}
        taken = [take for take in store.stream(Candidate) if take.clip_id in portrait]
    code, _, err = rushes("train", project, "--set", "backbone.sizes=[[16, 32], [16, 16]]")
    assert code != 0 and "takes have another shape than their clips" in err
    assert any(take.id in err for take in taken) and "the clip goes to 16 x 16 px" in err and "rushes generate" in err
    code, out, err = rushes("generate", project, "--set", "backbone.sizes=[[16, 32], [16, 16]]", "--json")
    assert code == 0 and json.loads(out)["new"] == len(taken), err
    code, _, err = rushes("train", project, "--set", "backbone.sizes=[]", "--set", "backbone.lengths=[]")
    assert code != 0 and "takes have another shape than their clips" in err and "goes to 16 x 32 px" in err, err
    assert rushes("train", project)[0] == 0  # sizes as they were: takes that were made since are of others


def test_windows_of_one_film_are_one_cluster_and_never_on_both_sides(rushes: Rushes, project: Path) -> None:
    more = (
        "footage.windows=2",
        "footage.eval_fraction=0.1",
        "backbone.frames=5",
        "backbone.height_px=16",
        "backbone.width_px=32",
    )
    footage, project = project.parent / "footage", project.parent / "windows"
    sets = [part for each in more for part in ("--set", each)]
    assert rushes("init", project, "--recipe", "sft", "--footage", footage, *sets)[0] == 0
    assert rushes("import", project)[0] == 0
    work = open_project(project, read_settings(project), no_bar)
    comparisons = recipe_comparisons(work, work.settings.train).comparisons
    films = {clip.id: film_of(clip) for clip in work.store.clips("train")}
    work.store.close()
    assert len(comparisons) > len({*films.values()}) and all(c.film == films[c.group] for c in comparisons)
    used, held_out = split(comparisons, 2)
    assert held_out and not {c.film for c in used} & {c.film for c in held_out}


def test_what_to_set_is_said_as_it_was_typed(rushes: Rushes, project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A list of lengths goes on, and is safe to paste into a shell."""
    assert rushes("preflight", project, "--set", "backbone.frames=[5, 9]")[0] == 0
    assert f"run `rushes set {project} 'backbone.frames=[5, 9]'`" in caplog.text
    code, out, err = rushes("set", project, "backbone.frames=[5, 9]")
    assert code == 0 and "backbone.frames = [5, 9]" in out, err


def test_the_first_of_each_film_is_evaluated_before_the_second(rushes: Rushes, project: Path) -> None:
    more = (
        "footage.windows=2",
        "footage.eval_fraction=0.6",
        "backbone.lengths=[5]",
        "backbone.frames=5",
        "evaluate.prompts=4",
    )
    assert rushes("set", project, *more)[0] == 0
    assert rushes("import", project)[0] == 0
    work = open_project(project, read_settings(project), no_bar)
    clips = held_out_clips(work)
    assert len({film_of(clip) for clip in clips}) == len(clips) == 4
    work.store.close()
