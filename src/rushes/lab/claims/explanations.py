"""Why some claims are not seen, and whether the demo's settings are the better ones where as much is spent as there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rushes.lab.claims import densedpo, huvidpo, realdpo
from rushes.lab.claims.base import Arm, Claim, Hypothesis
from rushes.records import BASE

SEEDS = 3  # its arms take longer than the others
LONG = 192  # four times the steps of the other arms
MANY, TWICE = 8.0, 96  # times the clips: about as many of their pairs have a label as twice the steps take
ANCHORED: Mapping[str, Any] = {"learning_rate": 3e-4, "objective": {"sft_weight": 1000.0}}


def _longer(arm: Arm) -> Arm:
    return replace(arm, name=f"{arm.name}-longer", train={**arm.train, "steps": LONG})


def _anchored(arm: Arm) -> Arm:
    """With the winner's own error beside the preference, at the rate that wants it."""
    return replace(arm, name=f"{arm.name}-anchored", train={**arm.train, **ANCHORED})


DENSE = densedpo.CLAIM.arm("densedpo")
SEEN_ONCE = replace(DENSE, name="densedpo-seen-once", clips=MANY, train={**DENSE.train, "steps": TWICE})
CLAIM = Claim(
    "explanations",
    "What was looked into",
    arms=(
        _longer(realdpo.CLAIM.arm("realdpo")),
        _longer(realdpo.CLAIM.arm("unguarded")),
        _longer(huvidpo.CLAIM.arm("huvidpo")),
        SEEN_ONCE,
        *(_anchored(densedpo.CLAIM.arm(name)) for name in ("densedpo", "structural", "vanilla")),
    ),
    hypotheses=(
        Hypothesis("realdpo-longer", "RealDPO gains with four times the steps.", "realdpo-longer", BASE),
        Hypothesis("unguarded-longer", "So does the preference loss alone.", "unguarded-longer", BASE),
        Hypothesis("anchor", "Of these two, the one with the anchor is ahead.", "realdpo-longer", "unguarded-longer"),
        Hypothesis("huvidpo-longer", "HuViDPO gains with four times the steps.", "huvidpo-longer", BASE),
        Hypothesis(
            "densedpo-seen-once",
            "DenseDPO gains with twice the steps on so many clips that hardly a pair is seen twice.",
            "densedpo-seen-once",
            BASE,
        ),
        Hypothesis("densedpo-anchored", "DenseDPO gains with an anchor on its winners.", "densedpo-anchored", BASE),
        Hypothesis(
            "density-anchored",
            "With the anchor labels per segment beat their majority for the clip.",
            "densedpo-anchored",
            "structural-anchored",
        ),
        Hypothesis(
            "beats-vanilla-anchored",
            "With the anchor labels per segment beat vanilla pairs.",
            "densedpo-anchored",
            "vanilla-anchored",
        ),
        Hypothesis(
            "vanilla-loses-motion-anchored",
            "With the anchor vanilla pairs lose dynamic degree.",
            "vanilla-anchored",
            against=BASE,
            metric="dynamic_degree",
            expects="lower",
            margin=densedpo.MOTION,
        ),
    ),
    seeds=SEEDS,
)
