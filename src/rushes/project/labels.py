"""Labels and scores for takes by a program: the world's verifier, a metric, a model behind an endpoint, a reward model.

What people do is in `rushes.project.labeling_page`. Free of torch.
"""

from __future__ import annotations

import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from rushes import label
from rushes.config.tables import LabelSettings, Settings
from rushes.formats.caption_files import shown
from rushes.judges.base import Judge, PointwiseJudge
from rushes.judges.build import judge_of
from rushes.judges.reward import MOST_LINES
from rushes.judges.vlm import AnswerCounts
from rushes.progress import ParallelMap, in_turn
from rushes.records import HUMAN, INLINE, Candidate, Clip, lines_of, stable_hash
from rushes.store.annotators import labels_to_train_on
from rushes.store.database import Store
from rushes.text_reader import counted

if TYPE_CHECKING:
    from rushes.project.processes import WorkerProcess
    from rushes.project.project import OpenProject

P = TypeVar("P")
R = TypeVar("R")
PROBE_PAIRS = 10  # pairs of `rushes tune eta` that people are offered at each level


@dataclass(frozen=True)
class LabelResult:
    """Labels of pairs of takes, or scores of takes; what was not asked for is null."""

    by: str  # judge, or "human:"
    pairs: int | None = None  # compared
    left: int | None = None  # segments in which the left take is better
    tie: int | None = None  # segments without a better take
    right: int | None = None  # segments in which the right take is better
    unjudged: int | None = None  # segments without an answer, which are no ties; a model is asked again the next time
    scored: int | None = None  # takes with a score
    not_scored: int | None = None  # takes that the judge gave no score
    refused: int | None = None  # lines of scores that could not be used
    strange: int | None = None  # lines of scores for clips that the project lacks
    # questions to a model: `answered`, and by its cause each that was not
    questions: Mapping[str, int] = field(default_factory=dict, metadata=INLINE)

    def lines(self) -> list[str]:
        """What was labelled in a sentence, and below it whatever else there is a number of."""
        sentence = f"{counted(self.scored or 0, 'take')} with a score by {self.by}"
        if self.pairs is not None:
            sentence = (
                f"{counted(self.pairs, 'pair')} labelled by {self.by}: the left take is better in "
                f"{counted(self.left or 0, 'segment')}, the right in {self.right or 0}, neither in {self.tie or 0}"
            )
        return [sentence, *lines_of(self, "by", "pairs", "left", "right", "tie", "scored")]


def label_takes(project: OpenProject) -> LabelResult:
    """Labels in the form that the settings ask for; where people label, those that are there.

    Raises:
        ValueError: as `label_pairs` and `score_takes` do, or people were named and have not labelled yet.
    """
    if project.settings.label.by == "human":
        return (_scored_by_people if project.settings.label.form == "scores" else _by_people)(project.store)
    return (score_takes if project.settings.label.form == "scores" else label_pairs)(project)


def label_pairs(project: OpenProject) -> LabelResult:
    """Labels for pairs of takes.

    Raises:
        ValueError: `label.by` is none, or there is nothing to compare.
    """
    settings, account = project.settings.label, AnswerCounts()
    project.make_room()
    with judge_of(project.settings, project.store.project, account) as judge:
        refused, strange = _say_left_out(project, judge)
        candidates = to_compare(project.store, project.settings)
        pairs = sum(1 for _ in label.pairs(candidates))
        if not pairs:
            raise ValueError(
                f"{counted(len(candidates), 'take')} give no pair to compare; run `rushes generate` "
                "with generate.takes at least 2"
            )
        made_from, segment_s = _made_from(settings), None if settings.whole else settings.segment_s
        with project.timed("label", pairs) as tick:
            counts = label.label(
                project.store,
                judge,
                candidates,
                segment_s=segment_s,
                settings_hash=made_from,
                asks=settings.by == "vlm",
                tick=lambda: tick(1),
                spread=_shared(project, segment_s, account),
            )
    return replace(_result(judge.name, pairs, counts, account.facts()), refused=refused, strange=strange)


def _say_left_out(project: OpenProject, judge: Judge) -> tuple[int | None, int | None]:
    """Name what of the judge's source could not be used, and what is of no clip here; how much that is."""
    if not isinstance(judge, PointwiseJudge):
        return None, None
    for line in judge.left_out[:MOST_LINES]:
        project.say(f"left out: {line}")
    if len(judge.left_out) > MOST_LINES:
        project.say(f"left out: {counted(len(judge.left_out) - MOST_LINES, 'line')} more")
    rows: Iterable[Clip | Candidate] = chain(project.store.stream(Clip), project.store.stream(Candidate))
    strange = judge.scored.difference(row.media for row in rows) if judge.scored else ()
    if strange:
        project.say(
            f"ignored, scores of clips that the project does not have: {len(strange)} ({shown(sorted(strange))}); "
            "`rushes labels clips` lists the clips that it has"
        )
    return len(judge.left_out) or None, len(strange) or None


def _shared(project: OpenProject, segment_s: float | None, account: AnswerCounts) -> ParallelMap:
    """Who judges. A model behind an endpoint is asked by the first of several processes alone; workers of a cluster ask
    it themselves, at most as many as may ask at once."""
    settings, many = project.settings, project.ranks.size > 1 and not project.ranks.meet
    by_model = settings.label.by == "vlm"
    if by_model and not many:
        return in_turn
    most = settings.endpoint.parallel if by_model else 0
    order = partial(_judge_along, settings, segment_s)
    share = project.ranks.sharing(order, on_gpu=settings.label.by == "reward", most=most)

    def noted(parts: Sequence[P], work: Callable[[P], R]) -> Iterator[tuple[P, R]]:
        for part, (result, facts) in share(parts, partial(_noting, work, account)):
            if many:
                account.add(facts)
            yield part, result

    return noted


