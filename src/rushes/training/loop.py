"""The one training loop. A method is its comparisons; nothing here knows which."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from rushes.backbones.base import Backbone
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.objectives.diagnostics import diagnose
from rushes.objectives.losses import ViewErrors, joined, loss
from rushes.objectives.terms import TermBatch, collate
from rushes.records import stable_hash
from rushes.store.latents import LatentStore
from rushes.training import checkpoint
from rushes.training.activations import place_of
from rushes.training.batches import Batch, NoiseSampler, make_batch, one_of_each_shape, schedule, time_of
from rushes.training.beta import AutoBeta, scaled
from rushes.training.comparison import Comparison, by_shape
from rushes.training.continuation import CheckpointFacts, RunIdentity, as_identity, check_continuation
from rushes.training.determinism import deterministic
from rushes.training.gradient_surgery import LoserGradients
from rushes.training.gradients import backward, measured_strategy, no_errors, plain_errors
from rushes.training.history import CURVES, History
from rushes.training.memory import AUTO, GradientStrategy, most_memory
from rushes.training.monitor import NOBODY, RunMonitor
from rushes.training.optimisers import MOMENTS, make_optimiser
from rushes.training.parallel import ALONE, Ranks, own_part, whole
from rushes.training.probe import measure, per_expert_metrics
from rushes.training.reference import EmaWeights, Reference
from rushes.training.reference_cache import ReferenceCache
from rushes.training.reference_predictions import ReferencePredictions
from rushes.training.unconditional import UnconditionalProbe, asked_under

Progress = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on and is watched on."""

    comparisons: Sequence[Comparison]
    held_out: Sequence[Comparison]
    latents: LatentStore
    times: TimeDraw
    reference_cache: ReferenceCache | None = None  # filled; None = the reference runs beside the policy
    negative_prompt: str | None = None  # that guidance leads away from in a second pass; None = it has none


@dataclass(frozen=True)
class TrainingState:
    """A run in progress: what its steps and probes need."""

    backbone: Backbone
    data: TrainingData
    settings: TrainSettings
    seed: int
    reference: Reference
    optimiser: torch.optim.Optimizer
    strategy: GradientStrategy
    strength: AutoBeta
    ranks: Ranks
    average: EmaWeights | None  # of the trained weights; None = what is trained is what is written
    activations: Callable[[], AbstractContextManager[None]]  # in whose context gradients are taken
    unconditional: UnconditionalProbe
    watchers: Ranks  # processes that share the probes
    predictions: ReferencePredictions  # of a frozen reference, for the probes

    @property
    def trained(self) -> list[nn.Parameter]:
        """The trainable weights."""
        return [p for p in self.backbone.network.parameters() if p.requires_grad]

    def terms(self, chosen: Sequence[tuple[Comparison, int]]) -> TermBatch:
        """Terms of comparisons, at the strength of now."""
        views, frames = max(len(c.views) for c, _ in chosen), max(c.frames for c, _ in chosen)
        return scaled(collate([c.terms for c, _ in chosen], views, frames), self.strength.scale)

    def follow(self, step: int) -> None:
        """Let what follows the policy do so, after optimiser step number `step` (the first is 1)."""
        self.reference.update(step)
        if self.average is not None:
            self.average.update(step)

    def batch(self, chosen: Sequence[tuple[Comparison, int]], caption_dropout: float = 0.0) -> Batch:
        """Tensors of comparisons at their visits, where the network is."""
        draws = NoiseSampler(self.seed, self.data.times, caption_dropout, self.settings.first_frame_noise)
        batch = make_batch(chosen, self.data.latents, self.backbone, draws)
        batch = replace(batch, terms=scaled(batch.terms, self.strength.scale))
        return batch.to(self.trained[0].device)

    def own_batches(
        self, chosen: Sequence[tuple[Comparison, int]], caption_dropout: float = 0.0
    ) -> Iterator[tuple[list[int], Batch]]:
        """Those of this process's share of a step's comparisons, one for each shape, with their places in the share.

        Where it has none, or fewer shapes than another with which it takes its passes, one in which nothing counts.
        """
        mine = self.ranks.share(chosen)
        parts = by_shape([comparison for comparison, _ in mine])
        count = self.strategy.most(len(parts)) if self.strategy.most else len(parts)
        for places in parts:
            yield places, self.batch([mine[at] for at in places], caption_dropout)
        for _ in range(max(1, count) - len(parts)):
            yield [], self.batch(chosen[:1], caption_dropout).idle()


