"""Footage as it lies on disk: the files of a folder, the RealDPO layout, and a bench of several systems.

They read names and captions only, and the beginning of files whose names do not say whether they are videos; nothing
is stored. Files whose names begin with a dot are a system's own. What else is neither a video nor a caption is counted
and passed over, and what cannot be taken is refused by name. File names sort naturally: 2 before 10.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rushes.files import odd_name
from rushes.formats.caption_files import (
    LISTS,
    ORDERS,
    lines_for,
    natural,
    not_outside,
    shown,
)
from rushes.formats.spool import Spool
from rushes.media.images import STILL_SUFFIXES
from rushes.media.recognise import is_video_file
from rushes.text_reader import counted, read_lines

Layout = Literal["folder", "realdpo", "bench", "webdataset", "videofolder", "table"]
# Names that promise a video, which is then taken or refused by name. What else is one, its content says.
_VIDEO_NAMES = (
    "mp4 mov mkv webm avi m4v mpg mpeg ts gif 3g2 3gp apng asf dv f4v flv h264 h265 hevc ivf m2t m2ts m2v mts"
)
VIDEO_SUFFIXES = frozenset(f".{name}" for name in f"{_VIDEO_NAMES} mxf nut ogv qt rm rmvb vob wmv y4m".split())
TEXT_SUFFIXES = frozenset({".txt", ".json", ".jsonl", ".csv", ".tsv", ".md", ".srt", ".vtt", ".xml", ".yaml", ".toml"})
NO_VIDEO = TEXT_SUFFIXES | {*STILL_SUFFIXES, ".parquet", ".tar", ".npy", ".npz", ".safetensors"}  # never opened
FOOTAGE_SUFFIXES = VIDEO_SUFFIXES | {".tar", ".parquet", ".jsonl", ".csv"}  # what holds videos or names them


@dataclass(frozen=True, slots=True)
class Part:
    """A video inside a file: bytes of a tar, or a row of a Parquet table."""

    name: str  # of the video, with its suffix where it is known
    at: int  # byte at which it begins, or number of the row
    size: int = -1  # bytes; -1 = a row
    column: str = ""  # of the table


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """One real video and what came with it."""

    path: Path  # its file, or the tar or table that holds it
    caption: str
    source: str  # the path, as the user named its folder
    first_frame: Path | None = None  # a still that stands for the video's own first frame
    takes: tuple[Path, ...] = ()  # videos that a model made for the same caption and first frame
    takes_system: str = ""  # the model that made the takes; "" = no takes
    part: Part | None = None  # where in `path`; None = all of it
    scenario: str = ""  # what it shows, in a word or two, where a table says so
    sample: str = ""  # that it shares with other videos, such as a left and a right view; "" = none
    caption_problem: str = ""  # why the caption that is there cannot be used, with the remedy


@dataclass(frozen=True, slots=True)
class RefusedVideo:
    """Something of the footage that cannot be taken, found before any video was opened."""

    source: str
    reason: str  # in a word or two, the same for all that share it
    words: str  # what is wrong and what to do


@dataclass(frozen=True)
class Listing:
    """What a reader found."""

    footage: Sequence[SourceVideo]  # may be long, and lie in a file: see `Spool`
    refused: tuple[RefusedVideo, ...] = ()
    passed_over: tuple[str, ...] = ()  # videos that no row or line names, which is what keeps them out
    others: Mapping[str, int] = field(default_factory=dict)  # suffix -> files that are neither videos nor captions
    orphans: tuple[str, ...] = ()  # captions of videos that are not there
    tables: tuple[str, ...] = ()  # that name videos and captions, where others were read

    @property
    def left_over(self) -> int:
        """How much is neither taken nor refused."""
        return sum(self.others.values()) + len(self.passed_over) + len(self.orphans) + len(self.tables)


@dataclass(frozen=True)
class Bench:
    """Prompts and the videos that several systems made for them, all in the order of the prompts."""

    prompts: tuple[str, ...]
    first_frames: tuple[Path, ...]  # empty when the bench has none
    systems: Mapping[str, tuple[Path, ...]]

    @property
    def videos(self) -> tuple[Path, ...]:
        """The videos of all systems."""
        return tuple(path for paths in self.systems.values() for path in paths)


def detect_special(folder: Path) -> Literal["realdpo", "bench"] | None:
    """Whether `folder` is laid out as RealDPO's data, or as a bench of several systems."""
    if (folder / "prompt.txt").is_file() and (folder / "videos").is_dir():
        return "realdpo"
    if (folder / "prompts.txt").is_file() and not _files(folder, ""):
        systems = _systems(folder)
        stills = (folder / "first_frames").is_dir()
        if (len(systems) > 1 or (systems and stills)) and any("0" in videos for videos in systems.values()):
            return "bench"
    return None


