"""Other clips to train on than the true ones: half with faults, standing still, or washed out.

Each step works in a project of its own: it adds clips and decides which of all are in the set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rushes.edits.corrupt import unscaled
from rushes.footage.world import WORLD_SCALE
from rushes.judges.build import world_judge
from rushes.media.read import read_video
from rushes.media.write import encode_bytes
from rushes.metrics.base import Shot
from rushes.project.project import OpenProject
from rushes.records import Clip, Decision, seed_of, stable_hash
from rushes.world.mechanics import FPS, SIZE_PX
from rushes.world.plants import one_fault
from rushes.world.render import render
from rushes.world.scenes import read_wording

READER_RIGHT = 0.91  # share of clips, PhysHPO (arXiv 2508.10858), its check of the selection by hand
WORLD = "world"  # what true clips of the world are signed with


@dataclass(frozen=True)
class Pool:
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
    "random": Pool("random"),
    "funnel": Pool("funnel"),
    "selected": Pool("selected"),
    "still": Edited("still", _still),
    "washed": Edited("washed", unscaled),
}
