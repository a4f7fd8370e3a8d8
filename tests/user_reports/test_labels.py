"""Public reports about labels that other programs keep: what was misread there is read rightly here, or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.files import content_hash
from rushes.formats.pair_files import read_pairs
from rushes.formats.sides import tokens
from rushes.media.read import read_video
from rushes.media.write import write_video
from rushes.recipes import densedpo
from rushes.records import Candidate, Preference
from rushes.store.annotators import labels_to_train_on
from rushes.store.database import Store
from rushes.training.comparison import LatentGrid

from ..projects import Rushes

SECONDS = 2.125  # of the videos and the project: 17 frames at 8 fps
SHAPE = ("--set", "backbone.height_px=32", "--set", "backbone.width_px=32", "--set", "backbone.frames=17")


def video(
    path: Path, colour: int, seconds: float = SECONDS, turns: float = 99.0, size: tuple[int, int] = (32, 32)
) -> Path:
    """A bar that moves over a ground of one level, and back from the second `turns` on."""
    count = round(8 * seconds)
    frames = np.full((count, *size, 3), colour, np.uint8)
    for at in range(count):
        frames[at, :, (at if at < 8 * turns else 24 - at) % 24 :][:, :6] = 255 - colour
    write_video(path, frames, 8)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ours.mp4, base.mp4 and others of the same length. Do not write to it."""
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("ours", "base", "third")):
        video(folder / f"{name}.mp4", 20 + 60 * number)
    (folder / "upload/3").mkdir(parents=True)
    (folder / "upload/3/base.mp4").write_bytes((folder / "base.mp4").read_bytes())
    return folder


class Imports:
    """A project, and imports of label files into it."""

    def __init__(self, rushes: Rushes, project: Path, videos: Path) -> None:
        self.rushes, self.project, self.videos = rushes, project, videos
        assert rushes("init", project, *SHAPE)[0] == 0

    def __call__(self, form: str, rows: Any, *more: object, name: str = "") -> tuple[int, str, str]:
        """Import rows: a text as it is, a list as JSON."""
        path = self.videos / (name or f"labels{'.csv' if form == 'videoreward' else '.json'}")
        path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
        return self.rushes("labels", "import", self.project, path, "--form", form, *more)

    def ok(self, form: str, rows: Any, *more: object, name: str = "") -> tuple[dict[str, Any], str]:
        """The result of an import that must succeed, and the lines that a person sees."""
        code, out, err = self(form, rows, *more, "--json", name=name)
        assert code == 0, err
        result = json.loads(out)
        left_out = sum(count for key, count in result.items() if key.startswith("left out, "))
        assert result["entries"] == result["pairs"] + left_out
        return result, err

    def refused(self, form: str, rows: Any, *more: object, name: str = "") -> str:
        """What an import says that must be refused, with nothing stored."""
        code, out, err = self(form, rows, *more, name=name)
        assert (code, out) == (2, "") and "Traceback" not in err, err
        assert self.wins() == []
        return err

    def wins(self) -> list[tuple[str, str]]:
        """Winner and loser of each preference that holds, by the names of their files; ties as ("tie", "tie")."""
        names = {content_hash(path): path.stem for path in sorted(self.videos.glob("*.mp4"))}
        with Store.open(self.project) as store:
            media = {row.id: names.get(row.media, row.media) for row in store.candidates()}
            pairs = []
            for row in store.preferences():
                sides = (media[row.left], media[row.right])
                pairs.append({1: sides, -1: sides[::-1], 0: ("tie", "tie")}[row.labels[0]])
            return pairs

    def preferences(self) -> tuple[Preference, ...]:
        with Store.open(self.project) as store:
            return store.preferences()


@pytest.fixture
def imports(rushes: Rushes, tmp_path: Path, videos: Path) -> Imports:
    return Imports(rushes, tmp_path / "project", videos)


KEYS = {"ours": "ours.mp4", "base": "base.mp4"}


def answer(
    value: Mapping[str, object], name: str = "pw", to: str = "ours,base", kind: str = "pairwise"
) -> dict[str, Any]:
    return {"from_name": name, "to_name": to, "type": kind, "value": value}


def by(*results: dict[str, Any], who: object = 1, **more: object) -> dict[str, Any]:
    return {"completed_by": who, "result": list(results), **more}


def task(*annotations: dict[str, Any] | None, **data: str) -> dict[str, Any]:
    return {"id": 1, "data": {"prompt": "a dog runs", **(data or KEYS)}, "annotations": list(annotations)}


LEFT, RIGHT = answer({"selected": "left"}), answer({"selected": "right"})


def choice(word: str, *more: str) -> dict[str, Any]:
    return answer({"choices": [word, *more]}, "q", "ours,base", "choices")


# sides


def test_left_is_the_first_name_of_to_name(imports: Imports) -> None:
    """label-studio#5649: left and right of Pairwise were exchanged; ours is left, whatever the alphabet says."""
    result, lines = imports.ok("labelstudio", [task(by(LEFT))])
    assert imports.wins() == [("ours", "base")] and result["winners"] == {"ours": 1}
    assert "example: entry 1: left = ours.mp4, right = base.mp4 (sides: toName), ours won" in lines
    assert "answers: 'left' = left (1)" in lines


