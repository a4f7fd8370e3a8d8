"""Why some claims are not seen, and whether the demo's settings are the better ones where as much is spent as there."""

from __future__ import annotations

from dataclasses import replace

from rushes.claims import densedpo, huvidpo, realdpo
from rushes.claims.base import BASE, Arm, Claim, Hypothesis

SEEDS = 3  # its arms take as long as all others
MORE, LONG = 4.0, 192  # times the clips, at as many steps; four times the steps of the other arms


def _more_clips(arm: Arm) -> Arm:
    return replace(arm, name=f"{arm.name}-more-clips", clips=MORE)


def _longer(arm: Arm) -> Arm:
    return replace(arm, name=f"{arm.name}-longer", train={**arm.train, "steps": LONG})


def _alone(arm: Arm) -> Arm:
    """Without the winner's own error beside the preference, as RealDPO is asked."""
    return replace(arm, name=f"{arm.name}-unguarded", train={**arm.train, **realdpo.ALONE})


DENSE = densedpo.CLAIM.arm("densedpo")
CLAIM = Claim(
    "explanations",
    "What was looked into",
    arms=(
        _longer(realdpo.CLAIM.arm("realdpo")),
        _longer(realdpo.CLAIM.arm("unguarded")),
        _longer(huvidpo.CLAIM.arm("huvidpo")),
        _more_clips(DENSE),
        _longer(_more_clips(DENSE)),
        _alone(DENSE),
        _alone(densedpo.CLAIM.arm("structural")),
        _alone(densedpo.CLAIM.arm("vanilla")),
        _longer(_more_clips(_alone(DENSE))),
    ),
    hypotheses=(
        Hypothesis("realdpo-longer", "RealDPO gains with four times the steps.", "realdpo-longer", BASE),
        Hypothesis("unguarded-longer", "So does the preference loss alone.", "unguarded-longer", BASE),
        Hypothesis("anchor", "Of these two, the one with the anchor is ahead.", "realdpo-longer", "unguarded-longer"),
        Hypothesis("huvidpo-longer", "HuViDPO gains with four times the steps.", "huvidpo-longer", BASE),
        Hypothesis("densedpo-more-clips", "DenseDPO gains on four times the clips.", "densedpo-more-clips", BASE),
        Hypothesis("densedpo-longer", "So it does with four times the steps, too.", "densedpo-more-clips-longer", BASE),
        Hypothesis(
            "densedpo-unguarded", "DenseDPO gains without an anchor on its winners.", "densedpo-unguarded", BASE
        ),
        Hypothesis(
            "densedpo-unguarded-longer",
            "So it does on four times the clips, with four times the steps.",
            "densedpo-unguarded-more-clips-longer",
            BASE,
        ),
        Hypothesis(
            "density-unguarded",
            "Without the anchor labels per segment beat their majority for the clip.",
            "densedpo-unguarded",
            "structural-unguarded",
        ),
        Hypothesis(
            "beats-vanilla-unguarded",
            "Without the anchor labels per segment beat vanilla pairs.",
            "densedpo-unguarded",
            "vanilla-unguarded",
        ),
        Hypothesis(
            "vanilla-loses-motion-unguarded",
            "Without the anchor vanilla pairs lose dynamic degree.",
            "vanilla-unguarded",
            BASE,
            "dynamic_degree",
            "lower",
            densedpo.MOTION,
        ),
    ),
    seeds=SEEDS,
)
