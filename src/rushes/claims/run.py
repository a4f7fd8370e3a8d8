"""Run the arms of claims: one project per seed, so that arms share clips, takes and caches; resumable at any point."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from rushes.claims.base import BASE, Arm
from rushes.claims.catalogue import arms_of, find_claims
from rushes.config.tables import Evaluate, Footage, Settings, Train
from rushes.config.tables import Project as ProjectTable
from rushes.evaluate import stored
from rushes.evaluate.meters import Meter, fit_meter, world_meter
from rushes.media.files import whole_file
from rushes.pipeline import stages, training
from rushes.pipeline.presets import tiny_train
from rushes.pipeline.project import Project, open_project
from rushes.records import stable_hash
from rushes.store.database import Store
from rushes.training.recipe import load_recipe

Values = dict[str, dict[str, float]]  # metric -> prompt -> value


@dataclass(frozen=True)
class Budget:
    """How much every arm gets; equal for all of them."""

    clips: int
    prompts: int
    steps: float  # of the recipe's own number


BUDGETS = {"small": Budget(clips=128, prompts=96, steps=0.5), "full": Budget(clips=256, prompts=192, steps=1.0)}


def reproduce(
    names: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    budget: Budget,
    jobs: int,
    said: Callable[[str], None] = print,
) -> dict[str, dict[int, Values]]:
    """Values of every arm and seed: arm -> seed -> metric -> prompt -> value.

    Seeds run side by side in `jobs` processes of one thread each.

    Raises:
        ValueError: an unknown claim.
    """
    claims = find_claims(names)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, Values]] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for seed, arms in zip(
            seeds, pool.map(_run_seed, *zip(*[(names, s, out, budget) for s in seeds], strict=True)), strict=True
        ):
            said(f"seed {seed}: {len(arms)} arms")
            for arm, values in arms.items():
                found.setdefault(arm, {})[seed] = values
    assert set(found) == {BASE, *(arm.name for arm in arms_of(claims))}
    return found


def _run_seed(names: Sequence[str], seed: int, out: Path, budget: Budget) -> dict[str, Values]:
    torch.set_num_threads(1)
    return {arm.name: _run_arm(arm, seed, out, budget) for arm in (Arm(BASE, "sft"), *arms_of(find_claims(names)))}


def settings_of(arm: Arm, seed: int, budget: Budget) -> Settings:
    """The settings of one run; arms of one seed differ by `[train]` alone."""
    table = tiny_train(arm.recipe, load_recipe(arm.recipe)).model_dump()
    changes = dict(arm.train)
    for nested in ("options", "objective"):
        table[nested] = {**table[nested], **changes.pop(nested, {})}
    steps = max(1, round(changes.pop("steps", table["steps"]) * budget.steps))
    train = Train.model_validate({**table, **changes, "steps": steps, "name": arm.name, "start": arm.start})
    return Settings(
        project=ProjectTable(name="Rushes reproduce", seed=seed),
        footage=Footage(clips=budget.clips, eval_prompts=budget.prompts),
        train=train,
        evaluate=Evaluate(prompts=budget.prompts),
    )


def _run_arm(arm: Arm, seed: int, out: Path, budget: Budget) -> Values:
    """Measurements of one arm, from its file where it is done already."""
    settings = settings_of(arm, seed, budget)
    made_from = stable_hash([settings.model_dump(mode="json"), asdict(budget)])
    path = out / "values" / f"seed-{seed}" / f"{arm.name}.json"
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["made_from"] == made_from:
            return dict(kept["values"])
    project = open_project(out / f"seed-{seed}", settings)
    with closing(project.store):
        stages.import_footage(project)
        for step in arm.data:
            step(project)
        if arm.name != BASE:
            training.train_run(project)
        values = _measure(project, arm.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps({"made_from": made_from, "values": values}) + "\n", encoding="utf-8")
    return values


def _measure(project: Project, system: str) -> Values:
    """Both judges on the arm's held-out clips."""
    candidates = stages.held_out_takes(project, system)
    values: Values = {}
    for meter in (world_meter(), fit_meter()):
        stored.score(project.store, stored.unmeasured(project.store, candidates, meter), meter)
        values |= _by_prompt(project.store, meter, {c.id: c.group for c in candidates})
    return values


def _by_prompt(store: Store, meter: Meter, prompts: Mapping[str, str]) -> Values:
    """One seed of sampling per prompt, so one value each."""
    return {
        metric: {
            prompts[s.subject]: s.value
            for s in store.scores(metric=metric)
            if s.measured_by == meter.name and s.subject in prompts
        }
        for metric in meter.better
    }
