"""Labelled pairs out of another program's file into the store, held to what will be trained on.

Each video is probed, and kept as a candidate of kind "imported"; pairs of one prompt form a group. A label speaks of
the clip that was judged: where the model is given a part of it, the pair is left out, or cut to a window
that the user names. The same pair twice counts once, and who contradicts themselves is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from os.path import commonpath, relpath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from rushes.arrays import Frames
from rushes.files import write_json
from rushes.footage.preflight import PreflightOptions
from rushes.footage.preflight_costs import Loss, losses
from rushes.footage.probe_cache import ProbeCache, VideoFacts
from rushes.footage.split import SharedContent, pair_videos
from rushes.formats.answers import LABELS, Meaning
from rushes.formats.layouts import SourceVideo
from rushes.formats.preferences import ForeignPair, ForeignPairs, UnusableEntry
from rushes.media.cut import TimeSpan, cut_pieces
from rushes.media.read import read_video
from rushes.objectives.segments import speaks_of_part
from rushes.records import INLINE, Candidate, Clip, Preference, Split, stable_hash
from rushes.store.database import Store
from rushes.text_reader import counted

Window = Literal["first", "last", "best-motion"]
FILE = "pairs.json"  # what becomes of each entry, in the project's folder
_NOBODY = ("tie", "unjudged")
EQUAL_LEVELS = 2.0  # root mean square difference, of 255, below which frames differ by compression alone
_MOTION_PX = 32  # side of the pictures that motion is looked for in
PairLookAlikes = Callable[[ProbeCache, Mapping[str, tuple[Path | None, float]]], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class PairsImported:
    """Labelled pairs out of another program's file; `entries` are `pairs` and what is left out."""

    entries: int  # rows or annotations of the file
    pairs: int  # pairs that are in the project now, or would be
    videos: int  # videos of these pairs
    labels: int  # labels of these pairs, one for each question
    unjudged: int  # labels that are unjudged
    winners: Mapping[str, int]  # pairs that each side won, by the name the file gives it, `tie` and `unjudged`
    new_rows: int  # 0 in a dry run
    replaced: int  # labels that were given otherwise before, or of another window
    trimmed: int  # videos that are longer than the clips trained on
    cropped: int  # videos that lose some of the picture
    left_out: Mapping[str, int] = field(default_factory=dict, metadata=INLINE)  # `left out, REASON`: entries


@dataclass(frozen=True)
class _Side:
    """A video of a pair as it goes into the store."""

    path: Path
    facts: VideoFacts
    film: str = ""  # content hash of the video that it was cut from; "" = it is all of it

    @property
    def origin(self) -> str:
        """Content hash of the video that was judged."""
        return self.film or self.facts.media


@dataclass(frozen=True)
class _Pair:
    pair: ForeignPair
    left: _Side
    right: _Side

    @property
    def who_and_what(self) -> tuple[str, str, frozenset[str]]:
        return self.pair.judge, self.pair.prompt, frozenset((self.left.facts.media, self.right.facts.media))

    def meaning_for(self, first: str) -> dict[str, Meaning]:
        """The answers, with the sides exchanged unless the content `first` is on the left."""
        if self.left.facts.media == first:
            return dict(self.pair.answers)
        other: Mapping[Meaning, Meaning] = {"left": "right", "right": "left"}
        return {question: other.get(meaning, meaning) for question, meaning in self.pair.answers.items()}


