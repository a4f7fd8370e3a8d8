"""Activations that wait for the backward pass in main memory (`train.activations = "offload"`).

With gradient checkpointing these are the inputs of the blocks, of which a long clip has gigabytes: 40 times 320 MiB for
Wan 14B at 81 x 480 x 832. They are copied out while the next block computes and copied back, one ahead, while a block
computes its gradient: 13 ms each way over PCIe 4.0 beside a second of work. Copies are exact.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from rushes.backbones.base import MAIN_MEMORY, main_memory

Where = Literal["keep", "offload"]
LEAST = 16 << 20  # bytes of a tensor that is worth its way; embedded captions, which all blocks share, are none


class OffloadBackend(Protocol):
    """How tensors come to main memory and back."""

    def out(self, tensor: Tensor) -> Any:
        """A copy in main memory."""
        ...

    def begin(self, copy: Any) -> Any:
        """Begin to bring a copy to the device."""
        ...

    def end(self, begun: Any) -> Tensor:
        """The tensor as it was, on its device, for what is computed from now on."""
        ...


class SyncOffload:
    """Copies that are waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def out(self, tensor: Tensor) -> Tensor:
        """A copy, also where the tensor lies in main memory already."""
        return tensor.to(MAIN_MEMORY, copy=True)

    def begin(self, copy: Tensor) -> Tensor:
        """The same on the device."""
        return copy.to(self.device)

    def end(self, begun: Tensor) -> Tensor:
        """It is there."""
        return begun


class PinnedActivations:
    """Copies on a stream of their own, into main memory that is used again for the next view."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.side = device, torch.cuda.Stream(device)
        self.free: dict[int, list[Tensor]] = {}

    def out(self, tensor: Tensor) -> PinnedCopy:
        """A copy that is whole once the stream has come to it."""
        size = tensor.numel() * tensor.element_size()
        pool = self.free.setdefault(size, [])
        here = pool.pop() if pool else main_memory(size, self.device)
        self.side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.side):
            here.view(tensor.dtype).view(tensor.shape).copy_(tensor, non_blocking=True)
        tensor.record_stream(self.side)
        return PinnedCopy(self, here, tensor.shape, tensor.dtype)

    def begin(self, copy: PinnedCopy) -> tuple[Tensor, torch.cuda.Event]:
        """The tensor on its way, and when it will be there."""
        with torch.cuda.stream(self.side):
            there = copy.here.view(copy.dtype).view(copy.shape).to(self.device, non_blocking=True)
            return there, self.side.record_event()

    def end(self, begun: tuple[Tensor, torch.cuda.Event]) -> Tensor:
        """The tensor, whose memory is another's only once what computes now is done."""
        there, ready = begun
        now = torch.cuda.current_stream(self.device)
        now.wait_event(ready)
        there.record_stream(now)
        return there


class PinnedCopy:
    """A tensor in main memory, which goes back to the pool when nothing refers to it any more.

    Later copies into that memory are on the same stream, so they come after those out of it.
    """

    def __init__(self, owner: PinnedActivations, here: Tensor, shape: torch.Size, dtype: torch.dtype) -> None:
        self.owner, self.here, self.shape, self.dtype = owner, here, shape, dtype

    def __del__(self) -> None:
        self.owner.free[self.here.numel()].append(self.here)


class _Waiting:
    """A saved tensor, and that which was saved before it, which a backward pass wants next."""

    def __init__(self, copy: Any, before: _Waiting | None) -> None:
        self.copy, self.before = copy, weakref.ref(before) if before else None
        self.begun: Any = None


class MainMemoryActivations:
    """What passes save for their backward passes, in main memory."""

    def __init__(self, network: nn.Module, transport: OffloadBackend, least: int = LEAST) -> None:
        self.network, self.transport, self.least = network, transport, least
        self.weights: set[int] = set()
        self.newest: _Waiting | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it what passes save goes to main memory, weights and small tensors aside."""
        self.weights = {p.untyped_storage()._cdata for p in self.network.parameters()}
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._save, self._wanted):
                yield
        finally:
            self.newest = None

    def _save(self, tensor: Tensor) -> Tensor | _Waiting:
        size = tensor.numel() * tensor.element_size()
        storage = tensor.untyped_storage()
        worth = size >= self.least and storage.nbytes() < 2 * size  # a small view would leave the rest where it is
        if not (worth and tensor.is_contiguous()) or storage._cdata in self.weights:
            return tensor
        self.newest = _Waiting(self.transport.out(tensor), self.newest)
        return self.newest

    def _wanted(self, saved: Tensor | _Waiting) -> Tensor:
        if isinstance(saved, Tensor):
            return saved
        begun = self.transport.begin(saved.copy) if saved.begun is None else saved.begun
        saved.begun = None
        before = saved.before() if saved.before else None
        if before is not None and before.begun is None:
            before.begun = self.transport.begin(before.copy)
        return self.transport.end(begun)


def place_of(network: nn.Module, where: Where) -> Callable[[], AbstractContextManager[None]]:
    """In whose context passes are to be taken, so that their activations wait where `where` says."""
    if where == "keep":
        return nullcontext
    device = next(network.parameters()).device
    return MainMemoryActivations(
        network, PinnedActivations(device) if device.type == "cuda" else SyncOffload(device)
    ).waiting
