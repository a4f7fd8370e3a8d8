"""Commands that work on a project, in the order in which they are used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.console import (
    GE_0,
    Anonymous,
    AsJson,
    Overrides,
    ProjectFolder,
    bar,
    in_words,
    opened,
    refuse_unused,
    say,
    tell,
    tell_stage,
    with_options,
)
from rushes.cli.labelling import AnswerOptions, Columns
from rushes.cli.processes import EngineOption, Gpus, detached, led
from rushes.config.settings_files import load_settings
from rushes.config.tables import FootageSettings, Settings
from rushes.config.uses import all_stages, captions, code, nothing
from rushes.files import make_folder
from rushes.progress import waiting
from rushes.project.settings import adopt, check_new, create_project, overridden, read_settings, with_train
from rushes.records import lines_of
from rushes.store.database import Store

PairPaths = Annotated[
    tuple[Path, ...],
    Parameter(
        negative=(),
        consume_multiple=True,
        help="pairs in place of footage: two folders (better, worse), one folder of NAME_w and NAME_l, a table, or a "
        "folder of Parquet files",
    ),
]
prompts_ = App(name="prompts")


RecipeName = Annotated[
    str,
    Parameter(
        help="recipe, with its paper's settings (with --model) or settings for the tiny backbone; default: realdpo, or "
        "dpo with --pairs"
    ),
]


def init(
    project: Annotated[Path | None, Parameter(help="the project's folder; without one --model prints settings")] = None,
    *,
    model: Annotated[
        str | None, Parameter(help="folder of a video model, or hub:OWNER/NAME; default: the tiny backbone")
    ] = None,
    recipe: RecipeName = "",
    footage: Annotated[
        Path | None, Parameter(help="folder, tar or table of your videos; default without --model: the embedded world")
    ] = None,
    pairs: PairPaths = (),
    prompts: Annotated[
        Path | None,
        Parameter(help="with --pairs of folders: file with one prompt per line, or a table of file and caption"),
    ] = None,
    columns: Columns = "",
    answers: AnswerOptions = (),
    size: Annotated[str, Parameter(help="size of a frame as HEIGHTxWIDTH, in place of the model's own")] = "",
    frames: Annotated[int, GE_0, Parameter(help="frames of a clip, in place of the model's own")] = 0,
    gpu: Annotated[str, Parameter(help="kind of GPU that a training step must fit; one that `rushes plan` knows")] = "",
    full: Annotated[bool, Parameter(help="write all settings into rushes.toml, so that no default applies")] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Make a project folder with a short rushes.toml, for a model of yours or for the embedded world."""
    if project is not None:
        check_new(project)
    with_options(overrides, footage__path=("--footage", footage), backbone__frames=("--frames", frames or None))
    from rushes.project.presets import check_clips, notes_on, pairs_of, preset

    check_clips(project, footage)
    recipe = recipe or ("dpo" if pairs else "realdpo")
    if not pairs:
        refuse_unused({"--prompts": prompts, "--columns": columns, "--answers": answers}, "--pairs")
    source = pairs_of(pairs, prompts, footage, columns, answers, project=project) if pairs else footage
    if model is not None:
        return _init_model(project, model, (recipe, source, _pixels(size), frames), gpu, full, overrides, as_json)
    from rushes.project.held_settings import begin_project
    from rushes.project.model_presets import InitResult, check_model
    from rushes.project.settings_checks import check_kind

    if project is None:
        raise ValueError("init: name the project's folder, such as `rushes init my-project`")
    refuse_unused({"--size": size, "--frames": frames, "--gpu": gpu}, "a model of yours (--model)")
    settings = overridden(preset(recipe, source), overrides)
    check_model(settings)
    check_kind(settings)
    file = create_project(project, settings) if full else begin_project(project, settings, {}, overrides)
    notes = notes_on(settings)
    result = InitResult(project, file, _first_look(project, settings), notes)
    tell(result, as_json, [*(f"note: {note}" for note in notes), *lines_of(result, "notes")])


