"""HuViDPO (arXiv 2502.01690): scored clips as pairs, from a clean first frame that is never scored."""

from __future__ import annotations

from rushes.claims.base import BASE, Arm, Claim, Hypothesis
from rushes.claims.data import Scores, Takes

DATA = (Takes(3), Scores())

CLAIM = Claim(
    "huvidpo",
    "HuViDPO (arXiv 2502.01690)",
    arms=(
        Arm("huvidpo", "huvidpo", data=DATA),
        Arm("huvidpo-gap", "huvidpo", {"options": {"weight": "gap"}}, DATA),
    ),
    hypotheses=(
        Hypothesis("works", "Pairs from scores improve the base.", "huvidpo", BASE, "bad_frames", "lower", 0.01),
        Hypothesis(
            "gap",
            "Weighting pairs by their gap in score helps (the code loads the gap and does not use it).",
            "huvidpo-gap",
            "huvidpo",
            "bad_frames",
            "lower",
            0.01,
        ),
    ),
)
