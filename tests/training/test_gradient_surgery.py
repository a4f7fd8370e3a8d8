"""Losers' gradients apart: the same in every mode, and scaled so that the winners' error does not rise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rushes.backbones.adapters import add_lora
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import ObjectiveSettings, TrainSettings
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.safeguards import guarded
from rushes.objectives.terms import Reduction, Term
from rushes.training.batches import Batch
from rushes.training.gradient_surgery import LoserGradients
from rushes.training.gradients import backward, row_errors
from rushes.training.loop import train
from rushes.training.memory import GradientMode
from rushes.training.parallel import Ranks

from .conftest import DataIn, Referenced, Rows, Small

ONES, MIXED = (1, 1, 1, 1), (0, 1, -1, 1)
BETA = 3.0


def pair(labels: tuple[int, ...], reduction: Reduction = "clip") -> list[Term]:
    return [Term("level", (1.0, -1.0), labels, BETA, reduction=reduction)]


CASES: dict[str, Sequence[Sequence[Term]]] = {
    "pair": [pair(ONES)] * 2,
    "two losers": [[Term("clip", a, ONES, BETA, 0.5) for a in ((1.0, -1.0, 0.0), (1.0, 0.0, -1.0))]],
    "labels per segment": [pair(MIXED, "segment"), pair(ONES, "segment")],
    "sum inside": [pair(MIXED, "sum_inside")],
    "guarded": [guarded(pair(ONES), sft_weight=0.5, dpop_weight=0.9)],
}
every_case = pytest.mark.parametrize("case", CASES)


def flat(grads: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(grads, like, strict=True)])


def apart(
    backbone: TinyBackbone, batch: Batch, reference: Tensor, mode: GradientMode
) -> tuple[Tensor, Tensor, LoserGradients]:
    """Winners' and losers' gradients as vectors, and what would add them."""
    backbone.network.zero_grad(set_to_none=True)
    trained = [p for p in backbone.network.parameters() if p.requires_grad]
    losers = LoserGradients(trained)
    backward(backbone, batch, reference, mode, losers=losers)
    return flat([p.grad for p in trained], trained), flat(losers.grads, trained), losers


def exact(small: Small, rows: Rows, case: str) -> tuple[TinyBackbone, Batch]:
    backbone = small()
    backbone.network.double()
    return backbone, rows(CASES[case], torch.float64)


def coefficients(backbone: TinyBackbone, batch: Batch, reference: Tensor) -> Tensor:
    """dL/de by another road: through the whole loss, on errors without a graph."""
    with torch.no_grad():
        errors = batch.scatter(row_errors(backbone, batch))
    errors.requires_grad_()
    loss(ViewErrors(errors, reference), batch.terms).backward()
    assert errors.grad is not None
    return errors.grad


@every_case
@pytest.mark.parametrize("mode", ["joint", "stash", "two_pass"])
def test_both_parts_are_those_of_the_errors_pulled_down_and_pushed_up(
    case: str, mode: GradientMode, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    backbone, batch = exact(small, rows, case)
    reference = reference_of(batch)
    c = coefficients(backbone, batch, reference)
    trained = list(backbone.network.parameters())
    expected = [
        flat(
            torch.autograd.grad((batch.scatter(row_errors(backbone, batch)) * part).sum(), trained, allow_unused=True),
            trained,
        )
        for part in (c.clamp(min=0), c.clamp(max=0))
    ]
    winners, losers, _ = apart(backbone, batch, reference, mode)
    for got, right in zip((winners, losers), expected, strict=True):
        assert right.norm() > 1e-3 and (got - right).norm() <= 1e-10 * right.norm()


@every_case
def test_unscaled_they_add_up_to_the_gradient(case: str, small: Small, rows: Rows, reference_of: Referenced) -> None:
    backbone, batch = exact(small, rows, case)
    reference = reference_of(batch)
    winners, losers, _ = apart(backbone, batch, reference, "joint")
    backbone.network.zero_grad(set_to_none=True)
    backward(backbone, batch, reference, "joint")
    trained = list(backbone.network.parameters())
    whole = flat([p.grad for p in trained], trained)
    assert (winners + losers - whole).norm() <= 1e-12 * whole.norm()


def slope_of_winners(backbone: TinyBackbone, batch: Batch, c: Tensor, rate: float) -> float:
    """Change of the weighted winners' error in a small step of gradient descent, over the rate."""
    trained = list(backbone.network.parameters())

    def error() -> float:
        with torch.no_grad():
            return float((batch.scatter(row_errors(backbone, batch)) * c.clamp(min=0)).sum())

    before = error()
    with torch.no_grad():
        for p in trained:
            if p.grad is not None:
                p.sub_(rate * p.grad)
    after = error()
    return (after - before) / rate


