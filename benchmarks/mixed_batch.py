#!/usr/bin/env python3
"""What a batch of several shapes costs: python benchmarks/mixed_batch.py [--rounds N] [--batch B] [--scale S]

The same comparisons are trained on in one run whose steps hold clips of three shapes (landscape, portrait, square), and
in three runs whose steps hold one each; runs alternate, and the ratio is of the mean seconds of a step within a round.
All steps have as many views, so it is the cost per view. The network is the embedded model's with random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from rushes.backbones.adapters import add_lora
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw, seeded
from rushes.objectives.terms import Term
from rushes.store.latents import LatentStore
from rushes.training.comparison import Comparison, View
from rushes.training.history import CURVES
from rushes.training.loop import TrainingData, train

SHAPES = {"landscape": (5, 4, 6), "portrait": (5, 6, 4), "square": (5, 5, 5)}  # latent frames, height, width
VISITS = 3  # of each comparison in a run


def comparisons(latents: LatentStore, shape: str, count: int, channels: int, scale: int) -> list[Comparison]:
    """Pairs of random latents of one shape."""
    frames, height, width = SHAPES[shape]
    name = f"{frames}x{height}x{width}"
    size = (channels, frames, scale * height, scale * width)
    rows = []
    for at in range(count):
        views = tuple(View(f"{shape}{side}{at}", f"caption {at}", shape=name) for side in "ab")
        latents.put({view.key: torch.randn(*size, generator=seeded(view.key)) for view in views})
        rows.append(
            Comparison(f"{shape} {at}", f"{shape} {at}", views, (Term("clip", (1.0, -1.0), (1,) * frames, 100.0),))
        )
    return rows


def seconds(data: TrainingData, settings: TrainSettings) -> list[float]:
    """Of each step of a run but the first, which makes the optimizer's moments and warms up."""
    backbone = TinyBackbone()
    torch.manual_seed(0)
    add_lora(backbone.network, backbone.spec.lora_targets, 8, 8)
    with TemporaryDirectory() as folder:
        train(backbone, data, settings, Path(folder), seed=0, identity="bench")
        rows = [json.loads(line) for line in (Path(folder) / CURVES).read_text().splitlines()]
    return [row["seconds"] for row in rows[2:]]  # the first row is of step 0


def run(groups: Sequence[list[Comparison]], latents: LatentStore, batch: int) -> tuple[float, float]:
    """Mean seconds of a step, all of which hold as many views: of one mixed run, and of a run of each shape."""

    def of(some: list[Comparison]) -> list[float]:
        steps = VISITS * len(some) // batch
        settings = TrainSettings.model_validate({"steps": steps, "batch": batch, "checkpoint_every": steps})
        return seconds(TrainingData(some, [], latents, TimeDraw("uniform")), settings)

    apart = [step for group in groups for step in of(group)]
    return statistics.mean(of([each for group in groups for each in group])), statistics.mean(apart)


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--scale", type=int, default=1, help="of the latents' height and width")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        latents = LatentStore(Path(folder), "bench")
        channels = TinyBackbone().spec.channels
        groups = [comparisons(latents, shape, asked.batch, channels, asked.scale) for shape in SHAPES]
        run([group[:] for group in groups], latents, asked.batch)
        pairs = [run(groups, latents, asked.batch) for _ in range(asked.rounds)]
    ratios = [mixed / apart for mixed, apart in pairs]
    row = {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "mixed_ms_a_view": 1e3 * statistics.median(mixed for mixed, _ in pairs) / (2 * asked.batch),
        "positions": [frames * height * width * asked.scale**2 for frames, height, width in SHAPES.values()],
        "load": load,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
