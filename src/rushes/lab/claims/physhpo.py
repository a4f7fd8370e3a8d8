"""PhysHPO (arXiv 2508.10858): four levels of preference, each added in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rushes.lab.claims.base import Arm, Claim, Hypothesis
from rushes.lab.claims.data import MOST, Takes, WrongCaptions
from rushes.records import BASE

LEVELS = ("state", "motion", "semantic")
DATA = (MOST, Takes(1, "gap"), WrongCaptions())
ONE_LOSER: Mapping[str, Any] = {"options": {"losers": 1}}


def _arm(name: str, added: int, **options: Any) -> Arm:
    """The instance level and the first `added` of the others."""
    without: Mapping[str, Any] = {f"{level}_weight": 0.0 for level in LEVELS[added:]}
    return Arm(name, "physhpo", {"options": {**without, **options}}, DATA)


def _adds(level: str, arm: str, against: str) -> Hypothesis:
    return Hypothesis(level, f"The {level} level helps.", arm, against)


CLAIM = Claim(
    "physhpo",
    "PhysHPO (arXiv 2508.10858)",
    arms=(
        _arm("physhpo-error", 0, gap_share=0.0),
        _arm("physhpo-gap", 0),
        _arm("physhpo-state", 1),
        _arm("physhpo-motion", 2),
        _arm("physhpo", 3),
        _arm("physhpo-random-error", 3, err="random"),
        *(Arm(f"data-{name}", "realdpo", ONE_LOSER, (Takes(1),), footage=name) for name in ("random", "selected")),
    ),
    hypotheses=(
        Hypothesis("works", "All four levels improve the base.", "physhpo", BASE),
        Hypothesis(
            "physics",
            "They lower physics errors.",
            "physhpo",
            against=BASE,
            metric="physics_error",
            expects="lower",
            margin=0.02,
        ),
        _adds("gap", "physhpo-gap", "physhpo-error"),
        _adds("state", "physhpo-state", "physhpo-gap"),
        _adds("motion", "physhpo-motion", "physhpo-state"),
        _adds("semantic", "physhpo", "physhpo-motion"),
        Hypothesis(
            "hierarchy",
            "Four levels beat the error sample alone.",
            "physhpo",
            "physhpo-error",
        ),
        Hypothesis(
            "hard-negatives",
            "The take most like the clip is a better loser than a random one.",
            "physhpo",
            "physhpo-random-error",
        ),
        Hypothesis(
            "selected-data",
            "Clips chosen for physical fidelity beat as many at random, half of which have a fault.",
            "data-selected",
            "data-random",
        ),
    ),
)
