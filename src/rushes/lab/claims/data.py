"""What arms are trained on: steps that put takes and labels into a project; each does only what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rushes import label
from rushes.config.tables import GenerateSettings, LabelSettings
from rushes.judges.base import Judge, Judgement, PointwiseJudge
from rushes.judges.build import world_judge
from rushes.metrics.base import Shot
from rushes.project import labels, negatives, stages
from rushes.project.presets import TINY_ETA
from rushes.project.project import OpenProject
from rushes.records import BASE, CandidateKind, seed_of, stable_hash
from rushes.world.arcs import arcs
from rushes.world.mechanics import SIZE_PX
from rushes.world.verify import over_segments

SEGMENT_S = LabelSettings().segment_s
TOLERANCE = 1e-5  # of a noise level
PAIR = 2  # takes of a clip that are labelled against each other: what other arms had made besides changes no arm


@dataclass(frozen=True)
class Takes:
    """Takes of every clip, by the base or an arm; guided ones start from the partly noised real clip, gap ones from a
    prompt with words left out."""

    count: int
    kind: Literal["take", "guided", "gap"] = "take"
    system: str = BASE

    def __call__(self, project: OpenProject) -> None:
        settings = GenerateSettings(kind=self.kind, takes=self.count, eta=TINY_ETA)
        stages.generate_takes(project, settings, self.system)


MOST = Takes(5)  # as many as any arm asks for: those that use all there are ask for no fewer


@dataclass(frozen=True)
class Levels:
    """Two guided takes of every clip, from noise levels `apart` from each other: what DenseDPO found to fail."""

    apart: float
    middle: float = sum(TINY_ETA) / 2

    def etas(self) -> tuple[float, float]:
        """The two levels."""
        return self.middle - self.apart / 2, self.middle + self.apart / 2

    def __call__(self, project: OpenProject) -> None:
        for eta in self.etas():
            stages.generate_takes(project, GenerateSettings(kind="guided", takes=1, eta=(eta, eta + 1e-6)), BASE)


def second_judge() -> PointwiseJudge:
    """The judge that shares nothing with the verifier, as a labeller: a segment is as bad as many dots are lost."""

    def score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        lost = arcs(shot.frames_FHWC, shot.caption).lost_F
        return tuple(-value for value in over_segments(lost, segment_s or len(lost) / shot.fps, shot.fps))

    return PointwiseJudge("arcs", score, LabelSettings().margin, (SIZE_PX, SIZE_PX), worst=-1.0, best=0.0)


@dataclass(frozen=True)
class Careless:
    """A judge whose labels are turned round with some probability, the same ones on every run."""

    name: str
    judge: Judge
    flips: float

    @property
    def size_px(self) -> tuple[int, int] | None:
        return self.judge.size_px

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        judged = self.judge.compare(left, right, segment_s)
        # from what both sides show, so that swapping them flips the labels
        shown = sorted(stable_hash([shot.caption, int(shot.frames_FHWC.sum(dtype=np.int64))]) for shot in (left, right))
        rng = np.random.default_rng(seed_of(self.name, *shown))
        turned = rng.random(len(judged.labels)) < self.flips
        return Judgement(tuple(-x if t else x for x, t in zip(judged.labels, turned, strict=True)), judged.strength)


@dataclass(frozen=True)
class LabelSource:
    """Labels per segment, on pairs of a share of the clips, a share of them turned round: by the world's verifier, or
    by the second judge, which looks otherwise, as an annotator that one finds ready-made."""

    kind: CandidateKind
    segment_s: float = SEGMENT_S
    share: float = 1.0
    flips: float = 0.0
    by: Literal["world", "arcs"] = "world"

    @property
    def judge(self) -> str:
        """What the labels are signed with: what a recipe's option `judge` names."""
        return f"{self.by} {self.kind} {self.segment_s:g}s share {self.share:g} flips {self.flips:g}"

    def __call__(self, project: OpenProject) -> None:
        candidates = project.store.candidates(split="train", kind=self.kind, system=BASE)
        chosen = [
            candidate
            for alike in label.groups(candidates)
            for candidate in alike[:PAIR]
            if seed_of("share", candidate.group) < self.share * 16**8
        ]
        by = world_judge(project.settings.label.margin) if self.by == "world" else second_judge()
        judge = Careless(self.judge, by, self.flips)
        label.label(project.store, judge, chosen, segment_s=self.segment_s, settings_hash="")


@dataclass(frozen=True)
class MixedLabels:
    """Labels by the world's verifier per segment, on pairs of takes from two noise levels."""

    levels: Levels

    @property
    def judge(self) -> str:
        """What the labels are signed with."""
        return f"world guided, levels {self.levels.apart:g} apart"

    def __call__(self, project: OpenProject) -> None:
        chosen = [
            replace(candidate, eta=None, settings_hash="")  # of one level and setting, which is what makes a pair
            for candidate in project.store.candidates(split="train", kind="guided", system=BASE)
            if any(abs((candidate.eta or 0.0) - eta) < TOLERANCE for eta in self.levels.etas())
        ]
        judge = Careless(self.judge, world_judge(project.settings.label.margin), 0.0)
        label.label(project.store, judge, chosen, segment_s=SEGMENT_S, settings_hash="")


@dataclass(frozen=True)
class WrongCaptions:
    """For each clip a caption that is wrong where its most similar take is, by the world's verifier."""

    def __call__(self, project: OpenProject) -> None:
        negatives.wrong_captions(_with(project, "caption", by="world"))


@dataclass(frozen=True)
class Scores:
    """Scores from 0 to 10 of every take, by the world's verifier."""

    def __call__(self, project: OpenProject) -> None:
        labels.score_takes(_with(project, "label", by="world", form="scores"))


def _with(project: OpenProject, table: str, **changes: str) -> OpenProject:
    """The same project under a changed table of settings."""
    changed = getattr(project.settings, table).model_copy(update=changes)
    return replace(project, settings=project.settings.model_copy(update={table: changed}))
