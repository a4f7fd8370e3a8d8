from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rushes.objectives.diagnostics import diagnose
from rushes.objectives.losses import ViewErrors
from rushes.objectives.terms import Reduction, Term

from .conftest import MakeBatch, MakeErrors


def pair(labels: tuple[int, ...], reduction: Reduction = "clip", beta: float = 10.0, weight: float = 1.0) -> Term:
    return Term(reduction, (1.0, -1.0), labels, beta, weight, reduction=reduction)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def test_diagnose_by_hand(make_batch: MakeBatch) -> None:
    """Three comparisons of beta 2, so a logit is minus the margin: -(-1 - 1) = 2, -(3 + 3) = -6, and one at 0."""
    policy = torch.tensor([[[1.0], [3.0]], [[5.0], [-1.0]], [[2.0], [2.0]], [[9.0], [2.0]]], dtype=torch.float64)
    reference = torch.full((4, 2, 1), 2.0, dtype=torch.float64)
    terms = make_batch([[pair((1,), beta=2.0)], [pair((1,), beta=2.0)], [pair((-1,), beta=2.0)], [pair((0,))]], 2)
    made = diagnose(ViewErrors(policy, reference), terms)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = {
        "clip/winner_relative_error": (-1 + 3 + 0) / 3,
        "clip/loser_relative_error": (1 - 3 + 0) / 3,
        "clip/loss": -(log_sigmoid(2) + log_sigmoid(-6) + log_sigmoid(0)) / 3,
        "clip/accuracy": (1 + 0 + 0.5) / 3,
        "clip/margin": (2 - 6 + 0) / 3,
        "clip/spread": float(np.std([2, -6, 0])),
        "clip/gradient": (sigmoid(-2) + sigmoid(6) + 0.5) / 3,
        "clip/saturated": 1 / 3,
        "clip/beta": 2.0,
    }
    assert made == pytest.approx(expected)


def test_diagnose_follows_labels_and_weights(make_batch: MakeBatch) -> None:
    """Where the label is -1 the second view is the winner; terms of weight zero are not looked at."""
    policy = torch.tensor([[[1.5, 2.0], [1.0, 4.0]], [[7.0, 7.0], [0.0, 0.0]]], dtype=torch.float64)
    reference = torch.ones(2, 2, 2, dtype=torch.float64)
    terms = make_batch([[pair((1, -1), "segment")], [pair((1, 1), "segment", weight=0.0)]], 2)
    made = diagnose(ViewErrors(policy, reference), terms)
    assert made["segment/winner_relative_error"] == pytest.approx((0.5 + 3.0) / 2)
    assert made["segment/loser_relative_error"] == pytest.approx((0.0 + 1.0) / 2)


def test_diagnose_supervised(make_batch: MakeBatch, make_errors: MakeErrors) -> None:
    errors = make_errors(2, 1, 2)
    terms = make_batch(
        [[Term("sft", (1.0,), (1, 1), loss_type="error")], [Term("sft", (1.0,), (0, 0), loss_type="error")]], 1
    )
    assert diagnose(errors, terms) == {"sft/error": pytest.approx(errors.policy_BVF[0].mean().item())}
    assert diagnose(errors, replace(terms, labels_BKF=terms.labels_BKF * 0)) == {}
