"""DenseDPO (arXiv 2506.03517): labels per segment on pairs that share their motion."""

from __future__ import annotations

from rushes.claims.base import BASE, Arm, Claim, Hypothesis
from rushes.claims.data import Labels, Takes

PAIRS, GUIDED = Takes(2), Takes(2, "guided")
WHOLE = Labels("take")
DENSE = Labels("guided")
THIRD = Labels("guided", share=1 / 3)
QUARTER_S, ONE_S, TWO_S = (Labels("guided", segment_s=seconds) for seconds in (0.25, 1.0, 2.0))
FLIPPED = {share: Labels("guided", flips=share) for share in (0.2, 0.4)}
MOTION, FRAMES = 0.02, 0.01  # px per frame, share of frames: differences that a person sees on a contact sheet


def _arm(name: str, labels: Labels, mode: str = "dense") -> Arm:
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
        _arm("densedpo-quarter-second", QUARTER_S),
        _arm("densedpo-one-second", ONE_S),
        _arm("densedpo-two-seconds", TWO_S),
        _arm("densedpo-flips-20", FLIPPED[0.2]),
        _arm("densedpo-flips-40", FLIPPED[0.4]),
    ),
    hypotheses=(
        Hypothesis("works", "Labels per segment improve the base.", "densedpo", BASE, "bad_frames", "lower", FRAMES),
        Hypothesis(
            "vanilla-loses-motion",
            "A labeller that prefers clean clips makes vanilla pairs lose dynamic degree.",
            "vanilla",
            BASE,
            "dynamic_degree",
            "lower",
            MOTION,
        ),
        Hypothesis(
            "structural-loses-less",
            "Guided pairs lose less of it than vanilla pairs.",
            "structural",
            "vanilla",
            "dynamic_degree",
            "higher",
            MOTION,
        ),
        Hypothesis(
            "dense-keeps-motion", "Labels per segment keep it.", "densedpo", BASE, "dynamic_degree", "equal", MOTION
        ),
        Hypothesis(
            "density",
            "With the same labels, one per segment beats their majority for the clip.",
            "densedpo",
            "structural",
            "bad_frames",
            "lower",
            FRAMES,
        ),
        Hypothesis(
            "third",
            "Segment labels on a third of the clips match clip labels on all.",
            "densedpo-third",
            "structural",
            "bad_frames",
            "equal",
            FRAMES,
        ),
        Hypothesis(
            "flips-20",
            "A fifth of the labels turned round costs little.",
            "densedpo-flips-20",
            "densedpo",
            "bad_frames",
            "equal",
            FRAMES,
        ),
        Hypothesis(
            "flips-40",
            "Two fifths cost most of the gain.",
            "densedpo-flips-40",
            "densedpo",
            "bad_frames",
            "higher",
            FRAMES,
        ),
        Hypothesis(
            "short-segments",
            "Segments of half a second beat those of two.",
            "densedpo",
            "densedpo-two-seconds",
            "bad_frames",
            "lower",
            FRAMES,
        ),
    ),
)
