"""Comparisons of several shapes in one step, one run and one cache."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.objectives.losses import ViewErrors, joined, loss
from rushes.objectives.terms import collate
from rushes.training import loop
from rushes.training.batches import NoiseSampler, make_batch, schedule
from rushes.training.comparison import Comparison, by_shape
from rushes.training.gradients import backward, row_errors
from rushes.training.loop import TrainingData, train
from rushes.training.parallel import ALONE
from rushes.training.probe import measure
from rushes.training.reference_cache import fill, open_cache

from ..projects import CLOCKS
from .conftest import Small

Mixed = Callable[[Path], TrainingData]
VISITS = [(0, 0), (1, 0), (4, 1), (3, 0), (2, 2)]  # all three shapes, out of order; comparison 1 has ties alone


def settings_of(**changes: Any) -> TrainSettings:
    usual = {"steps": 6, "batch": 3, "learning_rate": 1e-3, "checkpoint_every": 3, "warmup_steps": 0}
    return TrainSettings.model_validate(usual | changes)


def chosen_of(data: TrainingData) -> list[tuple[Comparison, int]]:
    return [(data.comparisons[at], visit) for at, visit in VISITS]


def wanted(backbone: TinyBackbone, data: TrainingData, reference: TinyBackbone) -> tuple[Tensor, list[Tensor]]:
    """The loss of all comparisons as the formula has it, each by itself through the network, and its gradient."""
    chosen, draws = chosen_of(data), NoiseSampler(0, data.times)
    views, frames = max(len(c.views) for c, _ in chosen), max(c.frames for c, _ in chosen)

    def errors(model: TinyBackbone) -> Tensor:
        rows = []
        for each in chosen:
            own_VF = row_errors(model, make_batch([each], data.latents, model, draws))
            rows.append(functional.pad(own_VF, (0, frames - own_VF.shape[1], 0, views - own_VF.shape[0])))
        return torch.stack(rows)

    with torch.no_grad():
        reference_BVF = errors(reference)
    value = loss(ViewErrors(errors(backbone), reference_BVF), collate([c.terms for c, _ in chosen], views, frames))
    return value, list(torch.autograd.grad(value, list(backbone.network.parameters()), allow_unused=True))


@pytest.mark.parametrize("gradients", ["joint", "stash", "two_pass"])
def test_the_gradient_of_a_mixed_step_is_the_sum_of_its_comparisons(
    gradients: str, mixed: Mixed, small: Small, tmp_path: Path
) -> None:
    """In closed form: the loss of all errors, each comparison by itself, through one graph."""
    data, backbone, other = mixed(tmp_path), small(), small(seed=1)
    value, expected = wanted(backbone, data, other)
    work = loop._prepare(backbone, data, settings_of(gradients=gradients), 0, ALONE)
    chosen = chosen_of(data)
    counts, parts = work.terms(chosen).counts(), []
    total = torch.zeros(())
    for places, batch in work.own_batches(chosen):
        with torch.no_grad():
            theirs = batch.scatter(row_errors(other, batch))
        own, errors = backward(backbone, batch, theirs, work.strategy, counts)
        total = total + own
        parts.append(errors.among(places, (len(chosen), 3, 4)))
    assert len(parts) == 3
    torch.testing.assert_close(total, value.detach())
    torch.testing.assert_close(loss(joined(parts), work.terms(chosen)), value.detach())
    for p, gradient in zip(backbone.network.parameters(), expected, strict=True):
        assert (p.grad is None) == (gradient is None)
        if gradient is not None:
            torch.testing.assert_close(p.grad, gradient, rtol=2e-4, atol=1e-7)


def curves(folder: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]


def run(data: TrainingData, small: Small, folder: Path, *steps: int, **changes: Any) -> TinyBackbone:
    for count in steps:  # stopped after each
        backbone = small()
        settings = settings_of(steps=count, lr_scheduler="constant", **changes)
        train(backbone, data, settings, folder, seed=0, identity="mixed")
    return backbone


def test_a_mixed_run_that_was_stopped_ends_as_one_that_was_not(mixed: Mixed, small: Small, tmp_path: Path) -> None:
    data = mixed(tmp_path)
    whole, parts = (run(data, small, tmp_path / str(len(steps)), *steps) for steps in ((6,), (3, 6)))
    assert curves(tmp_path / "1") == curves(tmp_path / "2")
    for p, q in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert torch.equal(p, q)


def test_memory_is_measured_of_each_shape_and_the_largest_is_said(mixed: Mixed, small: Small, tmp_path: Path) -> None:
    """A budget below the largest shape's comparison takes that view by view, and the others in one graph."""
    data = mixed(tmp_path)
    strategy = loop._prepare(small(), data, settings_of(), 0, ALONE).strategy
    assert strategy.by_shape.keys() == {"6x4x2x2", "6x2x2x4", "6x4x4x2"}
    assert strategy.view_mib == max(strategy.by_shape.values()) == strategy.by_shape["6x4x4x2"]
    tight = replace(strategy, budget_mib=1.5 * strategy.view_mib)
    draws = NoiseSampler(0, data.times)
    modes = {
        data.comparisons[at].shape: tight.plan(
            make_batch([(data.comparisons[at], 0)], data.latents, small(), draws)
        ).mode
        for at in (2, 1, 4)
    }
    assert modes == {"": "joint", "5x16x32": "joint", "13x32x16": "two_pass"}
    run(data, small, tmp_path / "run", 3)
    assert f"and at most {strategy.view_mib:.0f}" in curves(tmp_path / "run")[0]["gradients_why"]


