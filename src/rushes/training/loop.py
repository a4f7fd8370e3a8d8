"""The one training loop. A method is its comparisons; nothing here knows which."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rushes.backbones.base import Backbone
from rushes.config.tables import Train
from rushes.media.files import whole_file
from rushes.noise.draws import TimeDraw
from rushes.objectives.losses import ViewErrors, diagnose
from rushes.store.latents import LatentStore
from rushes.training import checkpoint
from rushes.training.batches import Batch, make_batch, schedule
from rushes.training.comparison import Comparison
from rushes.training.gradients import backward, choose, row_errors
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
    """Training and held-out comparisons; whole prompts are held out, the last ones, at most a quarter of all."""
    groups = list(dict.fromkeys(c.group for c in comparisons))
    wanted, aside = min(held_out, len(comparisons) // 4), set[str]()
    while groups and sum(c.group in aside for c in comparisons) < wanted:
        aside.add(groups.pop())
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
        ValueError: nothing to train on, or the folder holds another run's state.
    """
    if not data.comparisons:
        raise ValueError("no comparison to train on; lower train.held_out, or make more takes or labels")
    torch.use_deterministic_algorithms(settings.deterministic)
    network = backbone.network
    network.eval()  # no dropout: policy and reference must differ by their weights alone
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay, foreach=False)
    reference = Reference(network, settings.reference, settings.ema, settings.ema_every)
    state = checkpoint.latest(folder / "checkpoints")
    start = 0
    if state is not None:
        if state.facts["identity"] != identity:
            raise ValueError(
                f"{folder} holds a run with other settings or data; set train.name to another name, or delete the folder"
            )
        checkpoint.restore(state, network, reference, optimiser)
        start = state.step
    log = _Log(folder / "metrics.jsonl", start)
    for step in range(start, settings.steps):
        if step == 0:
            log.add({"step": 0, **_probe(backbone, data, reference, seed, settings.batch)})
        began = time.perf_counter()
        batch = _batch(backbone, data, settings, step, seed)
        row = _step(backbone, batch, reference, optimiser, settings, step)
        reference.update(step + 1)
        row["seconds"] = time.perf_counter() - began
        done = step + 1
        if done % settings.checkpoint_every == 0 or done == settings.steps:
            row |= _probe(backbone, data, reference, seed, settings.batch)
            log.add({"step": done, **row})
            log.flush()
            tensors = checkpoint.capture(network, reference, optimiser)
            checkpoint.save(folder / "checkpoints", done, tensors, {"identity": identity})
        else:
            log.add({"step": done, **row})
        progress(done, row)
    return settings.steps - start


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
    value, errors = backward(backbone, batch, reference_errors(backbone, batch, reference), settings.gradients)
    trained = [p for p in backbone.network.parameters() if p.requires_grad]
    norm = nn.utils.clip_grad_norm_(trained, settings.clip_norm)
    if not math.isfinite(float(norm)):
        raise ValueError(f"step {step + 1}: the gradient is not finite; lower train.lr, or look for broken clips")
    for group in optimiser.param_groups:
        group["lr"] = settings.lr * min(1.0, (step + 1) / max(1, settings.warmup))
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return {"loss": float(value), "gradient_norm": float(norm), **diagnose(errors, batch.terms)}


def reference_errors(backbone: Backbone, batch: Batch, reference: Reference) -> Tensor:
    """Errors [B, V, F] of the reference; zeros where no term asks for them."""
    if not batch.terms.needs_reference:
        frames = batch.clean_RCFHW.shape[2]
        return torch.zeros(len(batch.terms.coefficients_BKV), batch.views, frames)
    with reference.applied():
        if choose("auto", batch) == "joint":
            return batch.scatter(row_errors(backbone, batch))
        each = [row_errors(backbone, batch, slice(r, r + 1)) for r in range(len(batch.place))]
        return batch.scatter(torch.cat(each))


@torch.no_grad()
def _probe(backbone: Backbone, data: Data, reference: Reference, seed: int, size: int) -> dict[str, float]:
    """Diagnostics on held-out comparisons at fixed draws, prefixed `held_out/`; empty where nothing is held out."""
    pairs = [(c, -1 - draw) for c in data.held_out for draw in range(PROBE_DRAWS)]
    sums: dict[str, list[float]] = {}
    for at in range(0, len(pairs), size):
        batch = make_batch(pairs[at : at + size], data.latents, backbone, seed, data.times)
        policy = batch.scatter(row_errors(backbone, batch))
        errors = ViewErrors(policy, reference_errors(backbone, batch, reference))
        for name, value in diagnose(errors, batch.terms).items():
            sums.setdefault(name, []).append(value)
    return {f"held_out/{name}": sum(values) / len(values) for name, values in sums.items()}


class _Log:
    """metrics.jsonl: one row a step, written with the checkpoint that covers it, so neither is ahead of the other."""

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [line for line in lines if json.loads(line)["step"] <= start] if start else []

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(json.dumps({k: round(v, 8) if isinstance(v, float) else v for k, v in row.items()}))

    def flush(self) -> None:
        with whole_file(self.path) as partial:
            partial.write_text("\n".join(self.rows) + "\n")
