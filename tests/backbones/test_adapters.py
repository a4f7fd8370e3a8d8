from __future__ import annotations

import copy

import pytest
import torch
from peft.tuners.lora import Linear
from torch import nn
from torch.nn import functional

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


def adapted(dtype: torch.dtype) -> tuple[nn.Linear, nn.Module, list[nn.Parameter]]:
    """A layer, itself under an adapter that changes its answer, and the two factors."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 48)).to(dtype)
    layer = copy.deepcopy(network[0])
    assert isinstance(layer, nn.Linear)
    network.eval().requires_grad_(False)
    add_lora(network, ("0",), rank=8, alpha=16)
    factors = [p for p in network.parameters() if p.requires_grad]
    for p in factors:
        nn.init.normal_(p, std=0.1)
    return layer, network, factors


def test_an_adapter_computes_as_its_network_does_over_float32_weights() -> None:
    """In bfloat16: equal to the closed form in float64 to its rounding, and nothing of float32 is kept of the input."""
    layer, network, factors = adapted(torch.bfloat16)
    assert [p.dtype for p in factors] == [torch.float32] * 2
    x = torch.randn(32, 64, dtype=torch.bfloat16)
    saved: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = network(x)
    assert all(tensor.dtype == torch.bfloat16 for tensor in saved if tensor.shape[0] == 32)
    first, second = (p.detach().double().requires_grad_() for p in factors)
    plain = x.double() @ layer.weight.double().T + layer.bias.double() + 2 * x.double() @ first.T @ second.T
    assert out.dtype == torch.bfloat16
    assert (out.double() - plain).norm() < 0.01 * plain.norm()
    out.float().pow(2).sum().backward()
    plain.pow(2).sum().backward()
    for p, exact in zip(factors, (first, second), strict=True):
        assert p.grad is not None and exact.grad is not None and p.grad.dtype == torch.float32
        assert (p.grad.double() - exact.grad).norm() < 0.02 * exact.grad.norm()


def test_in_float32_the_answer_is_that_of_peft() -> None:
    layer, network, (first, second) = adapted(torch.float32)
    x = torch.randn(32, 64)
    assert torch.equal(network(x), layer(x) + functional.linear(functional.linear(x, first), second) * 2.0)


def test_adapters_are_merged_where_the_weights_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that come and go lie in main memory, their adapters on the GPU; another device stands for the first."""
    network = TinyBackbone(SMALL).network
    add_lora(network, ("to_q",), rank=2, alpha=2)
    layers = [layer for layer in network.modules() if isinstance(layer, Linear)]
    for layer in layers:
        layer.get_base_layer().to("meta")
    merge = Linear.merge
    places: list[tuple[str, torch.dtype]] = []

    def noted(layer: Linear) -> None:
        places.extend((p.device.type, p.dtype) for p in layer.parameters() if p.requires_grad)
        merge(layer)

    monkeypatch.setattr(Linear, "merge", noted)
    merge_lora(network)
    assert len(layers) == SMALL.depth and places == [("meta", torch.float32)] * 2 * len(layers)
