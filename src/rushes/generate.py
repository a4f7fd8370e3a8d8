"""Prompts -> candidates: takes from pure noise, or guided takes from a partly noised real clip.

A candidate is named by what it was asked for, so a stage that is run again makes only what is missing, and a take does not
depend on the batch that it was made in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

SMALLEST_PX = 128  # smaller clips are enlarged by a whole factor when stored: a video file halves the resolution of colour


@dataclass(frozen=True)
class Request:
    """One candidate to be made."""

    id: str
    clip: Clip
    seed: int
    eta: float | None


@dataclass(frozen=True)
class Studio:
    """What is needed to make candidates: a model, the store, and the latents of first frames and guiding clips."""

    store: Store
    latents: LatentStore
    backbone: Backbone
    size: Size
    system: str  # "base" or the name of a run


def requests(studio: Studio, clips: Sequence[Clip], settings: Generate, seed: int) -> list[Request]:
    """Candidates that the settings ask for and the store lacks."""
    weights = studio.backbone.fingerprint
    ask = settings.model_dump(mode="json", exclude={"takes", "batch"}) | studio.size.model_dump(exclude={"path"})
    known = {c.id for c in studio.store.candidates(system=studio.system)}
    found = []
    for clip in clips:
        eta = _eta(settings, clip, seed)
        for k in range(settings.takes):
            number = int(stable_hash(["take", seed, clip.id, k], 8), 16)
            id = stable_hash([clip.id, weights, number, ask, studio.system])
            if id not in known:
                found.append(Request(id, clip, number, eta))
    return found


def _eta(settings: Generate, clip: Clip, seed: int) -> float | None:
    """One noise level for all guided takes of a clip: different levels in a pair teach the level (DenseDPO, app. C)."""
    if settings.kind != "guided":
        return None
    low, high = settings.eta
    return low + (high - low) * float(torch.rand(1, generator=seeded("eta", seed, clip.id)))


def generate(
    studio: Studio,
    clips: Sequence[Clip],
    settings: Generate,
    *,
    seed: int,
    tick: Callable[[int], None] = lambda count: None,
) -> int:
    """Make what is missing, batch by batch, each stored before the next is begun.

    Returns:
        How many candidates were made.

    Raises:
        ValueError: a size or frame count that the backbone cannot take, or a latent that is missing.
    """
    wanted = requests(studio, clips, settings, seed)
    # Guided takes of one batch share their noise level, so batches are cut where it changes.
    for group in _grouped(wanted, settings.batch):
        studio.store.add(_make(studio, group, settings))
        tick(len(group))
    return len(wanted)


def _grouped(wanted: Sequence[Request], batch: int) -> list[list[Request]]:
    groups: list[list[Request]] = []
    for request in wanted:
        if groups and len(groups[-1]) < batch and groups[-1][0].eta == request.eta:
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups


def _make(studio: Studio, group: Sequence[Request], settings: Generate) -> list[Candidate]:
    backbone, size = studio.backbone, studio.size
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
    made_by, settings_hash = backbone.fingerprint, stable_hash(settings.model_dump(mode="json"))
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
            made_by=made_by,
            seed=request.seed,
            width_px=size.width_px * scale,
            height_px=size.height_px * scale,
            frames=size.frames,
            fps=size.fps,
            eta=request.eta,
            split=request.clip.split,
            settings_hash=settings_hash,
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