def import_pairs(
    store: Store,
    pairs: ForeignPairs,
    ask: PreflightOptions,
    *,
    split: Split = "train",
    window: Window | None = None,
    dry_run: bool = False,
    look_alikes: PairLookAlikes = lambda cache, videos: iter(()),
    say: Callable[[str], None] = lambda line: None,
    tick: Callable[[], None] = lambda: None,
) -> PairsImported:
    """Videos, candidates and preferences into the store; run again, nothing is added twice.

    Args:
        store: of the project.
        pairs: as `rushes.formats.pair_files` reads them; what is left out here is counted there.
        ask: how long and large clips are that will be trained on.
        split: of the candidates.
        window: the part of longer clips that the label is taken to speak of; None = they are left out.
        dry_run: say what would be stored, and store nothing.
        look_alikes: which videos are copies of each other though their bytes differ.
        say: takes each line of the summary, before anything is stored.
        tick: called for each pair.

    Raises:
        ValueError: no pair can be used, with the reasons.
    """
    with ProbeCache(store.project) as facts, TemporaryDirectory(dir=store.project, prefix=".pairs-") as scratch:
        fitted = []
        for number, pair in enumerate(pairs.pairs):
            try:
                fitted.append(_fitted(pair, facts, ask, window, Path(scratch) / str(number)))
            except UnusableEntry as error:
                pairs.leave_out(error, pair.place)
            tick()
        on_its_side = _without_other_split(store, facts, fitted, pairs, split, look_alikes)
        usable = list(_without_contradictions(list(on_its_side), pairs))
        lost = [losses(ask, each.left.facts, each.right.facts) for each in usable]
        _write_rows(store.project / FILE, pairs, usable, lost)
        pairs.pairs = [each.pair for each in usable]
        pairs.refuse_if_empty()
        candidates, preferences, replaced = _rows(store, usable, split)
        result = _result(pairs, usable, preferences, replaced, lost)
        for line in summary_lines(pairs, usable, result):
            say(line)
        if dry_run:
            return result
        for side in {side.facts.media: side for each in usable for side in (each.left, each.right)}.values():
            store.put_media(side.path)
        return replace(result, new_rows=store.add([*candidates.values(), *preferences]))


def _fitted(pair: ForeignPair, cache: ProbeCache, ask: PreflightOptions, window: Window | None, folder: Path) -> _Pair:
    """A pair whose videos are as long as what will be trained on."""
    if not pair.prompt.strip() and not ask.table.allow_empty_captions:
        raise UnusableEntry("has no prompt", remedy="write one, or set footage.allow_empty_captions to true")
    sides = [_Side(path, _facts(cache, path)) for path in (pair.left, pair.right)]
    ask = ask.of(*(side.facts for side in sides))  # both are seen together
    for side in sides:
        have = ask.length.available(side.facts.frames, side.facts.fps)
        if have < ask.length.frames:
            raise UnusableEntry(
                f"too short for clips of {ask.length.frames} frames at {ask.length.fps:g} fps",
                f"{side.path}: {side.facts.seconds:.2f} s",
                "lower backbone.frames, or use longer clips",
            )
    longest = max(sides, key=lambda side: side.facts.seconds)
    trimmed = speaks_of_part(longest.facts.seconds, ask.length.seconds)
    if trimmed and window is None:
        raise UnusableEntry(
            f"longer than the {ask.length.seconds:.2f} s that are trained on, while its label is about the whole video",
            f"{longest.path}: {longest.facts.seconds:.2f} s",
            "choose the part to train on (`labels import --window first`, `rushes set PROJECT footage.window=first`; "
            "also last, best-motion), or raise backbone.frames or lengths",
        )
    if sides[0].facts.media == sides[1].facts.media:
        raise UnusableEntry("both sides are the same video", f"{pair.left.name} and {pair.right.name}", "")
    if trimmed and window:
        folder.mkdir()
        sides = [
            _cut(side, span, cache, ask, folder / f"{name}.mp4")
            for name, side, span in zip(("left", "right"), sides, _spans(sides, ask, window), strict=True)
        ]
    if _equal(sides[0], sides[1], ask):
        raise UnusableEntry(
            f"both sides are identical in the {ask.length.seconds:.2f} s that are trained on",
            f"{pair.left.name} and {pair.right.name}",
            "",
        )
    return _Pair(pair, sides[0], sides[1])


def _facts(cache: ProbeCache, path: Path) -> VideoFacts:
    facts = cache.of(SourceVideo(path, "", str(path)))
    if facts.problem:
        raise UnusableEntry(f"a video cannot be used ({facts.reason})", f"{path}: {facts.problem}", "")
    return facts


