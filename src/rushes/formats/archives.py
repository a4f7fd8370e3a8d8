"""WebDataset: tar files of samples, KEY.mp4 with KEY.txt or KEY.json.

Only headers and captions are read; where a video begins in its tar is noted, so that it can be read later, alone.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rushes.formats.layouts import (
    NO_VIDEO,
    VIDEO_SUFFIXES,
    FolderFiles,
    Listing,
    Part,
    RefusedVideo,
    SourceVideo,
    visible,
)
from rushes.formats.spool import Spool
from rushes.media.recognise import HEAD_BYTES, begins_as_video
from rushes.text_reader import MOST_BYTES, Caption, caption_of, decode, parse_json

TAR_SUFFIX = ".tar"
SOUND = frozenset({".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma", ".flac", ".aac"})
ALTERNATIVES = "alternatives"  # in a sample's JSON: further captions of the same video
CAPTION_NAMES = ("caption", "captions", "text", "prompt", "description")
_CAPTION_SUFFIXES = {".txt", ".json"}
_BLOCK = 512


@dataclass
class _Tar:
    """What was read of one tar."""

    path: Path
    videos: list[tuple[str, int, int]] = field(default_factory=list)  # name, first byte, bytes
    texts: dict[str, Caption] = field(default_factory=dict)  # by key
    written: set[str] = field(default_factory=set)  # keys with a .txt
    alternatives: dict[str, list[Caption]] = field(default_factory=dict)  # key -> further captions
    refused: list[RefusedVideo] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # suffix -> members that are neither videos nor captions
    names: set[str] = field(default_factory=set)  # of the members so far

    def refuse(self, name: str, reason: str, words: str) -> None:
        where = f"{self.path}/{name}" if name else str(self.path)
        self.refused.append(RefusedVideo(where, reason, words))


def read_webdataset(files: FolderFiles, caption_name: str = "") -> Listing:
    """Samples of a tar, or of all tars below a folder, in the order in which they are stored.

    A sample's key is its name up to the last dot, and for its caption also up to the first, as WebDataset has it.
    KEY.txt goes before KEY.json, whose caption is its `caption_name`, by default the first of caption, text, prompt...

    Members that are links or devices, or whose names point outside the folder, are refused by name, and so is what is
    missing of a tar that was cut short. Raises ValueError when there is no tar.
    """
    tars = files.of_suffix(TAR_SUFFIX) or [path for path in files.others if path == files.top]
    if not tars:
        raise ValueError(f"{files.top}: no .tar file; name a tar, or the folder that holds the tars")
    footage, refused, orphans = Spool(SourceVideo), list(files.refused), list[str]()
    others = Counter(files.suffixes(tars))
    for path in tars:
        tar = _read_tar(path, (caption_name,) if caption_name else CAPTION_NAMES)
        for sample in _samples(tar):
            footage.append(sample)
        refused += tar.refused
        others += tar.others
        keys = {key for name, *_ in tar.videos for key in (_key(name), _first_key(name))}
        orphans += [f"{path}/{key}" for key in tar.texts if key not in keys]
    loose = tuple(str(path) for path in files.videos)
    return Listing(footage, tuple(refused), loose, others, tuple(orphans))


def _samples(tar: _Tar) -> Iterator[SourceVideo]:
    for name, at, size in tar.videos:
        keys = _key(name), _first_key(name)
        caption = next((tar.texts[key] for key in keys if key in tar.texts), Caption(""))
        more = next((tar.alternatives[key] for key in keys if key in tar.alternatives), [])
        where, sample = f"{tar.path}/{name}", f"{tar.path}/{keys[1]}"
        for text, problem in (caption, *more):
            part = Part(name, at, size)
            yield SourceVideo(tar.path, text, where, part=part, sample=sample, caption_problem=problem)


def _read_tar(path: Path, names: Sequence[str]) -> _Tar:
    tar = _Tar(path)
    size = path.stat().st_size
    ending = ""
    try:
        with tarfile.open(path, "r:") as archive:
            try:
                for member in archive:
                    _take(tar, archive, member, size, names)
            except (tarfile.TarError, OSError) as error:
                ending = str(error)
            ending = ending or _ending(path, archive.offset)
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        tar.refuse("", "unreadable", f"not an uncompressed tar ({error}); unpack it with gunzip, or download it again")
        return tar
    if ending:
        tar.videos = [video for video in tar.videos if video[1] + video[2] <= size]
        tar.refuse(
            "",
            "cut short",
            f"the tar is cut short ({ending}); {len(tar.videos)} complete samples were read: download it again",
        )
    return tar


def _ending(path: Path, offset: int) -> str:
    """What is wrong with the end of a tar that was read up to `offset`; tarfile takes most of it for a plain end."""
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(_BLOCK)
    if len(block) < _BLOCK:
        return "no end mark"
    return "" if not any(block) else "a header is damaged"


def _take(tar: _Tar, archive: tarfile.TarFile, member: tarfile.TarInfo, size: int, names: Sequence[str]) -> None:
    """Note one member."""
    name = PurePosixPath(member.name)
    if member.isdir():
        return
    if name.is_absolute() or ".." in name.parts:
        tar.refuse(member.name, "unsafe name", "its name points outside the folder; rename it in the tar")
        return
    if not visible(name.name):
        return
    if not member.isreg() or member.issparse():
        kind = "a link" if member.issym() or member.islnk() else "no regular file"
        tar.refuse(member.name, "no regular file", f"{kind}; store the file itself in the tar")
        return
    if member.name in tar.names:
        tar.refuse(member.name, "twice", "the tar has this name twice; rebuild the tar with each name once")
        return
    tar.names.add(member.name)
    suffix = name.suffix.lower()
    if suffix in VIDEO_SUFFIXES or (suffix not in NO_VIDEO | SOUND and _begins_as_video(archive, member)):
        tar.videos.append((member.name, member.offset_data, member.size))
    elif suffix in _CAPTION_SUFFIXES and member.offset_data + member.size <= size:
        key = _key(member.name)
        caption = _text(tar, archive, member, names)
        if suffix == ".txt" and key in tar.written:
            caption = Caption("", f"{key}.txt is there twice, in lower and in upper case; keep one")
        if suffix == ".txt" or (any(caption) and key not in tar.texts):
            tar.texts[key] = caption
        tar.written |= {key} if suffix == ".txt" else set()
    else:
        tar.others[suffix or name.name] += 1


def _begins_as_video(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    file = archive.extractfile(member)
    assert file is not None, member.name
    return begins_as_video(file.read(HEAD_BYTES))


def _text(tar: _Tar, archive: tarfile.TarFile, member: tarfile.TarInfo, names: Sequence[str]) -> Caption:
    """The caption in a member, empty where there is none."""
    if member.size > MOST_BYTES:
        return Caption("", f"{member.name}: {member.size:,} bytes are too long for a caption; shorten it")
    file = archive.extractfile(member)
    assert file is not None, member.name
    try:
        text = decode(file.read(), member.name)
        value = parse_json(text, member.name) if member.name.lower().endswith(".json") else text
    except ValueError as error:
        return Caption("", f"{error}; save it as UTF-8, a .json as one object")
    if isinstance(value, str):
        return caption_of(value)
    if not isinstance(value, Mapping):
        return Caption("", f"{member.name}: {value!s:.60} is not a caption; write a text, or an object with a caption")
    others = value.get(ALTERNATIVES)
    if isinstance(others, list):
        tar.alternatives[_key(member.name)] = [caption_of(text) for text in others if isinstance(text, str)]
    return caption_in(value, names)


def caption_in(row: Mapping[str, object], names: Sequence[str]) -> Caption:
    """The first text under one of `names`, empty where there is none; what is not text has a problem."""
    given = ((name, row.get(name)) for name in names)
    captions = (
        caption_of(text)
        if isinstance(text, str)
        else Caption("", f"{name!r} is {text!s:.60}, which is not text; write one caption there")
        for name, text in given
        if text is not None and text == text  # NaN is a cell that is empty
    )
    return next(filter(any, captions), Caption(""))


def _key(name: str) -> str:
    return name.rpartition(".")[0]


def _first_key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"
