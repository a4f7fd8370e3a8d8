"""The arms of every claim, by claim: training runs that differ from each other by one thing.

All arms that papers are asked about have one rule (`RULE`): the same distribution of training times, learning rate and
number of steps, and no SFT term, which is an arm of its own. Preference losses have the beta at which their held-out
drift is about alike (`BETA`, looked at on a seed that no table uses, LOG.md; PhysHPO's is larger). The published one is
an arm of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rushes.lab.claims.base import Arm
from rushes.lab.claims.data import MOST, LabelSource, Levels, MixedLabels, Scores, Takes, WrongCaptions
from rushes.records import BASE

ONE_TAKE, TWO_TAKES, THREE_TAKES, GUIDED = Takes(1), Takes(2), Takes(3), Takes(2, "guided")
UNTRAINED = Arm(BASE, "sft", trained=False)
TEXT = "base-text"  # the base without a given first frame
RULE: Mapping[str, Any] = {"learning_rate": 3e-5, "times": "uniform", "shift": 0.0, "objective": {"sft_weight": 0.0}}
BETA: Mapping[str, float] = {"realdpo": 2000.0, "densedpo": 50.0, "huvidpo": 50.0, "physhpo": 200.0, "dfdpo": 500.0}
PUBLISHED: Mapping[str, float] = {
    "realdpo": 5000.0,
    "densedpo": 500.0,
    "physhpo": 2000.0,
}  # huvidpo's is that of `BETA`


def _arm(name: str, recipe: str, *data: Any, start: str = BASE, text: bool = False, **options: Any) -> Arm:
    """An arm by the rule; `text`: the model is given no first frame."""
    train = {**RULE, "options": {"beta": BETA[recipe], **options}}
    return Arm(name, recipe, train, data, start=start, first_frame=not text)


def _with(arm: Arm, name: str = "", clips: float = 1.0, footage: str = "true", **train: Any) -> Arm:
    """The same with changes to `[train]`; options among them are merged."""
    options = {**arm.train.get("options", {}), **train.pop("options", {})}
    changed = {**arm.train, **train, "options": options}
    return replace(arm, name=name or arm.name, train=changed, clips=clips, footage=footage)


def _realdpo(name: str, data: Takes = ONE_TAKE, start: str = BASE, **options: Any) -> Arm:
    """Real clips against one take each, or as many as the option `losers` says."""
    return _arm(name, "realdpo", data, start=start, **{"losers": 1, **options})


PLAIN = _realdpo("realdpo")
# The winner's own error beside the preference, which lets the learning rate rise.
SFT_TERM: Mapping[str, Any] = {"learning_rate": 3e-4, "objective": {"sft_weight": 1000.0}, "options": {"beta": 2000.0}}
WITH_SFT_TERM = _with(PLAIN, "realdpo-sft-term", **SFT_TERM)
REALDPO = (
    Arm("sft", "sft", RULE),
    PLAIN,
    _realdpo("realdpo-published", beta=PUBLISHED["realdpo"]),
    WITH_SFT_TERM,
    _with(PLAIN, "realdpo-longer", steps=96),
    _realdpo("realdpo-round2", Takes(1, system="realdpo"), "realdpo"),
    replace(_realdpo("realdpo-old-takes", start="realdpo"), recipe="rushes.lab.claims.old_takes"),
)


def _densedpo(name: str, labels: LabelSource, mode: str = "dense", text: bool = False, **options: Any) -> Arm:
    takes = TWO_TAKES if labels.kind == "take" else GUIDED
    return _arm(name, "densedpo", takes, labels, text=text, **{"mode": mode, "judge": labels.judge, **options})


DENSE, FREE, LEVELS = LabelSource("guided"), LabelSource("take"), Levels(0.1)
MIXED = MixedLabels(LEVELS)
SECOND = LabelSource("guided", by="arcs")
DENSEDPO = (
    _densedpo("vanilla", FREE, "vanilla"),
    _densedpo("structural", DENSE, "structural"),
    _densedpo("densedpo", DENSE),
    _densedpo("densedpo-published", DENSE, beta=PUBLISHED["densedpo"]),
    _densedpo("densedpo-third", replace(DENSE, share=1 / 3)),
    _densedpo("densedpo-second-judge", SECOND),
    replace(UNTRAINED, name=TEXT, first_frame=False),
    _densedpo("vanilla-text", FREE, "vanilla", text=True),
    _densedpo("densedpo-text", DENSE, text=True),
)


def _huvidpo(name: str, **options: Any) -> Arm:
    return _arm(name, "huvidpo", MOST, Scores(), **options)


HUVIDPO = (
    _huvidpo("huvidpo"),
    _huvidpo("huvidpo-noised-first-frame", first_frame="noised"),
    _huvidpo("huvidpo-gap", weight="gap"),
)


def _physhpo(name: str, *without: str, **options: Any) -> Arm:
    """All levels but some; the paper's models are given no first frame."""
    options |= {f"{level}_weight": 0.0 for level in without}
    return _arm(name, "physhpo", MOST, Takes(1, "gap"), WrongCaptions(), text=True, **options)


