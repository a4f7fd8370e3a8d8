from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import TrainSettings
from rushes.training import checkpoint
from rushes.training.loop import TrainingData, train
from rushes.training.monitor import NOBODY, RunMonitor, Sampler
from rushes.training.reference import EmaWeights

from .conftest import DataIn, Small

Weights = dict[str, torch.Tensor]
DECAY = 0.3  # above the warm-up's 2/11 and 3/12, below its 4/13


def run(
    backbone: TinyBackbone, data: TrainingData, folder: Path, watch: RunMonitor | None = None, **changes: Any
) -> Weights:
    settings = TrainSettings.model_validate(
        {
            "batch": 2,
            "learning_rate": 1e-2,
            "checkpoint_every": 2,
            "warmup_steps": 0,
            "lr_scheduler": "constant",
            "gradients": "joint",
            **changes,
        }
    )
    train(backbone, data, settings, folder, seed=0, identity="", watch=watch or NOBODY)
    return {name: p.detach().clone() for name, p in backbone.network.named_parameters()}


def test_what_is_written_is_the_average_over_the_steps(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data, start = data_in(tmp_path), small()
    expected = {name: p.detach().clone() for name, p in start.network.named_parameters()}
    for steps in range(1, 5):
        trained = run(small(), data, tmp_path / str(steps), steps=steps)
        keep = min(DECAY, (1 + steps) / (10 + steps))
        expected = {name: keep * value + (1 - keep) * trained[name] for name, value in expected.items()}
    written = run(small(), data, tmp_path / "average", steps=4, weights_ema=DECAY)
    for name, value in expected.items():
        torch.testing.assert_close(written[name], value, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(written["leave.weight"], trained["leave.weight"], rtol=1e-4)


def test_a_run_with_an_average_goes_on_to_the_bit(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data = data_in(tmp_path, held_out=2)
    on: dict[str, Any] = {"weights_ema": 0.9, "caption_dropout": 0.5}
    whole = run(small(), data, tmp_path / "whole", steps=6, **on)
    run(small(), data, tmp_path / "parts", steps=4, **on)
    parts = run(small(), data, tmp_path / "parts", steps=6, **on)
    again = run(small(), data, tmp_path / "parts", steps=6, **on)  # nothing is left to do, and the same is written
    for name, value in whole.items():
        assert torch.equal(value, parts[name]) and torch.equal(value, again[name])
    state = checkpoint.latest(tmp_path / "parts" / "checkpoints")
    assert state is not None
    assert all(torch.equal(value, whole[name]) for name, value in state.part("average/").items())
    assert any(not torch.equal(value, whole[name]) for name, value in state.part("policy/").items())


def test_samples_are_made_with_what_would_be_written(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    backbone, seen = small(), []

    def make() -> list[np.ndarray]:
        seen.append(backbone.network.leave.weight.detach().clone())  # type: ignore[union-attr, operator]
        return [np.zeros((5, 32, 32, 3), np.uint8)]

    watch = RunMonitor(Sampler(make, tmp_path / "run", 8.0))
    written = run(backbone, data_in(tmp_path), tmp_path / "run", watch, steps=2, weights_ema=0.9, sample_every=1)
    assert len(seen) == 3 and torch.equal(seen[-1], written["leave.weight"])


def test_an_average_is_float32_beside_weights_in_bfloat16(small: Small) -> None:
    network = small().network.bfloat16()
    average = EmaWeights(network, 0.999)
    p = network.leave.weight  # type: ignore[union-attr]
    before = average.values["leave.weight"].clone()
    with torch.no_grad():
        p += 0.1  # type: ignore[operator]
    for step in range(100_000, 100_010):
        average.update(step)
    moved = average.values["leave.weight"] - before
    assert moved.dtype == torch.float32 and float(moved.mean()) == pytest.approx(0.1 * (1 - 0.999**10), rel=0.05)
