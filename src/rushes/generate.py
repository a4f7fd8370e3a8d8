"""Prompts -> candidates: takes of a prompt or of one with words left out, or guided takes from a partly noised clip.

A candidate is named by what it was asked for, so a stage that is run again makes only what is missing, and a take does
not depend on the batch that it was made in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from math import floor
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from rushes.backbones.base import Backbone, BackboneSpec, ReadsTogether
from rushes.backbones.first_frame_consistency import matched_colours, shared_noise
from rushes.backbones.sampling import sample
from rushes.backbones.tiling import tiled
from rushes.config.settings_files import hashed_form
from rushes.config.tables import BackboneSettings, GenerateSettings
from rushes.files import content_hash
from rushes.media.write import encode_bytes
from rushes.noise.draws import seeded
from rushes.noise.paths import VariancePreserving
from rushes.progress import ParallelMap, Tick, in_turn, no_tick
from rushes.records import Candidate, CandidateKind, Clip, Decision, now, seed_of, stable_hash
from rushes.store.database import Store
from rushes.store.latents import LatentKey, LatentStore, first_frame_key, still_key

ASIDE = "clean"  # who sets takes made with other settings aside, with their files
STEPS_SHARE = 0.9  # of the time of a take, about; then it is decoded


@dataclass(frozen=True)
class Request:
    """One candidate to be made."""

    id: str
    clip: Clip
    caption: str  # what the model is told
    seed: int
    eta: float | None
    shape: str = ""  # that it is made in, by name


@dataclass(frozen=True)
class TakeContext:
    """What frames of takes depend on: the latents of first frames and guiding clips, a model, its size, and how."""

    latents: LatentStore
    backbone: Backbone
    size: BackboneSettings
    settings: GenerateSettings
    stepped: Callable[[float], None] = lambda count: None  # called with how many clips of a batch the steps amount to

    def at(self, shape: str) -> Self:
        """The same for takes of one shape, by its name."""
        if len(self.size.shapes) == 1:
            return self
        tiling = tiled(self.size)  # of a model that takes them all
        return replace(self, size=self.size.at(shape).model_copy(update={"tiling": tiling}))

    @property
    def noise(self) -> float:
        """Scale of the noise on a clean first frame."""
        scale, own = self.settings.image_cond_noise_scale, self.backbone.spec.image_cond_noise_scale
        return (scale if scale >= 0 else own or 0.0) if self.size.first_frame else 0.0


@dataclass(frozen=True, kw_only=True)
class GenerationContext(TakeContext):
    """What candidates are made with: beside that, the store and whose they are."""

    store: Store
    system: str  # "base" or the name of a run
    kind: Literal["probe"] | None = None  # that candidates are stored as; None = that of the settings
    made_by: str = ""  # fingerprint of the model's weights, where they need not be loaded to know it

    def at(self, shape: str) -> Self:
        """See `TakeContext.at`."""
        own = super().at(shape)
        return own if own is self else replace(own, made_by=self.made_by or vars(self).get("weights", ""))

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the model, taken once: it reads all weights."""
        return self.made_by or self.backbone.fingerprint

    @cached_property
    def settings_hash(self) -> str:
        """Digest of all settings that a candidate depends on; how many are made, and at once, is not among them."""
        of_kind, kind = {"guided": "eta", "gap": "mask"}, self.kind or self.settings.kind
        unused = {"takes", "batch", *(name for kind_of, name in of_kind.items() if kind_of != kind)}
        unused |= {*_as_before(self.settings), "image_cond_noise_scale"} | ({"kind"} if self.kind else set())
        size = hashed_form(self.size, exclude={"path", *_ELSEWHERE, *_as_before(self.size)})
        asked = hashed_form(self.settings, exclude=unused)
        if self.noise:  # which may be the model's own
            asked["image_cond_noise_scale"] = self.noise
        # On a variance-preserving path eta was once the share of the training steps, which is another noise level.
        eta = kind in ("guided", "probe") and isinstance(self.backbone.spec.path, VariancePreserving)
        more = [*([self.kind] if self.kind else []), *(["eta is a share of noise"] if eta else [])]
        # LTX' pipeline for conditions, which alone has such noise, was told its levels without the shift.
        if self.settings.shift and kind != "guided" and self.backbone.spec.image_cond_noise_scale is not None:
            more.append("levels follow the shift")
        # An offloaded network answers the same; the setting was in this digest before it was known to cost no take.
        same = {"tiling": tiled(self.size), "offload": False}
        return stable_hash([asked, size | same, *more])


