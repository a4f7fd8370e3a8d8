"""The command line. Stages are imported when they run, so that help, labelling and reports start at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import rushes
from rushes.config.files import load_settings, to_toml
from rushes.config.tables import Settings
from rushes.media.files import whole_file
from rushes.store.database import Store

if TYPE_CHECKING:
    from rushes.pipeline.project import Project

app = App(name="rushes", help="Preference optimization for video diffusion models.", version=rushes.__version__)
bench = App(name="bench", help="Measure on this machine.")
app.command(bench)

ProjectFolder = Annotated[Path, Parameter(help="the project's folder")]
Overrides = Annotated[
    tuple[str, ...], Parameter(name="--set", negative=(), help="override a setting, as table.name=value; repeatable")
]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="end with one JSON object on standard output")]

_screen = Console(stderr=True)
SETTINGS = "rushes.toml"


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not _screen.is_terminal:
        yield lambda count: None
        return
    with Progress(*columns, console=_screen) as progress:
        task = progress.add_task(name, total=total)
        yield lambda count: progress.advance(task, count)


def _tell(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print(f"{name}: {value}")


def _settings(project: Path, overrides: Sequence[str]) -> Settings:
    path = project / SETTINGS
    if not path.is_file():
        raise ValueError(f"{project} is not a project: it has no {SETTINGS}; make one with `rushes init {project}`")
    return load_settings(path, overrides)


def _project(folder: Path, overrides: Sequence[str]) -> Project:
    from rushes.pipeline.project import open_project

    return open_project(folder, _settings(folder, overrides), _bar)


@app.command
def init(
    project: ProjectFolder,
    *,
    recipe: Annotated[str, Parameter(help="recipe whose settings for the tiny backbone are written")] = "realdpo",
    footage: Annotated[Path | None, Parameter(help="folder of your videos; the embedded world without it")] = None,
    json: AsJson = False,
) -> None:
    """Make a project folder with a commented rushes.toml."""
    from rushes.pipeline.presets import preset

    path = project / SETTINGS
    if path.exists():
        raise ValueError(f"{path} is there already; edit it, or choose another folder")
    settings = preset(recipe, footage)
    Store.create(project).close()
    with whole_file(path) as partial:
        partial.write_text(to_toml(settings), encoding="utf-8")
    _tell({"project": str(project), "settings": str(path), "next": f"rushes run {project}"}, json)


@app.command(name="import")
def import_(project: ProjectFolder, *, set: Overrides = (), json: AsJson = False) -> None:
    """Take real clips into the project."""
    from rushes.pipeline import stages

    _tell(stages.import_footage(_project(project, set)), json)


@app.command
def generate(project: ProjectFolder, *, set: Overrides = (), json: AsJson = False) -> None:
    """Make takes of every training clip with the model as it is."""
    from rushes.pipeline import stages

    _tell(stages.generate_takes(_project(project, set)), json)


@app.command
def label(
    project: ProjectFolder,
    *,
    by: Annotated[str, Parameter(help="world or metric; default: label.by of the settings")] = "",
    set: Overrides = (),
    json: AsJson = False,
) -> None:
    """Compare takes, per segment."""
    from rushes.pipeline import stages

    opened = _project(project, (*set, f"label.by={by}") if by else set)
    if opened.settings.label.by == "none":
        raise ValueError("nobody is named to label: give --by world or --by metric, or set label.by")
    _tell(stages.label_pairs(opened), json)


@app.command
def train(
    project: ProjectFolder,
    *,
    recipe: Annotated[str, Parameter(help="default: train.recipe of the settings")] = "",
    set: Overrides = (),
    json: AsJson = False,
) -> None:
    """Train a run, or continue it where it was stopped."""
    from rushes.pipeline import stages

    _tell(stages.train_run(_project(project, (*set, f"train.recipe={recipe}") if recipe else set)), json)


@app.command
def evaluate(project: ProjectFolder, *, set: Overrides = (), json: AsJson = False) -> None:
    """Compare base and trained model on held-out prompts and seeds."""
    from rushes.pipeline import reports, stages

    opened = _project(project, set)
    facts = stages.evaluate_run(opened)
    summary = reports.write_summary(opened.store, facts, opened.seconds, opened.settings.project.seed)
    _tell(summary if json else {name: _in_words(row) for name, row in facts["metrics"].items()}, json)


@app.command
def report(project: ProjectFolder, *, set: Overrides = (), json: AsJson = False) -> None:
    """Write the report of an evaluated run, one HTML file that opens offline."""
    from rushes.pipeline import reports

    settings = _settings(project, set)
    with Store.open(project) as store:
        _tell({"report": str(reports.write_report(store, settings))}, json)


@app.command
def run(
    settings: Annotated[Path, Parameter(help="a project's folder, or a settings file")],
    *,
    out: Annotated[Path | None, Parameter(help="project folder for a settings file; default: its name")] = None,
    footage: Annotated[Path | None, Parameter(help="folder of the real clips, in place of footage.path")] = None,
    prompts: Annotated[Path | None, Parameter(help="folder of held-out prompts, in place of footage.bench")] = None,
    set: Overrides = (),
    json: AsJson = False,
) -> None:
    """All stages in order; what is done already is not done again."""
    from rushes.pipeline.runs import run_all

    if footage is not None:
        set = (*set, f"footage.path={footage}")
    if prompts is not None:
        set = (*set, f"footage.bench={prompts}")
    folder = settings if settings.is_dir() else out or Path(settings.stem)
    if not settings.is_dir():
        _adopt(load_settings(settings, set), folder, settings)
    _tell(run_all(_project(folder, set)), json)


def _adopt(settings: Settings, folder: Path, source: Path) -> None:
    """Write a settings file's settings into the project, unless the project has others of its own."""
    path = folder / SETTINGS
    if path.is_file():
        if load_settings(path) != settings:
            raise ValueError(f"{path} differs from {source}; run `rushes run {folder}`, or choose another --out")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(to_toml(settings), encoding="utf-8")


