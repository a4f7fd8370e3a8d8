"""The stage that evaluates a run: held-out takes by the base and the run, measured and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from shlex import quote

from rushes.config.tables import GenerateSettings, Settings, run_name
from rushes.evaluate import stored
from rushes.evaluate.result import EvaluateResult, Metrics
from rushes.footage.split import film_of
from rushes.project.generation import make_takes
from rushes.project.processes import share_measuring, still_of
from rushes.project.project import OpenProject
from rushes.records import BASE, Candidate, Clip, seed_of
from rushes.training.views import first_frame_of


def held_out_clips(project: OpenProject) -> tuple[Clip, ...]:
    """Clips that evaluation takes, at most as many as the settings ask for: the first of each film, then the second.

    Raises:
        ValueError: there are none.
    """
    clips = project.store.clips("eval")
    if not clips:
        raise ValueError(_no_held_out(project))
    films, place = Counter[str](), dict[str, int]()
    for clip in clips:
        films[film_of(clip)] += 1
        place[clip.id] = films[film_of(clip)]
    return tuple(sorted(clips, key=lambda clip: place[clip.id])[: project.settings.evaluate.prompts])


def _no_held_out(project: OpenProject) -> str:
    """Why there is nothing to evaluate on, and the remedy."""
    place, footage = quote(str(project.store.project)), project.settings.footage
    if footage.kind != "pairs" and not project.store.clips("train"):
        return f"the project has no clips; run `rushes import {place}`"
    if footage.kind == "world":
        remedy = "set footage.eval_prompts above 0, then run `rushes import`"
    elif footage.eval_fraction:
        remedy = (
            "clips of one film stay on one side, and each side needs a film: add another film to the footage and run "
            "`rushes import`, or name held-out prompts as footage.bench"
        )
    else:
        remedy = (
            f"to train without a verdict run `rushes train {place}`; for a verdict, add footage with other prompts or "
            "films, set footage.eval_fraction above 0 and run `rushes import`"
        )
    return f"the project has no held-out clips; {remedy}"


def held_out_ask(settings: Settings) -> GenerateSettings:
    """How takes of held-out prompts are made."""
    return settings.generate.model_copy(
        update={"kind": "take", "takes": settings.evaluate.seeds, "steps": settings.evaluate.steps}
    )


def held_out_takes(project: OpenProject, system: str, beside: str = "") -> list[Candidate]:
    """Takes of held-out prompts by the base or a finished run; all systems get the same prompts and seeds.

    `beside` names the run that the base is compared with, for its precision.

    Raises:
        ValueError: nothing is held out, or the run is not finished.
    """
    ask = held_out_ask(project.settings)
    drawn = seed_of("held out", project.settings.project.seed)
    stage = f"evaluate: {system}"
    ids = set(make_takes(project, held_out_clips(project), ask, system, drawn, stage, beside)[0])
    return [row for row in project.store.candidates(split="eval", system=system) if row.id in ids]


def evaluate_run(project: OpenProject, run: str = "") -> EvaluateResult:
    """Held-out prompts and seeds by the base and a trained model, measured and compared.

    Raises:
        ValueError: the run is not finished, or nothing is held out.
    """
    settings, store, suite = project.settings, project.store, project.suite
    run = run or run_name(settings.train)
    held_out_clips(project)  # what lacks is reported in the order in which it is made, and before the base answers
    stored.finished_run(store, run)
    base, trained = (held_out_takes(project, system, run) for system in (BASE, run))
    others: dict[str, list[Candidate]] = {}
    for row in (row for row in store.candidates(split="eval", kind="imported") if row.clip_id):  # no labelled pairs
        others.setdefault(row.system, []).append(row)
    _measure(project, [*base, *trained, *(c for rows in others.values() for c in rows)])
    seed = settings.project.seed
    scores = stored.paired_scores(store, suite, base, trained, seed=seed)
    metrics = scores.compare()
    first, *rest = others or [""]
    arms = {
        f"{other} against {first}": stored.paired_scores(
            store, suite, others[first], others[other], seed=seed
        ).compare()
        for other in rest
    }
    return EvaluateResult(run, suite.headline, metrics, arms, shapes=scores.compare_by_shape())


def held_out_change(project: OpenProject, first: str, second: str) -> Metrics:
    """How the second system's held-out takes differ from the first's, by metric."""
    takes = [held_out_takes(project, system, second) for system in (first, second)]
    _measure(project, [*takes[0], *takes[1]])
    seed = project.settings.project.seed
    return stored.paired_scores(project.store, project.suite, *takes, seed=seed).compare()


def _measure(project: OpenProject, candidates: Sequence[Candidate]) -> None:
    """Give scores to those that have none."""
    store, suite = project.store, project.suite
    missing = stored.unmeasured(store, candidates, suite)
    with project.timed("evaluate: measure", len(missing)) as tick:
        firsts = first_frames(project, missing)
        spread = share_measuring(project, firsts)
        still = partial(still_of, store.media, firsts)
        stored.score(store, missing, suite, still, lambda: tick(1), spread)


def first_frames(project: OpenProject, candidates: Sequence[Candidate]) -> dict[str, str]:
    """Media of the first frames that candidates were given to start from, by candidate."""
    if not project.settings.backbone.first_frame:
        return {}
    clips = {clip.id: clip for clip in project.store.clips(dropped=True)}
    return {row.id: first_frame_of(clips[row.clip_id]) for row in candidates if row.clip_id in clips}