def test_sides_that_nothing_declares_are_asked_for(imports: Imports) -> None:
    """label-studio#5649: without toName and with keys that say nothing, `--left` says it."""
    undeclared = [task(by(answer({"selected": "left"}, to="pw")))]
    assert "the left video is unknown: its videos are base, ours; name the left one with --left KEY" in (
        imports.refused("labelstudio", undeclared)
    )
    assert "no video under the key 'theirs'" in imports.refused("labelstudio", undeclared, "--left", "theirs")
    imports.ok("labelstudio", undeclared, "--left", "ours")
    assert imports.wins() == [("ours", "base")]


@pytest.mark.parametrize(("left", "right"), [("video_b", "video_a"), ("right", "left"), ("clip2", "clip1")])
def test_keys_that_name_their_sides_are_believed(left: str, right: str, imports: Imports) -> None:
    """label-studio#5649: the order of the keys in the file says nothing, their words do."""
    imports.ok(
        "labelstudio", [task(by(answer({"selected": "left"}, to="pw")), **{left: "ours.mp4", right: "base.mp4"})]
    )
    assert imports.wins() == [("base", "ours")]


def test_left_does_not_turn_a_to_name_round(imports: Imports) -> None:
    """label-studio#5649: what `--left` says and `toName` denies was stored the way of `--left`, all turned."""
    text = imports.refused("labelstudio", [task(by(LEFT))], "--left", "base")
    assert "--left base contradicts its toName: toName lists ours first; leave --left out" in text
    assert "none of 1 entry can be used" in text
    turned = ("--answers", "left=right", "--answers", "right=left")
    imports.ok("labelstudio", [task(by(LEFT))], *turned[:2])
    assert imports.wins() == [("base", "ours")]
    three = task(by(choice("ref")), **KEYS, ref="third.mp4")
    assert (
        "more than two videos: the right one is unknown: base, ref beside ours; keep two videos in each task"
        in imports("labelstudio", json.dumps([three]).replace("ours,base", "ours"), "--left", "ours")[2]
    )


def test_meanings_that_fit_no_answer_are_refused(imports: Imports) -> None:
    """label-studio#5649: of a meaning with a slip of the pen nothing was said, and the table's own was stored."""
    text = imports.refused("labelstudio", [task(by(LEFT))], "--answers", "lfet=right")
    assert "--answers 'lfet': " in text and "has no such answer; it has 'left'; write one" in text
    text = imports.refused("labelstudio", [task(by(LEFT))], "--answers", "left=right", "--answers", "Left=left")
    assert "--answers 'Left=left': an earlier --answers gives this answer another meaning; keep one" in text


def test_one_side_is_not_turned_round_alone(imports: Imports) -> None:
    """VideoDPO's label and Pairwise: `--answers 0=right` alone had both labels say right."""
    tasks = [task(by(LEFT)), task(by(RIGHT), prompt="q", **KEYS)]
    text = imports.refused("labelstudio", tasks, "--answers", "left=right")
    assert "also has 'right', so one side would be swapped and the other not; give its meaning with --answers" in text
    imports.ok("labelstudio", tasks, "--answers", "left=right", "--answers", "right=left")
    assert imports.wins() == [("base", "ours"), ("ours", "base")]


def test_an_answer_that_negates_is_refused_until_its_meaning_is_given(imports: Imports) -> None:
    """VideoDPO-style inversions, label-studio#5649: "Left is worse" counted for the left one."""
    tasks = [
        task(by(choice("Left is worse"))),
        task(by(choice("Left is worse"), who=2)),
        task(by(choice("A > B"), who=3)),
    ]
    text = imports.refused("labelstudio", tasks)
    assert "3 answers without a known meaning: 'Left is worse' (2, first at entry 1), 'A > B' (1, first at" in text
    assert '--answers "Left is worse=right"' in text
    imports.ok("labelstudio", tasks, "--answers", "Left is worse=right", "--answers", "A > B=unjudged")
    assert imports.wins()[:2] == [("base", "ours")] * 2 and imports.preferences()[2].unjudged == (0,)
    assert "write an answer and what it means" in imports("labelstudio", tasks, "--answers", "Left is worse=bad")[2]


def test_an_answer_that_the_names_contradict_is_refused(imports: Imports) -> None:
    """label-studio#5649: "1" means the first of two, and of video0 and video1 the second."""
    numbers = {"video0": "ours.mp4", "video1": "base.mp4"}
    text = imports.refused("labelstudio", [task(by(answer({"choices": ["1"]}, to="pw", kind="choices")), **numbers)])
    assert "1 answer without a known meaning: '1' (1, first at entry 1)" in text
    letters = [task(by(answer({"choices": ["Video B"]}, "q", "b,a", "choices")), a="ours.mp4", b="base.mp4")]
    assert "the left video is unknown" in imports.refused("labelstudio", letters)  # toName and keys differ
    assert "'Video B' (1, first" in imports.refused("labelstudio", letters, "--left", "b")
    imports.ok("labelstudio", letters, "--left", "b", "--answers", "Video B=left")
    assert imports.wins() == [("base", "ours")]