def test_a_cache_of_several_shapes_gives_what_the_reference_beside_gives(
    mixed: Mixed, small: Small, tmp_path: Path
) -> None:
    data, backbone = mixed(tmp_path), small()
    draws = NoiseSampler(0, data.times)
    cache = open_cache(tmp_path / "bank", 2, weights="w", latents=data.latents, backbone=backbone, draws=draws)
    strategy = loop._prepare(backbone, data, settings_of(), 0, ALONE).strategy
    fill(cache, cache.missing(data.comparisons), backbone, data.latents, draws=draws, strategy=strategy)
    run(data, small, tmp_path / "beside", 4)
    run(replace(data, reference_cache=cache), small, tmp_path / "looked up", 4)
    losses = [[row["loss"] for row in curves(tmp_path / name)[1:]] for name in ("beside", "looked up")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5) and len(set(losses[0])) == 4


def test_a_probe_of_several_shapes_has_every_comparison_once(mixed: Mixed, small: Small, tmp_path: Path) -> None:
    data, backbone = mixed(tmp_path), small()
    work = loop._prepare(backbone, data, settings_of(), 0, ALONE)

    def errors_of(comparisons: Sequence[Comparison]) -> dict[tuple[str, int], Tensor]:
        probe = measure(backbone, work.reference, comparisons, work.batch, 3)
        assert probe is not None
        seen: Counter[str] = Counter()
        rows = {}
        for comparison, errors_VF in zip(probe.comparisons, probe.errors.policy_BVF, strict=True):
            rows[comparison.id, seen[comparison.id]] = errors_VF[errors_VF > 0]
            seen[comparison.id] += 1
        return rows

    together, apart = errors_of(data.comparisons), [errors_of([each]) for each in data.comparisons]
    assert together.keys() == {key for rows in apart for key in rows}
    for rows in apart:
        for key, errors in rows.items():
            torch.testing.assert_close(together[key], errors)


@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 30), st.integers(0, 3))
def test_visits_differ_by_one_at_most_over_any_run(count: int, batch: int, steps: int, seed: int) -> None:
    seen = Counter(at for step in range(steps) for at, _ in schedule(count, batch, step, seed))
    visits = [seen[at] for at in range(count)]
    assert max(visits) - min(visits) <= 1 and sum(visits) == steps * batch


def test_places_of_a_shape_keep_their_order(mixed: Mixed, tmp_path: Path) -> None:
    data = mixed(tmp_path)
    assert by_shape(data.comparisons) == [[0, 2, 5], [1, 3, 6], [4]]
    assert isinstance(data.times, TimeDraw)
