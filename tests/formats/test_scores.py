from __future__ import annotations

import json
from pathlib import Path

import pytest

from rushes.files import content_hash
from rushes.formats.scores import ScoresImported, import_scores, read_votes
from rushes.store.database import Store

from ..store.conftest import RowMaker


@pytest.fixture
def videos(tmp_path: Path, store: Store, make: RowMaker) -> list[Path]:
    """Three files whose content is a clip's and two takes'."""
    paths = [tmp_path / f"{number}.mp4" for number in (1, 2, 10)]
    for path in paths:
        path.write_bytes(path.name.encode())
    media = [content_hash(path) for path in paths]
    store.add(
        [make.clip("c", media=media[0]), *(make.candidate(id, media=m) for id, m in zip("kl", media[1:], strict=True))]
    )
    return paths


def put(folder: Path, entries: object, name: str = "scores.json") -> Path:
    path = folder / name
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


def scores(store: Store) -> dict[tuple[str, str], float]:
    return {(s.subject, s.measured_by): s.value for s in store.scores(metric="human")}


FORMS = {
    "scores.json": """[{"video": "1.mp4", "score": "9"},
        {"video": "2.mp4", "score": 10}, {"video": "10.mp4", "score": "7.25"}]""",
    "scores.jsonl": """{"video": "1.mp4", "score": 9}
{"video": "2.mp4", "score": "10"}

{"video": "10.mp4", "score": 7.25}
""",
    "scores.csv": "video,score\n1.mp4,9\n2.mp4,10\n10.mp4,7.25\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_scores_as_people_keep_them(name: str, tmp_path: Path, store: Store, videos: list[Path]) -> None:
    """Text or number, it is a number in the store: as text "10" would be less than "9"."""
    path = put(tmp_path, FORMS[name], name)
    assert import_scores(store, path) == ScoresImported(lines=3, scored=3, new=3)
    assert scores(store) == {("c", "human"): 9.0, ("k", "human"): 10.0, ("l", "human"): 7.25}
    assert import_scores(store, path) == ScoresImported(lines=3, scored=3, new=0)


def test_a_video_goes_by_id_media_or_file(tmp_path: Path, store: Store, videos: list[Path]) -> None:
    names = ["c", f"{content_hash(videos[1])}.mp4", str(videos[2])]
    import_scores(store, put(tmp_path, [{"video": name, "score": 5} for name in names]))
    assert {subject for subject, _ in scores(store)} == {"c", "k", "l"}


def test_clips_of_one_content_share_a_score(tmp_path: Path, store: Store, videos: list[Path], make: RowMaker) -> None:
    store.add([make.candidate("twin", media=content_hash(videos[1]))])
    facts = import_scores(store, put(tmp_path, [{"video": "2.mp4", "score": 4}]))
    assert facts == ScoresImported(lines=1, scored=2, new=2)
    assert scores(store) == {("k", "human"): 4.0, ("twin", "human"): 4.0}


def test_raters_are_told_apart_and_may_change_their_mind(tmp_path: Path, store: Store, videos: list[Path]) -> None:
    def give(value: float, rater: str) -> int:
        return import_scores(store, put(tmp_path, [{"video": "k", "score": value, "rater": rater}])).new

    assert [give(3, "ann"), give(8, "bob"), give(4, "ann"), give(4, "ann"), give(3, "ann")] == [1, 1, 1, 0, 1]
    assert scores(store) == {("k", "ann"): 3.0, ("k", "bob"): 8.0}
    assert [s.value for s in store.scores() if s.measured_by == "ann"] == [3.0, 4.0, 3.0]


def test_every_score_that_cannot_be_used_is_named_and_none_is_taken(
    tmp_path: Path, store: Store, videos: list[Path]
) -> None:
    bad = [10.5, -1, "good", True, None, "nan", [5], ""]
    entries = [{"video": "1.mp4", "score": 5}, *({"video": "k", "score": score} for score in bad)]
    entries += [{"video": "c", "score": 6}, {"video": "5.mp4", "score": 6}, {"video": 7, "score": 6}]
    entries += [{"video": "l", "score": 3}]
    with pytest.raises(ValueError, match="no score was imported:") as refused:
        import_scores(store, put(tmp_path, entries))
    first, *lines, way_out = str(refused.value).splitlines()[1:]
    assert first.endswith(f"entry 1: its video has another score at {tmp_path}/scores.json, entry 10; keep one")
    assert way_out == "correct them, or skip them with footage.on_refused = skip"
    for number, (line, score) in enumerate(zip(lines, bad, strict=False), start=2):
        assert line.endswith(f"entry {number}: the score of 'k' is {score!r}, not a number from 0 to 10")
    assert [line.removeprefix(f"{tmp_path}/scores.json, ").split(";")[0] for line in lines[len(bad) :]] == [
        f"entry 10: 'c' already has a score at {tmp_path}/scores.json, entry 1",
        "entry 11: '5.mp4' is not a clip or take of this project",
        "entry 12: 7 is not a clip or take of this project",
    ]
    assert store.scores() == ()
    left_out: list[str] = []
    result = import_scores(store, tmp_path / "scores.json", skip=True, say=left_out.append)
    assert result == ScoresImported(lines=13, scored=1, new=1, refused=12)
    assert scores(store) == {("l", "human"): 3.0} and len(left_out) == 12


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("none.json", None, "no such file"),
        ("scores.txt", "1 2", r"not a \.json, \.jsonl or \.csv file"),
        ("scores.json", "[1, 2", "not JSON"),
        ("scores.json", '{"a": 1}', "not a list of objects with video and score"),
        ("scores.json", "[]", "holds no scores"),
        ("scores.json", '[{"video": "c"}]', "entry 1: has no score"),
        ("scores.csv", "file,points\n1.mp4,3\n", "line 2: has no video and no score"),
        ("scores.jsonl", "{nonsense\n", "scores.jsonl, line 1"),
    ],
)
def test_files_that_hold_no_scores(name: str, text: str | None, problem: str, tmp_path: Path, store: Store) -> None:
    path = tmp_path / name if text is None else put(tmp_path, text, name)
    with pytest.raises(ValueError, match=problem):
        import_scores(store, path)


def test_votes_a_line_and_by_prompt(tmp_path: Path) -> None:
    path = tmp_path / "votes.txt"
    path.write_text("win\nTie\n\nloss\n")
    assert read_votes(path) == [1.0, 0.5, 0.0]
    path.write_text("prompt,vote\nb,win\na,loss\nb,tie\n")
    assert read_votes(path) == [0.75, 0.0]  # prompts in the order in which they were begun


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("win\nmaybe\n", "line 2: 'maybe'"),
        ("win\nwin,loss\n", "line 2: 'win,loss' is not a valid vote"),
        ("prompt,vote\na dog, running,win\n", "line 2: 3 cells for 2 columns"),
        ("", "no votes"),
        ("prompt,vote\n", "no votes"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "votes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_votes(path)
    with pytest.raises(ValueError, match="no such file"):
        read_votes(tmp_path / "nowhere")


def test_a_column_of_raters_may_begin_with_a_capital(tmp_path: Path, store: Store, videos: list[Path]) -> None:
    """People whose column a spreadsheet calls Rater were taken for one person, and nothing said so."""
    import_scores(store, put(tmp_path, "Video,Score,Rater\n1.mp4,3,ann\n2.mp4,9,bob\n", "scores.csv"))
    assert scores(store) == {("c", "ann"): 3.0, ("k", "bob"): 9.0}
