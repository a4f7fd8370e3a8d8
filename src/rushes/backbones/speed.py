"""How fast a network answers: the kernel of its attention, and blocks that are compiled."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import warnings
from collections.abc import Iterator
from typing import Any

from torch import nn

from rushes.backbones.base import blocks
from rushes.devices import default_device

QUANTISES = "sage"  # in its name: attention over rounded numbers, which has no backward pass


def attention_names() -> list[str]:
    """diffusers' attention backends that this installation can use, by name."""
    return [name for name in _all_names() if not _lacks(name)]


def check_attention(name: str) -> None:
    """Refuse an attention backend that cannot be used here; "" is torch's own choice.

    Raises:
        ValueError: there is none of this name, or what it needs is not installed.
    """
    if name and (why := _lacks(name)):
        raise ValueError(
            f"backbone.attention: {name!r} cannot be used here ({why}); set it to "
            f"{', '.join(attention_names())}, or leave it empty for torch's own"
        )


def check_attention_trains(name: str) -> None:
    """Refuse to train with an attention that has no backward pass, whose gradients would be missing and not wrong.

    Raises:
        ValueError: it is one.
    """
    if QUANTISES in name:
        raise ValueError(
            f"backbone.attention: {name!r} has no backward pass, so it works only for takes and evaluation; leave it "
            "empty (for this command only: --set backbone.attention=)"
        )


def check_compiles(device: str) -> None:
    """Refuse to compile where there is nothing to compile with.

    Args:
        device: "cuda" or "cpu".

    Raises:
        ValueError: no Triton for a GPU, or no C++ compiler for a processor.
    """
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        raise ValueError("backbone.compile needs triton, which is not installed; install it, or set compile to false")
    if device == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        raise ValueError("backbone.compile needs a C++ compiler such as g++; install it, or set compile to false")


def use_attention(network: nn.Module, name: str) -> None:
    """Let a network of diffusers' attend by the backend of this name; in place. "" changes nothing.

    Raises:
        ValueError: as `check_attention` does, or this network asks torch directly, whatever is set.
    """
    if not name:
        return
    check_attention(name)
    if not any(hasattr(getattr(module, "processor", None), "_attention_backend") for module in network.modules()):
        raise ValueError(
            f"backbone.attention: a {type(network).__name__} works only with torch's attention; leave it empty"
        )
    logging.getLogger("diffusers.models.modeling_utils").setLevel(logging.ERROR)  # that this is experimental
    set_backend: Any = network.set_attention_backend
    set_backend(name)


def compile_blocks(network: nn.Module, **options: Any) -> None:
    """Compile the blocks of which a network has many, once for all of them; in place.

    As diffusers' `compile_repeated_blocks`, also for networks that do not name these blocks, such as CogVideoX's. It
    happens at their first call, so an adapter that is added before it is compiled too. Answers differ by rounding.

    Args:
        network: of diffusers'.
        options: of `torch.compile`.

    Raises:
        ValueError: what is compiled with is not installed.
    """
    check_compiles(default_device().type)
    # torch looks at the gradient of what a block is given, which is not a weight, and says so.
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
    names = getattr(network, "_repeated_blocks", None) or {type(block).__name__ for block in blocks(network)}
    for module in network.modules():
        if type(module).__name__ in names:
            module.compile(**options)


def _all_names() -> Iterator[str]:
    from diffusers.models.attention_dispatch import AttentionBackendName

    return (backend.value for backend in AttentionBackendName)


def _lacks(name: str) -> str:
    """Why a backend cannot be used here; "" where it can."""
    from diffusers.models.attention_dispatch import AttentionBackendName, _check_attention_backend_requirements

    if name not in _all_names():
        return "diffusers has no backend of this name"
    if default_device().type != "cuda" and name not in ("native", "_native_math", "flex"):
        return "it needs a GPU"
    try:
        _check_attention_backend_requirements(AttentionBackendName(name))
    except RuntimeError as error:
        return str(error).partition("because of ")[2].rstrip(".").replace("`", "") or str(error)
    return ""
