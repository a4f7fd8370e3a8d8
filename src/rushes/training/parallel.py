"""Several processes that do one work, started by torchrun or as torchrun starts them.

Works without a gradient are cut into parts that are independent of each other, and processes take them in rounds. In
training the weights are either copied to every process or sharded over them (FSDP2). Copies are kept equal by adding up
the gradients once per step, after all views of all comparisons of a process were backpropagated. That is DDP's
arithmetic without its wrapper, which would reduce in each backward pass, and view by view there are many. Losses are
divided by counts over the whole step, so gradients are added, not averaged, and unequal comparisons or ties weigh what
they weigh in one process.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from rushes.backbones.base import blocks
from rushes.devices import default_device
from rushes.progress import ParallelMap, attempt, in_turn
from rushes.training.determinism import set_workspace
from rushes.worker_pool import end_with_parent

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")
CPU = torch.device("cpu")
LONGEST_WAIT = timedelta(days=2)  # the first process encodes what is missing while the others wait


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this process writes: the store, the log, the checkpoints."""
        return self.rank == 0

    @property
    def meet(self) -> bool:
        """Whether all processes are there at once, so that they can share what is done between parts."""
        return True

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of what all do together: every so manieth."""
        return items[self.rank :: self.size]

    def send(self, value: T | None) -> T:
        """What the first process gives, in all of them."""
        box: list[Any] = [value]
        if self.size > 1:
            dist.broadcast_object_list(box, device=CPU)  # through main memory: a GPU would be busy while it waits
        sent: T = box[0]
        return sent

    def collect(self, value: T) -> list[T]:
        """What each process gives, in all of them, in the order of the processes."""
        every: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(every, value)
        return every

    def sharing(self, order: Any, *, on_gpu: bool = True, most: int = 0) -> ParallelMap:
        """Who does the parts of a work: this process, or all, once the others have their order to help.

        Where they are a cluster's workers, `on_gpu` says whether a GPU helps them, and `most` how many there may be.
        """
        if self.size == 1:
            return in_turn
        self.send(order)
        return self.in_rounds

    def in_rounds(self, parts: Sequence[P], work: Callable[[P], R]) -> Iterator[tuple[P, R]]:
        """Parts of a work with their results, in order, at the first process; at the others nothing, while they work.

        In each round every process does one part, so a process that is killed loses a round and no more. The others are
        sent the parts at once, also where nobody then asks for a result, as none is missing.

        Args:
            parts: those of the first process count; the others need not know any.
            work: the same function of a part in all processes.

        Raises:
            Exception: what the work of any process raised, at the first, after the round's other results.
        """
        return self._rounds(self.send(parts if self.first else None), work)

    def _rounds(self, parts: Sequence[P], work: Callable[[P], R]) -> Iterator[tuple[P, R]]:
        for at in range(0, len(parts), self.size):
            mine = parts[at + self.rank : at + self.rank + 1]
            outcomes = self.collect([attempt(work, part) for part in mine])
            if not self.first:
                continue
            done = zip(parts[at : at + self.size], (outcome for of in outcomes for outcome in of), strict=True)
            errors = []
            for part, (result, error) in done:
                if error is None:
                    yield part, result
                else:
                    errors.append(error)
            if errors:
                raise errors[0]

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1))  # through main memory, as in `send`

    def add_up(self, trained: Sequence[nn.Parameter]) -> None:
        """Each process's gradients -> their sum, in all of them. Sharded weights were added up in the backward pass.

        A weight without a gradient in any process has none after it: the optimiser must leave it alone, as it does
        where one process trains, and not move it on by momentum. An expert that no comparison used has such weights.
        """
        copied = [p for p in trained if not isinstance(p, DTensor)]
        if self.size == 1 or not copied:
            return
        used = torch.tensor([p.grad is not None for p in copied], dtype=torch.int32, device=self.device)
        dist.all_reduce(used, dist.ReduceOp.MAX)
        for p, anywhere in zip(copied, used.tolist(), strict=True):
            if anywhere:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                dist.all_reduce(p.grad)

    def gather(self, errors_BVF: Tensor, count: int, views: int) -> Tensor:
        """Errors of each process's share of `count` comparisons -> those of all, in the order before `share`."""
        if self.size == 1:
            return errors_BVF
        most = -(-count // self.size)
        b, v, f = errors_BVF.shape
        padded = torch.zeros(most, views, f, dtype=errors_BVF.dtype, device=self.device)
        padded[:b, :v] = errors_BVF
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.stack(parts, 1).flatten(0, 1)[:count].cpu()

    def most(self, number: int) -> int:
        """The largest of the processes' numbers."""
        value = torch.tensor(number, device=self.device)
        if self.size > 1:
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def match(self, network: nn.Module, frozen: bool = False) -> None:
        """Trainable weights of the first process into all, and frozen ones where they are not the base's."""
        if self.size > 1:
            for p in network.parameters():
                if p.requires_grad or frozen:
                    value = p.data.to(self.device)  # one at a time: all of them may be more than a GPU holds
                    dist.broadcast(value, 0)
                    p.data.copy_(value)

    def shard(self, network: nn.Module) -> None:
        """Spread the weights over the processes, block by block; in place. They may lie in main memory: then a GPU
        never holds more than its part and a block.

        Raises:
            ValueError: trained weights of two precisions, which cannot be gathered and added up together.
        """
        dtypes = {p.dtype for p in network.parameters() if p.requires_grad}
        if len(dtypes) > 1:
            names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
            raise ValueError(
                f"train.parallel: weights in {names} cannot be both trained and sharded; set backbone.dtype to "
                'mixed, or train.parallel to "replicate"'
            )
        # A network's answer may be a view, and nobody here changes an answer in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        mesh = init_device_mesh(self.device.type, (self.size,))
        for part in called(network):
            for block in blocks(part):
                fully_shard(block, mesh=mesh)
            # The outermost weights, too, are gathered anew for each pass: the reference is put in their place between.
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)  # gloo knows no other


ALONE = Ranks()


def called(network: nn.Module) -> list[nn.Module]:
    """What is called when a network answers: itself or, where it merely holds two experts, each of them.

    Weights are gathered by hooks on calls, so what is never called cannot gather any.
    """
    holds = type(network).forward is nn.Module.forward  # which nobody has overridden
    return list(network.children()) if holds else [network]


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun started, connected, each with its GPU if there is one; without torchrun this one.

    Within another such block it is the processes of that.
    """
    device = own_device()
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Ranks(device=device)
        return
    if dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
        return
    end_with_parent()
    # What lies in main memory, such as rows and errors, goes by gloo where weights go by NCCL.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), device)
    try:
        yield ranks
        # All together, and without tensors that wait to be freed: gloo else aborts when the interpreter ends.
        ranks.wait()
    finally:
        gc.collect()
        dist.destroy_process_group()


def own_device() -> torch.device:
    """The device of this process, a GPU set up for results that can be repeated."""
    device = default_device(int(os.environ.get("LOCAL_RANK", 0)))
    if device.type == "cuda":
        set_workspace()
        torch.cuda.set_device(device)
    return device


def own_part(p: Tensor) -> Tensor:
    """The part of a weight that lies in this process, sharing its memory."""
    local: Tensor = p.to_local() if isinstance(p, DTensor) else p
    return local.detach()


def as_part(value: Tensor, p: Tensor) -> Tensor:
    """A tensor of the shape of `own_part(p)` as a part of the whole, where `p` is one."""
    if not isinstance(p, DTensor):
        return value
    return DTensor.from_local(value, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride())


def whole(tensor: Tensor) -> Tensor:
    """All of a weight, in every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
