"""Commands about the machine and what lies on it: doctor, plan, cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from rushes import trust
from rushes.cli.console import (
    EITHER,
    GE_0,
    AsJson,
    Overrides,
    ProjectFolder,
    opened,
    refuse_unused,
    say,
    tell,
    tell_stage,
)
from rushes.cli.processes import Gpus, led
from rushes.config.uses import code, nothing
from rushes.progress import waiting
from rushes.project.settings import read_settings
from rushes.records import lines_of, plain

if TYPE_CHECKING:
    from rushes.inspect.job_forecast import JobForecast
    from rushes.inspect.planning import PlanRequest

cache = App(name="cache")


def doctor(
    folder: Annotated[Path, Parameter(help="where the project is or will be; its disk is checked")] = Path("."),
    *,
    as_json: AsJson = False,
) -> None:
    """Check this machine and its installation for what would break a run; exit code 1 if something would."""
    from rushes.inspect.doctor import examine

    with waiting("checking the packages and codecs of this machine", say):
        result = examine(folder)
    lines = lines_of(result.machine)
    lines.append("versions: " + ", ".join(f"{name} {version}" for name, version in result.versions.items()))
    lines += [f"{each.severity}: {each.words}" for each in result.findings]
    lines += [] if result.findings else ["nothing wrong"]
    tell(result, as_json, lines, fails=any(each.severity == "error" for each in result.findings))


def trust_(
    words: Annotated[
        tuple[str, ...],
        Parameter(
            help="module:NAME, host:HOST, key:VARIABLE@HOST or link:/FOLDER; without one, what is allowed is shown"
        ),
    ] = (),
    *,
    as_json: AsJson = False,
) -> None:
    """Allow project files to use a module, a host, a key for a host, or a folder elsewhere."""
    result = trust.allow(words)
    tell(result, as_json, [*result.allowed, f"file: {result.file or 'none, as this user has no home folder'}"])


def plan(
    project: Annotated[Path | None, Parameter(help="a project's folder, in place of --model and its options")] = None,
    *,
    model: Annotated[str, Parameter(help="a released model, such as wan2.1-t2v-1.3b, or a folder of weights")] = "",
    size: Annotated[str, Parameter(help="size of a frame in pixels, as HEIGHTxWIDTH; default: the model's own")] = "",
    frames: Annotated[int, GE_0, Parameter(help="frames of a clip; default: the model's own")] = 0,
    clips: Annotated[
        int, GE_0, Parameter(help="clips of footage, a fifth of which is held out; default: the project's, or 60")
    ] = 0,
    takes: Annotated[int, GE_0, Parameter(help="takes of each clip; default: as the recipe needs")] = 0,
    prompts: Annotated[int, GE_0, Parameter(help="held-out prompts for evaluation; default: the held-out clips")] = 0,
    recipe: Annotated[str, Parameter(help="recipe, which defines how many views a comparison has")] = "realdpo",
    views: Annotated[
        int, GE_0, Parameter(help="views of a comparison, in place of the recipe's, for the step only")
    ] = 0,
    batch: Annotated[int, GE_0, Parameter(help="batch size of one GPU; default: train.batch divided by the GPUs")] = 0,
    trainable: Annotated[Literal["lora", "full"], Parameter(help="as train.trainable")] = "lora",
    lora_rank: Annotated[int, GE_0, Parameter(help="rank of the adapter; default: the model's own")] = 0,
    precision: Annotated[
        Literal["auto", "bfloat16", "mixed", "float32"],
        Parameter(name=["--precision"], help="precision, as backbone.dtype; auto = mixed if all weights are trained"),
    ] = "auto",
    quantize: Annotated[Literal["none", "8bit", "4bit"], Parameter(help="as backbone.quantize")] = "none",
    gradient_checkpointing: Annotated[
        bool, EITHER, Parameter(help="recompute activations in the backward pass")
    ] = True,
    reference_cache: Annotated[bool, EITHER, Parameter(help="use a reference cache (train.reference_cache 8)")] = False,
    first_frame: Annotated[
        bool | None, EITHER, Parameter(help="give the model the first frame; default: as it was released")
    ] = None,
    gpu: Annotated[
        str, Parameter(help="kind of GPU, for its memory and speed; default: the one that is there, or else h100")
    ] = "",
    gpus: Annotated[int, GE_0, Parameter(help="number of GPUs")] = 1,
    gpu_memory_gb: Annotated[float, GE_0, Parameter(help="memory of a GPU, in place of the kind's")] = 0.0,
    tflops: Annotated[float, GE_0, Parameter(help="TFLOP/s that the network reaches; default: 40 % of the peak")] = 0.0,
    table: Annotated[
        Path | None, Parameter(help="write forecasts of all released models to this page (docs/hardware.md)")
    ] = None,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Forecast memory and hours of every stage before anything is loaded; exit code 1 if one does not fit."""
    given = dict(locals())
    with waiting("loading PyTorch", say):
        from rushes.inspect import planning

    if table is not None:
        return _write_page(table, given, as_json)
    asked = planning.PlanRequest(
        model, size, frames, clips=clips, takes=takes, prompts=prompts, recipe=recipe, views=views, batch=batch,
        trainable=trainable, lora_rank=lora_rank, precision=precision, quantize=quantize,
        gradient_checkpointing=gradient_checkpointing, reference_cache=reference_cache, first_frame=first_frame,
    )  # fmt: skip
    with waiting("counting operations and bytes of every stage", say):
        machine = planning.machine(gpu, gpus, gpu_memory_gb, tflops)
        result = planning.forecast(project, asked, machine, overrides)
    assumed = [] if gpu or (gpu_memory_gb and tflops) or planning.gpu_here() else [_assumed(project)]
    _tell_plan(result, as_json, project, overrides, asked, assumed)


