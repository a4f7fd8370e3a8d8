"""Diagnoses: what a run's figures show to be wrong, in a sentence with the figures, and what to do about it.

Every rule is a pure function of the rows of metrics.jsonl. Thresholds are stated with their reason; on the embedded
backbone runs that were built to have each fault show it, and the recipes' own settings show none
(tests/training/test_health.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from statistics import fmean
from typing import Any

from rushes.records import Diagnosis, Severity, diagnoses_in
from rushes.stats import Interval, mean_interval

StepRows = Sequence[Mapping[str, Any]]
HELD_OUT = "held_out/"
EXPERT = "expert/"  # figures of a part of the comparisons, of models that have two networks
HALF_WAY = 0.5  # share of the run from which it is reported that something has not happened yet
TAIL, HEAD = 0.25, 0.25  # shares of the run that are its end and its beginning
LEAST_ROWS = 8  # fewer steps are no history
LEAST_STEPS = 20  # before which "nothing wrong" would be said of what had no time to show
EARLY_STEPS = 5  # whose training accuracy is one figure: a single batch of three pairs is often all correct
# Half of the way from chance to certainty: what separates the sides of a pair is then mostly not what labels are about.
SEPARABLE_ACCURACY = 0.75

# Policy and reference differ by less than a hundredth of the reference's own error (root mean square).
MIN_DRIFT = 1e-4
# As far from the reference as the reference is from the truth: a broken model looks like this, a better one does not.
MAX_DRIFT = 1.0
# Relative to the reference's error; a choice: short runs with settings that LOG.md saw gain rise by a hundredth.
MAX_WINNER_RISE = 0.02
# RealDPO's authors and DenseDPO's saw 0.98 to 1 where models classified codecs, or real against generated.
NEAR_PERFECT_ACCURACY = 0.95
# The share of a margin that winners must have: pushing losers away alone is what a shortcut allows.
MIN_WINNER_SHARE = 0.2
# The share of the most that losers' error can rise by for the distance that predictions moved (Cauchy-Schwarz). It was
# 0.03 to 0.4 in runs whose takes got better, and 1.0 to 1.1 with the released loader's fault, where they got worse.
MIN_LOSER_SHARE = 0.7
# At logits of 0.2 the loss is a straight line to one part in a hundred: all pairs pull alike.
LINEAR_GRADIENT_WEIGHT = 0.45
# Wrong pairs cost ten times what all pairs cost before anything was learned: they alone steer.
MAX_PREFERENCE_LOSS = 10 * log(2)
MIN_GRADIENT_WEIGHT = 0.03  # mean DPO gradient weight: a sixteenth of what it was
# The unconditional prediction, which no comparison trains, has moved twice as far (in mean squares) as the conditional
# one. Healthy runs on the embedded world have a ratio of 1.0 to 1.1, as first frames there say most of the caption.
MAX_DRIFT_RATIO = 2.0
MIN_SPEED_SHARE = 0.7  # of the first samples' speed; VideoDPO-like runs lose a fifth to a third, seeds alone a tenth
MAX_COLOUR_DRIFT = 0.05  # of the range of brightness, contrast or saturation: 13 grey levels, seen side by side


@dataclass(frozen=True)
class _StepHistory:
    """Rows, and the few questions that rules ask of them."""

    rows: StepRows
    length: int  # steps of the whole run

    @property
    def step(self) -> int:
        return int(self.rows[-1]["step"])

    def diagnosis(self, name: str, severity: Severity, evidence: str, remedy: str) -> Diagnosis:
        """One that is made at the last row."""
        return Diagnosis(name, severity, evidence, remedy, self.step)

    @property
    def levels(self) -> list[str]:
        """Levels that compare; training rows name them."""
        keys = dict.fromkeys(key for row in self.rows[:3] for key in row)
        parts = (HELD_OUT, EXPERT)
        return [k.removesuffix("/accuracy") for k in keys if k.endswith("/accuracy") and not k.startswith(parts)]

    def steps(self, first: float, last: float) -> StepRows:
        """Rows between two shares of the run so far, the start row left out; at least three, where there are."""
        taken = [row for row in self.rows if row["step"] > 0]
        low = min(int(first * len(taken)), max(0, len(taken) - 3))
        return taken[low : max(low + 3, round(last * len(taken)))]

    def tail(self, key: str) -> Interval | None:
        """Mean of the last quarter of the steps."""
        values = _values(self.steps(1 - TAIL, 1.0), key)
        return mean_interval(values) if len(values) > 1 else None

    def held(self, key: str) -> float | None:
        """The last value on held-out comparisons."""
        values = _values(self.rows, HELD_OUT + key)
        return values[-1] if values and self.rows[-1]["step"] > 0 else None

    def end(self, key: str) -> float | None:
        """The last value on held-out comparisons, else the mean of the last quarter of the steps."""
        held, tail = self.held(key), self.tail(key)
        return held if held is not None else tail.value if tail else None

    @property
    def moved(self) -> float | None:
        """How far the policy is from the reference, in units of the reference's own error."""
        drift, error = self.held("drift"), self.held("reference_error")
        return drift / error if drift is not None and error else None

    def moved_elsewhere(self, rise: float) -> bool:
        """Whether predictions moved much further than it takes to raise the losers' error by so much."""
        drift, error = self.held("drift"), self.held("reference_error")
        if drift is None or error is None:
            return False
        return rise < MIN_LOSER_SHARE * (2 * sqrt(drift * error) + drift)

    @property
    def anchored(self) -> bool:
        """Whether something else than comparisons trains the model too."""
        return any(key.endswith("/error") for key in self.rows[-1])


