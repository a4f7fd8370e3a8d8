"""One graph for all views, or one view at a time: chosen by the memory that a view's activations take.

Small clips: one graph over all views is faster, since one view cannot saturate the device. Large clips: one view at a
time is as fast, and needs the memory of one view.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from rushes.training.batches import Batch
from rushes.training.cost_counter import CostCounter
from rushes.training.parallel import own_part

GradientMode = Literal["auto", "joint", "stash", "two_pass"]
SHARE_CPU, SHARE_GPU = 0.25, 0.92  # of a machine's memory, which is shared; of what a GPU has free: fragments take some
MOST_CPU_MIB = 256.0  # a larger graph is slower there: it leaves the caches, and its memory is new to the process


@dataclass(frozen=True)
class ShardedPass:
    """Rows that go through a sharded network together, all by one expert where it has two.

    Attributes:
        rows: of the batch. Empty where only other processes have rows for this pass: a process then goes along with a
            stand-in that counts nothing, as each pass gathers weights from all.
        time: noise level of the stand-in, in the range of the pass's expert; None = its own.
    """

    rows: tuple[int, ...]
    time: float | None = None


@dataclass(frozen=True)
class GradientPlan:
    """How the gradient of one batch is taken (see `rushes.training.gradients`)."""

    mode: Literal["joint", "stash", "two_pass", "rows"]
    together: int  # comparisons in one graph (joint), or rows (rows)
    why: str
    passes: tuple[
        ShardedPass, ...
    ] = ()  # where weights are sharded: the same number, by the same experts, in all processes


@dataclass(frozen=True)
class GradientStrategy:
    """What the choice is made from.

    Attributes:
        mode: "auto", or one to be taken whatever the memory.
        view_mib: memory of one view's activations, see `activation_mib`; of several shapes the largest.
        by_shape: the same of each latent shape [C, F, H, W], where there are several.
        budget_mib: memory that activations may take.
        most: where weights are sharded, the largest of the processes' numbers: all must go through the network equally
            often, as each pass gathers weights from all.
        boundary: noise level from which up the first of two experts answers; looked at where weights are sharded.
    """

    mode: GradientMode = "auto"
    view_mib: float = 0.0
    budget_mib: float = math.inf
    most: Callable[[int], int] | None = None
    boundary: float | None = None
    by_shape: Mapping[str, float] = field(default_factory=dict)

    def plan(self, batch: Batch) -> GradientPlan:
        """One graph while it fits, else one graph for a few comparisons at a time, else view by view."""
        if self.by_shape:
            own = self.by_shape.get(latent_shape(batch), self.view_mib)
            return replace(self, view_mib=own, by_shape={}).plan(batch)
        count, rows = len(batch.terms.coefficients_BKV), len(batch.place)
        if self.most:
            return self._sharded(batch, self.most)
        if not rows:
            return GradientPlan("joint", 0, "no comparison for this process")
        if self.mode != "auto":
            return GradientPlan(self.mode, count, "as train.gradients says")
        largest = max(sum(b == each for b, _ in batch.place) for each in range(count))
        room = f"of {self.budget_mib:.0f} MiB"
        if rows * self.view_mib <= self.budget_mib:
            return GradientPlan("joint", count, f"{rows} views need {rows * self.view_mib:.0f} {room}")
        if largest * self.view_mib <= self.budget_mib:
            graphs = math.ceil(count / int(self.budget_mib / (largest * self.view_mib)))
            together = math.ceil(count / graphs)  # about the same in each
            return GradientPlan(
                "joint",
                together,
                f"{together} of {count} comparisons fit at a time, at {self.view_mib:.0f} MiB per view {room}",
            )
        by_segment = any(reduction == "segment" for _, _, reduction in batch.terms.forms)
        return GradientPlan(
            "two_pass" if by_segment else "stash",
            1,
            f"a comparison of {largest} views needs {largest * self.view_mib:.0f} {room}",
        )

    def _sharded(self, batch: Batch, most: Callable[[int], int]) -> GradientPlan:
        rows = len(batch.place)
        fit = max(1, rows) if self.mode == "joint" else 1
        if self.mode == "auto":
            fit = max(1, rows if rows * self.view_mib <= self.budget_mib else int(self.budget_mib / self.view_mib))
        once = most(-(-rows // fit)) <= 1
        passes = tuple(
            ShardedPass(own[at * fit : (at + 1) * fit], time)
            for own, time in self._by_expert(batch)
            for at in range(most(-(-len(own) // fit)))
        )
        if once:
            return GradientPlan(
                "joint", len(batch.terms.coefficients_BKV), f"weights are sharded, and {rows} views fit", passes
            )
        return GradientPlan("rows", fit, f"weights are sharded, and {fit} of {rows} views fit at once", passes)

    def _by_expert(self, batch: Batch) -> list[tuple[tuple[int, ...], float | None]]:
        """Rows that go through the same weights, those of high noise first, and the time of a stand-in for them."""
        rows = range(len(batch.place))
        if self.boundary is None:
            return [(tuple(rows), None)]
        high = (batch.t_RF.amax(1) >= self.boundary).tolist()
        times = ((1 + self.boundary) / 2, self.boundary / 2)
        return [
            (tuple(r for r in rows if high[r] == wanted), time)
            for wanted, time in zip((True, False), times, strict=True)
        ]


def latent_shape(batch: Batch) -> str:
    """C x F x H x W of a batch's views."""
    return "x".join(map(str, batch.clean_RCFHW.shape[1:]))