def _spans(sides: Sequence[_Side], ask: PreflightOptions, window: Window) -> list[TimeSpan]:
    """The window of each side, in seconds; that of most motion is one for both, as they are seen together."""
    length = ask.length.seconds
    ends = [side.facts.seconds for side in sides]
    if window == "last":
        return [(max(0.0, end - length), end) for end in ends]
    start = 0.0
    if window == "best-motion":
        moving = [_motion(side.path, ask) for side in sides]
        shortest = min(map(len, moving))
        sums = np.cumsum([0.0, *(moving[0][:shortest] + moving[1][:shortest])])
        starts = sums[ask.length.frames :] - sums[: -ask.length.frames]
        start = int(starts.argmax()) / ask.length.fps if len(starts) else 0.0
    return [(start, min(start + length, end)) for end in ends]


def _motion(path: Path, ask: PreflightOptions) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean change of each frame from the one before, at the model's rate; of the first 0."""
    frames = read_video(path, fps=ask.length.fps, size_px=(_MOTION_PX, _MOTION_PX), fit="stretch").frames_FHWC
    change = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))
    return np.concatenate([[0.0], change]).astype(np.float64)


def _cut(side: _Side, span: TimeSpan, cache: ProbeCache, ask: PreflightOptions, target: Path) -> _Side:
    for _, path in cut_pieces(side.path, [span], ask.table.cut_crf, target.parent):
        path.rename(target)  # it is deleted when the next is asked for
    return _Side(target, _facts(cache, target), film=side.facts.media)


