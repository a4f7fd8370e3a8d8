"""Labelled pairs out of another program's file into the store, held to what will be trained on.

Each video is probed, and kept as a candidate of kind "imported"; pairs of one prompt form a group. A label speaks of
the clip that was judged: where the model is given a part of it, the pair is left out, or cut to a window
that the user names. The same pair twice counts once, and who contradicts themselves is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from os.path import commonpath, relpath
from pathlib import Path
from tempfile import TemporaryDirectory

from rushes.files import write_json
from rushes.footage.pair_fit import FittedPair, FittedVideo, Window, fit_pairs
from rushes.footage.preflight import PreflightOptions
from rushes.footage.probe_cache import ProbeCache
from rushes.footage.split import LookAlikes, SharedVideos, TimedVideos, pair_videos
from rushes.formats.answers import LABELS, Meaning
from rushes.formats.layouts import RefusedVideo
from rushes.formats.preferences import ForeignPair, ForeignPairs, UnusableEntry
from rushes.records import INLINE, Candidate, Clip, Preference, Split, stable_hash
from rushes.store.database import Store
from rushes.text_reader import counted

FILE = "pairs.json"  # what becomes of each entry, in the project's folder
_NOBODY = ("tie", "unjudged")
PairLookAlikes = Callable[[ProbeCache, TimedVideos], Iterator[tuple[str, str]]]
PairRow = dict[str, object]


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


def import_pairs(
    store: Store,
    pairs: ForeignPairs,
    ask: PreflightOptions,
    *,
    split: Split = "train",
    window: Window | None = None,
    dry_run: bool = False,
    rows: list[PairRow] | None = None,
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
        rows: of pairs.json so far, where a part of the pairs is held out; these pairs' own are added. None = none is.
        look_alikes: which videos are copies of each other though their bytes differ.
        say: takes each line of the summary, before anything is stored.
        tick: called for each pair.

    Raises:
        ValueError: no pair can be used, with the reasons.
    """
    with ProbeCache(store.project) as cache, TemporaryDirectory(dir=store.project, prefix=".pairs-") as scratch:
        fitted = list(pairs.usable(fit_pairs(pairs.pairs, cache, ask, window, Path(scratch), tick)))
        own_side = list(pairs.usable(_without_other_split(store, fitted, split, partial(look_alikes, cache))))
        usable = list(pairs.usable(_without_contradictions(own_side)))
        _write_rows(store.project / FILE, pairs, usable, rows, split)
        pairs.pairs = [each.pair for each in usable]
        pairs.refuse_if_empty()
        candidates, preferences, replaced = _rows(store, usable, split)
        result = _result(pairs, usable, preferences, replaced)
        for line in summary_lines(pairs, usable, result):
            say(line)
        if dry_run:
            return result
        for side in {side.facts.media: side for each in usable for side in each.sides}.values():
            store.put_media(side.path)
        return replace(result, new_rows=store.add([*candidates.values(), *preferences]))


def _without_other_split(
    store: Store, fitted: Sequence[FittedPair], split: Split, look_alikes: LookAlikes
) -> Iterator[FittedPair | RefusedVideo]:
    """Pairs none of whose videos is in the project's other split, or a copy of one that is."""
    shared, others = SharedVideos(), set[str]()
    rows: Iterator[Clip | Candidate] = chain(store.stream(Clip), pair_videos(store))
    for row in rows:
        if row.split != split and row.frames > 1:
            others.add(row.media)
            shared.add_row(row, store.media_path(row.media) if store.media.sound(row.media) else None)
    sides = [side for each in fitted for side in each.sides]
    if others or any(side.film for side in sides):  # films are noted for later
        for video in (side.judged for side in sides):
            shared.add(video.facts.media, video.path, video.facts)
        for side in sides:
            if side.film:
                shared.join(side.film, side.facts.media)
                shared.add(side.facts.media, side.path, side.facts)
        shared.look(look_alikes)
    groups = {shared.group(media) for media in others}
    what = f"the project already has this video, or a copy of it, as {'trained on' if split == 'eval' else 'held out'}"
    for each in fitted:
        judged = (side.judged for side in each.sides)
        if bad := next((video.path for video in judged if shared.group(video.facts.media) in groups), None):
            yield UnusableEntry(what, bad.name, "import the pair into a project of its own").at(each.pair.place)
        else:
            yield each


def _without_contradictions(fitted: Sequence[FittedPair]) -> Iterator[FittedPair | RefusedVideo]:
    """Each pair of a judge once; none of those of which one question has two answers."""
    alike = defaultdict[object, list[FittedPair]](list)
    for each in fitted:
        alike[each.who_and_what].append(each)
    seen = set[object]()
    for each in fitted:
        group = alike[each.who_and_what]
        first = group[0].sides[0].facts.media
        answers = {answer for other in group for answer in other.meaning_for(first).items()}
        label = (each.who_and_what, frozenset(each.meaning_for(first).items()))
        if len(answers) > len(dict(answers)):
            places = ", ".join(other.pair.place for other in group[:4])
            yield UnusableEntry("contradicts another entry of the same pair", places).at(each.pair.place)
        elif label in seen:
            yield UnusableEntry("the same pair and label twice", group[0].pair.place, "").at(each.pair.place)
        else:
            yield each
        seen.add(label)


def _rows(
    store: Store, usable: Sequence[FittedPair], split: Split
) -> tuple[dict[str, Candidate], list[Preference], int]:
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
        sides = zip(each.sides, each.pair.systems, strict=True)
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


def _candidate(side: FittedVideo, prompt: str, system: str, split: Split) -> Candidate:
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
    usable: Sequence[FittedPair],
    preferences: Sequence[Preference],
    replaced: int,
) -> PairsImported:
    lost = {media: loss for each in usable for media, loss in each.lost.items()}
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
    path: Path, pairs: ForeignPairs, usable: Sequence[FittedPair], rows: list[PairRow] | None, split: Split
) -> None:
    """What becomes of each entry: why it is left out, or who won and what is lost of its videos."""
    own: list[PairRow] = [{"entry": refused.source, "left_out": refused.words} for refused in pairs.refused]
    for each in usable:
        sides = {
            name: {"file": str(side.judged.path), "seconds": side.facts.seconds, **asdict(each.lost[side.facts.media])}
            for name, side in zip(("left", "right"), each.sides, strict=True)
        }
        own.append({"entry": each.pair.place, "answers": dict(each.pair.answers), **sides})
    if rows is not None:
        rows += [{**row, "held_out": split == "eval"} for row in own]
    write_json(path, {"file": str(pairs.path), "rows": own if rows is None else rows})


def _winner(pair: ForeignPair) -> str:
    """Name of the side that won the overall question, or else the first; `tie` and `unjudged` are themselves.

    A side whose name says something else as well, such as "tie", is in quotes, with its place.
    """
    meaning = pair.answers.get("overall", next(iter(pair.answers.values())))
    name = dict(zip(("left", "right"), pair.names, strict=True)).get(meaning, meaning)
    return f"{name!r} ({meaning})" if name in LABELS and name != meaning else name


def summary_lines(pairs: ForeignPairs, usable: Sequence[FittedPair], result: PairsImported) -> Iterator[str]:
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
