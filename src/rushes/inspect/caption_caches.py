"""`rushes cache`, of captions: what their stored embeddings depend on, and whether they are still what is read."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.texts import Kept, TextCache
from rushes.project.project import Project, load_model

SAME = {torch.float32: 1e-3, torch.bfloat16: 0.02}  # relative difference up to which two readings are one


@dataclass(frozen=True)
class TextsResult:
    """Stored embeddings of captions."""

    fingerprint: str  # of what they depend on
    depends_on: Mapping[str, Any]  # text encoder and what is done to a caption
    current: int  # captions whose embeddings are what the model reads now
    stale: Mapping[str, int]  # captions by the fingerprint they were read under
    entries: Mapping[str, str] | None  # the caption that was asked about, and its state; null = nothing was asked


@dataclass(frozen=True)
class TextsCheck:
    """Stored embeddings that were read again."""

    texts: int  # captions whose embeddings were looked at
    texts_compared: int  # captions that were read again
    problems: tuple[str, ...] = ()  # a sentence each


def explain_texts(project: Project, subject: str = "") -> TextsResult | None:
    """What embeddings of captions depend on and how many are current and stale.

    None for a model that reads captions without an encoder. With a caption as subject, or the id of a clip or take,
    whether its caption is kept.
    """
    kept = _texts(project)
    if kept is None:
        return None
    entries = None
    if subject:
        captions = _captions(project)
        caption = captions.get(subject, subject)
        known = subject in captions or caption in captions.values() or caption in kept or kept.stale_of(caption)
        entries = {caption: _state(kept, caption)} if known else {}
    return TextsResult(kept.fingerprint, kept.depends_on, len(kept.paths()), kept.stale(), entries)


def _captions(project: Project) -> dict[str, str]:
    """Captions by the ids of clips and takes: of clips in the set those they go by, of others those they came with."""
    store = project.store
    captions = {clip.id: clip.caption for clip in (*store.clips(dropped=True), *store.clips())}
    return captions | {take.id: take.caption for take in store.candidates(dropped=True)}


def verify_texts(project: Project, share: float, seed: int) -> TextsCheck:
    """Read all stored embeddings, and a share of the captions again; at least one."""
    kept = _texts(project)
    problems: list[str] = []
    paths = kept.paths() if kept is not None else []
    if kept is None or not paths:
        return TextsCheck(0, 0)
    sound: list[str] = []
    for path in paths:
        try:
            sound.append(kept.read(path)[0])
        except ValueError as error:
            problems.append(str(error))
    chosen = random.Random(seed).sample(sound, max(1, round(share * len(sound)))) if sound else []
    fresh = load_model(project.settings.backbone)
    assert isinstance(fresh, DiffusersBackbone)
    with project.timed("cache: captions", len(chosen)) as tick:
        for caption, rows in fresh.read(chosen):
            tick(1)
            if words := _unlike(kept.get(caption) or {}, rows):
                problems.append(f"caption {caption!r}: {words}; delete {kept.path(caption)}, it is read again")
    return TextsCheck(len(paths), len(chosen), tuple(problems))


def in_words(result: TextsResult) -> list[str]:
    """The stored captions as lines."""
    made_from = ", ".join(f"{name} {value}" for name, value in result.depends_on.items())
    lines = [f"captions are read with: {made_from}", f"captions current: {result.current}, in {result.fingerprint}"]
    lines += [f"captions stale: {count}, in {name}" for name, count in result.stale.items()]
    return lines + [f"caption {caption!r}: {state}" for caption, state in (result.entries or {}).items()]


def _texts(project: Project) -> TextCache | None:
    return project.base.texts if isinstance(project.base, DiffusersBackbone) else None


def _state(kept: TextCache, caption: str) -> str:
    if caption in kept:
        return "current"
    others = kept.stale_of(caption)
    return f"stale (of {', '.join(others)}); read again when it is needed" if others else "missing"


def _unlike(stored: Kept, made: Kept) -> str:
    """How kept embeddings differ from what is read now; empty where they do not."""
    if stored.keys() != made.keys():
        return f"has {', '.join(stored)}, where {', '.join(made)} is read"
    for name, (ours, length) in stored.items():
        theirs, its = made[name]
        if (ours.shape, ours.dtype, length) != (theirs.shape, theirs.dtype, its):
            return f"has {name} {list(ours.shape)} of {length}, where {list(theirs.shape)} of {its} is read"
        apart = float((ours.float() - theirs.float()).norm() / theirs.float().norm().clamp(min=1e-12))
        if apart > SAME.get(theirs.dtype, 0.0):
            return f"differs in {name} by {apart:.2g} of its size from what is read"
    return ""
