"""The one training loop. A method is its comparisons; nothing here knows which."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rushes.backbones.base import Backbone
from rushes.config.tables import Train
from rushes.media.files import whole_file
from rushes.noise.draws import TimeDraw
from rushes.objectives.diagnostics import diagnose
from rushes.objectives.losses import ViewErrors
from rushes.objectives.terms import collate
from rushes.store.latents import LatentStore
from rushes.training import checkpoint
from rushes.training.batches import Batch, make_batch, schedule
from rushes.training.comparison import Comparison
from rushes.training.gradients import Mode, backward, plain_errors
from rushes.training.reference import Reference

PROBE_DRAWS = 4  # fixed draws per held-out comparison
Progress = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Data:
    """What a run trains on and is watched on."""

    comparisons: Sequence[Comparison]
    held_out: Sequence[Comparison]
    latents: LatentStore
    times: TimeDraw


def split(comparisons: Sequence[Comparison], held_out: int) -> tuple[list[Comparison], list[Comparison]]:
    """Training and held-out comparisons; whole prompts are held out, the last that fit, at most a quarter of all."""
    sizes = Counter(c.group for c in comparisons)
    most, count, aside = len(comparisons) // 4, 0, set[str]()
    for group in reversed(sizes):
        if count < held_out and count + sizes[group] <= most:
            aside.add(group)
            count += sizes[group]
    return [c for c in comparisons if c.group not in aside], [c for c in comparisons if c.group in aside]


def train(
    backbone: Backbone,
    data: Data,
    settings: Train,
    folder: Path,
    *,
    seed: int,
    identity: str,
    progress: Progress = lambda step, row: None,
) -> int:
    """Train `backbone` in place, from the newest checkpoint in `folder` if there is one.

    Args:
        backbone: its trainable weights are those that require gradients.
        data: comparisons; the order and all draws follow from `seed` and the step.
        settings: the `[train]` table.
        folder: of the run; receives `metrics.jsonl` and `checkpoints/`.
        seed: of order and draws.
        identity: hash of all that must not change between a run and its continuation.
        progress: called with each finished step and its metrics.

    Returns:
        The number of steps taken now (fewer than the settings' after a resume).

    Raises:
        ValueError: nothing to train on, a gradient that is not finite, or another run's state in the folder.
    """
    if not data.comparisons:
        raise ValueError("no comparison to train on; lower train.held_out, or make more takes or labels")
    torch.use_deterministic_algorithms(settings.deterministic)
    network = backbone.network
    network.eval()  # no dropout: policy and reference must differ by their weights alone
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay, foreach=False)
    reference = Reference(network, settings.reference, settings.ema, settings.ema_every)
    start = _resume(folder, identity, network, reference, optimiser)
    log = _Log(folder / "metrics.jsonl", start)
    for step in range(start, settings.steps):
        if step == 0:
            log.add({"step": 0, **_probe(backbone, data, reference, settings, seed)})
        began = time.perf_counter()
        batch = _batch(backbone, data, settings, step, seed)
        row = _step(backbone, batch, reference, optimiser, settings, step)
        reference.update(step + 1)
        row["seconds"] = time.perf_counter() - began
        done = step + 1
        kept = done % settings.checkpoint_every == 0 or done == settings.steps
        if kept:
            row |= _probe(backbone, data, reference, settings, seed)
        log.add({"step": done, **row})
        if kept:
            log.flush()
            tensors = checkpoint.capture(network, reference, optimiser)
            checkpoint.save(folder / "checkpoints", done, tensors, {"identity": identity})
        progress(done, row)
    return settings.steps - start


def _resume(
    folder: Path, identity: str, network: nn.Module, reference: Reference, optimiser: torch.optim.Optimizer
) -> int:
    """Put the run back where its newest checkpoint left it; the steps it has taken, 0 where there is no checkpoint."""
    state = checkpoint.latest(folder / "checkpoints")
    if state is None:
        return 0
    if state.facts["identity"] != identity:
        raise ValueError(
            f"{folder} holds a run with other settings or data; set train.name to another name, or delete the folder"
        )
    checkpoint.restore(state, network, reference, optimiser)
    return state.step


def _batch(backbone: Backbone, data: Data, settings: Train, step: int, seed: int) -> Batch:
    chosen = schedule(len(data.comparisons), settings.batch, step, seed)
    rows = [(data.comparisons[index], visit) for index, visit in chosen]
    return make_batch(rows, data.latents, backbone, seed, data.times)


def _step(
    backbone: Backbone,
    batch: Batch,
    reference: Reference,
    optimiser: torch.optim.Optimizer,
    settings: Train,
    step: int,
) -> dict[str, float]:
    known = reference_errors(backbone, batch, reference, settings.gradients)
    value, errors = backward(backbone, batch, known, settings.gradients)
    trained = [p for p in backbone.network.parameters() if p.requires_grad]
    norm = nn.utils.clip_grad_norm_(trained, settings.clip_norm)
    if not math.isfinite(float(norm)):
        raise ValueError(f"step {step + 1}: the gradient is not finite; lower train.lr, or look for broken clips")
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(settings, step)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return {"loss": float(value), "gradient_norm": float(norm), **diagnose(errors, batch.terms)}


def learning_rate(settings: Train, step: int) -> float:
    """Rate of a step (the first is 0): up over the warm-up, then, by default, down to zero at the end of the run."""
    rise = (step + 1) / max(1, settings.warmup)
    fall = (settings.steps - step) / max(1, settings.steps - settings.warmup)
    return settings.lr * min(1.0, rise, fall if settings.decay == "linear" else 1.0)


def reference_errors(backbone: Backbone, batch: Batch, reference: Reference, mode: Mode = "auto") -> Tensor:
    """Errors [B, V, F] of the reference; zeros where no term asks for them."""
    if not batch.terms.needs_reference:
        frames = batch.clean_RCFHW.shape[2]
        return torch.zeros(len(batch.terms.coefficients_BKV), batch.views, frames)
    with reference.applied():
        return plain_errors(backbone, batch, mode)


def _probe(backbone: Backbone, data: Data, reference: Reference, settings: Train, seed: int) -> dict[str, float]:
    """Diagnostics on held-out comparisons at fixed draws, prefixed `held_out/`; empty where nothing is held out."""
    pairs = [(c, -1 - draw) for c in data.held_out for draw in range(PROBE_DRAWS)]
    if not pairs:
        return {}
    views = max(len(c.views) for c in data.held_out)
    policy, other = [], []
    for at in range(0, len(pairs), settings.batch):
        batch = make_batch(pairs[at : at + settings.batch], data.latents, backbone, seed, data.times)
        wider = (0, 0, 0, views - batch.views)
        policy.append(functional.pad(plain_errors(backbone, batch, settings.gradients), wider))
        other.append(functional.pad(reference_errors(backbone, batch, reference, settings.gradients), wider))
    # All at once: means of batches' means would count a short last batch, or one with many ties, too much.
    errors = ViewErrors(torch.cat(policy), torch.cat(other))
    found = diagnose(errors, collate([c.terms for c, _ in pairs], views, errors.policy_BVF.shape[-1]))
    return {f"held_out/{name}": value for name, value in found.items()}


class _Log:
    """metrics.jsonl: one row a step, written with the checkpoint that covers it, so neither is ahead of the other."""

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [line for line in lines if json.loads(line)["step"] <= start] if start else []

    def add(self, row: Mapping[str, Any]) -> None:
        # significant digits: relative errors and learning rates are far below one
        self.rows.append(json.dumps({k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in row.items()}))

    def flush(self) -> None:
        with whole_file(self.path) as partial:
            partial.write_text("\n".join(self.rows) + "\n")
