"""Parts of a model whose tensors have a shape and a dtype and no values: they take no memory and compute nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rushes.backbones.folders import Folder

AS_RELEASED: Mapping[str, Any] = MappingProxyType({})


def blank_part(folder: Folder, part: str, dtype: torch.dtype, changes: Mapping[str, Any] = AS_RELEASED) -> nn.Module:
    """A part out of its configuration, some of it changed, on torch's default device; no weights are read."""
    cls, config = folder.cls(part), {**folder.config(part), **changes}
    with _default(dtype):
        made: nn.Module = cls(cls.config_class(**config)) if hasattr(cls, "config_class") else cls.from_config(config)
    return made.eval()


@contextmanager
def no_values(dtype: torch.dtype, module: nn.Module) -> Iterator[nn.Module]:
    """Lend a module whose tensors have no values; nor have new ones, which are of `dtype` by default."""
    with FakeTensorMode(allow_non_fake_inputs=True), _default(dtype):
        yield _without_values(module)


def _without_values(network: nn.Module) -> nn.Module:
    """The network with tensors of the mode that is on; in place. Those of device "meta" choose other operations."""
    wide = set(
        getattr(network, "_keep_in_fp32_modules", None) or ()
    )  # which diffusers loads in float32 whatever the rest
    for path, module in network.named_modules():
        for name, p in module._parameters.items():
            if p is not None:
                dtype = torch.float32 if wide & {*path.split("."), name} else p.dtype
                module._parameters[name] = nn.Parameter(torch.empty(p.shape, dtype=dtype), p.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return network


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """New tensors have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)
