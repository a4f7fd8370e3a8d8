"""Which clips are held out: what shares content goes to one side, captions of one video, pieces of one film, copies."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from rushes.footage.preflight import Preflight
from rushes.footage.probe_cache import VideoFacts
from rushes.formats.layouts import SourceVideo
from rushes.media.cut import TimeSpan
from rushes.records import Candidate, Clip, Split
from rushes.store.database import Store

_SHIFT_S = 0.1  # by which cuts of one film may lie elsewhere after it was encoded again
TimedVideos = Mapping[str, tuple[Path | SourceVideo | None, float]]
LookAlikes = Callable[[TimedVideos], Iterator[tuple[str, str]]]
"""Content hash -> where a video is and its seconds, to pairs of those that show the same, the earlier first. A film
that is not here (None) is known by what was found out about it when it was cut."""


class SharedContent:
    """What must lie on one side, as it shares something: each thing is named by a key, and keys are joined."""

    def __init__(self) -> None:
        self._over: dict[str, str] = {}

    def group(self, key: str) -> str:
        """The same for all keys that were joined, in whatever steps; a key that never was is its own group."""
        top = key
        while (over := self._over.get(top, top)) != top:
            top = over
        while key != top:
            self._over[key], key = top, self._over[key]
        return top

    def join(self, first: str, second: str) -> None:
        """Put what is joined to either key into one group."""
        self._over[self.group(second)] = self.group(first)


class SharedVideos(SharedContent):
    """The same of videos, of which copies are looked for: what is cut from one, or is a copy of it, is in its group."""

    def __init__(self) -> None:
        super().__init__()
        self._videos: dict[str, tuple[Path | SourceVideo | None, float]] = {}

    def add(self, media: str, video: Path | SourceVideo | None, facts: VideoFacts | Clip | Candidate) -> None:
        """Add a video by its content hash; the first stays, unless it was not here (None)."""
        if self._videos.get(media, (None,))[0] is None:
            self._videos[media] = video, facts.frames / facts.fps

    def add_row(self, row: Clip | Candidate, path: Path | None, key: str = "") -> None:
        """Add a stored video, None = its file was lost, and what it was cut from; by `key`, or its content."""
        if row.film:
            self.join(row.film, key or row.media)
            self.add(row.film, None, row)
        if path:
            self.add(row.media, path, row)

    def look(self, look_alikes: LookAlikes, keys: Mapping[str, str] | None = None) -> None:
        """Join copies, which may go by other keys than their content hashes."""
        keys = keys or {}
        for first, second in look_alikes(self._videos):
            self.join(keys.get(first, first), keys.get(second, second))


def share_held_out(fraction: float, clips: int) -> int:
    """How many of some clips are held out; above 0 at least one is, and one is not where there are two."""
    return max(0, min(max(1, round(fraction * clips)), clips - 1)) if fraction else 0


def held_out(
    store: Store, groups: Mapping[str, str], fraction: float, stored: Mapping[str, str] | None = None
) -> set[str]:
    """Ids of held-out clips: those that are held out already, and of the new ones those that sort first.

    Ids are hashes, so that their order is a draw, the same in a stage that was stopped and runs again. Clips of one
    group go to one side, also later: new ones of a group follow those that are stored. Groups of several are taken as
    long as no more clips are held out than asked for, one at the least.

    Args:
        store: with what was imported before.
        groups: id of a clip -> its group, all of the footage.
        fraction: of the clips, in [0, 1); above 0 at least one is held out and one is not.
        stored: group of clips that were imported before, also of such as are not in the footage any more, and of the
            videos of labelled pairs, by the ids of their candidates.

    Raises:
        ValueError: more are to be held out than there are new ones, unless some were and left the footage.
    """
    sides = {clip.id: clip.split for clip in store.stream(Clip)}
    out = {id for id, side in sides.items() if side == "eval"}
    side_of: dict[str, Split] = {}
    of_pairs = {row.id: row.split for row in store.stream(Candidate) if row.id in (stored or {})}
    for id, side in (sides | of_pairs).items():
        group = groups.get(id) or (stored or {}).get(id, id)
        if side_of.get(group) != "train":  # where both sides have it already, it may have been trained on
            side_of[group] = side
    fresh: dict[str, list[str]] = {}
    for id in sorted(groups.keys() - sides.keys()):
        if side_of.get(groups[id]) == "eval":
            out.add(id)
        elif groups[id] not in side_of:
            fresh.setdefault(groups[id], []).append(id)
    wanted = share_held_out(fraction, len(groups))
    missing = max(0, wanted - len(out & groups.keys()))
    # Where held-out clips left the footage, fewer may be held out than asked for, but not none.
    if missing > sum(map(len, fresh.values())) and not (out & groups.keys() and out - groups.keys()):
        raise ValueError(
            f"footage.eval_fraction: {wanted} of {len(groups)} clips should be held out, but only "
            f"{len(out & groups.keys())} can be: clips that may have been trained on are never held out later; start a "
            "new project, or add clips"
        )
    left = missing
    for members in fresh.values():
        if len(members) <= left:
            out.update(members)
            left -= len(members)
    if missing and left == missing and fresh:  # every group is larger than what is asked for
        smallest = min(fresh.values(), key=len)
        if len(groups.keys() - out) == len(smallest):
            raise ValueError(
                "footage.eval_fraction: all clips have one origin (pieces of one film, copies, or names in a tar that "
                "are equal up to the first dot), so none can be held out; add footage, or set it to 0 and name "
                "held-out prompts with footage.bench"
            )
        out.update(smallest)
    return out


def split_footage(
    store: Store, done: Preflight, fraction: float, look_alikes: LookAlikes
) -> tuple[set[str], set[str], int]:
    """Ids of the footage's clips and of all held-out clips, and how many takes are left out for their sake.

    Raises:
        ValueError: as `held_out` does.
    """
    groups, stored = _groups(store, done, fraction, look_alikes)
    out = held_out(store, groups, fraction, stored)
    return set(groups), out, _drop_held_out_takes(store, done, out, look_alikes)


def pair_videos(store: Store) -> list[Candidate]:
    """The videos of labelled pairs that were imported."""
    return [row for row in store.stream(Candidate) if row.kind == "imported" and not row.clip_id]


def _groups(
    store: Store, done: Preflight, fraction: float, look_alikes: LookAlikes
) -> tuple[dict[str, str], dict[str, str]]:
    """Group of each clip of the footage, and of each that is stored: what shares content is in one.

    Pieces of one film look alike, so the film is their group; where there is but one, the scene is. A clip that was
    cut before films were noted is of the film that its source names.
    """
    imported = [clip for clip in store.stream(Clip) if clip.made_by == "import" and clip.frames > 1]
    shared = SharedVideos()
    for checked in done.usable():
        facts, item = checked.facts, checked.item
        shared.add(facts.media, item, facts)
        for name in (_film_name(item.source) if checked.spans else "", item.sample):
            if name:
                shared.join(facts.media, name)
    of_pairs = pair_videos(store)
    rows: list[Clip | Candidate] = [*imported, *of_pairs]
    lost = store.media.lost(row.media for row in rows)
    for row in rows:
        # Also a piece: somebody may have cut the film at the same place.
        path = None if row.media in lost else store.media_path(row.media)
        shared.add_row(row, path, _film(row) if isinstance(row, Clip) else "")
    cut = any(checked.spans for checked in done.usable())  # their looks are noted, as a later import lacks the film
    if fraction or cut or "eval" in {*(clip.split for clip in imported), *(row.split for row in of_pairs)}:
        shared.look(look_alikes, {clip.media: _film(clip) for clip in imported})
    scene = _scenes(done, shared, imported)
    groups = {
        id: scene(checked.facts.media, span)
        for checked in done.usable()
        for id, span in zip(checked.clip_ids, checked.spans or (None,), strict=True)
    }
    stored = {clip.id: scene(_film(clip), clip.span_s) for clip in imported}
    return groups, stored | {row.id: scene(row.media, None) for row in of_pairs}


def _scenes(done: Preflight, shared: SharedContent, imported: Sequence[Clip]) -> Callable[[str, TimeSpan | None], str]:
    """From the key of a video and a piece of it to the group: the scene, where all is of one film.

    A film that was encoded again may be cut a frame earlier, or at fewer places: scenes that one piece of it reaches
    into are one.
    """
    films = {shared.group(checked.facts.media) for checked in done.usable()}
    whole = (clip for clip in imported if clip.span_s is None)
    if len(films) > 1 or any(shared.group(clip.media) in films for clip in whole):
        return lambda key, span: shared.group(key)
    cuts = next((checked.facts.cuts_s for checked in done.usable()), ())

    def numbers(span: TimeSpan) -> tuple[int, int]:
        slack = min(_SHIFT_S, (span[1] - span[0]) / 4)
        return bisect(cuts, span[0] + slack), bisect(cuts, span[1] - slack)

    scenes = SharedContent()
    for clip in imported:
        if (span := clip.span_s) and shared.group(_film(clip)) in films:
            first, last = numbers(span)
            for number in range(first, last):
                scenes.join(str(number), str(number + 1))

    def group(key: str, span: TimeSpan | None) -> str:
        number = f" {scenes.group(str(numbers(span)[0]))}" if span and shared.group(key) in films else ""
        return shared.group(key) + number

    return group


def _film(clip: Clip) -> str:
    """The key of the video that a stored clip is of: the name of its film where it is a piece, else its content."""
    return _film_name(clip.video) if clip.span_s else clip.media


def _film_name(source: str) -> str:
    return f"film {source}"


def _drop_held_out_takes(store: Store, done: Preflight, out: Collection[str], look_alikes: LookAlikes) -> int:
    """Leave out takes that are a held-out video, or a copy of one; how many of clips that are trained on are so."""
    wanted = {path: done.takes[path] for checked in done.usable() if checked.id not in out and not checked.spans
              for path in checked.item.takes if path in done.takes}  # fmt: skip
    if not wanted:
        return 0
    shared, held = SharedVideos(), set[str]()
    for checked in done.usable():
        if checked.id in out:
            held.add(checked.facts.media)
            shared.add(checked.facts.media, checked.item, checked.facts)
    for clip in store.stream(Clip):
        if clip.split == "eval" and clip.frames > 1 and store.media.sound(clip.media):
            held.add(clip.media)
            shared.add(clip.media, store.media_path(clip.media), clip)
    for path, facts in wanted.items():
        shared.add(facts.media, SourceVideo(path, "", str(path)), facts)
    if held:
        shared.look(look_alikes)
    groups = {shared.group(media) for media in held}
    dropped = [path for path, facts in wanted.items() if shared.group(facts.media) in groups]
    for path in dropped:
        del done.takes[path]
    return len(dropped)


def film_of(clip: Clip) -> str:
    """What a clip is a part or the whole of: the content, or the name where it was cut before films were noted."""
    return clip.video if clip.span_s and not clip.film else clip.film or clip.media
