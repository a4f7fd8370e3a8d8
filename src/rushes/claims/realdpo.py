"""RealDPO (arXiv 2510.14955): real clips as winners against the model's own takes."""

from __future__ import annotations

from rushes.claims.base import BASE, Arm, Claim, Hypothesis
from rushes.claims.data import Takes

ONE, THREE, FIVE = Takes(1), Takes(3), Takes(5)

CLAIM = Claim(
    "realdpo",
    "RealDPO (arXiv 2510.14955)",
    arms=(
        Arm("sft", "sft"),
        Arm("realdpo", "realdpo", {"options": {"losers": 1}}, (ONE,)),
        Arm("realdpo-no-sft", "realdpo", {"options": {"losers": 1}, "objective": {"sft_weight": 0.0}}, (ONE,)),
        Arm("realdpo-ema", "realdpo", {"options": {"losers": 1}, "reference": "ema"}, (ONE,)),
        Arm("realdpo-n3", "realdpo", {"options": {"losers": 3}}, (THREE,)),
        Arm("realdpo-n5", "realdpo", {"options": {"losers": 5}}, (FIVE,)),
        Arm("realdpo-round2", "realdpo", {"options": {"losers": 1}}, (Takes(1, system="realdpo"),), start="realdpo"),
    ),
    hypotheses=(
        Hypothesis(
            "works",
            "Training on real clips against takes improves the base.",
            "realdpo",
            BASE,
            "bad_frames",
            "lower",
            0.01,
        ),
        Hypothesis(
            "beats-sft", "It beats fine-tuning on the same footage.", "realdpo", "sft", "bad_frames", "lower", 0.01
        ),
        Hypothesis(
            "moving-reference",
            "A reference that follows the policy helps.",
            "realdpo-ema",
            "realdpo",
            "bad_frames",
            "lower",
            0.01,
        ),
        Hypothesis("three-losers", "Three takes help over one.", "realdpo-n3", "realdpo", "bad_frames", "lower", 0.01),
        Hypothesis(
            "five-losers", "Five takes help over three.", "realdpo-n5", "realdpo-n3", "bad_frames", "lower", 0.01
        ),
        Hypothesis(
            "second-round",
            "A second round with takes of the improved model helps.",
            "realdpo-round2",
            "realdpo",
            "bad_frames",
            "lower",
            0.01,
        ),
    ),
)