LEVELS_BESIDE = ("state", "motion", "semantic")
PHYSHPO = (
    replace(UNTRAINED, name=TEXT, first_frame=False),
    _physhpo("physhpo"),
    _physhpo("physhpo-published", beta=PUBLISHED["physhpo"]),
    _physhpo("physhpo-error", *LEVELS_BESIDE, gap_share=0.0),
    _physhpo("physhpo-without-gap", gap_share=0.0),
    *(_physhpo(f"physhpo-without-{level}", level) for level in LEVELS_BESIDE),
    _physhpo("physhpo-random-error", err="random"),
    *(_with(PLAIN, f"data-{name}", footage=name) for name in ("random", "funnel")),
)
DFDPO = (
    PLAIN,
    _arm("dfdpo", "dfdpo"),
    _arm("dfdpo-published-edits", "dfdpo", edits=["reverse", "shuffle", "noise"]),
)

UNSCALED = "rushes.lab.claims.unscaled"  # the recipe with the released loader's fault
FEW = 3 / 16  # of the budget's clips, so that every comparison is visited more often than the largest cache has draws
# Runs with one fault each; preference alone, at a learning rate that stays, unless something else makes the fault.
BARE: dict[str, Any] = {"lr_scheduler": "constant", "learning_rate": 1e-5, "objective": {"sft_weight": 0.0},
                        "checkpoint_every": 5, "steps": 40, "warmup_steps": 8}  # fmt: skip


def _faulty(name: str, **train: Any) -> Arm:
    options = {"losers": 1, **train.pop("options", {})}
    return Arm(name, "realdpo", {**BARE, "options": options, **train}, (ONE_TAKE,), evaluate=False)


def _misled(name: str, footage: str) -> Arm:
    """Fine-tuning on clips that lack something, looked at through samples."""
    train = {"lr_scheduler": "constant", "learning_rate": 1e-3, "steps": 80, "sample_every": 20}
    return Arm(name, "sft", train, footage=footage, evaluate=False)


WITHOUT_SFT_TERM = _with(WITH_SFT_TERM, "without-sft-term", objective={"sft_weight": 0.0})
OURS = (
    PLAIN,
    WITH_SFT_TERM,
    _with(PLAIN, "view-by-view", gradients="stash"),
    _with(PLAIN, "fresh", clips=FEW),
    *(_with(PLAIN, f"bank-{m}", clips=FEW, reference_cache=m) for m in (1, 4, 16)),
    WITHOUT_SFT_TERM,
    _with(WITHOUT_SFT_TERM, "winner-clamp", objective={"sft_weight": 0.0, "dpop_weight": 1000.0}),
    _with(WITHOUT_SFT_TERM, "safe-loser", objective={"sft_weight": 0.0, "safe_dpo": True}),
    _faulty("sick-moving-reference", options={"beta": 100.0}, reference="ema", learning_rate=1e-4),
    replace(_faulty("sick-shortcut", checkpoint_every=40), recipe=UNSCALED),
    _faulty("sick-idle", learning_rate=1e-9),
    _faulty("sick-small-beta", options={"beta": 1.0}, learning_rate=5e-5),
    _faulty("sick-large-beta", options={"beta": 1e7}),
    _faulty("sick-rate", learning_rate=3e-2),
    _misled("sick-still", "still"),
    _misled("sick-washed", "washed"),
)
ABLATIONS = (
    PLAIN,
    next(arm for arm in DENSEDPO if arm.name == "densedpo"),
    _with(PLAIN, "realdpo-ema", reference="ema"),
    _realdpo("realdpo-n3", THREE_TAKES, losers=3),
    _realdpo("realdpo-n5", MOST, losers=MOST.count),
    replace(_realdpo("unscaled"), recipe=UNSCALED),
    _densedpo("densedpo-one-second", replace(DENSE, segment_s=1.0)),
    _densedpo("densedpo-two-seconds", replace(DENSE, segment_s=2.0)),
    _densedpo("densedpo-flips-20", replace(DENSE, flips=0.2)),
    _densedpo("densedpo-flips-40", replace(DENSE, flips=0.4)),
    _arm("densedpo-mixed-levels", "densedpo", LEVELS, MIXED, judge=MIXED.judge, mixed_eta=True),
    *(_with(PLAIN, f"data-{name}", footage=name) for name in ("random", "selected")),
)
ARMS: Mapping[str, tuple[Arm, ...]] = {
    "realdpo": REALDPO,
    "densedpo": DENSEDPO,
    "huvidpo": HUVIDPO,
    "physhpo": PHYSHPO,
    "dfdpo": DFDPO,
    "ours": OURS,
    "ablations": ABLATIONS,
}
