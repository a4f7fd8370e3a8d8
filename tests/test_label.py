"""Candidates to preferences: which pairs are compared, once each, and what is written of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rushes.judges.base import Judgement, PointwiseJudge
from rushes.label import label, pairs, rate
from rushes.media.write import write_video
from rushes.metrics.base import Shot
from rushes.records import Candidate, Preference
from rushes.store.database import Store


class Brightness:
    """Brighter is better, by the second; keeps count of what it saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def judge(self, margin: float = 5) -> PointwiseJudge:
        return PointwiseJudge("brightness", self._score, margin, (16, 16))

    def _score(self, shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        assert shot.frames_FHWC.shape[1:3] == (16, 16)
        self.seen.append(shot.caption)
        size = len(shot.frames_FHWC) if segment_s is None else round(segment_s * shot.fps)
        return tuple(float(shot.frames_FHWC[at : at + size].mean()) for at in range(0, len(shot.frames_FHWC), size))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as made:
        yield made


def candidate(store: Store, id: str, levels: tuple[int, ...], **changes: object) -> Candidate:
    """A clip of as many seconds as there are levels of brightness."""
    path = store.project / f"{id}.mp4"
    frames = np.repeat(np.array(levels, np.uint8), 4)[:, None, None, None]
    write_video(path, np.broadcast_to(frames, (4 * len(levels), 32, 32, 3)).copy(), 4)
    values = {"kind": "take", "group": "g", "clip_id": "g", "system": "base", "made_by": "w", "seed": 0} | {
        "width_px": 32, "height_px": 32, "frames": 4 * len(levels), "fps": 4.0,
    }  # fmt: skip
    row = Candidate(id=id, media=store.put_media(path), caption=id, **(values | changes))  # type: ignore[arg-type]
    store.add([row])
    return row


def run(
    store: Store, judge: PointwiseJudge, segment_s: float | None = 1.0, settings: str = "s"
) -> dict[int | None, int]:
    return dict(label(store, judge, store.candidates(), segment_s=segment_s, settings_hash=settings))


def test_pairs_are_of_one_request_made_in_one_way(store: Store) -> None:
    base = candidate(store, "a", (10, 20))
    same = candidate(store, "b", (10, 30))
    third = candidate(store, "c", (10, 40))
    others = [
        candidate(store, "other group", (1, 2), group="h"),
        candidate(store, "other kind", (1, 3), kind="guided", eta=0.7),
        candidate(store, "other level", (1, 4), kind="guided", eta=0.8),
        candidate(store, "other weights", (1, 5), made_by="v"),
        candidate(store, "other settings", (1, 6), settings_hash="s"),
    ]
    found = [(left.id, right.id) for left, right in pairs([base, *others, same, third])]
    assert found == [("a", "b"), ("a", "c"), ("b", "c")]


def test_labels_follow_the_judge_segment_by_segment(store: Store) -> None:
    candidate(store, "a", (200, 50, 100))
    candidate(store, "b", (50, 200, 100))
    counts = run(store, Brightness().judge())
    assert counts == {1: 1, -1: 1, 0: 1}
    (made,) = store.preferences()
    assert (made.left, made.right, made.labels, made.segment_s, made.judge) == ("a", "b", (1, -1, 0), 1.0, "brightness")
    assert made.created_at and made.settings_hash == "s"


def test_each_pair_is_judged_once_under_the_same_settings(store: Store) -> None:
    for id, level in (("a", 10), ("b", 60), ("c", 120)):
        candidate(store, id, (level, level))
    first, again = Brightness(), Brightness()
    counts = run(store, first.judge())
    assert run(store, again.judge()) == counts == {-1: 6}
    assert (len(first.seen), again.seen) == (6, [])
    assert len(store.preferences()) == 3
    candidate(store, "d", (240, 240))
    run(store, again.judge())
    assert len(again.seen) == 6 and len(store.preferences()) == 6
    run(store, again.judge(margin=50), settings="wider")
    run(store, again.judge(), segment_s=None)
    assert len(store.preferences()) == 18


def test_stopped_stage_keeps_what_it_judged(store: Store) -> None:
    for id, level in (("a", 10), ("b", 60), ("c", 120)):
        candidate(store, id, (level, level))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(store, Brightness().judge(), store.candidates(), segment_s=1.0, settings_hash="s", tick=stop)
    assert len(store.preferences()) == 1
    run(store, Brightness().judge())
    assert [(p.left, p.right) for p in store.preferences()] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_correction_is_not_judged_again(store: Store) -> None:
    for id, level in (("a", 10), ("b", 60)):
        candidate(store, id, (level, level))
    run(store, Brightness().judge())
    (made,) = store.preferences()
    store.add([Preference("mine", "a", "b", (1, 1), "me", 1.0, supersedes=made.id)])
    run(store, Brightness().judge())
    assert [p.id for p in store.preferences()] == ["mine"]


class Hesitant:
    """Says of each pair that the left clip is better, in all segments but those named."""

    name, size_px = "hesitant", None

    def __init__(self, *unjudged: int) -> None:
        self.unjudged = unjudged

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        return Judgement(tuple(0 if at in self.unjudged else 1 for at in (0, 1)), None, unjudged=self.unjudged)


def test_a_label_that_says_no_more_when_asked_again_is_the_newest_all_the_same(store: Store) -> None:
    for id, level in (("a", 10), ("b", 60)):
        candidate(store, id, (level, level))

    def asked(judge: Hesitant, settings: str) -> list[tuple[int, ...]]:
        label(store, judge, store.candidates(), segment_s=1.0, settings_hash=settings, asks=True)
        return [row.unjudged for row in store.preferences() if row.settings_hash == settings]

    assert asked(Hesitant(0, 1), "s") == []
    assert asked(Hesitant(0), "s") == [(0,)] and asked(Hesitant(), "other") == [()]
    assert asked(Hesitant(0, 1), "s") == [(0,), (0,)]  # stored again, as it is what was asked for last
    assert list(store.preferences())[-1].settings_hash == "s"
    assert label(store, Hesitant(1), store.candidates(), segment_s=1.0, settings_hash="s", asks=True) == {1: 1, None: 1}


def test_clips_of_unequal_length_are_refused(store: Store) -> None:
    candidate(store, "a", (10, 20))
    candidate(store, "b", (10, 20, 30))
    with pytest.raises(ValueError, match="2 and 3 segments cannot be compared"):
        run(store, Brightness().judge())


def test_each_candidate_is_scored_once_out_of_ten(store: Store) -> None:
    for id, level in (("a", 20), ("b", 255), ("c", 102)):
        candidate(store, id, (level, level))
    first, again = Brightness(), Brightness()
    rater = replace(first.judge(), worst=0.0, best=255.0)
    assert rate(store, rater, store.candidates()) == {True: 3}
    made = {score.subject: score for score in store.scores(metric="brightness")}
    assert {id: round(score.value, 1) for id, score in made.items()} == {"a": 0.7, "b": 10.0, "c": 4.0}
    assert {score.measured_by for score in made.values()} == {"brightness"}
    assert rate(store, replace(again.judge(), worst=0.0, best=255.0), store.candidates()) == {True: 3}
    assert (len(first.seen), again.seen) == (3, [])


def test_what_cannot_be_scored_is_counted(store: Store) -> None:
    candidate(store, "a", (10, 20))
    unknown = PointwiseJudge("blind", lambda shot, segment_s: (math.nan,), 0.0)
    assert rate(store, unknown, store.candidates()) == {False: 1}
    assert store.scores() == ()