@pytest.mark.parametrize("name", ["tie", "unjudged", "right"])
def test_a_side_may_be_called_as_an_answer_is(name: str, imports: Imports) -> None:
    """label-studio#5649, its kind: a video under the key `tie` that won was shown as a tie, beside true ties."""
    sides = f"{name},base"
    tasks = [
        {"data": {name: "ours.mp4", "base": "base.mp4", "prompt": f"p{number}"},
         "annotations": [{"result": [answer({"selected": word}, to=sides)]}]}
        for number, word in enumerate(("left", "left", "about the same"))
    ]  # fmt: skip
    result, lines = imports.ok("labelstudio", tasks)
    assert result["winners"] == {f"'{name}' (left)": 2, "tie": 1}
    assert f"'{name}' (left) won 2 of 3 pairs" in lines and "tie in 1 of 3 pairs" in lines
    assert imports.wins() == [("ours", "base"), ("ours", "base"), ("tie", "tie")]
    tasks[0]["annotations"] = [{"result": [answer({"selected": name}, to=sides)]}]
    assert f"without a known meaning: {name!r} (1, first at entry 1)" in imports(*("labelstudio", tasks))[2]


def test_who_cannot_tell_has_no_vote_and_ends_nothing(imports: Imports) -> None:
    """label-studio#5649: a single "Can't tell" in a thousand ended the import."""
    result, _ = imports.ok("labelstudio", [task(by(choice("left"))), task(by(choice("Can\u2019t tell"), who=2))])
    assert (result["labels"], result["unjudged"], result["winners"]) == (2, 1, {"ours": 1, "unjudged": 1})
    assert [row.unjudged for row in imports.preferences()] == [(), (0,)]


def test_two_answers_to_one_question_are_left_out(imports: Imports) -> None:
    """label-studio#5649: of two choices the first was taken and the other dropped."""
    result, lines = imports.ok("labelstudio", [task(by(choice("left", "right"))), task(by(LEFT, who=2))])
    assert result["left out, two answers to one question"] == 1 and imports.wins() == [("ours", "base")]
    assert "left out, 1: entry 1: two answers to one question: q is left and right" in lines


def test_a_correction_replaces_what_its_person_answered_before(imports: Imports) -> None:
    """label-studio#5649: a person's second annotation was kept beside the first, in one file and over two."""
    old, new = by(LEFT, created_at="2024-01-01T00:00:00Z"), by(RIGHT, created_at="2024-01-02T00:00:00Z")
    result, _ = imports.ok("labelstudio", [task(new, old)])
    assert imports.wins() == [("base", "ours")]
    assert result["left out, replaced by the person's newer annotation"] == 1
    result, _ = imports.ok("labelstudio", [task(by(LEFT))])
    assert imports.wins() == [("ours", "base")] and result["replaced"] == 1
    result, _ = imports.ok("labelstudio", [task(by(LEFT))])
    assert (result["replaced"], result["new_rows"]) == (0, 0)


@pytest.mark.parametrize("names", [("stars_left", "stars_right"), ("rate_ours", "rate_base")])
def test_stars_of_both_sides_are_a_preference(names: tuple[str, str], imports: Imports) -> None:
    """label-studio#5649: star ratings were counted as empty annotations, with exit 0."""
    stars = [answer({"rating": n}, name, key, "rating") for n, name, key in zip((2, 4), names, KEYS, strict=True)]
    result, _ = imports.ok("labelstudio", [task(by(*stars)), task(by(stars[0], who=2))])
    assert imports.wins() == [("base", "ours")]
    assert result["left out, only one side has a rating"] == 1


def test_json_min_is_named(imports: Imports) -> None:
    """label-studio#5649: JSON-MIN was refused as data with no videos."""
    rows = [{**KEYS, "prompt": "a dog", "pw": "left", "id": 1, "annotator": 1}]
    assert "JSON-MIN export" in imports.refused("labelstudio", rows)


@pytest.mark.parametrize("form", ["labelstudio", "trl"])
def test_json_that_is_too_deep_is_refused(form: str, imports: Imports) -> None:
    """label-studio#5649, its kind: a nested file was a traceback (RecursionError)."""
    text = imports.refused(form, "[" * 200_000)
    assert "labels.json: not JSON, save it as a list of objects: the JSON is nested too deeply" in text


def test_upload_paths_are_decoded_and_odd_annotations_are_counted(imports: Imports) -> None:
    """label-studio#5649: `%73` in a path was no such file; an annotation that is null was a traceback."""
    data = {"ours": "/data/local-files/?d=ours.mp4", "base": "/data/upload/3/ba%73e.mp4"}
    null = {"from_name": "pw", "value": None}
    result, _ = imports.ok("labelstudio", [task(by(LEFT), None, by(null, who=3), **data)])
    assert imports.wins() == [("ours", "base")]
    assert result["left out, cancelled or empty annotation"] == 2


def test_a_dry_run_says_all_and_stores_nothing(imports: Imports) -> None:
    """label-studio#5649: what was understood could be seen in the database alone."""
    result, lines = imports.ok("labelstudio", [task(by(LEFT))], "--dry-run")
    assert result["new_rows"] == 0 and "ours won 1 of 1 pairs" in lines and imports.wins() == []
    with Store.open(imports.project) as store:
        assert not store.candidates() and not list((imports.project / "media").iterdir())


