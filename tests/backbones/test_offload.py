"""Blocks that come one by one and a codec that leaves: the same answers, and what cannot work is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rushes.backbones import offload
from rushes.backbones.adapters import add_lora
from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone
from rushes.backbones.offload import _same, check_trains_offloaded, codec_at_work, settle, streamed
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
    """With an adapter that changes the answer, added after the blocks left."""
    add_lora(model.network, model.spec.lora_targets, rank=2, alpha=2)
    settle(model.network)
    generator = torch.Generator().manual_seed(0)
    for name, p in model.network.named_parameters():
        if ".lora_" in name:
            p.data = 0.1 * torch.randn(p.shape, generator=generator)
    return model


def gradients(model: DiffusersBackbone) -> dict[str, Tensor]:
    answer(model).pow(2).mean().backward()
    return {name: p.grad for name, p in model.network.named_parameters() if p.grad is not None}


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Main memory stands for the GPU: what comes is a copy, which is spoiled when it leaves; all moves are noted."""
    moves: list[str] = []
    leave = offload._MovedModule.leave

    def bring(memory: Tensor, device: torch.device) -> Tensor:
        moves.append("came")
        return memory.clone()

    def spoil(unit: Any) -> None:
        there = unit.there
        leave(unit)
        moves.append("left")
        there.fill_(255)  # a NaN in each precision

    monkeypatch.setattr(offload, "brought", bring)
    monkeypatch.setattr(offload._MovedModule, "leave", spoil)
    return moves


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wan_experts", LoadOptions(offload=True)),
        ("wan_experts", LoadOptions(offload="idle_expert")),
        ("cogvideox_5b", LoadOptions(offload=True)),
        ("ltx", LoadOptions(offload=True)),
        ("ltx2", LoadOptions(offload=True)),
        ("mochi", LoadOptions(offload=True)),
        ("hunyuan", LoadOptions(offload=True)),
        ("hunyuan15", LoadOptions(offload=True)),
        ("skyreels", LoadOptions(offload=True)),
    ],
)
def test_blocks_that_come_and_go_change_nothing(
    name: str, options: LoadOptions, tiny_folder: Callable[[str], Path], tiny_model: Models, spoiled: list[str]
) -> None:
    """Answers and an adapter's gradients are bit-equal, and weights that have left are not looked at again."""
    model, base = load_backbone(BACKBONE[name], str(tiny_folder(name)), options), tiny_model(name)
    assert isinstance(model, DiffusersBackbone)
    with torch.no_grad():
        assert torch.equal(answer(model), answer(base))
    assert spoiled.count("left") > 0
    del spoiled[:]
    adapted(model), adapted(base)
    ours, theirs = gradients(model), gradients(base)
    assert ours.keys() == theirs.keys() and len(ours) > 0
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert spoiled.count("left") > 0
    here = [p for p in model.network.parameters() if p.requires_grad]
    assert all(bool(p.isfinite().all()) for p in here), "what is trained never leaves"


def test_levels_of_a_unet_come_for_takes(
    tiny_folder: Callable[[str], Path], tiny_model: Models, spoiled: list[str]
) -> None:
    with torch.no_grad():
        assert torch.equal(answer(offloaded("animatediff", tiny_folder)), answer(tiny_model("animatediff")))
    assert spoiled.count("left") > 0


def test_one_block_works_and_the_next_is_on_its_way(tiny_folder: Callable[[str], Path], spoiled: list[str]) -> None:
    """From the first to the last, back again from the last, which has not left, and no more than two at once."""
    model = offloaded("wan", tiny_folder)
    stream = model.network.__dict__["block_stream"]
    seen: list[set[int]] = []
    for block in streamed(model.network):
        block.register_forward_pre_hook(lambda *_: seen.append({*stream.present}))
    adapted(model)
    gradients(model)
    last = len(stream.groups) - 1
    forth = [{at, min(at + 1, last)} for at in range(last + 1)]
    back = [{at, max(at - 1, 0)} for at in reversed(range(last + 1))]
    assert last >= 1 and seen == forth + back


def test_weights_in_main_memory_are_one_piece_a_block(tiny_folder: Callable[[str], Path]) -> None:
    model = offloaded("wan", tiny_folder)
    for block in streamed(model.network):
        assert len({p.untyped_storage().data_ptr() for p in block.parameters()}) == 1
        assert all(p.data_ptr() % 64 == 0 for p in block.parameters())
    assert model.fingerprint == load_backbone("wan", str(tiny_folder("wan"))).fingerprint


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ({"checkpointing": False}, "backbone.gradient_checkpointing to true"),
        ({"trainable": "full"}, "train.trainable to lora"),
        ({"parallel": "shard"}, "train.parallel to replicate"),
        ({"name": "animatediff"}, "a UNet's levels"),
    ],
)
def test_what_cannot_be_trained_is_refused(what: dict[str, Any], remedy: str) -> None:
    good: dict[str, Any] = {
        "name": "wan",
        "offload": True,
        "checkpointing": True,
        "trainable": "lora",
        "parallel": "replicate",
    }
    check_trains_offloaded(**good)
    check_trains_offloaded(**{**good, **what, "offload": False})
    with pytest.raises(ValueError, match=r"^backbone\.offload: .*" + remedy):
        check_trains_offloaded(**{**good, **what})


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
    with pytest.raises(ValueError, match=r"backbone\.offload: 'tiny' has no blocks that could be moved .*; set it"):
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
    model = DiffusersBackbone(opened.folder, opened.family, opened.options, far)
    model.parked = True
    assert {p.device.type for p in model.network.parameters()} == {"cpu"}
    model.unpark()
    assert {p.device.type for p in model.network.parameters()} == {"meta"} and not model.parked
    unparked = DiffusersBackbone(opened.folder, opened.family, opened.options, far)
    assert {p.device.type for p in unparked.network.parameters()} == {"meta"}
