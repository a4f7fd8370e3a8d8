"""What an import changed of the set: clips that are new, go by another caption, or that the footage no longer has.

Rows stay: a clip that is gone is set aside by a decision, which an import that has the clip, or a person, takes back.
So is a take that came with a clip which is still there; the takes of a clip that is gone leave the set with it.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from rushes.footage.split import film_of
from rushes.formats.caption_files import shown
from rushes.media.cut import TimeSpan
from rushes.records import Candidate, Clip, Decision, now, stable_hash
from rushes.store.database import Store
from rushes.store.decisions import IMPORT, DecisionHistory, histories_of
from rushes.text_reader import counted

MOST_CAPTIONS = 10  # that are shown, old and new
CAPTION = "its caption changed in the footage"
REPLACED, GONE = "now cut or converted differently", "no longer in the footage"
_COUNTED = {CAPTION: "captions_changed", REPLACED: "replaced", GONE: "gone"}  # as which each reason is counted


@dataclass(frozen=True)
class SetChanges:
    """Clips by what became of them; null where there are none, and all of it at the first import."""

    new: int | None = None
    unchanged: int | None = None
    captions_changed: int | None = None  # each takes the place of the clip under the caption before
    replaced: int | None = None  # set aside, as their videos are cut otherwise now or have another content
    gone: int | None = None  # set aside, as the footage no longer has them
    returned: int | None = None  # had been set aside, in the set again
    held_by_people: int | None = None  # the footage no longer has them, and a person put them back
    takes_gone: int | None = None  # takes that came with clips and no longer do
    takes_returned: int | None = None  # takes that had been set aside, in the set again


def apply_changes(
    store: Store,
    ids: Collection[str],
    before: Collection[str],
    *,
    add: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> SetChanges:
    """Set aside what earlier imports took and this one did not, and put back what it has again.

    Args:
        store: with all clips of this import in it.
        ids: of these, and of the takes that came with them.
        before: ids of the clips that were stored when it began.
        add: leave in what the footage does not have, so that the set is the union; a video that it has goes by the
            caption that it has there, unless the stored clip came with takes or a first frame, and a film that it cuts
            otherwise by those pieces, where they overlap in time.
        say: takes a line for each caption that changed and each kind of what left the set, with names.
    """
    histories = histories_of(store.stream(Decision))
    aside = {id for id, history in histories.items() if history.aside}
    imported = [clip for clip in store.stream(Clip) if clip.made_by in (IMPORT, "world")]
    here = [clip for clip in imported if clip.id in ids]
    left = [clip for clip in imported if clip.id not in ids and clip.id not in aside]
    if add:
        again = {_content(clip) for clip in here}
        own = {row.clip_id for row in store.stream(Candidate) if row.kind == "imported"}  # these belong to a caption
        overlaps = _overlapping(here)
        left = [clip for clip in left if (not clip.first_frame and clip.id not in own if _content(clip) in again
                                          else overlaps(clip))]  # fmt: skip
    by_people = {clip.id for clip in left if clip.id in histories and histories[clip.id].put_back}
    shown, videos = {_content(clip) for clip in here}, {name for clip in here for name in _names(clip)}
    reasons = {
        clip.id: CAPTION if _content(clip) in shown else REPLACED if videos.intersection(_names(clip)) else GONE
        for clip in left
        if clip.id not in by_people
    }
    recaptioned = {_content(clip) for clip in left if reasons.get(clip.id) == CAPTION}
    counts = Counter(_state(clip, before, aside, recaptioned) for clip in here)
    counts.update(reason for reason in reasons.values() if reason != CAPTION)
    back = {clip.id: "" for clip in here if clip.id in aside}
    for line in _lines(here, left, reasons):
        say(line)
    takes = [row for row in store.stream(Candidate) if row.kind == "imported" and row.clip_id in ids]
    takes_gone = {} if add else {row.id: GONE for row in takes if row.id not in ids and row.id not in aside}
    takes_back = {row.id: "" for row in takes if row.id in ids and row.id in aside}
    changed = {**reasons, **back, **takes_gone, **takes_back}
    store.add(_decision(id, histories.get(id), reason) for id, reason in changed.items())
    if not before:
        return SetChanges()
    counts.update(held_by_people=len(by_people), takes_gone=len(takes_gone), takes_returned=len(takes_back))
    return SetChanges(**{_COUNTED.get(what, what): count for what, count in counts.items() if count})


def _lines(here: Collection[Clip], left: Collection[Clip], reasons: Mapping[str, str]) -> Iterator[str]:
    """What left the set, by name, and what captions became."""
    now_called = {_content(clip): clip.caption for clip in here}
    corrected = [clip for clip in left if reasons.get(clip.id) == CAPTION]
    for clip in corrected[:MOST_CAPTIONS]:
        yield f"caption changed: {clip.source}: {clip.caption!r:.80} is now {now_called[_content(clip)]!r:.80}"
    if corrected[MOST_CAPTIONS:]:
        yield f"and {counted(len(corrected) - MOST_CAPTIONS, 'caption')} more"
    for reason in (REPLACED, GONE):
        if names := [clip.source for clip in left if reasons.get(clip.id) == reason]:
            yield f"set aside, {reason}: {len(names)} ({shown(names)})"


def _state(clip: Clip, before: Collection[str], aside: Collection[str], recaptioned: Collection[str]) -> str:
    if clip.id in before and clip.id not in aside:
        return "unchanged"
    if _content(clip) in recaptioned:
        return CAPTION
    return "returned" if clip.id in aside else "new"


def _content(clip: Clip) -> str:
    """Equal for clips that show the same frames of the same video."""
    return f"{clip.film}{clip.source.rpartition('#t=')[2]}" if clip.film else clip.media


def _names(clip: Clip) -> set[str]:
    """What the video that a clip is of is called: its content, and its name."""
    return {clip.film or clip.media, clip.video}


def _overlapping(clips: Collection[Clip]) -> Callable[[Clip], bool]:
    """Whether a clip shows a time of a film that one of `clips`, which do not overlap each other, shows too."""
    spans = defaultdict[str, list[TimeSpan]](list)
    for clip in clips:
        for name in _names(clip):
            spans[name].append(_shown(clip))
    for of_film in spans.values():
        of_film.sort()

    def overlaps(clip: Clip) -> bool:
        start, end = _shown(clip)
        slack, of_film = 0.5 / clip.fps, spans.get(film_of(clip), [])
        at = bisect(of_film, (end - slack, 0.0)) - 1
        return at >= 0 and of_film[at][1] > start + slack

    return overlaps


def _shown(clip: Clip) -> TimeSpan:
    return clip.span_s or (0.0, clip.frames / clip.fps)


def _decision(subject: str, history: DecisionHistory | None, reason: str) -> Decision:
    """A clip or a take is set aside for a reason; none = it is put back."""
    last = history.imported.id if history and history.imported else ""
    id = stable_hash([IMPORT, subject, reason, last])
    return Decision(id, subject, not reason, reason, made_by=IMPORT, created_at=now())