def read_realdpo(files: FolderFiles) -> Listing:
    """The layout of RealDPO's released data: videos, their captions, first frames and model-made losers.

    Line i of prompt.txt belongs to the i-th of videos/ (by video.txt where there is one, else sorted by name);
    negative_samples/STEM/ holds the takes and first_frames/videos_STEM.png the first frame of videos/STEM.mp4, both
    optional for each video. Takes of no video are refused. Raises ValueError when counts differ.
    """
    folder = files.top
    prompts = folder / "prompt.txt"
    if not prompts.is_file() or not (folder / "videos").is_dir():
        raise ValueError(
            f"{folder}: the RealDPO layout needs prompt.txt and videos/; read it as a plain folder instead"
        )
    videos = in_order(folder, _all_videos(not_outside(folder, folder / "videos"), folder))
    takes, orphans = _takes(folder, _by_stem(videos))
    stills = {video: _still(folder, f"{video.parent.name}_{video.stem}") for video in videos}
    rows = (
        SourceVideo(
            v,
            text,
            str(v),
            first_frame=stills[v],
            takes=takes.get(v, ()),
            takes_system="imported" if v in takes else "",
            caption_problem=problem,
        )
        for v, (text, problem) in zip(videos, lines_for(not_outside(folder, prompts), videos), strict=True)
    )
    footage = Spool(SourceVideo, rows)
    taken = {path for item in footage for path in (item.path, item.first_frame, *item.takes)}
    words = "belongs to no video; name its folder as the video's stem, or delete it"
    refused = (RefusedVideo(str(path), "takes without their video", words) for path in orphans)
    placed = taken.union(orphans)
    loose = tuple(str(path) for path in files.videos if placed.isdisjoint((path, path.parent)))
    lists = {folder / name for name in (*LISTS, *ORDERS)}
    return Listing(footage, (*files.refused, *refused), loose, files.suffixes({*taken, *lists}))


def read_bench(folder: Path) -> Bench:
    """Prompts (prompts.txt, one a line), first_frames/N.png, and SYSTEM/N.mp4 for each system, N from 0.

    Raises ValueError unless every system, and first_frames/ where there is one, has exactly the prompts' numbers.
    """
    require_folder(folder)
    path = folder / "prompts.txt"
    if not path.is_file():
        raise ValueError(f"{folder}: a bench needs prompts.txt with one prompt per line")
    prompts = read_lines(not_outside(folder, path))
    if not prompts or "" in prompts:
        raise ValueError(
            f"{path}: the file or its line {(*prompts, '').index('') + 1} is empty; write one prompt per line"
        )
    systems = {name: _numbered(folder / name, videos, len(prompts)) for name, videos in _systems(folder).items()}
    if not systems:
        raise ValueError(f"{folder}: no folder of videos beside prompts.txt; add one folder per system")
    stills = _by_stem(_files(folder, "first_frames", STILL_SUFFIXES))
    return Bench(prompts, _numbered(folder / "first_frames", stills, len(prompts)) if stills else (), systems)