def split(comparisons: Sequence[Comparison], held_out: int) -> tuple[list[Comparison], list[Comparison]]:
    """Training and held-out comparisons; whole prompts, or films of several, are held out, the last that fit, at most a
    quarter of all.
    """
    sizes = Counter(c.cluster for c in comparisons)
    most, count, aside = len(comparisons) // 4, 0, set[str]()
    for cluster in reversed(sizes):
        if count < held_out and count + sizes[cluster] <= most:
            aside.add(cluster)
            count += sizes[cluster]
    return [c for c in comparisons if c.cluster not in aside], [c for c in comparisons if c.cluster in aside]


def train(
    backbone: Backbone,
    data: TrainingData,
    settings: TrainSettings,
    folder: Path,
    *,
    seed: int,
    identity: str | RunIdentity,
    progress: Progress = lambda step, row: None,
    watch: RunMonitor = NOBODY,
    ranks: Ranks = ALONE,
) -> int:
    """Train `backbone` in place, from the newest checkpoint in `folder` if there is one.

    Args:
        backbone: its trainable weights are those that require gradients.
        data: comparisons; the order and all draws follow from `seed` and the step.
        settings: the `[train]` table.
        folder: of the run; receives `metrics.jsonl` and `checkpoints/`.
        seed: of order and draws.
        identity: all that must not change between a run and its continuation, or a hash of it.
        progress: called with each finished step and its metrics, and before them, without, with that of a checkpoint.
        watch: who looks on.
        ranks: the processes that train together; only the first has a log, looks on and, unless weights are sharded,
            writes checkpoints.

    Returns:
        The number of steps taken now (fewer than the settings' after a resume).

    Raises:
        ValueError: nothing to train on, a gradient that is not finite, or another run's state in the folder.
    """
    _check(data, settings, ranks)
    watch, own = watch if ranks.first else NOBODY, as_identity(identity)
    with deterministic(settings.deterministic):
        work = _prepare(backbone, data, settings, seed, ranks)
        work, start = _resume(folder, own, work)
        if start:
            progress(start, {})
        log = _history(folder / CURVES, start, work, watch)
        for step in range(start, settings.steps):
            began, done = time.perf_counter(), step + 1
            row = _step(work, step)
            work.follow(done)
            row |= {"seconds": time.perf_counter() - began, "memory_gib": most_memory(work.trained[0].device) / 2**30}
            saved = done % settings.checkpoint_every == 0 or done == settings.steps
            if _probed(settings, done):
                row |= _probe(work)
            log.add({"step": done, **row, **_samples(work, watch, done)})
            if saved:
                watch.judge(log.rows, settings.steps)
            log.flush(durable=saved)
            watch.track(log.rows)
            if saved:
                _keep(work, folder / "checkpoints", done, own)
            progress(done, row)
        if work.average is not None:  # what was trained stays in the checkpoint
            work.average.adopt()
        work.predictions.clear()
    return settings.steps - start


def _history(path: Path, start: int, work: TrainingState, watch: RunMonitor) -> History:
    """The rows so far, with one of what holds before the first step."""
    log = History(path, start, writes=work.ranks.first)
    if not start:
        log.add({"step": 0, **watch.constants, **_facts(work), **_probe(work), **_samples(work, watch, 0)})
        log.flush()
    return log


def _probed(settings: TrainSettings, done: int) -> bool:
    """Whether held-out comparisons are measured after so many steps."""
    return done % (settings.probe_every or settings.checkpoint_every) == 0 or done == settings.steps


def _check(data: TrainingData, settings: TrainSettings, ranks: Ranks) -> None:
    if not data.comparisons:
        raise ValueError("there are no comparisons to train on; lower train.held_out, or make more takes or labels")
    if data.reference_cache and settings.reference != "frozen":
        raise ValueError(
            f"train.reference_cache works only with a fixed reference, but train.reference is {settings.reference!r}; "
            "change one of them"
        )
    if settings.sample_every and settings.parallel == "shard" and ranks.size > 1:
        raise ValueError(
            "train.sample_every: one process makes the samples, but with sharded weights none has all of "
            "them; set it to 0"
        )
    if settings.objective.safe_dpo and settings.parallel == "shard" and ranks.size > 1:
        raise ValueError(
            'train.objective.safe_dpo: it does not work with sharded weights; set train.parallel to "replicate"'
        )


