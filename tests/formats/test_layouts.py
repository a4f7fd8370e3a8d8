"""Footage as it lies on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from rushes.formats.layouts import Listing, SourceVideo, folder_files, read_bench
from rushes.formats.listing import detect_layout, list_footage


def lay(folder: Path, **texts: str) -> Path:
    """Empty files for each name that is listed, and text files; `_` in a key stands for the dot."""
    for name in texts.pop("files", "").split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def read_folder(folder: Path, scenario: str = "") -> Sequence[SourceVideo]:
    return list_footage(folder_files(folder), "folder", scenario_column=scenario).footage


def read_realdpo(folder: Path) -> Listing:
    return list_footage(folder_files(folder), "realdpo")


def refused(listing: Listing) -> list[str]:
    return [f"{each.source}: {each.words}" for each in listing.refused]


def test_a_plain_folder(tmp_path: Path) -> None:
    lay(tmp_path, files="10.mp4 2.MOV sub/1.webm .DS_Store ._2.mp4 .hidden/9.mp4 readme.md", captions_txt="a\nb\nc")
    assert detect_layout(folder_files(tmp_path)) == "folder"
    footage = read_folder(tmp_path)
    assert [(one.path.name, one.caption) for one in footage] == [("2.MOV", "a"), ("10.mp4", "b"), ("1.webm", "c")]
    assert footage[2] == SourceVideo(tmp_path / "sub" / "1.webm", "c", str(tmp_path / "sub" / "1.webm"))


def test_the_source_is_named_as_the_user_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, files="clips/1.mp4", **{})
    monkeypatch.chdir(tmp_path)
    assert read_folder(Path("clips"))[0].source == os.path.join("clips", "1.mp4")


def test_missing_captions_are_empty(tmp_path: Path) -> None:
    lay(tmp_path, files=" ".join(f"{number}.mp4" for number in range(9)))
    (tmp_path / "3.txt").write_text("three")
    assert [one.caption for one in read_folder(tmp_path)] == ["", "", "", "three", *[""] * 5]


def test_a_list_orders_the_videos(tmp_path: Path) -> None:
    lay(tmp_path, files="v/1.mp4 v/2.mp4", videos_txt="v/2.mp4\n./v/1.mp4\n", prompts_txt="two\none")
    assert [(one.path.stem, one.caption) for one in read_folder(tmp_path)] == [("2", "two"), ("1", "one")]
    for lines, reason in (("v/1.mp4", "1 line for 2 .* differ in v/2.mp4"), ("v/1.mp4\nv/1.mp4", "differ in v/2.mp4")):
        with pytest.raises(ValueError, match=rf"videos.txt: .*{reason}; list each video once"):
            read_folder(lay(tmp_path, videos_txt=lines))
    with pytest.raises(ValueError, match=r"3 lines for 2 .*one video is listed twice"):
        read_folder(lay(tmp_path, videos_txt="v/1.mp4\nv/1.mp4\nv/2.mp4"))


def test_a_video_called_video_has_a_caption_not_an_order(tmp_path: Path) -> None:
    lay(tmp_path, files="video.mp4", video_txt="a dog")
    assert [one.caption for one in read_folder(tmp_path)] == ["a dog"]


def test_folders_without_videos(tmp_path: Path) -> None:
    for read in (folder_files, read_folder, read_realdpo, read_bench):
        with pytest.raises(ValueError, match="nowhere: no such folder"):
            read(tmp_path / "nowhere")
    lay(tmp_path, files="notes.txt ._1.mp4")
    with pytest.raises(ValueError, match=r"no videos \(.*\.mp4.*\); point at"):
        detect_layout(folder_files(tmp_path))
    with pytest.raises(ValueError, match=r"no videos \(.*\.mp4.*\); point at"):
        read_folder(tmp_path)


@pytest.mark.parametrize("link", ["2.mp4", "sub", "captions.txt"])
@pytest.mark.parametrize("target", ["outside", "nothing"])
def test_links_that_lead_out_are_refused(tmp_path: Path, link: str, target: str) -> None:
    lay(tmp_path, files="in/1.mp4 outside/2.mp4")
    (tmp_path / "outside" / "text").write_text("secret")
    place = {"2.mp4": "outside/2.mp4", "sub": "outside", "captions.txt": "outside/text"}[link]
    (tmp_path / "in" / link).symlink_to(tmp_path / (place if target == "outside" else "nothing"))
    if (link, target) in {("sub", "nothing"), ("captions.txt", "nothing")}:
        assert len(read_folder(tmp_path / "in")) == 1  # a broken link to no footage
        return
    words = f"{link}: a link that is broken or points outside"
    if link == "captions.txt":
        with pytest.raises(ValueError, match=words):
            read_folder(tmp_path / "in")
    else:
        (problem,) = refused(list_footage(folder_files(tmp_path / "in"), "folder"))
        assert words in problem


def test_links_within_are_followed_once(tmp_path: Path) -> None:
    lay(tmp_path, files="in/a/1.mp4")
    (tmp_path / "in" / "b").symlink_to("a")
    (tmp_path / "in" / "c.mp4").symlink_to("a/1.mp4")
    (tmp_path / "alias").symlink_to("in")
    for folder in (tmp_path / "in", tmp_path / "alias"):
        read = read_folder(folder)
        assert [one.path.relative_to(folder).as_posix() for one in read] == ["a/1.mp4", "c.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    lay(tmp_path, files="1.mp4 closed/2.mp4")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(PermissionError):
            read_folder(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)


def realdpo(folder: Path) -> Path:
    lay(folder, files="videos/9.mp4 videos/10.mp4 videos/11.mp4 first_frames/videos_10.png first_frames/videos_7.png")
    lay(folder, files=" ".join(f"negative_samples/{stem}/{take}.mp4" for stem in (9, 10) for take in (10, 0, 2)))
    return lay(folder, files="negative_samples/11/.keep", prompt_txt="nine\nten\neleven")


def test_the_realdpo_layout(tmp_path: Path) -> None:
    assert detect_layout(folder_files(realdpo(tmp_path))) == "realdpo"
    nine, ten, eleven = read_realdpo(tmp_path).footage
    takes = tmp_path / "negative_samples" / "9"
    path = tmp_path / "videos" / "9.mp4"
    expected = (takes / "0.mp4", takes / "2.mp4", takes / "10.mp4")
    assert nine == SourceVideo(path, "nine", str(path), None, expected, "imported")
    assert ten.first_frame == tmp_path / "first_frames" / "videos_10.png"
    assert (eleven.caption, eleven.takes, eleven.takes_system) == ("eleven", (), "")


def test_the_realdpo_layout_with_its_list(tmp_path: Path) -> None:
    lay(realdpo(tmp_path), video_txt="videos/11.mp4\nvideos/9.mp4\nvideos/10.mp4")
    assert [(one.path.stem, one.caption) for one in read_realdpo(tmp_path).footage] == [
        ("11", "nine"), ("9", "ten"), ("10", "eleven"),
    ]  # fmt: skip


def test_bad_realdpo_layouts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs prompt.txt and videos/"):
        read_realdpo(tmp_path)
    lay(realdpo(tmp_path), prompt_txt="nine\nten")
    with pytest.raises(ValueError, match=r"prompt.txt: 2 captions for 3 videos"):
        read_realdpo(tmp_path)
    lay(tmp_path, prompt_txt="nine\n\neleven")
    assert read_realdpo(tmp_path).footage[1].caption == ""
    lay(tmp_path, files="negative_samples/12/0.mp4 negative_samples/9.mp4")
    twelve, loose = refused(read_realdpo(tmp_path))
    assert "negative_samples/12: belongs to no video; name its folder" in twelve and "/9.mp4: belongs" in loose
    lay(tmp_path, files="videos/other/9.mp4", prompt_txt="a\nb\nc\nd")
    with pytest.raises(ValueError, match=r"two files share a stem.*9.mp4"):
        read_realdpo(tmp_path)


def test_takes_may_not_lead_out(tmp_path: Path) -> None:
    realdpo(tmp_path / "in")
    lay(tmp_path, files="outside/0.mp4")
    (tmp_path / "in" / "negative_samples" / "11" / "0.mp4").symlink_to(tmp_path / "outside" / "0.mp4")
    with pytest.raises(ValueError, match="points outside"):
        read_realdpo(tmp_path / "in")


def bench(folder: Path, count: int = 11) -> Path:
    lay(folder, files=" ".join(f"{system}/{n}.mp4" for system in ("base", "tuned") for n in range(count)))
    lay(folder, files=" ".join(f"first_frames/{n}.png" for n in range(count)) + " notes/todo.md")
    return lay(folder, prompts_txt="\n".join(f"prompt {n}" for n in range(count)) + "\n")


def test_a_bench(tmp_path: Path) -> None:
    assert detect_layout(folder_files(bench(tmp_path))) == "bench"
    read = read_bench(tmp_path)
    assert read.prompts[10] == "prompt 10" and list(read.systems) == ["base", "tuned"]
    assert read.systems["tuned"] == tuple(tmp_path / "tuned" / f"{n}.mp4" for n in range(11))
    assert read.first_frames[2] == tmp_path / "first_frames" / "2.png"


def test_a_bench_without_first_frames(tmp_path: Path) -> None:
    lay(tmp_path, files="base/0.mp4 tuned/0.mp4", prompts_txt="one")
    assert detect_layout(folder_files(tmp_path)) == "bench" and read_bench(tmp_path).first_frames == ()


@pytest.mark.parametrize("where", ["tuned/3.mp4", "first_frames/3.png"])
def test_a_bench_with_gaps_is_refused(tmp_path: Path, where: str) -> None:
    (bench(tmp_path) / where).unlink()
    with pytest.raises(ValueError, match=rf"{Path(where).parent}: 10 files for 11 prompts; missing or unexpected: 3"):
        read_bench(tmp_path)


def test_bad_benches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a bench needs prompts.txt"):
        read_bench(tmp_path)
    with pytest.raises(ValueError, match="no folder of videos"):
        read_bench(lay(tmp_path, prompts_txt="one\ntwo"))
    for text, number in (("", 1), ("one\n\nthree", 2)):
        with pytest.raises(ValueError, match=f"line {number} is empty; write one"):
            read_bench(lay(tmp_path, prompts_txt=text))
    lay(bench(tmp_path), files="tuned/11.mp4 tuned/03.mp4")
    with pytest.raises(ValueError, match="tuned: 13 files for 11 prompts; missing or unexpected: 03, 11"):
        read_bench(tmp_path)


def test_a_dataset_with_one_folder_of_numbered_videos_is_no_bench(tmp_path: Path) -> None:
    lay(tmp_path, files="videos/0.mp4 videos/1.mp4", prompts_txt="zero\none")
    assert detect_layout(folder_files(tmp_path)) == "folder"
    assert [one.caption for one in read_folder(tmp_path)] == ["zero", "one"]


def test_the_real_training_layout(real_data: Path) -> None:
    folder = real_data / "realaction" / "train"
    assert not (folder / "prompt.txt").read_bytes().endswith(b"\n")  # the oddity of this file
    assert detect_layout(folder_files(folder)) == "realdpo"
    (one,) = read_realdpo(folder).footage
    assert one.path == folder / "videos" / "4873105.mp4" and one.source == str(one.path)
    assert one.caption.startswith("The video ") and one.caption.endswith("a home or a casual dining area.")
    assert one.first_frame == folder / "first_frames" / "videos_4873105.png"
    assert [take.relative_to(folder).as_posix() for take in one.takes] == [
        f"negative_samples/4873105/{number}.mp4" for number in range(3)
    ]


def test_the_real_bench(real_data: Path) -> None:
    folder = real_data / "realaction" / "bench"
    assert detect_layout(folder_files(folder)) == "bench"
    read = read_bench(folder)
    assert len(read.prompts) == len(read.first_frames) == 9 and "kite surfer" in read.prompts[1]
    assert {name: len(paths) for name, paths in read.systems.items()} == {"pretrain": 9, "realdpo": 9, "sft": 9}
    assert all(path.stat().st_size > 0 for paths in read.systems.values() for path in paths)


def test_real_media_without_captions(real_data: Path) -> None:
    assert detect_layout(folder_files(real_data / "media")) == "folder"
    assert len(read_folder(real_data / "media")) == 8


def test_a_folders_table_may_name_scenarios(tmp_path: Path) -> None:
    for name in ("a/1.mp4", "2.mp4", "3.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    table = tmp_path / "captions.csv"
    table.write_text("file,caption,scenario,kind\na/1.mp4,one, cooking ,x\n2.mp4,two,,y\n3.mp4,three,sport,z\n")
    assert [(one.caption, one.scenario) for one in read_folder(tmp_path)] == [
        ("two", ""), ("three", "sport"), ("one", "cooking"),
    ]  # fmt: skip
    assert [one.scenario for one in read_folder(tmp_path, scenario="kind")] == ["y", "z", "x"]
    with pytest.raises(ValueError, match=r"footage.scenario_column: .*captions.csv has no column 'mine'"):
        read_folder(tmp_path, scenario="mine")
    table.unlink()
    with pytest.raises(
        ValueError, match=r"footage.scenario_column: .* has no column 'mine'; name a column of the table"
    ):
        read_folder(tmp_path, scenario="mine")


def test_captions_in_any_case_are_no_other_files(tmp_path: Path) -> None:
    lay(tmp_path, files="1.mp4 2.mp4 notes.md")
    for name, text in (("1.TXT", "one"), ("2.txt", "two"), ("3.Txt", "no video")):
        (tmp_path / name).write_text(text)
    listing = list_footage(folder_files(tmp_path), detect_layout(folder_files(tmp_path)))
    assert [item.caption for item in listing.footage] == ["one", "two"]
    assert (listing.others, listing.orphans) == ({".md": 1}, (str(tmp_path / "3.Txt"),))


def test_rows_of_no_video_are_refused_beside_links(tmp_path: Path) -> None:
    """Names in a table may be parted as in Windows, and compose their letters otherwise than the files'."""
    lay(tmp_path / "in", files="a/cafe\u0301.mp4")
    (tmp_path / "out.mp4").touch()
    (tmp_path / "in" / "out.mp4").symlink_to(tmp_path / "out.mp4")
    (tmp_path / "in" / "Captions.CSV").write_text(
        "File,Caption,Scenario\na\\caf\u00e9.mp4,a dog,park\nb.mp4,two\n", encoding="utf-8"
    )
    listing = list_footage(folder_files(tmp_path / "in"), "folder")
    assert [(item.caption, item.scenario) for item in listing.footage] == [("a dog", "park")]
    assert [refused.reason for refused in listing.refused] == ["link", "bad row"] and not listing.others
