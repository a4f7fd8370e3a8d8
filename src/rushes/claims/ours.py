"""What this program claims of itself: the bank of reference errors costs nothing, guards hold the winner."""

from __future__ import annotations

from typing import Any

from rushes.claims.base import Arm, Claim, Hypothesis
from rushes.claims.data import Takes

ONE = (Takes(1),)
FRAMES = 0.01
BANKS = (1, 2, 4, 8, 16)


def _arm(name: str, **train: Any) -> Arm:
    return Arm(name, "realdpo", {"options": {"losers": 1}, **train}, ONE)


CLAIM = Claim(
    "ours",
    "Rushes",
    arms=(
        _arm("realdpo"),
        _arm("view-by-view", gradients="stash"),
        *(_arm(f"bank-{m}", bank=m) for m in BANKS),
        _arm("unguarded", objective={"sft_weight": 0.0}),
        _arm("winner-clamp", objective={"sft_weight": 0.0, "winner_clamp": 1000.0}),
        _arm("safe-loser", objective={"sft_weight": 0.0, "safe_loser": True}),
    ),
    hypotheses=(
        Hypothesis(
            "view-by-view",
            "Gradients taken view by view give the same model.",
            "view-by-view",
            "realdpo",
            "bad_frames",
            "equal",
            FRAMES,
        ),
        *(
            Hypothesis(
                f"bank-{m}",
                f"A bank of {m} draws is as good as fresh noise.",
                f"bank-{m}",
                "realdpo",
                "bad_frames",
                "equal",
                FRAMES,
            )
            for m in BANKS
        ),
        Hypothesis(
            "supervised-anchor",
            "The winner's own error beside the preference loss helps.",
            "realdpo",
            "unguarded",
            "bad_frames",
            "lower",
            FRAMES,
        ),
        Hypothesis(
            "winner-clamp", "So does a clamp on it.", "winner-clamp", "unguarded", "bad_frames", "lower", FRAMES
        ),
        Hypothesis(
            "safe-loser",
            "So does scaling the losers' gradient.",
            "safe-loser",
            "unguarded",
            "bad_frames",
            "lower",
            FRAMES,
        ),
    ),
)
