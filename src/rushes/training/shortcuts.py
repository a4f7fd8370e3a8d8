"""Can losers be told from winners without looking at what the labels are about?

A model that is trained on pairs learns whatever separates them. If frame rate, file or codec do, or brightness, grain
or sharpness, that is what it learns first: implicit accuracy is near one after a few steps and nothing gets better. So
before training each pair is asked, feature by feature and by all together, whether a rule learned on other prompts
says which of the two is the winner. One half is chance; one is a certain shortcut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rushes.arrays import Floats, Frames
from rushes.media.read import probe
from rushes.metrics.base import Shot, luma
from rushes.metrics.catalogue import measure as measure_shot
from rushes.metrics.quality import blockiness
from rushes.objectives.terms import ALONE
from rushes.stats import Interval, win_rate
from rushes.training.comparison import Comparison, View

FILE = ("file_fps", "file_side_px", "file_seconds", "bytes_per_pixel")  # of the file as it is stored
LOOK = ("brightness", "contrast", "saturation", "sharpness")  # metrics of the same names, as the codec gets the clip
TRACES = ("blockiness", "grain")
FEATURES = (*FILE, *TRACES, *LOOK, "motion_speed")
ALL = "all"
FOLDS = 5
RIDGE = 1.0  # of the logistic regression, on standardised differences
STRONG = 0.75  # share of pairs, the low end of its interval, from which all features together are a shortcut
LEAST = 20  # pairs below which nothing is reported
PIXELS = 8_000_000  # of a clip that are looked at: 20 frames at 480 x 832, about two seconds of one core
CLIPS = 256  # that are looked at, at most: two for each pair


@dataclass(frozen=True)
class ShortcutPair:
    """A winning and a losing view of one comparison."""

    group: str
    winner: View
    loser: View


@dataclass(frozen=True)
class ShortcutFeatures:
    """A view's frames [T, H, W, 3] as the codec gets them, and the file that they come from."""

    frames: Frames
    fps: float
    file: Path
    edited: bool  # then the file says nothing about the loser


