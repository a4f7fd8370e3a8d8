"""Prompts -> candidates: takes from pure noise, or guided takes from a partly noised real clip.

A candidate is named by what it was asked for, so a stage that is run again makes only what is missing, and a take does
not depend on the batch that it was made in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch

from rushes.backbones.base import Backbone
from rushes.backbones.sampling import sample
from rushes.config.tables import Backbone as Size
from rushes.config.tables import Generate
from rushes.media.write import encode_bytes
from rushes.noise.draws import seeded
from rushes.records import Candidate, CandidateKind, Clip, stable_hash
from rushes.store.database import Store
from rushes.store.latents import LatentStore, first_frame_key

# Smaller clips are enlarged by a whole factor when stored: a video file halves the resolution of colour.
SMALLEST_PX = 128


@dataclass(frozen=True)
class Request:
    """One candidate to be made."""

    id: str
    clip: Clip
    seed: int
    eta: float | None


@dataclass(frozen=True)
class Studio:
    """What candidates are made with: a model, the store, the latents of first frames and guiding clips, and how."""

    store: Store
    latents: LatentStore
    backbone: Backbone
    size: Size
    system: str  # "base" or the name of a run
    settings: Generate

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the model, taken once: it reads all weights."""
        return self.backbone.fingerprint

    @cached_property
    def settings_hash(self) -> str:
        """Digest of all settings that a candidate depends on; how many are made, and at once, is not among them."""
        unused = {"takes", "batch"} if self.settings.kind == "guided" else {"takes", "batch", "eta"}
        return stable_hash(
            [self.settings.model_dump(mode="json", exclude=unused), self.size.model_dump(exclude={"path"})]
        )


def requests(studio: Studio, clips: Sequence[Clip], seed: int) -> list[Request]:
    """All candidates that the settings ask for, clip by clip."""
    found = []
    for clip in clips:
        eta = _eta(studio.settings, clip, seed)
        for k in range(studio.settings.takes):
            number = int(stable_hash(["take", seed, clip.id, k], 8), 16)
            id = stable_hash([clip.id, studio.weights, number, studio.settings_hash, studio.system])
            found.append(Request(id, clip, number, eta))
    return found


def _eta(settings: Generate, clip: Clip, seed: int) -> float | None:
    """One noise level for all guided takes of a clip: different levels in a pair teach the level (DenseDPO, app. C)."""
    if settings.kind != "guided":
        return None
    low, high = settings.eta
    return low + (high - low) * float(torch.rand(1, generator=seeded("eta", seed, clip.id)))


def missing(studio: Studio, wanted: Sequence[Request]) -> list[Request]:
    """Requests that the store has no candidate for."""
    known = {candidate.id for candidate in studio.store.candidates(system=studio.system)}
    return [request for request in wanted if request.id not in known]


def generate(studio: Studio, wanted: Sequence[Request], tick: Callable[[int], None] = lambda count: None) -> None:
    """Make candidates batch by batch, each stored before the next is begun.

    Raises:
        ValueError: a size or frame count that the backbone cannot take, or a latent that is missing.
    """
    # Guided takes of one batch share their noise level, so batches are cut where it changes.
    for _, group in groupby(wanted, key=lambda request: request.eta):
        same = list(group)
        for at in range(0, len(same), studio.settings.batch):
            batch = same[at : at + studio.settings.batch]
            studio.store.add(_make(studio, batch))
            tick(len(batch))


def _make(studio: Studio, group: Sequence[Request]) -> list[Candidate]:
    backbone, size, settings = studio.backbone, studio.size, studio.settings
    spec = backbone.spec
    shape = (
        spec.channels,
        spec.latent_frames(size.frames),
        size.height_px // spec.spatial_ratio,
        size.width_px // spec.spatial_ratio,
    )
    noise = torch.stack([torch.randn(*shape, generator=seeded("noise", request.seed)) for request in group])
    captions = [request.clip.caption for request in group]
    first = _firsts(studio, group) if size.first_frame else None
    start = torch.stack([_known(studio, r.clip.media) for r in group]) if group[0].eta is not None else None
    latents = sample(
        backbone,
        backbone.condition(captions, first),
        noise,
        steps=settings.steps,
        shift=settings.shift,
        guidance=settings.guidance,
        unconditional=backbone.condition([""] * len(group), first) if settings.guidance != 1.0 else None,
        start_BCFHW=start,
        eta=group[0].eta or 1.0,
    )
    frames = backbone.decode(latents)
    scale = max(1, -(-SMALLEST_PX // min(size.height_px, size.width_px)))
    kind: CandidateKind = "take" if group[0].eta is None else "guided"
    return [
        Candidate(
            id=request.id,
            media=studio.store.put_media_bytes(encode_bytes(clip_frames, size.fps, scale=scale), ".mp4"),
            caption=request.clip.caption,
            kind=kind,
            group=request.clip.id,
            clip_id=request.clip.id,
            system=studio.system,
            made_by=studio.weights,
            seed=request.seed,
            width_px=size.width_px * scale,
            height_px=size.height_px * scale,
            frames=size.frames,
            fps=size.fps,
            eta=request.eta,
            split=request.clip.split,
            settings_hash=studio.settings_hash,
        )
        for request, clip_frames in zip(group, frames, strict=True)
    ]


def _firsts(studio: Studio, group: Sequence[Request]) -> torch.Tensor:
    keys = [first_frame_key(request.clip.first_frame or request.clip.media) for request in group]
    return torch.stack([_known(studio, key)[:, 0] for key in keys])


def _known(studio: Studio, key: str) -> torch.Tensor:
    latent = studio.latents.get(key)
    if latent is None:
        raise ValueError(f"no latent for {key[:12]}; `rushes generate` encodes it first")
    return latent.float()
