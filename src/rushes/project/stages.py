"""The stages in order. Each can be stopped at any time and run again: it does what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from shlex import quote

from rushes import encode, generate
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import GenerateSettings, Settings, run_name
from rushes.evaluate import stored
from rushes.evaluate.result import EvaluateResult, Metrics
from rushes.footage.split import film_of
from rushes.project.intake import import_footage as import_footage  # the first of them
from rushes.project.networks import base_in, load_network, network_of
from rushes.project.processes import match_network, share_encoding, share_measuring, share_takes, still_of
from rushes.project.project import OpenProject, without_network
from rushes.records import BASE, Candidate, Clip, seed_of
from rushes.store.latents import LatentKey
from rushes.text_reader import counted
from rushes.training.views import first_frame_of


@dataclass(frozen=True)
class GenerateResult:
    """Takes of training clips."""

    by: str  # system: "base", or a run
    takes: int  # takes that the settings ask for; all of them exist now
    new: int  # generated now

    def lines(self) -> list[str]:
        """The same in a sentence."""
        return [f"{counted(self.takes, 'take')} by {self.by}, {self.new} of them new"]


def generate_takes(
    project: OpenProject, settings: GenerateSettings | None = None, system: str = "", clips: int | None = None
) -> GenerateResult:
    """Takes of training clips by a system: "base", a finished run, or by default what training starts from.

    Args:
        project: is added to.
        settings: instead of the project's.
        system: who makes them.
        clips: how many of the clips, the first; None = all.

    Raises:
        ValueError: there are no clips, or no such run.
    """
    settings, system = settings or project.settings.generate, system or project.settings.train.init_from
    chosen = project.store.clips("train")[:clips]
    if not chosen:
        place = quote(str(project.store.project))
        raise ValueError(f"the project has no clips to train on; run `rushes import {place}` first")
    wanted, new = _generate(project, chosen, settings, system, project.settings.project.seed, "generate")
    return GenerateResult(system, len(wanted), new)


def _generate(
    project: OpenProject,
    clips: Sequence[Clip],
    settings: GenerateSettings,
    system: str,
    seed: int,
    stage: str,
    beside: str = "",
) -> tuple[list[str], int]:
    """Ids of all candidates that the settings ask for, and how many of them were made now.

    The base answers in the precision of the run that it is compared with (`beside`), if any.
    """
    network = network_of(project, system, beside)  # before what may take hours
    encode_missing(project, *latents_of(project, clips, whole=settings.kind == "guided"), f"{stage}: encode")
    context = generate.GenerationContext(
        project.latents,
        project.base if network.chain else base_in(project, network.dtype),
        project.settings.backbone,
        settings,
        store=project.store,
        system=system,
        made_by=network.made_by,
    )
    wanted = generate.requests(context, clips, seed)
    with project.store.media.remembering():
        lacking = generate.missing(context, wanted)
    missing = lacking.requests
    if lacking.lost:
        project.say(f"{lacking.lost} takes were lost from media/ or damaged, and are generated again")
    with project.timed(stage, len(missing)) as tick:
        if missing:  # captions are read before there is a network
            without_network(project)
        spread = share_takes(project.ranks, network, context, missing)
        generate.read(context, missing)
        if network.chain:  # also where all takes are there: weights that are not the run's are refused
            context = replace(context, backbone=load_network(project, network))
        if missing:
            match_network(project.ranks, context.backbone, network)
        seconds = generate.generate(context, missing, tick, spread)
    counts, size = Counter(request.shape for request in missing), project.settings.backbone
    for shape, taken in seconds.items() if len(size.shapes) > 1 else ():
        words = (ClipShape.read(shape) if shape else size.shape).words
        project.say(f"{stage}: {counted(counts[shape], 'take')} of {words}: {taken / 3600:.2f} h")
    return [request.id for request in wanted], lacking.new + lacking.lost


def latents_of(project: OpenProject, clips: Sequence[Clip], whole: bool) -> tuple[list[LatentKey], list[LatentKey]]:
    """Latents of clips themselves, where they are wanted, and of given first frames, each in its clip's shape."""
    size = project.settings.backbone
    shapes = {clip.id: generate.shape_of(size, clip) for clip in clips}
    firsts = [LatentKey(first_frame_of(clip), first=True, shape=shapes[clip.id]) for clip in clips]
    own = [LatentKey(clip.media, shape=shapes[clip.id]) for clip in clips]
    return own if whole else [], firsts if size.first_frame else []


def encode_missing(project: OpenProject, whole: Sequence[LatentKey], firsts: Sequence[LatentKey], stage: str) -> None:
    """Latents of media: of whole clips, and of first frames alone."""
    asked = [*whole, *firsts]
    parts = [replace(key, first=True, part=name) for key in asked for name in project.base.spec.still]
    project.latents.mend(map(str, (*asked, *parts)), remember=True)
    wanted = encode.jobs(project.latents, whole, firsts)
    size, fit = project.settings.backbone, project.settings.footage.fit
    if not wanted:
        return
    with project.timed(stage, len(wanted)) as tick:
        spread = share_encoding(project)
        encode.encode(project.store.media, project.latents, project.base, size, fit, wanted, tick, spread)
    project.latents.look_again()


