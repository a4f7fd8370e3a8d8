"""HuViDPO (arXiv 2502.01690): scored clips as pairs, from a clean first frame that is never scored."""

from __future__ import annotations

from typing import Any

from rushes.lab.claims.base import Arm, Claim, Hypothesis
from rushes.lab.claims.data import MOST, Scores
from rushes.records import BASE

DATA = (MOST, Scores())
SSIM = 0.005


# All arms but the one that asks about it have the beta that other recipes have; the recipe's own is the published one.
def _arm(name: str, beta: float = 2000.0, **options: Any) -> Arm:
    return Arm(name, "huvidpo", {"options": {"beta": beta, **options}}, DATA)


CLAIM = Claim(
    "huvidpo",
    "HuViDPO (arXiv 2502.01690)",
    arms=(
        _arm("huvidpo"),
        _arm("huvidpo-noised-first-frame", first_frame="noised"),
        _arm("huvidpo-gap", weight="gap"),
        _arm("huvidpo-beta-50", beta=50.0),
    ),
    hypotheses=(
        Hypothesis("works", "Pairs from scores improve the base.", "huvidpo", BASE),
        Hypothesis("published-beta", "So they do at the published beta of 50.", "huvidpo-beta-50", BASE),
        Hypothesis(
            "clean-first-frame",
            "A first frame that is clean and not scored beats one that is noised and scored.",
            "huvidpo",
            "huvidpo-noised-first-frame",
        ),
        Hypothesis(
            "fidelity",
            "Clips go on starting from the frame that they are given.",
            "huvidpo",
            against=BASE,
            metric="first_frame_fidelity",
            expects="equal",
            margin=SSIM,
        ),
        Hypothesis(
            "gap",
            "Weighting pairs by their gap in score helps (the code loads the gap and does not use it).",
            "huvidpo-gap",
            "huvidpo",
        ),
    ),
)
