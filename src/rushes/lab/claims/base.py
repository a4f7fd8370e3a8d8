"""A claim: arms that differ by one thing, and hypotheses over them that are written down before any arm runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rushes.project.project import OpenProject
from rushes.records import BASE
from rushes.world.verify import HEADLINE

DataStep = Callable[[OpenProject], None]
Expects = Literal["lower", "higher", "equal"]
DOTS = 0.01  # share of lost dots: one more dot in every clip for two frames in three


@dataclass(frozen=True)
class Arm:
    """One training run of a claim."""

    name: str  # of the run; arms of several claims with one name are one run
    recipe: str  # which recipe, from its settings for the tiny backbone
    # changes to `[train]`; `options` among them are merged into the recipe's
    train: Mapping[str, Any] = field(default_factory=dict)
    # what must be in the project first, in order; steps that are done already do nothing
    data: tuple[DataStep, ...] = ()
    start: str = BASE  # arm whose weights training starts from
    # name of the clips it is trained on, a key of `rushes.lab.claims.data.FOOTAGE`; each has a project of its own.
    # Held-out prompts are the same in all
    footage: str = "true"
    # how many true clips it has, in units of the budget's; each number has a project of its own, too
    clips: float = 1.0
    first_frame: bool = True  # whether the model is given it; a project without is another one
    trained: bool = True  # else its takes are those of what it starts from
    evaluate: bool = True  # whether its takes are judged; else only its diagnoses count


@dataclass(frozen=True)
class Hypothesis:
    """One comparison of two arms, with what would confirm it."""

    name: str  # short and unique within the claim
    says: str  # what the paper says, in one sentence
    arm: str  # the arm that the sentence is about
    against: str  # the arm that it is compared with
    metric: str = HEADLINE  # of the judge; lost dots, as most of them ask for
    expects: Expects = "lower"  # which way `arm` should differ, or "equal"
    # in the metric's unit. For "equal" the largest difference that still counts as none; else the smallest difference
    # that would matter: where the interval ends before it, there is no such effect
    margin: float = DOTS
    # named first and corrected together, over all claims; all others are exploratory, corrected within their claim
    primary: bool = False


@dataclass(frozen=True)
class Sighting:
    """A run that was built to have a fault, and the diagnosis that should name it; "" = none should be made."""

    arm: str
    diagnosis: str


@dataclass(frozen=True)
class Claim:
    """Arms and hypotheses of one paper, and the faults that its runs should be seen to have.

    Where `seeds` is given, that many are run at most.
    """

    name: str
    paper: str
    arms: tuple[Arm, ...]
    hypotheses: tuple[Hypothesis, ...]
    sightings: tuple[Sighting, ...] = ()
    seeds: int | None = None

    def __post_init__(self) -> None:
        names = {BASE, *(arm.name for arm in self.arms)}
        judged = {BASE, *(arm.name for arm in self.arms if arm.evaluate)}
        for hypothesis in self.hypotheses:
            assert {hypothesis.arm, hypothesis.against} <= judged, hypothesis
        assert {sighting.arm for sighting in self.sightings} <= names, self.name
        for place, arm in enumerate(self.arms):
            assert arm.start in {BASE, *(earlier.name for earlier in self.arms[:place])}, arm.name

    def arm(self, name: str) -> Arm:
        """One of its arms."""
        return next(arm for arm in self.arms if arm.name == name)
