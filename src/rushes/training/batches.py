"""Comparisons -> tensors, in an order and with draws that depend on the seed and the step alone.

Nothing here has state: a resumed run asks for step s and gets what the first one would have got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rushes.backbones.base import Backbone, Condition, ReadsTogether
from rushes.noise.draws import TimeDraw, seeded
from rushes.objectives.terms import TermBatch, collate
from rushes.store.latents import LatentStore, still_key
from rushes.training.comparison import Comparison, View, by_shape

EMPTY = ""  # the caption of the unconditional prediction


@dataclass(frozen=True)
class NoiseSample:
    """What a comparison is seen with at a visit, all its views alike."""

    time: Tensor  # [1]
    noise_CFHW: Tensor
    drops_caption: bool
    captions: Mapping[str, str]  # of its views -> those that are drawn in their place
    shown_noise_CHW: Tensor | None  # on a first frame that is shown beside the latents

    def caption(self, view: View) -> str:
        """The caption that a view is seen under."""
        return EMPTY if self.drops_caption else self.captions.get(view.caption, view.caption)


@dataclass(frozen=True)
class NoiseSampler:
    """What a batch is drawn from, beside its comparisons and their visits."""

    seed: int  # of all draws
    times: TimeDraw  # distribution of t
    caption_dropout: float = 0.0  # share of the comparisons that are seen under the empty caption; 1 = all
    # Mean and spread of log noise on a first frame that is shown beside the latents; empty = none. CogVideoX' trainer
    # has N(-3, 0.5), on pixels in [-1, 1] before the codec. This is for latents, encoded once: noise on pixels
    # would need the codec beside the network at each step.
    first_frame_noise: Sequence[float] = ()

    def of(self, comparison: Comparison, visit: int, shape: Sequence[int]) -> NoiseSample:
        """What is drawn for a visit of a comparison whose latents have a shape [C, F, H, W].

        Each part has a generator of its own, so that none depends on whether another is drawn.
        """
        seed, id, share, shown = self.seed, comparison.id, self.caption_dropout, None
        generator = seeded(seed, id, visit)
        time, noise = self.times.of(comparison.shape)(1, generator), torch.randn(*shape, generator=generator)
        drops = share > 0 and float(torch.rand(1, generator=seeded(seed, "caption", id, visit))) < share
        captions: dict[str, str] = {}
        if several := comparison.captions:
            at = torch.randint(len(several), (1,), generator=seeded(seed, "captions", id, visit))
            captions[several[0]] = several[int(at)]
        if self.first_frame_noise:
            generator = seeded(seed, "first frame noise", id, visit)
            mean, spread = self.first_frame_noise
            scale = (mean + spread * torch.randn(1, generator=generator)).exp()
            shown = scale * torch.randn(shape[0], *shape[2:], generator=generator)
        return NoiseSample(time, noise, drops, captions, shown)


@dataclass(frozen=True)
class Batch:
    """Views of several comparisons as rows, comparison by comparison; R rows in all.

    All views of a comparison share its time and its noise.
    """

    clean_RCFHW: Tensor
    noise_RCFHW: Tensor
    t_RF: Tensor  # 0 where the frame is given
    condition: Condition
    place: tuple[tuple[int, int], ...]  # row -> (comparison b, view v)
    terms: TermBatch

    @property
    def views(self) -> int:
        """V of the widest comparison."""
        return self.terms.coefficients_BKV.shape[-1]

    def to(self, device: torch.device) -> Batch:
        """The same with what the network sees on another device; terms stay where they are."""
        if self.clean_RCFHW.device == device:
            return self
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same with all that the network sees changed alike."""
        clean, noise, t = (change(x) for x in (self.clean_RCFHW, self.noise_RCFHW, self.t_RF))
        return replace(self, clean_RCFHW=clean, noise_RCFHW=noise, t_RF=t, condition=self.condition.each(change))

    def _rows(self, rows: slice, place: tuple[tuple[int, int], ...], terms: TermBatch) -> Batch:
        return replace(self._each(lambda tensor: tensor[rows]), place=place, terms=terms)

    def parts(self, comparisons: int) -> Iterator[tuple[slice, Batch]]:
        """The batch cut into batches of at most so many comparisons, and which of them each holds."""
        count = len(self.terms.coefficients_BKV)
        if comparisons >= count:
            yield slice(0, count), self
            return
        for at in range(0, count, comparisons):
            of = [row for row, (b, _) in enumerate(self.place) if at <= b < at + comparisons]
            rows, span = slice(of[0], of[-1] + 1), slice(at, min(at + comparisons, count))
            place = tuple((b - at, v) for b, v in self.place[rows])
            yield span, self._rows(rows, place, self.terms[span])

    def idle(self) -> Batch:
        """The batch of a process without a comparison: nothing counts, and its rows only go along with others'."""
        return replace(self, place=(), terms=self.terms[:0])

    def stand_in(self, time: float | None) -> Batch:
        """The first row, for a pass in which a process has none; at a noise level, or at its own (None)."""
        first = self._rows(slice(0, 1), (), self.terms[:0])
        return first if time is None else replace(first, t_RF=torch.full_like(first.t_RF, time))

    def scatter(self, errors_RF: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """Errors of rows, or of all of them -> [B, V, F]; others, and views that a comparison lacks, are zero."""
        b, v = torch.tensor([self.place[row] for row in rows] if rows is not None else self.place).T
        shape = (len(self.terms.coefficients_BKV), self.views, errors_RF.shape[-1])
        return errors_RF.new_zeros(shape).index_put((b, v), errors_RF)


MakeBatch = Callable[[Sequence[tuple[Comparison, int]]], Batch]  # comparisons at their visits -> their tensors


def schedule(count: int, batch: int, step: int, seed: int) -> list[tuple[int, int]]:
    """(index, visit) of the comparisons of a step: every comparison once a round, each round in its own order."""
    positions = range(step * batch, (step + 1) * batch)
    visits = range(positions[0] // count, positions[-1] // count + 1)
    orders = {visit: torch.randperm(count, generator=seeded(seed, "order", visit)) for visit in visits}
    return [(int(orders[position // count][position % count]), position // count) for position in positions]


def time_of(comparison: Comparison, visit: int, seed: int, times: TimeDraw) -> Tensor:
    """Time [1] of a comparison's visit, as `NoiseSampler.of` has it."""
    return times.of(comparison.shape)(1, seeded(seed, comparison.id, visit))


def make_batch(
    chosen: Sequence[tuple[Comparison, int]], latents: LatentStore, backbone: Backbone, draws: NoiseSampler
) -> Batch:
    """Tensors of some comparisons at their visits.

    Args:
        chosen: comparisons and visits, which order and draws follow from.
        latents: of all views.
        backbone: the model.
        draws: of times, noise and captions.

    Raises:
        ValueError: a latent is missing.
    """
    clean, drawn, t, place, firsts, captions = [], [], [], [], [], []
    stills: dict[str, list[Tensor]] = {}
    for b, (comparison, visit) in enumerate(chosen):
        for v, view in enumerate(comparison.views):
            latent = seen(view, latents)
            if not v:
                shared = draws.of(comparison, visit, latent.shape)
            time = shared.time.expand(latent.shape[1]).clone()
            if view.first_frame:
                firsts.append(latent[:, 0])
                for name, still in stills_of(view, latents, backbone.spec.still).items():
                    stills.setdefault(name, []).append(still)
                if backbone.spec.first_frame == "clean":
                    time[0] = 0.0
                else:  # it is shown beside the latents, all of which are noised and scored
                    latent = _latent(latents, view.key)
            clean.append(latent)
            drawn.append(shared)
            t.append(time)
            place.append((b, v))
            captions.append(shared.caption(view))
    assert len(firsts) in (0, len(clean)), "either all views of a batch are given a first frame or none is"
    views = max(len(comparison.views) for comparison, _ in chosen)
    shown = {name: torch.stack(many) for name, many in stills.items()}
    condition = backbone.condition(captions, torch.stack(firsts) if firsts else None, **shown)
    condition = condition.at_rate(chosen[0][0].shape)
    if draws.first_frame_noise:
        noise = [each.shown_noise_CHW for each in drawn if each.shown_noise_CHW is not None]
        condition = _shown_noisy(condition, backbone.spec.shown, torch.stack(noise))
    return Batch(
        torch.stack(clean),
        torch.stack([each.noise_CFHW for each in drawn]),
        torch.stack(t),
        condition=condition,
        place=tuple(place),
        terms=collate([comparison.terms for comparison, _ in chosen], views, clean[0].shape[1]),
    )


def one_of_each_shape(
    comparisons: Sequence[Comparison],
    latents: LatentStore,
    backbone: Backbone,
    draws: NoiseSampler,
    device: torch.device,
) -> Iterator[Batch]:
    """A batch of the first comparison of each shape, at its first visit."""
    for first, *_ in by_shape(comparisons):
        yield make_batch([(comparisons[first], 0)], latents, backbone, draws).to(device)


def _shown_noisy(condition: Condition, name: str, noise_RCHW: Tensor) -> Condition:
    """A condition with noise on latent frame 0 of what shows the first frame."""
    shown = condition.more[name].clone()
    shown[:, :, 0] += noise_RCHW
    return condition.with_more(**{name: shown})


def stills_of(view: View, latents: LatentStore, names: Sequence[str]) -> dict[str, Tensor]:
    """What a model takes of a view's given first frame beside its latent, [C, F, H, W] by name.

    Raises:
        ValueError: one of them is missing.
    """
    given = view.first
    media, edit = (view.media, view.edit) if given is None else (given.media, given.edit)
    return {name: _latent(latents, still_key(media, name, edit, view.shape)) for name in names}


def read_views(backbone: Backbone, views: Sequence[View], latents: LatentStore) -> None:
    """Have a model that reads captions together with first frames read those of views, once; others do so apart."""
    if isinstance(backbone, ReadsTogether):
        stills = (stills_of(view, latents, backbone.spec.still) for view in views)
        backbone.prepare_together([view.caption for view in views], stills)


def seen(view: View, latents: LatentStore) -> Tensor:
    """The latent of a view [C, F, H, W], its given first frame in place.

    Raises:
        ValueError: a latent is missing.
    """
    latent = _latent(latents, view.key)
    given = view.first
    return latent if given is None else torch.cat([_latent(latents, str(given))[:, :1], latent[:, 1:]], 1)


def _latent(latents: LatentStore, key: str) -> Tensor:
    latent = latents.get(key)
    if latent is None:
        raise ValueError(
            f"no latent for {key[:12]} in {latents.folder}; run `rushes train`, which encodes what is missing"
        )
    return latent.float()