AUTO = GradientStrategy()  # one graph, as nothing is known of the memory


def activation_mib(network: nn.Module, forward: Callable[[], Tensor]) -> float:
    """Most memory that a forward and its backward pass need at once, beside weights and their gradients.

    On a GPU it is the allocator's peak, workspaces included, else that of all tensors. Gradients are left as they were.
    """
    before = {p: p.grad for p in network.parameters() if p.requires_grad}
    device = next(network.parameters()).device
    try:
        for p in before:  # one that is there is added to in place: its bytes are not those of activations
            p.grad = torch.zeros_like(p)
        if device.type == "cuda":
            return _allocated_mib(device, forward)
        gradients = [p.grad for p in before if p.grad is not None]
        held = [own_part(tensor) for tensor in (*network.parameters(), *network.buffers(), *gradients)]
        with CostCounter(held) as counter:
            forward().sum().backward()
        return float(counter.peak) / 2**20
    finally:
        for p, grad in before.items():
            p.grad = grad


def _allocated_mib(device: torch.device, forward: Callable[[], Tensor]) -> float:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    forward().sum().backward()
    torch.cuda.synchronize(device)
    return float(torch.cuda.max_memory_allocated(device) - before) / 2**20


def most_memory(device: torch.device) -> int:
    """The most bytes that were in use so far: of a GPU by this process's tensors, else of main memory by it; 0 where
    the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)


@contextmanager
def saved_for_backward(network: nn.Module) -> Iterator[dict[int, Tensor]]:
    """What passes within the block save for their backward passes, weights aside: a tensor of each storage."""
    saved: dict[int, Tensor] = {}
    weights = {own_part(p).untyped_storage()._cdata for p in network.parameters()}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata  # tensors on the device that holds no values have no address
        if storage not in weights:
            saved[storage] = tensor  # held, so that no later tensor is given the same place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        yield saved


def budget_mib(device: torch.device, asked_mib: int = 0, to_come_mib: float = 0.0) -> float:
    """Memory that activations may take: what was asked for, or a share of the device's, on a CPU little.

    Args:
        device: where the network is.
        asked_mib: `train.memory_mb`.
        to_come_mib: what will be held beside them and is not yet.
    """
    if asked_mib:
        return float(asked_mib)
    if device.type == "cuda":
        # What torch keeps for later is as free as what the driver has.
        free = torch.cuda.mem_get_info(device)[0]
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return max(0.0, SHARE_GPU * free / 2**20 - to_come_mib)
    return min(MOST_CPU_MIB, SHARE_CPU * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20)