def _assumed(project: Path | None) -> str:
    """That the forecast is for no GPU of this machine, and what to do about that."""
    from rushes.inspect.planning import ASSUMED

    here = f"; `rushes run {quote(str(project))} --rehearse` measures hours on this machine" if project else ""
    return f"this machine has no GPU of a known kind, so the forecast is for an {ASSUMED}; name yours with --gpu{here}"


def _tell_plan(
    result: JobForecast,
    as_json: bool,
    project: Path | None,
    overrides: Sequence[str],
    asked: PlanRequest,
    notes: Sequence[str],
) -> None:
    """The forecast, and the command that comes next: in the project, or that which makes one with the model."""
    from rushes.inspect import job_forecast as job
    from rushes.inspect import step_forecast as step
    from rushes.project.model_presets import with_weights

    lines = [*notes, *step.in_words(result.step), *job.in_words(result)]
    if not result.step.fits or result.too_large:
        return tell(result, as_json, lines, fails=True)
    if project is not None:
        return tell_stage(result, as_json, project, read_settings(project, overrides, nothing), lines)
    recipe = "" if asked.recipe == "realdpo" else f" --recipe {quote(asked.recipe)}"
    begin = f"rushes init my-project --model {quote(with_weights(asked.model))}{recipe} --footage CLIPS"
    tell(result, as_json, [*lines, f"next: {begin}"])


def _write_page(table: Path, given: Mapping[str, object], as_json: bool) -> None:
    """`plan --table`: the page of all models; whatever is given to `plan` beside it is refused."""
    from rushes.inspect.hardware import write_page

    defaults = {name: each.default for name, each in signature(plan).parameters.items()}
    shown = {"project": "PROJECT", "overrides": "--set"}
    beside = [name for name in given if name not in ("table", "as_json") and given[name] != defaults[name]]
    refuse_unused(
        {shown.get(name, f"--{name.replace('_', '-')}"): True for name in beside}, "one forecast, without --table"
    )
    tell(write_page(table, say), as_json)


@cache.command
def explain(
    project: ProjectFolder,
    subject: Annotated[str, Parameter(help="id of a clip or take, key of a latent, or a caption")] = "",
    *,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Say what stored latents and captions depend on, and which are current, stale or missing."""
    from rushes.inspect.caches import explain as stage
    from rushes.inspect.caches import in_words

    with opened(project, read_settings(project, overrides, code)) as work:
        result = stage(work, subject)
    made_from = (f"{name} {value}" for name, value in plain(result.depends_on).items())
    lines = [f"entries are made from: {', '.join(made_from)}"]
    lines += [f"current: {result.current}, under {result.fingerprint}"]
    lines += [f"stale: {count}, under {name}" for name, count in result.stale.items()]
    lines += [f"{key}: {state}" for key, state in (result.entries or {}).items()]
    lines += in_words(result.texts) if result.texts else []
    tell(result, as_json, lines)


@cache.command
def reference(project: ProjectFolder, *, gpus: Gpus = 1, overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Compute the reference errors of a run in advance (train.reference_cache), or those still missing."""
    settings = read_settings(project, overrides, code)
    if led(project, gpus):
        return
    from rushes.project import training

    with opened(project, settings) as work:
        result = training.cache_reference(work)
    tell_stage(result, as_json, project, settings)


@cache.command
def check_folder(
    folder: Annotated[Path, Parameter(help="latents as RealDPO's trainer caches them")], *, as_json: AsJson = False
) -> None:
    """Find losers in a folder of RealDPO latents that were encoded differently from their winners; exit code 1 if any
    were."""
    from rushes.training.comparison_checks import FolderCheck
    from rushes.training.comparison_checks import check_folder as check

    words = check(folder)
    result = FolderCheck(len(words), tuple(f"{name}: {text}" for name, text in words.items() if text))
    line = f"{result.losers} losers read, {len(result.problems)} of them encoded differently from their winners"
    tell(result, as_json, [line, *result.problems], fails=result.problems)