def test_label_0_of_videodpo_is_video1_and_true_is_no_label(imports: Imports) -> None:
    """VideoDPO's dump_VPD_metadata: the winner is video1 and the label 0; `true` passed as 1."""
    videos = [{"basic": {"clip_path": "ours.mp4"}}, {"basic": {"clip_path": "base.mp4"}}]
    (imports.videos / "metadata.json").write_text(json.dumps(videos))
    pairs = [{"video1": 0, "video2": 1, "label": label, "frame_caption": ["p"]} for label in (0, True)]
    result, lines = imports.ok("videodpo", pairs)
    assert imports.wins() == [("ours", "base")] and "sides: video1 is left" in lines
    assert result["entries"] == 2


JUNK = [
    *("null", "true", "0", "-3", "1e999", "NaN", '""', '"left"', '"\\u001b[2J"'),
    *('"\\ud800"', "[]", "[null]", "{}", "[{}]"),
]


@given(st.data())
@settings(max_examples=100)
def test_whatever_an_export_holds_is_read_or_counted(data: st.DataObject) -> None:
    """label-studio#5649: exports with a place of odd content ended in a traceback."""
    stars = [answer({"rating": n}, name, key, "rating") for n, name, key in zip((2, 4), ("l", "r"), KEYS, strict=True)]
    tasks = [task(by(LEFT), by(choice("can't tell"), who={"id": 3}), by(*stars, who=2)), task(by(RIGHT))]
    tree = json.loads(json.dumps(tasks))
    for _ in range(data.draw(st.integers(1, 3))):
        at: Any = tree
        while True:  # down to a place, and something else there
            keys = list(at) if isinstance(at, dict) else range(len(at))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if not isinstance(at[key], dict | list) or data.draw(st.integers(0, 4)) == 0:
                at[key] = json.loads(data.draw(st.sampled_from(JUNK)))
                break
            at = at[key]
    with TemporaryDirectory() as folder:
        for name in KEYS.values():
            (Path(folder) / name).touch()
        path = Path(folder) / "export.json"
        path.write_text(json.dumps(tree), encoding="utf-8")
        try:
            pairs = read_pairs(path, "labelstudio")
        except ValueError as error:
            assert str(path) in str(error) and "\x1b" not in str(error)
            return
    assert pairs.entries == len(pairs.pairs) + pairs.left_out.total() and set(pairs.examples) == set(pairs.left_out)
    assert all(text.isprintable() for text in pairs.examples.values())


# equal and contradictory pairs


def pair(chosen: str = "ours.mp4", rejected: str = "base.mp4", **more: object) -> dict[str, Any]:
    return {"prompt": "p", "chosen": chosen, "rejected": rejected, **more}


def test_a_video_does_not_win_over_itself(imports: Imports) -> None:
    """owl#592: chosen equal to rejected became a preference, also under another name."""
    result, _ = imports.ok("trl", [pair(), pair("ours.mp4", "ours.mp4"), pair("base.mp4", "upload/3/base.mp4")])
    assert imports.wins() == [("ours", "base")]
    assert result["left out, both sides are the same video"] == 2
    with Store.open(imports.project) as store:
        assert len(store.candidates()) == 2


def test_both_ways_and_twice(imports: Imports) -> None:
    """DiffusionDPO#10: the same two videos both ways were both kept; a row that comes again counts once."""
    both = [pair(), pair("base.mp4", "ours.mp4")]
    result, lines = imports.ok("trl", [*both, pair("third.mp4"), pair("third.mp4")])
    assert imports.wins() == [("third", "base")]
    assert result["left out, contradicts another entry of the same pair"] == 2
    assert result["left out, the same pair and label twice"] == 1
    assert "contradicts another entry of the same pair: entry 1, entry 2" in lines


def test_scores_that_say_otherwise_leave_a_row_out(imports: Imports) -> None:
    """DiffusionDPO#10: with score_chosen below score_rejected the chosen one won."""
    rows = [pair(score_chosen=1.0, score_rejected=4.5), pair("third.mp4", score_chosen=3, score_rejected=1)]
    result, _ = imports.ok("trl", rows)
    assert imports.wins() == [("third", "base")]
    assert result["left out, score_chosen is not above score_rejected"] == 1


# rows of TRL


def test_conversations_and_a_list_in_jsonl_are_read(imports: Imports) -> None:
    """owl#592: conversational rows had "no prompt; the columns are prompt, ..."; a JSON array in .jsonl likewise."""
    conversation = {
        "prompt": [{"role": "user", "content": "p"}],
        "chosen": [{"role": "assistant", "content": "ours.mp4"}],
        "rejected": [{"role": "assistant", "content": [{"type": "video", "video": "base.mp4"}]}],
    }
    imports.ok("trl", json.dumps(conversation) + "\n", name="chat.jsonl")
    imports.ok("trl", [pair("third.mp4")], name="list.jsonl")
    imports.ok("trl", json.dumps(pair("third.mp4", "ours.mp4")) + "\n{}\n", name="lines.json")
    assert imports.wins() == [("ours", "base"), ("third", "base"), ("third", "ours")]


