"""Forecasts of `rushes plan` against measurements on this processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Condition, LoadOptions
from rushes.backbones.feed_forward import chunk_feed_forward
from rushes.backbones.loading import load_backbone
from rushes.backbones.model_defaults import released
from rushes.backbones.quantized import Quantize
from rushes.config.clip_shapes import ClipShape
from rushes.inspect import step_forecast as plan
from rushes.inspect.blank import condition_of
from rushes.inspect.dry_run import Cost, dry_run, open_blank
from rushes.inspect.step_forecast import (
    GIB,
    ForecastRequest,
    forecast,
    gpu_named,
    main_memory,
    model_folder,
    operations,
    remedies,
    static_memory,
)
from rushes.training.activations import MainMemoryActivations, SyncOffload
from rushes.training.cost_counter import CostCounter
from rushes.training.memory import saved_for_backward

from ..backbones.tiny_pipelines import BACKBONE, write
from .by_hand import by_hand

COST = Cost(10**9, 10**7, 4 * 10**7, 2 * 10**9, (16, 21, 60, 104), 80e12, 240e12, 3 * GIB, 8 * GIB)
ASK = ForecastRequest(
    ClipShape(480, 832, 81),
    LoadOptions("bfloat16"),
    "lora",
    32,
    views=4,
    batch=1,
    reference_cache=False,
    gpu_memory_gb=80,
    tflops=400,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    known: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in known:
            with torch.random.fork_rng():
                known[name] = write(name, tmp_path_factory.mktemp("plan") / name)
        return known[name]

    return make


SLOW = ["wan_experts", "cogvideox_5b", "ltx2", "hunyuan15"]
MORE = [
    "wan_i2v",
    "wan_ti2v",
    "skyreels_df",
    "cogvideox_1.5_i2v",
    "ltx",
    "hunyuan",
    "hunyuan_i2v",
    "hunyuan15_i2v",
    "animatediff",
]
NAMES = [
    "wan",
    *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.whole]) for name in MORE),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tune", ["lora", "full"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_forecast_is_what_is_measured(
    name: str, tune: str, checkpointing: bool, folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes and operations of the network itself, with weights and values, within the errors that are told."""
    options = LoadOptions("bfloat16" if tune == "lora" else "float32", checkpointing)
    path = folder(name)
    model: Any = load_backbone(BACKBONE[name], str(path), options)
    multiple = model.spec.multiple_px or model.spec.spatial_ratio
    height, width = model.spec.only_px or (multiple * -(-32 // multiple), multiple * -(-64 // multiple))
    clip = ClipShape(height, width, model.spec.largest(9))
    cost = dry_run(model_folder(str(path)), options, clip, tune, rank=4)
    assert cost.parameters == sum(p.numel() for p in model.network.parameters())
    model.network.requires_grad_(tune == "full")
    if tune == "lora":
        add_lora(model.network, model.spec.lora_targets, 4, 4)
    assert cost.weights == sum(p.numel() * p.element_size() for p in model.network.parameters())
    assert cost.trained == sum(p.numel() for p in model.network.parameters() if p.requires_grad)
    given = given_to(model, cost)
    ask = (torch.randn(1, *cost.latents), torch.full((1, cost.latents[1]), 0.5), given)
    with saved_for_backward(model.network) as saved:
        model.predict(*ask)
    kept = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    saved.clear()
    assert cost.saved == pytest.approx(kept, rel=plan.ERRORS["activations"])
    with by_hand(model.network, monkeypatch) as count:
        made = model.predict(*ask)
        assert cost.forward == pytest.approx(count.forward, rel=plan.ERRORS["operations"])
        count.going_back = True
        made.pow(2).mean().backward()
    assert cost.both == pytest.approx(count.forward + count.backward, rel=plan.ERRORS["operations"])
    # Of two experts each is given a copy of its rows, which in a network as narrow as this one shows.
    error = 0.06 if name == "wan_experts" else plan.ERRORS["activations"]
    assert cost.activations == pytest.approx(peak_of(model, ask), rel=error)


def given_to(model: Any, cost: Cost) -> Condition:
    """What the network is given beside a clip, with values."""
    condition = condition_of(model, cost.latents, False)
    real = {key: torch.rand(value.shape).to(value.dtype) for key, value in condition.more.items()}
    real |= {key: torch.ones_like(value) for key, value in condition.more.items() if value.dtype == torch.bool}
    first = None if condition.first_frame is None else torch.rand(condition.first_frame.shape)
    return Condition(torch.rand(condition.text.shape), first, real)


def peak_of(model: Any, ask: tuple[torch.Tensor, torch.Tensor, Condition], waiting: Any = None) -> int:
    """Most bytes that this processor held at once in a forward and a backward pass, gradients in place; what the
    forward pass saves may be `waiting` elsewhere, and its answer, which the loss needs, is there."""
    held = [*model.network.parameters(), *model.network.buffers(), *ask[:2], ask[2].text, *ask[2].more.values()]
    held += [p.grad for p in model.network.parameters() if p.grad is not None]
    with CostCounter(held) as counter:
        with waiting or nullcontext():
            answer = model.predict(*ask)
        answer.pow(2).mean().backward()
    return int(counter.peak)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_forecast_of_a_network_in_few_bits(bits: Quantize, checkpointing: bool, folder: Callable[[str], Path]) -> None:
    """Bytes of the weights exactly; bytes kept within the error that is told."""
    options, path = LoadOptions("bfloat16", checkpointing, quantize=bits), folder("wan")
    cost = dry_run(model_folder(str(path)), options, ClipShape(32, 64, 9), "lora", rank=4)
    plain = dry_run(
        model_folder(str(path)), LoadOptions("bfloat16", checkpointing), ClipShape(32, 64, 9), "lora", rank=4
    )
    assert (cost.trained, cost.parameters, cost.saved) == (plain.trained, plain.parameters, plain.saved)
    model: Any = load_backbone("wan", str(path), options)
    layers = [model.network.get_submodule(name) for name in _replaced(model.network)]
    add_lora(model.network, model.spec.lora_targets, 4, 4)
    held = [p.data for p in model.network.parameters()] + [tensor for layer in layers for tensor in _scales(layer)]
    assert cost.weights == sum(tensor.numel() * tensor.element_size() for tensor in held)
    ask = (torch.randn(1, *cost.latents), torch.full((1, cost.latents[1]), 0.5), given_to(model, cost))
    with saved_for_backward(model.network) as saved:
        model.predict(*ask)
    kept = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    saved.clear()
    assert cost.saved == pytest.approx(kept, rel=plan.ERRORS["activations"])


def _replaced(network: torch.nn.Module) -> list[str]:
    return [name for name, layer in network.named_modules() if type(layer).__module__.startswith("bitsandbytes")]


def _scales(layer: Any) -> list[torch.Tensor]:
    """What of a layer in few bits is neither weight nor bias."""
    state = getattr(layer.weight, "quant_state", None)
    if state is None:
        return [layer.weight.SCB]
    return [state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]


def test_memory_and_operations_add_up() -> None:
    assert static_memory(COST, ASK) == {
        "weights": 2 * 10**9,
        "gradients": 4 * 10**7,
        "optimiser": 8 * 10**7,
        "reference": 4 * 10**7,
    }
    assert COST.activations == 8 * GIB
    assert operations(COST, ASK, "stash") == 4 * (240e12 + 80e12)
    assert operations(COST, ASK, "two_pass") == 4 * (240e12 + 80e12) + 80e12  # the real clip waits for the takes
    assert operations(COST, replace(ASK, waiting=3), "two_pass") == 4 * (240e12 + 80e12) + 3 * 80e12
    assert operations(COST, replace(ASK, reference=False), "joint") == 4 * 240e12
    looked_up = ForecastRequest(**{**ASK.__dict__, "reference_cache": True, "batch": 2})
    assert operations(COST, looked_up, "joint") == 8 * 240e12


@pytest.mark.parametrize(("memory", "fitting"), [(80, "joint"), (20, "stash"), (6, "")])
def test_modes_that_fit(memory: float, fitting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "dry_run", lambda *_, **__: COST)
    facts = forecast(released("wan2.1-t2v-1.3b"), ForecastRequest(**{**ASK.__dict__, "gpu_memory_gb": memory}))
    assert facts.fits == bool(fitting) and (not fitting or facts.mode == fitting)
    assert facts.modes["joint"].memory_gb == pytest.approx(32 + 2.16e9 / GIB, abs=0.01)
    assert facts.modes["stash"].memory_gb == pytest.approx(8 + 2.2e9 / GIB, abs=0.01)
    assert (facts.remedies == ()) == bool(fitting)
    assert facts.step_s == pytest.approx(4 * 320 / 400, abs=0.01)


def test_remedies_name_what_helps() -> None:
    heavy = ForecastRequest(
        **{**ASK.__dict__, "options": LoadOptions("mixed", checkpointing=False), "tune": "full", "gpu_memory_gb": 16}
    )
    words = " ".join(remedies(Cost(**{**COST.__dict__, "weights": 20 * GIB}), heavy))
    for part in (
        "backbone.gradient_checkpointing",
        "train.trainable lora",
        "backbone.dtype to bfloat16",
        "weights among 3 GPUs",
    ):
        assert part in words
    options = LoadOptions("bfloat16", quantize="4bit", feed_forward_chunk=4096)
    few = ForecastRequest(**{**ASK.__dict__, "gpu_memory_gb": 16, "options": options, "activations": "offload"})
    words = " ".join(remedies(COST, ASK))
    for part in (
        "(train.activations offload)",
        "backbone.chunk_size_feed_forward to 4096",
        "(backbone.offload true)",
        "store the frozen weights in 4 bits (backbone.quantize 4bit)",
    ):
        assert part in words
    assert "(train.optimizer adamw_8bit)" in " ".join(remedies(COST, heavy))
    assert list(remedies(Cost(**{**COST.__dict__, "saved": 20 * GIB}), few)) == [
        "use fewer frames or a smaller size: activations shrink with the number of tokens"
    ]


def test_command(rushes: Callable[..., tuple[int, str, str]], folder: Callable[[str], Path]) -> None:
    asked = ("plan", "--model", folder("wan"), "--size", "32x64", "--frames", 9, "--recipe", "densedpo")
    code, out, _ = rushes(*asked, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["fits"] and facts["mode"] == "joint" and facts["latents"] == [4, 3, 4, 8]
    code, out, _ = rushes(*asked)
    assumed, *_, whole, following = out.splitlines()
    assert "the forecast is for an h100; name yours with --gpu" in assumed and "--rehearse" not in assumed
    assert whole.startswith("all stages: under 0.1 h at ") and following.startswith("next: rushes init")
    assert "the forecast is for an" not in rushes(*asked, "--gpu", "rtx4090")[1]
    code, out, _ = rushes(*asked, "--gpu-memory-gb", 0.0001)
    assert code == 1 and "which does not fit 0.0001 GB" in out and "to make the step fit: " in out
    assert "a forecast; measured on a CPU: activations within 2%, operations within 0.1%" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BACKBONE if name not in ("wan", "cogvideox")])
def test_a_folder_of_every_family_has_a_forecast(
    name: str, rushes: Callable[..., tuple[int, str, str]], folder: Callable[[str], Path]
) -> None:
    """Of the whole job, codec and readers among it."""
    frames = 7 if name == "mochi" else 9  # its codec takes six frames at once
    own = [] if name == "cogvideox_i2v" else ["--size", "64x96", "--frames", frames]  # it has one size
    code, out, err = rushes("plan", "--model", folder(name), *own, "--clips", 10, "--recipe", "densedpo", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert (
        facts["forwards"]["train"][0] > 0 and facts["latents"][0] > 0 and facts["gib"].keys() == facts["hours"].keys()
    )
    assert set(facts["hours"]) == {"read", "encode", "eta", "generate", "train", "probes", "evaluate"}


def test_a_project_on_a_released_model(
    rushes: Callable[..., tuple[int, str, str]], folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Its model's own settings and its own clips, whose weights are not loaded."""
    size = ("backbone.height_px=32", "backbone.width_px=64", "backbone.frames=9")
    made = [word for each in size for word in ("--set", each)]
    (tmp_path / "a.mp4").touch()
    code, _, err = rushes("init", tmp_path / "p", "--model", folder("wan_unipc"), "--footage", tmp_path, *made)
    assert code == 0, err
    code, out, err = rushes("plan", tmp_path / "p", "--clips", 10, "--gpus", 2, "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["clips"], facts["prompts"], facts["takes"]) == (8, 2, 3)  # a fifth is held out; RealDPO has three
    assert facts["forwards"]["generate"] == [8 * 3 * 50] * 2
    assert facts["backwards"]["train"] == [400 * 2 * 4] * 2


def test_what_it_cannot_forecast(
    rushes: Callable[..., tuple[int, str, str]], folder: Callable[[str], Path], tmp_path: Path
) -> None:
    def said(*more: object, model: object = folder("wan"), size: str = "32x64", frames: int = 9) -> str:
        code, _, err = rushes("plan", "--model", model, "--size", size, "--frames", frames, *more)
        assert code == 2 and err.count("\n") == 1
        return err

    assert "no model 'wan2.1-t2v-1.3'; did you mean wan2.1-t2v-1.3b?" in said(model="wan2.1-t2v-1.3")
    assert "has no model_index.json" in said(model=tmp_path)
    assert "--size 30x64: the model does not support this size; the nearest that it supports is" in said(size="30x64")
    assert "--frames 10: the model does not support this length; the nearest that it supports is 9" in said(frames=10)
    assert "--size must be HEIGHTxWIDTH" in said(size="32")
    assert "--quantize 4bit: a quantized network stays frozen; set --trainable to lora" in said(
        "--quantize", "4bit", "--trainable", "full"
    )
    assert "no recipe 'kto'" in said("--recipe", "kto")
    assert "no GPU 'h1000'; did you mean h100?" in said("--gpu", "h1000")
    assert gpu_named("4090") == gpu_named("RTX 4090") == "rtx4090" and gpu_named("H100") == "h100"
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text('{"_class_name": "WanPipeline", "transformer": ["diffusers", "X"]}')
    assert "missing, though model_index.json names it" in said(model=broken)


def test_what_small_cards_hold_is_forecast() -> None:
    """By hand: where weights are, moments of 8 bits, a layer of 4 bits at work, and what is in main memory instead."""
    cost = replace(COST, stays=10**8, main_memory=5 * GIB, unpacked=10**6, networks=2)
    streamed = replace(ASK, options=LoadOptions("bfloat16", offload=True))
    idle = replace(ASK, options=LoadOptions("bfloat16", quantize="4bit", offload="idle_expert"))
    assert static_memory(cost, streamed)["weights"] == 10**8
    assert static_memory(cost, idle)["weights"] == 10**9
    assert static_memory(cost, replace(ASK, optimizer="adamw_8bit"))["optimiser"] == round(4e7 * 2 * (1 + 4 / 256) / 4)
    more = static_memory(cost, replace(ASK, average=True, losers=True))
    assert sum(more.values()) == sum(static_memory(cost, ASK).values()) + 2 * 4 * 10**7
    assert main_memory(cost, ASK) == {"weights": 0, "activations": 5 * GIB}
    assert main_memory(cost, streamed) == {"weights": 2 * 10**9 - 4 * 10**7, "activations": 5 * GIB}
    assert main_memory(cost, idle) == {"weights": 10**9, "activations": 5 * GIB}
    step = plan.forecast_of(cost, idle)
    held = sum(static_memory(cost, idle).values()) + 8 * GIB + 10**6
    assert step.modes["two_pass"].memory_gb == pytest.approx(held / GIB, abs=0.01)
    assert step.modes["stash"].memory_gb == pytest.approx((held + 4 * 10**7) / GIB, abs=0.01)


@pytest.mark.parametrize("chunk", [0, 16])
def test_activations_that_wait_in_main_memory_are_forecast(
    chunk: int, folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against both passes with values: what the GPU holds at its peak, and what main memory does."""
    monkeypatch.setattr(MainMemoryActivations.__init__, "__defaults__", (1,))  # all of a tiny model is small
    options = LoadOptions("bfloat16", feed_forward_chunk=chunk)
    path = folder("wan")
    cost = dry_run(model_folder(str(path)), options, ClipShape(32, 64, 9), "lora", rank=4, activations="offload")
    model: Any = load_backbone("wan", str(path), options)
    add_lora(model.network, model.spec.lora_targets, 4, 4)
    ask = (torch.randn(1, *cost.latents), torch.full((1, cost.latents[1]), 0.5), given_to(model, cost))
    away = Away()
    peak = peak_of(model, ask, away.waiting(model.network))
    assert cost.main_memory == away.bytes
    assert cost.activations == pytest.approx(peak, rel=plan.ERRORS["activations"])


class Away(SyncOffload):
    """Main memory beside that which a counter looks at: copies are made where it does not see them."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.bytes = 0

    def waiting(self, network: torch.nn.Module) -> Any:
        return MainMemoryActivations(network, self, least=1).waiting()

    def out(self, tensor: torch.Tensor) -> Any:
        with _disable_current_modes():
            self.bytes += tensor.numel() * tensor.element_size()
            return tensor.detach().clone()

    def begin(self, copy: Any) -> torch.Tensor:
        return torch.empty_like(copy).copy_(copy)


@pytest.mark.slow
@pytest.mark.whole
def test_14b_at_81_frames_fits_24_gib() -> None:
    """With activations in main memory and chunks of tokens: in 4 bits, and in bfloat16 block by block."""
    folder = released("wan2.1-t2v-14b")
    for options, main in (
        (LoadOptions("bfloat16", quantize="4bit", feed_forward_chunk=plan.CHUNK), 14.0),
        (LoadOptions("bfloat16", offload=True, feed_forward_chunk=plan.CHUNK), 40.0),
    ):
        ask = replace(ASK, options=options, activations="offload", gpu_memory_gb=24)
        step = forecast(folder, ask)
        assert step.modes["stash"].memory_gb <= 21.0 and step.fits
        assert sum(step.main_memory_gb.values()) <= main
        # While it is loaded the network is there in bfloat16, and activations are not.
        assert 2 * step.parameters / GIB <= 48.0


@pytest.mark.slow
@pytest.mark.whole
def test_two_blocks_at_32760_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real tensors of a clip of 81 x 480 x 832 take what is forecast; the network is narrow, or it takes hours."""
    monkeypatch.setattr(MainMemoryActivations.__init__, "__defaults__", (1 << 20,))
    folder = released("wan2.1-t2v-1.3b")
    narrow = {"num_layers": 2, "num_attention_heads": 1, "attention_head_dim": 32, "ffn_dim": 128}
    config = {**folder.config("transformer"), **narrow}
    folder = replace(folder, configs={**folder.configs, "transformer": config})
    options, clip = LoadOptions("bfloat16", feed_forward_chunk=plan.CHUNK), ClipShape(480, 832, 81)
    cost = dry_run(folder, options, clip, "lora", rank=4, whole=True, activations="offload")
    blank: Any = open_blank(folder, options)
    torch.manual_seed(0)
    folder.cls("transformer").from_config(config).save_pretrained(tmp_path)  # `.to` would round what stays in float32
    network = folder.cls("transformer").from_pretrained(tmp_path, dtype=torch.bfloat16).requires_grad_(False)
    chunk_feed_forward(network, plan.CHUNK)
    network.enable_gradient_checkpointing()
    add_lora(network, blank.spec.lora_targets, 4, 4)
    blank.__dict__["network"] = network
    ask = (torch.randn(1, *cost.latents), torch.full((1, cost.latents[1]), 0.5), given_to(blank, cost))
    away = Away()
    peak = peak_of(blank, ask, MainMemoryActivations(network, away).waiting())
    assert cost.activations == pytest.approx(peak, rel=plan.ERRORS["activations"])
    assert cost.main_memory == pytest.approx(away.bytes, rel=0.01)
