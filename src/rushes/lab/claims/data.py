"""What arms are trained on: clips, takes and labels that steps put into a project; each does only what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rushes import label
from rushes.config.tables import GenerateSettings, LabelSettings
from rushes.edits.corrupt import unscaled
from rushes.footage.world import WORLD_SCALE
from rushes.judges.base import Judge, Judgement, PointwiseJudge
from rushes.judges.build import world_judge
from rushes.media.read import read_video
from rushes.media.write import encode_bytes
from rushes.metrics.base import Shot
from rushes.project import generation, labels, negatives
from rushes.project.presets import TINY_ETA
from rushes.project.project import OpenProject
from rushes.records import BASE, CandidateKind, Clip, Decision, seed_of, stable_hash
from rushes.world.arcs import arcs
from rushes.world.mechanics import FPS, SIZE_PX
from rushes.world.plants import one_fault
from rushes.world.render import render
from rushes.world.scenes import read_wording
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
        generation.generate_takes(project, settings, self.system)


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
            generation.generate_takes(project, GenerateSettings(kind="guided", takes=1, eta=(eta, eta + 1e-6)), BASE)


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


READER_RIGHT = 0.91  # share of clips, PhysHPO (arXiv 2508.10858), its check of the selection by hand
WORLD = "world"  # what true clips of the world are signed with


@dataclass(frozen=True)
class ClipPool:
    """Twice as many clips, half of them with a fault; half of all are then kept and trained on."""

    # at random; those that a reader of captions calls sound; or those that the world's verifier finds the truest, which
    # is an oracle's choice, as it also judges
    keep: Literal["random", "funnel", "selected"]

    def __call__(self, project: OpenProject) -> None:
        store, seed = project.store, project.settings.project.seed
        true = store.clips("train", dropped=True)
        if not store.decisions():
            store.add(_faulty(project, clip) for clip in true if clip.made_by == WORLD)
            clips = store.clips("train")
            order = self._order(project, clips)
            worst = sorted(clips, key=lambda clip: order[clip.id])[len(clips) // 2 :]
            store.add(Decision(stable_hash(["pool", c.id, seed]), c.id, False, f"not {self.keep}") for c in worst)

    def _order(self, project: OpenProject, clips: Sequence[Clip]) -> dict[str, float]:
        """Clip id -> what it is sorted by, the best first."""
        if self.keep == "random":
            return {clip.id: seed_of("pool", clip.id) for clip in clips}
        if self.keep == "funnel":
            return {clip.id: _called_faulty(clip) + seed_of("pool", clip.id) / 16**8 for clip in clips}
        rate = world_judge(project.settings.label.margin).rate
        return {clip.id: -rate(Shot(_frames(project, clip), clip.fps, clip.caption)) for clip in clips}


def _called_faulty(clip: Clip) -> bool:
    """What a reader of captions says, that is right as often as PhysHPO's funnel was found to be."""
    return (clip.made_by != WORLD) == (seed_of("reader", clip.id) < READER_RIGHT * 16**8)


def _frames(project: OpenProject, clip: Clip) -> NDArray[np.uint8]:
    return read_video(project.store.media_path(clip.media), size_px=(SIZE_PX, SIZE_PX)).frames_FHWC


def _faulty(project: OpenProject, clip: Clip) -> Clip:
    """Another clip of the same kind, with one fault."""
    seed = [int(part) for part in clip.source.removeprefix("world:").split("/")]
    _, broken, fault = one_fault(read_wording(clip.caption).kind, [*seed, 1], clip.frames)
    media = project.store.put_media_bytes(encode_bytes(render(broken), clip.fps, scale=WORLD_SCALE), ".mp4")
    made_by, id = f"{WORLD}, {fault}", stable_hash(["faulty", clip.id])
    source = f"{clip.source}/{fault}"
    return replace(clip, id=id, media=media, caption=broken.caption, source=source, made_by=made_by)


@dataclass(frozen=True)
class Edited:
    """An edited copy in the place of every clip."""

    name: str
    edit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]  # frames [F, H, W, 3] -> as many

    def __call__(self, project: OpenProject) -> None:
        store = project.store
        for clip in store.clips("train"):
            if clip.made_by == WORLD:
                frames = self.edit(_frames(project, clip))
                media = store.put_media_bytes(encode_bytes(frames, FPS, scale=WORLD_SCALE), ".mp4")
                id = stable_hash(["edited", self.name, clip.id])
                copy = replace(clip, id=id, media=media, made_by=f"{WORLD}, {self.name}")
                store.add([copy, Decision(stable_hash([id, "out"]), clip.id, False, f"its copy is in: {self.name}")])


def _still(frames_FHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(frames_FHWC[:1], len(frames_FHWC), 0)


FOOTAGE: Mapping[str, Callable[[OpenProject], None] | None] = {
    "true": None,
    "random": ClipPool("random"),
    "funnel": ClipPool("funnel"),
    "selected": ClipPool("selected"),
    "still": Edited("still", _still),
    "washed": Edited("washed", unscaled),
}
