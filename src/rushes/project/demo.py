"""The whole path on the embedded world, in an ordinary project, and its report beside it."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from rushes.config.tables import (
    EvaluateSettings,
    FootageSettings,
    GenerateSettings,
    LabelSettings,
    ProjectSettings,
    Settings,
    run_name,
)
from rushes.evaluate.result import EvaluateResult, read_metrics
from rushes.files import whole_file
from rushes.progress import Bar, no_bar
from rushes.project import reports
from rushes.project.generation import generate_takes
from rushes.project.held_settings import begin_project
from rushes.project.presets import TINY_ETA, tiny_train
from rushes.project.project import open_project
from rushes.project.runs import run_all
from rushes.project.settings import SETTINGS_FILE, adopt
from rushes.report.live import LivePage
from rushes.training.history import CURVES
from rushes.training.recipe import load_recipe

RECIPE = "realdpo"  # chosen before any run; see LOG.md
CLIPS, PROMPTS = 256, 96
TO_LABEL = 12  # pairs for who wants to label; takes of another kind than the recipe reads, so that it trains as before


def demo_settings(seed: int) -> Settings:
    """Settings of the demo's project."""
    return Settings(
        project=ProjectSettings(name="Rushes demo", seed=seed),
        footage=FootageSettings(clips=CLIPS, eval_prompts=PROMPTS),
        generate=GenerateSettings(takes=1),
        label=LabelSettings(by="none"),
        train=tiny_train(RECIPE, load_recipe(RECIPE)),
        evaluate=EvaluateSettings(prompts=PROMPTS),
    )


def demo_folder(out: Path, seed: int) -> Path:
    """The demo's project, which every command takes."""
    return out / f"project-{seed}"


def run_demo(out: Path, seed: int = 0, bar: Bar = no_bar, page: LivePage | None = None) -> EvaluateResult:
    """Base, takes, training, held-out evaluation, report; a run that was stopped goes on where it was.

    Writes `report.html` and `summary.json` into `out`, beside the project that they come from; `page` fills
    meanwhile.

    Raises:
        ValueError: the project in `out` has other settings than the demo's.
    """
    settings, folder = demo_settings(seed), demo_folder(out, seed)
    if (folder / SETTINGS_FILE).is_file():
        adopt(folder, settings, "the demo")
    else:
        begin_project(folder, settings)
    if page is not None:
        page.rows, bar = folder / "runs" / run_name(settings.train) / CURVES, page.beside(bar)
    project = open_project(folder, settings, bar)
    with closing(project.store):
        summary = replace(run_all(project).evaluation, **_other_recipes())
        summary = reports.write_summary(project.store, summary, project.seconds, seed)
        report = reports.write_report(project.store, settings).report
        pairs = settings.generate.model_copy(update={"kind": "guided", "takes": 2, "eta": TINY_ETA})
        generate_takes(project, pairs, clips=TO_LABEL)
    for source, name in ((report, "report.html"), (report.with_suffix(".json"), "summary.json")):
        with whole_file(out / name) as partial:
            shutil.copyfile(source, partial)
    return summary


def _other_recipes() -> dict[str, Any]:
    """What docs/evidence shows of the other recipes on the embedded world, which the demo does not run."""
    stored = json.loads(files("rushes.project").joinpath("demo_recipes.json").read_text(encoding="utf-8"))
    return {
        "arms": {f"{name} (stored)": read_metrics(metrics) for name, metrics in stored["arms"].items()},
        "arms_intro": "Change from the base; PhysHPO and its base are given no first frame. Only the first row was run "
        f"here. The others are stored results of {stored['seeds']} other seeds with fewer steps (docs/evidence.md): "
        "compare them with each other, not with the first row.",
    }
