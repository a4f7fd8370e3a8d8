"""Text encoders in few bits and layer by layer, and that no network stands beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.quantized import bits_of

from .test_pipelines import CAPTIONS, Models, read
from .tiny_pipelines import BACKBONE

Folders = Callable[[str], Path]
# A pipeline's own reader; one of parts, with two encoders; a reader that sees; a language model behind connectors.
every_reader = pytest.mark.parametrize("name", ["wan", "hunyuan15", "hunyuan_i2v", "ltx2"])


def opened(name: str, folder: Folders, options: LoadOptions) -> DiffusersBackbone:
    model = load_backbone(BACKBONE[name], str(folder(name)), options)
    assert isinstance(model, DiffusersBackbone)
    return model


@every_reader
def test_layers_that_come_one_by_one_read_the_same(name: str, tiny_folder: Folders, tiny_model: Models) -> None:
    """Main memory stands for the GPU here."""
    model = opened(name, tiny_folder, LoadOptions(text_offload=True))
    ours, base = read(model, CAPTIONS), read(tiny_model(name), CAPTIONS)
    assert torch.equal(ours.text, base.text) and "network" not in model.__dict__
    encoder = model.part("text_encoder")
    hooked = [part for part in encoder.modules() if hasattr(part, "_diffusers_hook")]
    assert len(hooked) > 5  # layers, not the whole at once


@every_reader
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_encoders_in_few_bits_read_nearly_the_same(
    bits: str, name: str, tiny_folder: Folders, tiny_model: Models
) -> None:
    model = opened(name, tiny_folder, LoadOptions(text_quantize=bits))  # type: ignore[arg-type]
    assert bits_of(model.part("text_encoder")) == bits
    ours, base = read(model, CAPTIONS).text, read(tiny_model(name), CAPTIONS).text
    # Tiny random encoders multiply what is rounded; unrelated embeddings would be 1.4 apart.
    assert 0 < (ours - base).norm() < {"8bit": 0.2, "4bit": 1.0}[bits] * base.norm()
    assert model.reads_with() != tiny_model(name).reads_with()
