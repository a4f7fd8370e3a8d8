"""Footage that was reviewed, into the store.

A clip is known by its content and caption, so footage that moved is not taken twice, and a clip never changes between
training and evaluation. A piece of a longer video is known by the content of that video and its span, before it is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.config.settings_files import settings_hash
from rushes.footage.preflight import Checked, Preflight, PreflightOptions, piece_id
from rushes.footage.probe_cache import ProbeCache, VideoFacts
from rushes.footage.split import held_out
from rushes.formats.layouts import Bench, SourceVideo
from rushes.media.cut import Span, cut_pieces
from rushes.media.images import read_image
from rushes.media.read import probe
from rushes.records import Candidate, CaptionRow, Clip, Row, Split, stable_hash
from rushes.store.database import Store

Tick = Callable[[], None]


@dataclass(frozen=True)
class Imported:
    """What of some footage is in the project now; what there is none of is null."""

    clips: int
    held_out: int | None  # of the clips
    takes: int | None = None  # that came with the footage
    takes_left_out: int | None = None  # takes of held-out clips, which nothing may be trained on
    duplicates: int | None = None  # files of one content, caption and first frame as another
    refused: int | None = None  # clips and other pieces of the footage that could not be used
    prompts: int | None = None  # held out, of footage.bench
    imported_of_systems: int | None = None  # takes of those prompts by other systems


@dataclass(frozen=True)
class _Taker:
    store: Store
    facts: ProbeCache
    made_from: str  # hash of the settings
    crf: int
    tick: Tick


def import_reviewed(
    store: Store, facts: ProbeCache, done: Preflight, ask: PreflightOptions, tick: Tick = lambda: None
) -> Imported:
    """Take what a review kept: clips, and takes that a model made of them; `tick` is called for each clip.

    Raises:
        ValueError: more clips are to be held out than there are new ones; a file that changed since it was reviewed.
    """
    table = ask.table
    taker = _Taker(store, facts, settings_hash(table), table.cut_crf, tick)
    several = _several(done)
    ids = {id: group for checked in done.usable() for id, group in _ids_and_groups(checked, several)}
    out = held_out(store, ids, table.eval_fraction)
    takes = left_out = 0
    for checked in done.usable():
        if checked.spans:
            _take_pieces(
                taker, checked, {id for id in (piece_id(checked, span) for span in checked.spans) if id in out}
            )
            continue
        split: Split = "eval" if checked.id in out else "train"
        _take_whole(taker, checked, split)
        if split == "eval":
            left_out += len(checked.item.takes)
        else:
            takes += _take_takes(taker, checked, done)
    return Imported(
        len(ids),
        held_out=len(out & ids.keys()) or None,
        takes=takes or None,
        takes_left_out=left_out or None,
        duplicates=done.duplicates or None,
        refused=done.failed or None,
    )


def import_bench(store: Store, bench: Bench, checked: Mapping[Path, VideoFacts], fps: float) -> tuple[int, int]:
    """Held-out prompts as clips of one frame at `fps`, and what other systems made of them as candidates; how many."""
    for index, (prompt, still) in enumerate(zip(bench.prompts, bench.first_frames, strict=True)):
        height, width, _ = read_image(still).shape
        media = store.put_media(still)
        id = stable_hash(["bench", media, prompt])
        clip = Clip(
            id,
            media,
            prompt,
            width_px=width,
            height_px=height,
            frames=1,
            fps=fps,
            source=str(still),
            split="eval",
            first_frame=media,
            made_by="import",
        )
        # A run may have the same name as a system of the bench.
        candidates = [
            _take(store, id, prompt, "eval", paths[index], checked[paths[index]], 0, f"{system} (imported)")
            for system, paths in bench.systems.items()
        ]
        rows: list[Row] = [clip, *candidates]
        store.add(row for row in rows if store.find(row.id) is None)
    return len(bench.prompts), len(bench.prompts) * len(bench.systems)


def _several(done: Preflight) -> bool:
    """Whether what is cut comes of more than one video."""
    media = (checked.facts.media for checked in done.usable())
    first = next(media, "")
    return any(other != first for other in media)


def _ids_and_groups(checked: Checked, several: bool) -> list[tuple[str, str]]:
    """Ids of the clips of one video, and what each shares with those that must be on its side.

    That is the video, as pieces of one look alike; where there is but one, the scene.
    """
    if not checked.spans:
        return [(checked.id, checked.id)]
    cuts = checked.facts.cuts_s
    groups = [
        checked.facts.media if several else str(sum(cut <= start + 1e-3 for cut in cuts)) for start, _ in checked.spans
    ]
    return [(piece_id(checked, span), group) for span, group in zip(checked.spans, groups, strict=True)]


def _take_whole(taker: _Taker, checked: Checked, split: Split) -> None:
    item = checked.item
    media = _put(taker, item, checked.facts.media)
    if taker.store.find(checked.id) is None:
        still = taker.store.put_media(item.first_frame) if item.first_frame else ""
        row = Clip(
            checked.id,
            media,
            item.caption,
            **checked.facts.shape,
            source=item.source,
            split=split,
            first_frame=still,
            made_by="import",
            settings_hash=taker.made_from,
        )
        taker.store.add([row])
    _take_scenario(taker.store, checked.id, item.scenario)
    taker.tick()


def _take_pieces(taker: _Taker, checked: Checked, out: set[str]) -> None:
    """Cut those pieces that are not stored, each stored before the next is cut."""
    media = taker.store.media
    for span in checked.spans:
        _take_scenario(taker.store, piece_id(checked, span), checked.item.scenario)
    missing = [span for span in checked.spans if _media_of(taker.store, piece_id(checked, span)) not in media]
    for _ in range(len(checked.spans) - len(missing)):
        taker.tick()
    if not missing:
        return
    for span, path in cut_pieces(taker.facts.file(checked.item), missing, taker.crf, taker.store.project):
        id = piece_id(checked, span)
        digest = taker.store.put_media(path)
        if (_media_of(taker.store, id) or digest) != digest:
            raise ValueError(
                f"{checked.item.source}: its piece at {span[0]:g} s was lost from media/ and comes out otherwise with "
                "this FFmpeg; copy the file back, or start a new project"
            )
        info = probe(path)
        source = fragment(checked.item.source, span)
        split: Split = "eval" if id in out else "train"
        row = Clip(
            id,
            digest,
            checked.item.caption,
            width_px=info.width_px,
            height_px=info.height_px,
            frames=info.frames,
            fps=info.fps,
            source=source,
            split=split,
            made_by="import",
            settings_hash=taker.made_from,
        )
        taker.store.add([row])
        taker.tick()


def fragment(source: str, span: Span) -> str:
    """A span of a video as a media fragment (W3C): path#t=START,END in seconds."""
    return f"{source}#t={span[0]:.3f},{span[1]:.3f}"


