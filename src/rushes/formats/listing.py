"""Footage as it lies on disk, whatever its layout: which reader fits, and what it finds."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from rushes.config.tables import FootageSettings
from rushes.formats.archives import TAR_SUFFIX, read_webdataset
from rushes.formats.caption_files import ORDERS, captions_of, lists_in, natural, scenarios_of, texts_beside
from rushes.formats.clip_tables import TABLE_SUFFIXES, find_columns, find_metadata, find_tables, fits, read_tables
from rushes.formats.layouts import (
    Bench,
    FolderFiles,
    Layout,
    Listing,
    RefusedVideo,
    SourceVideo,
    detect_special,
    folder_files,
    in_order,
    read_bench,
    read_realdpo,
    require_folder,
)
from rushes.formats.spool import Spool

TRAINING, HELD_OUT = {"train", "training"}, {"test", "testing", "val", "valid", "validation", "eval", "dev", "holdout"}
_LOG = logging.getLogger(__name__)


def detect_layout(files: FolderFiles, video_column: str = "", caption_column: str = "") -> Layout:
    """Which reader fits a folder, a tar or a table.

    A folder whose videos have captions beside them, one a file or one a line, is a plain folder whatever tables lie in
    it. Raises ValueError when it holds no videos, or tars beside loose videos.
    """
    place = files.top
    if place.is_file():
        if place.suffix.lower() == TAR_SUFFIX:
            return "webdataset"
        if place.suffix.lower() in TABLE_SUFFIXES:
            return "table"
        if place.suffix.lower() == ".tgz" or ".tar" in place.suffixes[:-1]:
            raise ValueError(f"{place}: a compressed tar; unpack it once with gunzip and name the .tar")
        raise ValueError(f"{place}: not a folder, .tar, .parquet, .jsonl or .csv file; name one of these")
    if special := detect_special(place):
        return special
    if not (files.videos and (lists_in(place) or texts_beside(files.videos))):
        if files.of_suffix(TAR_SUFFIX):
            if files.videos:
                raise ValueError(f"{place}: has both tars and loose videos; set footage.layout to webdataset or folder")
            return "webdataset"
        metadata = find_metadata(files)
        if any(fits(path, video_column, caption_column) for path in metadata):
            return "videofolder"
        if find_tables(files, video_column, caption_column):
            return "table"
        if metadata:
            _refuse_misfit(metadata[0], video_column, caption_column)
    files.require_videos()
    return "folder"


def _refuse_misfit(path: Path, video: str, caption: str) -> None:
    """Raise ValueError for the folder's own table, of which the columns do not fit."""
    way_out = "or set footage.layout to folder to import the videos without the table"
    try:
        columns = find_columns(path, video, caption)
    except ValueError as error:
        raise ValueError(f"{error}; {way_out}") from error
    raise ValueError(
        f"{path}: no column of captions beside {columns.video!r}; rename it to text, set footage.caption_column to it, "
        f"{way_out}"
    )


def list_footage(
    files: FolderFiles, layout: Layout, video_column: str = "", caption_column: str = "", scenario_column: str = ""
) -> Listing:
    """Videos and captions of a folder, a tar or a table; a video without a caption has the caption "".

    Raises:
        ValueError: as the readers do; a bench, which is not footage.
    """
    place = files.top
    if layout == "bench":
        raise ValueError(
            f"footage.path: {place} is a bench: videos of several systems, not footage; set footage.bench to it"
        )
    _say_split(place)
    if layout in ("folder", "realdpo", "videofolder"):
        require_folder(place)
    if layout == "webdataset":
        return read_webdataset(files, caption_column)
    if layout == "videofolder":
        return read_tables(files, find_metadata(files), video_column or "file_name", caption_column, scenario_column)
    if layout == "table":
        tables = find_tables(files, video_column, caption_column)
        return read_tables(files, tables, video_column, caption_column, scenario_column)
    return read_realdpo(files) if layout == "realdpo" else _list_folder(files, scenario_column)


