"""What is not at work lies in main memory: the codec between two uses and, where that is asked for, a network's blocks.

Blocks come to the GPU one after the other, the next while the one before computes, in both directions: a forward pass
asks for them from the first to the last, and a backward pass that computes each block's activations again (gradient
checkpointing) from the last to the first. diffusers' group offloading sends a block back as soon as its forward pass
ends, so that a backward pass finds its weights gone. Weights that are trained, such as an adapter's, stay on the GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from rushes.backbones.base import MAIN_MEMORY, main_memory

Offload = Literal[False, True, "idle_expert"]
P = ParamSpec("P")
T = TypeVar("T")
UNETS = ("animatediff", "inflated_sd")  # backbones whose levels hold blocks that are computed again one by one
_ALIGNED = 256  # bytes that a weight begins at a multiple of, as on a GPU's own allocator


def codec_at_work(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """A method of a model during which its codec lies on its device; where it was not before, it is not after it."""

    @functools.wraps(method)
    def moved(model: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if _same(next(model.codec.parameters()).device, model.device):
            return method(model, *args, **kwargs)
        model.codec.to(model.device)
        try:
            return method(model, *args, **kwargs)
        finally:
            model.codec.to(MAIN_MEMORY)

    return moved


def _same(device: torch.device, other: torch.device) -> bool:
    """Whether two devices are one: "cuda" is what a model is sent to, and "cuda:0" where it then says it is."""
    return device.type == other.type and (None in (device.index, other.index) or device.index == other.index)


class BlockStream:
    """Groups of a network's modules of which one is on the device, and the next on its way.

    What a module needs is brought when it is called. The group that is called next is begun with at the same time, on a
    stream of its own; all others leave the device, which costs nothing, as frozen weights need not be copied back.
    """

    def __init__(self, groups: Sequence[Sequence[nn.Module]], device: torch.device, ahead: bool = True) -> None:
        """Frozen weights of the groups go to main memory.

        Args:
            groups: of modules that come together, in the order in which a forward pass calls them.
            device: where they compute.
            ahead: whether the next group is brought while one computes.
        """
        self.device, self.ahead = device, ahead
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.groups = [[_MovedModule(module, self) for module in group] for group in groups]
        self.present: set[int] = set()
        for index, group in enumerate(groups):
            for module in group:
                module.register_forward_pre_hook(functools.partial(self._called, index))

    def _called(self, index: int, *_: Any) -> None:
        self.bring(index)

    def bring(self, index: int) -> None:
        """Have a group on the device, and the one after it on the way; in a backward pass that before it."""
        backward = torch._C._current_graph_task_id() != -1  # as torch's own checkpointing asks
        after = index + (-1 if backward else 1)
        wanted = [index, *([after] if self.ahead and 0 <= after < len(self.groups) else [])]
        for other in self.present - {*wanted}:
            for unit in self.groups[other]:
                unit.leave()
        for each in wanted:
            for unit in self.groups[each] if each not in self.present else ():
                unit.come()
        self.present = {*wanted}
        for unit in self.groups[index]:
            unit.wait()

    def settle(self) -> None:
        """Weights that require gradients come to the device and stay; to be called once they do."""
        for group in self.groups:
            for unit in group:
                unit.settle()


@dataclass(frozen=True)
class _Slot:
    """Where a module holds a weight, and where that lies in the memory of its unit."""

    table: dict[str, Tensor | None]  # of parameters or buffers
    name: str
    start: int  # byte
    shape: torch.Size
    dtype: torch.dtype

    def view(self, memory: Tensor) -> Tensor:
        size = self.shape.numel() * self.dtype.itemsize
        return memory[self.start : self.start + size].view(self.dtype).view(self.shape)

    def point(self, memory: Tensor) -> None:
        """Let the module's weight be what lies in `memory`."""
        held, view = self.table[self.name], self.view(memory)
        if hasattr(held, "quant_state"):  # in 4 bits, with more about it than its values
            cast(Tensor, held).data = view
        elif isinstance(held, nn.Parameter):
            self.table[self.name] = nn.Parameter(view, requires_grad=False)
        else:
            self.table[self.name] = view


