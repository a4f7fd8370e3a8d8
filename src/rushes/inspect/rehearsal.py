"""`rushes run --rehearse`: every stage on a few clips and steps, with the model, size and batch of the project.

It finds in minutes what would stop the job after hours: settings, footage, memory, endpoints. What each stage took is
brought to the whole job by what `rushes plan` counts for both: passes through the network and clips through the codec.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import torch

from rushes.config.tables import Settings, run_name
from rushes.inspect.job_forecast import JobForecast, Machine
from rushes.inspect.planning import forecast_shapes, gpu_here, machine, model_for, numbers_by_shape, trained_on
from rushes.inspect.step_forecast import GIB
from rushes.progress import Bar, no_bar
from rushes.project import intake, training
from rushes.project.defaults import with_model_defaults
from rushes.project.intake import refused_footage
from rushes.project.project import OpenProject, open_project, run_folder
from rushes.project.runs import run_all
from rushes.text_reader import counted
from rushes.training.history import CURVES, read_history

FOLDER = "rehearsal"  # in the project; it is gone at the end
CLIPS, PROMPTS, STEPS, SAMPLING = 4, 2, 2, 4  # a quarter of the clips at most is held out, and four have one
FILES = (CLIPS + PROMPTS, 24, 96, 0)  # of the footage that are looked at, until both sides have a clip; 0 = all
SLOW = 1e-9  # 10^12 operations a second: hours are rounded, and only those of two forecasts are compared
STAND_IN = "motion_speed"  # the metric that labels where people do
# What `rushes plan` forecasts, by the stage whose clock counts it.
PLANNED = {
    "generate": ("encode", "generate"),
    "train": ("reference_cache", "train", "probes", "samples"),
    "evaluate": ("evaluate",),
}


@dataclass(frozen=True)
class StageEstimate:
    """What a stage took in the rehearsal, and takes in the whole job."""

    seconds: float  # seconds in the rehearsal
    hours: float  # hours of the whole job, scaled from the rehearsal
    forecast_hours: float | None = None  # forecast of `rushes plan`; null = an unknown GPU, or none


@dataclass(frozen=True)
class RehearsalResult:
    """A rehearsal that went through."""

    clips: int  # clips or pairs that were trained on
    steps: int
    seconds_a_step: float  # the last, which has no warm-up in it
    stages: dict[str, StageEstimate]
    total_hours: float
    gpu_gib: float | None  # most that was taken of the GPU's memory, in 2^30 bytes; null = no GPU
    gpu_has_gib: float | None
    pairs: bool  # whether these are pairs
    labels: str  # who labelled in place of people; "" = nobody had to
    refused: str  # what the run would refuse at once, of all the footage; "" = nothing
    next: str  # command

    def lines(self) -> list[str]:
        """The same in words."""
        clips = counted(self.clips, "pair" if self.pairs else "clip")
        rows = []
        for name, row in self.stages.items():
            beside = "" if row.forecast_hours is None else f" (forecast: {in_words(row.forecast_hours)})"
            rows.append(f"{name}: {row.seconds:.1f} s, which is {in_words(row.hours)}{beside} for the whole job")
        memory = [f"GPU memory: {self.gpu_gib:.1f} of {self.gpu_has_gib:.1f} GiB"] if self.gpu_gib else []
        people = [f"labels: by {self.labels} in place of people, only for this rehearsal"] if self.labels else []
        return [
            f"every stage ran, on {clips} and {counted(self.steps, 'step')}; its files were deleted",
            *rows,
            *memory,
            *people,
            f"the whole job: about {in_words(self.total_hours)}, without reading footage and models",
            *([f"`rushes run` would refuse this footage: {self.refused}"] if self.refused else []),
            f"next: {self.next}",
        ]


def in_words(hours: float) -> str:
    """Hours, or minutes where that is less than one."""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def rehearsal_settings(settings: Settings) -> Settings:
    """A few clips and steps; what decides memory (model, size, batch, takes, views) stays as it is."""
    footage, evaluate, train = settings.footage, settings.evaluate, settings.train
    fewer: dict[str, object] = {"clips": CLIPS, "eval_prompts": PROMPTS, "on_refused": "skip"}
    if footage.kind != "world" and footage.eval_fraction:
        fewer["eval_fraction"] = PROMPTS / (CLIPS + PROMPTS)
    steps = {"steps": STEPS, "warmup_steps": min(train.warmup_steps, 1), "checkpoint_every": STEPS, "trackers": ()}
    tables: dict[str, object] = {
        "footage": footage.model_copy(update=fewer),
        "generate": settings.generate.model_copy(update={"steps": min(settings.generate.steps, SAMPLING)}),
        "evaluate": evaluate.model_copy(
            update={"prompts": PROMPTS, "seeds": 1, "steps": min(evaluate.steps, SAMPLING)}
        ),
        "train": train.model_copy(
            update={**steps, "sample_every": min(train.sample_every, STEPS), "init_from": "base"}
        ),
    }
    if settings.label.by == "human":
        stand_in = {"by": "metric", "metric": STAND_IN, "segment_s": 1.0, "margin": 0.0}
        tables["label"] = settings.label.model_copy(update=stand_in)
    return settings.model_copy(update=tables)


def rehearse(
    project: Path, settings: Settings, bar: Bar = no_bar, say: Callable[[str], None] = lambda line: None
) -> RehearsalResult:
    """Run all stages of a project on a few of its clips, in a folder that is gone at the end.

    Args:
        project: its folder.
        settings: the whole job's.
        bar: shows each stage.
        say: what a user should read meanwhile.

    Raises:
        ValueError: as the stages do; this is what a rehearsal is for.
        torch.OutOfMemoryError: the GPU's memory is too small for a stage.
    """
    settings = with_model_defaults(settings)
    ask = rehearsal_settings(settings)
    refused, remedy = _refused_at_once(project, settings, bar, say)
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    with _scratch(project / FOLDER) as folder:
        try:
            work = _begun(folder, ask, bar, say)
        except ValueError as error:  # it takes what can be used, and there is nothing
            raise ValueError(f"{refused}\nnext: {remedy}" if refused else str(error)) from None
        with work.store:
            run_all(work)
            clips = len(trained_on(work.store))
        sides = numbers_by_shape(folder, ask)
        step_s = float(read_history(folder / "runs" / run_name(ask.train) / CURVES)[-1]["seconds"])
    kind, costs = gpu_here(), model_for
    here = machine(kind) if kind else None
    numbers, memory = numbers_by_shape(project, settings), here.memory_gb if here else 1e6
    jobs = ((ask, sides), (settings, numbers))
    small, whole = (forecast_shapes(*job, costs, Machine(memory, SLOW)) for job in jobs)
    planned = forecast_shapes(settings, numbers, costs, here) if here else None
    rows = _estimates(work.seconds, (small, whole, planned), step_s * settings.train.steps)
    return RehearsalResult(
        clips=clips,
        steps=STEPS,
        seconds_a_step=round(step_s, 3),
        stages=rows,
        total_hours=round(sum(row.hours for row in rows.values()), 3),
        gpu_gib=round(torch.cuda.max_memory_allocated() / GIB, 2) if gpu else None,
        gpu_has_gib=round(torch.cuda.get_device_properties(0).total_memory / GIB, 2) if gpu else None,
        pairs=settings.footage.kind == "pairs",
        labels=STAND_IN if settings.label.by == "human" else "",
        refused=refused,
        next=remedy if refused else f"rushes run {quote(str(project))}",
    )


def _refused_at_once(project: Path, settings: Settings, bar: Bar, say: Callable[[str], None]) -> tuple[str, str]:
    """What the run would refuse of the whole footage, and the command that solves it; both empty where it goes through.

    Raises:
        ValueError: it would have to continue a run made with other settings.
    """
    whole = open_project(project, settings, bar, say)
    with whole.store:
        if (run_folder(whole, run_name(settings.train)) / "checkpoints").is_dir():
            training.check_run(whole)
        return refused_footage(whole)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder that is gone at the end; what a killed rehearsal left is, too.

    Raises ValueError: something else lies there.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder}: a rehearsal needs this path; move the file that is there")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _begun(folder: Path, settings: Settings, bar: Bar, say: Callable[[str], None]) -> OpenProject:
    """The scratch project with some footage: more of it where the first files leave a side without a clip."""
    for files in FILES:
        work = open_project(folder, settings, bar, say)
        work.most_files = files
        whole = settings.footage.kind == "world" or files == 0
        try:
            intake.import_footage(work)
        except ValueError:  # the few may all be refused, or be of one prompt
            if whole:
                raise
        if whole or (trained_on(work.store) and work.store.clips("eval")):
            return work
        work.store.close()
    raise AssertionError("the last of them takes all")


def _estimates(
    spent: Mapping[str, float], plans: tuple[JobForecast, JobForecast, JobForecast | None], steps_s: float
) -> dict[str, StageEstimate]:
    """What stages took, and hours of the whole job.

    Args:
        spent: seconds by stage.
        plans: forecasts of the rehearsal and of the whole job, which are to each other as their hours will be; and of
            the whole job on this machine, where its kind is one that has a forecast.
        steps_s: seconds of all steps of the whole job.
    """
    small, whole, planned = plans
    rows = {}
    for name, parts in PLANNED.items():
        before, after = _hours(small, parts), _hours(whole, parts)
        if name not in spent or not before:
            continue
        hours = spent[name] * after / before / 3600
        if name == "train":  # the steps as they were measured; what comes with them by the forecast
            hours = steps_s * after / _hours(whole, ("train",)) / 3600
        rows[name] = StageEstimate(
            round(spent[name], 1), round(hours, 3), None if planned is None else round(_hours(planned, parts), 3)
        )
    return rows


def _hours(plan: JobForecast, parts: Sequence[str]) -> float:
    return sum(plan.hours.get(part, 0.0) for part in parts)
