"""How far the labels, or scores, that a recipe trains on are. Free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, replace

from rushes import label
from rushes.config.tables import Settings
from rushes.project.labels import to_compare
from rushes.project.recipe_table import by_majority
from rushes.records import Candidate, Clip
from rushes.store.annotators import ALL_JUDGES, HUMAN, labels_of, labels_to_train_on
from rushes.store.database import Store


@dataclass(frozen=True)
class LabelCounts:
    """Pairs of takes, or takes where they are scored."""

    labelled: int  # that somebody answered, "cannot tell" and ties too
    wanted: int | None  # that there are; null = label.by is none
    decided: int  # of `labelled`, such as a recipe can compare; where takes are scored, prompts with a pair
    judge: str = ""  # that training has to be told, as there are labels of several
    scored: bool = False  # whether takes are scored, and not compared


def count_labels(store: Store, settings: Settings, needs: Set[str]) -> LabelCounts | None:
    """Labels or scores that the recipe needs; None where it needs none. Raises ValueError: a damaged database."""
    if not needs & {"labels", "scores"}:
        return None
    every = (*to_compare(store, settings), *store.candidates(split="train", kind="imported"))
    kind = "guided" if "guided" in needs else "take"
    takes = [take for take in every if take.kind in (kind, "imported")]
    counts = _scores(store, settings, takes) if "scores" in needs else _pairs(store, settings, takes)
    nobody = settings.label.by == "none" and counts.labelled
    return replace(counts, wanted=None if nobody else counts.wanted)


def _pairs(store: Store, settings: Settings, takes: list[Candidate]) -> LabelCounts:
    options, ids = settings.train.options, {take.id for take in takes}
    judge, dimension = str(options.get("judge", "")), str(options.get("dimension", "overall"))
    judge = "" if judge == ALL_JUDGES else judge
    labelled = {frozenset((row.left, row.right)) for row in labels_of(store, judge, dimension)}
    labelled = {pair for pair in labelled if pair <= ids}
    every = labels_to_train_on(store, judge, dimension, segment_s=options.get("segment_s", "newest"))
    rows = [row for row in every if {row.left, row.right} <= ids]
    whole = by_majority(settings.train)
    decided = {frozenset((row.left, row.right)) for row in rows if (sum(row.labels) if whole else any(row.labels))}
    by = Counter(row.judge for row in rows)
    several = len(by) > 1 and not options.get("judge")
    pairs = {frozenset((left.id, right.id)) for left, right in label.pairs(takes)}
    most = HUMAN if HUMAN in by else max(by, key=lambda name: by[name], default="")
    return LabelCounts(len(labelled), len(pairs), len(decided), most if several else "")


def _scores(store: Store, settings: Settings, takes: list[Candidate]) -> LabelCounts:
    options = settings.train.options
    scores = {row.subject: row.value for row in store.scores(metric=str(options.get("metric", "human")))}
    by_prompt: dict[str, set[float]] = {}
    rows: list[Clip | Candidate] = [*store.clips("train"), *takes]
    for row in rows:
        if row.id in scores:
            clip = row.clip_id if isinstance(row, Candidate) else row.id
            by_prompt.setdefault(row.caption if options.get("pairs") == "caption" else clip, set()).add(scores[row.id])
    wanted = len(takes) if settings.label.form == "scores" else None
    return LabelCounts(len(scores), wanted, sum(len(values) > 1 for values in by_prompt.values()), scored=True)
