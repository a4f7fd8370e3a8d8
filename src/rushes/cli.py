"""The command line. Stages are imported when they run, so that help, labelling and reports start at once."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import rushes
from rushes.config.files import load_settings
from rushes.config.tables import Settings
from rushes.pipeline.settings import FILE, adopt, read_settings, with_train, write_settings
from rushes.store.database import Store

if TYPE_CHECKING:
    from rushes.pipeline.project import Project

app = App(
    name="rushes",
    help="Preference optimization for video diffusion models.",
    help_epilogue=(
        "Results go to standard output, all else to standard error. Exit codes: 0 done; 2 a command, a setting or a "
        "file that must be changed, or a full disk; 130 stopped by Ctrl-C. Run a stopped command again to continue it. "
        "With RUSHES_TRACEBACK=1 in the environment an error shows where it came from."
    ),
    version=rushes.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
bench = App(name="bench", help="Measure on this machine.")
app.command(bench)

ProjectFolder = Annotated[Path, Parameter(help="the project's folder")]
Overrides = Annotated[
    tuple[str, ...], Parameter(name="--set", negative=(), help="override a setting, as table.name=value; repeatable")
]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="end with one JSON object on standard output")]
RunName = Annotated[str, Parameter(name="--run", help="name of the run; default: the one that the settings name")]

_screen = Console(stderr=True)


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, else one line; nothing where nothing is to be done."""
    if not total or not _screen.is_terminal:
        if total:
            print(f"{name}: {total}", file=sys.stderr, flush=True)
        yield lambda count: None
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_screen) as progress:
        task = progress.add_task(name, total=total)
        yield lambda count: progress.advance(task, count)


def _tell(facts: Any, as_json: bool, lines: Sequence[str] | None = None) -> None:
    """Facts as JSON; or as lines, which say them one by one unless given."""
    if as_json:
        print(json.dumps(facts, allow_nan=False))
        return
    for line in [f"{name}: {value}" for name, value in facts.items()] if lines is None else lines:
        print(line)


@contextmanager
def _opened(folder: Path, settings: Settings) -> Iterator[Project]:
    from rushes.pipeline.project import open_project

    project = open_project(folder, settings, _bar)
    with closing(project.store):
        yield project


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
    _tell({"project": str(project), "settings": str(path), "next": f"rushes run {project}"}, as_json)


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
            return _tell({"new_rows": import_project(store, rows)}, as_json)
    from rushes.pipeline import stages

    with _opened(project, settings) as opened:
        return _tell(stages.import_footage(opened), as_json)


@app.command
def generate(project: ProjectFolder, *, overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Make takes of every training clip with the model as it is."""
    from rushes.pipeline import stages

    with _opened(project, read_settings(project, overrides)) as opened:
        _tell(stages.generate_takes(opened), as_json)


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

    with _opened(project, read_settings(project, (*overrides, f"label.by={by}") if by else overrides)) as opened:
        _tell(stages.label_pairs(opened), as_json)


@app.command
def train(
    project: ProjectFolder,
    *,
    recipe: Annotated[str, Parameter(help="another than train.recipe, with its settings for the tiny backbone")] = "",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Train a run, or continue it where it was stopped."""
    from rushes.pipeline import stages
    from rushes.pipeline.presets import preset

    settings = read_settings(project, () if recipe else overrides)
    if recipe and recipe != settings.train.recipe:
        settings = with_train(project, preset(recipe).train, overrides)
    elif recipe:
        settings = read_settings(project, overrides)
    with _opened(project, settings) as opened:
        _tell(stages.train_run(opened), as_json)


@app.command
def evaluate(project: ProjectFolder, *, run: RunName = "", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Compare base and trained model on held-out prompts and seeds."""
    from rushes.pipeline import reports, stages

    with _opened(project, read_settings(project, overrides)) as opened:
        facts = stages.evaluate_run(opened, run)
        summary = reports.write_summary(opened.store, facts, opened.seconds, opened.settings.project.seed)
    _tell(summary, as_json, _in_words(summary["metrics"]))


@app.command
def report(project: ProjectFolder, *, run: RunName = "", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Write the report of an evaluated run, one HTML file that opens offline."""
    from rushes.pipeline import reports

    settings = read_settings(project, overrides)
    with Store.open(project) as store:
        _tell({"report": str(reports.write_report(store, settings, run))}, as_json)


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
    with _opened(folder, settings) as opened:
        facts = run_all(opened)
    done = [name for name in ("import", "generate", "label", "train") if name in facts]
    stages = [f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts[name].items()) for name in done]
    _tell(facts, as_json, [*stages, *_in_words(facts["metrics"]), f"report: {facts['report']}"])


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

        with _opened(project, settings) as opened:
            facts["weights"] = str(export_weights(opened, run, out))
    _tell(facts, as_json)


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="folder to write to")] = Path("demo"),
    seed: Annotated[int, Parameter(help="of data, training and evaluation")] = 0,
    as_json: AsJson = False,
) -> None:
    """The whole path on the embedded world, several recipes against each other, with a report."""
    from rushes.pipeline.demo import run_demo

    summary = run_demo(out, seed, _bar)
    recipe = f"recipe: {summary['run']}, chosen beforehand; all recipes are in the report"
    lines = [*_in_words(summary["metrics"]), recipe, f"report: {(out / 'report.html').resolve()}"]
    _tell(summary, as_json, lines)


@app.command
def recipes(*, as_json: AsJson = False) -> None:
    """List the recipes: paper and what each needs."""
    from rushes.pipeline.presets import recipe_table

    rows = recipe_table()
    lines = [
        f"{row['name']:<10} {row['paper']}; needs {', '.join(row['needs']) or 'clips'}; "
        f"runs on {', '.join(row['backbones'])}"
        for row in rows
    ]
    _tell(rows, as_json, lines)


@bench.command
def step(
    *,
    rounds: Annotated[int, Parameter(help="timed rounds; medians are reported")] = 7,
    as_json: AsJson = False,
) -> None:
    """Seconds and peak memory of a supervised step, a naive preference step and ours."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # torch's profiler talks on its own, and is loaded below
    from rushes.pipeline.bench import bench_step

    _tell(bench_step(rounds), as_json)


def _in_words(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    def end(value: float | None) -> str:
        return "unknown" if value is None else f"{value:+.4f}"

    return [
        f"{name}: {row['base']:.4f} -> {row['trained']:.4f} ({row['difference']:+.4f}, 95 % interval "
        f"{end(row['low'])} to {end(row['high'])}, n {row['n']}, {row['better']} is better)"
        for name, row in metrics.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: what a user can mend is one sentence on standard error, and Ctrl-C loses nothing."""
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except (ValueError, OSError) as error:
        if os.environ.get("RUSHES_TRACEBACK"):
            raise
        where = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
        print(f"rushes: {where}", file=sys.stderr)
        sys.exit(2)
    except sqlite3.Error as error:
        print(f"rushes: the project's database: {error}; free some space and check the disk", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("rushes: stopped; what was stored is safe, run the same command to continue", file=sys.stderr)
        sys.exit(130)
