"""Bugs of published trainers, each as it was and as it must not come back.

Every test has a check that holds for what is here and that the buggy way, written out beside it, fails.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rushes.backbones.adapters import add_lora
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import TrainSettings
from rushes.noise.draws import seeded
from rushes.objectives.terms import Term
from rushes.training.batches import Batch, NoiseSampler, make_batch
from rushes.training.comparison_checks import unlike
from rushes.training.gradients import backward, plain_errors, row_errors
from rushes.training.loop import train
from rushes.training.reference import Reference
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from .conftest import DataIn, Rows, Small

ONES = (1, 1, 1, 1)
PAIR = [Term("clip", (1.0, -1.0), ONES, 3.0)]


def test_noise_and_time_of_a_pair_drawn_apart(data_in: DataIn, small: Small, tmp_path: Path) -> None:
    """VideoDPO: winner and loser get noise and times of their own, which is most of what the margin then shows."""

    def shared(batch: Batch) -> bool:
        return all(
            torch.equal(batch.noise_RCFHW[r], batch.noise_RCFHW[s]) and torch.equal(batch.t_RF[r], batch.t_RF[s])
            for r, (b, _) in enumerate(batch.place)
            for s, (c, _) in enumerate(batch.place)
            if b == c
        )

    data = data_in(tmp_path)
    batch = make_batch([(c, 0) for c in data.comparisons], data.latents, small(), NoiseSampler(0, data.times))
    generator = seeded("apart")
    assert shared(batch)
    noise = torch.randn(batch.noise_RCFHW.shape, generator=generator)
    assert not shared(replace(batch, noise_RCFHW=noise))
    assert not shared(replace(batch, t_RF=torch.rand(len(batch.place), 1, generator=generator).expand(-1, 4)))
    others = [batch.noise_RCFHW[2 * b] for b in range(1, 6)]
    assert not any(torch.equal(batch.noise_RCFHW[0], noise) for noise in others)  # and none for the whole batch


def test_losers_encoded_without_normalising_their_pixels() -> None:
    """RealDPO's loader maps winners to -1..1 and feeds losers to the codec as 0..255."""
    codec = TinyBackbone.load()
    frames = render(draw_scenes(3, 1, frames=17)[0])
    take = frames.copy()
    take[9:] = take[9]
    winner, loser = (codec.encode(clip[None])[0] for clip in (frames, take))
    raw = codec.codec.encode(torch.from_numpy(take[None]).float())[0]
    assert unlike(winner, loser) == "" and unlike(winner, raw) != ""


def test_a_moving_average_in_bfloat16() -> None:
    """RealDPO: 0.1 % of the way is below half a step of bfloat16, so the reference never moves."""
    network = nn.Linear(64, 64).bfloat16()
    reference = Reference(network, "ema", ema=0.999)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.data.mul_(1.03)
    policy = dict(network.named_parameters())
    reference.update(1)

    def moved(values: dict[str, Tensor]) -> float:
        """Share of the weights that went the right way, about a thousandth of it."""
        start, end, now = (
            torch.cat([each[name].detach().double().flatten() for name in before]) for each in (before, policy, values)
        )
        return float((((now - start) / (end - start) - 1e-3).abs() < 1e-4).double().mean())

    buggy = {name: (0.999 * before[name] + 0.001 * p.detach()).bfloat16() for name, p in policy.items()}
    assert moved(reference.values) > 0.99 and moved(buggy) < 0.01


class Dropping(TinyBackbone):
    """A backbone whose network drops half of its output while it is in training mode."""

    def predict(self, *arguments: Any) -> Tensor:
        return nn.functional.dropout(super().predict(*arguments), 0.5, self.network.training)


def test_dropout_in_the_policy_or_the_reference(data_in: DataIn, small: Small, rows: Rows, tmp_path: Path) -> None:
    """HuViDPO: the policy is in training mode and the reference is not, so no margin is zero at the start."""
    backbone = small()
    backbone.__class__ = Dropping
    backbone.network.train()
    batch = rows([PAIR] * 2, torch.float32)

    @torch.no_grad()
    def margin() -> float:
        policy, reference = row_errors(backbone, batch), row_errors(backbone, batch)
        return float((policy - reference).abs().max())

    assert margin() > 0.01  # the bug
    train(
        backbone,
        data_in(tmp_path),
        TrainSettings(steps=1, batch=2, learning_rate=1e-4),
        tmp_path,
        seed=0,
        identity="dropout",
    )
    *_, row = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert row["clip/margin"] == 0.0 and row["clip/loss"] == pytest.approx(0.693147, abs=1e-5)
    assert not backbone.network.training and margin() == 0.0


