"""Run the arms of claims, a project per seed and footage, so that they share takes and caches; resumable."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from rushes.config.settings_files import hashed_form
from rushes.config.tables import (
    BackboneSettings,
    EvaluateSettings,
    FootageSettings,
    ProjectSettings,
    Settings,
    TrainSettings,
)
from rushes.evaluate import stored
from rushes.evaluate.suites import MetricSuite, fidelity_suite, second_suite, world_suite
from rushes.files import make_folder, with_checksum, write_text
from rushes.lab.claims.arms import UNTRAINED
from rushes.lab.claims.base import Arm, Claim
from rushes.lab.claims.data import FOOTAGE
from rushes.lab.claims.evidence import FILE, Evidence, PromptValues, Result, result_of
from rushes.lab.claims.hypotheses import CLAIMS, arms_of, find_claims
from rushes.progress import Bar, no_bar
from rushes.project import intake, run_evaluation, training
from rushes.project.presets import TINY_ETA, tiny_train
from rushes.project.processes import still_of
from rushes.project.project import OpenProject, open_project, run_folder
from rushes.records import BASE, Candidate, stable_hash
from rushes.store.database import Store
from rushes.text_reader import checked_text
from rushes.training.health import StepRows, diagnoses
from rushes.training.history import read_history
from rushes.training.recipe import load_recipe
from rushes.worker_pool import worker_pool
from rushes.world.scenes import read_wording

ONLY_FULL = ("ours", "ablations")  # what only the full budget asks; the small one asks what the papers claim
FIRST_SEED = 10  # noise, beta and learning rate were looked at on seed 900, earlier ones on 0 to 2 and 200 (LOG.md)
HELD_OUT, PROBES = 8, 1  # comparisons held out in every arm, and looks at them after the first
TAIL, FACTOR = 12, "/gradient"  # steps at the end of which the DPO gradient weight is averaged, and its name there
LOOK_S = 2.0  # between two looks at how many arms are done
_done: Synchronized[int]  # in a worker: arms that are done, in all workers


@dataclass(frozen=True)
class Budget:
    """How many seeds are asked about which claims, and how much every arm gets; equal for all but those that ask for
    more."""

    seeds: int
    claims: tuple[str, ...]
    clips: int = 128
    prompts: int = 70
    steps: int = 48
    batch: int = 8


# Arms are the same in both, and so are the first seeds: the full budget goes on where the small one ends.
BUDGETS = {
    "small": Budget(3, tuple(name for name in CLAIMS if name not in ONLY_FULL)),
    "full": Budget(5, tuple(CLAIMS)),
}


def reproduce(
    names: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    budget: Budget,
    jobs: int,
    earlier: Evidence,
    bar: Bar = no_bar,
) -> Evidence:
    """Results of every arm and seed: those that are `known` and still current, and all others run now.

    Seeds run side by side in `jobs` processes of one thread each.

    Raises ValueError: an unknown claim.
    """
    claims = find_claims(names)
    make_folder(out)
    of_seed = [{arm: results[seed] for arm, results in earlier.items() if seed in results} for seed in seeds]
    done = multiprocessing.get_context("spawn").Value("i", 0)
    arms = sum(len(_arms_of_seed(claims, seed)) for seed in seeds)
    with worker_pool(jobs, _begin, done) as pool, bar("arms", arms) as advance:
        running = [pool.submit(_run_seed, claims, s, out, budget, k) for s, k in zip(seeds, of_seed, strict=True)]
        _watch(running, done, advance)
        results = [future.result() for future in running]
    evidence: Evidence = {}
    for seed, of_arm in zip(seeds, results, strict=True):
        for arm, result in of_arm.items():
            evidence.setdefault(arm, {})[seed] = result
    assert set(evidence) == {BASE, *(arm.name for arm in arms_of(claims))}
    return evidence


def _watch(running: Iterable[Future[Any]], done: Synchronized[int], advance: Callable[[int], None]) -> None:
    """Tells how many arms are done until all seeds have ended."""
    reported, left = 0, set(running)
    while left:
        left = wait(left, timeout=LOOK_S).not_done
        now = done.value
        advance(now - reported)
        reported = now


def _arms_of_seed(claims: Sequence[Claim], seed: int) -> tuple[Arm, ...]:
    asked = [claim for claim in claims if claim.seeds is None or seed < FIRST_SEED + claim.seeds]
    return (UNTRAINED, *arms_of(asked))


def _begin(done: Synchronized[int]) -> None:
    """A worker's first act."""
    global _done
    torch.set_num_threads(1)
    _done = done


def _run_seed(
    claims: Sequence[Claim], seed: int, out: Path, budget: Budget, earlier: Mapping[str, Result]
) -> dict[str, Result]:
    results = {}
    for arm in _arms_of_seed(claims, seed):
        results[arm.name] = _result(arm, seed, out, budget, earlier.get(arm.name))
        with _done.get_lock():
            _done.value += 1
    return results