def _init_model(
    project: Path | None,
    model: str,
    ask: tuple[str, Path | FootageSettings | None, tuple[int, int] | None, int],
    gpu: str,
    full: bool,
    overrides: Overrides,
    as_json: bool,
) -> None:
    """The same on a released model."""
    from rushes.inspect.fitting import fitted_to, too_large
    from rushes.inspect.step_forecast import gpu_named
    from rushes.project.held_settings import begin_project
    from rushes.project.model_presets import ModelInitResult, check_model, given, model_preset, sourced
    from rushes.project.presets import held_out_note
    from rushes.project.settings_checks import check_kind

    preset = model_preset(model, *ask)
    settings = overridden(preset.settings, overrides)
    check_kind(settings)
    if gpu:
        gpu = gpu_named(gpu)
        savings = fitted_to(settings, gpu)
        sources = {path: f"so that it fits {gpu}" for path in savings.values}
        notes = [f"{path}: {value}, {sources[path]}" for path, value in savings.values.items()]
        notes = [*preset.notes, *notes, *too_large(settings, savings, gpu)]
        preset = replace(preset, sources={**preset.sources, **sources}, notes=tuple(notes))
        settings = savings.applied(settings)
    if ask[1] is None and not given(overrides, "footage.path"):  # a stand-in, as the settings are validated with one
        settings = settings.model_copy(update={"footage": settings.footage.model_copy(update={"path": ""})})
    check_model(settings)
    preset = replace(preset, notes=(*preset.notes, *held_out_note(settings)))
    rows = sourced(preset, settings, overrides)
    result = ModelInitResult(preset.model, tuple(preset.notes), rows)
    own, ask_for = settings.backbone, settings.generate
    what = f"{own.name}, {own.width_px} x {own.height_px} px, {own.frames} frames at {own.fps:g} fps"
    sampling = f"{ask_for.steps} steps, guidance {ask_for.guidance_scale:g}"
    lines = [f"model: {preset.model}", f"{what}; {sampling}", *(f"note: {note}" for note in preset.notes)]
    if project is None:
        lines += [f"{path} = {row.value!r}  # {row.source}" for path, row in rows.items()]
    else:
        where = {path: row.source for path, row in rows.items()}
        file = create_project(project, settings) if full else begin_project(project, settings, where, overrides)
        result = replace(result, project=project, file=file, next=_first_look(project, settings))
        lines += [f"project: {project}", f"settings: {file}", f"next: {result.next}"]
    tell(result, as_json, lines)


def _first_look(project: Path, settings: Settings) -> str:
    """The command after `init`: own footage is named, and looked at before hours are spent on it."""
    place, footage = quote(str(project)), settings.footage
    if footage.kind == "folder" and not footage.path:
        return f"rushes set {place} footage.path=CLIPS"
    return f"rushes {'preflight' if footage.kind == 'folder' else 'run'} {place}"


def _pixels(size: str) -> tuple[int, int] | None:
    """Height and width; None where no size is given."""
    height, _, width = size.partition("x")
    if size and not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ValueError(f"--size must be HEIGHTxWIDTH in pixels, such as 480x832; got {size!r}")
    return (int(height), int(width)) if size else None