_ELSEWHERE = ("gradient_checkpointing", "text_offload", "compile")  # what takes and memory cost, and no take


def _as_before(table: GenerateSettings | BackboneSettings) -> set[str]:
    """Settings that came later and are at their defaults, at which takes are what they were without them."""
    later = ("guidance_scale_2", "decode_timestep", "decode_noise_scale", "chunk_size_feed_forward", "text_quantize",
             "attention")  # fmt: skip
    fields = type(table).model_fields
    return {name for name in later if name in fields and getattr(table, name) == fields[name].default}


def requests(context: GenerationContext, clips: Sequence[Clip], seed: int) -> list[Request]:
    """All candidates that the settings ask for, clip by clip; clips of one shape together."""
    wanted: dict[str, list[Request]] = {}
    own: dict[str, str] = {}  # digest of the settings, by shape
    for clip in clips:
        eta, shape = _eta(context.settings, clip, seed), shape_of(context.size, clip)
        made_from = own.get(shape) or own.setdefault(shape, context.at(shape).settings_hash)
        for k in range(context.settings.takes):
            number = take_seed(seed, clip, k)
            id = stable_hash([clip.id, context.weights, number, made_from, context.system])
            gap = context.settings.kind == "gap"
            caption = masked(clip.caption, context.settings.mask, number) if gap else clip.caption
            wanted.setdefault(shape, []).append(Request(id, clip, caption, seed=number, eta=eta, shape=shape))
    return [request for together in wanted.values() for request in together]


def shape_of(size: BackboneSettings, clip: Clip) -> str:
    """Name of the shape that a clip is brought to and its takes are made in."""
    return size.name_of(size.shape_of(clip))


def take_seed(seed: int, clip: Clip, k: int) -> int:
    """Seed of the noise of take `k` of a clip."""
    return seed_of("take", seed, clip.id, k)


def masked(caption: str, share: float, seed: int) -> str:
    """The caption without a share of its words, at least one; PhysHPO's gap samples (arXiv 2508.10858).

    Raises:
        ValueError: a caption without words.
    """
    words = caption.split()
    if not words:
        raise ValueError(
            "a clip without a caption has no words to leave out; write a caption, or set generate.kind to "
            "free or guided"
        )
    dropped = torch.randperm(len(words), generator=seeded("mask", seed))[: max(1, round(share * len(words)))].tolist()
    return " ".join(word for place, word in enumerate(words) if place not in dropped)


def _eta(settings: GenerateSettings, clip: Clip, seed: int) -> float | None:
    """One noise level for all guided takes of a clip: different levels in a pair teach the level (DenseDPO, app. C)."""
    if settings.kind != "guided":
        return None
    low, high = settings.eta
    return low + (high - low) * float(torch.rand(1, generator=seeded("eta", seed, clip.id)))


@dataclass(frozen=True)
class MissingTakes:
    """What of some requests has to be made."""

    requests: list[Request]
    new: int  # of them that the store has no candidate for
    lost: int  # of them whose video was lost or damaged; the others only complete the batches of these


def missing(context: GenerationContext, wanted: Sequence[Request]) -> MissingTakes:
    """Requests that the store has no candidate for, and before them those whose video was lost or damaged.

    These come in the batches that they were made in: rounding depends on how many are made at once.
    """
    stored = {candidate.id: candidate.media for candidate in context.store.candidates(system=context.system)}
    lost = context.store.media.lost(stored[request.id] for request in wanted if request.id in stored)
    ids = {request.id for request in wanted if stored.get(request.id) in lost}
    again = [
        batch for batch in batches(wanted, context.settings.batch) if not ids.isdisjoint(each.id for each in batch)
    ]
    new = [request for request in wanted if request.id not in stored]
    done = {request.id for batch in again for request in batch}
    rest = [request for request in new if request.id not in done]
    return MissingTakes([*(request for batch in again for request in batch), *rest], len(new), len(ids))