def diagnoses(rows: StepRows, steps: int | None = None) -> tuple[Diagnosis, ...]:
    """What is wrong, the severe first; empty for a healthy run, and for one that has hardly begun.

    `rows` are those of metrics.jsonl up to some step, of a run of `steps` (default: the rows are all there will be). A
    later row may take back a warning; what the run wrote of itself as severe stays, with the step at which it was so.
    """
    if not rows:
        return ()
    history = _StepHistory(rows, steps or int(rows[-1]["step"]))
    rules = RULES if len(rows) >= LEAST_ROWS else (_plain_features,)
    diagnosed = [each for rule in rules for each in rule(history)]
    diagnosed += _remembered(rows, {each.name for each in diagnosed})
    return tuple(sorted(diagnosed, key=lambda each: each.severity != "severe"))


def verdict(steps: int, diagnosed: Sequence[Diagnosis]) -> str:
    """The word for a run after so many steps: its worst severity, else "nothing wrong", or that it is too early."""
    if diagnosed:
        return "severe" if any(each.severity == "severe" for each in diagnosed) else "warning"
    return "nothing wrong" if steps >= LEAST_STEPS else "too early to say"


def _remembered(rows: StepRows, names: Collection[str]) -> Iterable[Diagnosis]:
    """What was severe at an earlier step and is no diagnosis by now, as it was made last."""
    written = [(row["step"], each) for row in rows[:-1] for each in diagnoses_in(row)]
    last = {
        each.name: each
        for step, each in written
        if each.severity == "severe" and each.step == step and each.name not in names
    }
    for each in last.values():
        yield replace(each, evidence=f"{each.evidence} That was at step {each.step}; by now the figures hide it.")


def _plain_features(history: _StepHistory) -> Iterable[Diagnosis]:
    share, low = (history.rows[0].get(f"shortcut/{name}") for name in ("all", "all_low"))
    if share is None or low is None or low <= SEPARABLE_ACCURACY:
        return
    alone = {
        name.removeprefix("shortcut/"): value for name, value in history.rows[0].items() if name.startswith("shortcut/")
    }
    named = sorted((name for name in alone if name not in ("all", "all_low")), key=lambda name: -alone[name])[:3]
    parts = ", ".join(f"{name.replace('_', ' ')} {alone[name]:.0%}" for name in named)
    yield history.diagnosis(
        "plain_features",
        "warning",
        f"Before training, plain features picked {share:.0%} of the winners (at least {low:.0%}; {parts}). High "
        "accuracy may come from these features and not from quality.",
        "Look at `rushes check-shortcuts`. Make both sides alike in what differs, or use losers that are made from "
        "the winners (edits, guided takes).",
    )


