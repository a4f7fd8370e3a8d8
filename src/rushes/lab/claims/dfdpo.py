"""Discriminator-free DPO (arXiv 2504.08542): real clips against edited copies of themselves, for want of takes."""

from __future__ import annotations

from typing import Any

from rushes.lab.claims import realdpo
from rushes.lab.claims.base import Arm, Claim, Hypothesis
from rushes.records import BASE


def _arm(name: str, **options: Any) -> Arm:
    return Arm(name, "dfdpo", {"options": options})


CLAIM = Claim(
    "dfdpo",
    "Discriminator-free DPO (arXiv 2504.08542)",
    arms=(
        _arm("dfdpo"),
        _arm("dfdpo-published-edits", edits=["reverse", "shuffle", "noise"]),
        realdpo.CLAIM.arm("realdpo"),
    ),
    hypotheses=(
        Hypothesis("works", "Real clips against edited copies improve the base.", "dfdpo", BASE),
        Hypothesis(
            "published-edits",
            "Reversal, shuffling and noise are enough: what else is done here adds nothing.",
            "dfdpo-published-edits",
            "dfdpo",
            expects="equal",
        ),
        Hypothesis(
            "without-takes", "Edited copies do as well as the model's own takes.", "dfdpo", "realdpo", expects="equal"
        ),
    ),
)
