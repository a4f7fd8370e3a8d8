"""Where a project stands: what its stages have done, and the command that comes next. Nothing is loaded or written."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

from rushes import label
from rushes.config.tables import Settings, run_name
from rushes.evaluate.result import bare_report, read_evaluation
from rushes.files import is_locked
from rushes.project.labels import to_compare
from rushes.project.next_command import lacking_command, next_command
from rushes.project.project_status import CampaignStatus, ProjectStatus, RunStatus
from rushes.project.recipe_table import by_majority, recipe_needs, takes_kind, takes_that_came, takes_wanted
from rushes.project.reports import summary_path
from rushes.project.settings import DETACHED
from rushes.records import HUMAN, OWN_TAKES, Candidate, Clip, Run, StepRow
from rushes.report.text import outcome_of, whole_verdict
from rushes.store.annotators import ALL_JUDGES, is_own_answer, labels_of, labels_to_train_on
from rushes.store.database import Store
from rushes.store.own_files import LOG
from rushes.training.history import CURVES, LOCK, last_rows, read_history, speed, step_in_words
from rushes.web.labeling.campaign import read_campaign

LAST_LINES = 5  # of it that are shown at first
LOOK_S = 2.0  # between two looks at a run


def status_of(project: Path, settings: Settings, run: str = "") -> ProjectStatus:
    """Where a project stands under its settings.

    Args:
        project: its folder.
        settings: as they are asked for.
        run: that is shown. Where none is named, it is that which trains now, else that which `train.name` names, else
            of the runs of this recipe the one that was last at work.

    Raises:
        ValueError: a database that cannot be read.
    """
    needs = set(recipe_needs(settings.train))
    finished = _finished_runs(project)
    began = _runs_begun(project)
    name = run or _shown_run(project, settings, began, finished)
    progress, *others = (
        _run(project, each, settings, finished) for each in (name, *(each for each in reversed(began) if each != name))
    )
    page = project / "reports" / f"{name}.html"
    clips, labels, campaign, evaluated, lacking = Counter[str](), None, None, False, ""
    takes = (0, 0) if needs & OWN_TAKES else None
    if (project / "rushes.db").is_file():
        with Store.open(project) as store:
            clips += Counter(train=len(store.clips("train")), eval=len(store.clips("eval")))
            labels = _count_labels(store, settings, needs)
            takes = _takes(store, settings, clips["train"], needs, labels)
            campaign = _campaign(store)
            evaluated = progress.ended and summary_path(store, name).is_file()
            lacking = lacking_command(store, settings, needs)
    verdict, better, unhealthy = _verdict(project, name) if evaluated else ("", False, False)
    status = ProjectStatus(
        project,
        settings.backbone.name,
        settings.train.recipe,
        clips=clips["train"],
        held_out=clips["eval"],
        takes=takes[0] if takes else None,
        takes_wanted=takes[1] if takes else None,
        campaign=campaign,
        labels=labels.labelled if labels else None,
        labels_wanted=_labels_wanted(labels, takes, clips["train"] * comb(takes_wanted(settings), 2)),
        labels_decided=labels.decided if labels else None,
        run=progress,
        other_runs=tuple(others),
        detached=DETACHED not in os.environ and is_locked(project / LOG),
        evaluated=evaluated,
        report=page if evaluated and page.is_file() else None,
        next="",
        verdict=verdict,
        better=better,
        unhealthy=unhealthy,
        broken_off="" if evaluated else broken_off(project / LOG),
    )
    return replace(status, next=next_command(status, settings, lacking, labels.judge if labels else ""))


def _verdict(project: Path, run: str) -> tuple[str, bool, bool]:
    """What the evaluation of a run says, whether the run is better, and whether its training went wrong.

    Nothing where the file is damaged.
    """
    with suppress(ValueError):
        result = read_evaluation(project / "reports" / f"{run}.json")
        report = bare_report(result)
        outcome = outcome_of(report)
        return whole_verdict(report), outcome == "better", bool(result.diagnoses) or outcome == "worse"
    return "", False, False


def _takes(
    store: Store, settings: Settings, clips: int, needs: Set[str], labels: LabelCounts | None
) -> tuple[int, int] | None:
    """Takes that a recipe can use, and how many there should be; None where it needs none.

    Where some came with the footage none are made, unless people are to label pairs and none of those is one. Labels
    that came with their pairs need no other takes, but pairs of takes that were made need the takes of all clips.
    """
    wanted = takes_wanted(settings)
    own = store.candidates(split="train", kind=takes_kind(settings), system=settings.train.init_from)
    there = sum(min(count, wanted) for count in Counter(row.clip_id for row in own).values())
    unpaired = "labels" in needs and bool(there or not (labels and (labels.wanted or labels.labelled)))
    if not needs & OWN_TAKES and not (unpaired and settings.footage.kind != "pairs"):
        return None
    came = len(takes_that_came(store))
    return (came, came) if came and not unpaired else (there, clips * wanted)


def _labels_wanted(labels: LabelCounts | None, takes: tuple[int, int] | None, pairs: int) -> int | None:
    """Labels that there should be: of the pairs that there are, or while takes lack of those `pairs` that all make."""
    if labels is None or labels.wanted is None or not takes or takes[0] >= takes[1] or labels.scored:
        return labels.wanted if labels else None
    return max(labels.wanted, pairs)


def _campaign(store: Store) -> CampaignStatus | None:
    campaign = read_campaign(store.project)
    if campaign is None:
        return None
    labelled = {frozenset((row.left, row.right)) for row in store.preferences() if is_own_answer(row)}
    return CampaignStatus(campaign.people, len(labelled), campaign.pairs, votes=len(store.preferences(votes=True)))


def _runs_begun(project: Path) -> list[str]:
    """Runs that have a folder with steps or are at work, that which was at work last at the end."""
    begun = []
    for folder in (project / "runs").glob("[!.]*"):
        there = [path for path in (folder / CURVES, folder / LOCK) if path.is_file()]
        if there and (there[0].name == CURVES or is_locked(folder / LOCK)):
            begun.append((there[0].stat().st_mtime_ns, folder.name))
    return [name for _, name in sorted(begun)]


def _finished_runs(project: Path) -> dict[str, Run]:
    """Runs that ended once, by their names."""
    if not (project / "rushes.db").is_file():
        return {}
    with Store.open(project) as store:
        return {run.name: run for run in store.runs()}


def _shown_run(project: Path, settings: Settings, begun: Sequence[str], finished: Mapping[str, Run]) -> str:
    """The run that a project's state is about, where nobody names one."""
    own, recipe = run_name(settings.train), settings.train.recipe
    training = [name for name in begun if is_locked(project / "runs" / name / LOCK)]
    if own in training or (settings.train.name and not training):
        return own
    alike = [name for name in begun if name == own or name not in finished or finished[name].recipe == recipe]
    return (training or alike or [own])[-1]