def test_a_bad_row_costs_one_row_and_says_what_it_lacks(imports: Imports) -> None:
    """owl#592: an address, a NaN prompt or a missing file ended the import, with messages that did not fit."""
    bad = [
        pair("https://x.y/a.mp4"), pair("nothing.mp4"), pair(prompt=float("nan")), {"prompt": "p"}, "text",
        pair("labels.json"),
    ]  # fmt: skip
    result, lines = imports.ok("trl", [pair(), *bad])
    assert (result["entries"], result["pairs"]) == (7, 1)
    assert "entry 2: a web address, not a file: 'https://x.y/a.mp4'; download" in lines
    assert "entry 4: prompt is not text: nan" in lines and "entry 5: has no chosen: it has prompt" in lines
    assert "none of 6 entries can be used" in imports("trl", bad)[2]


def test_what_is_a_video_is_decided_by_its_content(imports: Imports, tmp_path: Path) -> None:
    """Player#232: .mpg and other suffixes were refused in tables of pairs."""
    (imports.videos / "odd.mpg").write_bytes((imports.videos / "third.mp4").read_bytes())
    imports.ok("trl", [pair("odd.mpg")])
    assert imports.wins() == [("third", "base")]


def test_a_row_with_another_number_of_cells_is_left_out(imports: Imports) -> None:
    """mindone#133: a prompt with an unquoted comma shifted the answers."""
    header = "path_A,path_B,prompt,Overall\n"
    rows = "ours.mp4,base.mp4,a dog,B\nours.mp4,third.mp4,a dog, running,A\nours.mp4,third.mp4,a\n"
    result, lines = imports.ok("videoreward", header + rows)
    assert imports.wins() == [("base", "ours")]
    assert (
        result["left out, the row has more or fewer cells than the header"] == 2
        and "line 3: the row has more or fewer cells" in lines
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("win,loss\nloss,win\n", "line 1: 'win,loss' is not a valid vote; write win, tie or loss"),
        ("prompt,vote,vote\np,win,loss\n", "two columns have the name 'vote'; rename or delete one"),
        ("prompt,vote\n,win\n", "line 2: its prompt is empty; fill it in"),
        ("rater,vote\nann,win\n", "its columns are rater, vote; a table of votes needs the columns prompt and vote"),
    ],
)
def test_what_stands_beside_a_vote_is_not_passed_over(text: str, words: str, rushes: Rushes, tmp_path: Path) -> None:
    """video2dataset#117, of votes: the second cell of a line was dropped, votes without a prompt were of one."""
    path = tmp_path / "votes.csv"
    path.write_text(text)
    code, out, err = rushes("stop", path)
    assert (code, out) == (2, "") and words in err
    path.write_bytes("Prompt;Vote\np;win\nq;loss\n".encode("utf-16"))
    assert "2 prompts or votes" in rushes("stop", path)[1]


def test_votes_and_scores_with_a_comma_too_many_are_refused_with_their_line(rushes: Rushes, imports: Imports) -> None:
    """video2dataset#117: cells behind the header's last were dropped, so that prompts were cut at the comma."""
    votes = imports.videos / "votes.csv"
    votes.write_text("vote,prompt\nwin,a dog\nwin,a dog, running\n")
    code, _, err = rushes("stop", votes)
    assert code == 2 and "line 3: 3 cells for 2 columns; quote cells that hold commas" in err
    scores = imports.videos / "scores.csv"
    scores.write_text("video,score,rater\nours.mp4,3,ada,7\n")
    code, _, err = rushes("import", imports.project, "--scores", scores)
    assert code == 2 and "line 2: 4 cells for 3 columns; quote cells that hold commas" in err


def test_a_pair_without_a_prompt_is_no_pair_of_the_empty_prompt(imports: Imports) -> None:
    """label-studio#5649: a task without a prompt was stored under the empty one, in one group with all others."""
    tasks = [task(by(LEFT)), {**task(by(LEFT)), "data": KEYS}]
    result, lines = imports.ok("labelstudio", tasks)
    assert result["left out, has no prompt"] == 1 and "set footage.allow_empty_captions to true" in lines


# what was judged, and what is trained on


@pytest.fixture(scope="module")
def long_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of six seconds, where the model has clips of 2.1; late.mp4 differs from a.mp4 after three seconds."""
    folder = tmp_path_factory.mktemp("long")
    video(folder / "a.mp4", 20, 6)
    video(folder / "late.mp4", 20, 6, turns=3)
    video(folder / "b.mp4", 90, 6)
    video(folder / "short.mp4", 90, 1)
    video(folder / "wide.mp4", 90, 6, size=(32, 64))
    still = np.full((48, 32, 32, 3), 60, np.uint8)
    still[20:29] = np.random.default_rng(0).integers(0, 255, (9, 32, 32, 3))
    write_video(folder / "moves.mp4", still, 8)
    return folder


@pytest.fixture
def long(rushes: Rushes, tmp_path: Path, long_videos: Path) -> Imports:
    return Imports(rushes, tmp_path / "project", long_videos)


def test_a_label_of_six_seconds_is_not_one_of_the_first_two(long: Imports) -> None:
    """OpenRLHF#1311: pairs of 6 s were trained on by their first 2.1 s, with no word."""
    text = long.refused("trl", [pair("a.mp4", "b.mp4")])
    assert "longer than the 2.12 s that are trained on, while its label is about the whole video" in text
    assert "a.mp4: 6.00 s; " in text and "footage.window=first" in text


