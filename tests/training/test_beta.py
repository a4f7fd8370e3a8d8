from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.config.tables import TrainSettings
from rushes.objectives.losses import ViewErrors, loss, term_logits
from rushes.objectives.terms import Term, collate
from rushes.training import checkpoint
from rushes.training.beta import RANGE, RATE, AutoBeta, equivalents, propose, scaled, trial_comparisons
from rushes.training.comparison import Comparison
from rushes.training.history import read_history
from rushes.training.loop import train

from .conftest import DataIn, Small


def test_equivalents_give_the_same_logit() -> None:
    """Each convention worked out on raw squared errors, of which the given first frame has none."""
    elements, frames, scored, beta = 12, 5, 4, 2000.0
    errors = torch.rand(2, frames, elements, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors[:, 0] = 0.0
    gap = errors[1] - errors[0]
    ours = beta / 2 * gap[1:].mean()
    half, no_half, total, total_no_half, with_t, over_all = equivalents(beta, elements, frames, scored).values()
    for other in (
        half / 2 * gap[1:].mean(),
        no_half * gap[1:].mean(),
        total / 2 * gap.sum(),
        total_no_half * gap.sum(),
        with_t * 1000 * gap.sum(),
        over_all / 2 * gap.mean(),
    ):
        assert float(other) == pytest.approx(float(ours))


def test_a_published_equivalent() -> None:
    """beta 5000 on CogVideoX's latents at 480 x 720, 49 frames, is 0.0045 on sums."""
    same = equivalents(5000.0, 16 * 60 * 90, 13, 13)
    assert next(value for name, value in same.items() if "SimpleTuner" in name) == pytest.approx(0.00445, rel=1e-2)


def row(step: int, winner: float, typical: float, margin: float = 0.1) -> dict[str, float]:
    name = "held_out/clip"
    values = {"winner_relative_error": winner, "typical": typical, "margin": margin, "beta": 0.5}
    return {"step": step, "clip/margin": 9.0, **{f"{name}/{key}": value for key, value in values.items()}}


def test_the_proposal_is_read_where_winners_fit_best() -> None:
    rows = [row(0, 0.0, 0.0), row(2, -0.001, 0.0001), row(4, -0.002, 0.0005), row(6, 0.01, 0.003)]
    (found,) = propose(rows)
    assert (found.level, found.step, found.turned, found.winner) == ("clip", 4, True, -0.002)
    assert found.margin == pytest.approx(2 * 0.0005 / 0.5)
    factor = 1 / (1 + math.exp(found.beta / 2 * found.margin))
    assert factor == pytest.approx(0.2)
    assert found.linear < found.beta < found.saturated
    assert found.linear / 2 * found.margin == pytest.approx(0.1, rel=0.01)
    assert found.saturated / 2 * found.margin == pytest.approx(5.0, rel=0.01)
    assert propose(rows, target=0.1)[0].beta > found.beta
    assert not propose(rows[:3])[0].turned


def test_a_trial_that_moves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"changed no margin; raise train\.learning_rate, or --steps"):
        propose([row(0, 0.0, 0.0), row(2, 0.0, 0.0)])


def test_a_trial_pulls_all_pairs_alike_and_has_no_anchor() -> None:
    labels = (0, 1, 1)
    anchor = Term("supervised", (1.0, 0.0), labels, weight=100.0, loss_type="error")
    strong = Term("clip", (1.0, -1.0), labels, 2000.0, loss_type="hinge", smoothing=0.1, reference=False)
    weak = Term("state", (1.0, -1.0), labels, 500.0)
    (made,) = trial_comparisons([Comparison("a", "a", (), (anchor, strong, weak))])
    assert [(term.level, term.beta) for term in made.terms] == [("clip", 1.0), ("state", 0.25)]
    assert made.terms[0].loss_type == "sigmoid" and made.terms[0].reference and not made.terms[0].smoothing
    with pytest.raises(ValueError, match="compares nothing, so it has no beta"):
        trial_comparisons([Comparison("a", "a", (), (anchor,))])


def test_scaling_terms_scales_logits() -> None:
    terms = collate([[Term("clip", (1.0, -1.0), (1, 1), 3.0)]], 2, 2)
    errors = ViewErrors(torch.rand(1, 2, 2), torch.rand(1, 2, 2))
    assert torch.allclose(term_logits(errors, scaled(terms, 4.0), 0)[0], 4 * term_logits(errors, terms, 0)[0])
    assert scaled(terms, 1.0) is terms and float(loss(errors, terms)) == float(loss(errors, scaled(terms, 1.0)))


def test_automatic_beta_moves_towards_its_target_and_stays_in_range() -> None:
    auto = AutoBeta(0.2)
    auto.update({"clip/gradient": 0.5, "state/gradient": 0.3, "gradient_norm": 9.0})
    assert auto.scale == pytest.approx(math.exp(RATE * 0.2))
    auto.update({"clip/gradient": 0.0})
    assert auto.scale == pytest.approx(math.exp(RATE * 0.0), abs=1e-12)
    for _ in range(2000):
        auto.update({"clip/gradient": 0.5})
    assert auto.scale == pytest.approx(RANGE)
    off = AutoBeta()
    off.update({"clip/gradient": 0.5})
    assert off.scale == 1.0


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(
        **{"batch": 2, "learning_rate": 1e-3, "checkpoint_every": 5, "warmup_steps": 1, "auto_beta": 0.2, **changes}
    )


def test_automatic_beta_is_restored_to_the_bit(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data = data_in(tmp_path, held_out=2)

    def go(folder: str, steps: int, **changes: Any) -> None:
        chosen = settings(steps=steps, lr_scheduler="constant", **changes)
        train(small(), data, chosen, tmp_path / folder, seed=0, identity="a run")

    go("whole", 20)
    go("parts", 10)
    go("parts", 20)
    ends = [checkpoint.latest(tmp_path / name / "checkpoints") for name in ("whole", "parts")]
    assert ends[0] is not None and ends[1] is not None
    assert ends[0].facts["beta_scale"] == ends[1].facts["beta_scale"] != 1.0
    assert all(torch.equal(ends[0].tensors[name], ends[1].tensors[name]) for name in ends[0].tensors)
    rows = read_history(tmp_path / "whole" / "metrics.jsonl")
    assert rows[1]["clip/beta"] == pytest.approx(3.0) and rows[2]["clip/beta"] == pytest.approx(
        3.0 * math.exp(0.3 * RATE)
    )
    assert rows[-1]["held_out/clip/beta"] == pytest.approx(3.0 * ends[0].facts["beta_scale"])


def test_automatic_beta_keeps_the_factor_nearer_its_target(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    """A tenfold too strong beta, with and without."""
    data = data_in(tmp_path)
    strong = replace(data, comparisons=[replace(c, terms=(replace(c.terms[0], beta=300.0),)) for c in data.comparisons])
    ends = []
    for target in (0.0, 0.3):
        folder = tmp_path / str(target)
        train(
            small(),
            strong,
            settings(steps=60, auto_beta=target, lr_scheduler="constant"),
            folder,
            seed=0,
            identity="a run",
        )
        rows = read_history(folder / "metrics.jsonl")[-10:]
        ends.append(sum(row["clip/gradient"] for row in rows) / 10)
        assert json.dumps(rows)
    assert abs(ends[1] - 0.3) < abs(ends[0] - 0.3)
