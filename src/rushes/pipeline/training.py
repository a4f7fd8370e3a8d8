"""The training stage: a recipe's comparisons, encoded and checked, and one run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from rushes.backbones.base import Backbone
from rushes.backbones.loading import load_backbone
from rushes.config.files import settings_hash, validate_table
from rushes.config.tables import Train
from rushes.media.files import whole_file
from rushes.pipeline.project import WEIGHTS, Project, make_trainable, run_folder
from rushes.pipeline.reports import run_name
from rushes.pipeline.stages import Facts, encode_missing
from rushes.records import Run, stable_hash
from rushes.training.checks import check_latents
from rushes.training.comparison import Comparison
from rushes.training.loop import Data, split, train
from rushes.training.recipe import Recipe, load_recipe


def train_run(project: Project) -> Facts:
    """One training run, continued where it was stopped."""
    settings, seed = project.settings.train, project.settings.project.seed
    recipe, name = load_recipe(settings.recipe), run_name(settings)
    options = validate_table(recipe.Options, settings.options, "train.options")
    comparisons = recipe_comparisons(project, recipe, settings)
    folder = run_folder(project, name)
    folder.mkdir(parents=True, exist_ok=True)
    for torn in folder.rglob(".*.part"):  # of a process that was killed; checkpoints are large
        torn.unlink()
    backbone = load_backbone(project.settings.backbone.name, project.settings.backbone.path)
    base = backbone.fingerprint
    torch.manual_seed(seed)  # the adapter's first factor is drawn by peft
    make_trainable(backbone, settings)
    kept, held_out = split(comparisons, settings.held_out)
    made_from = [settings.model_dump(mode="json"), base, seed, project.latents.fingerprint]
    identity = stable_hash([*made_from, [asdict(comparison) for comparison in comparisons]])
    data = Data(kept, held_out, project.latents, recipe.times(options))
    shown = 0
    with project.timed(f"train: {name}", settings.steps) as tick, _full_disk_said(folder):

        def show(step: int, row: Mapping[str, float]) -> None:
            nonlocal shown  # a run that is continued begins where it was stopped
            tick(step - shown)
            shown = step

        taken = train(backbone, data, settings, folder, seed=seed, identity=identity, progress=show)
        trained = {n: p.detach().contiguous() for n, p in backbone.network.named_parameters() if p.requires_grad}
        with whole_file(folder / WEIGHTS) as partial:
            save_file(trained, partial, metadata={"base": base, "recipe": settings.recipe})
    _add_run(project, stable_hash(["run", name, identity]), name, base, backbone, folder)
    return {"run": name, "steps": settings.steps, "steps_now": taken} | {
        "comparisons": len(kept),
        "held_out": len(held_out),
    }


def _add_run(project: Project, id: str, name: str, base: str, backbone: Backbone, folder: Path) -> None:
    if any(run.id == id for run in project.store.runs()):
        return
    settings = project.settings
    rows = (json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    run = Run(
        id=id,
        name=name,
        recipe=settings.train.recipe,
        backbone=settings.backbone.name,
        base=base,
        made_by=backbone.fingerprint,
        seed=settings.project.seed,
        steps=settings.train.steps,
        seconds=round(sum(row.get("seconds", 0.0) for row in rows), 2),
        settings=settings.model_dump(mode="json"),
        settings_hash=settings_hash(settings),
    )
    project.store.add([run])


@contextmanager
def _full_disk_said(folder: Path) -> Iterator[None]:
    """Safetensors reports a full disk by an error of its own kind."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{folder}: cannot be written ({error}); free some space, then run again") from error


def recipe_comparisons(project: Project, recipe: Recipe, settings: Train) -> list[Comparison]:
    """What a recipe makes of the store, encoded and checked.

    Raises:
        ValueError: the store lacks what the recipe needs, with the command that makes it.
    """
    options = validate_table(recipe.Options, settings.options, "train.options")
    comparisons = recipe.comparisons(project.store, options, project.grid)
    if not comparisons:
        raise ValueError(f"recipe {settings.recipe!r} finds nothing to compare: {_lacking(project, recipe)}")
    views = [view for comparison in comparisons for view in comparison.views]
    firsts = [view.first_frame for view in views if view.first_frame]
    encode_missing(project, [view.media for view in views], firsts, "train: encode")
    check_latents(comparisons, project.latents)
    return comparisons


def _lacking(project: Project, recipe: Recipe) -> str:
    """What is in the store of what a recipe needs, and which command makes it."""
    store = project.store
    takes = store.candidates(split="train", kind="take") + store.candidates(split="train", kind="imported")
    there = {
        "clips": (len(store.clips("train")), "`rushes import`"),
        "takes": (len(takes), "`rushes generate`"),
        "guided": (len(store.candidates(split="train", kind="guided")), "`rushes generate --set generate.kind=guided`"),
        "labels": (len(store.preferences()), "`rushes label`"),
    }
    words = (f"{there[need][0]} {need} (made by {there[need][1]})" for need in ("clips", *recipe.NEEDS))
    return f"{store.project} has " + ", ".join(words)