@app.command
def export(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="folder to write to")],
    run: Annotated[str, Parameter(help="also export this run's model")] = "",
    form: Annotated[str, Parameter(help="parquet or jsonl")] = "parquet",
    set: Overrides = (),
    json: AsJson = False,
) -> None:
    """Write the project's rows as Parquet or JSONL, and the weights of a run."""
    from rushes.store.exchange import export_project

    if form not in ("parquet", "jsonl"):
        raise ValueError(f"--form must be parquet or jsonl, got {form!r}")
    _settings(project, set)
    out.mkdir(parents=True, exist_ok=True)
    with Store.open(project) as store:
        facts: dict[str, Any] = dict(export_project(store, out, form))  # type: ignore[arg-type]
    if run:
        from rushes.pipeline.weights import export_weights

        facts["weights"] = str(export_weights(_project(project, set), run, out))
    _tell(facts, json)


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="folder to write to")] = Path("demo"),
    seed: Annotated[int, Parameter(help="of data, training and evaluation")] = 0,
    json: AsJson = False,
) -> None:
    """The whole path on the embedded world, several recipes against each other, with a report."""
    from rushes.pipeline.demo import run_demo

    summary = run_demo(out, seed, _bar)
    if json:
        return _tell(summary, json)
    for name, row in summary["metrics"].items():
        print(f"{name:>16}: {_in_words(row)}")
    print(f"{'recipe':>16}: {summary['run']}, chosen beforehand; all recipes are in the report")
    print(f"report: {(out / 'report.html').resolve()}")
    return None


@app.command
def recipes(*, json: AsJson = False) -> None:
    """List the recipes: paper and what each needs."""
    from rushes.pipeline.presets import recipe_table

    rows = recipe_table()
    if json:
        print(_dump(rows))
        return
    for row in rows:
        needs, backbones = ", ".join(row["needs"]) or "clips", ", ".join(row["backbones"])
        print(f"{row['name']:<10} {row['paper']}; needs {needs}; runs on {backbones}")


@bench.command
def step(
    *,
    rounds: Annotated[int, Parameter(help="timed rounds; medians are reported")] = 7,
    json: AsJson = False,
) -> None:
    """Seconds and peak memory of a supervised step, a naive preference step and ours."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # torch's profiler talks on its own, and is loaded below
    from rushes.pipeline.bench import bench_step

    _tell(bench_step(rounds), json)


def _dump(value: object) -> str:
    return json.dumps(value)


def _in_words(row: Mapping[str, Any]) -> str:
    def end(value: float | None) -> str:
        return "unknown" if value is None or abs(value) == float("inf") else f"{value:+.4f}"

    return (
        f"{row['base']:.4f} -> {row['trained']:.4f} ({row['difference']:+.4f}, 95 % interval "
        f"{end(row['low'])} to {end(row['high'])}, n {row['n']}, {row['better']} is better)"
    )


def main() -> None:
    """Entry point: errors that a user can mend are one sentence, and Ctrl-C loses nothing."""
    try:
        app()
    except (ValueError, OSError) as error:
        if os.environ.get("RUSHES_TRACEBACK"):
            raise
        print(f"rushes: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("rushes: stopped; what was stored is safe, run the same command to continue", file=sys.stderr)
        sys.exit(130)
