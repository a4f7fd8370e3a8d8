"""A frozen network in 8 or 4 bits, by bitsandbytes itself: what it changes, and what it must not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rushes.backbones.adapters import LORA_FILE, add_lora, merge_lora
from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.quantized import Quantize, bits_of, linear_layers, quantize, weight_bytes, weight_count
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.training.batches import NoiseSampler, make_batch
from rushes.training.comparison import Comparison, LatentGrid, View
from rushes.training.gradients import backward, plain_errors
from rushes.training.reference import Reference

from .test_pipelines import CAPTIONS, Models, condition_for, mode_of, noise_for, times_for
from .test_pipelines_train import stored
from .tiny_pipelines import BACKBONE

NAMES = list(BACKBONE)
FEW = ["wan_experts", "cogvideox_5b", "ltx"]
CPU = torch.device("cpu")
every_bits = pytest.mark.parametrize("bits", ["8bit", "4bit"])


def in_bits(name: str, bits: Quantize, folder: Callable[[str], Path], **options: Any) -> DiffusersBackbone:
    model = load_backbone(BACKBONE[name], str(folder(name)), LoadOptions(quantize=bits, **options))
    assert isinstance(model, DiffusersBackbone)
    return model


def answers(model: DiffusersBackbone, large: float = 1.0, rows: int = 2) -> Tensor:
    """Predictions at a high and a low noise level; the second row of noise may be large."""
    condition = condition_for(model, mode_of(model))
    noise, t = noise_for(model), times_for(model, condition, 0.95)
    noise[1] *= large
    t[1] *= 0.5
    return model.predict(noise[:rows], t[:rows], condition[:rows])


@pytest.mark.parametrize(
    ("name", "bits"), [*((name, "4bit") for name in NAMES), *((name, "8bit") for name in (*FEW, "animatediff"))]
)
def test_the_adapter_switched_off_is_the_base(
    name: str, bits: Quantize, tiny_folder: Callable[[str], Path], tiny_model: Models
) -> None:
    base, model = tiny_model(name), in_bits(name, bits, tiny_folder)
    there = [path for path, _ in linear_layers(base.network)]
    assert there and bits_of(model.network) == bits
    assert all(type(model.network.get_submodule(path)).__module__ == "bitsandbytes.nn.modules" for path in there)
    before = model.fingerprint
    assert before != base.fingerprint
    with torch.no_grad():
        whole, rounded = answers(base), answers(model)
    apart = float((rounded - whole).norm() / whole.norm())
    assert 0 < apart < (0.05 if bits == "8bit" else 0.5)
    assert model.fingerprint == before == in_bits(name, bits, tiny_folder).fingerprint
    torch.manual_seed(0)
    add_lora(model.network, model.spec.lora_targets, rank=4, alpha=8)
    trained = [p for p in model.network.parameters() if p.requires_grad]
    assert trained and all(p.dtype == torch.float32 and ".lora_" in name for name, p in model.network.named_parameters()
                           if p.requires_grad)  # fmt: skip
    made = answers(model)
    # bit for bit, with gradients, where the reference has none
    assert made.requires_grad and torch.equal(made, rounded)
    made.pow(2).mean().backward()
    assert any(bool(p.grad is not None and p.grad.any()) for p in trained)


@every_bits
@pytest.mark.parametrize("name", FEW)
def test_rows_do_not_see_each_other(name: str, bits: Quantize, tiny_folder: Callable[[str], Path]) -> None:
    """Not even where another row has what is far out, which LLM.int8 would keep in higher precision for all."""
    model = in_bits(name, bits, tiny_folder)
    with torch.no_grad():
        beside, alone = answers(model, large=50.0)[:1], answers(model, large=50.0, rows=1)
    torch.testing.assert_close(beside, alone, rtol=1e-4, atol=1e-5)


@every_bits
def test_weights_in_few_bits_are_counted_by_their_number(bits: Quantize) -> None:
    """4 bits lie two to a byte."""
    network = nn.Sequential(nn.ModuleList([nn.Linear(64, 32)]), nn.Linear(32, 3))
    before = weight_count(network)
    quantize(network, bits, CPU)
    assert weight_count(network) == before == 64 * 32 + 32 + 32 * 3 + 3


@every_bits
@pytest.mark.parametrize("name", FEW)
def test_training_lowers_the_loss(
    name: str, bits: Quantize, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = in_bits(name, bits, tiny_folder)
    latents, spec, frames = stored(model, tmp_path), model.spec, noise_for(model).shape[2]
    grid = LatentGrid(frames, spec.temporal_ratio, 8.0, False, clean=spec.first_frame == "clean", lead=spec.lead)
    terms = (Term("clip", (1.0, -1.0), grid.labels((1,)), beta=20.0),)
    views = (View("real", CAPTIONS[0], ""), View("take", CAPTIONS[0], ""))
    batch = make_batch(
        [(Comparison("c", "g", views, terms), 0)], latents, model, NoiseSampler(0, TimeDraw("uniform", 0.5, 0.9))
    )
    torch.manual_seed(0)
    add_lora(model.network, spec.lora_targets, rank=4, alpha=4)
    frozen = {name: p.clone() for name, p in model.network.named_parameters() if not p.requires_grad}
    trained = [p for p in model.network.parameters() if p.requires_grad]
    optimiser, reference, losses = torch.optim.AdamW(trained, lr=3e-3), Reference(model.network), []
    with reference.applied():
        known = plain_errors(model, batch)
    for _ in range(4):
        optimiser.zero_grad()
        value, _ = backward(model, batch, known)
        losses.append(float(value))
        optimiser.step()
    assert losses[0] == pytest.approx(0.6931, abs=1e-3) and losses[3] < losses[0], losses
    assert all(torch.equal(p, frozen[name]) for name, p in model.network.named_parameters() if name in frozen)
    with reference.applied():
        torch.testing.assert_close(plain_errors(model, batch), known, rtol=0, atol=0)


@every_bits
def test_diffusers_loads_what_is_exported(bits: Quantize, tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Onto the base in its own precision, where it does what it did over the rounded one, as nearly as that is near."""
    from diffusers import WanPipeline

    model = in_bits("wan", bits, tiny_folder)
    with torch.no_grad():
        before = answers(model)
        add_lora(model.network, model.spec.lora_targets, rank=4, alpha=10)
        generator = torch.Generator().manual_seed(0)
        for p in model.network.parameters():
            if p.requires_grad:
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))
        effect = answers(model) - before
        model.save_lora(tmp_path / "lora")
        pipeline: Any = WanPipeline.from_pretrained(tiny_folder("wan"), local_files_only=True)
        plain = in_bits("wan", "none", tiny_folder)
        plain.__dict__["network"] = pipeline.transformer
        without = answers(plain)
        pipeline.load_lora_weights(tmp_path / "lora", weight_name=LORA_FILE)
        theirs = answers(plain) - without
    assert float((theirs - effect).norm() / effect.norm()) < (0.05 if bits == "8bit" else 0.4)


