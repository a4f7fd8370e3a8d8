"""The training stage: a recipe's comparisons, encoded and checked, and one run."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from rushes.backbones.base import Backbone
from rushes.backbones.loading import load_model
from rushes.backbones.speed import check_attention_trains
from rushes.config.settings_files import hashed_form, settings_hash
from rushes.config.tables import Settings, TrainSettings, run_name
from rushes.files import whole_file
from rushes.noise.draws import TimeDraw
from rushes.progress import no_bar
from rushes.project.jobs import TrainingJob, read_texts, set_up, whole_weights
from rushes.project.monitoring import last_diagnoses, steps_on, watch_run
from rushes.project.networks import check_offload, load_start, make_trainable, precision_of, starts_of
from rushes.project.processes import Order, WorkerProcess
from rushes.project.project import TEXTS, OpenProject, run_folder, without_network
from rushes.project.recipe_data import recipe_comparisons
from rushes.project.times import TimesResult, expert_shares, times_in_words, training_times
from rushes.records import INLINE, Run, lines_of, stable_hash
from rushes.sidefile import RESTORE
from rushes.tensor_files import save_tensors
from rushes.text_reader import counted
from rushes.training.checkpoint import digest_of, drop_old, newest_facts, only_one, removed
from rushes.training.comparison import Comparison, hashed_comparisons, with_captions
from rushes.training.continuation import ATTENTION, COMPILED, OTHERS_LATER, RunIdentity, check_continuation
from rushes.training.history import CURVES, WEIGHTS, read_history
from rushes.training.loop import Progress, TrainingData, learning_rate, split, train
from rushes.training.monitor import NOBODY, RunMonitor
from rushes.training.parallel import Ranks, joined
from rushes.training.views import takes_account

LATENTS = "what latents are made with"
SIZE = ("name", "frames", "fps", "height_px", "width_px", "tiling")  # of [backbone]: they depend on it


# What the result of a training run says in sentences of its own.
IN_SENTENCES = (
    *("run", "steps", "steps_now", "comparisons", "held_out", "gradients", "gradients_why", "times"),
    *("diagnoses", "remedies"),
)


@dataclass(frozen=True)
class TrainResult:
    """A finished run: what it was trained on, and what is wrong with it."""

    run: str  # its name
    steps: int  # steps of the whole run
    steps_now: int = 0  # taken now; 0 where the run was finished
    gradients: str = ""  # how gradients are taken, as train.gradients has it
    gradients_why: str = ""  # what decided that
    reference_cache: int | None = None  # draws of the reference's errors; null = none are looked up
    comparisons: int = 0  # trained on
    held_out: int = 0  # comparisons that are only measured
    terms: Mapping[str, int] = field(default_factory=dict)  # terms of all comparisons, by level
    same_on_both_sides: Mapping[str, int] | None = None  # terms that compare a clip with itself, dropped, by level
    other_first_frame: int | None = None  # comparisons that lost a clip that does not start from its first frame
    account: Mapping[str, int] = field(default_factory=dict, metadata=INLINE)  # the recipe's own counts
    takes: Mapping[str, int] | None = None  # takes of the training clips: `used`, and by reason those that are not used
    times: TimesResult | None = None  # noise levels
    experts: Mapping[str, float] | None = None  # share of the draws by expert, 0 to 1
    diagnoses: tuple[str, ...] = ()  # names of what is wrong; `rushes health` says more
    remedies: tuple[str, ...] = ()  # for each of these what shows it and what to do

    def lines(self) -> list[str]:
        """What was trained in a sentence, and below it what it was made of."""
        now = f"{self.steps_now} of them now" if self.steps_now else "all of them before"
        return [
            f"run {self.run}: {counted(self.steps, 'step')}, {now}, on {counted(self.comparisons, 'comparison')}; "
            f"{self.held_out} held out",
            *([f"gradients: {self.gradients} ({self.gradients_why})"] if self.gradients_why else []),
            *lines_of(self, *IN_SENTENCES),
            *(line for remedy in self.remedies for line in remedy.splitlines()),
        ]


@dataclass(frozen=True)
class ReferenceCacheResult:
    """Errors of the reference that a run looks up."""

    draws: int  # draws of time and noise for each view
    comparisons: int  # comparisons of the run
    entries: int  # stored errors


@dataclass(frozen=True)
class EncodeResult:
    """Latents of what a run trains on."""

    comparisons: int  # comparisons of the run
    latents: int  # latents of the run's clips and takes
    stored: int  # latents of this codec and size, those of first frames and held-out prompts too


def train_run(project: OpenProject) -> TrainResult:
    """One training run, continued where it was stopped.

    Raises:
        ValueError: nothing to compare, a run that starts from itself, settings that do not go together, or another
            process that trains this run.
    """
    settings, name = project.settings.train, run_name(project.settings.train)
    folder = run_folder(project, name)
    with only_one(folder), joined() as ranks:
        ended = _ended(project, name, folder)
        job, result = _prepare(project, name)
        if ended:
            return _diagnosed(result, folder)
        for line in times_in_words(project.settings, project.base.spec, job.times):
            project.say(line)
        for torn in (*folder.rglob(".*.part"), *folder.rglob(".tmp*")):  # of a killed process; checkpoints are large
            torn.unlink()
        order: Order = partial(_train_along, job)
        ranks.send(order)
        read_texts(job, project.store.project, without_network(project), ranks)
        backbone, data = set_up(job, project.store.project, _start(project), ranks, project.timed)
        for line in doubts(settings, backbone.network, ranks.size):
            project.say(line)
        watch, trackers = watch_run(project, backbone, job, folder)
        with project.timed(f"train: {name}", settings.steps) as tick, _full_disk_said(folder), trackers:
            show = steps_on(tick, ranks.device)
            taken = _train(job, backbone, data, folder, ranks, show, watch)
            _write_weights(job, backbone, folder)
        drop_old(folder / "checkpoints")  # a run that was stopped after its last one has one more
        if ranks.size > 1 and settings.parallel == "shard":  # its hash is that of whole weights
            backbone = _start(project)
            backbone.network.load_state_dict(load_file(folder / WEIGHTS), strict=False)
        _add_run(project, stable_hash(["run", name, job.identity.hash]), name, job.base, backbone, folder)
    first = _first_row(project, folder)
    result = replace(
        result,
        steps_now=taken,
        gradients=first.get("gradients", ""),
        gradients_why=first.get("gradients_why", ""),
        reference_cache=data.reference_cache.draws if data.reference_cache else None,
    )
    return _diagnosed(result, folder)


def _diagnosed(result: TrainResult, folder: Path) -> TrainResult:
    """The result with what is wrong with its run, which ended."""
    last = last_diagnoses(folder)
    remedies = tuple(f"{each.words}\n  {each.remedy}" for each in last)
    return replace(result, diagnoses=tuple(each.name for each in last), remedies=remedies)


def _ended(project: OpenProject, name: str, folder: Path) -> bool:
    """Whether a run is finished and its checkpoint was removed.

    Raises:
        ValueError: more steps are asked for, or its weights are gone, too.
    """
    newest = newest_facts(folder / "checkpoints")
    if newest is None or not removed(folder / "checkpoints"):
        return False
    step, _ = newest
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder / WEIGHTS}: missing, like the checkpoint; {RESTORE}, or delete {folder}")
    if project.settings.train.steps > step:
        raise ValueError(
            f"train.steps is {project.settings.train.steps}, but run {name!r} ended at step {step} and cannot "
            "continue, because `rushes clean` removed its optimizer state: start a run with train.name = "
            f"NEW and train.init_from = {name}, or copy {folder / 'checkpoints'} from a backup"
        )
    return True


def _first_row(project: OpenProject, folder: Path) -> Mapping[str, Any]:
    """What was written of a run before its first step; nothing where that was lost, which is reported."""
    rows = read_history(folder / CURVES)
    if rows and rows[0]["step"] == 0:
        return rows[0]
    begin = f"begin at step {rows[0]['step']}" if rows else "are empty"
    project.say(f"{folder / CURVES}: its first rows were lost, so the curves {begin}; the weights are complete")
    return {}


def doubts(settings: TrainSettings, network: nn.Module, processes: int) -> list[str]:
    """What a user may not have meant by settings of a run, a sentence each."""
    sentences = []
    if any(p.requires_grad and p.dtype == torch.bfloat16 for p in network.parameters()):
        sentences.append(
            f"train.trainable {settings.trainable}: steps below 1/512 of a bfloat16 weight are rounded away (at a "
            "learning rate of 1e-6 about 2 % of the weights move); set backbone.dtype to auto or mixed"
        )
    if settings.batch < processes:
        sentences.append(
            f"train.batch is {settings.batch} for {processes} processes, so {processes - settings.batch} processes get "
            f"no comparison; set it to a multiple of {processes} to use all"
        )
    return sentences


def _train_along(job: TrainingJob, worker: WorkerProcess) -> None:
    """What a process that is not the first does of a run."""
    backbone, data = _set_up_along(job, worker)
    _train(job, backbone, data, worker.folder / "runs" / job.name, worker.ranks)
    deque(whole_weights(backbone), maxlen=0)  # all processes give their parts


def _set_up_along(job: TrainingJob, worker: WorkerProcess) -> tuple[Backbone, TrainingData]:
    worker.forget()
    backbone = load_model(job.settings.backbone, worker.folder / TEXTS, job.dtype, parked=True)
    read_texts(job, worker.folder, backbone, worker.ranks)
    make_trainable(backbone, job.settings.train)
    return set_up(job, worker.folder, backbone, worker.ranks, no_bar)


def encode_run(project: OpenProject) -> EncodeResult:
    """Encode what a run will train on, or the rest of it.

    Raises:
        ValueError: nothing to compare.
    """
    comparisons = recipe_comparisons(project, project.settings.train).comparisons
    keys = {view.key for comparison in comparisons for view in comparison.views}
    return EncodeResult(len(comparisons), len(keys), len(project.latents))


def cache_reference(project: OpenProject) -> ReferenceCacheResult:
    """Compute the reference errors that a run will look up, or the rest of them.

    Raises:
        ValueError: `train.reference_cache` is 0, the reference moves, or as `train_run` does.
    """
    settings = project.settings.train
    if not settings.reference_cache:
        raise ValueError(
            "train.reference_cache is 0, so there are no reference errors to compute; set it to the number of draws, "
            "such as 8"
        )
    name = run_name(settings)
    with only_one(run_folder(project, name)), joined() as ranks:
        job, _ = _prepare(project, name)
        order: Order = partial(_set_up_along, job)
        ranks.send(order)
        read_texts(job, project.store.project, without_network(project), ranks)
        _, data = set_up(job, project.store.project, _start(project), ranks, project.timed)
    there = len(data.reference_cache.entries) if data.reference_cache else 0
    return ReferenceCacheResult(settings.reference_cache, len(job.comparisons), there)


def _prepare(project: OpenProject, name: str) -> tuple[TrainingJob, TrainResult]:
    """What is to be trained, and what a user may want to know of it."""
    settings = project.settings.train
    check_offload(project.settings)
    check_attention_trains(project.settings.backbone.attention)
    made_from, times = check_run(project)
    data = recipe_comparisons(project, settings)
    comparisons = data.comparisons
    _check_captions(comparisons, settings)
    comparisons = with_captions(comparisons, project.store.alternatives())
    used, held_out = split(comparisons, settings.held_out)
    if settings.held_out and not held_out:
        project.say(
            "train.held_out: nothing is held out, because each prompt or film has more than a quarter of the "
            f"{len(comparisons)} comparisons; the curves have no held-out figures"
        )
    held_out = [replace(comparison, captions=()) for comparison in held_out]  # the first caption is evaluated under
    hashes = hashed_comparisons(comparisons)
    # Hashes of runs from before there were such switches stay what they were.
    named = [value for name, value in made_from.others.items() if (name, value) not in OTHERS_LATER.items()]
    identity = RunIdentity(
        stable_hash([made_from.train, *named, hashes]),
        made_from.train,
        others={**made_from.others, "comparisons": f"{len(comparisons)} (hash {stable_hash(hashes)[:8]})"},
        causes={**made_from.causes, "comparisons": _shape_settings(project.settings)},
    )
    base, origin, *_ = made_from.others.values()
    start, latents, dtype = origin or base, project.latents.fingerprint, precision_of(project, settings)
    job = TrainingJob(
        project.settings,
        name,
        base,
        origin=start,
        latents=latents,
        identity=identity,
        dtype=dtype,
        times=times,
        comparisons=tuple(used),
        held_out=tuple(held_out),
    )
    takes = takes_account(project.store, project.grid, comparisons)
    result = TrainResult(
        name,
        settings.steps,
        comparisons=len(used),
        held_out=len(held_out),
        terms=Counter(term.level for comparison in comparisons for term in comparison.terms),
        same_on_both_sides=data.same or None,
        other_first_frame=len(data.left_out) or None,
        account=data.account,
        takes=takes if "used" in takes else None,
        times=TimesResult(times.kind, times.low, times.high, times.shift),
        experts=expert_shares(times, project.base.spec) or None,
    )
    return job, result


def _shape_settings(settings: Settings) -> dict[str, Any]:
    """Settings that give comparisons their shapes."""
    size = settings.backbone
    shapes = {f"backbone.{name}": repr(getattr(size, name)) for name in ("sizes", "lengths", "rates")}
    return {**shapes, "footage.windows": settings.footage.windows}


def check_run(project: OpenProject) -> tuple[RunIdentity, TimeDraw]:
    """All but the comparisons that the settings' run is made from, and its training times; to be called before hours of
    takes and encoding.

    Raises:
        ValueError: the run's folder has a checkpoint that it cannot go on from; what differs is named.
    """
    settings, name = project.settings.train, run_name(project.settings.train)
    size, fit = project.settings.backbone, project.settings.footage.fit
    times = training_times(project.settings, project.base.spec)
    made_from = RunIdentity(
        "",
        hashed_form(settings, exclude={"shortcut_probe", "probe_every", "trackers", "activations"}),
        {
            "the base model": project.base.fingerprint,
            "what train.init_from names": _origin(project, name),
            "project.seed": project.settings.project.seed,
            LATENTS: project.latents.fingerprint,
            # Their shift may be the model's own, or that of [generate].
            "training times": repr(times),
            COMPILED: project.settings.backbone.compile,
            ATTENTION: project.settings.backbone.attention,
        },
        {LATENTS: {**{f"backbone.{name}": getattr(size, name) for name in SIZE}, "footage.fit": fit}},
    )
    folder = run_folder(project, name)
    newest = newest_facts(folder / "checkpoints")
    if newest is not None:
        check_continuation(folder, newest[1], newest[0], made_from, learning_rate)
    return made_from, times


def _check_captions(comparisons: Sequence[Comparison], settings: TrainSettings) -> None:
    """Refuse to replace captions where they are what is compared: all sides would be the same."""
    contrasted = sum(len({view.caption for view in comparison.views}) > 1 for comparison in comparisons)
    if settings.caption_dropout and contrasted:
        raise ValueError(
            f"train.caption_dropout: {contrasted} of {len(comparisons)} comparisons of recipe {settings.recipe!r} "
            "contrast captions, and dropped captions would be equal; set it to 0"
        )


def _train(
    job: TrainingJob,
    backbone: Backbone,
    data: TrainingData,
    folder: Path,
    ranks: Ranks,
    show: Progress = lambda step, row: None,
    watch: RunMonitor = NOBODY,
) -> int:
    settings, seed = job.settings.train, job.settings.project.seed
    return train(
        backbone, data, settings, folder, seed=seed, identity=job.identity, progress=show, watch=watch, ranks=ranks
    )


def _write_weights(job: TrainingJob, backbone: Backbone, folder: Path) -> None:
    with whole_file(folder / WEIGHTS) as partial:
        weights = dict(whole_weights(backbone))
        about = {"base": job.base, "recipe": job.settings.train.recipe, "sha256": digest_of(weights)}
        save_tensors(weights, partial, metadata=about)


def _start(project: OpenProject) -> Backbone:
    torch.manual_seed(project.settings.project.seed)  # the adapter's first factor is drawn by peft
    return load_start(project)


def _origin(project: OpenProject, name: str) -> str:
    """Fingerprint of the weights of the run that training starts from; "" for the base."""
    settings = project.settings.train
    itself = settings.init_from == name
    chain = () if itself else starts_of(project.store, settings)
    if itself or name in (run.name for run in chain):
        raise ValueError(f"train.init_from: run {name!r} cannot start from itself; set train.name to a new name")
    return chain[0].made_by if chain else ""


def _add_run(project: OpenProject, id: str, name: str, base: str, backbone: Backbone, folder: Path) -> None:
    if any(run.id == id for run in project.store.runs()):
        return
    settings = project.settings
    rows = read_history(folder / CURVES)
    run = Run(
        id=id,
        name=name,
        recipe=settings.train.recipe,
        backbone=settings.backbone.name,
        base=base,
        made_by=backbone.fingerprint,
        seed=settings.project.seed,
        steps=settings.train.steps,
        seconds=round(sum(row.get("seconds", 0.0) for row in rows), 2),
        settings=settings.model_dump(mode="json"),
        settings_hash=settings_hash(settings),
    )
    project.store.add([run])


@contextmanager
def _full_disk_said(folder: Path) -> Iterator[None]:
    """Safetensors reports a full disk by an error of its own kind."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{folder}: cannot be written ({error}); free some disk space, then run again") from error
