"""The whole path on the embedded world: one base, several recipes, one report."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from rushes.config.tables import (
    EvaluateSettings,
    FootageSettings,
    GenerateSettings,
    LabelSettings,
    ProjectSettings,
    Settings,
)
from rushes.evaluate.result import EvaluateResult
from rushes.files import whole_file
from rushes.progress import Bar, no_bar
from rushes.project import labels, reports, stages, training
from rushes.project.presets import tiny_train
from rushes.project.project import OpenProject, open_project
from rushes.training.recipe import load_recipe

HEADLINE = "realdpo"  # the recipe that the verdict is about, chosen before any run; see LOG.md
ARMS = (HEADLINE, "sft", "densedpo")
CLIPS, PROMPTS = 256, 192
TAKES = GenerateSettings(takes=1)
GUIDED = GenerateSettings(kind="guided", takes=2)


def demo_settings(seed: int, recipe: str) -> Settings:
    """Settings of one arm; arms differ by recipe alone."""
    return Settings(
        project=ProjectSettings(name="Rushes demo", seed=seed),
        footage=FootageSettings(clips=CLIPS, eval_prompts=PROMPTS),
        generate=TAKES,
        label=LabelSettings(by="world"),
        train=tiny_train(recipe, load_recipe(recipe)),
        evaluate=EvaluateSettings(prompts=PROMPTS),
    )


def run_demo(out: Path, seed: int = 0, bar: Bar = no_bar) -> EvaluateResult:
    """Base, takes, labels, training, held-out evaluation, report; a run that was stopped goes on where it was.

    Writes `report.html` and `summary.json` into `out`, beside the project that they come from.
    """
    out.mkdir(parents=True, exist_ok=True)
    settings = demo_settings(seed, HEADLINE)
    project = open_project(out / f"project-{seed}", settings, bar)
    stages.import_footage(project)
    stages.generate_takes(project, TAKES)
    stages.generate_takes(project, GUIDED)
    labels.label_pairs(project)
    results: dict[str, EvaluateResult] = {}
    for recipe in ARMS:
        arm = OpenProject(project.store, demo_settings(seed, recipe), bar, project.seconds)
        training.train_run(arm)
        results[recipe] = stages.evaluate_run(arm)
    headline = results.pop(HEADLINE)
    arms = {name: result.metrics for name, result in results.items()}
    result = replace(headline, arms=arms, title="Rushes demo: the embedded world")
    summary = reports.write_summary(project.store, result, project.seconds, seed)
    page = reports.write_report(project.store, settings).report
    for source, name in ((page, "report.html"), (page.with_suffix(".json"), "summary.json")):
        with whole_file(out / name) as partial:
            shutil.copyfile(source, partial)
    return summary
