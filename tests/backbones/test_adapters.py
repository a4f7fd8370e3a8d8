from __future__ import annotations

import pytest
import torch

from rushes.backbones.adapters import add_lora, merge_lora
from rushes.backbones.tiny import TinyBackbone, TinyConfig

SMALL = TinyConfig(channels=4, width=24, depth=2, heads=2)


def test_only_adapters_are_trainable_and_few() -> None:
    network = TinyBackbone(SMALL).network
    whole = sum(p.numel() for p in network.parameters())
    add_lora(network, ("to_q", "down"), rank=2, alpha=2)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert all("lora" in name and (".to_q." in name or ".down." in name) for name in trained)
    assert len(trained) == 2 * 2 * 2  # blocks, targets, factors
    assert sum(p.numel() for p in trained.values()) < 0.05 * whole


def test_a_fresh_adapter_changes_nothing() -> None:
    """Its second factor is zero, so the model with it is the reference."""
    network = TinyBackbone(SMALL).network
    add_lora(network, ("to_q",), rank=2, alpha=2)
    second = [p for name, p in network.named_parameters() if "lora_B" in name]
    first = [p for name, p in network.named_parameters() if "lora_A" in name]
    assert not any(p.any() for p in second) and all(p.any() for p in first)


def test_an_unknown_layer_is_named() -> None:
    network = TinyBackbone(SMALL).network
    with pytest.raises(ValueError, match="LoRA target 'to_x' is not a layer of this network"):
        add_lora(network, ("to_q", "to_x"), rank=2, alpha=2)
    assert all(p.requires_grad for p in network.parameters())  # refused before anything is changed


def test_merging_without_adapters_does_nothing() -> None:
    network = TinyBackbone(SMALL).network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    merge_lora(network)
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