def settings_of(arm: Arm, seed: int, budget: Budget) -> Settings:
    """The settings of one run; arms of one seed and number of clips differ by `[train]` alone."""
    table = tiny_train(arm.recipe, load_recipe(arm.recipe)).model_dump()
    changes = {
        "steps": budget.steps,
        "batch": budget.batch,
        "held_out": HELD_OUT,
        "checkpoint_every": max(1, budget.steps // PROBES),
        "shortcut_probe": 0,
        **arm.train,
    }
    for nested in ("options", "objective"):
        table[nested] = {**table[nested], **changes.pop(nested, {})}
    train = TrainSettings.model_validate({**table, **changes, "name": arm.name, "init_from": arm.start})
    return Settings(
        project=ProjectSettings(name="Rushes reproduce", seed=seed),
        backbone=BackboneSettings(first_frame=arm.first_frame),
        footage=FootageSettings(clips=round(arm.clips * budget.clips), eval_prompts=budget.prompts),
        train=train,
        evaluate=EvaluateSettings(prompts=budget.prompts),
    )


def _result(arm: Arm, seed: int, out: Path, budget: Budget, earlier: Result | None) -> Result:
    """An arm's result, from its file or from a run. Raises ValueError: the file was made with other settings."""
    settings = settings_of(arm, seed, budget)
    made_from = _made_from(arm, settings)
    if earlier and earlier.made_from == made_from:
        return earlier
    path = out / "results" / f"seed-{seed}" / f"{arm.name}.json"
    if path.is_file():
        stored = json.loads(checked_text(path, "delete it, and the arm is run again"))
        if stored["made_from"] != made_from:
            raise ValueError(
                f"{path} was made with other settings of this arm; use a new --out folder, and pass {out / FILE} with "
                "--earlier to reuse what is still valid"
            )
        return result_of(stored, stored["values"])
    result = _run(arm, settings, out, made_from)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, with_checksum(json.dumps({**result.facts, "values": result.values}) + "\n"))
    return result


def _made_from(arm: Arm, settings: Settings) -> str:
    """Hash of what an arm is made from; a setting that is new and off does not change it."""
    tables = {"backbone", "footage", "train"}
    changed = hashed_form(settings, include=tables, exclude_defaults=True)
    return stable_hash([changed, settings.project.seed, repr(arm.data), arm.footage, TINY_ETA, arm.trained])


def project_folder(out: Path, seed: int, arm: Arm) -> Path:
    """Where the project of a seed and an arm's footage lies."""
    footage = "" if arm.footage == "true" else f"-{arm.footage}"
    clips = "" if arm.clips == 1 else f"-{arm.clips:g}"
    frame = "" if arm.first_frame else "-text"
    return out / f"seed-{seed}{footage}{clips}{frame}"


def _run(arm: Arm, settings: Settings, out: Path, made_from: str) -> Result:
    began = time.perf_counter()
    if not arm.trained:  # no run may have this name; the arm's digest keeps it, as evidence has it
        settings = settings.model_copy(update={"train": settings.train.model_copy(update={"name": ""})})
    project = open_project(project_folder(out, settings.project.seed, arm), settings)
    pool = FOOTAGE[arm.footage]
    with closing(project.store):
        intake.import_footage(project)
        for step in (*((pool,) if pool else ()), *arm.data):
            step(project)
        rows: StepRows = ()
        strength: dict[str, float] = {}
        if arm.trained:
            run = training.train_run(project)
            rows = read_history(run_folder(project, arm.name) / "metrics.jsonl")
            strength = _strength(rows, settings.train, run.comparisons)
        system = arm.name if arm.trained else BASE
        values = {**_measure(project, system), **_winner_error(rows)} if arm.evaluate else {}
        kinds = {} if arm.trained else _kinds(project)
    wrong = tuple(diagnosis.name for diagnosis in diagnoses(rows))
    seconds = round(time.perf_counter() - began, 1)
    return Result(made_from, values, wrong, seconds=seconds, strength=strength, kinds=kinds)


def _strength(rows: StepRows, train: TrainSettings, comparisons: int) -> dict[str, float]:
    """See `Result.strength`; an arm that compares nothing has no weight."""
    last = [row for row in rows if row["step"] > 0][-TAIL:]
    factors = [v for row in last for key, v in row.items() if key.endswith(FACTOR) and not key.startswith("held_out/")]
    strength = {"visits": train.steps * train.batch / max(1, comparisons)}
    if factors:
        strength["weight"] = 2 * fmean(factors)  # a factor of one half is what it starts from
    probe = next((row for row in reversed(rows) if "held_out/drift" in row), None)
    if probe:
        strength["drift"] = probe["held_out/drift"] / probe["held_out/reference_error"]
    return {name: round(value, 4) for name, value in strength.items()}


def _kinds(project: OpenProject) -> dict[str, str]:
    """Kind of the scene of each held-out prompt."""
    return {c.group: read_wording(c.caption).kind for c in run_evaluation.held_out_takes(project, BASE)}


def _winner_error(rows: StepRows) -> PromptValues:
    """How far the error on held-out real clips rose above the reference's, as a share of it; one value for the run."""
    last = rows[-1] if rows else {}
    rise = last.get("held_out/clip/winner_relative_error")
    return {} if rise is None else {"winner_error": {"held out": rise / last["held_out/reference_error"]}}


def suites(first_frame: bool) -> tuple[MetricSuite, ...]:
    """All that an arm is judged by; how clips start is asked where they are given a frame."""
    return (world_suite(), second_suite(), *((fidelity_suite(),) if first_frame else ()))


def _measure(project: OpenProject, system: str) -> PromptValues:
    """All judges on the arm's held-out clips."""
    candidates = run_evaluation.held_out_takes(project, system)
    values: PromptValues = {}
    for suite in suites(project.settings.backbone.first_frame):
        missing = stored.unmeasured(project.store, candidates, suite)
        still = partial(still_of, project.store.media, run_evaluation.first_frames(project, missing))
        stored.score(project.store, missing, suite, still)
        values |= _by_prompt(project.store, suite, candidates)
    return values


def _by_prompt(store: Store, suite: MetricSuite, candidates: Sequence[Candidate]) -> PromptValues:
    """One seed of sampling per prompt, so one value each."""
    prompts = {candidate.id: candidate.group for candidate in candidates}
    return {
        metric: {
            prompts[s.subject]: s.value
            for s in store.scores(metric=metric)
            if s.measured_by == suite.name and s.subject in prompts
        }
        for metric in suite.better
    }
