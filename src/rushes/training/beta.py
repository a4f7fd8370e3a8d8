"""Beta: what a value means under other conventions, which one suits a run, and one that moves by itself.

Here a logit is -(beta / 2) times the sum over views of a_v D_v, where D_v is the policy's mean squared error minus the
reference's; the mean is over channels, height, width and the scored latent frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rushes.objectives.terms import ALONE, Term, TermBatch
from rushes.training.comparison import Comparison

HELD_OUT = "held_out/"
TRAINING_STEPS = 1000  # T of the published equations
TARGET = 0.2  # mean DPO gradient weight that beta is proposed for; it starts at 0.5 and falls to 0
# Gradient weights at logits of 0.1 and 5: the loss is a straight line, or its end.
LINEAR_WEIGHT, SATURATED_WEIGHT = 0.475, 0.0067
RATE = 0.05  # of `AutoBeta`: a factor that is off by 0.1 moves beta by half a per cent a step
RANGE = 1000.0  # that it may move beta by, up and down


def equivalents(beta: float, elements: int, frames: int, scored: int) -> dict[str, float]:
    """The same strength under other conventions, by what they are called.

    Args:
        beta: in the convention of this package.
        elements: C x H x W of a latent frame.
        frames: latent frames of a clip.
        scored: of these, how many enter the loss (a given first frame does not).
    """
    count = elements * scored
    return {
        "mean over elements, with the one-half (Rushes, Flow-DPO's and Diffusion-DPO's code, RealDPO, HuViDPO)": beta,
        "mean over elements, without the one-half (diffusers' script for SD 1.5, DenseDPO's equations)": beta / 2,
        "sum over elements, with the one-half (Flow-DPO's equation, SimpleTuner)": beta / count,
        "sum over elements, without the one-half": beta / (2 * count),
        f"sum over elements, with T = {TRAINING_STEPS} written out (Diffusion-DPO's equation, weight 1)": beta
        / (2 * count * TRAINING_STEPS),
        "mean over all latent frames, a given first frame counted with an error of zero": beta * frames / scored,
    }


@dataclass(frozen=True)
class Proposal:
    """A strength for one level, and what it was read from."""

    level: str  # level of the terms
    beta: float  # beta at which a logit of median size has the target gradient weight
    linear: float  # below it all factors stay near one half, and beta is no more than a factor on the learning rate
    saturated: float  # above it the typical pair no longer counts
    step: int  # step of the trial at which it was read
    margin: float  # median size there of the margin in units of error, sum_v a_v D_v
    winner: float  # the winner's relative error there
    turned: bool  # whether the winner's error rises again after that step


def trial_comparisons(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons without losses on winners alone, the strongest beta 1: the gradient weight stays at one half."""
    strongest = max((t.beta for c in comparisons for t in c.terms if t.loss_type not in ALONE), default=0.0)
    if not strongest:
        raise ValueError("the recipe compares nothing, so it has no beta")

    def weak(term: Term) -> Term:
        return replace(term, beta=term.beta / strongest, loss_type="sigmoid", smoothing=0.0, reference=True)

    return [replace(c, terms=tuple(weak(t) for t in c.terms if t.loss_type not in ALONE)) for c in comparisons]


def propose(rows: Sequence[Mapping[str, Any]], target: float = TARGET) -> list[Proposal]:
    """Strengths from the held-out figures of a trial (see `rushes.project.tuning`), one for each level.

    At policy == reference every margin is zero, so its spread says nothing. What beta decides is how far the policy
    goes before the loss saturates. The trial therefore pulls with a constant gradient weight, as at beta -> 0, and
    watches the held-out winners: their error falls at first, and rises again once the force that pushes losers
    up carries the winners along. The margin where it is least is as far as this force should carry, and beta is the
    strength at which it has then fallen to `target` of its size:

        beta = 2 log((1 - target) / target) / median |sum_v a_v D_v|

    AdamW's steps do not depend on the size of a gradient, so the trial's own beta does not matter, and margins depend
    on how far the policy went, not on the rate at which it went there.
    """
    held = [row for row in rows if row["step"]]
    proposals = []
    names = (key.removesuffix("/margin") for row in held for key in row if key.endswith("/margin"))
    for name in dict.fromkeys(name for name in names if name.startswith(HELD_OUT)):
        seen = [row for row in held if f"{name}/margin" in row]
        best = min(seen, key=lambda row: row[f"{name}/winner_relative_error"])
        margin = 2 * best[f"{name}/typical"] / best[f"{name}/beta"]
        if not margin:
            raise ValueError("the trial changed no margin; raise train.learning_rate, or --steps")
        weights = (target, LINEAR_WEIGHT, SATURATED_WEIGHT)
        beta, low, high = (2 * math.log((1 - weight) / weight) / margin for weight in weights)
        winner = best[f"{name}/winner_relative_error"]
        proposals.append(
            Proposal(
                name.removeprefix(HELD_OUT),
                beta,
                low,
                saturated=high,
                step=best["step"],
                margin=margin,
                winner=winner,
                turned=best is not seen[-1],
            )
        )
    return proposals


@dataclass
class AutoBeta:
    """A factor on every beta that keeps the mean DPO gradient weight near a target, by slow steps.

    A batch with a factor above the target raises it and one below lowers it, by `RATE` times the difference (in the
    logarithm). After SimpleTuner's automatic beta, which follows a moving average of margins instead.
    """

    target: float = 0.0  # 0 = beta stays
    scale: float = 1.0

    def update(self, row: Mapping[str, float]) -> None:
        """Take note of a step's figures."""
        factors = [value for key, value in row.items() if key.endswith("/gradient")]
        if self.target and factors:
            moved = math.log(self.scale) + RATE * (sum(factors) / len(factors) - self.target)
            self.scale = math.exp(min(max(moved, -math.log(RANGE)), math.log(RANGE)))


def scaled(terms: TermBatch, by: float) -> TermBatch:
    """The terms at another strength."""
    return terms if by == 1.0 else replace(terms, beta_BK=terms.beta_BK * by)