def _noting(work: Callable[[P], R], account: AnswerCounts, part: P) -> tuple[R, Mapping[str, int]]:
    """What a judge says of a part, and what became of the questions that it asked for it."""
    before = Counter(account.facts())
    return work(part), Counter(account.facts()) - before


def _judge_along(settings: Settings, segment_s: float | None, worker: WorkerProcess) -> None:
    """What a process that is not the first does of it."""
    worker.forget()
    account = AnswerCounts()
    # Each asks one question at a time: together they are as many as may ask at once.
    alone = settings.model_copy(update={"endpoint": settings.endpoint.model_copy(update={"parallel": 1})})

    def spread(parts: Sequence[P], work: Callable[[P], R]) -> Iterator[tuple[P, R]]:
        return ((part, result) for part, (result, _) in worker.ranks.in_rounds(parts, partial(_noting, work, account)))

    with judge_of(alone, worker.folder, account) as judge:
        if settings.label.form == "scores":
            assert isinstance(judge, PointwiseJudge)
            deque(label.rate_each(worker.media, judge, (), spread), maxlen=0)
        else:
            deque(label.judge_each(worker.media, judge, (), segment_s, spread), maxlen=0)


def _by_people(store: Store) -> LabelResult:
    rows = labels_to_train_on(store, HUMAN)
    if not rows:
        folder = shlex.quote(str(store.project))
        raise ValueError(
            f"label.by is human, and people have not labelled yet; run `rushes label {folder}`, label pairs on its "
            "page, then run this command again"
        )
    counts: Counter[int | None] = sum((label.mark_counts(row) for row in rows), Counter())
    return _result(HUMAN, len(rows), counts, {})


def _scored_by_people(store: Store) -> LabelResult:
    subjects = {score.subject for score in store.scores(metric=HUMAN)}
    takes = [take.id for take in store.candidates(split="train") if take.kind != "probe"]
    scored = sum(take in subjects for take in takes)
    if not scored:
        folder = shlex.quote(str(store.project))
        raise ValueError(
            f"label.by is human, and people have not scored takes yet; run `rushes label {folder}` and give scores on "
            "its page, or `rushes import --scores FILE`, then run this command again"
        )
    return LabelResult(HUMAN, scored=scored, not_scored=len(takes) - scored)


def _result(by: str, pairs: int, counts: Counter[int | None], questions: Mapping[str, int]) -> LabelResult:
    left, tie, right, unjudged = (counts[mark] for mark in (1, 0, -1, None))
    return LabelResult(by, pairs, left, tie, right, unjudged=unjudged or None, questions=questions)


def to_compare(store: Store, settings: Settings) -> tuple[Candidate, ...]:
    """Takes whose pairs are labelled: those of the system that training starts from, and none of `rushes tune eta`."""
    return tuple(c for c in store.candidates(split="train", system=settings.train.init_from) if c.kind != "probe")


def probes_to_compare(store: Store, settings: Settings) -> tuple[Candidate, ...]:
    """Guided takes of `rushes tune eta` whose pairs people are offered: those of its newest weights and settings, of
    `PROBE_PAIRS` clips at each level."""
    probes = store.candidates(split="train", kind="probe", system=settings.train.init_from)
    by_level: dict[float, dict[str, list[Candidate]]] = {}
    for candidate in probes:
        newest = (candidate.made_by, candidate.settings_hash) == (probes[-1].made_by, probes[-1].settings_hash)
        if candidate.eta and newest:
            by_level.setdefault(candidate.eta, {}).setdefault(candidate.group, []).append(candidate)
    pairs = (pair for level in by_level.values() for pair in list(level.values())[:PROBE_PAIRS])
    return tuple(candidate for pair in pairs for candidate in pair)


def _made_from(settings: LabelSettings) -> str:
    """Hash of what a program's labels depend on beside its name; what only concerns people is left out."""
    return stable_hash([settings.by, settings.margin, settings.whole or settings.segment_s, settings.frames_per_s])


def score_takes(project: OpenProject) -> LabelResult:
    """Scores from 0 to 10 for takes.

    Raises:
        ValueError: `label.by` is none, or there are no takes.
    """
    own = project.store.candidates(split="train", kind="take", system=project.settings.train.init_from)
    takes = (*own, *project.store.candidates(split="train", kind="imported"))
    if not takes:
        raise ValueError(f"{project.store.project} has no takes to score; run `rushes generate`")
    account, folder = AnswerCounts(), project.store.project
    project.make_room()
    with judge_of(project.settings, folder, account) as judge, project.timed("label", len(takes)) as tick:
        if not isinstance(judge, PointwiseJudge):
            raise ValueError(f"label.prompt: {judge.name} compares clips and gives no scores; set it to realdpo")
        refused, strange = _say_left_out(project, judge)
        counts = label.rate(project.store, judge, takes, tick=lambda: tick(1), spread=_shared(project, None, account))
    scored, unscored = counts[True], counts[False]
    result = LabelResult(judge.name, scored=scored, not_scored=unscored, questions=account.facts())
    return replace(result, refused=refused, strange=strange)
