"""Parts of a model at their released size whose weights mean nothing, out of its configurations alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rushes.backbones.folders import Folder

SPREAD = 0.02  # of weights that mean nothing
# Where classes name what stays in float32 beside bfloat16.
WIDE = {"diffusers": "_keep_in_fp32_modules", "transformers": "_keep_in_fp32_modules_strict"}


class RandomWeights(Folder):
    """What a model's folder says, and in place of its weights others."""

    def load(self, part: str, dtype: torch.dtype) -> nn.Module:
        """A part at its released size with weights that mean nothing, on torch's default device.

        Modules that its class keeps in float32 are in float32, as they are when a folder is loaded.
        """
        from transformers.initialization import no_init_weights

        cls, config = self.cls(part), self.config(part)
        reads = self.index[part][0] == "transformers"
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with no_init_weights(), _without_memory():
                part_module: nn.Module = cls(cls.config_class(**config)) if reads else cls.from_config(config)
        finally:
            torch.set_default_dtype(before)
        if reads:
            part_module.tie_weights()  # type: ignore[operator]  # which is part of the initialisation that was left out
        wide = {*(getattr(part_module, WIDE["transformers" if reads else "diffusers"], None) or ())}
        filled: dict[int, nn.Parameter] = {}  # weights that two modules share stay one
        for path, module in part_module.named_modules():
            for name, weight in module._parameters.items():
                if weight is not None and id(weight) not in filled:
                    its = torch.float32 if wide & {*path.split("."), name} else weight.dtype
                    filled[id(weight)] = nn.Parameter(torch.empty(weight.shape, dtype=its).normal_(0, SPREAD))
        for module in part_module.modules():
            module._parameters.update({k: filled[id(p)] for k, p in module._parameters.items() if p is not None})
        return part_module


@contextmanager
def _without_memory() -> Iterator[None]:
    """Within it modules are made with weights that take no memory, and buffers as they are."""
    register = nn.Module.register_parameter

    def put(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        if weight is not None and weight.device.type != "meta":  # else it is another module's, too
            weight = nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device="meta"), weight.requires_grad)
        register(module, name, weight)

    nn.Module.register_parameter = put  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
