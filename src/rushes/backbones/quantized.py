"""A frozen network in 8 or 4 bits a weight, through bitsandbytes, to train an adapter over it.

The linear layers inside the network's blocks, which are nearly all of its weights, are replaced; what stands before and
after the blocks, norms and biases keep their precision. 8 bits are rows of integers with a scale each, and inputs are
rounded to 8 bits too (LLM.int8, arXiv 2208.07339, without its outliers: which columns are outliers depends on what
else is in the batch, and a prediction must not). 4 bits are NF4 with scales that are rounded themselves (QLoRA, arXiv
2305.14314); inputs keep their precision.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterator
from math import ceil, prod
from typing import Any, Literal

import torch
from torch import nn

Quantize = Literal["none", "8bit", "4bit"]
# When peft imports it, it says which kernels it lacks; and of each pass, that inputs are rounded from float16.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
_BLOCK, _SCALES = 64, 256  # NF4 weights that share a scale, and scales that share theirs


def check_library() -> None:
    """Refuse to go on without bitsandbytes.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            "backbone.quantize needs bitsandbytes, which is not installed; run `make install EXTRAS=quantize`, or "
            "set backbone.quantize to none"
        )


def quantize(network: nn.Module, bits: Quantize, device: torch.device) -> None:
    """Replace the weights of the linear layers in the blocks by their values in `bits`, on `device`; in place. "none"
    changes nothing.

    Layer by layer, so that the device never holds the whole network in its own precision.

    Raises:
        ValueError: bitsandbytes is not installed, or there are no such layers.
    """
    if bits == "none":
        return
    check_library()
    layers = list(linear_layers(network))
    if not layers:
        raise ValueError(
            f"a {type(network).__name__} has no linear layers in blocks, so it cannot be quantized to {bits}; set "
            "backbone.quantize to none"
        )
    for path, layer in layers:
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, _replaced(layer, bits).to(device))
    setattr(network, f"is_loaded_in_{bits}", True)  # by which peft chooses its layers


def linear_layers(network: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """The layers that `quantize` replaces, by their paths: in the lists of blocks, and not kept in float32."""
    wide = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    lists = [path for path, module in network.named_modules() if isinstance(module, nn.ModuleList)]
    for path, module in network.named_modules():
        names = path.split(".")
        inside = any(path.startswith(f"{blocks}.") for blocks in lists) and not wide & {*names}
        # diffusers calls the ends of motion modules by keyword, which layers of bitsandbytes do not take
        end = "motion_modules" in names and names[-1] in ("proj_in", "proj_out")
        if inside and not end and type(module) is nn.Linear:
            yield path, module


def _replaced(layer: nn.Linear, bits: Quantize) -> nn.Module:
    """A layer of bitsandbytes with the same weights, which are rounded when it is moved to a device."""
    bnb: Any = importlib.import_module("bitsandbytes.nn")
    sizes, bias = (layer.in_features, layer.out_features), layer.bias is not None
    if bits == "8bit":
        new = bnb.Linear8bitLt(*sizes, bias, has_fp16_weights=False, threshold=0.0, device="meta")
        new.weight = bnb.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    else:
        new = bnb.Linear4bit(*sizes, bias, layer.weight.dtype, quant_type="nf4", device="meta")
        new.weight = bnb.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", module=new)
        # On some processors a pass without gradients would take another kernel, in bfloat16: the reference would answer
        # otherwise than the policy that it is.
        new.support_avx512bf16_for_cpu = False
    new.bias = layer.bias
    frozen: nn.Module = new.requires_grad_(False).eval()
    return frozen


def bits_of(network: nn.Module) -> str:
    """ "8bit" or "4bit", or an empty string for a network in its own precision."""
    return next((bits for bits in ("8bit", "4bit") if getattr(network, f"is_loaded_in_{bits}", False)), "")


def weight_bytes(shape: torch.Size, bits: Quantize) -> int:
    """What a linear layer's weight takes, scales and tables among it."""
    count = prod(shape)
    if bits == "8bit":
        return count + 4 * shape[0]
    blocks = ceil(count / _BLOCK)
    return ceil(count / 2) + blocks + 4 * ceil(blocks / _SCALES) + 4 * (16 + 256 + 1)


def weight_count(network: nn.Module) -> int:
    """Weights of a network, those in 4 bits by their number and not by the bytes that hold two of them each."""
    shapes = (getattr(p, "quant_state", None) or p for p in network.parameters())
    return sum(prod(each.shape) for each in shapes)
