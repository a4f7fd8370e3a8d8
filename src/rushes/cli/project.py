"""Commands that work on a project, in the order in which they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from rushes.cli.console import AsJson, Overrides, ProjectFolder, RunName, app, in_words, opened, tell
from rushes.config.files import load_settings
from rushes.pipeline.settings import FILE, adopt, read_settings, with_train, write_settings
from rushes.store.database import Store


@app.command
def init(
    project: ProjectFolder,
    *,
    recipe: Annotated[str, Parameter(help="recipe whose settings for the tiny backbone are written")] = "realdpo",
    footage: Annotated[Path | None, Parameter(help="folder of your videos; the embedded world without it")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a project folder with a commented rushes.toml."""
    from rushes.pipeline.presets import preset

    if (project / FILE).exists():
        raise ValueError(f"{project / FILE} is there already; edit it, or choose another folder")
    settings = preset(recipe, footage)
    Store.create(project).close()
    path = write_settings(project, settings)
    tell({"project": str(project), "settings": str(path), "next": f"rushes run {project}"}, as_json)


@app.command(name="import")
def import_(
    project: ProjectFolder,
    *,
    rows: Annotated[
        Path | None, Parameter(help="take the rows that `rushes export` wrote here, and nothing else")
    ] = None,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Take real clips into the project."""
    settings = read_settings(project, overrides)
    if rows is not None:
        from rushes.store.exchange import import_project

        with Store.create(project) as store:
            return tell({"new_rows": import_project(store, rows)}, as_json)
    from rushes.pipeline import stages

    with opened(project, settings) as work:
        return tell(stages.import_footage(work), as_json)


@app.command
def generate(project: ProjectFolder, *, overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Make takes of every training clip with the model as it is."""
    from rushes.pipeline import stages

    with opened(project, read_settings(project, overrides)) as work:
        tell(stages.generate_takes(work), as_json)


@app.command
def label(
    project: ProjectFolder,
    *,
    by: Annotated[str, Parameter(help="world or metric; default: label.by of the settings")] = "",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Compare takes, per segment."""
    from rushes.pipeline import stages

    with opened(project, read_settings(project, (*overrides, f"label.by={by}") if by else overrides)) as work:
        tell(stages.label_pairs(work), as_json)


@app.command
def train(
    project: ProjectFolder,
    *,
    recipe: Annotated[str, Parameter(help="another than train.recipe, with its settings for the tiny backbone")] = "",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Train a run, or continue it where it was stopped."""
    from rushes.pipeline import training
    from rushes.pipeline.presets import preset

    settings = read_settings(project, () if recipe else overrides)
    if recipe and recipe != settings.train.recipe:
        settings = with_train(project, preset(recipe).train, overrides)
    elif recipe:
        settings = read_settings(project, overrides)
    with opened(project, settings) as work:
        tell(training.train_run(work), as_json)


@app.command
def evaluate(project: ProjectFolder, *, run: RunName = "", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Compare base and trained model on held-out prompts and seeds."""
    from rushes.pipeline import reports, stages

    with opened(project, read_settings(project, overrides)) as work:
        facts = stages.evaluate_run(work, run)
        summary = reports.write_summary(work.store, facts, work.seconds, work.settings.project.seed)
    tell(summary, as_json, in_words(summary["metrics"]))


@app.command
def report(project: ProjectFolder, *, run: RunName = "", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Write the report of an evaluated run, one HTML file that opens offline."""
    from rushes.pipeline import reports

    settings = read_settings(project, overrides)
    with Store.open(project) as store:
        tell({"report": str(reports.write_report(store, settings, run))}, as_json)


@app.command
def run(
    project: Annotated[Path, Parameter(help="a project's folder, or a settings file")],
    *,
    out: Annotated[Path | None, Parameter(help="project folder for a settings file; default: its name")] = None,
    footage: Annotated[Path | None, Parameter(help="folder of the real clips, in place of footage.path")] = None,
    prompts: Annotated[Path | None, Parameter(help="folder of held-out prompts, in place of footage.bench")] = None,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """All stages in order; what is done already is not done again."""
    from rushes.pipeline.runs import run_all

    named = {"footage.path": footage, "footage.bench": prompts}
    overrides = (*overrides, *(f"{name}={folder}" for name, folder in named.items() if folder is not None))
    if project.is_dir():
        if out is not None:
            raise ValueError(f"--out is for a settings file, and {project} is a project; leave --out away")
        folder, settings = project, read_settings(project, overrides)
    elif not project.exists():
        raise ValueError(f"{project}: no such project or settings file; `rushes init {project}` makes a project")
    else:
        folder, settings = out or Path(project.stem), load_settings(project, overrides)
        adopt(folder, settings, project)
    with opened(folder, settings) as work:
        facts = run_all(work)
    done = [name for name in ("import", "generate", "label", "train") if name in facts]
    stages = [f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts[name].items()) for name in done]
    tell(facts, as_json, [*stages, *in_words(facts["metrics"]), f"report: {facts['report']}"])


@app.command
def export(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="folder to write to")],
    run: Annotated[str, Parameter(help="also export this run's model")] = "",
    form: Annotated[Literal["parquet", "jsonl"], Parameter(help="form of the rows")] = "parquet",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Write the project's rows as Parquet or JSONL, and the weights of a run."""
    from rushes.store.exchange import export_project

    settings = read_settings(project, overrides)
    out.mkdir(parents=True, exist_ok=True)
    with Store.open(project) as store:
        facts: dict[str, Any] = dict(export_project(store, out, form))
    if run:
        from rushes.pipeline.weights import export_weights

        with opened(project, settings) as work:
            facts["weights"] = str(export_weights(work, run, out))
    tell(facts, as_json)
