"""What a preference step costs beside a supervised one, on this machine, in one run.

- `sft`: one forward and backward per clip, no reference.
- `pair_naive`: what published trainers do: policy and reference on each member of the pair in turn, with both policy
  graphs kept to the one backward.
- `pair`, `pair_cached`: ours, with the reference beside it and looked up.
- `n3_repeated`: three losers as RealDPO's released loop has them: for each the policy and the reference on winner and
  loser, and a backward. `n3`: ours with the cache, where the winner runs once.
- `offload`: `pair_cached` one view at a time, with activations of 16 MiB and more that wait in main memory. On a
  processor the copies lie in the same memory, so that it saves nothing there.

Times are medians of interleaved rounds, so that a machine that slows down slows all of them. Peak memory is that of
tensors allocated above the start of the step: on a CPU counted by the profiler, the same on every run.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from rushes.backbones.base import Backbone
from rushes.backbones.quantized import weight_count
from rushes.backbones.speed import compile_blocks
from rushes.lab.shapes import CAPTION, SHAPES, Shape
from rushes.noise.draws import seeded
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import Term, TermBatch, collate, one_against_each
from rushes.records import INLINE, plain
from rushes.training.activations import place_of
from rushes.training.batches import Batch
from rushes.training.gradients import backward, measured_strategy, plain_errors, row_errors
from rushes.training.reference import Reference

PEAKS = ("sft", "pair_cached", "pair", "pair_naive", "offload")  # of these the peak is measured
TimedSteps = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, kw_only=True)
class ShapeCosts:
    """Costs of training steps at one shape."""

    sft_s: float  # a supervised step
    pair_cached_s: float  # a pair, with the reference's errors looked up
    pair_s: float  # a pair, with the reference beside it
    pair_naive_s: float  # a pair as published trainers take it
    n3_s: float  # three losers, with the reference's errors looked up
    n3_repeated_s: float  # three losers as in RealDPO's released loop
    offload_s: float  # a pair one view at a time, with activations that wait in main memory
    cache_draw_s: float  # the reference's errors of one step's pairs
    sft_peak_mib: float  # 2^20 bytes above the start of the step
    pair_cached_peak_mib: float
    pair_peak_mib: float
    pair_naive_peak_mib: float
    offload_peak_mib: float
    pair_naive_over_sft: float  # ratio of seconds, median over the rounds
    pair_over_sft: float
    pair_cached_over_sft: float
    pair_cached_peak_over_sft: float  # ratio of peaks
    n3_speedup: float  # seconds of `n3_repeated` over those of `n3`
    cache_of_8_pays_after_visits: float | None  # visits of a comparison that pay for its 8 draws; null = none do
    sft_tflops_per_s: float
    pair_tflops_per_s: float
    gradients: str  # how gradients are taken, and why
    weights_mib: float  # the network's weights
    lora: int  # rank of the adapter; 0 = all weights are trained
    parameters_m: float  # millions
    tokens: int  # tokens in a clip
    comparisons: int  # in a step
    dtype: str
    checkpointing: bool
    rounds: int  # timed rounds
    compile_s: float | None  # `pair_cached` with compiled blocks; null = not asked, or a network that has none
    compile_first_s: float | None  # the first such step, which compiles


@dataclass(frozen=True)
class StepBench:
    """Costs of training steps on this machine."""

    shapes: Mapping[str, ShapeCosts] = field(metadata=INLINE)  # by shape
    machine: str  # device, threads and version of torch


def bench_step(
    rounds: int, device: str = "cpu", names: Sequence[str] = ("tiny", "mid"), compiled: bool = False
) -> StepBench:
    """Seconds, peak MiB and ratios to the supervised step, a table per shape.

    Args:
        rounds: timed rounds of the tiny shape; larger ones take a third as many, as a step of seconds is steady.
        device: as torch names it.
        names: of `rushes.lab.shapes.SHAPES`.
        compiled: also measure `pair_cached` with compiled blocks, for networks of diffusers'.

    Raises ValueError: fewer than one round, an unknown shape or device.
    """
    if rounds < 1:
        raise ValueError(f"--rounds must be at least 1, got {rounds}")
    unknown = [name for name in names if name not in SHAPES]
    if unknown:
        raise ValueError(f"--shape: no shape {unknown[0]!r}; there is {', '.join(SHAPES)}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: torch sees no GPU; leave --device away, or install a build with CUDA")
    tables: dict[str, ShapeCosts] = {}
    for name in names:
        each = rounds if name == "tiny" else -(-rounds // 3)
        tables[name] = bench_shape(SHAPES[name], each, torch.device(device), compiled)
    where = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return StepBench(tables, f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}")


def bench_shape(shape: Shape, rounds: int, device: torch.device, compiled: bool = False) -> ShapeCosts:
    """The table of one shape; see `bench_step`."""
    backbone = shape.make(device, shape.dtype)
    bench = StepClock(backbone, shape, device)
    steps = bench.steps()
    bench.seconds(steps["sft"])  # the first touch of memory and of kernels is nobody's cost
    small = shape.comparisons > 1
    peaks: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for each in range(rounds):
        for name, step in steps.items():
            if name in PEAKS and not each:
                peaks[name], took = bench.peak_mib(step)
                if small:  # beside a step of seconds the profiler costs nothing
                    took = bench.seconds(step)
                seconds[name].append(took)
            elif small or name in PEAKS or each % 2 == 0:  # the others take most of a round
                seconds[name].append(bench.seconds(step))
    compile_s, first_s = _compiled(bench, rounds if compiled else 0)
    return ShapeCosts(**_table(bench, seconds, peaks), rounds=rounds, compile_s=compile_s, compile_first_s=first_s)


def _compiled(bench: StepClock, rounds: int) -> tuple[float | None, float | None]:
    """Seconds of `pair_cached` with compiled blocks, and of the first such step, in which they are compiled."""
    network = bench.backbone.network
    if not rounds or not hasattr(network, "enable_gradient_checkpointing"):
        return None, None
    compile_blocks(network)
    first, *times = (bench.seconds(bench.steps()["pair_cached"]) for _ in range(rounds + 1))
    return round(statistics.median(times), 4), round(first, 2)


def _table(bench: StepClock, seconds: Mapping[str, Sequence[float]], peaks: Mapping[str, float]) -> dict[str, Any]:
    shape = bench.shape
    median = {name: statistics.median(values) for name, values in seconds.items()}
    out: dict[str, Any] = {f"{name}_s": round(value, 4) for name, value in median.items()}
    out |= {f"{name}_peak_mib": round(value, 1) for name, value in peaks.items()}
    out |= {f"{name}_over_sft": _ratio(seconds[name], seconds["sft"]) for name in ("pair_naive", "pair", "pair_cached")}
    out["pair_cached_peak_over_sft"] = round(peaks["pair_cached"] / peaks["sft"], 2)
    out["n3_speedup"] = _ratio(seconds["n3_repeated"], seconds["n3"])
    # a cache of 8 draws has paid for itself once each comparison was seen so often
    saved = median["pair"] - median["pair_cached"]
    out["cache_of_8_pays_after_visits"] = round(8 * median["cache_draw"] / saved, 1) if saved > 0 else None
    parameters = weight_count(bench.backbone.network)
    work = {"sft": shape.flops(parameters), "pair": 2 * (shape.flops(parameters) + shape.forward_flops(parameters))}
    for name, each in work.items():
        out[f"{name}_tflops_per_s"] = round(each * shape.comparisons / median[name] / 1e12, 3)
    plan = bench.strategy.plan(bench.pairs)
    out["gradients"] = f"{plan.mode}: {plan.why}"
    held = sum(p.numel() * p.element_size() for p in bench.backbone.network.parameters())
    out |= {"weights_mib": round(held / 2**20, 1), "lora": shape.lora}
    out |= {"parameters_m": round(parameters / 1e6, 1), "tokens": shape.tokens, "comparisons": shape.comparisons}
    return out | {"dtype": str(shape.dtype).removeprefix("torch."), "checkpointing": shape.checkpointing}


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds, within each of which the machine was about equally fast."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2)


@dataclass
class StepClock:
    """Batches of one shape, and the ways to take a step on them."""

    backbone: Backbone
    shape: Shape
    device: torch.device

    def __post_init__(self) -> None:
        self.single, self.pairs, self.fours = (self._batch(views) for views in (1, 2, 4))
        self.reference = Reference(self.backbone.network)
        self.strategy = measured_strategy(self.backbone, [self.single], "auto")
        self.waiting = place_of(self.backbone.network, "offload")  # once, as in a run: to pin memory takes its time
        self.looked_up = {b.views: plain_errors(self.backbone, b, self.strategy) for b in (self.pairs, self.fours)}

    def steps(self) -> TimedSteps:
        """The steps by name, in the order of a round."""
        ones = torch.zeros(self.shape.comparisons, 1, self.shape.frames)
        return {
            "sft": lambda: backward(self.backbone, self.single, ones, self.strategy),
            "pair_cached": lambda: backward(self.backbone, self.pairs, self.looked_up[2], self.strategy),
            "pair": lambda: backward(self.backbone, self.pairs, self._beside(self.pairs), self.strategy),
            "pair_naive": lambda: self._naive(self.pairs, (0, 1)),
            "n3": lambda: backward(self.backbone, self.fours, self.looked_up[4], self.strategy),
            "n3_repeated": self._repeated,
            "offload": self._offloaded,
            "cache_draw": lambda: self._beside(self.pairs),  # what filling costs, for the pairs of one step
        }

    def _offloaded(self) -> None:
        with self.waiting():
            backward(self.backbone, self.pairs, self.looked_up[2], "stash")

    def _beside(self, batch: Batch) -> Tensor:
        with self.reference.applied():
            return plain_errors(self.backbone, batch, self.strategy)

    def _repeated(self) -> None:
        for loser in (1, 2, 3):
            self._naive(self.fours, (0, loser))

    def _naive(self, batch: Batch, views: tuple[int, int]) -> None:
        """Four forwards, two of them with graphs that live until the one backward."""
        members = [slice(view, len(batch.place), batch.views) for view in views]
        policy = torch.stack([row_errors(self.backbone, batch, rows) for rows in members], 1)
        with self.reference.applied():
            other = torch.stack([row_errors(self.backbone, batch, rows) for rows in members], 1)
        loss(ViewErrors(policy, other), self._terms(2)).backward()

    def _terms(self, views: int) -> TermBatch:
        labels = (0, *(1,) * (self.shape.frames - 1))
        terms: Sequence[Term] = [Term("supervised", (1.0,), labels, loss_type="error")]
        if views > 1:
            terms = one_against_each(views - 1, labels, beta=100.0)
        return collate([terms] * self.shape.comparisons, views, self.shape.frames)

    def _batch(self, views: int) -> Batch:
        shape, count = self.shape, self.shape.comparisons
        generator = seeded("bench")
        size = (self.backbone.spec.channels, shape.frames, shape.height, shape.width)
        t_RF = torch.rand(count, generator=generator).repeat_interleave(views)[:, None].repeat(1, shape.frames)
        noise = torch.randn(count, *size, generator=generator).repeat_interleave(views, 0)
        clean = torch.randn(count * views, *size, generator=generator)
        first = clean[:, :, 0] if "first_frame" in self.backbone.spec.modes else None
        condition = self.backbone.condition([CAPTION] * count * views, first)
        if first is not None:
            t_RF[:, 0] = 0.0
        place = tuple((b, v) for b in range(count) for v in range(views))
        clean, noise, t_RF = (x.to(shape.dtype) for x in (clean, noise, t_RF))
        if condition.first_frame is not None:
            condition = replace(condition, first_frame=condition.first_frame.to(shape.dtype))
        return Batch(clean, noise, t_RF, condition=condition, place=place, terms=self._terms(views)).to(self.device)

    def seconds(self, step: Callable[[], object]) -> float:
        """Time of a step, gradients of the one before deleted."""
        self._sync()
        began = time.perf_counter()
        step()
        self._sync()
        took = time.perf_counter() - began
        self.backbone.network.zero_grad(set_to_none=True)
        return took

    def _sync(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_mib(self, step: Callable[[], object]) -> tuple[float, float]:
        """Most memory that a step holds at once, above its start, and its seconds."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            took = self.seconds(step)
            return float(torch.cuda.max_memory_allocated(self.device) - before) / 2**20, took
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            took = self.seconds(step)
        held = peak = 0
        events = recorded.profiler.kineto_results.events()
        for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
            held += event.nbytes()
            peak = max(peak, held)
        return peak / 2**20, took


def bench_lines(result: StepBench) -> list[str]:
    """The tables as text."""
    lines = []
    for name, table in result.shapes.items():
        lines += [f"{name}:", *(f"  {key}: {value}" for key, value in plain(table).items())]
    return [*lines, f"machine: {result.machine}"]