@pytest.mark.parametrize("window", ["first", "last", "best-motion"])
def test_a_window_is_cut_out_of_both_sides(window: str, long: Imports) -> None:
    """OpenRLHF#1311: the part that the label is taken to hold for is what is stored and trained on."""
    result, _ = long.ok("trl", [pair("a.mp4", "moves.mp4")], "--window", window)
    with Store.open(long.project) as store:
        assert [(row.frames, row.fps) for row in store.candidates()] == [(17, 8.0)] * 2
        (preference,) = store.preferences()
        loser = store.get(preference.right)
        assert isinstance(loser, Candidate)
        frames = read_video(store.media_path(loser.media)).frames_FHWC.astype(float)
    moving = [at for at in range(1, 17) if abs(frames[at] - frames[at - 1]).mean() > 10]
    assert bool(moving) == (window == "best-motion") and result["trimmed"] == 0


def test_another_window_of_a_pair_replaces_the_one_before(long: Imports) -> None:
    """OpenRLHF#1311: one label stood for the first and for the last seconds of a pair, and counted twice."""
    for window, replaced in (("first", 0), ("last", 1), ("first", 1), ("first", 0)):
        result, _ = long.ok("trl", [pair("a.mp4", "moves.mp4")], "--window", window)
        (preference,) = long.preferences()
        assert (result["replaced"], preference.labels) == (replaced, (1,))
    long.ok("trl", [pair("moves.mp4", "a.mp4")], "--window", "last")
    assert len(long.preferences()) == 1


def test_pairs_that_are_equal_where_they_are_trained_on_are_left_out(long: Imports) -> None:
    """OpenRLHF#1311: a pair that differs only later trained at ln 2, with no word."""
    rows = [pair("a.mp4", "late.mp4"), pair("a.mp4", "b.mp4")]
    result, lines = long.ok("trl", rows, "--window", "first")
    assert result["pairs"] == 1 and result["left out, both sides are identical in the 2.12 s that are trained on"] == 1
    assert "a.mp4 and late.mp4" in lines
    assert long.ok("trl", rows, "--window", "last")[0]["pairs"] == 2


def test_a_clip_that_is_too_short_costs_its_pair_and_what_is_cropped_is_counted(long: Imports) -> None:
    """rlhf-book#504: a rejected clip of 1 s ended the training with the name of a hash."""
    rows = [pair("a.mp4", "short.mp4"), pair("a.mp4", "wide.mp4")]
    result, lines = long.ok("trl", rows, "--window", "last")
    assert (result["pairs"], result["cropped"]) == (1, 1) and "cropped: 1 video; pairs.json" in lines
    short, wide = json.loads((long.project / "pairs.json").read_text())["rows"]
    assert short["entry"] == "entry 1" and "short.mp4: 1.00 s" in short["left_out"]
    assert wide["right"]["share"] == 0.5 and not wide["left"]["share"]
    assert "too short for clips of 17 frames at 8 fps" in lines and "short.mp4: 1.00 s; lower backbone.frames" in lines