def _diverged(history: _StepHistory) -> Iterable[Diagnosis]:
    if history.moved is not None and history.moved > MAX_DRIFT:
        yield history.diagnosis(
            "diverged",
            "severe",
            f"Predictions on held-out clips differ from the reference's by {history.moved:.2g} times its own error.",
            "Use an earlier checkpoint. Lower train.learning_rate or train.steps, and add train.objective.sft_weight.",
        )


def _winner_rising(history: _StepHistory) -> Iterable[Diagnosis]:
    for level in history.levels:
        name = f"{level}/winner_relative_error"
        low, value = history.held(f"{name}_low"), history.held(name)
        where, least = "held-out winners", MAX_WINNER_RISE * (history.held("reference_error") or 0.0)
        if low is None or value is None:
            tail = history.tail(name)
            low, value, where = (tail.low, tail.value, "the winners of the last quarter") if tail else (None, None, "")
        if low is None or value is None or low <= 0 or value <= least:
            continue
        loser = history.held(f"{level}/loser_relative_error")
        beside = f", that of losers by {loser:+.2g}" if loser is not None else ""
        yield history.diagnosis(
            "winner_rising",
            "severe",
            f"The error on {where} rose above the reference's by {value:+.2g} (at least {low:+.2g}){beside}. "
            "Training pushes losers away and takes winners along (likelihood displacement).",
            "Raise beta, so that pairs saturate earlier (`rushes tune beta` proposes one); keep the reference frozen; "
            "or hold the winner with train.objective.sft_weight, dpop_weight or safe_dpo.",
        )


def _shortcut(history: _StepHistory) -> Iterable[Diagnosis]:
    if history.step < HALF_WAY * history.length:
        return
    for level in history.levels:
        first = [row for row in history.rows if 0 < row["step"] <= HEAD * history.length]
        early = _values(first, f"{HELD_OUT}{level}/accuracy")  # memorised pairs are another fault
        if not early:
            trained = _values(first[1:], f"{level}/accuracy")  # the first step is before any learning
            early = [fmean(trained[at : at + EARLY_STEPS]) for at in range(len(trained) - EARLY_STEPS + 1)]
        best = max(early, default=0.0)
        surely = _values(first, f"{HELD_OUT}{level}/accuracy_low")
        if surely and max(surely) <= SEPARABLE_ACCURACY:  # so few are held out that all of them may be chance
            continue
        winner, loser = (history.end(f"{level}/{side}_relative_error") for side in ("winner", "loser"))
        if best < NEAR_PERFECT_ACCURACY or winner is None or loser is None or loser <= winner:
            continue
        share = max(0.0, -winner) / (loser - winner)
        if share >= MIN_WINNER_SHARE or history.moved_elsewhere(loser):
            continue
        picked = history.rows[0].get("shortcut/all")
        before = f" Before training, plain features picked {picked:.0%} of the winners." if picked else ""
        yield history.diagnosis(
            "shortcut",
            "severe",
            f"Within the first quarter, {best:.0%} of pairs were classified correctly. Only {share:.0%} of the margin "
            f"now comes from winners that fit better ({winner:+.2g}, losers {loser:+.2g}), so the model may have "
            f"learned a shortcut and not quality.{before}",
            "Look at `rushes check-shortcuts`. Make codec, grain, frame rate and brightness of both sides alike, or "
            "use losers that are made from the winners (edits, guided takes).",
        )


