"""`rushes cache`: what stored latents depend on, and whether they are still what the codec makes; captions beside them.

The name of a shard begins with a hash of the codec, its weights, the size and the preprocessing, and a key is the hash
of a clip's content. So an entry that any of these made otherwise is never found: it is stale, and its clip is encoded
again. What only reading can tell, that an entry is not what its key says, `verify` finds by encoding again.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rushes.backbones.loading import load_model
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.texts import CaptionRows, TextCache
from rushes.encode import PREPROCESSING, encode
from rushes.project.project import OpenProject
from rushes.store.latents import LatentKey, LatentStore

SAME = 1e-3  # relative difference up to which two encodings are one: kernels round in their own ways
SAME_TEXTS = {torch.float32: 1e-3, torch.bfloat16: 0.02}  # and up to which two readings of a caption are


@dataclass(frozen=True, kw_only=True)
class LatentInputs:
    """What a latent is made from, beside the clip; a change of any makes all latents stale."""

    codec: str
    codec_weights: str  # hash
    height_px: int
    width_px: int
    frames: int
    fps: float
    fit: str  # what is done to a clip of another aspect: footage.fit
    preprocessing: str  # version of what happens between file and codec


def depends_on(project: OpenProject) -> LatentInputs:
    """What the latents of this project are made from."""
    size, base = project.settings.backbone, project.base
    return LatentInputs(
        codec=base.spec.name,
        codec_weights=base.codec_fingerprint,
        height_px=size.height_px,
        width_px=size.width_px,
        frames=size.frames,
        fps=size.fps,
        fit=project.settings.footage.fit,
        preprocessing=PREPROCESSING,
    )


@dataclass(frozen=True)
class TextsResult:
    """Stored embeddings of captions."""

    fingerprint: str  # hash of what they depend on
    # text encoder by part, libraries and what is done to a caption: hashes and versions
    depends_on: Mapping[str, str]
    current: int  # captions whose embeddings are what the model reads now
    stale: Mapping[str, int]  # captions by the fingerprint they were read under
    entries: Mapping[str, str] | None  # the caption that was asked about, and its state; null = nothing was asked


@dataclass(frozen=True)
class ExplainResult:
    """Stored latents, and captions beside them."""

    fingerprint: str  # hash of what latents depend on
    depends_on: LatentInputs
    current: int  # latents that a run of today would use
    stale: Mapping[str, int]  # latents by the fingerprint they were encoded under
    texts: TextsResult | None  # captions; null = the model has no text encoder of its own
    entries: Mapping[str, str] | None = None  # latents of what was asked about, and their state; null = nothing was


@dataclass(frozen=True)
class EncodedAgain:
    """Stored latents and captions against what is encoded now."""

    entries: int = 0  # latents that were read
    compared: int = 0  # latents that were encoded again
    without_media: int = 0  # latents whose file is not in media/
    texts: int = 0  # captions whose embeddings were read
    texts_compared: int = 0  # captions that were read again
    problems: tuple[str, ...] = ()  # a sentence each


def explain(project: OpenProject, subject: str = "") -> ExplainResult:
    """What entries depend on, and how many are current and stale; of a clip, take, key or caption whether its entry is.

    Raises:
        ValueError: the project has no such subject.
    """
    here = project.latents
    others = {path.name.split("-")[0] for path in here.folder.glob("[!.]*.safetensors")} - {here.fingerprint}
    stale = {name: LatentStore(here.folder, name) for name in sorted(others)}
    texts, entries = explain_texts(project, subject), None
    if subject and subject not in ((texts and texts.entries) or {}):
        media = _media(project, subject)
        stored = {name for store in (here, *stale.values()) for name in store}
        entries = {
            name: _state(name in here, [other for other, store in stale.items() if name in store], "encoded again")
            for name in sorted({media, *(name for name in stored if LatentKey.read(name).media == media)})
        }
    counts = {name: len(store) for name, store in stale.items()}
    return ExplainResult(here.fingerprint, depends_on(project), len(here), stale=counts, texts=texts, entries=entries)


def _media(project: OpenProject, subject: str) -> str:
    """Content hash of a clip, a take, or a key."""
    clips = project.store.clips(dropped=True)
    media = {clip.id: clip.media for clip in clips}
    media |= {take.id: take.media for take in project.store.candidates(dropped=True)}
    if subject in media:
        return media[subject]
    hashes = {*media.values(), *(clip.first_frame for clip in clips)}
    if LatentKey.read(subject).media in hashes:
        return LatentKey.read(subject).media
    raise ValueError(
        f"{subject}: not a clip, take or latent of this project; give an id or a content hash from its rows"
    )


def _state(current: bool, stale: Sequence[str], again: str) -> str:
    if current:
        return "current"
    return f"stale (from {', '.join(stale)}); {again} when it is needed" if stale else "missing"


def verify(project: OpenProject, share: float = 0.1, seed: int = 0) -> EncodedAgain:
    """Read all current entries, and encode a share of their clips again; at least one.

    Raises:
        ValueError: a share out of (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"--share must be above 0 and at most 1, got {share:g}")
    here, base = project.latents, project.base
    problems = list(here.verify())
    # What a model takes of a first frame beside its latent comes with that.
    keys = [key for key in map(LatentKey.read, sorted(here)) if not key.part]
    jobs = [key for key in keys if key.media in project.store.media]
    chosen = random.Random(seed).sample(jobs, max(1, round(share * len(jobs)))) if jobs else []
    # Whole clips, then first frames, those of one shape together, as they are encoded.
    chosen.sort(key=lambda key: (key.first, key.shape, str(key)))
    compared = 0
    if not problems:
        with tempfile.TemporaryDirectory() as folder, project.timed("cache: encode", len(chosen)) as tick:
            again = LatentStore(Path(folder), here.fingerprint)
            size, fit = project.settings.backbone, project.settings.footage.fit
            encode(project.store.media, again, base, size, fit, chosen, tick)
            for key in again:
                compared += 1
                if words := _unlike(here.get(key), again.get(key)):
                    problems.append(f"latent of {key!r}: {words}; delete {project.latents.folder} and encode again")
    texts = verify_texts(project, share, seed)
    problems += texts.problems
    left = len(keys) - len(jobs)
    return replace(texts, entries=len(here), compared=compared, without_media=left, problems=tuple(problems))


