"""The codec of an image model for clips: frame by frame, so that a latent frame is one pixel frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rushes.backbones.base import DEFAULTS, LoadOptions

AT_ONCE = 8  # frames that the codec takes together


def encode(codec: Any, pixels_BCTHW: Tensor) -> Tensor:
    """Latents as the codec has them, the means of its posterior."""
    return _by_frame(lambda images: codec.encode(images).latent_dist.mode(), pixels_BCTHW)


def decode(codec: Any, latents_BCFHW: Tensor, how: LoadOptions = DEFAULTS) -> Tensor:
    """Pixels."""
    return _by_frame(lambda images: codec.decode(images, return_dict=False)[0], latents_BCFHW)


def _by_frame(each: Callable[[Tensor], Tensor], clips_BCFHW: Tensor) -> Tensor:
    """What `each` makes of images [N, C, H, W], for clips."""
    images = clips_BCFHW.transpose(1, 2).flatten(0, 1)
    results = torch.cat([each(some) for some in torch.split(images, AT_ONCE)])
    return results.view(len(clips_BCFHW), -1, *results.shape[1:]).transpose(1, 2)
