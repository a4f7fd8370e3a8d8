"""Footage that was reviewed, into the store.

A clip is known by its content and caption, so footage that moved is not taken twice, and a clip never changes between
training and evaluation. A piece of a longer video is known by the content of that video and its span, before it is cut.
What shares content goes to one side: captions of one video, pieces of one film, copies of another size or codec.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from rushes.arrays import Frames
from rushes.config.settings_files import settings_hash
from rushes.files import content_hash
from rushes.footage.changes import SetChanges
from rushes.footage.preflight import ALTERNATIVE, CheckedVideo, Preflight, PreflightOptions
from rushes.footage.probe_cache import ProbeCache, VideoFacts
from rushes.footage.split import LookAlikes, split_footage
from rushes.formats.layouts import Bench, SourceVideo
from rushes.media.cut import TimeSpan, cut_pieces
from rushes.media.images import read_image, write_image
from rushes.media.read import VideoInfo, probe
from rushes.records import INLINE, Candidate, CaptionRow, Clip, Row, Split, fragment, lines_of, stable_hash
from rushes.store.database import Store
from rushes.text_reader import counted


@dataclass(frozen=True)
class Imported:
    """What of some footage is in the project now; what there is none of is null."""

    clips: int
    held_out: int | None  # clips that are held out
    takes: int | None = None  # takes that came with the footage
    takes_left_out: int | None = None  # takes of held-out clips, or that are one or a copy of one: none is trained on
    duplicates: int | None = None  # files of one content, caption and first frame as another
    alternatives: int | None = None  # further captions of clips, which are captions of the same clips
    refused: int | None = None  # clips and other pieces of the footage that could not be used
    passed_over: int | None = None  # files that are no footage, videos that no row names, captions without a video
    pairs: int | None = None  # to train on
    prompts: int | None = None  # held out, of footage.bench or of pairs
    imported_of_systems: int | None = None  # takes of those prompts by other systems
    changes: SetChanges = field(default=SetChanges(), metadata=INLINE)

    def lines(self) -> list[str]:
        """What is there now in a sentence, and below it whatever else there is a number of."""
        if self.pairs is not None:
            prompts = f", {counted(self.prompts or 0, 'prompt')} held out with all of their pairs"
            return [f"{counted(self.pairs, 'pair')} to train on{prompts}", *lines_of(self, "clips", "pairs", "prompts")]
        held_out = f", {self.held_out} of them held out" if self.held_out else ""
        return [f"{counted(self.clips, 'clip')}{held_out}", *lines_of(self, "clips", "held_out")]


@dataclass(frozen=True)
class _Taker:
    store: Store
    facts: ProbeCache
    made_from: str  # hash of the settings
    crf: int
    tick: Callable[[], None]


def import_reviewed(
    store: Store,
    facts: ProbeCache,
    done: Preflight,
    ask: PreflightOptions,
    tick: Callable[[], None] = lambda: None,
    look_alikes: LookAlikes = lambda videos: iter(()),
) -> tuple[Imported, set[str]]:
    """Take what a review kept: clips, and takes that a model made of them; `tick` is called for each clip.

    `look_alikes` says which videos are copies of each other though their bytes differ; it is asked where clips are
    held out.

    Returns:
        What was imported, and the ids of all of the footage's clips and takes.

    Raises:
        ValueError: more clips are to be held out than there are new ones; a file that changed since it was reviewed.
    """
    table = ask.table
    taker = _Taker(store, facts, settings_hash(table), table.cut_crf, tick)
    ids, out, left_out = split_footage(store, done, table.eval_fraction, look_alikes)
    here, takes = set(ids), 0
    for checked in done.usable():
        if checked.spans:
            _take_pieces(taker, checked, out)
            continue
        clip = _take_whole(taker, checked, "eval" if checked.id in out else "train")
        of_clip = list(_take_takes(taker, clip, checked, done))
        here.update(of_clip)
        if clip.split == "eval":
            left_out += len(checked.item.takes)
        else:
            takes += len(of_clip)
    _take_alternatives(store, done)
    imported = Imported(
        len(ids),
        held_out=len(out & ids) or None,
        takes=takes or None,
        takes_left_out=left_out or None,
        duplicates=done.duplicates or None,
        alternatives=done.alternatives or None,
        refused=done.failed or None,
        passed_over=done.listing.left_over or None,
    )
    return imported, here


def import_bench(
    store: Store, bench: Bench, checked: Mapping[Path, VideoFacts], fps: float
) -> tuple[int, int, set[str]]:
    """Held-out prompts as clips of one frame at `fps`, and what other systems made of them as candidates.

    Returns:
        How many prompts and candidates there are, and their ids.
    """
    ids = set[str]()
    for index, (prompt, still) in enumerate(zip(bench.prompts, bench.first_frames, strict=True)):
        media = store.put_media(still)
        id = stable_hash(["bench", media, prompt])
        clip = _prompt_clip(id, prompt, read_image(still), media, fps=fps, source=str(still), made_by="import")
        candidates = [  # a run may have the same name as a system of the bench
            _take(clip, store.put_media(paths[index]), checked[paths[index]], 0, f"{system} (imported)")
            for system, paths in bench.systems.items()
        ]
        rows: list[Row] = [clip, *candidates]
        ids.update(row.id for row in rows)
        store.add(row for row in rows if store.find(row.id) is None)
    return len(bench.prompts), len(bench.prompts) * len(bench.systems), ids


def lost_prompts(store: Store, ids: Collection[str]) -> set[str]:
    """Those ids of held-out prompts that are not stored, or whose first frame was lost."""
    stored = (clip for clip in store.clips(dropped=True) if clip.id in ids)
    return set(ids).difference(clip.id for clip in stored if store.media.sound(clip.media))


def add_prompt(
    store: Store, id: str, prompt: str, image: Frames, *, fps: float, source: str, made_by: str, made_from: str = ""
) -> None:
    """A held-out prompt with its first frame [H, W, 3] into the store, or that alone where it was lost.

    Raises:
        ValueError: as `check_again` does.
    """
    with TemporaryDirectory(dir=store.project, prefix=".still-") as folder:
        path = Path(folder) / "still.png"
        write_image(path, image)
        stored = store.find(id)
        check_again(stored, content_hash(path), f"the first frame of {prompt!r}")
        media = store.put_media(path)
    if stored is None:
        clip = _prompt_clip(id, prompt, image, media, fps=fps, source=source, made_by=made_by, made_from=made_from)
        store.add([clip])


def _prompt_clip(
    id: str, prompt: str, image: Frames, media: str, *, fps: float, source: str, made_by: str, made_from: str = ""
) -> Clip:
    """A held-out prompt: a clip of one frame, its first frame [H, W, 3], which is stored as `media`."""
    height, width, _ = image.shape
    return Clip(
        id,
        media,
        prompt,
        width_px=width,
        height_px=height,
        frames=1,
        fps=fps,
        source=source,
        split="eval",
        first_frame=media,
        made_by=made_by,
        settings_hash=made_from,
    )


def _take_whole(taker: _Taker, checked: CheckedVideo, split: Split) -> Clip:
    """The clip of a file, as it is stored."""
    item = checked.item
    media = _put(taker, item, checked.facts.media)
    still = taker.store.put_media(item.first_frame) if item.first_frame else ""
    clip = _clip(taker, checked, checked.id, media, checked.facts, split, source=item.source, first_frame=still)
    if item.scenario:
        _take_text(taker.store, clip.id, item.scenario, "scenario")
    taker.tick()
    return clip


def _clip(
    taker: _Taker, checked: CheckedVideo, id: str, media: str, facts: VideoFacts | VideoInfo, split: Split, **own: str
) -> Clip:
    """A clip as it is stored; it is added where it is not."""
    if isinstance(stored := taker.store.find(id), Clip):
        return stored
    row = Clip(
        id,
        media,
        checked.item.caption,
        width_px=facts.width_px,
        height_px=facts.height_px,
        frames=facts.frames,
        fps=facts.fps,
        split=split,
        made_by="import",
        settings_hash=taker.made_from,
        **own,
    )
    taker.store.add([row])
    return row


def _take_pieces(taker: _Taker, checked: CheckedVideo, out: Collection[str]) -> None:
    """Cut those pieces that are not stored, each stored before the next is cut."""
    media = taker.store.media
    ids = dict(zip(checked.spans, checked.clip_ids, strict=True))
    for id in ids.values() if checked.item.scenario else ():
        _take_text(taker.store, id, checked.item.scenario, "scenario")
    lost = media.lost(_media_of(taker.store, id) for id in ids.values())
    missing = [span for span, id in ids.items() if _media_of(taker.store, id) in lost]
    for _ in range(len(checked.spans) - len(missing)):
        taker.tick()
    if not missing:
        return
    for span, path in _cut(taker, checked.item, missing):
        id = ids[span]
        digest = content_hash(path)
        check_again(taker.store.find(id), digest, f"{checked.item.source}: its piece at {span[0]:g} s")
        taker.store.put_media(path)
        split: Split = "eval" if id in out else "train"
        source = fragment(checked.item.source, span)
        _clip(taker, checked, id, digest, probe(path), split, source=source, film=checked.facts.media)
        taker.tick()


def _cut(taker: _Taker, item: SourceVideo, spans: Sequence[TimeSpan]) -> Iterator[tuple[TimeSpan, Path]]:
    """Pieces of a video with their files, in one pass; windows that overlap in as many as there are at a time."""
    left = sorted(spans)
    while left:
        now: list[TimeSpan] = []
        for span in left:
            if not now or span[0] >= now[-1][1]:
                now.append(span)
        left = [span for span in left if span not in now]
        yield from cut_pieces(taker.facts.file(item), now, taker.crf, taker.store.project)


def _take_takes(taker: _Taker, clip: Clip, checked: CheckedVideo, done: Preflight) -> Iterator[str]:
    """Ids of the takes of a clip that can be used; they are stored unless it is held out.

    One that is left out leaves the seeds of the others as they are.
    """
    store, train = taker.store, clip.split == "train"
    for seed, path in enumerate(checked.item.takes):
        if path in done.takes:
            facts = done.takes[path]
            media = store.put_media(path) if train else facts.media
            take = _take(clip, media, facts, seed, checked.item.takes_system)
            if train and store.find(take.id) is None:
                store.add([take])
            yield take.id


def _take(clip: Clip, media: str, facts: VideoFacts, seed: int, system: str) -> Candidate:
    origin: dict[str, Any] = {"group": clip.id, "clip_id": clip.id, "system": system, "made_by": system, "seed": seed}
    id = stable_hash([clip.id, media, seed, system])
    return Candidate(id, media, clip.caption, "imported", **origin, **facts.shape, split=clip.split)


def _take_alternatives(store: Store, done: Preflight) -> None:
    """What else the footage calls its clips, and "" for clips that it called something else before."""
    texts: dict[str, list[str]] = {}
    if done.alternatives:
        for checked in done.checked:
            if checked.reason == ALTERNATIVE:
                for id in checked.clip_ids:
                    texts.setdefault(id, []).append(checked.item.caption)
    before = {row.subject for row in store.captions("alternatives")}
    gone = before and {id for checked in done.usable() for id in checked.clip_ids if id in before and id not in texts}
    for id, lines in (*texts.items(), *((id, []) for id in gone)):
        _take_text(store, id, "\n".join(dict.fromkeys(lines)), "alternatives")


def _take_text(store: Store, clip: str, text: str, kind: Literal["scenario", "alternatives"]) -> None:
    """A text that the footage has for a clip; another than the last replaces it, and both are kept."""
    before = store.captions(kind=kind, subject=clip)
    if (before[-1].text if before else "") != text:
        store.add([CaptionRow(stable_hash([clip, kind, len(before)]), clip, text, kind, made_by="import")])


def check_again(stored: Row | None, digest: str, what: str) -> None:
    """Raise ValueError where the file of a stored clip was lost and comes out with another content now."""
    if isinstance(stored, Clip) and stored.media != digest:
        raise ValueError(
            f"{what} was lost from media/ or damaged, and this FFmpeg does not reproduce it exactly; copy the file "
            "from a backup, or start a new project"
        )


def _media_of(store: Store, id: str) -> str:
    """The media of a stored clip; "" = it is not stored."""
    row = store.find(id)
    return row.media if isinstance(row, Clip) else ""


def _put(taker: _Taker, item: SourceVideo, media: str) -> str:
    if not taker.store.media.sound(media) and taker.store.put_media(taker.facts.file(item)) != media:
        raise ValueError(f"{item.source}: changed while it was imported; import it again once it is complete")
    return media