def _prepare(backbone: Backbone, data: TrainingData, settings: TrainSettings, seed: int, ranks: Ranks) -> TrainingState:
    network = backbone.network
    network.eval()  # no dropout: policy and reference must differ by their weights alone
    sharded = ranks.size > 1 and settings.parallel == "shard"
    if not any(isinstance(p, DTensor) for p in network.parameters()):
        ranks.match(network)
        if sharded:
            ranks.shard(network)
    device = next(network.parameters()).device
    trained = [p for p in network.parameters() if p.requires_grad]
    activations = place_of(network, settings.activations)
    # The reference's values, a gradient and the moments are not there yet and will be.
    sets = (1.0, MOMENTS[settings.optimizer], bool(settings.weights_ema), settings.objective.safe_dpo)
    held = (1 + sum(sets)) * sum(own_part(p).numel() * p.element_size() for p in trained)
    with activations():
        first = one_of_each_shape(data.comparisons, data.latents, backbone, NoiseSampler(seed, data.times), device)
        strategy = measured_strategy(backbone, first, settings.gradients, settings.memory_mb, held / 2**20)
    if sharded:
        strategy = replace(strategy, most=ranks.most, boundary=backbone.spec.boundary)
    reference = Reference(network, settings.reference, settings.reference_ema, settings.reference_sync_steps)
    # Where weights are spread over the processes, a pass of one is a pass of all.
    watchers = ALONE if strategy.most else ranks
    asked = asked_under(data.negative_prompt, data.held_out)
    return TrainingState(
        backbone,
        data,
        settings,
        seed=seed,
        reference=reference,
        optimiser=make_optimiser(settings.optimizer, trained, settings.learning_rate, settings.weight_decay),
        strategy=strategy,
        strength=AutoBeta(settings.auto_beta),
        ranks=ranks,
        average=EmaWeights(network, settings.weights_ema) if settings.weights_ema else None,
        activations=activations,
        unconditional=UnconditionalProbe(backbone, reference, asked, watchers),
        watchers=watchers,
        predictions=ReferencePredictions(),
    )


def _samples(work: TrainingState, watch: RunMonitor, step: int) -> dict[str, Any]:
    """What watches samples, made with the weights that the run would write now."""
    with work.average.applied() if work.average is not None else nullcontext():
        return watch.samples(step, work.settings)


def _keep(work: TrainingState, folder: Path, step: int, identity: RunIdentity) -> None:
    tensors = checkpoint.capture(work.backbone.network, work.reference, work.optimiser, work.average)
    facts: CheckpointFacts = {
        **identity.facts(),
        "beta_scale": work.strength.scale,
        "budget_mib": work.strategy.budget_mib,
        "view_mib": work.strategy.view_mib,
        "view_mib_by_shape": dict(work.strategy.by_shape),
    }
    if work.strategy.most:
        checkpoint.save_sharded(folder, step, tensors, facts, work.ranks)
    elif work.ranks.first:
        checkpoint.save(folder, step, tensors, facts)


def _resume(folder: Path, identity: RunIdentity, work: TrainingState) -> tuple[TrainingState, int]:
    """The run where its newest checkpoint left it, and the steps it has taken, 0 where there is no checkpoint."""
    made_from = [identity.hash, repr(work.backbone.spec), str(work.trained[0].dtype)]
    work = replace(work, predictions=ReferencePredictions(folder / "held_out", stable_hash(made_from)))
    state = checkpoint.latest(folder / "checkpoints")
    if state is None:
        return work, 0
    check_continuation(folder, state.facts, state.step, identity, learning_rate)
    checkpoint.restore(state, work.backbone.network, work.reference, work.optimiser, work.average)
    work.strength.scale = state.facts["beta_scale"]
    if work.settings.gradients == "auto":  # another choice would be another rounding
        strategy = replace(
            work.strategy,
            view_mib=state.facts.get("view_mib", work.strategy.view_mib),
            budget_mib=state.facts["budget_mib"],
            by_shape=state.facts.get("view_mib_by_shape", work.strategy.by_shape),
        )
        work = replace(work, strategy=strategy)
    return work, state.step


def _chosen(work: TrainingState, step: int) -> list[tuple[Comparison, int]]:
    """Comparisons of a step, and the draw that each is seen at."""
    data, settings = work.data, work.settings
    chosen = schedule(len(data.comparisons), settings.batch, step, work.seed)
    draws = data.reference_cache.draws if data.reference_cache else None
    drawn = [(data.comparisons[index], visit % draws if draws else visit) for index, visit in chosen]
    boundary = work.strategy.boundary
    if work.strategy.most and boundary is not None:
        # Each process then gets about as many comparisons of each expert: as few passes as can be are common to all.
        drawn.sort(key=lambda each: float(time_of(each[0], each[1], work.seed, data.times)) < boundary)
    return drawn


def _reference_errors(work: TrainingState, batch: Batch, chosen: Sequence[tuple[Comparison, int]]) -> Tensor:
    """Errors [B, V, F] of the reference, looked up where there is a cache."""
    if cache := work.data.reference_cache:
        return cache.errors(chosen, batch.views) if batch.terms.needs_reference else no_errors(batch)
    return reference_errors(work.backbone, batch, work.reference, work.strategy)