def _say_split(place: Path) -> None:
    """Say that parts of a set that was split before, by folders or by names of its files, are taken as one set."""
    if not place.is_dir():
        return
    parts = {path.name: re.split("[^a-z]", path.name.lower())[0] for path in [*place.iterdir(), *place.glob("data/*")]}
    train, others = ([name for name, word in parts.items() if word in words] for words in (TRAINING, HELD_OUT))
    if train and others:
        _LOG.warning(
            "%s: %s and %s are imported as one set, and footage.eval_fraction chooses new held-out clips from it; to "
            "keep the split, set footage.path to the first alone",
            *(place, min(train), min(others)),
        )


def _list_folder(files: FolderFiles, scenario: str) -> Listing:
    """Videos of a folder and its subfolders, sorted by path, with their captions, and what else lies in it.

    Captions stand in `<stem>.txt` beside each video; or in captions.txt, prompts.txt or prompt.txt, one a line in the
    order of the videos (the order of video.txt or videos.txt, where there is one); or in captions.csv or
    captions.jsonl with the columns file (relative to the folder) and caption, and perhaps one of scenarios, which
    `scenario` names. Raises ValueError when there are no videos, counts differ, or captions are kept in two ways.
    """
    folder, refused = files.top, files.refused.copy()

    def refuse(row: str, words: str) -> None:
        refused.append(RefusedVideo(row, "bad row", words))

    videos = in_order(folder, files.require_videos())
    captions = captions_of(folder, videos, refuse)
    scenarios = scenarios_of(folder, videos, scenario)
    rows = (
        SourceVideo(path, text, str(path), scenario=scenarios.get(path, ""), caption_problem=problem)
        for path, (text, problem) in zip(videos, captions, strict=True)
    )
    footage = Spool(SourceVideo, rows)
    lists = {*lists_in(folder), *(folder / name for name in ORDERS)}
    stems = {video.with_suffix("") for video in videos}
    texts = {path for path in files.others if path.suffix.lower() == ".txt"}
    beside = {path for path in texts if path.with_suffix("") in stems}
    orphans = texts - lists - beside if beside else set[Path]()
    tables = {path for path in files.others if path.suffix.lower() in TABLE_SUFFIXES} - lists
    tables = {path for path in tables if fits(path)}
    others = files.suffixes(lists | beside | orphans | tables)
    by_name = [tuple(map(str, sorted(paths, key=natural))) for paths in (orphans, tables)]
    return Listing(footage, tuple(refused), others=others, orphans=by_name[0], tables=by_name[1])


REALDPO_DATA = "the paper's own are in the folder finetune/data of github.com/Vchitect/RealDPO"


def find_footage(footage: FootageSettings) -> Listing:
    """Videos of the folder, tar or table that the settings name, and what of it cannot be taken.

    Raises:
        ValueError: no such folder, nothing in it, captions or settings that do not fit.
    """
    place = Path(footage.path)
    if not place.exists():
        origin = f"; {REALDPO_DATA}" if footage.layout == "realdpo" else ""
        raise ValueError(
            f"footage.path: {place} is not a folder, tar or table; set it to the one with your videos{origin}"
        )
    columns = (footage.video_column, footage.caption_column)
    files = folder_files(place)
    layout = detect_layout(files, *columns) if footage.layout == "auto" else footage.layout
    if footage.scenario_column and layout in ("webdataset", "realdpo"):
        raise ValueError(
            f"footage.scenario_column: {place} has no table, so it has no columns; leave the setting empty"
        )
    listing = list_footage(files, layout, *columns, footage.scenario_column)
    if footage.cut != "none" and any(item.takes or item.first_frame for item in listing.footage):
        raise ValueError(
            f"footage.cut: {place} holds takes or first frames, which belong to whole clips; set footage.cut to none"
        )
    return listing


def find_bench(folder: Path) -> Bench:
    """Held-out prompts, their first frames, and the videos of other systems.

    Raises:
        ValueError: not such a folder, or without first frames.
    """
    if not folder.is_dir():
        raise ValueError(
            f"footage.bench: {folder} is not a folder; set it to a folder with prompts.txt, first_frames/ and a folder "
            "of videos per system, or leave it empty and hold out clips with footage.eval_fraction"
        )
    bench = read_bench(folder)
    if not bench.first_frames:
        raise ValueError(f"footage.bench: {folder} has no folder first_frames; add one with a still for each prompt")
    return bench
