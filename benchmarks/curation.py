#!/usr/bin/env python3
"""Import, curation and data card of many tiny clips, each killed on its way: python benchmarks/curation.py 1000 10000.

Clips of 3 frames at 32x32 px, cut out of moving textures, no two alike but for a tenth, which are copies under other
captions. Each command is a process of its own, of one worker, killed (SIGKILL) once part of its work is done and then
started again; told are the seconds of both, also of the processor, and the most memory that either held. The scratch
goes to the folder that TMPDIR names: 12 kB a clip for footage and project.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from numpy.typing import NDArray

FRAMES, SIDE_PX, FPS = 3, 32, 8
_COPIES = 10  # every tenth clip is a copy of the one before
_FOLDER = 1000  # clips in one
_CARD_S = 3.0  # after which the card is cut off
_TEXTURE_PX, _TEXTURES = 128, 200
RUSHES = (sys.executable, "-m", "rushes")


def main(counts: list[int]) -> None:
    """Print a row for each command and number of clips."""
    print(
        f"{'clips':>7}  {'command':<8}  {'seconds':>8}  {'of processor':>12}  {'peak MB':>8}  {'killed at':>9}",
        flush=True,
    )
    for count in counts:
        with TemporaryDirectory() as folder:
            footage, project = Path(folder) / "footage", Path(folder) / "project"
            make(footage, count)
            size = [f"--set=backbone.{name}" for name in (f"height_px={SIDE_PX}", f"width_px={SIDE_PX}")]
            length = [f"--set=backbone.frames={FRAMES}", f"--set=backbone.fps={FPS}.0"]
            subprocess.run(
                [*RUSHES, "init", project, "--footage", footage, *size, *length], check=True, capture_output=True
            )
            for name, extra, kind, most in (
                ("import", (), "clips", count / 2),
                ("curate", ("--jobs", "1"), "scores", 12 * count),
                ("card", (), "", _CARD_S),
            ):
                command = [*RUSHES, name, str(project), *extra]
                first = run(command, partial(_beyond, project, kind, most, time.perf_counter()))
                second = run(command)
                killed = f"{first[0]:.0f} s" if first[3] else "ended"
                print(f"{count:>7}  {name:<8}  {first[0] + second[0]:>8.1f}  {first[1] + second[1]:>12.1f}  "
                      f"{max(first[2], second[2]):>8.0f}  {killed:>9}", flush=True)  # fmt: skip
            print(f"{count:>7}  {rows(project, 'clips')} clips, {rows(project, 'decisions')} decisions, "
                  f"{rows(project, 'scores')} values; rushes.db {(project / 'rushes.db').stat().st_size / 1e6:.0f} MB",
                  flush=True)  # fmt: skip


def run(command: list[str], enough: Callable[[], bool] = lambda: False) -> tuple[float, float, float, bool]:
    """Seconds, seconds of the processor, peak MB, and whether it was killed, which it is once `enough` says so."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    killed = False
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if not killed and enough():
            process.kill()
            killed = True
        time.sleep(0.2)
    if not killed and os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)}: {process.stderr.read().decode()[-2000:] if process.stderr else ''}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, killed


def _beyond(project: Path, kind: str, most: float, began: float) -> bool:
    """Whether there are more rows of a kind than `most`; without a kind, whether so many seconds went by."""
    return rows(project, kind) > most if kind else time.perf_counter() - began > most


def rows(project: Path, kind: str) -> int:
    """How many rows of a kind the project holds by now."""
    path = project / "rushes.db"
    if not path.is_file():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM rows WHERE type = ?", (kind,)).fetchone()[0])
    except sqlite3.OperationalError:  # its table is not there yet
        return 0
    finally:
        connection.close()


def make(place: Path, count: int) -> None:
    """Footage of `count` clips with captions beside them."""
    textures = [texture(np.random.default_rng(seed)) for seed in range(_TEXTURES)]
    rng = np.random.default_rng(0)
    frames = moving(textures[0], rng)
    for at in range(count):
        if at % _COPIES:
            frames = moving(textures[rng.integers(_TEXTURES)], rng)
        path = place / f"{at // _FOLDER:04d}" / f"{at:07d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, frames)
        words = " ".join(f"w{word}" for word in (2000 * rng.random(12) ** 3).astype(int))
        path.with_suffix(".txt").write_text(f"Clip {at}: {words}", encoding="utf-8")


def texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """[H,W,3] squares of several sizes in all colours."""
    parts = (
        np.kron(rng.normal(size=(_TEXTURE_PX // px, _TEXTURE_PX // px, 3)), np.ones((px, px, 1))) for px in (4, 16, 32)
    )
    return np.clip(128 + 45 * sum(parts), 20, 235).astype(np.uint8)


def moving(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """[FRAMES,SIDE_PX,SIDE_PX,3] a window that moves over a texture, its colours exchanged."""
    image = image[:, :, rng.permutation(3)]
    image = np.rot90(image, int(rng.integers(4)))
    speed, start = rng.integers(0, 3, 2), rng.integers(0, _TEXTURE_PX - SIDE_PX - 3 * FRAMES, 2)
    speed[rng.integers(2)] += 1
    windows = (start + k * speed for k in range(FRAMES))
    return np.stack([image[top : top + SIDE_PX, left : left + SIDE_PX] for top, left in windows])


def write(path: Path, frames_FHWC: NDArray[np.uint8]) -> None:
    """MPEG-4 part 2, which costs a third of h264."""
    with av.open(path, "w") as out:
        stream = out.add_stream("mpeg4", FPS, options={"qscale": "2"})
        stream.width = stream.height = SIDE_PX
        stream.codec_context.thread_count = 1
        for image in frames_FHWC:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        out.mux(stream.encode())


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
