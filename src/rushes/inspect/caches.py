"""`rushes cache`: what stored latents depend on, and whether they are still what the codec makes; captions beside them.

The name of a shard begins with a hash of the codec, its weights, the size and the preprocessing, and a key is the hash
of a clip's content. So an entry that any of these made otherwise is never found: it is stale, and its clip is encoded
again. What only reading can tell, that an entry is not what its key says, `verify` finds by encoding again.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rushes.encode import PREPROCESSING, EncodingJob, encode
from rushes.inspect.caption_caches import TextsResult, explain_texts, verify_texts
from rushes.project.project import Project
from rushes.store.latents import LatentStore, split_key

FIRST = "/first"
SAME = 1e-3  # relative difference up to which two encodings are one: kernels round in their own ways


def depends_on(project: Project) -> dict[str, Any]:
    """What an entry of this project is made from, beside the clip; a change of any makes all entries stale."""
    size, base = project.settings.backbone, project.base
    return {
        "codec": base.spec.name,
        "codec_weights": base.codec_fingerprint,
        "height_px": size.height_px,
        "width_px": size.width_px,
        "frames": size.frames,
        "fps": size.fps,
        "fit": project.settings.footage.fit,
        "preprocessing": PREPROCESSING,
    }


@dataclass(frozen=True)
class ExplainResult:
    """Stored latents, and captions beside them."""

    fingerprint: str  # of what latents depend on
    depends_on: Mapping[str, Any]  # codec, its weights, size and preprocessing
    current: int  # latents that a run of today would use
    stale: Mapping[str, int]  # latents by the fingerprint they were encoded under
    texts: TextsResult | None  # captions; null = the model has no text encoder of its own
    entries: Mapping[str, str] | None = None  # latents of what was asked about, and their state; null = nothing was


@dataclass(frozen=True)
class VerifyResult:
    """Stored latents and captions against what is encoded now."""

    entries: int  # latents that were read
    compared: int  # latents that were encoded again
    without_media: int  # latents whose file is not in media/
    texts: int  # captions whose embeddings were read
    texts_compared: int  # captions that were read again
    problems: tuple[str, ...]  # a sentence each


def explain(project: Project, subject: str = "") -> ExplainResult:
    """What entries depend on, and how many are current and stale; of a clip, take, key or caption whether its entry is.

    Raises:
        ValueError: the project has no such subject.
    """
    here = project.latents
    stale = _stale(project)
    texts, entries = explain_texts(project, subject), None
    if subject and subject not in ((texts and texts.entries) or {}):
        media = _media(project, subject)
        keys = {media} | {key for store in (here, *stale.values()) for key in store if _of(key) == media}
        entries = {key: _state(key, here, stale) for key in sorted(keys)}
    counts = {name: len(store) for name, store in stale.items()}
    return ExplainResult(here.fingerprint, depends_on(project), len(here), counts, texts, entries)


def _stale(project: Project) -> dict[str, LatentStore]:
    """Latents of other codecs, sizes or preprocessings by their fingerprints."""
    names = {path.name.split("-")[0] for path in project.latents.folder.glob("[!.]*.safetensors")}
    return {name: LatentStore(project.latents.folder, name) for name in sorted(names - {project.latents.fingerprint})}


def _media(project: Project, subject: str) -> str:
    """Content hash of a clip, a take, or a key."""
    clips = project.store.clips(dropped=True)
    media = {clip.id: clip.media for clip in clips}
    media |= {take.id: take.media for take in project.store.candidates(dropped=True)}
    if subject in media:
        return media[subject]
    known = {*media.values(), *(clip.first_frame for clip in clips)}
    if _of(subject) in known:
        return _of(subject)
    raise ValueError(f"{subject}: no clip, take or latent of this project; name an id or a content hash from its rows")


def _of(key: str) -> str:
    """Content hash of the media that a key is about."""
    return split_key(key)[0].partition("/")[0]


def _state(key: str, here: LatentStore, stale: dict[str, LatentStore]) -> str:
    if key in here:
        return "current"
    others = [name for name, store in stale.items() if key in store]
    return f"stale (of {', '.join(others)}); encoded again when it is needed" if others else "missing"


def verify(project: Project, share: float = 0.1, seed: int = 0) -> VerifyResult:
    """Read all current entries, and encode a share of their clips again; at least one.

    Raises:
        ValueError: a share out of (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"--share must be above 0 and at most 1, got {share:g}")
    here, base = project.latents, project.base
    problems = list(here.verify())
    jobs = [_job(key) for key in sorted(here) if _asked_for(key)]
    orphans = [job.key for job in jobs if not _there(project, job.media)]
    jobs = [job for job in jobs if job.key not in set(orphans)]
    chosen = sorted(random.Random(seed).sample(jobs, max(1, round(share * len(jobs)))) if jobs else [], key=_order)
    compared: Counter[str] = Counter()
    if not problems:
        with tempfile.TemporaryDirectory() as folder, project.timed("cache: encode", len(chosen)) as tick:
            again = LatentStore(Path(folder), here.fingerprint)
            size, fit = project.settings.backbone, project.settings.footage.fit
            encode(project.store, again, base, size, fit, chosen, lambda: tick(1))
            for key in again:
                compared["entries"] += 1
                if words := _unlike(here.get(key), again.get(key)):
                    problems.append(f"latent of {key!r}: {words}; delete {project.latents.folder} and encode again")
    texts = verify_texts(project, share, seed)
    counts = len(here), compared["entries"], len(orphans), texts.texts, texts.texts_compared
    return VerifyResult(*counts, (*problems, *texts.problems))


def _asked_for(key: str) -> bool:
    """Whether a job makes this key; what a model takes of a first frame beside its latent comes with that."""
    return key.endswith(FIRST) or f"{FIRST}/" not in key


def _job(key: str) -> EncodingJob:
    first = key.endswith(FIRST)
    return EncodingJob(key, _of(key), first, "" if first else split_key(key)[1])


def _order(job: EncodingJob) -> tuple[bool, str]:
    """Whole clips, then first frames, as they are encoded together."""
    return job.first, job.key


def _there(project: Project, media: str) -> bool:
    try:
        return project.store.media_path(media).is_file()
    except ValueError:
        return False


def _unlike(stored: torch.Tensor | None, made: torch.Tensor | None) -> str:
    """How an entry differs from what the codec makes now; empty where it does not."""
    assert made is not None
    if stored is None:
        return "is not stored, where its first frame is"
    if stored.shape != made.shape:
        return f"has the shape {list(stored.shape)}, and the codec makes {list(made.shape)}"
    apart = float((stored.float() - made.float()).norm() / made.float().norm().clamp(min=1e-12))
    return f"differs by {apart:.2g} of its size from what the codec makes" if apart > SAME else ""