def alike(batch: Batch) -> Batch:
    """Losers as near their winner as guided pairs are: unlearning one unlearns the other."""
    clean = batch.clean_RCFHW.clone()
    clean[1::2] = clean[0::2] + 0.05 * clean[1::2]
    return Batch(clean, batch.noise_RCFHW, batch.t_RF, batch.condition, batch.place, batch.terms)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_no_step_makes_the_winners_worse(share: float, small: Small, rows: Rows) -> None:
    """On a pair whose winner a plain step makes worse, by measuring the error after a small step."""
    backbone, batch = exact(small, rows, "pair")
    batch = alike(batch)
    # The loser's errors are above: to first order the plain step pushes more than it pulls.
    reference = torch.ones(2, 2, 4, dtype=torch.float64)
    batch.terms.coefficients_BKV[:, :, 1] *= 1.5  # as no recipe may: the two gradients alone are nearly opposite
    c = coefficients(backbone, batch, reference)
    plain = exact(small, rows, "pair")[0]
    backward(plain, batch, reference, "joint")
    assert slope_of_winners(plain, batch, c, 1e-6) > 0
    winners, _, losers = apart(backbone, batch, reference, "joint")
    scale = losers.add(share)
    assert 0 < scale < 1
    measured = slope_of_winners(backbone, batch, c, 1e-6)
    allowed = -share * float(winners.norm() ** 2)
    assert measured == pytest.approx(allowed, rel=1e-3, abs=1e-4 * float(winners.norm() ** 2))


def test_a_loser_that_does_no_harm_is_left_alone() -> None:
    p = torch.zeros(2, requires_grad=True)
    for loser, expected in (((1.0, 3.0), 1.0), ((-0.5, 3.0), 1.0), ((-2.0, 3.0), 0.5), ((-4.0, 0.0), 0.25)):
        p.grad = torch.tensor([1.0, 0.0])
        losers = LoserGradients([p])
        losers.grads = [torch.tensor(loser)]
        assert losers.add(0.0) == pytest.approx(expected)
        assert p.grad.tolist() == pytest.approx([1 + expected * loser[0], expected * loser[1]])


def test_weights_that_only_one_side_has_are_kept() -> None:
    one, two = (torch.zeros(1, requires_grad=True) for _ in range(2))
    one.grad = torch.tensor([2.0])
    losers = LoserGradients([one, two])
    losers.grads = [None, torch.tensor([-3.0])]
    assert losers.add(0.9) == 1.0
    assert one.grad.tolist() == [2.0] and two.grad is not None and two.grad.tolist() == [-3.0]


def test_an_error_while_filling_puts_the_gradients_back() -> None:
    p = torch.zeros(1, requires_grad=True)
    p.grad = torch.tensor([2.0])
    losers = LoserGradients([p])
    with pytest.raises(RuntimeError), losers.filling():
        p.grad = torch.tensor([5.0])
        raise RuntimeError
    assert p.grad.tolist() == [2.0] and losers.grads[0] is not None and losers.grads[0].tolist() == [5.0]


def test_adapters_are_kept_apart_alone(small: Small, rows: Rows, reference_of: Referenced) -> None:
    backbone, batch = small(), rows(CASES["pair"], torch.float32)
    add_lora(backbone.network, backbone.spec.lora_targets, rank=2, alpha=4)
    trained = [p for p in backbone.network.parameters() if p.requires_grad]
    losers = LoserGradients(trained)
    backward(backbone, batch, reference_of(batch), "stash", losers=losers)
    assert all(g is None or g.shape == p.shape for g, p in zip(losers.grads, trained, strict=True))
    assert any(g is not None and g.any() for g in losers.grads)
    assert all(p.grad is None for p in backbone.network.parameters() if not p.requires_grad)


def test_sharded_weights_are_refused(data_in: DataIn, small: Small, tmp_path: Path) -> None:
    settings = TrainSettings(steps=1, batch=2, parallel="shard", objective=ObjectiveSettings(safe_dpo=True))
    with pytest.raises(ValueError, match=r"train\.objective\.safe_dpo: .* set train\.parallel to \"replicate\""):
        train(small(), data_in(tmp_path), settings, tmp_path, seed=0, identity="", ranks=Ranks(0, 2))


def test_training_uses_and_logs_it(data_in: DataIn, small: Small, tmp_path: Path) -> None:
    def curve(name: str, **objective: Any) -> list[str]:
        settings = TrainSettings(
            steps=3,
            batch=2,
            learning_rate=1e-3,
            warmup_steps=0,
            objective=ObjectiveSettings(**objective),
            checkpoint_every=3,
        )
        train(small(), data_in(tmp_path), settings, tmp_path / name, seed=0, identity=name)
        return (tmp_path / name / "metrics.jsonl").read_text().splitlines()

    plain, safe = curve("plain"), curve("safe", safe_dpo=True, safe_dpo_share=0.9)
    assert not any("loser_scale" in row for row in plain)
    assert len(safe) == len(plain) and all('"loser_scale": ' in row for row in safe[1:])
    assert safe[-1] != plain[-1]