def _step(work: TrainingState, step: int) -> dict[str, float]:
    settings, optimiser, ranks = work.settings, work.optimiser, work.ranks
    chosen = _chosen(work, step)
    terms, mine = work.terms(chosen), ranks.share(chosen)
    losers = LoserGradients(work.trained) if settings.objective.safe_dpo else None
    views, frames = terms.coefficients_BKV.shape[-1], terms.labels_BKF.shape[-1]
    parts, counts = [], terms.counts()
    for places, batch in work.own_batches(chosen, settings.caption_dropout):
        reference_BVF = _reference_errors(work, batch, [mine[at] for at in places])
        with work.activations():
            _, errors = backward(work.backbone, batch, reference_BVF, work.strategy, counts, losers)
        parts.append(errors.among(places, (len(mine), views, frames)))
    own = joined(parts)
    ranks.add_up(work.trained)
    guard = {}
    if losers is not None:
        with losers.filling():
            ranks.add_up(work.trained)
        guard = {"loser_scale": losers.add(settings.objective.safe_dpo_share)}
    norm = whole(nn.utils.clip_grad_norm_(work.trained, settings.max_grad_norm))
    if not math.isfinite(float(norm)):
        raise ValueError(
            f"step {step + 1}: the gradient is NaN or infinite; lower train.learning_rate, or look for broken clips"
        )
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(settings, step)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    errors = ViewErrors(*(ranks.gather(each, len(chosen), views) for each in (own.policy_BVF, own.reference_BVF)))
    row = {"loss": float(loss(errors, terms)), "gradient_norm": float(norm), **guard, **diagnose(errors, terms)}
    work.strength.update(row)
    return row | _of_experts(work, errors, terms, chosen)


def _of_experts(
    work: TrainingState, errors: ViewErrors, terms: TermBatch, chosen: Sequence[tuple[Comparison, int]]
) -> dict[str, float]:
    """Figures of a step by expert; empty where the model has one network."""
    boundary = work.backbone.spec.boundary
    if boundary is None:
        return {}
    t_B = torch.cat([time_of(comparison, visit, work.seed, work.data.times) for comparison, visit in chosen])
    return per_expert_metrics(errors, terms, t_B, boundary)


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Rate of a step (the first is 0): up over the warm-up, then, by default, down to zero at the end of the run."""
    rise = (step + 1) / max(1, settings.warmup_steps)
    fall = (settings.steps - step) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * min(1.0, rise, fall if settings.lr_scheduler == "linear" else 1.0)


def reference_errors(
    backbone: Backbone, batch: Batch, reference: Reference, strategy: GradientStrategy = AUTO
) -> Tensor:
    """Errors [B, V, F] of the reference; zeros where no term asks for them.

    Where weights are sharded it is asked as soon as any process needs it: all take its passes.
    """
    needed = batch.terms.needs_reference
    if not (strategy.most(int(needed)) if strategy.most else needed):
        return no_errors(batch)
    with reference.applied():
        return plain_errors(backbone, batch, strategy)


def _probe(work: TrainingState) -> dict[str, float]:
    """Figures of the held-out comparisons, prefixed `held_out/`; empty where nothing is held out."""
    if not work.data.held_out:
        return {}
    at_once, scale = work.settings.batch, work.strength.scale
    probed = measure(
        work.backbone,
        work.reference,
        work.data.held_out,
        work.batch,
        at_once,
        scale,
        ranks=work.watchers,
        stored=work.predictions if work.reference.mode == "frozen" else None,
    )
    figures = (probed.figures() if probed else {}) | work.unconditional.figures(work.batch)
    return {f"held_out/{name}": value for name, value in figures.items()}


def _facts(work: TrainingState) -> dict[str, Any]:
    """How gradients are taken, for the row of step 0."""
    sizes = {}
    for _, batch in work.own_batches(_chosen(work, 0)):
        sizes[batch.clean_RCFHW[0].numel()] = work.strategy.plan(batch)
    plan = sizes[max(sizes)]  # of the largest shape
    cache = work.data.reference_cache
    return {
        "gradients": plan.mode,
        "gradients_why": plan.why + _shapes_in_words(work.strategy),
        "reference_cache": cache.draws if cache else 0,
        "processes": work.ranks.size,
    }


def _shapes_in_words(strategy: GradientStrategy) -> str:
    """What views of each shape take, where there are several."""
    if not strategy.by_shape:
        return ""
    each = ", ".join(f"{mib:.0f} MiB at {shape}" for shape, mib in strategy.by_shape.items())
    return f"; a view needs {each}, and at most {strategy.view_mib:.0f}"