def _unlike(stored: torch.Tensor | None, fresh: torch.Tensor | None) -> str:
    """How an entry differs from what the codec makes now; empty where it does not."""
    assert fresh is not None
    if stored is None:
        return "is not stored, although its first frame is"
    if stored.shape != fresh.shape:
        return f"has the shape {list(stored.shape)}, but the codec now gives {list(fresh.shape)}"
    apart = _apart(stored, fresh)
    return f"has a relative error of {apart:.2g} against what the codec now gives" if apart > SAME else ""


def _apart(stored: torch.Tensor, fresh: torch.Tensor) -> float:
    """Size of the difference, relative to what is made now."""
    return float((stored.float() - fresh.float()).norm() / fresh.float().norm().clamp(min=1e-12))


def explain_texts(project: OpenProject, subject: str = "") -> TextsResult | None:
    """What embeddings of captions depend on and how many are current and stale.

    None for a model that reads captions without an encoder. With a caption as subject, or the id of a clip or take,
    whether its caption is kept.
    """
    cache = texts_of(project)
    if cache is None:
        return None
    entries = None
    if subject:
        captions = _captions(project)
        caption = captions.get(subject, subject)
        listed = subject in captions or caption in captions.values() or caption in cache or cache.stale_of(caption)
        entries = {caption: _state(caption in cache, cache.stale_of(caption), "encoded again")} if listed else {}
    return TextsResult(cache.fingerprint, cache.depends_on, len(cache.paths()), cache.stale(), entries)


def _captions(project: OpenProject) -> dict[str, str]:
    """Captions by the ids of clips and takes: of clips in the set those they go by, of others those they came with."""
    store = project.store
    captions = {clip.id: clip.caption for clip in (*store.clips(dropped=True), *store.clips())}
    return captions | {take.id: take.caption for take in store.candidates(dropped=True)}


def verify_texts(project: OpenProject, share: float, seed: int) -> EncodedAgain:
    """Read all stored embeddings, and a share of the captions again; at least one."""
    cache = texts_of(project)
    problems: list[str] = []
    paths = cache.paths() if cache is not None else []
    if cache is None or not paths:
        return EncodedAgain()
    sound: list[str] = []
    for path in paths:
        try:
            sound.append(cache.read(path)[0])
        except ValueError as error:
            problems.append(str(error))
    chosen = random.Random(seed).sample(sound, max(1, round(share * len(sound)))) if sound else []
    fresh = load_model(project.settings.backbone)
    assert isinstance(fresh, DiffusersBackbone)
    with project.timed("cache: captions", len(chosen)) as tick:
        for caption, rows in fresh.read(chosen):
            tick(1)
            if words := _unlike_texts(cache.get(caption) or {}, rows):
                problems.append(
                    f"caption {caption!r}: {words}; delete {cache.path(caption)}, and the caption is encoded again"
                )
    return EncodedAgain(texts=len(paths), texts_compared=len(chosen), problems=tuple(problems))


def in_words(result: TextsResult) -> list[str]:
    """The stored captions as lines."""
    made_from = ", ".join(f"{name} {value}" for name, value in result.depends_on.items())
    lines = [f"captions are encoded with: {made_from}", f"captions current: {result.current}, in {result.fingerprint}"]
    lines += [f"captions stale: {count}, in {name}" for name, count in result.stale.items()]
    return lines + [f"caption {caption!r}: {state}" for caption, state in (result.entries or {}).items()]


def texts_of(project: OpenProject) -> TextCache | None:
    """What the model's captions are read as on disk; None for a model without text encoders of its own."""
    return project.base.texts if isinstance(project.base, DiffusersBackbone) else None


def _unlike_texts(stored: CaptionRows, fresh: CaptionRows) -> str:
    """How kept embeddings differ from what is read now; empty where they do not."""
    if stored.keys() != fresh.keys():
        return f"has {', '.join(stored)}, but the encoder now gives {', '.join(fresh)}"
    for name, (ours, length) in stored.items():
        theirs, its = fresh[name]
        if (ours.shape, ours.dtype, length) != (theirs.shape, theirs.dtype, its):
            return (
                f"has {name} {list(ours.shape)} with {length} tokens, but the encoder now gives "
                f"{list(theirs.shape)} with {its}"
            )
        apart = _apart(ours, theirs)
        if apart > SAME_TEXTS.get(theirs.dtype, 0.0):
            return f"has a relative error of {apart:.2g} in {name} against what the encoder now gives"
    return ""