class _MovedModule:
    """A module whose frozen weights come as one piece of memory."""

    def __init__(self, module: nn.Module, stream: BlockStream) -> None:
        self.module, self.stream = module, stream
        self.slots: list[_Slot] = []
        self.ready: torch.cuda.Event | None = None
        self.there: Tensor | None = None
        size = 0
        for table, name, tensor in _held(module):
            if tensor.requires_grad:
                continue
            self.slots.append(_Slot(table, name, size, shape=tensor.shape, dtype=tensor.dtype))
            size += -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED
        self.here = main_memory(size, stream.device)
        for slot in self.slots:
            slot.view(self.here).copy_(cast(Tensor, slot.table[slot.name]).detach())
            slot.point(self.here)

    def come(self) -> None:
        side, device = self.stream.side, self.stream.device
        if side is None:
            self.there = brought(self.here, device)
        else:
            with torch.cuda.stream(side):
                self.there = self.here.to(device, non_blocking=True)
                self.ready = side.record_event()
        self._point(self.there)

    def wait(self) -> None:
        """Let what is computed from now on come after the weights."""
        if self.ready is not None and self.there is not None:
            now = torch.cuda.current_stream(self.stream.device)
            now.wait_event(self.ready)
            self.there.record_stream(now)  # its memory is another's only once what computes now is done
            self.ready = None

    def leave(self) -> None:
        self._point(self.here)
        self.there = self.ready = None

    def _point(self, memory: Tensor) -> None:
        for slot in self.slots:
            slot.point(memory)

    def settle(self) -> None:
        trained = {(id(t), name): p for t, name, p in _held(self.module) if p.requires_grad}
        own = {(id(slot.table), slot.name) for slot in self.slots}
        for table, name, p in _held(self.module):  # those of an adapter came after the others
            moves = (id(table), name) in own
            if p.requires_grad and (moves or not _same(p.device, self.stream.device)):
                table[name] = nn.Parameter(p.detach().to(self.stream.device, copy=moves))
        self.slots = [slot for slot in self.slots if (id(slot.table), slot.name) not in trained]


def _held(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """Weights and buffers, by the table that holds each."""
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, tensor in [*table.items()]:
                if tensor is not None:
                    yield table, name, tensor


def brought(memory: Tensor, device: torch.device) -> Tensor:
    """A copy on the device, or the memory itself where that is there."""
    return memory.to(device)


def offload_blocks(network: nn.Module, device: torch.device) -> None:
    """Keep a network's blocks in main memory and bring them to `device` one by one; what is in no block stays there."""
    stream = BlockStream([[block] for block in streamed(network)], device)
    _rest_to(network, device)
    network.__dict__["block_stream"] = stream


def offload_idle(experts: nn.Module, parts: Sequence[nn.Module], device: torch.device) -> None:
    """Keep the blocks of that of two networks in main memory which was not asked last; in place.

    Raises ValueError: there is one network.
    """
    if len(parts) < 2:
        raise ValueError("backbone.offload: this model has one network, but idle_expert needs two; set it to true")
    stream = BlockStream([[*streamed(part)] for part in parts], device, ahead=False)
    for part in parts:
        _rest_to(part, device)
    experts.__dict__["block_stream"] = stream


def settle(network: nn.Module) -> None:
    """What of an offloaded network is trained comes to its device and stays there; others are left as they are."""
    for module in network.modules():
        stream = module.__dict__.get("block_stream")
        if stream is not None:
            stream.settle()


def is_offloaded(network: nn.Module) -> bool:
    """Whether any of the network's blocks come and go, so that it must not be sent to a device as a whole."""
    return any("block_stream" in module.__dict__ for module in network.modules())


def streamed(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks that come and go: entries of the network's own lists. What refines captions has its own, and stays."""
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            yield from (block for block in child if next(block.parameters(), None) is not None)


def _rest_to(network: nn.Module, device: torch.device) -> None:
    """Send to the device what is in no block."""
    inside = {id(table) for block in streamed(network) for table, _, _ in _held(block)}
    for table, name, tensor in _held(network):
        if id(table) not in inside:
            sent = tensor.detach().to(device)
            table[name] = nn.Parameter(sent, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else sent


def offload_layers(reader: nn.Module, device: torch.device) -> None:
    """Keep a network that is read with alone in main memory and bring its layers to `device` one by one; in place.

    Lists of blocks may lie anywhere in it, as they do in models of language.
    """
    from diffusers.hooks.group_offloading import apply_group_offloading

    apply_group_offloading(reader, device, MAIN_MEMORY, "leaf_level")


def check_answers_offloaded(offload: Offload, compiled: bool) -> None:
    """Refuse what cannot go with blocks that leave the GPU, whatever they are used for.

    Raises:
        ValueError: compiled blocks, which would hold on to weights that are put in others' places before each call.
    """
    if offload and compiled:
        raise ValueError("backbone.compile: offloaded blocks cannot be compiled; set it or backbone.offload to false")


def check_trains_offloaded(name: str, offload: Offload, checkpointing: bool, trainable: str, parallel: str) -> None:
    """Refuse to train a network whose blocks leave the GPU where a backward pass would not find them again.

    Args:
        name: of the backbone.
        offload: `backbone.offload`.
        checkpointing: `backbone.gradient_checkpointing`.
        trainable: `train.trainable`.
        parallel: `train.parallel`.

    Raises:
        ValueError: activations that are kept, all weights trained, sharded weights, a UNet.
    """
    if not offload:
        return
    why = ""
    if name in UNETS:
        why = "a UNet's levels are not recomputed as a whole, so their weights must stay on the GPU; set it to false"
    elif not checkpointing:
        why = "it needs recomputed blocks; set it to false, or backbone.gradient_checkpointing to true"
    elif trainable == "full":
        why = "trained weights stay on the GPU, and here all are trained; set it to false, or train.trainable to lora"
    elif parallel == "shard":
        why = "sharded weights cannot be offloaded as well; set it to false, or train.parallel to replicate"
    if why:
        raise ValueError(f"backbone.offload: {why}")