def held_out_clips(project: OpenProject) -> tuple[Clip, ...]:
    """Clips that evaluation takes, at most as many as the settings ask for: the first of each film, then the second.

    Raises:
        ValueError: there are none.
    """
    clips = project.store.clips("eval")
    if not clips:
        raise ValueError(_no_held_out(project))
    films, place = Counter[str](), dict[str, int]()
    for clip in clips:
        films[film_of(clip)] += 1
        place[clip.id] = films[film_of(clip)]
    return tuple(sorted(clips, key=lambda clip: place[clip.id])[: project.settings.evaluate.prompts])


def _no_held_out(project: OpenProject) -> str:
    """Why there is nothing to evaluate on, and the remedy."""
    place, footage = quote(str(project.store.project)), project.settings.footage
    if footage.kind != "pairs" and not project.store.clips("train"):
        return f"the project has no clips; run `rushes import {place}`"
    if footage.kind == "world":
        remedy = "set footage.eval_prompts above 0, then run `rushes import`"
    elif footage.eval_fraction:
        remedy = (
            "clips of one film stay on one side, and each side needs a film: add another film to the footage and run "
            "`rushes import`, or name held-out prompts as footage.bench"
        )
    else:
        remedy = (
            f"to train without a verdict run `rushes train {place}`; for a verdict, add footage with other prompts or "
            "films, set footage.eval_fraction above 0 and run `rushes import`"
        )
    return f"the project has no held-out clips; {remedy}"


def held_out_ask(settings: Settings) -> GenerateSettings:
    """How takes of held-out prompts are made."""
    return settings.generate.model_copy(
        update={"kind": "take", "takes": settings.evaluate.seeds, "steps": settings.evaluate.steps}
    )


def held_out_takes(project: OpenProject, system: str, beside: str = "") -> list[Candidate]:
    """Takes of held-out prompts by the base or a finished run; all systems get the same prompts and seeds.

    `beside` names the run that the base is compared with, for its precision.

    Raises:
        ValueError: nothing is held out, or the run is not finished.
    """
    ask = held_out_ask(project.settings)
    drawn = seed_of("held out", project.settings.project.seed)
    stage = f"evaluate: {system}"
    ids = set(_generate(project, held_out_clips(project), ask, system, drawn, stage, beside)[0])
    return [row for row in project.store.candidates(split="eval", system=system) if row.id in ids]


def evaluate_run(project: OpenProject, run: str = "") -> EvaluateResult:
    """Held-out prompts and seeds by the base and a trained model, measured and compared.

    Raises:
        ValueError: the run is not finished, or nothing is held out.
    """
    settings, store, meter = project.settings, project.store, project.meter
    run = run or run_name(settings.train)
    held_out_clips(project)  # what lacks is reported in the order in which it is made, and before the base answers
    stored.finished_run(store, run)
    base, trained = (held_out_takes(project, system, run) for system in (BASE, run))
    others: dict[str, list[Candidate]] = {}
    for row in (row for row in store.candidates(split="eval", kind="imported") if row.clip_id):  # no labelled pairs
        others.setdefault(row.system, []).append(row)
    _measure(project, [*base, *trained, *(c for rows in others.values() for c in rows)])
    seed = settings.project.seed
    scores = stored.paired_scores(store, meter, base, trained, seed=seed)
    metrics = scores.compare()
    first, *rest = others or [""]
    arms = {
        f"{other} against {first}": stored.paired_scores(
            store, meter, others[first], others[other], seed=seed
        ).compare()
        for other in rest
    }
    return EvaluateResult(run, meter.headline, metrics, arms, shapes=scores.compare_by_shape())


def held_out_change(project: OpenProject, first: str, second: str) -> Metrics:
    """How the second system's held-out takes differ from the first's, by metric."""
    takes = [held_out_takes(project, system, second) for system in (first, second)]
    _measure(project, [*takes[0], *takes[1]])
    seed = project.settings.project.seed
    return stored.paired_scores(project.store, project.meter, *takes, seed=seed).compare()


def _measure(project: OpenProject, candidates: Sequence[Candidate]) -> None:
    """Give scores to those that have none."""
    store, meter = project.store, project.meter
    missing = stored.unmeasured(store, candidates, meter)
    with project.timed("evaluate: measure", len(missing)) as tick:
        firsts = first_frames(project, missing)
        spread = share_measuring(project, firsts)
        still = partial(still_of, store.media, firsts)
        stored.score(store, missing, meter, still, lambda: tick(1), spread)


def first_frames(project: OpenProject, candidates: Sequence[Candidate]) -> dict[str, str]:
    """Media of the first frames that candidates were given to start from, by candidate."""
    if not project.settings.backbone.first_frame:
        return {}
    clips = {clip.id: clip for clip in project.store.clips(dropped=True)}
    return {row.id: first_frame_of(clips[row.clip_id]) for row in candidates if row.clip_id in clips}
