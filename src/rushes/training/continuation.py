"""Whether a run may go on from its newest checkpoint, and what differs where it may not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, NotRequired, TypedDict

from rushes.config.held_defaults import put
from rushes.config.renamed import LATER, with_names_of_today
from rushes.config.settings_files import flat, toml_value
from rushes.config.tables import TrainSettings

STEPS = "train.steps"
_WAY_OUT = "start another run with `--set train.name=NEW`, or delete the folder"

# Settings that came later, and what runs from before them were trained with; at it digests do not have them.
_BEFORE = {path: value for path, value in LATER.items() if path.startswith("train.")}
COMPILED = "backbone.compile"  # compiled blocks round otherwise, so a run goes on as it began
ATTENTION = "backbone.attention"  # another backend rounds otherwise, too
OTHERS_LATER = {COMPILED: False, ATTENTION: ""}


class RunInputs(TypedDict):
    """What a run is made from: settings by their paths, and digests by what they are of."""

    train: dict[str, Any]
    others: dict[str, Any]
    causes: NotRequired[dict[str, dict[str, Any]]]  # runs of former versions do not say them


class CheckpointFacts(TypedDict, total=False):
    """The plain values of a checkpoint: its run's identity, and what else a continuation goes on from."""

    identity: str
    made_from: RunInputs
    beta_scale: float  # by which train.auto_beta has changed beta
    budget_mib: float  # memory that a step may use
    view_mib: float  # that a view was measured to use
    view_mib_by_shape: dict[str, float]


@dataclass(frozen=True)
class RunIdentity:
    """All that must not change between a run and its continuation."""

    hash: str
    train: Mapping[str, Any] = field(default_factory=dict)  # the [train] table, as `hashed_form` has it
    others: Mapping[str, Any] = field(default_factory=dict)  # seed, weights, latents and data, by what they are called
    causes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # settings behind some of the others

    def facts(self) -> CheckpointFacts:
        """What a checkpoint holds of it."""
        if not self.train:
            return {"identity": self.hash}
        causes = {name: dict(settings) for name, settings in self.causes.items()}
        made_from: RunInputs = {"train": dict(self.train), "others": dict(self.others), "causes": causes}
        return {"identity": self.hash, "made_from": made_from}


def as_identity(identity: str | RunIdentity) -> RunIdentity:
    """The identity of a run of which no more than a hash may be there."""
    return identity if isinstance(identity, RunIdentity) else RunIdentity(identity)


def check_continuation(
    folder: Path,
    facts: CheckpointFacts,
    taken: int,
    now: RunIdentity,
    learning_rate: Callable[[TrainSettings, int], float],
) -> None:
    """Refuse to go on with a run that another training would have made.

    More or fewer steps are no other run as long as they come after those that were taken, and all of these had the
    learning rate that they would have now.

    Args:
        folder: of the run.
        facts: of its newest checkpoint.
        taken: its steps.
        now: what the run would be made from; parts that are not yet there are not compared.
        learning_rate: of a step under settings.

    Raises:
        ValueError: settings or data that differ, each with both values, or another number of steps that does not go.
    """
    if now.hash and facts["identity"] == now.hash:
        return
    before = facts.get("made_from")
    if before is None:
        if now.hash:
            raise ValueError(f"{folder} holds a run with other settings or data; {_WAY_OUT}")
        return
    then, ours = _BEFORE | _table(before["train"]), _BEFORE | _table(now.train)
    others = OTHERS_LATER | before["others"]
    changes = {name: (then.get(name), value) for name, value in ours.items() if then.get(name) != value}
    for name, value in now.others.items():
        if others.get(name) != value:
            causes = before.get("causes", {}).get(name, {})
            named = {key: (causes[key], new) for key, new in now.causes.get(name, {}).items()
                     if key in causes and causes[key] != new}  # fmt: skip
            changes |= named or {name: (others.get(name), value)}
    steps = changes.pop(STEPS, None)
    if changes:
        words = "; ".join(f"{name} was {_word(old)} and is {_word(new)}" for name, (old, new) in changes.items())
        back = _set_back(folder, changes | ({STEPS: steps} if steps else {}))
        raise ValueError(f"{folder} holds a run with other settings or data: {words}; {back}{_WAY_OUT}")
    if steps:  # else the hash is of names that had another spelling
        before_settings, now_settings = (TrainSettings.model_validate(_nested(table)) for table in (then, ours))
        _check_steps(folder, taken, before_settings, now_settings, learning_rate)


def _set_back(folder: Path, changes: Mapping[str, tuple[Any, Any]]) -> str:
    """The command that sets settings back to those of a run; without it where what differs is no setting."""
    settings = {name: old for name, (old, _) in changes.items() if "." in name and " " not in name and old is not None}
    if not settings:
        return ""
    values = " ".join(quote(f"{name}={toml_value(old)}") for name, old in settings.items())
    return f"`rushes set {quote(str(folder.parent.parent))} {values}` restores them; or "


def _check_steps(
    folder: Path,
    taken: int,
    before: TrainSettings,
    now: TrainSettings,
    learning_rate: Callable[[TrainSettings, int], float],
) -> None:
    if now.steps < taken:
        raise ValueError(
            f"{folder} already has {taken} steps, but train.steps is {now.steps}; set it to {taken} or more, or set "
            "train.name to another name"
        )
    other = next((step for step in range(taken) if learning_rate(before, step) != learning_rate(now, step)), None)
    if other is not None:
        raise ValueError(
            f"{folder} cannot continue from {before.steps} to {now.steps} steps: train.lr_scheduler is "
            f'"{now.lr_scheduler}", so step {other + 1} would have had a learning rate of '
            f"{learning_rate(now, other):.3g}, not {learning_rate(before, other):.3g}; start a run with "
            f"train.name = NEW and train.init_from = {folder.name}, or, so that runs can always continue, train with "
            '"constant" from the start'
        )


def _table(train: Mapping[str, Any]) -> dict[str, Any]:
    return dict(flat(with_names_of_today({"train": train})[0]))


def _nested(table: Mapping[str, Any]) -> dict[str, Any]:
    """The [train] table of dotted paths."""
    out: dict[str, Any] = {}
    for path, value in table.items():
        put(out, path.removeprefix("train."), value)
    return out


def _word(value: Any) -> str:
    return "not recorded" if value is None else str(value)
