"""Footage and benches that the settings name."""

from __future__ import annotations

from pathlib import Path

from rushes.config.tables import FootageSettings
from rushes.formats.layouts import Bench, Listing, read_bench
from rushes.formats.listing import detect_layout, list_footage

REALDPO_DATA = "the paper's own are in the folder finetune/data of github.com/Vchitect/RealDPO"


def find_footage(footage: FootageSettings) -> Listing:
    """Videos of the folder, tar or table that the settings name, and what of it cannot be taken.

    Raises:
        ValueError: no such folder, nothing in it, captions or settings that do not fit.
    """
    place = Path(footage.path)
    if not place.exists():
        origin = f"; {REALDPO_DATA}" if footage.layout == "realdpo" else ""
        raise ValueError(f"footage.path: {place} is not a folder, tar or table; name that of your videos{origin}")
    columns = (footage.video_column, footage.caption_column)
    layout = detect_layout(place, *columns) if footage.layout == "auto" else footage.layout
    if footage.scenario_column and layout in ("webdataset", "realdpo"):
        raise ValueError(f"footage.scenario_column: {place} has no table; leave it empty")
    listing = list_footage(place, layout, *columns, footage.scenario_column)
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
            f"footage.bench: {folder} is not a folder; name one with prompts.txt, first_frames/ and a folder of "
            "videos for each system, or leave it empty and hold out clips with footage.eval_fraction"
        )
    bench = read_bench(folder)
    if not bench.first_frames:
        raise ValueError(f"footage.bench: {folder} has no folder first_frames; held-out prompts need one still each")
    return bench