def test_a_reference_by_adapters_off_while_other_weights_train(small: Small, rows: Rows) -> None:
    """unslothai/unsloth-zoo#830: with any other weight trained, the model without its adapters drifts too."""
    backbone, batch = small(), rows([PAIR], torch.float32)
    add_lora(backbone.network, backbone.spec.lora_targets, rank=2, alpha=4)
    named = dict(backbone.network.named_parameters())
    next(p for name, p in named.items() if "lora" not in name).requires_grad_(True)
    start, reference = plain_errors(backbone, batch), Reference(backbone.network)
    for p in named.values():
        if p.requires_grad:
            p.data.add_(0.1 * torch.randn(p.shape, generator=seeded("moved")))
    with reference.applied():
        assert torch.equal(plain_errors(backbone, batch), start)
    for name, p in named.items():
        if "lora_B" in name:
            p.data.zero_()  # adapters off
    assert not torch.allclose(plain_errors(backbone, batch), start, rtol=1e-3)


def test_errors_in_the_model_s_own_precision(small: Small, rows: Rows) -> None:
    """DiffusionDPO takes errors in the model's dtype: their fourth digit is noise, and beta is thousands."""
    backbone, batch = small(), rows([PAIR] * 4, torch.float32)
    exact = plain_errors(backbone, batch)

    class Coarse:
        spec, network = backbone.spec, backbone.network

        def predict(self, *arguments: Any) -> Tensor:
            return backbone.predict(*arguments).bfloat16()

    coarse: Any = Coarse()
    mixed = backbone.spec.path.mix(batch.clean_RCFHW, batch.noise_RCFHW, batch.t_RF)
    target = backbone.spec.path.target(batch.clean_RCFHW, batch.noise_RCFHW, batch.t_RF).bfloat16()
    squares = (coarse.predict(mixed, batch.t_RF, batch.condition).detach() - target) ** 2
    buggy = batch.scatter(squares.mean(dim=(1, 3, 4)).float())

    def worst(errors: Tensor) -> float:
        return float(((errors - exact) / exact).abs().max())

    assert worst(plain_errors(coarse, batch)) < 1e-3 < worst(buggy)


def test_the_winner_runs_once_per_loser(small: Small, rows: Rows) -> None:
    """RealDPO runs the winner again for each of its losers: 2 N forwards in place of N + 1."""
    losers = 3
    terms = [
        Term("clip", (1.0, *(-1.0 if j == k else 0.0 for j in range(losers))), ONES, 3.0, 1 / losers)
        for k in range(losers)
    ]
    together, in_pairs = rows([terms], torch.float32), rows([PAIR] * losers, torch.float32)
    backbone, ran = small(), 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal ran
        ran += len(inputs[0])

    with_hook = backbone.network.register_forward_pre_hook(count)
    for batch, expected in ((together, losers + 1), (in_pairs, 2 * losers)):
        ran = 0
        backward(backbone, batch, torch.ones(len(batch.terms.beta_BK), batch.views, 4))
        assert ran == expected
    with_hook.remove()


def test_the_given_first_frame_noised_and_scored(data_in: DataIn, small: Small, tmp_path: Path) -> None:
    """A frame that is given is at time 0 and has no label; what a model says of it reaches no weight."""
    data = data_in(tmp_path, first_frame=True)
    backbone = small()
    batch = make_batch([(c, 0) for c in data.comparisons], data.latents, backbone, NoiseSampler(0, data.times))
    path = backbone.spec.path

    def kept(t_RF: Tensor) -> bool:
        seen = path.mix(batch.clean_RCFHW, batch.noise_RCFHW, t_RF)
        return torch.equal(seen[:, :, 0], batch.clean_RCFHW[:, :, 0])

    assert kept(batch.t_RF) and not kept(batch.t_RF[:, 1:2].expand_as(batch.t_RF))
    assert not batch.terms.scored_BKF[..., 0].any() and batch.terms.scored_BKF[..., 1:].all()
