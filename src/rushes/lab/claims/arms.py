"""The arms of every claim, by claim: training runs that differ from each other by one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rushes.lab.claims.base import Arm
from rushes.lab.claims.data import MOST, LabelSource, Levels, MixedLabels, Scores, Takes, WrongCaptions
from rushes.records import BASE

ONE, TWO, THREE, GUIDED = Takes(1), Takes(2), Takes(3), Takes(2, "guided")


def _realdpo(name: str, data: Takes = ONE, start: str = BASE, clips: float = 1.0, **train: Any) -> Arm:
    """Real clips against one take each, or as many as the option `losers` says."""
    return Arm(name, "realdpo", {"options": {"losers": 1}, **train}, (data,), start=start, clips=clips)


# Without the winner's own error beside it, the preference loss wants a tenth of the rate: at 3e-4 the model is lost.
ALONE: dict[str, Any] = {"learning_rate": 3e-5, "objective": {"sft_weight": 0.0}}
UNSCALED = "rushes.lab.claims.unscaled"  # the recipe with the released loader's fault
REALDPO = (
    Arm("sft", "sft"),
    _realdpo("realdpo"),
    _realdpo("unguarded", **ALONE),
    _realdpo("realdpo-ema", reference="ema"),
    _realdpo("realdpo-n3", THREE, options={"losers": 3}),
    _realdpo("realdpo-n5", MOST, options={"losers": MOST.count}),
    replace(_realdpo("unscaled"), recipe=UNSCALED),
    replace(_realdpo("unscaled-unguarded", **ALONE), recipe=UNSCALED),
    _realdpo("realdpo-round2", Takes(1, system="realdpo"), "realdpo"),
)


def _densedpo(name: str, labels: LabelSource, mode: str = "dense") -> Arm:
    takes = TWO if labels.kind == "take" else GUIDED
    return Arm(name, "densedpo", {"options": {"mode": mode, "judge": labels.judge}}, (takes, labels))


DENSE, LEVELS = LabelSource("guided"), Levels(0.25)
MIXED = MixedLabels(LEVELS)
DENSEDPO = (
    _densedpo("vanilla", LabelSource("take"), "vanilla"),
    _densedpo("structural", DENSE, "structural"),
    _densedpo("densedpo", DENSE),
    _densedpo("densedpo-third", replace(DENSE, share=1 / 3)),
    _densedpo("densedpo-one-second", replace(DENSE, segment_s=1.0)),
    _densedpo("densedpo-two-seconds", replace(DENSE, segment_s=2.0)),
    _densedpo("densedpo-flips-20", replace(DENSE, flips=0.2)),
    _densedpo("densedpo-flips-40", replace(DENSE, flips=0.4)),
    Arm("densedpo-mixed-levels", "densedpo", {"options": {"judge": MIXED.judge, "mixed_eta": True}}, (LEVELS, MIXED)),
)


# All arms but the one that asks about it have the beta that other recipes have; the recipe's own is the published one.
def _huvidpo(name: str, beta: float = 2000.0, **options: Any) -> Arm:
    return Arm(name, "huvidpo", {"options": {"beta": beta, **options}}, (MOST, Scores()))


HUVIDPO = (
    _huvidpo("huvidpo"),
    _huvidpo("huvidpo-noised-first-frame", first_frame="noised"),
    _huvidpo("huvidpo-gap", weight="gap"),
    _huvidpo("huvidpo-beta-50", beta=50.0),
)


def _physhpo(name: str, added: int, **options: Any) -> Arm:
    """The instance level and the first `added` of the others."""
    without = {f"{level}_weight": 0.0 for level in ("state", "motion", "semantic")[added:]}
    return Arm(name, "physhpo", {"options": {**without, **options}}, (MOST, Takes(1, "gap"), WrongCaptions()))


PHYSHPO = (
    _physhpo("physhpo-error", 0, gap_share=0.0),
    _physhpo("physhpo-gap", 0),
    _physhpo("physhpo-state", 1),
    _physhpo("physhpo-motion", 2),
    _physhpo("physhpo", 3),
    _physhpo("physhpo-random-error", 3, err="random"),
    *(replace(_realdpo(f"data-{name}"), footage=name) for name in ("random", "selected")),
)
DFDPO = (
    Arm("dfdpo", "dfdpo", {"options": {}}),
    Arm("dfdpo-published-edits", "dfdpo", {"options": {"edits": ["reverse", "shuffle", "noise"]}}),
    _realdpo("realdpo"),
)

FEW = 3 / 16  # of the budget's clips, so that every comparison is visited more often than the largest bank has draws
# Runs with one fault each; preference alone, at a rate that stays, unless something else makes the fault.
BARE: dict[str, Any] = {"lr_scheduler": "constant", "learning_rate": 1e-5, "objective": {"sft_weight": 0.0},
                        "checkpoint_every": 5, "steps": 40, "warmup_steps": 8}  # fmt: skip


def _faulty(name: str, **train: Any) -> Arm:
    options = {"losers": 1, **train.pop("options", {})}
    return replace(_realdpo(name, **{**BARE, "options": options, **train}), evaluate=False)


def _misled(name: str, footage: str) -> Arm:
    """Fine-tuning on clips that lack something, looked at through samples."""
    train = {"lr_scheduler": "constant", "learning_rate": 1e-3, "steps": 80, "sample_every": 20}
    return Arm(name, "sft", train, footage=footage, evaluate=False)


OURS = (
    _realdpo("realdpo"),
    _realdpo("view-by-view", gradients="stash"),
    _realdpo("fresh", clips=FEW),
    *(_realdpo(f"bank-{m}", clips=FEW, reference_cache=m) for m in (1, 2, 4, 8, 16)),
    _realdpo("unanchored", objective={"sft_weight": 0.0}),
    _faulty("sick-moving-reference", options={"beta": 100.0}, reference="ema", learning_rate=2e-5),
    _faulty("sick-shortcut"),
    _faulty("sick-idle", learning_rate=1e-9),
    _faulty("sick-small-beta", options={"beta": 1.0}),
    _faulty("sick-large-beta", options={"beta": 1e7}),
    _faulty("sick-rate", learning_rate=3e-2),
    _misled("sick-still", "still"),
    _misled("sick-washed", "washed"),
    _realdpo("winner-clamp", objective={"sft_weight": 0.0, "dpop_weight": 1000.0}),
    _realdpo("safe-loser", objective={"sft_weight": 0.0, "safe_dpo": True}),
)


def _again(name: str, more: str, clips: float = 1.0, **train: Any) -> Arm:
    """An arm of another claim under other settings."""
    arm = next(arm for arm in (*REALDPO, *DENSEDPO, *HUVIDPO) if arm.name == name)
    return replace(arm, name=f"{name}-{more}", clips=clips, train={**arm.train, **train})


# Why some claims are not seen. Four times the steps of the other arms; so many clips that about as many of their pairs
# have a label as twice the steps take; the winner's own error beside the preference, at the rate that wants it.
EXPLANATIONS = (
    *(_again(name, "longer", steps=192) for name in ("realdpo", "unguarded", "huvidpo")),
    _again("densedpo", "seen-once", clips=8.0, steps=96),
    *(
        _again(name, "anchored", learning_rate=3e-4, objective={"sft_weight": 1000.0})
        for name in ("densedpo", "structural", "vanilla")
    ),
)
ARMS: Mapping[str, tuple[Arm, ...]] = {
    "realdpo": REALDPO,
    "densedpo": DENSEDPO,
    "huvidpo": HUVIDPO,
    "physhpo": PHYSHPO,
    "dfdpo": DFDPO,
    "ours": OURS,
    "explanations": EXPLANATIONS,
}
