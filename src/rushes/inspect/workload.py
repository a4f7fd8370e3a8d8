"""What a whole job asks of the model: passes through the network by stage and GPU, clips through the codec, captions.

It counts what the stages do, not what they could do: `SHARES` says which of them several GPUs share today. Numbers are
those before anything is dropped: no pair ties, no edited copy equals its clip, nothing is there already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

import torch

from rushes.backbones.base import BackboneSpec
from rushes.backbones.sampling import PathSolver
from rushes.config.tables import Settings
from rushes.edits.words import CODEC
from rushes.generate import negative_prompt
from rushes.noise.paths import sampling_times
from rushes.project.comparisons import comparisons_of_a_clip
from rushes.project.eta import CLIPS, reached_levels
from rushes.store.latents import LatentKey
from rushes.training import unconditional
from rushes.training.comparison import Comparison
from rushes.training.gradients import waiting_views
from rushes.training.memory import GradientMode
from rushes.training.probe import DRAWS
from rushes.training.reference_cache import needs_reference

WorkSharing = Literal["first", "each", "shared"]
# Who does the work of a stage where there are several GPUs: the first alone, each all of it, or each its part.
SHARES: Mapping[str, WorkSharing] = {
    "read": "shared",
    "encode": "shared",
    "eta": "shared",
    "generate": "shared",
    "reference_cache": "shared",
    "train": "shared",
    "probes": "shared",
    "samples": "first",
    "evaluate": "shared",
}


@dataclass(frozen=True)
class JobSize:
    """How large a job is."""

    clips: int  # to train on, or pairs that a project has in their place
    prompts: int  # held out, that evaluation takes
    gpus: int = 1  # processes of torchrun, one GPU each


@dataclass(frozen=True)
class StageWork:
    """What one stage asks of the model, all GPUs together or of each, as `SHARES` says."""

    # by GPU, clips through the network without a backward pass, references and all passes of guidance too
    forward: tuple[int, ...] = (0,)
    # by GPU, clips through the network with a backward pass, whose forward pass is not among `forward`
    backward: tuple[int, ...] = (0,)
    encoded: int = 0  # clips through the codec's encoder
    first_frames: int = 0  # single frames through it
    decoded: int = 0  # clips through its decoder
    captions: int = 0  # that are read


@dataclass(frozen=True)
class ClipComparisons:
    """What a recipe makes of one clip."""

    comparisons: tuple[Comparison, ...] = field(default=())  # of it

    @property
    def views(self) -> int:
        """Views of all its comparisons."""
        return sum(len(each.views) for each in self.comparisons)

    @property
    def widest(self) -> int:
        """Views of the comparison that has most."""
        return max((len(each.views) for each in self.comparisons), default=0)

    @property
    def keys(self) -> set[LatentKey]:
        """Latents that they are made of."""
        return {view.latent for each in self.comparisons for view in each.views}

    @property
    def reference(self) -> bool:
        """Whether any compares with the reference."""
        return any(map(needs_reference, self.comparisons))

    @property
    def by_segment(self) -> bool:
        """Whether any has a term whose frames may get different signs."""
        return any(term.reduction == "segment" for each in self.comparisons for term in each.terms)


def clip_comparisons(settings: Settings) -> ClipComparisons:
    """What the recipe of settings makes of one clip. Raises ValueError: a recipe that refuses them."""
    return ClipComparisons(tuple(comparisons_of_a_clip(settings)))


def workload(
    settings: Settings,
    shape: ClipComparisons,
    numbers: JobSize,
    spec: BackboneSpec,
    latents: Sequence[int],
    *,
    mode: GradientMode = "joint",
) -> dict[str, StageWork]:
    """Stages by name, in their order; those that have nothing to do are left out.

    Args:
        shape: what the settings' recipe makes of a clip.
        latents: C, F, H, W of a clip.
        mode: how gradients are taken; "joint" and "stash" take one pass of each view, "two_pass" another of those that
            wait for others.

    Raises ValueError: more GPUs than comparisons in a step.
    """
    sizes = tuple(int(n) for n in latents[1:])
    job = _Job(settings, numbers, spec, size=(sizes[0], sizes[1], sizes[2]), shape=shape, mode=mode)
    stages: dict[str, StageWork | None] = {name: getattr(job, name)() for name in SHARES}
    return {name: stage for name, stage in stages.items() if stage is not None}


def held_out_of(settings: Settings, clips: int, each: int) -> int:
    """Comparisons held out of training, of `each` a clip: as `rushes.training.loop.split` takes them."""
    if not each:
        return 0
    enough, most = ceil(settings.train.held_out / each), clips * each // 4 // each  # clips, whole
    return each * min(enough, most)


@dataclass(frozen=True)
class _Job:
    """A job's settings and numbers, and what each stage of `SHARES` asks, by a method of its name; None = nothing."""

    settings: Settings
    numbers: JobSize
    spec: BackboneSpec
    size: tuple[int, int, int]
    shape: ClipComparisons
    mode: GradientMode

    @property
    def scales(self) -> tuple[float, float]:
        """Guidance scales, at high and at low noise."""
        ask = self.settings.generate
        return ask.guidance_scale, ask.guidance_scale_2 or ask.guidance_scale

    @property
    def leads_away(self) -> bool:
        """Whether any step of a take asks the network twice."""
        return negative_prompt(self.settings.generate, self.spec) is not None

    @property
    def held_out(self) -> int:
        return held_out_of(self.settings, self.numbers.clips, len(self.shape.comparisons))

    @property
    def trained_on(self) -> int:
        return self.numbers.clips * len(self.shape.comparisons) - self.held_out

    def take(self, steps: int, eta: float = 1.0) -> int:
        """Passes through the network of a take that begins at a share of noise `eta`."""
        shift = self.settings.generate.shift or None
        begin = eta if eta == 1.0 else self.spec.path.time_of_share(eta)
        if self.spec.solver:
            levels = self.spec.solver(steps, shift, begin, self.size).levels
        else:
            levels = PathSolver(self.spec.path, sampling_times(steps, shift or self.spec.shift, begin)).levels
        high, low = (1 + (scale != 1.0 and self.leads_away) for scale in self.scales)
        above = sum(self.spec.boundary is None or level >= self.spec.boundary for level in levels.tolist())
        return int(above * high + (len(levels) - above) * low)

    def guided_take(self) -> float:
        """Passes of a guided take, the mean over shares of noise as they are drawn."""
        low, high = self.settings.generate.eta
        drawn = torch.linspace(low, high, 9, dtype=torch.float64).tolist()
        return sum(self.take(self.settings.generate.steps, eta) for eta in drawn) / len(drawn)

    def alone(self, forward: float = 0, **codec: int) -> StageWork:
        """A stage that the first GPU does alone."""
        return StageWork((round(forward), *(0,) * (self.numbers.gpus - 1)), (0,) * self.numbers.gpus, **codec)

    def read(self) -> StageWork:
        """Captions, and the negative prompt."""
        return StageWork(captions=self.numbers.clips + self.numbers.prompts + self.leads_away)

    def encode(self) -> StageWork:
        """Views of the comparisons; first frames, also of held-out prompts; clips that guide takes are views or not."""
        clips = self.numbers.clips
        edits = [key.edit for key in self.shape.keys]
        guides = self.settings.generate.kind == "guided" and not any(
            view.source == "real" for each in self.shape.comparisons for view in each.views
        )
        again = sum(edit == CODEC for edit in edits)
        firsts = (clips + self.numbers.prompts) * self.settings.backbone.first_frame
        starts = (firsts + clips * sum(map(bool, edits))) * ("start" in self.spec.still)  # a whole clip each
        return StageWork(
            encoded=clips * (len(edits) + guides + again) + starts, first_frames=firsts, decoded=clips * again
        )

    def eta(self) -> StageWork | None:
        """Two takes of a few clips at each level and from pure noise, and each real clip through the codec."""
        if self.settings.generate.kind != "guided":
            return None
        clips, shares = min(CLIPS, self.numbers.clips), (*reached_levels(self.spec.path), 1.0)
        passes = sum(self.take(self.settings.generate.steps, eta) for eta in shares)
        return self.alone(2 * clips * passes, decoded=(2 * len(shares) + 1) * clips)

    def generate(self) -> StageWork | None:
        """Takes of all clips; a recipe that compares none needs none, and pairs that one has are there already."""
        views = [view for each in self.shape.comparisons for view in each.views]
        if self.settings.footage.kind == "pairs" or all(view.source == "real" or view.edit for view in views):
            return None
        ask = self.settings.generate
        passes = self.guided_take() if ask.kind == "guided" else self.take(ask.steps)
        return self.takes(self.numbers.clips * ask.takes, passes)

    def takes(self, count: int, passes: float) -> StageWork:
        """Takes that all GPUs make, whole batches of `generate.batch` each in rounds."""
        sizes = _dealt(count, self.settings.generate.batch, self.numbers.gpus)
        return StageWork(tuple(round(size * passes) for size in sizes), (0,) * self.numbers.gpus, decoded=count)

    def reference_cache(self) -> StageWork | None:
        draws, clips = self.settings.train.reference_cache, self.trained_on / max(len(self.shape.comparisons), 1)
        if not draws or not self.shape.reference:
            return None
        total = round(draws * clips * self.shape.views)
        look = self.settings.train.gradients == "auto"  # one view shows what memory it takes
        return StageWork(tuple(part + look for part in _parts(total, self.numbers.gpus)), (0,) * self.numbers.gpus)

    def train(self) -> StageWork:
        """Steps; the first view of all shows what memory one takes, where that decides how gradients are taken."""
        train, gpus = self.settings.train, self.numbers.gpus
        views = self.shape.views / max(len(self.shape.comparisons), 1)
        waiting = sum(map(waiting_views, self.shape.comparisons)) / max(len(self.shape.comparisons), 1)
        beside = views if self.shape.reference and not train.reference_cache else 0.0
        again = waiting if self.mode == "two_pass" else 0.0
        look = train.gradients == "auto"
        shares = [train.steps * part for part in _parts(train.batch, gpus)]
        return StageWork(
            tuple(round(share * (beside + again)) + look for share in shares),
            tuple(round(share * views) for share in shares),
        )

    def probes(self) -> StageWork | None:
        """Policy and reference on held-out comparisons before the first step and at each probe, and the drift of a few
        predictions under captions and under the negative prompt, where guidance uses that. A frozen reference is asked
        once. Where weights are sharded each process takes all passes.
        """
        train, of_clip = self.settings.train, max(len(self.shape.comparisons), 1)
        gpus = 1 if train.parallel == "shard" else self.numbers.gpus
        count = 1 + -(-train.steps // (train.probe_every or train.checkpoint_every))
        asked = count + (1 if train.reference == "frozen" else count)
        batches = _dealt(self.held_out * DRAWS, train.batch, gpus)
        drifts = self.leads_away * unconditional.DRAWS * min(unconditional.COMPARISONS, self.held_out // of_clip)
        views = self.shape.views / of_clip
        totals = [
            round(asked * (size * views + 2 * few)) for size, few in zip(batches, _dealt(drifts, 1, gpus), strict=True)
        ]
        everyone = tuple(totals) * (self.numbers.gpus // gpus)
        return StageWork(everyone, (0,) * self.numbers.gpus) if any(totals) else None

    def samples(self) -> StageWork | None:
        """Clips at the start, every so many steps and at the end."""
        train = self.settings.train
        if not train.sample_every:
            return None
        times = len({0, train.steps, *range(0, train.steps + 1, train.sample_every)})
        held_out = self.held_out // max(len(self.shape.comparisons), 1)
        takes = times * min(train.samples, held_out)
        return self.alone(takes * self.take(self.settings.generate.steps), decoded=takes)

    def evaluate(self) -> StageWork | None:
        """Held-out prompts by the base and by what was trained."""
        ask = self.settings.evaluate
        of_each, passes = self.numbers.prompts * ask.seeds, self.take(ask.steps)
        if not of_each:
            return None
        stage = self.takes(of_each, passes)  # of the base, and as much of what was trained
        return StageWork(tuple(2 * each for each in stage.forward), stage.backward, decoded=2 * of_each)


def _dealt(items: int, size: int, gpus: int) -> tuple[int, ...]:
    """How many of some items each GPU gets, where they are dealt out in batches."""
    batches = [min(size, items - at) for at in range(0, items, size)]
    return tuple(sum(batches[rank::gpus]) for rank in range(gpus))


def _parts(items: int, gpus: int) -> Iterator[int]:
    """How many of some items each GPU gets: every so manieth."""
    return (len(range(rank, items, gpus)) for rank in range(gpus))