def generate(
    context: GenerationContext,
    wanted: Sequence[Request],
    tick: Tick = no_tick,
    spread: ParallelMap = in_turn,
) -> dict[str, float]:
    """Make candidates batch by batch, each stored before the next is begun.

    Args:
        context: what they are made with.
        wanted: requests.
        tick: called with the number of candidates that were stored, and with fractions while a batch is made.
        spread: who makes the batches; processes that help call `make_clips`.

    Returns:
        Seconds that takes of each shape took, by its name.

    Raises:
        ValueError: a size or frame count that the backbone cannot take, or a latent that is missing.
    """
    early, began = 0.0, time.perf_counter()  # of a batch at work
    seconds: dict[str, float] = {}

    def stepped(count: float) -> None:
        nonlocal early
        now = floor(STEPS_SHARE * count * 1024) / 1024  # whose sums are exact
        tick(now - early)
        early = now

    for batch, files in make_clips(replace(context, stepped=stepped), wanted, spread):
        rows = _rows(context, batch, files)
        if context.store.add(rows) < len(rows):
            context.store.add(_back(context.store, rows))
        tick(len(batch) - early)
        shape, ended = batch[0].shape, time.perf_counter()
        seconds[shape] = seconds.get(shape, 0.0) + ended - began
        early, began = 0.0, ended
    return seconds


def _back(store: Store, rows: Sequence[Candidate]) -> list[Decision]:
    """Decisions that put takes back which `rushes clean` had set aside, as they are asked for again."""
    standing = [decision for row in rows for decision in store.decisions(row.id).values()]
    return [
        Decision(
            stable_hash([ASIDE, old.subject, "back", old.created_at]),
            old.subject,
            True,
            made_by=ASIDE,
            created_at=now(),
        )
        for old in standing
        if old.made_by == ASIDE and not old.keep
    ]


def make_clips(
    context: TakeContext, wanted: Sequence[Request], spread: ParallelMap = in_turn
) -> Iterator[tuple[list[Request], list[bytes]]]:
    """Batches of requests, each with a video file of each of its requests; nothing is stored."""
    read(context, wanted)
    return spread(batches(wanted, context.settings.batch), partial(_files, context))


def batches(wanted: Sequence[Request], size: int) -> list[list[Request]]:
    """Requests cut into batches. Takes of a batch share their shape, and guided ones their noise level, so it is cut
    where these change."""
    levels = [list(group) for _, group in groupby(wanted, key=lambda request: (request.eta, request.shape))]
    return [level[at : at + size] for level in levels for at in range(0, len(level), size)]


def negative_prompt(settings: GenerateSettings, spec: BackboneSpec) -> str | None:
    """The prompt that guidance leads away from in a second pass; None where no step of a take has such a pass."""
    guided = any(scale != 1.0 for scale in (settings.guidance_scale, settings.guidance_scale_2 or 1.0))
    return settings.negative_prompt if guided and spec.guidance == "two_passes" else None


def captions_of(context: TakeContext, wanted: Sequence[Request]) -> list[str]:
    """All that the model has to read, once."""
    return list(dict.fromkeys([*(request.caption for request in wanted), *(_negatives(context) if wanted else ())]))


def _negatives(context: TakeContext) -> list[str]:
    prompt = negative_prompt(context.settings, context.backbone.spec)
    return [] if prompt is None else [prompt]


def read(context: TakeContext, wanted: Sequence[Request]) -> None:
    """Have all captions read before the first batch; those that were read before are not read again."""
    backbone = context.backbone
    backbone.prepare(captions_of(context, wanted))
    if isinstance(backbone, ReadsTogether):
        pairs = [(request, caption) for request in wanted for caption in (request.caption, *_negatives(context))]
        backbone.prepare_together(
            [caption for _, caption in pairs], (_stills(context, request) for request, _ in pairs)
        )


