"""Judges with known faults, and what the audit says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from rushes.judges.audit import Audit, FrozenClipTest, audit, findings, still_test, whole
from rushes.judges.base import Judgement, PointwiseJudge
from rushes.metrics.base import Shot
from rushes.records import Preference
from rushes.stats import Interval

PAIRS, SEGMENTS = 40, 4
TRUTH = np.random.default_rng(0).choice([-1, 0, 1], size=(PAIRS, SEGMENTS), p=[0.4, 0.2, 0.4])
GROUPS = {f"{side}{k}": f"prompt {k}" for k in range(PAIRS) for side in "lr"}
Says = Callable[[int, int], int]  # true label, +1 the first clip is better -> what the judge says of the first clip


def judged(name: str, says: Says, segment_s: float | None = 1.0) -> list[Preference]:
    """Labels of a judge that is asked in both orders."""
    rows = []
    for k, truth in enumerate(TRUTH):
        there = [says(int(label), k) for label in truth]
        back = [says(-int(label), k) for label in truth]
        labels = tuple(a if a == -b else 0 for a, b in zip(there, back, strict=True))
        rows.append(Preference(f"{name}{k}", f"l{k}", f"r{k}", labels, name, segment_s, by_slot=(*there, *back)))
    return rows


PEOPLE = [Preference(f"p{k}", f"l{k}", f"r{k}", tuple(map(int, truth)), "human", 1.0) for k, truth in enumerate(TRUTH)]


def people(judge: str, dimension: str) -> Sequence[Preference]:
    return PEOPLE if dimension == "overall" else ()


def by_name(rows: list[Preference]) -> dict[tuple[str, float | None], Audit]:
    return {(one.judge, one.segment_s): one for one in audit(rows, people, GROUPS)}


def test_a_sound_judge_has_no_findings() -> None:
    found = by_name(judged("sound", lambda label, k: label))
    one = found["sound", 1.0]
    assert one.without_ties and one.with_ties and one.first_slot and one.consistent
    assert one.without_ties.value == one.with_ties.value == one.consistent.value == 1.0
    assert one.first_slot.value == 0.5 and one.segments == PAIRS * SEGMENTS and one.unjudged == 0
    assert one.ties == pytest.approx((TRUTH == 0).mean())
    assert findings(found.values()) == []


@pytest.mark.parametrize(("slot", "letter"), [(1, "A"), (-1, "B")])
def test_a_judge_that_always_says_the_same_is_named(slot: int, letter: str) -> None:
    found = by_name(judged("stuck", lambda label, k: slot))
    one = found["stuck", 1.0]
    assert one.first_slot and one.consistent and one.first_slot.value == (slot > 0) and one.consistent.value == 0
    assert one.without_ties is None and one.ties == 1.0
    told = findings(found.values())
    assert any(text.startswith(f"stuck (overall, 1 s) says {letter} regardless of content") for text in told)
    assert any("same answer in both orders in 0%" in text for text in told)


def test_a_leaning_judge_is_named_and_a_fair_coin_is_no_better_than_chance() -> None:
    rng = np.random.default_rng(1)
    leaning = by_name(judged("leaning", lambda label, k: 1 if rng.random() < 0.3 else label or 1))
    assert any("leans to the clip shown first" in text for text in findings(leaning.values()))
    rows = []
    for k, truth in enumerate(TRUTH):
        labels = tuple(int(v) for v in rng.choice([-1, 1], size=len(truth)))
        rows.append(Preference(f"coin{k}", f"l{k}", f"r{k}", labels, "coin", 1.0))
    coin = by_name(rows)["coin", 1.0]
    assert coin.without_ties and coin.without_ties.low < 0.5 < coin.without_ties.high
    assert any("coin (overall, 1 s) agrees with people" in t and "no better than chance" in t for t in findings([coin]))
    people = ["human", "human:ada"]
    for name, program in (("humanlike", True), *((name, False) for name in people)):
        assert any(f"{name} (" in text for text in findings([replace(coin, judge=name)])) == program, name


def test_no_alarm_where_chance_explains_it() -> None:
    """One of four frozen clips preferred, with an interval from nothing to everything; ten votes of ten."""
    assert findings([], FrozenClipTest("random", 2, Interval(0.25, 0.0, 0.99, 8), 0, 0)) == []
    few = by_name(judged("stuck", lambda label, k: 1))["stuck", 1.0]
    for first, named in ((Interval(1.0, 0.72, 1.0, 10), False), (Interval(1.0, 0.9, 1.0, 40), True)):
        row = replace(few, first_slot=first, consistent=Interval(0.4, 0.2, 0.6, 10))
        assert any("regardless of content" in text for text in findings([row])) == named
        assert not any("both orders" in text for text in findings([row]))
    unsure = replace(few, first_slot=None, without_ties=Interval(0.5, 0.3, 0.7, 12))
    assert findings([unsure]) == findings([replace(few, first_slot=None)])
    mostly = replace(unsure, segments=10, unjudged=6, consistent=None)
    assert not any("could not judge" in text for text in findings([mostly]))


def test_a_judge_that_is_the_wrong_way_round_is_worse_than_chance() -> None:
    found = by_name(judged("upside down", lambda label, k: -label))
    assert any("worse than chance" in text for text in findings(found.values()))


def test_whole_clips_are_audited_by_majority_and_by_segment_length() -> None:
    found = by_name([*judged("sound", lambda label, k: label), *judged("half", lambda label, k: label, 0.5)])
    assert set(found) == {("sound", None), ("sound", 1.0), ("half", None), ("half", 0.5)}
    clip, half = found["sound", None], found["half", 0.5]
    assert clip.without_ties and clip.without_ties.value == 1.0 and clip.segments == PAIRS
    assert half.without_ties is None  # people did not label half seconds
    assert whole(PEOPLE[0]).labels == (int(np.sign(TRUTH[0].sum())),)


def test_what_was_not_judged_counts_neither_way() -> None:
    rows = [
        Preference(f"q{k}", f"l{k}", f"r{k}", (0,) * SEGMENTS, "mute", 1.0, unjudged=tuple(range(SEGMENTS)))
        for k in range(PAIRS)
    ]
    one = by_name(rows)["mute", 1.0]
    assert one.unjudged == one.segments and one.with_ties is None and one.ties == 0.0
    assert any("could not judge 160 of 160" in text for text in findings([one]))


def moving(seed: int) -> Shot:
    frames = np.full((16, 32, 32, 3), 40, np.uint8)
    for k in range(16):
        frames[k, 8:16, (k + seed) % 24 : (k + seed) % 24 + 8] = 220
    return Shot(frames, 8.0)


def change(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
    return (float(np.abs(np.diff(shot.frames_FHWC.astype(float), axis=0)).mean()),)


@pytest.mark.parametrize(("sign", "wins"), [(1.0, 0.0), (-1.0, 1.0)])
def test_a_judge_that_prefers_frozen_clips_is_named(sign: float, wins: float) -> None:
    judge = PointwiseJudge("still", lambda shot, s: tuple(sign * v for v in change(shot, s)), 0.0)
    found = still_test(judge, [moving(seed) for seed in range(6)], None)
    assert found.frozen_wins.value == wins and found.frozen_wins.n == 24 and found.clips == 6
    told = findings([], found)
    assert bool(told) == (wins == 1.0)
    assert not told or told[0].startswith("still prefers a frozen frame to the moving clip in 100% of 24")


def test_ties_on_frozen_clips_are_counted_and_not_wins() -> None:
    class Blind:
        name, size_px = "blind", None

        def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
            return Judgement((0, 0), None, unjudged=(0, 1))

    found = still_test(Blind(), [moving(0)], 1.0)
    assert (found.ties, found.unjudged, found.frozen_wins.value) == (4, 4, 0.0)
    with pytest.raises(ValueError, match="no clips to freeze"):
        still_test(Blind(), [], None)