def _nothing_learned(history: _StepHistory) -> Iterable[Diagnosis]:
    if history.step < HALF_WAY * history.length:
        return
    if history.moved is not None and history.moved < MIN_DRIFT:
        yield history.diagnosis(
            "nothing_learned",
            "warning",
            f"After {history.step} steps, predictions differ from the reference's by only {history.moved:.1g} of its "
            "error: training has not changed the model.",
            "Raise train.learning_rate tenfold and look again, or raise train.steps. With an adapter, check "
            "train.lora_rank and train.lora_alpha.",
        )
        return
    for level in history.levels:
        accuracy, factor = history.tail(f"{level}/accuracy"), history.tail(f"{level}/gradient")
        if accuracy and factor and accuracy.low <= 0.5 <= accuracy.high and factor.high - factor.low < 0.2:
            yield history.diagnosis(
                "nothing_learned",
                "warning",
                f"In the last quarter, {accuracy.value:.0%} of the training pairs were classified correctly "
                f"({accuracy.low:.0%} to {accuracy.high:.0%}). That is chance, although the model has changed.",
                "Check that labels agree (two judges, or one judge twice), then raise train.learning_rate.",
            )


def _beta_too_small(history: _StepHistory) -> Iterable[Diagnosis]:
    if history.step < HALF_WAY * history.length or (history.moved is not None and history.moved < 100 * MIN_DRIFT):
        return
    for level in history.levels:
        factor, accuracy = history.tail(f"{level}/gradient"), history.tail(f"{level}/accuracy")
        if not factor or not accuracy or factor.low < LINEAR_GRADIENT_WEIGHT or accuracy.low < 0.75:
            continue
        beta, typical = _last(history, f"{level}/beta"), history.held(f"{level}/typical")
        about = f"; about {beta * log(4) / typical:.3g} gives a gradient weight of 0.2 now" if typical and beta else ""
        yield history.diagnosis(
            "beta_too_small",
            "warning",
            f"{accuracy.value:.0%} of pairs are classified correctly, and the mean DPO gradient weight is still "
            f"{factor.value:.2f}; it began at 0.5. At beta {beta:.3g} no pair saturates.",
            f"Raise beta{about}; `rushes tune beta` proposes one before training.",
        )


def _beta_too_large(history: _StepHistory) -> Iterable[Diagnosis]:
    for level in history.levels:
        tail, held = history.tail(f"{level}/loss"), history.held(f"{level}/loss")
        cost = held if held is not None else (tail.low if tail else 0.0)
        if cost < MAX_PREFERENCE_LOSS:
            continue
        beta, typical = _last(history, f"{level}/beta"), history.held(f"{level}/typical")
        size = f", a typical logit is {typical:.0f}" if typical else ""
        yield history.diagnosis(
            "beta_too_large",
            "warning",
            f"The preference loss is {cost:.3g}, {cost / log(2):.0f} times its value before training{size}. At beta "
            f"{beta:.3g} the few misclassified pairs alone drive the gradient.",
            "Lower beta; `rushes tune beta` proposes one.",
        )


def _saturated(history: _StepHistory) -> Iterable[Diagnosis]:
    if history.anchored or history.step < HALF_WAY * history.length:
        return  # the SFT term still has a gradient
    for level in history.levels:
        half = history.steps(0.5, 1.0)
        factors, shares = _values(half, f"{level}/gradient"), _values(half, f"{level}/saturated")
        if not factors or fmean(factors) > MIN_GRADIENT_WEIGHT or fmean(shares) < 0.5:
            continue
        yield history.diagnosis(
            "saturated",
            "warning",
            f"In the second half, the mean DPO gradient weight was {fmean(factors):.3f}, and {fmean(shares):.0%} of "
            "the logits were beyond 5. Training had effectively finished.",
            "Use fewer steps or a lower beta, or add an SFT term (train.objective.sft_weight).",
        )


