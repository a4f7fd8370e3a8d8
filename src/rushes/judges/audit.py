"""How far a judge can be trusted: agreement with people, order, ties, and what it makes of a clip that stands still.

A share has Wilson's interval with the design effect of its clusters (pairs of one prompt are one witness). "Without
ties" is over segments that both decided; "with ties" over all that both judged, a tie being an answer like others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rushes.judges.base import Judge
from rushes.judges.label_agreement import Unit, labels_by, ratings_of
from rushes.metrics.base import Shot
from rushes.records import HUMAN, Preference, majority
from rushes.stats import Interval, wilson, win_rate

ALWAYS = 0.95
CERTAINLY = 0.75  # low end of the interval of what is always so: 19 of 20 may be a judge that is right in three of four
LIKES_STILL = 0.1  # share of frozen clips that a sound judge prefers at most
HARDLY_BETTER = 0.6  # agreement with people below which a judge that may be at chance is of no use
FROZEN_AT = (0.0, 0.2, 0.4, 0.8)  # where in the clip the frame is taken from: 0, 24, 48 and 96 of 121, as DenseDPO does
_FEW = 10


@dataclass(frozen=True)
class Audit:
    """One judge on one question at one segment length; shares are null where there is nothing to count."""

    judge: str
    dimension: str  # the question
    segment_s: float | None  # seconds; null = whole clips, by the majority of their segments
    segments: int  # segments that the judge was asked about
    unjudged: int  # segments without an answer
    ties: float  # share of the judged segments
    without_ties: Interval | None  # agreement with people
    with_ties: Interval | None  # agreement with ties as an answer of their own
    first_slot: Interval | None  # how often the clip shown first won, among decided answers
    # how often both answers named the same clip, or a tie, among segments asked in both orders
    consistent: Interval | None
    left: Interval | None  # how often the left clip won, among decided labels


@dataclass(frozen=True)
class FrozenClipTest:
    """What a judge makes of a clip beside a frozen copy of one of its frames (DenseDPO, app. B)."""

    judge: str
    clips: int  # each frozen at four frames
    frozen_wins: Interval  # share of decided answers
    ties: int
    unjudged: int


def audit(
    rows: Sequence[Preference], people: Callable[[str, str], Collection[Preference]], groups: Mapping[str, str]
) -> list[Audit]:
    """Audit every judge, question and segment length in `rows`, and whole clips where there are segments.

    Args:
        rows: current preferences of judges.
        people: judge and question -> one preference per pair, what people other than this judge said of it together.
        groups: the prompt, or request, of each clip: pairs of one are one cluster.
    """
    wholes = [whole(row) for row in rows if row.segment_s is not None]
    audits = []
    parts: dict[tuple[str, str, float | None], list[Preference]] = {}
    for row in [*rows, *wholes]:
        parts.setdefault((row.judge, row.dimension, row.segment_s), []).append(row)
    for (judge, dimension, segment_s), part in sorted(parts.items(), key=lambda item: (*item[0][:2], item[0][2] or 0)):
        human_rows = people(judge, dimension)
        key = _keys([*human_rows, *(whole(row) for row in human_rows if row.segment_s is not None)])
        audits.append(_audit(judge, dimension, segment_s, part, key, groups))
    return audits


def _audit(
    judge: str,
    dimension: str,
    segment_s: float | None,
    rows: Sequence[Preference],
    key: Mapping[Unit, int],
    groups: Mapping[str, str],
) -> Audit:
    own = labels_by(ratings_of(rows)[dimension], judge)
    both = [(own[unit], key[unit], groups.get(unit[0], unit[0])) for unit in own.keys() & key.keys()]
    decided = [(a, b, group) for a, b, group in both if a and b]
    slots = [(slot > 0, group) for row, group in _grouped(rows, groups) for slot in row.by_slot if slot]
    orders = [(same, group) for row, group in _grouped(rows, groups) for same in _both_orders(row)]
    sides = [(label > 0, group) for row, group in _grouped(rows, groups) for label in row.labels if label]
    total, unjudged = sum(len(row.labels) for row in rows), sum(len(row.unjudged) for row in rows)
    return Audit(
        judge,
        dimension,
        segment_s,
        segments=total,
        unjudged=unjudged,
        ties=1 - len(sides) / (total - unjudged) if total > unjudged else 0.0,
        without_ties=_share((a == b, group) for a, b, group in decided),
        with_ties=_share((a == b, group) for a, b, group in both),
        first_slot=_share(slots),
        consistent=_share(orders),
        left=_share(sides),
    )


def still_test(
    judge: Judge, shots: Iterable[Shot], segment_s: float | None, tick: Callable[[], None] = lambda: None
) -> FrozenClipTest:
    """Compare each clip with copies of it frozen at four of its frames; a sound judge prefers the clip that moves.

    A clip's verdict is the majority over segments. Raises what the judge raises, ValueError for no clips.
    """
    outcomes: list[float] = []
    clusters: list[int] = []
    unjudged = 0
    for number, shot in enumerate(shots):
        for at in FROZEN_AT:
            frame = shot.frames_FHWC[int(at * (len(shot.frames_FHWC) - 1))]
            frozen = replace(shot, frames_FHWC=np.repeat(frame[None], len(shot.frames_FHWC), axis=0), media="")
            judgement = judge.compare(frozen, shot, segment_s)
            unjudged += len(judgement.unjudged) == len(judgement.labels)
            outcomes.append(float(np.sign(sum(judgement.labels))))
            clusters.append(number)
        tick()
    if not outcomes:
        raise ValueError("--static: there are no clips to freeze; import some")
    wins = win_rate(np.zeros(len(outcomes)), np.where(np.array(outcomes) > 0, 1.0, -1.0), "higher", clusters=clusters)
    return FrozenClipTest(judge.name, len(set(clusters)), wins.rate, outcomes.count(0.0), unjudged)


def findings(audits: Iterable[Audit], still: FrozenClipTest | None = None) -> list[str]:
    """What is wrong, one sentence each, with the judge's name; nothing where nothing is, or chance may explain it: each
    bound has a whole 95 % interval beyond it."""
    sentences = []
    for row in audits:
        what = f"{row.judge} ({row.dimension}, {'whole clips' if row.segment_s is None else f'{row.segment_s:g} s'})"
        if row.first_slot and row.first_slot.n >= _FEW:
            sentences += _slot_findings(what, row.first_slot)
        elif row.left and row.left.n >= _FEW and _always(row.left):
            side = "left" if row.left.value > 0.5 else "right"
            sentences.append(
                f"{what} says {side} of {_percent(row.left)}: the judge always prefers this slot, or the "
                "pairs come sorted"
            )
        if row.consistent and row.consistent.n >= _FEW and row.consistent.high < 0.5:
            sentences.append(f"{what} gives the same answer in both orders in {_percent(row.consistent)} only")
        if row.without_ties and row.without_ties.n >= _FEW and row.judge.partition(":")[0] != HUMAN:
            if row.without_ties.high < 0.5:
                sentences.append(f"{what} agrees with people in {_percent(row.without_ties)}: worse than chance")
            elif row.without_ties.low <= 0.5 and row.without_ties.high < HARDLY_BETTER:
                sentences.append(f"{what} agrees with people in {_percent(row.without_ties)}: no better than chance")
        if row.segments and wilson(row.unjudged, row.segments).low > 0.5:
            sentences.append(f"{what} could not judge {row.unjudged} of {row.segments} segments")
    if still and still.frozen_wins.low > LIKES_STILL:
        sentences.append(f"{still.judge} prefers a frozen frame to the moving clip in {_percent(still.frozen_wins)}")
    return sentences


def _always(share: Interval) -> bool:
    """Whether it is one side that nearly always won, and not by chance."""
    return max(share.value, 1 - share.value) >= ALWAYS and max(share.low, 1 - share.high) > CERTAINLY


def _slot_findings(what: str, share: Interval) -> list[str]:
    side = "first" if share.value > 0.5 else "second"
    if _always(share):
        return [
            f"{what} says {'A' if side == 'first' else 'B'} regardless of content: the {side} clip won "
            f"{_percent(share)}"
        ]
    if share.low > 0.5 or share.high < 0.5:
        return [f"{what} leans to the clip shown {side}: the first one won {_percent(share)}"]
    return []


def whole(row: Preference) -> Preference:
    """The judgement of a whole clip: the majority of its segments, and of each order's answers."""
    size = len(row.labels)
    orders = [row.by_slot[at : at + size] for at in range(0, len(row.by_slot), size)]
    gone = len(row.unjudged) == size
    return replace(
        row,
        labels=(majority(row.labels),),
        segment_s=None,
        unjudged=(0,) if gone else (),
        by_slot=tuple(majority(slots) for slots in orders),
    )


def _keys(people: Iterable[Preference]) -> dict[Unit, int]:
    ratings = ratings_of(people).values()
    return {unit: label for by_unit in ratings for unit, labels in by_unit.items() for label in labels.values()}


def _grouped(rows: Iterable[Preference], groups: Mapping[str, str]) -> Iterable[tuple[Preference, str]]:
    return ((row, groups.get(row.left, row.left)) for row in rows)


def _both_orders(row: Preference) -> list[bool]:
    size = len(row.labels)
    if len(row.by_slot) != 2 * size:
        return []
    pairs = zip(row.by_slot[:size], row.by_slot[size:], strict=True)
    return [a == -b for at, (a, b) in enumerate(pairs) if at not in row.unjudged]


def _share(counted: Iterable[tuple[bool, str]]) -> Interval | None:
    pairs = list(counted)
    if not pairs:
        return None
    hits = np.where([hit for hit, _ in pairs], 1.0, -1.0)
    return win_rate(np.zeros(len(pairs)), hits, "higher", clusters=[group for _, group in pairs]).rate


def _percent(share: Interval) -> str:
    return f"{share.value:.0%} of {share.n} [{share.low:.0%}, {share.high:.0%}]"
