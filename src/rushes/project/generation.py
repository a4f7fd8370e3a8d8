"""The stage that makes takes, and encodes what they and training start from; what is there is not made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from shlex import quote

from rushes import encode, generate
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import GenerateSettings
from rushes.project.networks import base_in, load_network, network_of
from rushes.project.processes import match_network, share_encoding, share_takes
from rushes.project.project import OpenProject, without_network
from rushes.records import Clip
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
    wanted, new = make_takes(project, chosen, settings, system, project.settings.project.seed, "generate")
    return GenerateResult(system, len(wanted), new)


def make_takes(
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