def _equal(left: _Side, right: _Side, ask: PreflightOptions) -> bool:
    """Whether the model would be given the same twice: three frames are looked at, and all where these are equal."""
    count, fps = ask.length.frames, ask.length.fps

    def frames(side: _Side, start: int, number: int) -> Frames:
        size = (ask.height_px, ask.width_px)
        return read_video(
            side.path, fps=fps, start_s=start / fps, frames=number, size_px=size, fit=ask.table.fit
        ).frames_FHWC

    return all(
        _same_levels(frames(left, start, number), frames(right, start, number))
        for start, number in ((0, 1), (count // 2, 1), (count - 1, 1), (0, count))
    )


def _same_levels(left_FHWC: Frames, right_FHWC: Frames) -> bool:
    difference = left_FHWC.astype(np.float32) - right_FHWC
    return float(np.sqrt(np.square(difference).mean((1, 2, 3))).max()) < EQUAL_LEVELS


def _without_other_split(
    store: Store,
    cache: ProbeCache,
    fitted: Sequence[_Pair],
    pairs: ForeignPairs,
    split: Split,
    look_alikes: PairLookAlikes,
) -> Iterator[_Pair]:
    """Pairs none of whose videos is in the project's other split, or a copy of one that is."""
    shared, videos = SharedContent(), dict[str, tuple[Path | None, float]]()
    others = set[str]()
    rows: Iterator[Clip | Candidate] = chain(store.stream(Clip), pair_videos(store))
    for row in rows:
        if row.split == split or row.frames == 1:
            continue
        others.add(row.media)
        if row.film:
            shared.join(row.film, row.media)
            videos.setdefault(row.film, (None, 0.0))
        if store.media.sound(row.media):
            videos[row.media] = store.media_path(row.media), row.frames / row.fps
    if others or any(side.film for each in fitted for side in (each.left, each.right)):  # films are noted for later
        for path in (path for each in fitted for path in (each.pair.left, each.pair.right)):
            facts = _facts(cache, path)
            videos.setdefault(facts.media, (path, facts.frames / facts.fps))
        for side in (side for each in fitted for side in (each.left, each.right) if side.film):
            shared.join(side.film, side.facts.media)
            videos.setdefault(side.facts.media, (side.path, side.facts.frames / side.facts.fps))
        for original, copy in look_alikes(cache, videos):
            shared.join(original, copy)
    groups = {shared.group(media) for media in others}
    use = "trained on" if split == "eval" else "held out"
    for each in fitted:
        sides = ((each.pair.left, each.left), (each.pair.right, each.right))
        if bad := next((path for path, side in sides if shared.group(side.origin) in groups), None):
            what = f"the project already has this video, or a copy of it, as {use}"
            pairs.leave_out(UnusableEntry(what, bad.name, "import the pair into a project of its own"), each.pair.place)
        else:
            yield each


def _without_contradictions(fitted: Sequence[_Pair], pairs: ForeignPairs) -> Iterator[_Pair]:
    """Each pair of a judge once; none of those of which one question has two answers."""
    alike = defaultdict[object, list[_Pair]](list)
    earlier = []  # of each pair, how many of its group come before it
    for each in fitted:
        earlier.append(len(alike[each.who_and_what]))
        alike[each.who_and_what].append(each)
    for each, count in zip(fitted, earlier, strict=True):
        group = alike[each.who_and_what]
        first = group[0].left.facts.media
        given = defaultdict[str, set[Meaning]](set)
        for other in group:
            for question, meaning in other.meaning_for(first).items():
                given[question].add(meaning)
        if any(len(meanings) > 1 for meanings in given.values()):
            places = ", ".join(other.pair.place for other in group[:4])
            pairs.leave_out(UnusableEntry("contradicts another entry of the same pair", places), each.pair.place)
        elif any(other.meaning_for(first) == each.meaning_for(first) for other in group[:count]):
            pairs.leave_out(UnusableEntry("the same pair and label twice", group[0].pair.place, ""), each.pair.place)
        else:
            yield each


def _rows(store: Store, usable: Sequence[_Pair], split: Split) -> tuple[dict[str, Candidate], list[Preference], int]:
    """Candidates by id, preferences, and how many of these replace a stored one of the same judge and pair.

    Pairs are the same by what was judged, so that another window of them replaces the one before.
    """
    of_pairs = {row.id: row for row in pair_videos(store)}

    def pair_of(left: Candidate, right: Candidate) -> frozenset[tuple[str, str, str]]:
        return frozenset((row.film or row.media, row.caption, row.system) for row in (left, right))

    stored = {
        (row.judge, row.dimension, pair_of(of_pairs[row.left], of_pairs[row.right])): row
        for row in store.preferences()
        if row.segment_s is None and row.left in of_pairs and row.right in of_pairs
    }
    candidates: dict[str, Candidate] = {}
    preferences, replaced = [], 0
    for each in usable:
        sides = zip((each.left, each.right), each.pair.systems, strict=True)
        left, right = (_candidate(side, each.pair.prompt, system, split) for side, system in sides)
        left, right = (of_pairs.get(row.id, row) for row in (left, right))
        candidates |= {left.id: left, right.id: right}
        for question, meaning in each.pair.answers.items():
            before = stored.get((each.pair.judge, question, pair_of(left, right)))
            row = _preference(each.pair.judge, left.id, right.id, question, meaning, before)
            replaced += bool(row.supersedes and row is not before)
            preferences.append(row)
    return candidates, preferences, replaced


def _preference(
    judge: str, left: str, right: str, question: str, meaning: Meaning, before: Preference | None
) -> Preference:
    """The label's row: the stored one where it says the same, else one that replaces it."""
    label = LABELS[meaning]
    unjudged = (0,) if meaning == "unjudged" else ()
    if before is not None and {before.left, before.right} == {left, right}:
        same_way = label if before.left == left else -label
        if before.labels == (same_way,) and before.unjudged == unjudged:
            return before
    identity = ["imported", judge, left, right, question, "unjudged" if unjudged else label]
    return Preference(
        id=stable_hash([*identity, before.id] if before else identity),
        left=left,
        right=right,
        labels=(label,),
        judge=judge,
        dimension=question,
        supersedes=before.id if before else "",
        unjudged=unjudged,
    )


def _candidate(side: _Side, prompt: str, system: str, split: Split) -> Candidate:
    facts = side.facts
    return Candidate(
        id=stable_hash(["imported pair", facts.media, prompt, system]),
        media=facts.media,
        caption=prompt,
        kind="imported",
        group=stable_hash(["prompt", prompt]),
        clip_id="",
        system=system,
        made_by="",
        seed=0,
        **facts.shape,
        split=split,
        film=side.film,
    )


def _result(
    pairs: ForeignPairs,
    usable: Sequence[_Pair],
    preferences: Sequence[Preference],
    replaced: int,
    lost_of: Sequence[Mapping[str, Loss]],
) -> PairsImported:
    lost = {media: loss for of_pair in lost_of for media, loss in of_pair.items()}
    return PairsImported(
        entries=pairs.entries,
        pairs=len(usable),
        videos=len(lost),
        labels=len(preferences),
        unjudged=sum(bool(row.unjudged) for row in preferences),
        winners=dict(Counter(map(_winner, (each.pair for each in usable))).most_common()),
        new_rows=0,
        replaced=replaced,
        trimmed=sum(each.trimmed for each in lost.values()),
        cropped=sum(bool(each.share) for each in lost.values()),
        left_out={f"left out, {why}": count for why, count in pairs.left_out.items()},
    )


def _write_rows(
    path: Path, pairs: ForeignPairs, usable: Sequence[_Pair], lost_of: Sequence[Mapping[str, Loss]]
) -> None:
    """What becomes of each entry: why it is left out, or who won and what is lost of its videos."""
    rows: list[dict[str, object]] = [{"entry": place, "left_out": words} for place, words in pairs.refused.items()]
    for each, lost in zip(usable, lost_of, strict=True):
        sides = {
            name: {"file": str(file), "seconds": side.facts.seconds, **asdict(lost[side.facts.media])}
            for name, file, side in (("left", each.pair.left, each.left), ("right", each.pair.right, each.right))
        }
        rows.append({"entry": each.pair.place, "answers": dict(each.pair.answers), **sides})
    write_json(path, {"file": str(pairs.path), "rows": rows})


def _winner(pair: ForeignPair) -> str:
    """Name of the side that won the overall question, or else the first; `tie` and `unjudged` are themselves.

    A side whose name says something else as well, such as "tie", is in quotes, with its place.
    """
    meaning = pair.answers.get("overall", next(iter(pair.answers.values())))
    name = dict(zip(("left", "right"), pair.names, strict=True)).get(meaning, meaning)
    return f"{name!r} ({meaning})" if name in LABELS and name != meaning else name


def summary_lines(pairs: ForeignPairs, usable: Sequence[_Pair], result: PairsImported) -> Iterator[str]:
    """What a person can check against what they meant, and an example of it."""
    for name, count in result.winners.items():
        yield f"{name} {'won' if name not in _NOBODY else 'in'} {count} of {result.pairs} pairs"
    first = next((each.pair for each in usable if _winner(each.pair) not in _NOBODY), usable[0].pair)
    top = commonpath((first.left.parent, first.right.parent))  # two folders often have files of one name
    sides = f"left = {relpath(first.left, top)}, right = {relpath(first.right, top)} (sides: {first.why})"
    yield f"example: {first.place}: {sides}, {_winner(first)}{'' if _winner(first) in _NOBODY else ' won'}"
    if answers := ", ".join(pairs.meanings.lines()):
        yield f"answers: {answers}"
    for reason, example in pairs.examples.items():
        yield f"left out, {pairs.left_out[reason]}: {example}"
    for what, count in (("trimmed", result.trimmed), ("cropped", result.cropped)):
        if count:
            yield f"{what}: {counted(count, 'video')}; {FILE} in the project says which"
    yield from pairs.notes
    for kind, count in pairs.passed_over.items():
        yield f"passed over: {counted(count, 'result')} of kind {kind}"
