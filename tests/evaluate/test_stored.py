"""Candidates to scores and paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from rushes.evaluate import stored as evaluate
from rushes.evaluate import suites
from rushes.evaluate.suites import MetricSuite
from rushes.media.write import write_video
from rushes.metrics.base import Shot
from rushes.records import Candidate, Score
from rushes.stats import paired_difference
from rushes.store.database import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as made:
        yield made


def row(id: str, group: str, system: str = "base", seed: int = 0, media: str = "") -> Candidate:
    return Candidate(
        id, media, f"a dog in {group}", "take", group, group, system, "w", seed, 48, 32, 8, 4.0, None, "eval"
    )


def candidate(store: Store, id: str, system: str, group: str = "g", seed: int = 0, level: int = 90) -> Candidate:
    path = store.project / f"{id}.mp4"
    frames = np.full((8, 32, 48, 3), level, np.uint8)
    frames[4:] += 10
    write_video(path, frames, 4)
    take = row(id, group, system, seed, store.put_media(path))
    store.add([take])
    return take


def suite(values: Mapping[str, float] | None = None, name: str = "test-1") -> MetricSuite:
    """Brightness by pixels; `gap` only where clips are bright."""

    def measure(shot: Shot) -> suites.SuiteValues:
        means = shot.frames_FHWC.mean((1, 2, 3))
        gap = float(means[-1] - means[0]) if means[0] > 50 else math.nan
        return {
            "bright": (float(means.mean()), (float(means[:4].mean()), float(means[4:].mean()))),
            "gap": (gap, (math.nan,)),
        }

    return MetricSuite(name, {"bright": "higher", "gap": "lower"}, {"bright": "levels"}, "bright", None, measure)


def test_scores_are_what_the_suite_says_and_measured_once(store: Store) -> None:
    rows = [candidate(store, "a", "base", level=90), candidate(store, "b", "base", level=20)]
    assert evaluate.unmeasured(store, rows, suite()) == rows
    evaluate.score(store, rows, suite())
    assert evaluate.unmeasured(store, rows, suite()) == []
    assert evaluate.unmeasured(store, rows, suite(name="test-2")) == rows
    found = {(score.subject, score.metric): score for score in store.scores()}
    assert set(found) == {("a", "bright"), ("a", "gap"), ("b", "bright")}  # what is not finite is not stored
    assert found["a", "bright"].value == pytest.approx(95, abs=2)
    assert found["a", "bright"].per_segment == pytest.approx((90, 100), abs=2)
    assert found["a", "gap"].per_segment == ()
    assert {score.measured_by for score in found.values()} == {"test-1"}


def test_a_new_metric_is_measured_of_takes_that_were_measured_before(
    store: Store, add_metric: Callable[[], str]
) -> None:
    base, run = [candidate(store, "a", "base", level=90)], [candidate(store, "b", "run", level=20)]
    evaluate.score(store, [*base, *run], suites.general_suite())
    name = add_metric()
    general = suites.general_suite()
    missing = evaluate.unmeasured(store, [*base, *run], general)
    assert missing == [*base, *run]
    evaluate.score(store, missing, general)
    assert name in evaluate.paired_scores(store, general, base, run).compare()


def test_shots_get_the_still_they_should_start_from(store: Store) -> None:
    first = candidate(store, "a", "base")
    general = suites.general_suite()
    evaluate.score(store, [first], general, lambda c: np.full((32, 48, 3), 90, np.uint8))
    (score,) = store.scores(metric="first_frame_fidelity")
    assert score.value > 0.95
    other = candidate(store, "b", "base", level=91)
    evaluate.score(store, [other], general)
    assert len(store.scores(metric="first_frame_fidelity")) == 1


def test_pairs_share_prompt_and_seed(store: Store) -> None:
    base = [candidate(store, f"b{g}{s}", "base", g, s, 60 + s) for g in "xy" for s in (0, 1)]
    run = [candidate(store, f"r{g}{s}", "run", g, s, 80 + s) for g in "yz" for s in (1, 2)]
    sides = evaluate.paired_scores(store, suite(), base, run).sides
    assert [[take.id for take in sides[system].values()] for system in evaluate.PAIR] == [["by1"], ["ry1"]]


def put(store: Store, metric: str, values: Mapping[str, float], by: str = "test-1") -> None:
    store.add(
        Score(f"{metric} {subject} {by}", subject, metric, value, measured_by=by) for subject, value in values.items()
    )


def test_table_is_the_paired_difference_clustered_by_prompt(store: Store) -> None:
    pairs = [tuple(row(f"{side}{k}", f"prompt {k // 2}", seed=k % 2) for side in "bt") for k in range(8)]
    base = [3.0, 5.0, 4.0, 6.0, 2.0, 4.0, 7.0, 5.0]
    trained = [2.0, 5.5, 3.0, 4.0, 2.5, 3.0, 6.0, 4.5]
    put(store, "bright", dict(zip([b.id for b, _ in pairs], base, strict=True)))
    put(store, "bright", dict(zip([t.id for _, t in pairs], trained, strict=True)))
    put(store, "gap", {"b0": 1.0, "t0": 2.0, "b1": 5.0})
    put(store, "bright", {"b0": 100.0}, by="another meter")
    table = evaluate.paired_scores(store, suite(), *zip(*pairs, strict=True), seed=3).compare()
    expected = paired_difference(base, trained, clusters=[b.group for b, _ in pairs], seed=3)
    bright, gap = table["bright"], table["gap"]
    assert (bright.base, bright.trained, bright.n) == pytest.approx((4.5, 3.8125, 8))
    assert bright.interval == expected
    assert bright.difference == pytest.approx(bright.trained - bright.base)
    assert (bright.better, bright.unit, bright.prompts) == ("higher", "levels", 4)
    assert (gap.n, gap.base, gap.trained) == (1, 1.0, 2.0)


def test_comparison_without_pairs_or_headline_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no held-out prompt and seed in common"):
        evaluate.paired_scores(store, suite(), [row("b", "p")], [row("t", "q")])
    put(store, "gap", {"b": 1.0, "t": 2.0})
    with pytest.raises(ValueError, match="bright could not be measured on any of the 1"):
        evaluate.paired_scores(store, suite(), [row("b", "p")], [row("t", "p")]).compare()
