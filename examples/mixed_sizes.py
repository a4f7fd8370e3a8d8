"""Footage of several sizes in one project: a folder of videos, as it is and turned or cropped, from import to report.

    python examples/mixed_sizes.py VIDEOS OUT [--recipe realdpo] [--only portrait] [--set KEY=VALUE ...]

Each video is cut into pieces of at most 4 s. One in four stays as it is, and the others are made 4:3 by cropping,
portrait by turning (square videos: by cropping) and square by cropping. The embedded model is trained a few steps: this
shows that clips, takes and pairs each have their own shape, and nothing about quality.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rushes.arrays import Frames
from rushes.cli import main as rushes
from rushes.media.read import probe, read_video
from rushes.media.write import write_video

FPS, SECONDS, MOST_PIECES, SHORT_PX = 16.0, (1.5, 4.0), 6, 96
SIZES = "[[32, 48], [48, 32], [32, 40], [40, 40]]"
CAPTIONS = {
    "landscape": "a scene",
    "4x3": "a scene of an old film",
    "portrait": "a scene on a telephone",
    "square": "a tile",
}


def pieces(videos: Path) -> Iterator[Frames]:
    """Up to a few pieces of each video of a folder, small, [T, H, W, 3]; those that are too short or broken are not."""
    for path in sorted(each for each in videos.rglob("*") if each.suffix in (".mp4", ".mkv", ".mov")):
        try:
            info = probe(path)
            scale = SHORT_PX / min(info.height_px, info.width_px)
            size = (2 * round(info.height_px * scale / 2), 2 * round(info.width_px * scale / 2))
            frames = read_video(path, fps=FPS, size_px=size, fit="stretch").frames_FHWC
        except ValueError as error:
            print(f"left out: {error}")
            continue
        most = round(SECONDS[1] * FPS)
        for at in range(0, min(len(frames), most * MOST_PIECES), most):
            if len(piece := frames[at : at + most]) >= SECONDS[0] * FPS:
                yield piece


def in_shape(name: str, frames_THWC: Frames) -> Frames:
    """Frames turned or cropped to one of the names of `CAPTIONS`."""
    _, height, width, _ = frames_THWC.shape
    if height == width:
        high, wide = {"landscape": (3 * height // 4, width), "portrait": (height, 3 * width // 4)}.get(
            name, (height, width)
        )
        top, at = (height - high) // 2, (width - wide) // 2
        return np.ascontiguousarray(frames_THWC[:, top : top + high, at : at + wide])
    if height > width:
        frames_THWC, height, width = np.rot90(frames_THWC, axes=(1, 2)), width, height
    if name == "landscape":
        return np.ascontiguousarray(frames_THWC)
    if name == "portrait":
        return np.ascontiguousarray(np.rot90(frames_THWC, axes=(1, 2)))
    wide = min(width, height * 4 // 3 if name == "4x3" else height)
    at = (width - wide) // 2
    return np.ascontiguousarray(frames_THWC[:, :, at : at + wide])


def write_footage(videos: Path, folder: Path, names: Sequence[str]) -> int:
    """Write the pieces with their captions, and every third of them short; how many."""
    folder.mkdir(parents=True)
    count = 0
    for count, piece in enumerate(pieces(videos), 1):
        name = names[count % len(names)]
        frames = in_shape(name, piece)
        path = folder / f"{count:03d}-{name}.mp4"
        write_video(path, frames[: round(SECONDS[0] * FPS)] if count % 3 == 0 else frames, FPS)
        path.with_suffix(".txt").write_text(f"{CAPTIONS[name]}, number {count}\n", encoding="utf-8")
    return count


def main() -> None:
    """Write the footage and run all stages on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", default="realdpo")
    parser.add_argument("--only", action="append", choices=[*CAPTIONS], help="these shapes alone; repeatable")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings in place of these")
    asked = parser.parse_args()
    print(f"{write_footage(asked.videos, asked.out / 'footage', asked.only or [*CAPTIONS])} clips")
    project = str(asked.out / "project")
    sizes = [f"backbone.sizes={SIZES}", "backbone.height_px=32", "backbone.width_px=48", "backbone.frames=[9, 17]"]
    few = ["generate.takes=2", "generate.steps=4", "train.steps=12", "train.batch=4", "train.held_out=2",
           "train.options.beta=100", "evaluate.prompts=8", "evaluate.steps=4", "footage.eval_fraction=0.2"]  # fmt: skip
    sets = [part for each in (*sizes, *few, *asked.set) for part in ("--set", each)]
    commands = [
        ["init", project, "--recipe", asked.recipe, "--footage", str(asked.out / "footage"), "--full"],
        ["preflight", project, *sets],
        ["run", project, *sets],
    ]
    for command in commands:
        print("rushes", *command, flush=True)
        try:
            rushes(command)
        except SystemExit as done:
            if done.code:
                sys.exit(done.code)


if __name__ == "__main__":
    main()
