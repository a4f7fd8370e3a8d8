"""A training run in a process of its own, to be killed: killed_run.py FOLDER STEPS."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

from rushes.config.tables import TrainSettings
from rushes.training.loop import train

spec = importlib.util.spec_from_file_location("workshop", Path(__file__).with_name("conftest.py"))
assert spec is not None and spec.loader is not None
workshop = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workshop)


def main(folder: Path, steps: int) -> None:
    """Train, or go on; prints a line for every step."""
    torch.set_num_threads(1)
    settings = TrainSettings(
        steps=steps, batch=2, learning_rate=1e-3, checkpoint_every=3, reference="ema", reference_ema=0.9, auto_beta=0.3
    )
    data = workshop.small_data(folder, held_out=2)
    train(
        workshop.small_backbone(),
        data,
        settings,
        folder,
        seed=0,
        identity="killed run",
        progress=lambda step, row: print(step, flush=True),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
