"""A claim: arms that differ by one thing, and hypotheses over them that are written down before any arm runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rushes.pipeline.project import Project

Step = Callable[[Project], None]
Expects = Literal["lower", "higher", "equal"]
BASE = "base"  # the arm that is not trained


@dataclass(frozen=True)
class Arm:
    """One training run of a claim.

    Attributes:
        name: of the run; arms of several claims with one name are one run.
        recipe: which recipe, from its settings for the tiny backbone.
        train: changes to `[train]`; `options` among them are merged into the recipe's.
        data: what must be in the project first, in order; steps that are done already do nothing.
        start: arm whose weights training starts from.
    """

    name: str
    recipe: str
    train: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[Step, ...] = ()
    start: str = BASE


@dataclass(frozen=True)
class Hypothesis:
    """One comparison of two arms, with what would confirm it.

    Attributes:
        name: short and unique within the claim.
        says: what the paper says, in one sentence.
        arm: the arm that the sentence is about.
        against: the arm that it is compared with.
        metric: of the judge.
        expects: which way `arm` should differ, or "equal".
        margin: in the metric's unit. For "equal" the largest difference that still counts as none; else the smallest
            difference that would matter: where the interval ends before it, there is no such effect.
    """

    name: str
    says: str
    arm: str
    against: str
    metric: str
    expects: Expects
    margin: float


@dataclass(frozen=True)
class Claim:
    """Arms and hypotheses of one paper."""

    name: str
    paper: str
    arms: tuple[Arm, ...]
    hypotheses: tuple[Hypothesis, ...]

    def __post_init__(self) -> None:
        names = {BASE, *(arm.name for arm in self.arms)}
        for hypothesis in self.hypotheses:
            assert {hypothesis.arm, hypothesis.against} <= names, hypothesis
        for place, arm in enumerate(self.arms):
            assert arm.start in {BASE, *(earlier.name for earlier in self.arms[:place])}, arm.name