def require_folder(folder: Path) -> None:
    """Raise ValueError for what is not a folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")


@dataclass
class FolderFiles:
    """The files of a folder and its subfolders that are not hidden, sorted naturally."""

    top: Path
    videos: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    refused: list[RefusedVideo] = field(default_factory=list)  # links that lead out, names that are no text

    def require_videos(self) -> list[Path]:
        """The videos. Raises ValueError where there are none."""
        if not self.videos:
            causes = {each.words: each.source for each in self.refused}
            more = "".join(f"; {source}: {words}" for words, source in causes.items())
            raise ValueError(
                f"{self.top}: no videos (.mp4, .mov, .mkv, ...); point at the folder that holds them{more}"
            )
        return self.videos

    def of_suffix(self, suffix: str) -> list[Path]:
        """Those of the other files whose names end so, in small or capital letters."""
        return [path for path in self.others if path.suffix.lower() == suffix]

    def suffixes(self, leave_out: Container[Path | None] = ()) -> dict[str, int]:
        """How many of the other files there are, by suffix or, where they have none, name."""
        return dict(Counter(path.suffix.lower() or path.name for path in self.others if path not in leave_out))


def folder_files(top: Path, folder: Path | None = None) -> FolderFiles:
    """What lies below `top`, or a file itself; links may not point outside `folder`, by default `top`.

    A link within, to a folder, is not entered: its videos are taken where they lie. ValueError where there is neither
    folder nor file, OSError for a folder that cannot be read.
    """

    def stop(error: OSError) -> None:
        raise error

    if top.is_file():
        return FolderFiles(top, others=[top])
    require_folder(top)
    folder, files = folder or top, FolderFiles(top)
    for root, folders, names in os.walk(top, onerror=stop):
        folders[:] = [name for name in folders if visible(name)]
        for name in (*folders, *filter(visible, names)):
            path = Path(root, name)
            try:
                name.encode()
                if name in folders or path.suffix.lower() in FOOTAGE_SUFFIXES:
                    not_outside(folder, path)
            except UnicodeEncodeError:
                written = os.fsencode(path).decode(errors="backslashreplace")  # caf\\xe9.mp4
                files.refused.append(RefusedVideo(written, "name", odd_name(name)))
                continue
            except ValueError as error:
                words = str(error).removeprefix(f"{path}: ")
                files.refused.append(RefusedVideo(str(path), "link", words))
                continue
            if name not in folders:
                (files.videos if is_video(path) else files.others).append(path)
    files.videos.sort(key=natural)
    files.others.sort(key=natural)
    return files


def _all_videos(top: Path, folder: Path) -> list[Path]:
    """The videos below a folder. Raises ValueError where one of them is refused, as lists count on all of them."""
    files = folder_files(top, folder)
    if files.refused:
        raise ValueError(f"{files.refused[0].source}: {files.refused[0].words}")
    return files.require_videos()


def _files(folder: Path, part: str, suffixes: Container[str] = VIDEO_SUFFIXES) -> list[Path]:
    top = not_outside(folder, folder / part)
    paths = [path for path in top.iterdir() if visible(path.name)] if top.is_dir() else []
    fits = is_video if suffixes is VIDEO_SUFFIXES else (lambda path: path.suffix.lower() in suffixes)
    return sorted((not_outside(folder, path) for path in paths if fits(path)), key=natural)


def in_order(folder: Path, videos: Sequence[Path]) -> list[Path]:
    """`videos` as video.txt lists them, or as they are where there is no such file."""
    lists = [path for name in ORDERS if (path := folder / name).is_file()]
    lists = [path for path in lists if not any(path == video.with_suffix(".txt") for video in videos)]
    if not lists:
        return list(videos)
    listed = [folder / line for line in read_lines(not_outside(folder, lists[0]))]
    if sorted(listed) != sorted(videos):
        odd = sorted(set(listed) ^ set(videos), key=natural)
        cause = f"differ in {shown(p.relative_to(folder) for p in odd)}" if odd else "one video is listed twice"
        raise ValueError(
            f"{lists[0]}: {counted(len(listed), 'line')} for {counted(len(videos), 'video')} below {folder}, "
            f"{cause}; list each video once"
        )
    return listed


def _takes(folder: Path, by_stem: Mapping[str, Path]) -> tuple[dict[Path, tuple[Path, ...]], list[Path]]:
    """The takes of each video, and what lies among takes and belongs to none."""
    top = folder / "negative_samples"
    loose = _files(folder, top.name)
    stems = [path.name for path in top.iterdir() if path.is_dir() and visible(path.name)] if top.is_dir() else []
    takes_of = {by_stem[stem]: tuple(_files(folder, f"{top.name}/{stem}")) for stem in stems if stem in by_stem}
    orphans = sorted([*(top / stem for stem in stems if stem not in by_stem), *loose])
    return {video: takes for video, takes in takes_of.items() if takes}, orphans


def _still(folder: Path, stem: str) -> Path | None:
    suffixes = (form for suffix in STILL_SUFFIXES for form in (suffix, suffix.upper()))
    paths = (folder / "first_frames" / f"{stem}{suffix}" for suffix in suffixes)
    return next((not_outside(folder, path) for path in paths if path.is_file()), None)


def _systems(folder: Path) -> dict[str, dict[str, Path]]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and visible(path.name))
    by_system = {name: _by_stem(_files(folder, name)) for name in names if name != "first_frames"}
    return {name: videos for name, videos in by_system.items() if videos}


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    by_stem = {path.stem: path for path in paths}
    if len(by_stem) < len(paths):
        twice = [path for path in paths if by_stem[path.stem] != path]
        raise ValueError(
            f"two files share a stem, so captions cannot be matched to them: {shown(twice)}; rename or remove one"
        )
    return by_stem


def _numbered(folder: Path, by_stem: Mapping[str, Path], count: int) -> tuple[Path, ...]:
    wanted = [str(number) for number in range(count)]
    odd = sorted(set(wanted) ^ set(by_stem), key=lambda stem: natural(Path(stem)))
    if odd:
        raise ValueError(
            f"{folder}: {counted(len(by_stem), 'file')} for {counted(count, 'prompt')}; missing or unexpected: "
            f"{shown(odd)}; give each prompt one file, named by its number from 0"
        )
    return tuple(by_stem[stem] for stem in wanted)


def is_video(path: Path) -> bool:
    """Whether a file is a video: its name promises one, or its content is one."""
    if not visible(path.name) or path.is_dir():
        return False
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix not in NO_VIDEO and is_video_file(path))


def visible(name: str) -> bool:
    """Whether a file or folder is footage, and no system's own."""
    return not name.startswith(".")  # such as .DS_Store, and the ._x.mp4 that macOS leaves on foreign disks
