"""Where a project stands, as data and in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rushes.store.own_files import LOG
from rushes.text_reader import counted
from rushes.web.labeling.campaign import enough

OTHERS = 4  # runs that are named beside that which is shown


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

    name: str
    step: int  # last finished step
    steps: int | None  # planned steps, if the run ended or the settings name it; null = unknown
    ended: bool
    training: bool  # now, by some process
    left_s: float | None = None  # seconds that the steps to come take at the speed of the last ones; null = unknown

    @property
    def state(self) -> str:
        """How it is, in a word or two."""
        return "training" if self.training else "finished" if self.ended else "stopped" if self.step else "not begun"

    @property
    def step_text(self) -> str:
        """How far it is."""
        return counted(self.step, "step") if self.steps is None else f"{self.step:,} of {self.steps:,} steps"

    @property
    def of_steps(self) -> str:
        """The step, and of how many where that is known."""
        return f"{self.step}" if self.steps is None else f"{self.step} of {self.steps}"


@dataclass(frozen=True)
class CampaignStatus:
    """How far people are with what `rushes campaign` asks."""

    people: tuple[str, ...]
    labelled: int  # pairs with a label of a person
    wanted: int
    votes: int = 0  # people's votes between the base and a run

    def in_words(self) -> str:
        """The same in a sentence."""
        return f"{self.labelled} of {counted(self.wanted, 'pair')} have a label, {enough(self.labelled, self.wanted)}"


@dataclass(frozen=True)
class ProjectStatus:
    """What is there of a project, and what comes next. What the recipe does not need is null."""

    project: Path
    model: str  # family of the model
    recipe: str
    clips: int  # to train on
    held_out: int  # clips
    takes: int | None  # takes of the training clips, by what they start from
    takes_wanted: int | None
    labels: int | None  # pairs of takes that somebody answered, or takes with a score
    run: RunStatus
    detached: bool  # whether `rushes run --detach` works on it now
    evaluated: bool
    report: Path | None
    next: str  # command
    campaign: CampaignStatus | None = None  # null = there is none
    labels_wanted: int | None = None  # pairs, or takes, that there are; null = label.by is none
    labels_decided: int | None = None  # labels in which the recipe finds something to compare
    other_runs: tuple[RunStatus, ...] = ()  # the project's other runs, the most recent first
    verdict: str = ""  # verdict of the evaluation, a sentence or two; "" = none yet
    better: bool = False  # whether that claims that the run is better
    unhealthy: bool = False  # whether `rushes health` has something to say of the run, or the verdict is "worse"
    broken_off: str = ""  # why `rushes run --detach` ended before its end, as far as its log says; "" = it did not

    def takes_text(self) -> str:
        """How many takes there are, of how many where some lack."""
        there, wanted = self.takes or 0, self.takes_wanted or 0
        return counted(there, "take") if there >= wanted else f"{there:,} of {counted(wanted, 'take')}"

    def labels_text(self, noun: str = "label", several: str = "") -> str:
        """How many labels there are, of how many where some lack, and how many of them decide where not all do."""
        there, wanted = self.labels or 0, self.labels_wanted or 0
        all_there = there >= wanted
        words = counted(there, noun, several) if all_there else f"{there:,} of {counted(wanted, noun, several)}"
        undecided = self.labels_decided is not None and self.labels_decided < there
        return f"{words}, {self.labels_decided:,} decided" if undecided else words

    @property
    def labels_done(self) -> bool | None:
        """Whether training has all the labels that it is to have; None where it needs none."""
        if self.labels is None or not self.labels_decided:
            return None if self.labels is None else False
        if self.run.step or self.run.ended:
            return True
        if self.campaign:
            return self.campaign.labelled >= self.campaign.wanted
        return self.labels >= (self.labels_wanted or 0)

    def others_text(self) -> str:
        """The runs beside that which is shown; many are counted."""
        more = len(self.other_runs) - OTHERS
        named = [f"{run.name} ({run.state})" for run in self.other_runs[:OTHERS]]
        return ", ".join([*named, *([f"{more} more"] if more > 0 else [])])

    def lines(self) -> list[str]:
        """The same in words."""
        clips = f"{counted(self.clips, 'clip')} to train on, {self.held_out} held out"
        parts = [clips if self.clips or not self.labels else f"{counted(self.held_out, 'prompt')} held out"]
        if self.takes_wanted:
            parts.append(self.takes_text())
        if self.labels is not None:
            parts.append(self.labels_text())
        run = self.run
        parts.append(f"run {run.name}: {run.state}, {run.step_text}")
        if run.training and run.left_s is not None:
            parts[-1] += f", about {run.left_s / 60:.0f} min left"
        if self.other_runs:
            parts.append(f"other runs: {self.others_text()}")
        parts.append(f"evaluated: {self.verdict}".rstrip(": ") if self.evaluated else "not evaluated")
        if self.campaign:
            parts.append(f"campaign: {self.campaign.in_words()}")
        report = [f"report: {self.report}"] if self.report else []
        if self.broken_off:
            parts.append(f"the detached run failed: {self.broken_off} ({self.project / LOG})")
        if self.detached:
            parts.append(f"a detached run is working ({self.project / LOG})")
        return [f"project: {self.project} ({self.recipe} on {self.model})", *parts, *report, f"next: {self.next}"]
