#!/usr/bin/env python3
"""Memory and speed of preflight and import, from 1,000 to many files: python benchmarks/footage.py 1000 20000 [LAYOUT].

Each number of files is measured in a process of its own. Files are hard links to 50 clips of 20 frames at 48x32, each
under a caption of its own, so that decoding, which takes no memory that grows, does not hide the rest.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rushes.config.tables import FootageSettings
from rushes.footage.ingest import import_reviewed
from rushes.footage.preflight import Length, PreflightOptions, review
from rushes.footage.probe_cache import ProbeCache
from rushes.formats.listing import find_footage
from rushes.media.write import write_video
from rushes.store.database import Store

DISTINCT = 50


def main(counts: list[int], layout: str) -> None:
    """Print a row for each number of files."""
    print("layout      files  preflight s  again s  import s  again s  peak MB  of it before MB")
    peaks: dict[int, float] = {}
    for count in counts:
        result = subprocess.run(
            [sys.executable, __file__, "--measure", str(count), layout], capture_output=True, text=True, check=True
        )
        row = json.loads(result.stdout)
        peaks[count] = row["peak"]
        print(f"{layout:<10} {count:>6}  {row['preflight']:>11.1f}  {row['again']:>7.1f}  {row['import']:>8.1f}  "
              f"{row['import_again']:>7.1f}  {row['peak']:>7.0f}  {row['before']:>15.0f}", flush=True)  # fmt: skip
    if len(peaks) > 1:
        few, many = min(peaks), max(peaks)
        print(f"{(peaks[many] - peaks[few]) * 1000 / (many - few):.2f} kB more for each further file")


def measure(count: int, layout: str) -> dict[str, float]:
    """Seconds of each step and the most memory the process ever held, in MB."""
    with TemporaryDirectory() as folder:
        place = make(Path(folder), count, layout)
        before = peak_mb()
        footage = FootageSettings(kind="folder", path=str(place), eval_fraction=0.1)
        ask = PreflightOptions(Length(17, 8.0, lambda frames: frames), 32, 32, footage)
        seconds: dict[str, float] = {}
        with Store.create(Path(folder) / "project") as store:
            for suffix in ("", "_again"):
                with ProbeCache(store.project) as facts:
                    began = time.perf_counter()
                    done = review(facts, find_footage(footage), None, ask)
                    seconds["again" if suffix else "preflight"] = time.perf_counter() - began
                    began = time.perf_counter()
                    taken, _ = import_reviewed(store, facts, done, ask)
                    seconds[f"import{suffix}"] = time.perf_counter() - began
                assert taken.clips == done.clips == count
        return {**seconds, "peak": peak_mb(), "before": before}


def make(folder: Path, count: int, layout: str) -> Path:
    """Footage of `count` files."""
    clips = []
    for k in range(DISTINCT):
        path = folder / f"{k}.mp4"
        write_video(path, np.random.default_rng(k).integers(0, 255, (20, 32, 48, 3), np.uint8), 8)
        clips.append(path)
    place = folder / "footage"
    place.mkdir()
    if layout == "webdataset":
        with tarfile.open(place / "all.tar", "w") as tar:
            for k in range(count):
                for name, data in ((f"{k:06d}.mp4", clips[k % DISTINCT].read_bytes()), (f"{k:06d}.txt", text(k))):
                    header = tarfile.TarInfo(name)
                    header.size = len(data)
                    tar.addfile(header, io.BytesIO(data))
        return place
    for k in range(count):
        within = place / f"{k // 1000:03d}"
        within.mkdir(exist_ok=True)
        os.link(clips[k % DISTINCT], within / f"{k:06d}.mp4")
        (within / f"{k:06d}.txt").write_bytes(text(k))
    return place


def text(k: int) -> bytes:
    """A caption of 200 bytes."""
    return f"Clip {k} of a person who walks past a window and turns to look at what is outside. ".ljust(
        200, "."
    ).encode()


def peak_mb() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        print(json.dumps(measure(int(sys.argv[2]), sys.argv[3])))
    else:
        numbers = [argument for argument in sys.argv[1:] if argument.isdigit()]
        main([int(number) for number in numbers], next((a for a in sys.argv[1:] if not a.isdigit()), "folder"))
