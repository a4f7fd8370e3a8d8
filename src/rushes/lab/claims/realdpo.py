"""RealDPO (arXiv 2510.14955): real clips as winners against the model's own takes."""

from __future__ import annotations

from typing import Any

from rushes.lab.claims.base import Arm, Claim, Hypothesis
from rushes.lab.claims.data import MOST, Takes
from rushes.records import BASE

ONE, THREE = Takes(1), Takes(3)
UNSCALED = "rushes.lab.claims.unscaled"  # the recipe with the released loader's fault


def _arm(name: str, data: Takes, losers: int = 1, recipe: str = "realdpo", start: str = BASE, **train: Any) -> Arm:
    return Arm(name, recipe, {"options": {"losers": losers}, **train}, (data,), start)


# Without the winner's own error beside it, the preference loss wants a tenth of the rate: at 3e-4 the model is lost.
ALONE: dict[str, Any] = {"learning_rate": 3e-5, "objective": {"sft_weight": 0.0}}
CLAIM = Claim(
    "realdpo",
    "RealDPO (arXiv 2510.14955)",
    arms=(
        Arm("sft", "sft"),
        _arm("realdpo", ONE),
        _arm("unguarded", ONE, **ALONE),
        _arm("realdpo-ema", ONE, reference="ema"),
        _arm("realdpo-n3", THREE, 3),
        _arm("realdpo-n5", MOST, MOST.count),
        _arm("unscaled", ONE, recipe=UNSCALED),
        _arm("unscaled-unguarded", ONE, recipe=UNSCALED, **ALONE),
        _arm("realdpo-round2", Takes(1, system="realdpo"), start="realdpo"),
    ),
    hypotheses=(
        Hypothesis("works", "Training on real clips against takes improves the base.", "realdpo", BASE),
        Hypothesis("works-unguarded", "So does the preference loss alone, as published.", "unguarded", BASE),
        Hypothesis("beats-sft", "It beats fine-tuning on the same footage.", "realdpo", "sft"),
        Hypothesis("moving-reference", "A reference that follows the policy helps.", "realdpo-ema", "realdpo"),
        Hypothesis("three-losers", "Three takes help over one.", "realdpo-n3", "realdpo"),
        Hypothesis("five-losers", "Five takes help over three.", "realdpo-n5", "realdpo-n3"),
        Hypothesis("unscaled", "Losers encoded as the released loader does still help.", "unscaled-unguarded", BASE),
        Hypothesis("scaled", "Losers encoded as winners are help more.", "unguarded", "unscaled-unguarded"),
        Hypothesis(
            "unscaled-is-sft",
            "With wrongly encoded losers what is left is fine-tuning.",
            "unscaled",
            "sft",
            expects="equal",
        ),
        Hypothesis(
            "second-round", "A second round with takes of the improved model helps.", "realdpo-round2", "realdpo"
        ),
    ),
)
