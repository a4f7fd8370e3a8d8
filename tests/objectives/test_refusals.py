"""What a user of the public losses and terms can get wrong: one sentence each, before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import torch

from rushes.objectives import Term, ViewErrors, collate, guarded, latent_labels, loss, one_against_each
from rushes.recipes import densedpo, dfdpo, dpo, huvidpo, physhpo, realdpo, sft
from rushes.training.comparison import LatentGrid

LOGISTIC = cast("Any", "logistic")
PAIR = Term("clip", (1.0, -1.0), (1, 1), 500.0)
GRID = LatentGrid(frames=5, temporal_ratio=4, fps=8.0, first_frame=False)
STRUCTURAL, BY_GAP = densedpo.Options(mode="structural"), huvidpo.Options(weight="gap")


def term(**changes: Any) -> Term:
    return Term(**{"level": "clip", "coefficients": (1.0, -1.0), "labels": (1, 1), "beta": 500.0, **changes})


def batch_loss(b: int = 1, v: int = 2, f: int = 2, reference: Sequence[int] = (), **more: Any) -> object:
    """The loss of errors of this shape under the terms of one pair of two frames."""
    errors = ViewErrors(torch.zeros(b, v, f), torch.zeros(*(reference or (b, v, f))))
    return loss(errors, collate([[PAIR]], 2, 2), **more)


def segments(labels: Sequence[int], segment_s: float | None) -> object:
    return latent_labels(labels, segment_s, latent_frames=5, temporal_ratio=4, fps=8.0)


REFUSED: Sequence[tuple[Callable[[], object], str]] = (
    (lambda: term(labels=(1, 2)), "Term 'clip': labels must be +1, -1 or 0, got 2"),
    (lambda: term(labels=()), "Term 'clip': give a label for each latent frame, one or more"),
    (lambda: term(coefficients=(1.0, -0.7)), "Term 'clip': coefficients must sum to zero, got (1.0, -0.7)"),
    (lambda: term(beta=0.0), "Term 'clip': beta must be above 0, got 0.0"),
    (lambda: term(beta=float("nan")), "Term 'clip': beta must be above 0, got nan"),
    (lambda: term(weight=-1.0), "Term 'clip': weight must be 0 or more, got -1.0"),
    (lambda: term(smoothing=0.5), "Term 'clip': smoothing must be in [0, 0.5), got 0.5"),
    (lambda: term(loss_type="logistic"), "Term 'clip': loss_type must be one of sigmoid, ipo, hinge, error, excess"),
    (lambda: term(reduction="mean"), "Term 'clip': reduction must be one of clip, segment, sum_inside, got 'mean'"),
    (
        lambda: term(loss_type="error", reduction="segment"),
        "Term 'clip': reduction must be 'clip' where loss_type is 'error', got 'segment'",
    ),
    (lambda: one_against_each(0, 5, 1.0), "a comparison needs a loser, one or more, got 0"),
    (lambda: one_against_each(1, 0, 1.0), "frames must be 1 or more, got 0"),
    (lambda: realdpo.terms(takes=2, frames=[2, 1]), "Term 'clip': labels must be +1, -1 or 0, got 2"),
    (lambda: realdpo.terms(takes=0, frames=5), "a comparison needs a loser, one or more, got 0"),
    (lambda: dfdpo.terms(-1, 5), "a comparison needs a loser, one or more, got -1"),
    (lambda: huvidpo.terms(2, BY_GAP, gap=-1.0), "Term 'clip': weight must be 0 or more, got -1.0"),
    (lambda: physhpo.terms(("w", "take"), 5), "physhpo.terms: no view is called 'take'; use w, err, gap, swapped"),
    (lambda: sft.terms([]), "Term 'supervised': give a label for each latent frame"),
    (lambda: densedpo.terms([1, 2], 1.0, GRID), "labels must be +1, -1 or 0, got 2"),
    (lambda: densedpo.terms([1, 2], 1.0, GRID, STRUCTURAL), "labels must be +1, -1 or 0, got 2"),
    (lambda: densedpo.terms([1, -1], None, GRID), "2 labels need segment_s, the seconds of a segment"),
    (lambda: dpo.terms(2, GRID), "labels must be +1, -1 or 0, got 2"),
    (lambda: segments([1, 3], 1.0), "labels must be +1, -1 or 0, got 3"),
    (lambda: segments([1, 1], None), "2 labels need segment_s, the seconds of a segment"),
    (lambda: segments([1, 1], 0.0), "segment_s must be above 0, got 0.0"),
    (lambda: guarded([PAIR], loss=LOGISTIC), "guarded: loss must be one of sigmoid, ipo, hinge, got 'logistic'"),
    (lambda: guarded([PAIR], loss=cast(Any, "error")), "guarded: loss must be one of sigmoid, ipo, hinge, got 'error'"),
    (lambda: guarded([PAIR], label_smoothing=0.7), "guarded: label_smoothing must be in [0, 0.5), got 0.7"),
    (lambda: guarded([PAIR], sft_weight=-1.0), "guarded: sft_weight must be 0 or more, got -1.0"),
    (lambda: guarded([PAIR], dpop_weight=float("nan")), "guarded: dpop_weight must be 0 or more, got nan"),
    (lambda: collate([[PAIR]], 1, 2), "collate: a term of 'clip' has 2 coefficients, but views is 1"),
    (lambda: collate([[PAIR]], 2, 1), "collate: a term of 'clip' has 2 labels, but frames is 1"),
    (lambda: collate([[PAIR], [term(loss_type="ipo")]], 2, 2), "collate: terms of level 'clip' differ in loss_type"),
    (lambda: batch_loss(b=2), "loss: errors must be [1, 2, 2], as the terms are, got [2, 2, 2]"),
    (lambda: batch_loss(v=3), "loss: errors must be [1, 2, 2], as the terms are, got [1, 3, 2]"),
    (lambda: batch_loss(f=1), "loss: errors must be [1, 2, 2], as the terms are, got [1, 2, 1]"),
    (lambda: batch_loss(reference=(1, 1, 2)), "loss: errors must be [1, 2, 2], as the terms are, got [1, 1, 2]"),
    (lambda: batch_loss(counts={}), "loss: counts have no level 'clip'"),
)  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_user_can_get_wrong_is_refused_in_a_sentence(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^.*{re.escape(message)}") as refused:
        call()
    assert "\n" not in str(refused.value)


def test_what_is_right_passes() -> None:
    assert guarded([PAIR], loss="ipo", label_smoothing=0.1, sft_weight=1.0, dpop_weight=0.5)
    assert densedpo.terms([1, -1], 1.0, GRID) and dpo.terms(0, GRID) == ()
    assert batch_loss(counts={"clip": torch.tensor(1)}) is not None
