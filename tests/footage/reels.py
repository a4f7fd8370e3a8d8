"""Footage of all sorts in small files, and the way it takes into a project."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rushes.config.tables import FootageSettings
from rushes.footage.ingest import Imported, import_bench, import_reviewed
from rushes.footage.preflight import Length, Preflight, PreflightOptions, review
from rushes.footage.preflight_text import refusal
from rushes.footage.probe_cache import ProbeCache
from rushes.formats.layouts import Listing
from rushes.formats.listing import find_bench, find_footage
from rushes.media.write import write_video
from rushes.store.database import Store

LENGTH = Length(17, 8.0, lambda frames: 1 + (frames - 1) // 4 * 4)


def film(path: Path, frames: int = 20, fps: float = 8, seed: int = 0) -> Path:
    images = np.random.default_rng(seed).integers(0, 255, (frames, 32, 48, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, images, fps)
    return path


COLOURS = ((180, 20, 20), (20, 160, 30), (30, 40, 190), (180, 170, 20))


def scenes(path: Path, lengths_s: tuple[float, ...], fps: float = 16, seed: int = 0) -> Path:
    """A long video of scenes of these lengths, each a texture of its own colours that drifts."""
    draw, parts = np.random.default_rng(seed), []
    for number, length in enumerate(lengths_s):
        base = np.array(COLOURS[number % len(COLOURS)]) + np.kron(draw.integers(0, 60, (6, 12, 3)), np.ones((8, 8, 1)))
        parts += [np.roll(base, k, axis=1) for k in range(round(length * fps))]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, np.stack(parts)[:, :, :64].clip(0, 255).astype(np.uint8), fps)
    return path


def ask_for(footage: FootageSettings, length: Length = LENGTH) -> PreflightOptions:
    return PreflightOptions(length, 32, 32, footage)


def look(store: Store, footage: FootageSettings, length: Length = LENGTH) -> Preflight:
    with ProbeCache(store.project) as facts:
        return review(facts, find_footage(footage), None, ask_for(footage, length))


def take(store: Store, footage: FootageSettings, length: Length = LENGTH) -> Imported:
    """As the stage does: nothing is taken where something is refused."""
    ask = ask_for(footage, length)
    with ProbeCache(store.project) as facts:
        done = review(facts, find_footage(footage), None, ask)
        if footage.on_refused == "fail" and (text := refusal(done, ask, store.project)):
            raise ValueError(text)
        return import_reviewed(store, facts, done, ask)[0]


def take_bench(store: Store, folder: Path, length: Length = LENGTH) -> tuple[int, int]:
    bench, ask = find_bench(folder), ask_for(FootageSettings(), length)
    with ProbeCache(store.project) as facts:
        done = review(facts, Listing(()), bench, ask)
        if text := refusal(done, ask, store.project):
            raise ValueError(text)
        return import_bench(store, bench, done.bench, length.fps)[:2]
