"""DenseDPO (arXiv 2506.03517): labels per segment on pairs that share their motion."""

from __future__ import annotations

from rushes.lab.claims.base import Arm, Claim, Hypothesis
from rushes.lab.claims.data import LabelSource, Levels, MixedLabels, Takes
from rushes.records import BASE

PAIRS, GUIDED = Takes(2), Takes(2, "guided")
WHOLE = LabelSource("take")
DENSE = LabelSource("guided")
THIRD = LabelSource("guided", share=1 / 3)
ONE_S, TWO_S = (LabelSource("guided", segment_s=seconds) for seconds in (1.0, 2.0))
LEVELS = Levels(0.25)
MIXED = MixedLabels(LEVELS)
FLIPPED = {share: LabelSource("guided", flips=share) for share in (0.2, 0.4)}
MOTION = 0.02  # px per frame: a difference that a person sees on a contact sheet


def _arm(name: str, labels: LabelSource, mode: str = "dense") -> Arm:
    takes = PAIRS if labels.kind == "take" else GUIDED
    return Arm(name, "densedpo", {"options": {"mode": mode, "judge": labels.judge}}, (takes, labels))


CLAIM = Claim(
    "densedpo",
    "DenseDPO (arXiv 2506.03517)",
    arms=(
        _arm("vanilla", WHOLE, "vanilla"),
        _arm("structural", DENSE, "structural"),
        _arm("densedpo", DENSE),
        _arm("densedpo-third", THIRD),
        _arm("densedpo-one-second", ONE_S),
        _arm("densedpo-two-seconds", TWO_S),
        _arm("densedpo-flips-20", FLIPPED[0.2]),
        _arm("densedpo-flips-40", FLIPPED[0.4]),
        Arm(
            "densedpo-mixed-levels", "densedpo", {"options": {"judge": MIXED.judge, "mixed_eta": True}}, (LEVELS, MIXED)
        ),
    ),
    hypotheses=(
        Hypothesis("works", "Labels per segment improve the base.", "densedpo", BASE),
        Hypothesis("structural-works", "So do labels per clip on guided pairs.", "structural", BASE),
        Hypothesis("vanilla-works", "So do labels per clip on independent takes.", "vanilla", BASE),
        Hypothesis(
            "vanilla-loses-motion",
            "A labeller that prefers clean clips makes vanilla pairs lose dynamic degree.",
            "vanilla",
            against=BASE,
            metric="dynamic_degree",
            expects="lower",
            margin=MOTION,
        ),
        Hypothesis(
            "structural-loses-less",
            "Guided pairs lose less of it than vanilla pairs.",
            "structural",
            against="vanilla",
            metric="dynamic_degree",
            expects="higher",
            margin=MOTION,
        ),
        Hypothesis(
            "dense-keeps-motion",
            "Labels per segment keep it.",
            "densedpo",
            against=BASE,
            metric="dynamic_degree",
            expects="equal",
            margin=MOTION,
        ),
        Hypothesis(
            "density",
            "With the same labels, one per segment beats their majority for the clip.",
            "densedpo",
            "structural",
        ),
        Hypothesis("beats-vanilla", "Labels per segment beat vanilla pairs.", "densedpo", "vanilla"),
        Hypothesis(
            "third",
            "Segment labels on a third of the clips match clip labels on all.",
            "densedpo-third",
            "structural",
            expects="equal",
        ),
        Hypothesis(
            "flips-20",
            "A fifth of the labels turned round costs little.",
            "densedpo-flips-20",
            "densedpo",
            expects="equal",
        ),
        Hypothesis(
            "flips-40",
            "Two fifths cost most of the gain.",
            "densedpo-flips-40",
            "densedpo",
            expects="higher",
        ),
        Hypothesis(
            "one-second", "Segments of one second beat those of two.", "densedpo-one-second", "densedpo-two-seconds"
        ),
        Hypothesis(
            "half-second",
            "Segments of half a second are no better than those of one.",
            "densedpo",
            "densedpo-one-second",
            expects="equal",
        ),
        Hypothesis(
            "mixed-levels",
            "Members of a pair from different noise levels make it fail.",
            "densedpo-mixed-levels",
            "densedpo",
            expects="higher",
        ),
    ),
)
