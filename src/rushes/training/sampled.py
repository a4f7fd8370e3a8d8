"""What clips that were sampled during training show: motion that is lost, colours that drift."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from rushes.stats import Interval, mean_interval
from rushes.training.diagnosis import Diagnosis, Rows

KEPT_MOTION = 0.7  # of the first samples' speed; VideoDPO-like runs lose a fifth to a third, seeds alone a tenth
TINT = 0.05  # of the range of brightness, contrast or saturation: 13 grey levels, seen side by side


def diagnose_samples(rows: Rows) -> Iterable[Diagnosis]:
    """Faults that clips sampled during training show beside those of the start; rows are those of metrics.jsonl."""
    shots = [row for row in rows if "samples/each" in row]
    if len(shots) < 2:
        return
    first, last = shots[0]["samples/each"], shots[-1]["samples/each"]
    if speed := _change(first["motion_speed"], last["motion_speed"]):
        before = fmean([value for value in first["motion_speed"] if value is not None])
        if speed.high < 0 and before and 1 + speed.value / before < KEPT_MOTION:
            yield Diagnosis(
                "motion_loss",
                "severe",
                f"Sampled clips move at {1 + speed.value / before:.0%} of the speed that they had before training "
                f"({speed.n} clips of equal prompt and seed).",
                "Look whether winners move less than losers (`rushes leak`), and leave out or re-label still winners; "
                "labels per segment (densedpo) keep more motion than labels per clip.",
                int(rows[-1]["step"]),
            )
    for name in ("brightness", "contrast", "saturation"):
        if (tint := _change(first[name], last[name])) and tint.excludes_zero and abs(tint.value) > TINT:
            yield Diagnosis(
                "colour_drift",
                "warning",
                f"The {name} of sampled clips changed by {tint.value:+.2f} ({tint.low:+.2f} to {tint.high:+.2f}).",
                "Look whether winners and losers differ in it (`rushes leak`); match them, or take fewer steps.",
                int(rows[-1]["step"]),
            )


def _change(first: Sequence[float | None], last: Sequence[float | None]) -> Interval | None:
    """Mean change of clips that could be measured both times, with its interval; None for fewer than two."""
    gaps = [b - a for a, b in zip(first, last, strict=True) if a is not None and b is not None]
    return mean_interval(gaps) if len(gaps) > 1 else None