def import_(
    project: ProjectFolder,
    *,
    rows: Annotated[
        Path | None, Parameter(help="import only the rows that `rushes export` wrote in this folder")
    ] = None,
    scores: Annotated[
        Path | None, Parameter(help="import only people's scores from 0 to 10, from this JSON, JSONL or CSV file")
    ] = None,
    add: Annotated[bool, Parameter(help="add to earlier imports instead of replacing them")] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Import real clips; clips of earlier imports that are no longer in the footage are set aside."""
    settings = read_settings(project, overrides, code if rows is None and scores is None else nothing)
    if rows is not None and scores is not None:
        raise ValueError("--rows and --scores cannot be combined; run one import after the other")
    if rows is not None or scores is not None:
        refuse_unused({"--add": add}, "an import of footage, without --rows and --scores")
    if scores is not None:
        from rushes.formats.scores import import_scores

        with Store.open(project) as store:
            skip = settings.footage.on_refused == "skip"
            taken = import_scores(store, scores, skip=skip, say=say)
        return tell_stage(taken, as_json, project, settings)
    if rows is not None:
        from rushes.formats.exchange import RowsImported, import_project

        with Store.create(project) as store:
            exchanged = RowsImported(import_project(store, rows))
        return tell_stage(exchanged, as_json, project, settings)
    from rushes.project import intake

    with opened(project, settings) as work:
        return tell_stage(intake.import_footage(work, add=add), as_json, project, settings)


@prompts_.command
def add(
    project: ProjectFolder,
    *,
    pipeline: Annotated[Path, Parameter(help="folder of an image pipeline in diffusers' layout")],
    prompts: Annotated[Path, Parameter(help="text file with one prompt per line")],
    steps: Annotated[int, GE_0, Parameter(help="sampling steps of a still")] = 50,
    guidance: Annotated[float, GE_0, Parameter(help="classifier-free guidance; 1 = none")] = 7.5,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Make first frames for prompts; they join the held-out ones."""
    from rushes.project.intake import make_stills
    from rushes.text_reader import read_lines

    settings = read_settings(project, overrides, code)
    if not prompts.is_file():
        raise ValueError(f"--prompts: {prompts} is not a file; name a file with one prompt per line")
    with opened(project, settings) as work:
        result = make_stills(work, pipeline, read_lines(prompts), steps=steps, guidance=guidance)
    tell_stage(result, as_json, project, settings)


def generate(
    project: ProjectFolder,
    *,
    run: Annotated[str, Parameter(help="finished run that makes the takes; default: train.init_from")] = "",
    gpus: Gpus = 1,
    engine: EngineOption = "local",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Make takes of every training clip."""
    settings = read_settings(project, overrides, code)
    if led(project, gpus, engine):
        return
    from rushes.project import generation

    with opened(project, settings, engine) as work:
        tell_stage(generation.generate_takes(work, system=run), as_json, project, settings)


def wrong_captions(
    project: ProjectFolder,
    *,
    by: Annotated[str, Parameter(help="rules, world or model; default: caption.by of the settings")] = "",
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Write captions that describe a take's faults, for recipes that contrast them with the true captions."""
    from rushes.project import negatives

    settings = read_settings(project, with_options(overrides, caption__by=("--by", by)), captions)
    with opened(project, settings) as work:
        result = negatives.wrong_captions(work)
    if not result.any:
        return tell(result, as_json, result.lines(), fails=True)
    tell_stage(result, as_json, project, settings)


def train(
    project: ProjectFolder,
    *,
    recipe: Annotated[
        str,
        Parameter(help="recipe in place of train.recipe, with its paper's settings, or those for the tiny backbone"),
    ] = "",
    steps: Annotated[
        int | None, Parameter(help="steps in place of train.steps; more steps than a finished run has continue it")
    ] = None,
    gpus: Gpus = 1,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Train a run, or continue it where it was stopped."""
    from rushes.project.model_presets import recipe_train

    overrides = with_options(overrides, train__steps=("--steps", steps), train__recipe=("--recipe", recipe))
    settings = read_settings(project, () if recipe else overrides, nothing if recipe else code)
    if recipe and recipe != settings.train.recipe:
        others = [text for text in overrides if not text.startswith("train.")]
        settings = with_train(project, recipe_train(read_settings(project, others, code), recipe), overrides)
    elif recipe:
        settings = read_settings(project, overrides, code)
    if led(project, gpus):
        return
    from rushes.project import training

    with opened(project, settings) as work:
        tell_stage(training.train_run(work), as_json, project, settings)


def encode_(project: ProjectFolder, *, gpus: Gpus = 1, overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Encode the clips and takes that a run trains on; `rushes train` encodes what is missing."""
    settings = read_settings(project, overrides, code)
    if led(project, gpus):
        return
    from rushes.project import training

    with opened(project, settings) as work:
        result = training.encode_run(work)
    tell_stage(result, as_json, project, settings)


Rehearse = Annotated[
    bool,
    Parameter(help="run every stage on a few clips and steps, in a copy, to check that it works and how long it takes"),
]


def run(
    project: Annotated[Path, Parameter(help="a project's folder, or a settings file")],
    *,
    out: Annotated[Path | None, Parameter(help="project folder for a settings file; default: its name")] = None,
    footage: Annotated[
        Path | None, Parameter(help="folder, tar or table of the real clips, in place of footage.path")
    ] = None,
    prompts: Annotated[Path | None, Parameter(help="folder of held-out prompts, in place of footage.bench")] = None,
    rounds: Annotated[int, GE_0, Parameter(help="train again on takes of the run before, while that helps")] = 1,
    old_takes: Annotated[
        bool, Parameter(help="with --rounds: also train as long on the first round's takes, to compare")
    ] = False,
    rehearse: Rehearse = False,
    gpus: Gpus = 1,
    detach: Annotated[
        bool, Parameter(help="continue without the terminal; watch with `rushes status --follow`")
    ] = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Run all stages in order; finished work is not repeated."""
    if old_takes and rounds < 2:
        raise ValueError("--old-takes: only for --rounds 2 or more; leave it out")
    overrides = with_options(overrides, footage__path=("--footage", footage), footage__bench=("--prompts", prompts))
    if project.is_dir():
        if out is not None:
            raise ValueError(f"--out: only for a settings file, but {project} is a project; omit it")
        folder, settings = project, read_settings(project, overrides, all_stages)
    elif not project.exists():
        raise ValueError(f"{project}: no such project or settings file; see `rushes init {quote(str(project))}`")
    else:
        folder, settings = out or Path(project.stem), load_settings(project, overrides)
    if (rehearse or detach) and not project.is_dir():
        option = "--rehearse" if rehearse else "--detach"
        raise ValueError(f"{option}: only for a project's folder; make one with `rushes init`")
    if rehearse:
        others = {"--rounds": rounds != 1, "--out": out, "--gpus": gpus != 1, "--detach": detach}
        refuse_unused(others, "a run that is no rehearsal; a rehearsal takes one GPU")
        return _rehearse(folder, settings, as_json)
    if detach:
        begun = detached(folder)
        return tell(begun, as_json, [*lines_of(begun), f"next: rushes status {quote(str(folder))} --follow"])
    if led(folder, gpus):
        return
    if not project.is_dir():
        adopt(folder, settings, project)
    from rushes.project.rounds import run_rounds
    from rushes.project.runs import run_all

    with opened(folder, settings) as work:
        if rounds != 1:
            all_rounds = run_rounds(work, rounds, old_takes)
            ends = [*all_rounds.lines(), f"report: {all_rounds.report}"]
            return tell_stage(all_rounds, as_json, folder, settings, ends)
        result = run_all(work)
    ends = [*result.lines(), *in_words(result.evaluation), f"report: {result.report}"]
    tell_stage(result, as_json, folder, settings, ends)


def _rehearse(folder: Path, settings: Settings, as_json: bool) -> None:
    with waiting("loading PyTorch", say):
        from rushes.inspect.rehearsal import rehearse

    result = rehearse(folder, settings, bar, say)
    tell(result, as_json, result.lines(), fails=result.refused)


def export(
    project: ProjectFolder,
    *,
    out: Annotated[Path, Parameter(help="folder to write to")],
    run: Annotated[str, Parameter(help="also export this run's model")] = "",
    form: Annotated[Literal["parquet", "jsonl"], Parameter(help="form of the rows")] = "parquet",
    weights: Annotated[
        Literal["diffusers", "comfyui"],
        Parameter(help="format of an adapter; whole models are always in diffusers' format"),
    ] = "diffusers",
    anonymous: Anonymous = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Write the project's rows as Parquet or JSONL, and the weights of a run."""
    from rushes.formats.exchange import ProjectExported, export_project
    from rushes.formats.outgoing import Outgoing

    if not run:
        refuse_unused({"--weights": weights != "diffusers"}, "the weights of a --run")
    settings = read_settings(project, overrides, code if run else nothing)
    make_folder(out)
    wrote = None
    if run:  # first, as it may be refused
        from rushes.export.weights import export_weights

        with opened(project, settings) as work, waiting("writing the weights and reading them back", say):
            wrote = export_weights(work, run, out, weights)
    with Store.open(project) as store:
        outgoing = Outgoing.of(store, settings.footage.path, anonymous)
        result = ProjectExported(export_project(store, out, form, outgoing), outgoing.personal)
    if wrote is not None:
        apart = None if wrote.change is None else wrote.difference
        result = replace(
            result,
            weights=wrote.path,
            load=wrote.load or None,
            output_change=wrote.change,
            read_back_difference=apart,
        )
    if not run:
        return tell_stage(result, as_json, project, settings)
    tell(result, as_json, result.lines())
