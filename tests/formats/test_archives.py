"""WebDataset tars: what is read of them, and what is refused by name."""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from rushes.files import MediaError
from rushes.formats.archives import read_webdataset
from rushes.formats.contents import Contents
from rushes.formats.layouts import folder_files
from rushes.formats.listing import detect_layout

ODD = 'sub/un café «l\'été» "x" 日本 v1.0'


def tar(path: Path, **members: bytes) -> Path:
    """Members by name, in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def captions(listing: object) -> list[tuple[str, str]]:
    return [(one.part.name, one.caption) for one in listing.footage]  # type: ignore[attr-defined]


def test_samples_have_their_captions_and_bytes(tmp_path: Path) -> None:
    tar(tmp_path / "b" / "10.tar", **{"x.mp4": b"ten", "x.txt": b"ten"})
    members = {
        "a.mp4": b"A" * 700,
        "a.json": json.dumps({"prompt": "not this", "caption": " from\n json "}).encode(),
        "b.json": b'{"caption": "not this"}',
        "b.txt": "a café\n".encode(),
        "b.webm": b"B",
        "c.frames.mkv": b"C",
        "c.cls": b"7",
        "c.txt": b"by its first dot",
        ODD + ".mp4": b"D",
        ODD + ".txt": b"odd",
        "e.mp4": b"E",
        "./._f.mp4": b"F",
    }
    tar(tmp_path / "b" / "2.tar", **members)
    assert detect_layout(folder_files(tmp_path)) == "webdataset"
    listing = read_webdataset(folder_files(tmp_path))
    assert captions(listing) == [
        ("a.mp4", "from json"),
        ("b.webm", "a café"),
        ("c.frames.mkv", "by its first dot"),
        (ODD + ".mp4", "odd"),
        ("e.mp4", ""),
        ("x.mp4", "ten"),
    ]
    assert listing.refused == ()
    with closing(Contents(tmp_path)) as contents:
        files = [contents.file(one) for one in listing.footage[::-1]]  # in any order, one at a time
        assert [path.suffix for path in files] == [".mp4", ".mp4", ".mp4", ".mkv", ".webm", ".mp4"]
        assert contents.file(listing.footage[0]).read_bytes() == b"A" * 700
        assert contents.file(listing.footage[3]).read_bytes() == b"D"
    assert captions(read_webdataset(folder_files(tmp_path / "b" / "2.tar"), "prompt"))[0] == ("a.mp4", "not this")


@pytest.mark.parametrize("blocks", [3, 4, 5, 7, 8, 9])
def test_a_tar_cut_short_names_how_many_samples_were_read(tmp_path: Path, blocks: int) -> None:
    """Each sample is a header and a block of video, then a header and a block of caption: four blocks."""
    members = {f"{k}.{suffix}": b"x" * 512 for k in range(3) for suffix in ("mp4", "txt")}
    path = tar(tmp_path / "cut.tar", **members)
    path.write_bytes(path.read_bytes()[: 512 * blocks - 100])
    listing = read_webdataset(folder_files(path))
    whole = sum(512 * blocks - 100 >= 512 * (4 * k + 2) for k in range(3))
    assert len(listing.footage) == whole
    (refused,) = listing.refused
    assert refused.reason == "cut short" and f"{whole} complete samples were read" in refused.words
    path.write_bytes(tar(path, **members).read_bytes()[: 512 * 8])  # between two members: only the end mark is missing
    assert "no end mark" in read_webdataset(folder_files(path)).refused[0].words


def test_a_damaged_header_does_not_pass_for_the_end(tmp_path: Path) -> None:
    path = tar(tmp_path / "bad.tar", **{f"{k}.mp4": b"x" * 512 for k in range(3)})
    data = bytearray(path.read_bytes())
    data[1024:1034] = b"garbage!!!"
    path.write_bytes(data)
    listing = read_webdataset(folder_files(path))
    assert [one.part.name for one in listing.footage if one.part] == ["0.mp4"]
    assert "a header is damaged" in listing.refused[0].words


def test_what_is_no_plain_member_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as file:
        for name in ("../up.mp4", "/etc/root.mp4", "a/../../b.mp4", "good.mp4"):
            info = tarfile.TarInfo(name)
            info.size = 1
            file.addfile(info, io.BytesIO(b"x"))
        for kind, name in (
            (tarfile.SYMTYPE, "soft.mp4"),
            (tarfile.LNKTYPE, "hard.mp4"),
            (tarfile.CHRTYPE, "device.mp4"),
            (tarfile.FIFOTYPE, "pipe.txt"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../secret"
            file.addfile(info)
    listing = read_webdataset(folder_files(path))
    assert [one.part.name for one in listing.footage if one.part] == ["good.mp4"]
    refused = {one.source.removeprefix(f"{path}/"): one.reason for one in listing.refused}
    assert refused == {
        **dict.fromkeys(["../up.mp4", "/etc/root.mp4", "a/../../b.mp4"], "unsafe name"),
        **dict.fromkeys(["soft.mp4", "hard.mp4", "device.mp4", "pipe.txt"], "no regular file"),
    }


def test_bad_captions_and_no_tars(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar", **{"a.mp4": b"x", "a.json": b"{", "b.mp4": b"x", "b.txt": b"\xff\xfa", "c.mp4": b"x"}
    )
    listing = read_webdataset(folder_files(path))
    problems = [item.caption_problem for item in listing.footage]
    assert problems[0].startswith("a.json: ") and problems[1].startswith("b.txt: not UTF-8") and problems[2] == ""
    (tmp_path / "no.tar").write_text("this is no tar")
    (tmp_path / "empty.tar").touch()
    refused = read_webdataset(folder_files(tmp_path)).refused
    assert [one.reason for one in refused if "a.tar" not in one.source] == ["unreadable"] * 2
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no \.tar file"):
        read_webdataset(folder_files(tmp_path / "none"))


def test_a_bad_alternative_costs_itself_and_a_bad_json_beside_a_text_nothing(tmp_path: Path) -> None:
    several = json.dumps({"caption": "one", "alternatives": ["two", "th\0ree", 4]}).encode()
    members = {"a.mp4": b"x", "a.json": several, "b.mp4": b"x", "b.txt": b"text", "b.json": b"{", "c.json": b"{"}
    members |= {"d.mp4": b"x", "d.json": b"{", "d.txt": b"later"}
    listing = read_webdataset(folder_files(tar(tmp_path / "a.tar", **members)))
    assert captions(listing) == [
        ("a.mp4", "one"),
        ("a.mp4", "two"),
        ("a.mp4", ""),
        ("b.mp4", "text"),
        ("d.mp4", "later"),
    ]
    assert [at for at, item in enumerate(listing.footage) if item.caption_problem] == [2]
    assert (listing.refused, listing.orphans) == ((), (f"{tmp_path / 'a.tar'}/c",))


def test_a_tar_that_shrank_since_it_was_listed(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", **{"a.mp4": b"x" * 5000})
    (one,) = read_webdataset(folder_files(path)).footage
    path.write_bytes(path.read_bytes()[:2000])
    with closing(Contents(tmp_path)) as contents, pytest.raises(MediaError, match="download the tar again"):
        contents.file(one)
    assert list(tmp_path.glob(".unpacked*")) == []


def test_tars_beside_loose_videos(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", **{"a.mp4": b"x"})
    (tmp_path / "b.mp4").touch()
    with pytest.raises(ValueError, match=r"tars and loose videos; set footage\.layout"):
        detect_layout(folder_files(tmp_path))
    (tmp_path / "b.txt").write_text("captioned: this is a plain folder with something else in it")
    assert detect_layout(folder_files(tmp_path)) == "folder"


def test_links_to_tars_that_lead_out(tmp_path: Path) -> None:
    tar(tmp_path / "out" / "a.tar", **{"a.mp4": b"x"})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").symlink_to(tmp_path / "out" / "a.tar")
    tar(tmp_path / "in" / "b.tar", **{"b.mp4": b"x", "b.txt": b"a cat"})
    listing = read_webdataset(folder_files(tmp_path / "in"))
    assert [video.caption for video in listing.footage] == ["a cat"]
    assert [(each.source, each.reason) for each in listing.refused] == [(str(tmp_path / "in" / "a.tar"), "link")]
