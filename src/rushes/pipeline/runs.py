"""All stages, one after the other."""

from __future__ import annotations

from typing import Any

from rushes.pipeline import reports, stages
from rushes.pipeline.project import Project
from rushes.training.recipe import load_recipe


def run_all(project: Project) -> dict[str, Any]:
    """From footage to report; returns what each stage did."""
    facts: dict[str, Any] = {"import": stages.import_footage(project)}
    needs = load_recipe(project.settings.train.recipe).NEEDS
    imported = project.store.candidates(split="train", kind="imported")
    # Takes that came with the footage are what the recipe needs; the model then makes none of its own.
    if ("takes" in needs and not imported) or "guided" in needs:
        facts["generate"] = stages.generate_takes(project)
    if project.settings.label.by != "none":
        facts["label"] = stages.label_pairs(project)
    facts["train"] = stages.train_run(project)
    evaluated = stages.evaluate_run(project)
    reports.write_summary(project.store, evaluated, project.seconds, project.settings.project.seed)
    facts["metrics"] = evaluated["metrics"]
    facts["report"] = str(reports.write_report(project.store, project.settings))
    facts["seconds"] = {stage: round(s, 2) for stage, s in project.seconds.items()}
    return facts