def test_training_holds_labels_to_settings_that_changed_since_the_import(long: Imports) -> None:
    """OpenRLHF#1311, rlhf-book#504: labels of 6 s were trained on by what the settings left of them."""
    longer = ("--set", "backbone.frames=45")
    long.ok("trl", [pair("a.mp4", "b.mp4"), pair("b.mp4", "late.mp4")], *longer)
    with Store.open(long.project) as store:
        counts = [
            densedpo.account(store, densedpo.Options(), LatentGrid(1 + (n - 1) // 4, 4, 8.0, first_frame=False))
            for n in (17, 45, 61)
        ]
        grid = LatentGrid(5, 4, 8.0, first_frame=False)
        assert not densedpo.comparisons(store, densedpo.Options(), grid)
    assert counts == [{"longer_than_trained_on": 2}, {"pairs": 2}, {"too_short": 2}]


def test_labels_of_other_segments_replace_and_are_not_mixed(rushes: Rushes, tmp_path: Path, videos: Path) -> None:
    """DenseDPO (arXiv 2506.03517): labelled again in finer segments, a pair became two comparisons."""
    project = tmp_path / "project"
    assert rushes("init", project)[0] == 0
    shape: dict[str, Any] = {"width_px": 32, "height_px": 32, "frames": 17, "fps": 8.0}
    with Store.open(project) as store:
        for seed, name in enumerate(("ours", "third")):
            made_by: dict[str, Any] = {"clip_id": "", "system": "base", "made_by": "w", "seed": seed, **shape}
            media = store.put_media(videos / f"{name}.mp4")
            store.add([Candidate(name, media, "p", kind="guided", group="g", **made_by)])
    metric = ("label", project, "--by", "metric", "--set", "label.metric=motion_speed")
    for segments in ("label.whole=true", "label.segment_s=1.0"):
        assert rushes(*metric, "--set", segments)[0] == 0
    grid = LatentGrid(5, 4, 8.0, first_frame=False)

    def lengths(**options: Any) -> list[float | None]:
        return [row.segment_s for row in labels_to_train_on(store, **options)]

    with Store.open(project) as store:
        assert [row.segment_s for row in store.preferences()] == [None, 1.0]
        assert lengths() == [1.0]
    assert rushes(*metric, "--set", "label.whole=true")[0] == 0 and rushes(*metric, "--set", "label.whole=true")[0] == 0
    with Store.open(project) as store:
        assert lengths() == [None] and len(store.preferences()) == 3  # asked for again, it is the newest again
    assert rushes(*metric, "--set", "label.segment_s=1.0")[0] == 0
    with Store.open(project) as store:
        assert lengths() == [1.0] and lengths(segment_s="whole") == [None] and lengths(segment_s=0.5) == []
        assert densedpo.account(store, densedpo.Options(), grid)["older_labels_or_of_other_segments"] == 3
        first = replace(store.preferences()[0], labels=(1,), strength=None, by_slot=())
        store.add([replace(first, id="ada", judge="human:ada"), replace(first, id="vlm", judge="vlm", segment_s=2.0)])
        options = densedpo.Options.model_validate({"segment_s": 2.0})
        with pytest.raises(ValueError, match=r"human \(1 pair\)\), which are not mixed"):
            densedpo.comparisons(store, densedpo.Options(), grid)
        mixed = densedpo.account(store, densedpo.Options(least_labelled=0, judge="all"), grid)
        (row,) = densedpo.comparisons(store, options, grid)
    assert row.id == "vlm"
    assert (mixed["labels_of_whole_clips"], mixed["labels_of_2_s"]) == (1, 1)


# kinds of the above that were still open


def test_questions_of_videoreward_in_other_letters(imports: Imports) -> None:
    """label-studio#5649, its kind: a column `overall` was passed over without a word, and VQ told as the winner."""
    header = "path_A,path_B,prompt,VQ,overall"
    result, lines = imports.ok("videoreward", f"{header}\nours.mp4,base.mp4,a dog,B,A\n")
    assert (result["labels"], result["winners"]) == (2, {"A": 1}) and "A won 1 of 1 pairs" in lines
    twice = f"{header},Overall\nours.mp4,base.mp4,a dog,B,A,B\n"
    code, _, err = imports("videoreward", twice)
    assert code == 2 and "two columns for one question: Overall; delete one" in err


def test_a_question_for_the_worse_side_is_no_vote_for_it(imports: Imports) -> None:
    """label-studio#5649, its kind: "left" to `which_is_worse` was told as "ours won", and stored so."""
    worse = answer({"choices": ["left"]}, "which_is_worse", "ours,base", "choices")
    err = imports.refused("labelstudio", [task(by(worse))])
    assert "entry 1: the question asks for the worse side: which_is_worse; delete its results" in err
    result, _ = imports.ok("labelstudio", [task(by(worse)), task(by(LEFT))])
    assert imports.wins() == [("ours", "base")] and result["left out, the question asks for the worse side"] == 1


def test_people_whose_names_differ_in_signs_are_two(imports: Imports) -> None:
    """label-studio#5649, its kind: a vote was lost as "replaced by the person's newer annotation" of another person."""
    people = [by(LEFT, who={"email": "ann.lee@x.org"}), by(RIGHT, who={"email": "ann-lee@x.org"})]
    result, _ = imports.ok("labelstudio", [task(*people)])
    assert (result["pairs"], result["winners"]) == (2, {"ours": 1, "base": 1})
    assert len({row.judge for row in imports.preferences()}) == 2


def rated(name: str, ours: int, base: int) -> dict[str, Any]:
    return task(by(*(answer({"rating": n}, name, to, "rating") for to, n in (("ours", ours), ("base", base)))))


@pytest.mark.parametrize("name", ["artefacts", "temporal_flickering", "Distortion", "notRealistic", "defects_2"])
def test_of_faults_more_is_not_better(name: str, imports: Imports) -> None:
    """label-studio#5649, its kind: of two videos that with more artefacts was the winner."""
    text = imports.refused("labelstudio", [rated(name, 1, 5)])
    question, reason = "_".join(tokens(name)), "a higher rating may mean more faults"
    assert f'entry 1: {reason}: {name}; add --answers "{question}=lower"' in text
    result, _ = imports.ok("labelstudio", [rated(name, 1, 5), rated("stars", 4, 2)], "--dry-run")
    assert result[f"left out, {reason}"] == result["pairs"] == 1
    lines = imports.ok("labelstudio", [rated(name, 1, 5)], "--answers", f"{name}=lower")[1]
    assert imports.wins() == [("ours", "base")] and "answers: 'lower rating' = right (1)" in lines
    imports.ok("labelstudio", [rated(name, 1, 5)], "--answers", f"{question}=higher", "--dry-run")


def test_a_direction_that_fits_nothing_is_refused(imports: Imports) -> None:
    """label-studio#5649, its kind: a slip of the pen in a direction, two of them, and one for an answer."""
    flicker = [rated("flicker", 1, 5)]
    text = imports.refused("labelstudio", [rated("stars", 1, 5)], "--answers", "flickr=lower")
    assert "--answers 'flickr': " in text and "has no such question; it has 'overall', 'stars'" in text
    text = imports.refused("labelstudio", flicker, "--answers", "flicker=lower", "--answers", "Flicker=higher")
    assert "--answers 'Flicker=higher': the question has both lower and higher; keep one" in text
    picked = [task(by(answer({"choices": ["left"]}, "fewer_glitches", "ours,base", "choices")))]
    assert 'if people picked the better side, add --answers "fewer_glitches=higher"' in (
        imports.refused("labelstudio", picked)
    )
    text = imports.refused("labelstudio", picked, "--answers", "fewer_glitches=lower")
    assert "lower is set for a question without ratings: fewer_glitches; give each" in text
    imports.ok("labelstudio", picked, "--answers", "fewer_glitches=higher")
    assert imports.wins() == [("ours", "base")]


@pytest.mark.parametrize("name", ["labels.tsv", "ours.mp4", "labels"])
def test_files_of_other_kinds_are_told_the_forms(name: str, imports: Imports) -> None:
    """OpenRLHF#1311, its kind: a table with tabs or a video was "not JSON", or to be saved as UTF-8."""
    path = imports.videos / name
    if not path.exists():
        path.write_bytes(b"prompt\tchosen\trejected\n")
    code, out, err = imports.rushes("labels", "import", imports.project, path, "--form", "trl")
    kind = f"a file of {path.suffix}" if path.suffix else "a file that is not JSON"
    assert (code, out) == (2, "")
    way = "save the trl preferences as .parquet, .jsonl, .json or .csv and name that file"
    assert err == f"rushes: {path}: {kind} cannot be read; {way}\n"


def test_scores_in_a_table_are_numbers(imports: Imports) -> None:
    """DiffusionDPO#10, its kind: cells of a CSV are texts, so rows with scores of both were "no number"."""
    rows = [("p", 5, 1), ("q", "0.5", "1.5"), ("r", "", ""), ("s", "1_0", "1"), ("t", "nan", "1"), ("u", "2", "")]
    text = "".join(f"{prompt},ours.mp4,base.mp4,{high},{low}\n" for prompt, high, low in rows)
    result, _ = imports.ok("trl", f"prompt,chosen,rejected,score_chosen,score_rejected\n{text}", name="trl.csv")
    assert imports.wins() == [("ours", "base")] * 2
    assert result["left out, score_chosen is not above score_rejected"] == 1
    assert result["left out, score_chosen or score_rejected is not a number"] == 3


@pytest.mark.parametrize("review", [{"last_action": "rejected"}, {"reviews": [{"accepted": False}]}])
def test_an_annotation_that_its_reviewer_rejected_is_no_label(review: dict[str, Any], imports: Imports) -> None:
    """label-studio#5649's kind: an export holds what a reviewer called wrong. Was: counted as any other, exit 0."""
    rows = [task(by(answer({"selected": "left"}), **review), by(answer({"selected": "right"}), who=2))]
    result, _ = imports.ok("labelstudio", rows)
    assert imports.wins() == [("base", "ours")] and result["left out, rejected by its reviewer"] == 1


def test_a_review_that_accepts_after_all_leaves_the_label(imports: Imports) -> None:
    """The last review holds, whatever its place."""
    reviews = [
        {"accepted": True, "created_at": "2024-01-02T08:00:00Z"},
        {"accepted": False, "created_at": "2024-01-01T08:00:00Z"},
    ]
    imports.ok("labelstudio", [task(by(answer({"selected": "left"}), reviews=reviews))])
    assert imports.wins() == [("ours", "base")]


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("2024-01-01T10:00:00.500000Z", "2024-01-01T10:00:00Z"),
        ("2024-01-01T09:30:00-02:00", "2024-01-01T10:00:00Z"),
        ("2024-01-01 10:00:01+00:00", "2024-01-01T10:00:00Z"),
    ],
)
def test_the_newest_annotation_is_so_by_time_and_not_by_letters(newer: str, older: str, imports: Imports) -> None:
    """label-studio#5649's kind: times are written in several ways. Was: the older answer stored, exit 0."""
    rows = [
        task(by(answer({"selected": "left"}), updated_at=newer), by(answer({"selected": "right"}), updated_at=older))
    ]
    imports.ok("labelstudio", rows)
    assert imports.wins() == [("ours", "base")]


