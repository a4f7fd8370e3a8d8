"""LoRA through peft: a few small matrices are trained and the network's own weights stay.

peft takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rushes.backbones.quantized import bits_of
from rushes.files import whole_file
from rushes.tensor_files import save_tensors

LORA_FILE = "pytorch_lora_weights.safetensors"  # the name that diffusers looks for


def add_lora(network: nn.Module, targets: Sequence[str], rank: int, alpha: float, name: str = "policy") -> None:
    """Inject trainable low-rank adapters into the linear layers named `targets` and freeze everything else; in place.

    Adapters are float32 whatever the network's dtype: in bfloat16 most steps of the optimiser would change nothing.
    They compute in the network's dtype, as under autocast: peft alone would keep a float32 copy of each layer's input.

    Raises:
        ValueError: no layer of the network has one of these names.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    paths = [f".{path}" for path, _ in network.named_modules()]
    missing = sorted(target for target in set(targets) if not any(path.endswith(f".{target}") for path in paths))
    if missing:
        raise ValueError(f"LoRA target {missing[0]!r} is not a layer of this network")
    # peft takes any number for alpha where its types say int.
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets))  # type: ignore[arg-type]
    inject_adapter_in_model(config, network, adapter_name=name)
    for p in network.parameters():
        if p.requires_grad:
            p.data = p.data.to(torch.promote_types(p.dtype, torch.float32))
    for layer in network.modules():
        if isinstance(layer, BaseTunerLayer):
            _compute_as_the_input(layer, name)


class InputPrecisionLinear(nn.Linear):
    """A linear layer that computes in the dtype of its input, over weights of another."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` [..., in] -> [..., out], in the dtype of `x`."""
        return functional.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


def _compute_as_the_input(layer: Any, name: str) -> None:
    """Let the adapter of a layer of peft's take its input as it is."""
    factors = [layer.lora_A[name], layer.lora_B[name]] if name in getattr(layer, "lora_A", {}) else []
    if factors and all(type(factor) is nn.Linear for factor in factors):
        layer.cast_input_dtype_enabled = False
        for factor in factors:
            factor.__class__ = InputPrecisionLinear


def merge_lora(network: nn.Module) -> None:
    """Add the adapters to the weights they adapt and remove them; in place. Nothing happens where there are none.

    Raises:
        ValueError: the network is held in 8 or 4 bits.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    if bits := bits_of(network):
        raise ValueError(
            f"an adapter cannot be merged into a network in {bits}, as rounding would remove most of it; set "
            "train.init_from to base, or use the train.trainable, train.lora_rank and train.lora_alpha of that run"
        )
    for path, layer in list(network.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            for factors in (getattr(layer, name) for name in ("lora_A", "lora_B")):  # blocks may be in main memory
                factors.to(cast(Any, layer.get_base_layer().weight).device)
            layer.merge()
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, layer.get_base_layer())
    if hasattr(network, "peft_config"):
        del network.peft_config  # or peft would take the next adapter for a second one


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return ".lora_A." in name or ".lora_B." in name


def adapter_is_idle(network: nn.Module) -> bool:
    """Whether the adapters change nothing: their second factors are zero, as they start."""
    return not any(bool(p.any()) for name, p in network.named_parameters() if ".lora_B." in name)


def lora_config(network: nn.Module, name: str = "policy") -> dict[str, Any]:
    """What `add_lora` was asked for, as peft writes it down."""
    configs: Any = network.peft_config
    config: dict[str, Any] = configs[name].to_dict()
    return config


def save_lora(part: nn.Module, config: Mapping[str, Any], path: Path, prefix: str, name: str = "policy") -> None:
    """Write the adapter of a network as diffusers reads it.

    alpha / rank is multiplied into the second factor: a reader that knows of no alpha takes the rank for it, and the
    adapter would act with another strength than it was trained with.
    """
    scale = config["lora_alpha"] / config["r"]
    tensors = {
        f"{prefix}.{key.replace(f'.{name}.', '.')}": (p.detach() * (scale if ".lora_B." in key else 1.0)).contiguous()
        for key, p in part.named_parameters()
        if f".{name}." in key
    }
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    header = {f"{prefix}.{key}": value for key, value in {**plain, "lora_alpha": config["r"]}.items()}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(header, default=str)}
    with whole_file(path) as partial:
        save_tensors(tensors, partial, metadata=metadata)
