"""Blocks that come one by one and a codec that leaves: the same answers, and what cannot work is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone
from rushes.backbones.offload import _same, codec_at_work
from rushes.backbones.pipeline import DiffusersBackbone

from .test_pipelines import Models, condition_for, mode_of, noise_for, times_for
from .tiny_pipelines import BACKBONE


def offloaded(name: str, folder: Callable[[str], Path]) -> DiffusersBackbone:
    model = load_backbone(BACKBONE[name], str(folder(name)), LoadOptions(offload=True))
    assert isinstance(model, DiffusersBackbone)
    return model


def answer(model: DiffusersBackbone) -> Tensor:
    condition = condition_for(model, mode_of(model))
    t = times_for(model, condition, 0.95)
    t[1] *= 0.5
    return model.predict(noise_for(model), t, condition)


def adapted(model: DiffusersBackbone) -> DiffusersBackbone:
    """With an adapter that changes the answer, added after the hooks were."""
    add_lora(model.network, model.spec.lora_targets, rank=2, alpha=2)
    generator = torch.Generator().manual_seed(0)
    for name, p in model.network.named_parameters():
        if ".lora_" in name:
            p.data = 0.1 * torch.randn(p.shape, generator=generator)
    return model


def gradients(model: DiffusersBackbone) -> dict[str, Tensor]:
    answer(model).pow(2).mean().backward()
    return {name: p.grad for name, p in model.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["wan_experts", "cogvideox_5b", "ltx", "hunyuan", "animatediff"])
def test_blocks_that_come_and_go_change_nothing(
    name: str, tiny_folder: Callable[[str], Path], tiny_model: Models
) -> None:
    """Main memory stands for the GPU here: order and completeness of the hooks, not that weights move."""
    model, base = offloaded(name, tiny_folder), tiny_model(name)
    moves: list[str] = []
    with torch.no_grad():
        assert torch.equal(answer(model), answer(base))
    blocks = [module for module in model.network.modules() if hasattr(module, "_diffusers_hook")]
    assert len(blocks) >= 3
    for block in blocks:
        block.register_forward_hook(lambda *_: moves.append("ran"))
    adapted(model), adapted(base)
    with torch.no_grad():
        assert torch.equal(answer(model), answer(base))
    assert len(moves) >= 2
    ours, theirs = gradients(model), gradients(base)
    assert ours.keys() == theirs.keys() and len(ours) > 0
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


class Codec(nn.Module):
    """Says where it was sent, and then that it is on the first such device, as weights on a GPU do."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.seen = torch.device("cpu"), list[str]()

    def to(self, device: torch.device) -> Codec:  # type: ignore[override]
        self.place = device if device.type == "cpu" else torch.device(device.type, 0)
        self.seen.append(device.type)
        return self

    def parameters(self, recurse: bool = True) -> Any:
        yield SimpleNamespace(device=self.place)


class Model:
    def __init__(self) -> None:
        self.codec, self.device = Codec(), torch.device("cuda")

    @codec_at_work
    def outer(self, fail: bool = False) -> str:
        made = [self.inner() for _ in range(3)]  # clips of a batch
        if fail:
            raise RuntimeError("stop")
        return "".join(made)

    @codec_at_work
    def inner(self) -> str:
        return self.codec.place.type


def test_the_codec_is_on_its_device_while_it_works_and_no_longer() -> None:
    model = Model()
    assert model.outer() == "cuda" * 3 and model.inner() == "cuda"
    assert model.codec.seen == ["cuda", "cpu"] * 2  # not again for what is called inside
    with pytest.raises(RuntimeError, match="stop"):
        model.outer(fail=True)
    assert model.codec.place.type == "cpu"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("cuda:0", "cuda", True), ("cuda:1", "cuda:1", True), ("cuda:1", "cuda:0", False), ("cpu", "cuda", False)],
)
def test_devices_that_are_one(one: str, other: str, same: bool) -> None:
    assert _same(torch.device(one), torch.device(other)) is same


@pytest.mark.parametrize("use", ["encode", "decode", "encode_pixels"])
def test_every_use_of_the_codec_brings_it(use: str) -> None:
    assert getattr(DiffusersBackbone, use).__wrapped__


def test_models_that_are_not_offloaded() -> None:
    with pytest.raises(ValueError, match=r"backbone\.offload: 'tiny' has no blocks that could come one by one; set it"):
        load_backbone("tiny", "", LoadOptions(offload=True))
    with pytest.raises(ValueError, match=r"backbone\.offload: 'inflated_sd' is small"):
        load_backbone("inflated_sd", "", LoadOptions(offload=True))


@pytest.mark.parametrize("name", ["wan", "wan_experts"])
def test_a_parked_network_lies_in_main_memory_until_it_is_brought(
    name: str, tiny_folder: Callable[[str], Path]
) -> None:
    """Where weights are sharded nothing brings it: the processes' parts are taken from there."""
    opened = load_backbone("wan", str(tiny_folder(name)))
    assert isinstance(opened, DiffusersBackbone)
    far = torch.device("meta")  # which stands for a GPU, as main memory cannot stand for both
    model = DiffusersBackbone(opened.folder, opened.family, opened.how, far)
    model.parked = True
    assert {p.device.type for p in model.network.parameters()} == {"cpu"}
    model.unpark()
    assert {p.device.type for p in model.network.parameters()} == {"meta"} and not model.parked
    unparked = DiffusersBackbone(opened.folder, opened.family, opened.how, far)
    assert {p.device.type for p in unparked.network.parameters()} == {"meta"}
