"""All stages, one after the other."""

from __future__ import annotations

from typing import Any

from rushes.project import labels, negatives, reports, stages, training
from rushes.project.project import Project
from rushes.training.recipe import load_recipe


def run_all(project: Project) -> dict[str, Any]:
    """From footage to report: what each stage did, and the summary.

    Raises:
        ValueError: as the stages do; what a late stage would lack is said before the first long one.
    """
    _ = project.base  # a size that the codec cannot take is said before any footage is read
    facts: dict[str, Any] = {"import": stages.import_footage(project)}
    stages.held_out_clips(project)
    settings = project.settings
    needs = load_recipe(settings.train.recipe).NEEDS
    if "labels" in needs and settings.label.by == "none" and not project.store.preferences():
        recipe = settings.train.recipe
        raise ValueError(f"label.by: recipe {recipe!r} needs labels; set it to human, vlm, metric or world")
    if "scores" in needs and settings.label.by == "none" and not project.store.scores():
        raise ValueError(f"label.by: recipe {settings.train.recipe!r} needs scores; set it to world or metric")
    imported = project.store.candidates(split="train", kind="imported")
    # Takes that came with the footage are what the recipe needs; the model then makes none of its own.
    if ("takes" in needs and not imported) or "guided" in needs:
        facts["generate"] = stages.generate_takes(project)
    if "gaps" in needs:
        one = settings.generate.model_copy(update={"kind": "gap", "takes": 1})
        facts["gaps"] = stages.generate_takes(project, one)
    if "wrong captions" in needs and settings.caption.by != "none":
        facts["caption"] = negatives.wrong_captions(project)
    if settings.label.by != "none":
        facts["label"] = labels.label_takes(project)
    facts["train"] = training.train_run(project)
    evaluated = stages.evaluate_run(project)
    summary = reports.write_summary(project.store, evaluated, project.seconds, settings.project.seed)
    return {**facts, **summary, "report": str(reports.write_report(project.store, settings))}