def _run(project: Path, name: str, settings: Settings, finished: Mapping[str, Run]) -> RunStatus:
    folder, row = project / "runs" / name, finished.get(name)
    # Settings do not say how long a run is that they do not name.
    planned = settings.train.steps if name == run_name(settings.train) else None
    training = is_locked(folder / LOCK)
    rows = last_rows(folder / CURVES)
    step = rows[-1]["step"] if rows else 0
    ended = row is not None and row.steps >= step and not training  # after the steps that it was asked for
    steps = row.steps if row and ended else planned
    seconds = speed(rows)
    left = None if seconds is None or steps is None else seconds * max(0, steps - step)
    return RunStatus(name, step, steps, ended=ended, training=training, left_s=left)


def broken_off(log: Path) -> str:
    """Why a detached run ended before its end: what it said last, or that it was killed; "" where it did not."""
    if not log.is_file() or is_locked(log):
        return ""
    with log.open(encoding="utf-8", errors="replace") as file:
        last = next(iter(deque((line.strip() for line in file if line.strip()), 1)), "")
    if last.startswith("rushes: "):
        return last.removeprefix("rushes: ")
    return (
        "" if last.startswith(("next: ", "report: ", "{")) else (f"it was killed or failed; its last line: {last:.200}")
    )


def follow(status: ProjectStatus) -> Iterator[str]:
    """What a detached run says, or the steps of the run that is shown, as they come, until there is no more."""
    project, run = status.project, status.run
    if is_locked(project / LOG):
        yield from _added(project / LOG)
        return
    folder = project / "runs" / run.name
    shown = -1
    while True:
        training = is_locked(folder / LOCK)
        new: list[StepRow] = [row for row in read_history(folder / CURVES) if row["step"] > shown]
        if new:
            shown = new[-1]["step"]
            yield f"step {replace(run, step=shown).of_steps}: {step_in_words(new[-1])}".rstrip(": ")
        if not training:
            return
        time.sleep(LOOK_S)


def _added(log: Path) -> Iterator[str]:
    """The last lines of a log, and those that are added as long as a process holds it."""
    with log.open(encoding="utf-8", errors="replace") as file:
        yield from (line.rstrip() for line in deque(file, LAST_LINES))
        going = True
        while going:
            going = is_locked(log)  # before the last lines are read
            yield from (line.rstrip() for line in file)
            if going:
                time.sleep(LOOK_S)


@dataclass(frozen=True)
class LabelCounts:
    """Pairs of takes, or takes where they are scored."""

    labelled: int  # that somebody answered, "cannot tell" and ties too
    wanted: int | None  # that there are; null = label.by is none
    decided: int  # of `labelled`, such as a recipe can compare; where takes are scored, prompts with a pair
    judge: str = ""  # that training has to be told, as there are labels of several
    scored: bool = False  # whether takes are scored, and not compared


def _count_labels(store: Store, settings: Settings, needs: Set[str]) -> LabelCounts | None:
    """Labels or scores that the recipe needs; None where it needs none. Raises ValueError: a damaged database."""
    if not needs & {"labels", "scores"}:
        return None
    every = (*to_compare(store, settings), *store.candidates(split="train", kind="imported"))
    kind = "guided" if "guided" in needs else "take"
    takes = [take for take in every if take.kind in (kind, "imported")]
    counts = _score_counts(store, settings, takes) if "scores" in needs else _pair_counts(store, settings, takes)
    nobody = settings.label.by == "none" and counts.labelled
    return replace(counts, wanted=None if nobody else counts.wanted)


def _pair_counts(store: Store, settings: Settings, takes: list[Candidate]) -> LabelCounts:
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


def _score_counts(store: Store, settings: Settings, takes: list[Candidate]) -> LabelCounts:
    options = settings.train.options
    scores = {row.subject: row.value for row in store.scores(metric=str(options.get("metric", HUMAN)))}
    by_prompt: dict[str, set[float]] = {}
    rows: list[Clip | Candidate] = [*store.clips("train"), *takes]
    for row in rows:
        if row.id in scores:
            clip = row.clip_id if isinstance(row, Candidate) else row.id
            by_prompt.setdefault(row.caption if options.get("pairs") == "caption" else clip, set()).add(scores[row.id])
    wanted = len(takes) if settings.label.form == "scores" else None
    return LabelCounts(len(scores), wanted, sum(len(values) > 1 for values in by_prompt.values()), scored=True)
