"""Clips and takes -> captions that are wrong where a take is (PhysHPO's semantic level)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from rushes.caption.writers import Writer
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.records import Candidate, CaptionRow, Clip, seed_of, stable_hash
from rushes.store.database import Store


def wanted(
    clips: Sequence[Clip], takes: Mapping[str, Sequence[Candidate]], writer: Writer
) -> list[tuple[Clip, Candidate | None]]:
    """What is to be written: one caption a clip, or one for each of its takes where the writer looks at them."""
    if not writer.sees:
        return [(clip, None) for clip in clips]
    return [(clip, take) for clip in clips for take in takes.get(clip.id, ())]


def write_wrong(
    store: Store,
    writer: Writer,
    pairs: Sequence[tuple[Clip, Candidate | None]],
    *,
    settings_hash: str,
    faults: Mapping[str, Iterable[str]] = MappingProxyType({}),
    tick: Callable[[], None] = lambda: None,
) -> Counter[str]:
    """Write the captions that are not there yet, each stored before the next is asked for.

    `faults` are those that people found, by take; a caption that knows of others is another one.

    Returns:
        How many were "there" already, "written", or "unchanged": the writer had none, or gave the true caption back.

    Raises ValueError: a clip that cannot be read, or a writer that cannot go on.
    """
    written = {caption.id for caption in store.captions("wrong")}
    counts: Counter[str] = Counter()
    read = lru_cache(1)(_shot)  # of a clip with several takes
    for clip, take in pairs:
        about = take.id if take else ""
        named = sorted(faults.get(about, ()))
        id = stable_hash(["wrong", clip.id, about, writer.name, settings_hash, *([named] if named else [])])
        if id in written:
            counts["there"] += 1
        else:
            shots: tuple[Shot | None, Shot | None] = (None, None)
            if take:
                seen = ((clip, clip.fps), (take, take.fps))
                real, other = (read(store.media_path(c.media), fps, writer.size_px, clip.caption) for c, fps in seen)
                shots = (real, other)
            text = writer.write(clip.caption, *shots, seed_of(clip.id, about), named)
            if text in ("", clip.caption):
                counts["unchanged"] += 1
            else:
                store.add(
                    [
                        CaptionRow(
                            id,
                            clip.id,
                            text,
                            kind="wrong",
                            about=about,
                            made_by=writer.name,
                            settings_hash=settings_hash,
                        )
                    ]
                )
                counts["written"] += 1
        tick()
    return counts


def _shot(path: Path, fps: float, size_px: tuple[int, int] | None, caption: str) -> Shot:
    video = read_video(path, fps=fps, size_px=size_px)
    return Shot(video.frames_FHWC, video.fps, caption)
