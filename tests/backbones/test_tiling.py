"""Codecs in tiles where a clip in one piece would take too much, by figures that are counted again here."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rushes.backbones.base import LoadOptions
from rushes.backbones.decoders import AT_ONCE
from rushes.backbones.loading import load_backbone
from rushes.backbones.model_defaults import families
from rushes.backbones.tiling import codec_bytes, tiled
from rushes.config.tables import BackboneSettings


class Live(TorchDispatchMode):
    """Counts bytes of tensors that are alive at once."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.holders, self.sizes, self.now, self.peak = Counter[int](), dict[int, int](), 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()._cdata
                if storage not in self.sizes:
                    self.sizes[storage] = tensor.untyped_storage().nbytes()
                    self.now += self.sizes[storage]
                self.holders[storage] += 1
                weakref.finalize(tensor, self._let_go, storage)
        self.peak = max(self.peak, self.now)
        return out

    def _let_go(self, storage: int) -> None:
        self.holders[storage] -= 1
        if not self.holders[storage]:
            del self.holders[storage]
            self.now -= self.sizes.pop(storage)


def codec(family: str) -> tuple[Any, int, int, int]:
    """The released codec without values, its channels, frames and pixels per latent."""
    import diffusers

    four = {"latent_channels": 16, "layers_per_block": 3, "block_out_channels": (128, 256, 256, 512)}
    cog = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}
    sd = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4}
    sd |= {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    classes: dict[str, tuple[Any, dict[str, Any], int, int, int]] = {
        "wan": (diffusers.AutoencoderKLWan, {}, 16, 4, 8),
        "cogvideox": (diffusers.AutoencoderKLCogVideoX, {**four, **cog}, 16, 4, 8),
        "ltx": (diffusers.AutoencoderKLLTXVideo, {}, 128, 8, 32),
        "ltx2": (diffusers.AutoencoderKLLTX2Video, {}, 128, 8, 32),
        "mochi": (diffusers.AutoencoderKLMochi, {}, 12, 6, 8),
        "hunyuan": (diffusers.AutoencoderKLHunyuanVideo, {}, 16, 4, 8),
        "hunyuan15": (diffusers.AutoencoderKLHunyuanVideo15, {}, 32, 4, 16),
        "animatediff": (diffusers.AutoencoderKL, sd, 4, 1, 8),
    }
    cls, config, channels, frames, pixels = classes[family]
    with torch.device("meta"):
        return cls(**config).eval().requires_grad_(False), channels, frames, pixels


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(families()) - {"inflated_sd", "skyreels"}))  # others' codecs
def test_the_figures_are_those_of_the_released_codecs(family: str) -> None:
    model, channels, ratio, px = codec(family)
    frames, side, peaks = 25, 256, []
    for way in (model.decode, model.encode):
        latents = (channels, (frames - 1) // ratio + 1, side // px, side // px)
        shape = latents if way == model.decode else (3, frames, side, side)
        batch = (AT_ONCE, shape[0], *shape[2:]) if ratio == 1 else (1, *shape)
        with torch.no_grad(), Live() as live:
            way(torch.empty(batch, device="meta"))
        peaks.append(live.peak)
    expected = codec_bytes(family, frames, side, side)
    assert expected is not None and max(peaks) == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize(
    ("family", "clip", "wanted"),
    [
        ("wan", (81, 480, 832), False),
        ("wan", (81, 720, 1280), True),
        ("wan", (121, 704, 1280), True),
        ("cogvideox", (49, 480, 720), True),
        ("ltx", (121, 512, 704), False),
        ("ltx", (121, 704, 1216), True),
        ("mochi", (163, 480, 848), True),
        ("hunyuan15", (121, 480, 848), True),
        ("animatediff", (16, 512, 512), False),
        ("mine.module", (16, 32, 32), True),
    ],
)
def test_by_size_alone(family: str, clip: tuple[int, int, int], wanted: bool) -> None:
    frames, height_px, width_px = clip
    size = BackboneSettings(name=family, frames=frames, height_px=height_px, width_px=width_px)
    assert tiled(size) is wanted
    for setting in (True, False):
        assert tiled(size.model_copy(update={"tiling": setting})) is setting


def test_a_clip_in_one_piece_is_in_one_piece(tiny_folder: Callable[[str], Path]) -> None:
    """And its latents are kept apart from those in tiles, under the names that both have had."""
    whole, in_tiles = (
        load_backbone("wan", str(tiny_folder("wan")), LoadOptions(tiling=tiling)) for tiling in (False, True)
    )
    assert whole.codec.use_tiling is False and in_tiles.codec.use_tiling is True  # type: ignore[attr-defined]
    assert in_tiles.codec_fingerprint == f"{whole.codec_fingerprint}-tiled"
