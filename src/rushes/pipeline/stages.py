"""The stages in order. Each can be stopped at any time and run again: it does what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from rushes import encode, evaluate, footage, generate, label
from rushes.backbones.loading import load_backbone
from rushes.config.files import settings_hash, validate_table
from rushes.config.tables import Generate, Train
from rushes.judges import metric as metric_judge
from rushes.judges import world as world_judge
from rushes.judges.base import Judge
from rushes.media.files import whole_file
from rushes.pipeline.project import BASE, WEIGHTS, Project, load_run, make_trainable, run_folder
from rushes.pipeline.reports import run_name
from rushes.records import Clip, Run, stable_hash
from rushes.training.checks import check_latents
from rushes.training.comparison import Comparison
from rushes.training.loop import Data, split, train
from rushes.training.recipe import Recipe, load_recipe
from rushes.training.views import first_frame_of

Facts = dict[str, Any]


def import_footage(project: Project) -> Facts:
    """Real clips into the store."""
    settings = project.settings
    if settings.footage.kind == "world":
        total = settings.footage.clips + settings.footage.eval_prompts
        with project.timed("import", total) as tick:
            done = footage.import_world(
                project.store, settings.footage, settings.backbone, settings.project.seed, lambda: tick(1)
            )
        return {"clips": done.clips, "takes": done.takes}
    found = footage.find_footage(settings.footage)
    bench = footage.find_bench(Path(settings.footage.bench)) if settings.footage.bench else None
    files = {path for item in found for path in (item.path, *item.takes)}
    videos = sum(len(paths) for paths in bench.systems.values()) if bench else 0
    with project.timed("import", len(files) + videos) as tick:
        done = footage.import_folder(project.store, found, settings.footage, settings.backbone, lambda: tick(1))
        if bench:
            prompts = footage.import_bench(project.store, bench, settings.backbone, lambda: tick(1))
            return {"clips": done.clips, "takes": done.takes, "prompts": prompts.clips, "bench": prompts.takes}
    return {"clips": done.clips, "takes": done.takes}


def generate_takes(project: Project, settings: Generate | None = None) -> Facts:
    """Takes of every training clip by the model before training."""
    settings = settings or project.settings.generate
    clips = project.store.clips("train")
    _require(clips, "clips", "rushes import")
    made = _generate(project, clips, settings, BASE, project.settings.project.seed, "generate")
    return {"made": made, "takes": len(project.store.candidates(split="train"))}


def _generate(
    project: Project, clips: Sequence[Clip], settings: Generate, system: str, seed: int, stage: str
) -> int:
    _encode(project, clips if settings.kind == "guided" else (), clips, f"{stage}: encode")
    backbone = project.base if system == BASE else load_run(project, system, project.settings.train)
    size = project.settings.backbone
    studio = generate.Studio(project.store, project.latents, backbone, size, system)
    with project.timed(stage, len(clips) * settings.takes) as tick:
        return generate.generate(studio, clips, settings, seed=seed, tick=tick)


def _encode(project: Project, whole: Sequence[Clip], first: Sequence[Clip], stage: str) -> None:
    """Latents of some clips, and of the first frames of others where the model is given them."""
    firsts = [first_frame_of(clip) for clip in first] if project.settings.backbone.first_frame else []
    _encode_media(project, [clip.media for clip in whole], firsts, stage)


def _encode_media(project: Project, whole: Sequence[str], firsts: Sequence[str], stage: str) -> None:
    settings = project.settings
    with project.timed(stage, len(set(whole)) + len(set(firsts))) as tick:
        encode.encode(
            project.store,
            project.latents,
            project.base,
            settings.backbone,
            settings.footage.fit,
            clips=whole,
            firsts=firsts,
            tick=lambda: tick(1),
        )


def label_pairs(project: Project) -> Facts:
    """Labels for pairs of takes."""
    settings = project.settings.label
    if settings.by == "none":
        return {"by": "none"}
    judge: Judge = world_judge.make(settings.margin)
    if settings.by == "metric":
        judge = metric_judge.make(settings.metric, settings.margin)
    candidates = project.store.candidates(split="train", system=BASE)
    pairs = sum(1 for _ in label.pairs(candidates))
    _require(range(pairs), "pairs of takes", "rushes generate")
    with project.timed("label", pairs) as tick:
        counts = label.label(
            project.store,
            judge,
            candidates,
            segment_s=settings.segment_s,
            settings_hash=settings_hash(settings),
            tick=lambda: tick(1),
        )
    return {"by": judge.name, "pairs": pairs, "left": counts[1], "tie": counts[0], "right": counts[-1]}


def train_run(project: Project) -> Facts:
    """One training run, continued where it was stopped."""
    settings = project.settings.train
    recipe = load_recipe(settings.recipe)
    name = run_name(settings)
    comparisons = recipe_comparisons(project, recipe, settings)
    folder = run_folder(project, name)
    folder.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone(project.settings.backbone.name, project.settings.backbone.path)
    base = backbone.fingerprint
    seed = project.settings.project.seed
    torch.manual_seed(seed)  # the adapter's first factor is drawn by peft
    make_trainable(backbone, settings)
    kept, held_out = split(comparisons, settings.held_out)
    identity = stable_hash([settings.model_dump(mode="json"), base, seed, [c.id for c in comparisons]])
    options = validate_table(recipe.Options, settings.options, "train.options")
    data = Data(kept, held_out, project.latents, recipe.times(options))
    with project.timed(f"train: {name}", settings.steps) as tick:
        taken = train(
            backbone, data, settings, folder, seed=seed, identity=identity, progress=lambda step, row: tick(1)
        )
    trained = {n: p.detach().contiguous() for n, p in backbone.network.named_parameters() if p.requires_grad}
    with whole_file(folder / WEIGHTS) as partial:
        save_file(trained, partial, metadata={"base": base, "recipe": settings.recipe})
    run = Run(
        id=stable_hash(["run", name, identity]),
        name=name,
        recipe=settings.recipe,
        backbone=project.settings.backbone.name,
        base=base,
        made_by=backbone.fingerprint,
        seed=seed,
        steps=settings.steps,
        seconds=0.0,
        settings=project.settings.model_dump(mode="json"),
        settings_hash=settings_hash(project.settings),
    )
    if all(known.id != run.id for known in project.store.runs()):
        project.store.add([run])
    return {"run": name, "steps": taken, "comparisons": len(kept), "held_out": len(held_out)}


def recipe_comparisons(project: Project, recipe: Recipe, settings: Train) -> list[Comparison]:
    """What a recipe makes of the store, encoded and checked.

    Raises:
        ValueError: the store lacks what the recipe needs, with the command that makes it.
    """
    options = validate_table(recipe.Options, settings.options, "train.options")
    comparisons = recipe.comparisons(project.store, options, project.grid)
    if not comparisons:
        remedies = {"takes": "`rushes generate`", "guided": "`rushes generate` with generate.kind = \"guided\""}
        remedies["labels"] = "`rushes label` with label.by set"
        needs = " and ".join(f"{need} ({remedies[need]})" for need in recipe.NEEDS) or "clips (`rushes import`)"
        raise ValueError(f"recipe {settings.recipe!r} finds nothing to compare in {project.store.project}: it needs {needs}")
    views = [view for comparison in comparisons for view in comparison.views]
    firsts = [view.first_frame for view in views if view.first_frame]
    _encode_media(project, [view.media for view in views], firsts, "encode")
    check_latents(comparisons, project.latents)
    return comparisons


def evaluate_run(project: Project) -> Facts:
    """Held-out prompts and seeds by base and trained model, measured and compared; writes the summary."""
    settings = project.settings
    run = run_name(settings.train)
    clips = project.store.clips("eval")
    _require(clips, "held-out clips", "rushes import with footage.eval_prompts or footage.eval_fraction above 0")
    clips = clips[: settings.evaluate.prompts]
    ask = settings.generate.model_copy(
        update={"kind": "take", "takes": settings.evaluate.seeds, "steps": settings.evaluate.steps}
    )
    seed = int(stable_hash(["held out", settings.project.seed], 8), 16)
    for system in (BASE, run):
        _generate(project, clips, ask, system, seed, f"evaluate: {system}")
    others = dict.fromkeys(c.system for c in project.store.candidates(split="eval", kind="imported"))
    candidates = [c for s in (BASE, run, *others) for c in project.store.candidates(split="eval", system=s)]
    with project.timed("evaluate: measure", len(candidates)) as tick:
        evaluate.score(project.store, candidates, project.meter, lambda: tick(1))
    table = evaluate.compare(project.store, project.meter, BASE, run, seed=settings.project.seed)
    facts: Facts = {"run": run, "headline": project.meter.headline, "metrics": table}
    if others:
        first, *rest = others
        facts["arms"] = {
            f"{other} against {first} (imported)": evaluate.compare(project.store, project.meter, first, other)
            for other in rest
        }
    return facts


def _require(rows: Sequence[Any], what: str, remedy: str) -> None:
    if not len(rows):
        raise ValueError(f"the project has no {what}; run `{remedy}` first")