def _take_takes(taker: _Taker, checked: Checked, done: Preflight) -> int:
    """Takes of one clip that can be used; one that is left out leaves the seeds of the others as they are."""
    taken = 0
    for seed, path in enumerate(checked.item.takes):
        if path not in done.takes:
            continue
        facts = done.takes[path]
        take = _take(
            taker.store, checked.id, checked.item.caption, "train", path, facts, seed, checked.item.takes_system
        )
        if taker.store.find(take.id) is None:
            taker.store.add([take])
        taken += 1
    return taken


def _take(
    store: Store, clip_id: str, caption: str, split: Split, path: Path, facts: VideoFacts, seed: int, system: str
) -> Candidate:
    media = store.put_media(path)
    id = stable_hash([clip_id, media, seed, system])
    origin: dict[str, Any] = {"group": clip_id, "clip_id": clip_id, "system": system, "made_by": system, "seed": seed}
    return Candidate(id, media, caption, "imported", **origin, **facts.shape, split=split)


def _take_scenario(store: Store, clip: str, name: str) -> None:
    """What the footage names as a clip's scenario; another name than the last replaces it, and both are kept."""
    before = store.captions(kind="scenario", subject=clip) if name else ()
    if name and not (before and before[-1].text == name):
        id = stable_hash([clip, "scenario", len(before)])
        store.add([CaptionRow(id, clip, name, "scenario", made_by="import")])


def _media_of(store: Store, id: str) -> str:
    """The media of a stored clip; "" = it is not stored."""
    row = store.find(id)
    return row.media if isinstance(row, Clip) else ""


def _put(taker: _Taker, item: SourceVideo, media: str) -> str:
    if media not in taker.store.media and taker.store.put_media(taker.facts.file(item)) != media:
        raise ValueError(f"{item.source}: changed while it was imported; import it again once it is complete")
    return media
