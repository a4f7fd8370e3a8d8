"""Pairs of videos in folders; no video is opened, so that any file with a video's suffix does."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.config.tables import FootageSettings
from rushes.formats.pair_files import find_pairs, form_of
from rushes.formats.preferences import ForeignPairs


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a prompt of {path.stem}" if path.suffix == ".txt" else "")
    return folder


def find(folder: Path, rejected: Path | None = None, prompts: Path | None = None) -> ForeignPairs:
    return find_pairs(FootageSettings(path=str(folder), rejected=str(rejected or ""), prompts=str(prompts or "")))


def names_of(folder: Path, rejected: Path | None = None, prompts: Path | None = None) -> list[tuple[str, str, str]]:
    pairs = find(folder, rejected, prompts)
    assert all(pair.answers == {"overall": "left"} for pair in pairs.pairs)
    return [(p.left.relative_to(folder.parent).as_posix(), p.right.name, p.prompt) for p in pairs.pairs]


def test_two_folders_pair_up_by_name(tmp_path: Path) -> None:
    good = write(
        tmp_path / "good", "2.mp4", "10.mp4", "in/a.mp4", "lone.mp4", "2.txt", "10.txt", "in/a.txt", "lone.txt"
    )
    bad = write(tmp_path / "bad", "10.mov", "2.mp4", "in/a.mp4", "other.mp4")
    pairs = find(good, bad)
    assert pairs.entries == 5 and dict(pairs.left_out) == {
        "no worse video of this name": 1, "no better video of this name": 1
    }  # fmt: skip
    assert names_of(good, bad) == [
        ("good/2.mp4", "2.mp4", "a prompt of 2"),
        ("good/10.mp4", "10.mov", "a prompt of 10"),
        ("good/in/a.mp4", "a.mp4", "a prompt of a"),
    ]


@pytest.mark.parametrize("texts", [("x_w.txt", "y_w.txt"), ("x.txt", "y.txt")])
def test_one_folder_says_by_its_names(tmp_path: Path, texts: tuple[str, str]) -> None:
    folder = write(tmp_path / "all", "x_w.mp4", "x_l.mp4", "y_w.mp4", "y_l.mp4", *texts)
    prompts = [f"a prompt of {Path(text).stem}" for text in texts]
    assert names_of(folder) == [("all/x_w.mp4", "x_l.mp4", prompts[0]), ("all/y_w.mp4", "y_l.mp4", prompts[1])]


def test_folders_within_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "all", "chosen/x.mp4", "chosen/x.txt", "rejected/x.mp4")
    assert names_of(folder) == [("all/chosen/x.mp4", "x.mp4", "a prompt of x")]


@pytest.mark.parametrize(
    ("name", "text"), [("p.txt", "one\ntwo\n"), ("p.csv", "file,caption\n10.mp4,two\n2.mp4,one\n")]
)
def test_prompts_in_a_file(tmp_path: Path, name: str, text: str) -> None:
    good, bad = (write(tmp_path / side, "2.mp4", "10.mp4") for side in ("good", "bad"))
    (tmp_path / name).write_text(text)
    assert [row[2] for row in names_of(good, bad, tmp_path / name)] == ["one", "two"]


def test_what_is_refused(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good", "a.mp4"), write(tmp_path / "bad", "b.mp4")
    with pytest.raises(ValueError, match="none of 2 entries can be used"):
        find(good, bad)
    with pytest.raises(ValueError, match=r"name of a does not say.*NAME_w and NAME_l"):
        find(good)
    with pytest.raises(ValueError, match=r"two better videos share a name: a\.mov, a\.mp4"):
        find(write(good, "a.mov"), write(bad, "a.mp4"))
    (tmp_path / "p.txt").write_text("one\ntwo\nthree\n")
    with pytest.raises(ValueError, match="3 captions for 1 video"):
        find(write(tmp_path / "new", "a.mp4"), bad, tmp_path / "p.txt")


def test_the_form_of_a_table_is_read_from_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    for fields, form in (("prompt,chosen,rejected", "trl"), ("path_A,path_B,prompt,Overall", "videoreward")):
        path = tmp_path / "pairs.csv"
        path.write_text(f"{fields}\n1,2,3,4\n"[: 99 if form == "videoreward" else -3] + "\n")
        assert form_of(path) == form
    path.write_text("video,score\n1,2\n")
    with pytest.raises(
        ValueError,
        match=r"no column is the prompt; it has video, score: assign the columns with --columns chosen=COLUMN",
    ):
        form_of(path)