@every_bits
def test_what_it_takes_is_what_plan_says(bits: Quantize) -> None:
    network = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(96, 80), nn.Linear(640, 70, bias=False)])})
    network = network.to(torch.bfloat16).requires_grad_(False)
    shapes = {path: layer.weight.shape for path, layer in linear_layers(network)}
    quantize(network, bits, CPU)
    for path, shape in shapes.items():
        layer: Any = network.get_submodule(path)
        held = [layer.weight.data]
        if bits == "8bit":
            held.append(layer.weight.SCB)
        else:
            state = layer.weight.quant_state
            held += [state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]
        assert sum(tensor.numel() * tensor.element_size() for tensor in held) == weight_bytes(shape, bits)
    large = torch.Size([8960, 1536])
    assert weight_bytes(large, bits) / large.numel() == pytest.approx({"8bit": 1.003, "4bit": 0.516}[bits], abs=0.001)


def test_what_cannot_be_held_in_few_bits(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    def refused(call: Callable[[], object]) -> str:
        with pytest.raises(ValueError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    few = LoadOptions(quantize="4bit")
    assert refused(lambda: load_backbone("tiny", "", few)).startswith(
        "backbone.quantize: 'tiny' cannot be quantized to 4bit; set"
    )
    assert "'inflated_sd' cannot be quantized to 4bit, because" in refused(
        lambda: load_backbone("inflated_sd", "", few)
    )
    bare = nn.Sequential(nn.Linear(4, 4))
    assert refused(lambda: quantize(bare, "8bit", CPU)).startswith("a Sequential has no linear layers in blocks, so")
    model = in_bits("wan", "4bit", tiny_folder)
    assert "export an adapter" in refused(lambda: model.save(tmp_path / "x"))
    add_lora(model.network, model.spec.lora_targets, rank=2, alpha=2)
    assert "cannot be merged into a network in 4bit" in refused(lambda: merge_lora(model.network))


def test_without_the_library(tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "bitsandbytes" else found(name, *more),
    )
    in_bits("wan", "none", tiny_folder)
    with pytest.raises(ValueError, match=r"needs bitsandbytes, which is not installed; run `make install EXTRAS=quant"):
        in_bits("wan", "4bit", tiny_folder)