@dataclass(frozen=True)
class Shortcut:
    """How often a rule on `name` alone, or on all, picks the winner of a pair that it has not seen."""

    name: str  # name of the feature, or "all"
    # share of pairs whose winner the feature picks, a tie counting half, with its 95 % interval, clustered by prompt.
    # This is the area under the curve within pairs
    share: Interval
    winner: float  # mean of the winners; 0 for all
    loser: float  # mean of the losers

    @property
    def significant(self) -> bool:
        """Whether the feature tells anything for certain."""
        return self.share.low > 0.5

    def written(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def read(cls, values: dict[str, Any]) -> Shortcut:
        """From plain values."""
        return cls(**{**values, "share": Interval(**values["share"])})


def pairs(comparisons: Sequence[Comparison]) -> list[ShortcutPair]:
    """Winners and losers of all terms that compare, each pair once; a view that wins some frames wins if most."""
    unique: dict[ShortcutPair, None] = {}
    for comparison in comparisons:
        for term in comparison.terms:
            pull = [coefficient * sum(term.labels) for coefficient in term.coefficients]
            if term.loss_type in ALONE or not any(pull):
                continue
            sides = [[v for v, p in zip(comparison.views, pull, strict=False) if sign * p > 0] for sign in (1, -1)]
            unique |= {
                ShortcutPair(comparison.cluster, w, x): None for w in sides[0] for x in sides[1] if w.key != x.key
            }
    return list(unique)


def most_frames(height_px: int, width_px: int, frames: int) -> int:
    """How many of a clip's frames are looked at, next to each other and from its middle, at least two."""
    return min(frames, max(2, PIXELS // (height_px * width_px)))


def middle(frames_THWC: Frames) -> Frames:
    """The frames of a clip that are looked at."""
    count, height, width, _ = frames_THWC.shape
    most = most_frames(height, width, count)
    at = (count - most) // 2
    return frames_THWC[at : at + most]


def spread_out(many: Sequence[ShortcutPair], count: int) -> list[ShortcutPair]:
    """At most `count` pairs, evenly from the whole list."""
    return [many[at * len(many) // count] for at in range(count)] if len(many) > count else list(many)


def measure(
    chosen: Sequence[ShortcutPair], read: Callable[[View], ShortcutFeatures], tick: Callable[[], None] = lambda: None
) -> tuple[Shortcut, ...]:
    """Each feature that differs at all, the most telling first, after all of them together; empty for few pairs."""
    groups = [pair.group for pair in chosen]
    if len(chosen) < LEAST or len(set(groups)) < FOLDS:
        return ()
    by_key: dict[str, Floats] = {}
    for view in (view for pair in chosen for view in (pair.winner, pair.loser)):
        if view.key not in by_key:
            by_key[view.key] = features(read(view))
            tick()
    won, lost = (np.stack([by_key[getattr(pair, side).key] for pair in chosen]) for side in ("winner", "loser"))
    won, lost = np.where(np.isfinite(won) & np.isfinite(lost), [won, lost], 0.0)
    gaps = won - lost
    means = np.array([[column.mean() for column in side.T] for side in (won, lost)])
    differing = [at for at in range(len(FEATURES)) if gaps[:, at].any()]
    alone = [Shortcut(FEATURES[at], _picked_share(gaps[:, [at]], groups), *means[:, at].tolist()) for at in differing]
    alone.sort(key=lambda each: -each.share.value)
    return (Shortcut(ALL, _picked_share(gaps[:, differing], groups), 0.0, 0.0), *alone) if differing else ()


def features(seen: ShortcutFeatures) -> Floats:
    """The values of `FEATURES`, in their order; NaN where there is none, as for the file of an edited clip."""
    footage = probe(seen.file)
    pixels = footage.width_px * footage.height_px * footage.frames
    file = (footage.fps, max(footage.width_px, footage.height_px), footage.frames / footage.fps)
    of_file = (*file, seen.file.stat().st_size / pixels)
    look = measure_shot(Shot(seen.frames, seen.fps), (*LOOK, "motion_speed"))
    grey = [luma(frame) for frame in seen.frames]
    traces = (float(np.mean([blockiness(each) for each in grey])), float(np.mean([grain(each) for each in grey])))
    values = (*((np.nan,) * len(of_file) if seen.edited else of_file), *traces, *(m.value for m in look.values()))
    return np.array(values, np.float64)


def grain(grey_HW: NDArray[np.uint8]) -> float:
    """Standard deviation of noise in grey levels, from second differences that edges leave alone.

    Immerkaer (1996), with the median in place of the mean, so that texture weighs little.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.filter2D(grey_HW.astype(np.float32), -1, kernel)[1:-1, 1:-1]
    return float(np.median(np.abs(response)) / (0.6745 * 6))


def _picked_share(gaps_PN: Floats, groups: Sequence[str]) -> Interval:
    """Share of pairs whose winner is picked by a rule from the other folds; whole prompts are in one fold."""
    order = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    fold_P = np.array([order[group] % FOLDS for group in groups])
    score_P = np.zeros(len(gaps_PN))
    for fold in range(FOLDS):
        here = fold_P == fold
        scale = gaps_PN[~here].std(0) + np.abs(gaps_PN[~here].mean(0)) + 1e-12
        score_P[here] = gaps_PN[here] / scale @ _weights(gaps_PN[~here] / scale)
    return win_rate(np.zeros_like(score_P), score_P, "higher", clusters=list(groups)).rate


def _weights(gaps_PN: Floats) -> Floats:
    """Logistic regression on differences, winner minus loser, without an intercept: the other way round is the same."""

    def loss(weights: Floats) -> tuple[float, Floats]:
        logit = gaps_PN @ weights
        wrong = 1 / (1 + np.exp(np.clip(logit, -50, 50)))
        value = np.logaddexp(0, -logit).sum() + RIDGE / 2 * (weights**2).sum()
        return float(value), -(wrong @ gaps_PN) + RIDGE * weights

    fitted: Floats = minimize(loss, np.zeros(gaps_PN.shape[1]), jac=True, method="L-BFGS-B").x
    return fitted


def figures(shortcuts: Sequence[Shortcut]) -> dict[str, float]:
    """What a run's curves hold of them: the share that each picks, and the low end of what all pick together."""
    shares = {f"shortcut/{each.name}": each.share.value for each in shortcuts}
    return shares | {f"shortcut/{each.name}_low": each.share.low for each in shortcuts if each.name == ALL}


_WHY = {
    **dict.fromkeys(
        FILE, "the files differ, which no model should learn; convert both sides to one frame rate, size and codec"
    ),
    **dict.fromkeys(
        TRACES,
        "grain or codec traces differ; send the winners through the model's codec (the edit that "
        "encodes and decodes a clip), or write both sides with the same encoder",
    ),
    **dict.fromkeys(
        LOOK,
        "the look differs; unless that is what should be learned, match it, or use losers made from "
        "the winners (edits, guided takes)",
    ),
    "motion_speed": "the amount of motion differs; right if winners should move more, a warning of motion loss if less",
}


def in_words(shortcuts: Sequence[Shortcut]) -> list[str]:
    """A line for each feature, and what it means."""
    if not shortcuts:
        return [
            f"shortcuts: too little to measure; the test needs {LEAST} pairs from {FOLDS} prompts, and at least "
            "one feature that differs"
        ]
    lines = [f"{'feature':<16} winner picked, 95 % interval    winners   losers"]
    for each in shortcuts:
        share = each.share
        sides = "" if each.name == ALL else f"   {each.winner:9.4g} {each.loser:9.4g}"
        lines.append(f"{each.name:<16} {share.value:6.2f}   {share.low:.2f} to {share.high:.2f}       {sides}")
    return lines + (warnings(shortcuts) or ["shortcuts: no plain feature picks the winner better than chance"])


def warnings(shortcuts: Sequence[Shortcut]) -> list[str]:
    """One line for the shortcuts, the strongest first; none where there is none."""
    telling = [each for each in shortcuts[1:] if each.significant][:3]
    if not shortcuts or not (shortcuts[0].significant or telling):
        return []
    together = shortcuts[0].share
    verb = "predict" if together.low > STRONG else "hint at"
    line = (
        f"shortcuts: plain features of the clips {verb} the winner: together they pick it in {together.value:.0%} of "
        f"{together.n} pairs ({together.low:.0%} to {together.high:.0%})"
    )
    return [line, *(f"shortcuts: {each.name} picks {each.share.value:.0%}; {_WHY[each.name]}" for each in telling)]