def _memorised(history: _StepHistory) -> Iterable[Diagnosis]:
    for level in history.levels:
        train, low = history.tail(f"{level}/accuracy"), history.held(f"{level}/accuracy_low")
        value, high = history.held(f"{level}/accuracy"), history.held(f"{level}/accuracy_high")
        if train and high is not None and high >= train.low:  # so few are held out that they may be no worse
            continue
        if train and low is not None and value is not None and train.low > 0.9 and low <= 0.5:
            yield history.diagnosis(
                "memorised",
                "warning",
                f"{train.value:.0%} of the training pairs are classified correctly, but {value:.0%} of the held-out "
                f"pairs (at least {low:.0%}), which may be chance: the model memorises its pairs.",
                "Use fewer steps or more pairs, and check that judges agree with themselves.",
            )


def _unconditional_drift(history: _StepHistory) -> Iterable[Diagnosis]:
    with_, without = history.held("conditional_drift"), history.held("unconditional_drift")
    error = history.held("reference_error")
    if not (with_ and without and error) or without < MAX_DRIFT_RATIO * with_ or without < 100 * MIN_DRIFT * error:
        return
    yield history.diagnosis(
        "unconditional_drift",
        "warning",
        f"Predictions under the negative prompt differ from the reference's by {without / error:.2g} of its error, "
        f"{without / with_:.1f} times as much as predictions under captions. Guidance uses both, and comparisons "
        "train only the second.",
        "Lower train.learning_rate or train.steps. If generate.negative_prompt is empty, train.caption_dropout = 0.1 "
        "trains it too. Judge guided clips.",
    )


def _samples(history: _StepHistory) -> Iterable[Diagnosis]:
    """Faults that clips sampled during training show beside those of the start."""
    shots = [row for row in history.rows if "samples/each" in row]
    if len(shots) < 2:
        return
    first, last = shots[0]["samples/each"], shots[-1]["samples/each"]
    if speed := _mean_change(first["motion_speed"], last["motion_speed"]):
        before = fmean([value for value in first["motion_speed"] if value is not None])
        if speed.high < 0 and before and 1 + speed.value / before < MIN_SPEED_SHARE:
            yield history.diagnosis(
                "motion_loss",
                "severe",
                f"Sampled clips move at {1 + speed.value / before:.0%} of the speed that they had before training "
                f"({speed.n} clips of equal prompt and seed).",
                "Look whether winners move less than losers (`rushes check-shortcuts`), and leave out or re-label "
                "still winners; labels per segment (densedpo) keep more motion than labels per clip.",
            )
    for name in ("brightness", "contrast", "saturation"):
        drift = _mean_change(first[name], last[name])
        if drift and drift.excludes_zero and abs(drift.value) > MAX_COLOUR_DRIFT:
            yield history.diagnosis(
                "colour_drift",
                "warning",
                f"The {name} of sampled clips changed by {drift.value:+.2f} ({drift.low:+.2f} to {drift.high:+.2f}).",
                "Look whether winners and losers differ in it (`rushes check-shortcuts`); match them, or take fewer "
                "steps.",
            )


def _mean_change(first: Sequence[float | None], last: Sequence[float | None]) -> Interval | None:
    """Mean change of clips that could be measured both times, with its interval; None for fewer than two."""
    gaps = [b - a for a, b in zip(first, last, strict=True) if a is not None and b is not None]
    return mean_interval(gaps) if len(gaps) > 1 else None


RULES: tuple[Callable[[_StepHistory], Iterable[Diagnosis]], ...] = (
    _plain_features,
    _diverged,
    _winner_rising,
    _shortcut,
    _unconditional_drift,
    _samples,
    _nothing_learned,
    _beta_too_small,
    _beta_too_large,
    _saturated,
    _memorised,
)


def _values(rows: StepRows, key: str) -> list[float]:
    return [row[key] for row in rows if key in row]


def _last(history: _StepHistory, key: str) -> float:
    return (_values(history.rows, key) or [0.0])[-1]
