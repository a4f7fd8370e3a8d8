"""What a preference step costs beside a supervised one, on this machine, in one run.

The naive step is what published trainers do: policy and reference on each member of the pair in turn, with both policy
graphs kept to the one backward. Times are medians of interleaved rounds, so that a machine that slows down slows all of
them. Peak memory is that of tensors allocated above the start of the step, counted by the profiler, the same on every
run.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from rushes.backbones.base import Backbone
from rushes.backbones.tiny import TinyBackbone
from rushes.noise.draws import seeded
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import Term, collate
from rushes.training.batches import Batch
from rushes.training.gradients import backward, choose, row_errors
from rushes.training.loop import reference_errors
from rushes.training.reference import Reference

PAIRS, FRAMES, SIDE = 16, 5, 4  # comparisons a step; latent frames and positions of the embedded world's clips


def bench_step(rounds: int) -> dict[str, Any]:
    """Seconds and peak MiB of a supervised step, a naive and our preference step on the tiny backbone.

    Raises:
        ValueError: fewer than one round.
    """
    if rounds < 1:
        raise ValueError(f"--rounds must be at least 1, got {rounds}")
    backbone = TinyBackbone()
    single, pairs = _batch(backbone, supervised=True), _batch(backbone, supervised=False)
    reference = Reference(backbone.network)
    steps: dict[str, Callable[[], object]] = {
        "sft": lambda: backward(backbone, single, torch.zeros(PAIRS, 1, FRAMES)),
        "pair_naive": lambda: _naive(backbone, reference, pairs),
        "pair": lambda: backward(backbone, pairs, reference_errors(backbone, pairs, reference)),
    }
    peaks = {name: _peak_mib(backbone.network, step) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
            backbone.network.zero_grad(set_to_none=True)
    out: dict[str, Any] = {f"{name}_s": round(statistics.median(values), 4) for name, values in seconds.items()}
    out |= {f"{name}_peak_mib": round(peak, 1) for name, peak in peaks.items()}
    out["pair_over_sft"] = round(out["pair_s"] / out["sft_s"], 2)
    out["naive_over_sft"] = round(out["pair_naive_s"] / out["sft_s"], 2)
    out["gradients"] = choose("auto", pairs)
    out["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    return out


def _batch(backbone: Backbone, supervised: bool) -> Batch:
    views = 1 if supervised else 2
    labels = (0, *(1,) * (FRAMES - 1))
    term = (
        Term("supervised", (1.0,), labels, link="error")
        if supervised
        else Term("clip", (1.0, -1.0), labels, beta=100.0)
    )
    rows = PAIRS * views
    generator = seeded("bench")
    shape = (rows, backbone.spec.channels, FRAMES, SIDE, SIDE)
    times = torch.rand(PAIRS, generator=generator).repeat_interleave(views)[:, None].repeat(1, FRAMES)
    times[:, 0] = 0.0
    first = torch.randn(rows, backbone.spec.channels, SIDE, SIDE, generator=generator)
    return Batch(
        torch.randn(*shape, generator=generator),
        torch.randn(PAIRS, *shape[1:], generator=generator).repeat_interleave(views, 0),
        times,
        backbone.condition(["a red ball falls and bounces"] * rows, first),
        tuple((b, v) for b in range(PAIRS) for v in range(views)),
        collate([[term]] * PAIRS, views, FRAMES),
    )


def _naive(backbone: Backbone, reference: Reference, batch: Batch) -> None:
    """Four forwards, two of them with graphs that live until the one backward."""
    rows = len(batch.place)
    members = [slice(side, rows, 2) for side in (0, 1)]
    policy = torch.stack([row_errors(backbone, batch, rows) for rows in members], 1)
    with reference.applied():
        other = torch.stack([row_errors(backbone, batch, rows) for rows in members], 1)
    loss(ViewErrors(policy, other), batch.terms).backward()  # type: ignore[no-untyped-call]


def _peak_mib(network: nn.Module, step: Callable[[], object]) -> float:
    step()
    network.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    network.zero_grad(set_to_none=True)
    held = peak = 0
    events = recorded.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 2**20
