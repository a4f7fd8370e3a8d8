"""Videos of plain folders, matched by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rushes.evaluate.video_folders import find_folders


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def test_numbers_are_lines_of_the_prompts_and_sort_naturally(tmp_path: Path) -> None:
    names = [f"{k}.mp4" for k in range(12)]
    a, b = touch(tmp_path / "a", *names), touch(tmp_path / "b", *names)
    (tmp_path / "prompts.txt").write_text("\n".join(f"prompt {k}" for k in range(12)))
    touch(tmp_path / "first_frames", *(f"{k}.png" for k in range(12)))
    found = find_folders({"A": a, "B": b}, tmp_path / "prompts.txt")
    assert found.systems == ("A", "B") and found.notes == ()
    assert found.prompts == tuple(map(str, range(12)))
    assert found.caption("10") == "prompt 10"
    assert found.stills["3"] == tmp_path / "first_frames" / "3.png"  # lies beside the prompts
    assert found.videos["B"]["11", 0] == b / "11.mp4"


def test_seeds_by_suffix_folder_and_the_names_of_vbench(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a dog runs\na cat-2 sits")
    a = touch(tmp_path / "a", "0-1.mp4", "0/2.mp4", "a cat-2 sits-0.mp4", "1-7.mp4")
    b = touch(tmp_path / "b", "a dog runs-1.mp4", "1.webm")
    found = find_folders({"A": a, "B": b}, prompts)
    assert set(found.videos["A"]) == {("0", 1), ("0", 2), ("1", 0), ("1", 7)}
    assert set(found.videos["B"]) == {("0", 1), ("1", 0)}
    bare = find_folders({"A": touch(tmp_path / "c", "dog-0.mp4", "dog-1.mp4"), "B": touch(tmp_path / "d", "dog.mp4")})
    assert set(bare.videos["A"]) == {("dog", 0), ("dog", 1)} and bare.caption("dog") == "dog"


def test_prompts_in_json_go_by_name(tmp_path: Path) -> None:
    a, b = touch(tmp_path / "a", "dog.mp4"), touch(tmp_path / "b", "dog.mp4")
    (tmp_path / "p.json").write_text(json.dumps({"dog.mp4": "a dog", "cat": "a cat"}))
    found = find_folders({"A": a, "B": b}, tmp_path / "p.json")
    assert found.caption("dog") == "a dog"
    assert found.notes == ("1 prompt without a video from any system: cat.",)


def test_what_has_no_partner_is_named_and_counted(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\nthree")
    a = touch(tmp_path / "a", "0.mp4", "1.mp4", "stray.mp4", "9.mp4", ".hidden.mp4", "notes.txt")
    b = touch(tmp_path / "b", "0.mp4", "0-3.mp4")
    stills = touch(tmp_path / "stills", "1.png")
    found = find_folders({"A": a, "B": b}, prompts, stills)
    assert found.notes == (
        "2 videos of A left out, because no prompt has this name: 9, stray.",
        "1 video missing of A: 0 seed 3.",
        "1 video missing of B: 1.",
        "1 prompt without a video from any system: 2.",
        "1 prompt without a first frame: 0.",
    )


@pytest.mark.parametrize(
    ("systems", "prompts", "words"),
    [
        ({"A": "a"}, None, "two systems or more"),
        ({"A": "a", "B": "nowhere"}, None, "no such folder"),
        ({"A": "a", "B": "empty"}, None, "no videos to compare"),
        ({"A": "a", "B": "b"}, None, "no video name in common"),
        ({"A": "a", "B": "a"}, "nowhere.txt", r"no such file of prompts; .* or JSON \{name: prompt\}$"),
        ({"A": "a", "B": "a"}, "short.txt", r"line 1 is prompt 0"),
        ({"A": "a", "B": "a"}, "torn.json", "not JSON"),
        ({"A": "a", "B": "a"}, "list.json", "one object"),
        ({"A": "a", "B": "a"}, "gap.txt", "one of its prompts is empty"),
        ({"A": "twice", "B": "a"}, None, "keep one"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, systems: dict[str, str], prompts: str | None, words: str
) -> None:
    touch(tmp_path / "a", "1.mp4")
    touch(tmp_path / "b", "2.mp4")
    touch(tmp_path / "twice", "1.mp4", "1.webm")
    (tmp_path / "empty").mkdir()
    texts = {"short.txt": "only one", "torn.json": "{", "list.json": "[1]", "gap.txt": "one\n\nthree"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        find_folders(
            {name: tmp_path / folder for name, folder in systems.items()}, tmp_path / prompts if prompts else None
        )


def test_stills_must_be_there(tmp_path: Path) -> None:
    a = touch(tmp_path / "a", "1.mp4")
    with pytest.raises(ValueError, match="no such folder of first frames"):
        find_folders({"A": a, "B": a}, None, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no images"):
        find_folders({"A": a, "B": a}, None, a)
