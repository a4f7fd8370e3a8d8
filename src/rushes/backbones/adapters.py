"""LoRA through peft: a few small matrices are trained and the network's own weights stay.

peft takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def add_lora(network: nn.Module, targets: Sequence[str], rank: int, alpha: float, name: str = "policy") -> None:
    """Inject trainable low-rank adapters into the linear layers named `targets` and freeze everything else; in place.

    Raises:
        ValueError: no layer of the network has one of these names.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = {path.rsplit(".", 1)[-1] for path, _ in network.named_modules()}
    missing = sorted(set(targets) - names)
    if missing:
        raise ValueError(f"LoRA target {missing[0]!r} is not a layer of this network")
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), init_lora_weights=True)  # type: ignore[arg-type]
    inject_adapter_in_model(config, network, adapter_name=name)


def merge_lora(network: nn.Module) -> None:
    """Add the adapters to the weights they adapt and remove them; in place. Nothing happens where there are none."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in list(network.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, layer.get_base_layer())
