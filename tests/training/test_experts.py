from __future__ import annotations

import pytest
import torch

from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import Term, collate
from rushes.training.experts import by_expert
from rushes.training.health import diagnoses

LEVELS = ("high_noise", "low_noise")


def errors_of(winners: list[float], losers: list[float]) -> ViewErrors:
    """Relative errors of winner and loser, the same in both latent frames."""
    policy = torch.tensor([winners, losers]).T[..., None].expand(-1, 2, 2)
    return ViewErrors(policy, torch.zeros_like(policy))


def test_each_comparison_counts_for_the_expert_of_its_time() -> None:
    term = Term("clip", (1.0, -1.0), (1, 1), beta=2.0)
    terms = collate([(term,)] * 4, 2, 2)
    errors = errors_of([-0.1, 0.2, -0.3, -0.5], [0.1, 0.1, 0.1, 0.3])
    found = by_expert(errors, terms, torch.tensor([0.9, 0.875, 0.2, 0.874]), boundary=0.875)
    assert [found[f"expert/{name}/comparisons"] for name in LEVELS] == [2, 2]
    assert [found[f"expert/{name}/clip/accuracy"] for name in LEVELS] == [0.5, 1.0]
    assert [found[f"expert/{name}/clip/winner_relative_error"] for name in LEVELS] == pytest.approx([0.05, -0.4])
    assert [found[f"expert/{name}/clip/loser_relative_error"] for name in LEVELS] == pytest.approx([0.1, 0.2])
    assert [found[f"expert/{name}/clip/margin"] for name in LEVELS] == pytest.approx([0.05, 0.6])
    halves = [found[f"expert/{name}/loss"] for name in LEVELS]
    assert sum(halves) / 2 == pytest.approx(float(loss(errors, terms))) and halves[0] > halves[1]


def test_an_expert_that_was_not_asked_has_no_figures() -> None:
    terms = collate([(Term("clip", (1.0, -1.0), (1, 1), beta=2.0),)], 2, 2)
    found = by_expert(errors_of([-0.1], [0.1]), terms, torch.tensor([0.5]), boundary=0.875)
    assert {key.split("/")[1] for key in found} == {"low_noise"}


def test_experts_are_no_levels_of_their_own() -> None:
    """Nothing is held out of an expert alone, so health would find that it learned nothing."""
    level = {"clip/accuracy": 0.5, "clip/margin": 0.0, "clip/gradient": 0.5, "clip/winner_relative_error": 0.0}
    rows = [{"step": step, "loss": 0.69, **level} for step in range(12)]
    more = [{**row, **{f"expert/low_noise/{key}": value for key, value in level.items()}} for row in rows]
    assert diagnoses(more, 12) == diagnoses(rows, 12) != ()
