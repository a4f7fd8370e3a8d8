"""Attention backends by name, and blocks that are compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from rushes.backbones import speed
from rushes.backbones.adapters import add_lora
from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone

from .test_pipelines import Models, condition_for, mode_of, noise_for, times_for
from .tiny_pipelines import BACKBONE

# torch's own, as it imports its compiler, and of what a block is given that is not a weight
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore:The .grad")]
Folders = Callable[[str], Path]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """diffusers keeps the backend that was set last for all networks."""
    active = _AttentionBackendRegistry._active_backend
    yield
    _AttentionBackendRegistry.set_active_backend(active)


@pytest.mark.parametrize("name", ["wan", "ltx2", "mochi", "hunyuan15"])
def test_a_backend_is_that_of_all_blocks_and_answers_the_same(
    name: str, tiny_folder: Folders, tiny_model: Models
) -> None:
    model = load_backbone(BACKBONE[name], str(tiny_folder(name)), LoadOptions(attention="_native_math"))
    base, answers = tiny_model(name), []
    for each in (model, base):
        condition = condition_for(base, mode_of(base))
        with torch.no_grad():
            answers.append(each.predict(noise_for(base), times_for(base, condition, 0.6), condition))
        _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5)
    processors: list[Any] = [getattr(module, "processor", None) for module in model.network.modules()]
    chosen = {processor._attention_backend for processor in processors if hasattr(processor, "_attention_backend")}
    assert chosen == {AttentionBackendName._NATIVE_MATH}


@pytest.mark.parametrize(
    ("name", "attention", "words"),
    [
        ("wan", "flsh", "'flsh' cannot be used here .diffusers has no backend of this name.; set it to .*native"),
        ("cogvideox", "native", "works only with torch's attention; leave it empty"),
    ],
)
def test_a_backend_that_cannot_be_used(name: str, attention: str, words: str, tiny_folder: Folders) -> None:
    with pytest.raises(ValueError, match=f"backbone.attention: .*{words}"):
        _ = load_backbone(BACKBONE[name], str(tiny_folder(name)), LoadOptions(attention=attention)).network


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_is_for_gpus_is_refused_and_what_can_be_used_is_named() -> None:
    names = speed.attention_names()
    assert {"native", "_native_math"} <= set(names) and "flash" not in names
    with pytest.raises(ValueError, match=r"'flash' cannot be used here \(it needs a GPU\); set it to flex, native"):
        speed.check_attention("flash")


def test_rounded_attention_does_not_train() -> None:
    with pytest.raises(ValueError, match="'sage_hub' has no backward pass"):
        speed.check_attention_trains("sage_hub")
    speed.check_attention_trains("flash")


@pytest.mark.whole
def test_compiled_blocks_answer_as_they_did_and_have_gradients(tiny_model: Models) -> None:
    """Traced as for a GPU, and run by torch's own kernels: to write new ones takes a minute."""
    outcome = []
    for compiled in (True, False):
        model = tiny_model("wan")
        if compiled:
            speed.compile_blocks(model.network, backend="eager")
        add_lora(model.network, model.spec.lora_targets, 2, 2)
        drawn = torch.Generator().manual_seed(0)
        for path, p in model.network.named_parameters():
            if ".lora_" in path:
                p.data = 0.1 * torch.randn(p.shape, generator=drawn)
        condition = condition_for(model, mode_of(model), rows=1)
        out = model.predict(noise_for(model, 1), times_for(model, condition, 0.6, 1), condition)
        out.pow(2).sum().backward()
        outcome.append((out.detach(), [p.grad for p in model.network.parameters() if p.grad is not None]))
    assert outcome[0][1]
    torch.testing.assert_close(outcome[0], outcome[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "lists"), [("wan", ["blocks"]), ("cogvideox", ["transformer_blocks"])])
def test_all_blocks_are_compiled_and_nothing_else(name: str, lists: list[str], tiny_model: Models) -> None:
    """diffusers names the blocks of most networks, and not of CogVideoX's."""
    network = tiny_model(name).network
    speed.compile_blocks(network)
    compiled = [path for path, module in network.named_modules() if module._compiled_call_impl is not None]
    assert compiled == [f"{each}.{at}" for each in lists for at in range(len(network.get_submodule(each)))]  # type: ignore[arg-type]


def test_nothing_to_compile_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        speed.check_compiles("cpu")


def test_the_embedded_model_has_neither() -> None:
    for options, name in ((LoadOptions(attention="native"), "attention"), (LoadOptions(compile=True), "compile")):
        with pytest.raises(ValueError, match=f"backbone.{name}: 'tiny' is not a diffusers network; leave"):
            load_backbone("tiny", "", options)