def test_two_texts_of_which_nobody_says_which_is_the_prompt(imports: Imports) -> None:
    """An order that nobody declared: `text` was the prompt, which is often the question that annotators see."""
    row = task(by(answer({"selected": "left"})))
    row["data"] = {"text": "Which is better?", "caption": "a dog runs", **KEYS}
    assert "rename the right one to prompt" in imports.refused("labelstudio", [row])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"chosen_score": 1, "rejected_score": 5}, "chosen_score is not above rejected_score: 1 and 5"),
        ({"chosen-rating": 2.0, "rejected-rating": 4.0}, "chosen-rating is not above rejected-rating: 2 and 4"),
        ({"reward_chosen": 0.5, "reward_rejected": 0.5}, "reward_chosen is not above reward_rejected"),
        ({"chosen_score": 1}, "chosen_score or score_rejected is not a number"),
        ({"margin": -2}, "its margin is negative: -2"),
    ],
)
def test_scores_say_otherwise_under_any_name(more: dict[str, Any], reason: str, imports: Imports) -> None:
    """DiffusionDPO#10's kind: other programs call score_chosen otherwise. Was: chosen won, exit 0."""
    row = {"prompt": "a dog", "chosen": "ours.mp4", "rejected": "base.mp4"}
    assert reason in imports.refused("trl", [{**row, **more}])
