"""What is not at work lies in main memory: the codec between two uses and, where that is asked for, a network's blocks.

Blocks are brought to the GPU one after the other by diffusers' group offloading. Its hooks send a block back as soon as
its forward pass ends, so that a backward pass would find its weights gone: it is for sampling, and training refuses it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

P = ParamSpec("P")
T = TypeVar("T")
MAIN_MEMORY = torch.device("cpu")


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


def offload_blocks(network: nn.Module, device: torch.device) -> None:
    """Keep the network in main memory and bring its blocks to `device` one by one, later adapters included; in place.

    Without streams, which copy weights aside when hooks are made: those of an adapter come after that.
    """
    from diffusers.hooks.group_offloading import apply_group_offloading

    apply_group_offloading(network, device, MAIN_MEMORY, "block_level", num_blocks_per_group=1)


def offload_layers(reader: nn.Module, device: torch.device) -> None:
    """Keep a network that is read with alone in main memory and bring its layers to `device` one by one; in place.

    Lists of blocks may lie anywhere in it, as they do in models of language.
    """
    from diffusers.hooks.group_offloading import apply_group_offloading

    apply_group_offloading(reader, device, MAIN_MEMORY, "leaf_level")


def check_not_offloaded(offload: bool) -> None:
    """Refuse to train a network whose blocks leave the GPU.

    Raises:
        ValueError: it is offloaded.
    """
    if offload:
        raise ValueError(
            "backbone.offload: a network whose blocks come and go cannot be trained; set it to false (for this command "
            "alone with --set backbone.offload=false), and where memory is short backbone.quantize to 4bit"
        )
