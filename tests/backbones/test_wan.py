from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone, Experts

Models = Callable[[str], DiffusersBackbone]
FACTS = {  # modes, how the first frame enters, boundary, shift, fps, pixels per latent, multiples of
    "wan": (("text",), "clean", None, 7.0, 16.0, 8, 16),
    "wan_unipc": (("text",), "clean", None, 3.0, 16.0, 8, 16),
    "wan_experts": (("text",), "clean", 0.875, 3.0, 16.0, 8, 16),
    "wan_i2v": (("first_frame",), "channels", None, 3.0, 16.0, 8, 16),
    "wan_i2v_experts": (("first_frame",), "channels", 0.9, 3.0, 16.0, 8, 16),
    "wan_ti2v": (("text", "first_frame"), "clean", None, 5.0, 24.0, 16, 32),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_read_from_the_folder(name: str, tiny_model: Models) -> None:
    spec = tiny_model(name).spec
    facts = (spec.modes, spec.first_frame, spec.boundary, spec.shift, spec.fps, spec.spatial_ratio, spec.multiple_px)
    assert facts == FACTS[name]
    assert spec.latent_frames(81) == 21 and spec.temporal_ratio == 4


def test_positions_end(tiny_model: Models) -> None:
    spec = tiny_model("wan").spec
    assert spec.latent_frames(125) == 32
    with pytest.raises(ValueError, match=r"this wan has positions for at most 125 frames, got 129; use 125"):
        spec.latent_frames(129)
    spec.check_size(512, 512)
    with pytest.raises(ValueError, match=r"this wan has positions for at most 512 x 512 px, got 512 x 528"):
        spec.check_size(512, 528)


def test_a_model_between_two_frames_is_refused(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Its image embeddings come in pairs, which would be two clips of a batch."""
    folder = Path(shutil.copytree(tiny_folder("wan_i2v"), tmp_path / "model"))
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pos_embed_seq_len": 514}))
    with pytest.raises(ValueError, match=r"use the I2V model"):
        load_backbone("wan", str(folder))


def test_two_experts_without_the_level_at_which_they_change_are_refused(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """A pipeline that is put together from parts and saved has none unless it was given one."""
    folder = Path(shutil.copytree(tiny_folder("wan_experts"), tmp_path / "model"))
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boundary_ratio": None}))
    with pytest.raises(ValueError, match=r"names two networks but no boundary_ratio, .*; set it"):
        load_backbone("wan", str(folder))


@pytest.mark.parametrize("level", [0.95, 0.875, 0.86, 0.2])
def test_a_noise_level_belongs_to_one_expert(level: float, tiny_model: Models) -> None:
    model = tiny_model("wan_experts")
    network = model.network
    assert isinstance(network, Experts)
    network.requires_grad_(True)
    noise = torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    model.predict(noise, torch.full((1, 3), level), model.condition(["a ball"])).pow(2).sum().backward()
    asked, idle = (network.high, network.low) if level >= 0.875 else (network.low, network.high)
    assert all(p.grad is None for p in idle.parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in asked.parameters())


@pytest.mark.parametrize("name", ["wan_i2v", "wan_i2v_experts"])
def test_what_stands_beside_the_latents_is_the_pipelines(
    name: str, tiny_model: Models, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import WanImageToVideoPipeline

    model = tiny_model(name)
    frame = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    still = model.still(frame[None], 9)
    pipeline = WanImageToVideoPipeline.from_pretrained(tiny_folder(name), local_files_only=True)
    pixels = pipeline.video_processor.preprocess(Image.fromarray(frame), 32, 48)
    _, theirs = pipeline.prepare_latents(pixels, 1, 4, 32, 48, 9, torch.float32, "cpu")
    given: list[torch.Tensor] = []
    network = model.network.high if isinstance(model.network, Experts) else model.network

    def forward(x: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor]:
        given.append(x)
        return (x[:, :4],)

    monkeypatch.setattr(network, "forward", forward)
    noise = torch.zeros(1, 4, 3, 4, 6)
    first = model.encode(frame[None, None])[:, :, 0]
    model.predict(noise, torch.full((1, 3), 0.95), model.condition(["a ball"], first, **still))
    torch.testing.assert_close(given[0][:, 4:], theirs)
    if name == "wan_i2v":
        image = pipeline.encode_image(Image.fromarray(frame), "cpu")
        torch.testing.assert_close(still["image"].flatten(2), image)