def frames_of(context: TakeContext, group: Sequence[Request]) -> NDArray[np.uint8]:
    """The clips [B, T, H, W, 3] that requests of one noise level and shape ask for; nothing is stored.

    At eta 0 these are the real clips after the codec.
    """
    context = context.at(group[0].shape)
    backbone, size, settings = context.backbone, context.size, context.settings
    if group[0].eta == 0:
        return backbone.decode(torch.stack([_whole(context, request) for request in group]))
    spec = backbone.spec
    shape = (
        spec.channels,
        spec.latent_frames(size.frames),
        size.height_px // spec.spatial_ratio,
        size.width_px // spec.spatial_ratio,
    )
    noise = torch.stack([torch.randn(*shape, generator=seeded("noise", request.seed)) for request in group])
    if settings.shared_noise:
        noise = shared_noise(noise, settings.shared_noise, settings.noise == "unit")
    captions, away = [request.caption for request in group], negative_prompt(settings, spec)
    first = _firsts(context, group) if size.first_frame else {}
    start = torch.stack([_whole(context, r) for r in group]) if group[0].eta is not None else None
    latents = sample(
        backbone,
        backbone.condition(captions, **first).at_rate(group[0].shape),
        noise,
        steps=settings.steps,
        shift=settings.shift or None,
        guidance=settings.guidance_scale,
        guidance_2=settings.guidance_scale_2,
        unconditional=None
        if away is None
        else backbone.condition([away] * len(group), **first).at_rate(group[0].shape),
        start_BCFHW=start,
        eta=group[0].eta or 1.0,
        match=settings.adain_share,
        image_cond_noise_scale=context.noise if context.backbone.spec.image_cond_noise_scale else None,
        seeds=[request.seed for request in group],
        stepped=lambda share: context.stepped(share * len(group)),
    )
    frames = backbone.decode(latents)
    if settings.match_colours:
        frames = np.stack([matched_colours(clip_frames) for clip_frames in frames])
    return frames


def _files(context: TakeContext, group: Sequence[Request]) -> list[bytes]:
    context = context.at(group[0].shape)
    scale = context.size.shape.stored_scale
    return [encode_bytes(clip_frames, context.size.fps, scale=scale) for clip_frames in frames_of(context, group)]


def _rows(context: GenerationContext, group: Sequence[Request], files: Sequence[bytes]) -> list[Candidate]:
    weights, context = context.weights, context.at(group[0].shape)
    size, scale = context.size, context.size.shape.stored_scale
    kind: CandidateKind = context.kind or context.settings.kind
    return [
        Candidate(
            id=request.id,
            media=_put(context.store, request.id, file),
            caption=request.caption,
            kind=kind,
            group=request.clip.id,
            clip_id=request.clip.id,
            system=context.system,
            made_by=weights,
            seed=request.seed,
            width_px=size.width_px * scale,
            height_px=size.height_px * scale,
            frames=size.frames,
            fps=size.fps,
            eta=request.eta,
            split=request.clip.split,
            settings_hash=context.settings_hash,
        )
        for request, file in zip(group, files, strict=True)
    ]


def _put(store: Store, id: str, file: bytes) -> str:
    """Keep the video of a take; of one that was lost none but the same is taken for it."""
    before = store.find(id)
    if isinstance(before, Candidate) and store.media.sound(before.media):
        return before.media
    if isinstance(before, Candidate) and before.media != content_hash(file):
        gone = [each for each in store.decisions(id).values() if each.made_by == ASIDE and not each.keep]
        cause = "removed by `rushes clean`, because it was made with other settings," if gone else "lost from media/"
        raise ValueError(
            f"the video of take {id} was {cause} and cannot be reproduced, because generate.batch, the machine, "
            "PyTorch or FFmpeg changed since; restore that, copy the file from a backup, or set project.seed to "
            "another number, which makes all takes anew"
        )
    return store.put_media_bytes(file, ".mp4")


def _firsts(context: TakeContext, group: Sequence[Request]) -> dict[str, torch.Tensor]:
    """First frames, as arguments of the backbone's `condition`."""
    stills = [_stills(context, request) for request in group]
    tensors = {name: torch.stack([still[name] for still in stills]) for name in context.backbone.spec.still}
    firsts = [_stored_latent(context, first_frame_key(_start(request), request.shape))[:, 0] for request in group]
    return {"first_frame_BCHW": torch.stack(firsts), **tensors}


def _stills(context: TakeContext, request: Request) -> dict[str, torch.Tensor]:
    """What the model takes of a request's first frame beside its latent."""
    return {
        name: _stored_latent(context, still_key(_start(request), name, shape=request.shape))
        for name in context.backbone.spec.still
    }


def _whole(context: TakeContext, request: Request) -> torch.Tensor:
    """The latent of a request's clip."""
    return _stored_latent(context, str(LatentKey(request.clip.media, shape=request.shape)))


def _start(request: Request) -> str:
    """Content hash of the clip or still whose first frame a request starts from."""
    return request.clip.first_frame or request.clip.media


def _stored_latent(context: TakeContext, key: str) -> torch.Tensor:
    latent = context.latents.get(key)
    if latent is None:
        raise ValueError(f"no latent for {key[:12]}; run `rushes generate`, which encodes it")
    return latent.float()
