"""Candidates of two systems for the same prompts and seeds -> scores, and paired differences with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from rushes.arrays import Frames
from rushes.evaluate.prompt_clusters import clusters_of_store
from rushes.evaluate.result import Metrics, metric_rows, metrics_by_shape
from rushes.evaluate.suites import MetricSuite
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.progress import ParallelMap, in_turn
from rushes.records import Candidate, Run, Score, stable_hash
from rushes.report.model import MetricRow
from rushes.stats import Key, Measure, compare_systems
from rushes.store.database import Store
from rushes.store.media import MediaFolder

PAIR = ("base", "trained")


def finished_run(store: Store, name: str) -> Run:
    """The finished run of this name; the latest, where its folder was deleted and it was trained again.

    Raises:
        ValueError: there is none.
    """
    runs = {run.name: run for run in store.runs()}
    if name not in runs:
        there = f"there is {', '.join(runs)}" if runs else "there is none yet"
        train = f"rushes train {quote(str(store.project))}"
        raise ValueError(f"no run {name!r} is finished in {store.project} ({there}); run `{train}` to its end")
    return runs[name]


def unmeasured(store: Store, candidates: Sequence[Candidate], suite: MetricSuite) -> list[Candidate]:
    """Candidates that have no score by this suite."""
    done = {s.subject for s in store.scores() if s.measured_by == suite.name}
    return [candidate for candidate in candidates if candidate.id not in done]


def score(
    store: Store,
    candidates: Sequence[Candidate],
    suite: MetricSuite,
    still: Callable[[Candidate], Frames | None] = lambda candidate: None,
    tick: Callable[[], None] = lambda: None,
    spread: ParallelMap = in_turn,
) -> None:
    """Measure candidates, each stored before the next is read; values that are not finite are not stored.

    `still` gives the frame [H, W, 3] that a candidate should start from, where there is one. Processes that help
    (`spread`) call `measure_each`.
    """
    for _, scores in measure_each(store.media, candidates, suite, still, spread):
        store.add(scores)
        tick()


def measure_each(
    media: MediaFolder,
    candidates: Sequence[Candidate],
    suite: MetricSuite,
    still: Callable[[Candidate], Frames | None],
    spread: ParallelMap = in_turn,
) -> Iterator[tuple[Candidate, list[Score]]]:
    """Candidates with their scores; nothing is stored."""

    def measure(candidate: Candidate) -> list[Score]:
        video = read_video(media.path(candidate.media), fps=candidate.fps, size_px=suite.size_px)
        values = suite.measure(Shot(video.frames_FHWC, video.fps, candidate.caption, still(candidate)))
        return [
            Score(
                id=stable_hash([candidate.id, metric, suite.name]),
                subject=candidate.id,
                metric=metric,
                value=value,
                per_segment=seconds if all(math.isfinite(s) for s in seconds) else (),
                measured_by=suite.name,
            )
            for metric, (value, seconds) in values.items()
            if math.isfinite(value)
        ]

    return spread(candidates, measure)


def measures(store: Store, suite: MetricSuite, rows: Mapping[str, Mapping[Key, Candidate]]) -> list[Measure]:
    """The scores that the suite gave to systems' candidates."""
    by_metric = []
    for metric, better in suite.better.items():
        scores = {s.subject: s.value for s in store.scores(metric=metric) if s.measured_by == suite.name}
        values = {
            system: {key: scores[row.id] for key, row in of.items() if row.id in scores} for system, of in rows.items()
        }
        by_metric.append(Measure(metric, better, values, suite.units.get(metric, "")))
    return by_metric


@dataclass(frozen=True)
class PairedScores:
    """Scores of two systems' takes that share prompt and seed, read once and compared in several ways."""

    suite: MetricSuite
    sides: Mapping[str, Mapping[Key, Candidate]]  # the takes of both systems, keyed by prompt and place
    measured: Sequence[Measure]
    cluster_of: Mapping[str, str]  # prompts that share footage are one cluster of the bootstrap
    seed: int  # of the bootstrap

    def compare(self) -> dict[str, MetricRow]:
        """Differences by metric.

        A metric that could not be measured on either side leaves the pair out of that metric; a metric without any is
        not in the table.

        Raises ValueError: none that the meter's headline metric (without one, any metric) could measure.
        """
        table = compare_systems(
            PAIR, self.measured, seed=self.seed, cluster_of=self.cluster_of, primary=self.suite.headline
        )
        metrics = {row.name: row for row in metric_rows(self.measured, table)[PAIR]}
        if self.suite.headline not in (*metrics, "") or not metrics:
            what = self.suite.headline or "nothing"
            raise ValueError(
                f"{what} could not be measured on any of the {len(self.sides[PAIR[0]])} pairs, so there is no verdict; "
                "look at some clips in media/: they may be too short, or nothing in them moves"
            )
        return metrics

    def compare_by_shape(self) -> dict[str, Metrics]:
        """The same by the size and length of takes; see `metrics_by_shape`."""
        return metrics_by_shape(
            PAIR,
            self.measured,
            self.sides,
            seed=self.seed,
            cluster_of=self.cluster_of,
            headline=self.suite.headline,
        )


def paired_scores(
    store: Store, suite: MetricSuite, base: Sequence[Candidate], trained: Sequence[Candidate], *, seed: int = 0
) -> PairedScores:
    """What the suite measured on takes of two systems that share prompt and seed.

    Raises ValueError: they share none.
    """
    partners = {(candidate.group, candidate.seed): candidate for candidate in trained}
    pairs = [(c, partners[c.group, c.seed]) for c in base if (c.group, c.seed) in partners]
    if not pairs:
        raise ValueError("the systems have no held-out prompt and seed in common; run `rushes evaluate`")
    sides = {system: {(pair[0].group, at): pair[k] for at, pair in enumerate(pairs)} for k, system in enumerate(PAIR)}
    cluster_of = clusters_of_store(store, (take for pair in pairs for take in pair))
    return PairedScores(suite, sides, measures(store, suite, sides), cluster_of, seed)
