"""Codecs that want something of their own: decoders that finish the denoising, and codecs of images.

Decoders such as LTX-Video's from 0.9.1 on are told a time, and get some noise. The pipelines of diffusers tell them 0
and give none, unless asked; what a release advises stands on its model card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rushes.backbones.base import DEFAULTS, LoadOptions
from rushes.files import content_hash
from rushes.noise.draws import seeded


def decode(codec: Any, latents: Tensor, options: LoadOptions) -> Tensor:
    """Pixels of latents as the codec has them [B, C, F, H, W].

    The noise of a clip is drawn by a seed from its latents, so it is the same in any batch.
    """
    if not codec.config.timestep_conditioning:
        pixels: Tensor = codec.decode(latents, None, return_dict=False)[0]
        return pixels
    time = latents.new_full((len(latents),), options.decode_timestep)
    share = options.decode_timestep if options.decode_noise_scale is None else options.decode_noise_scale
    if share:
        latents = torch.stack([(1 - share) * clip + share * noise_of(clip) for clip in latents])
    pixels = codec.decode(latents, time, return_dict=False)[0]
    return pixels


def noise_of(clip_CFHW: Tensor) -> Tensor:
    """The noise that is mixed into a clip's latents."""
    name = content_hash(clip_CFHW.float().cpu().contiguous().numpy().tobytes())
    return torch.randn(clip_CFHW.shape, generator=seeded("decode", name)).to(clip_CFHW)


def check_decoder(codec: Mapping[str, Any], family: str, options: LoadOptions) -> None:
    """Refuse a time or noise for a decoder that takes none, by the codec's configuration. Raises ValueError."""
    if (options.decode_timestep or options.decode_noise_scale) and not codec.get("timestep_conditioning"):
        raise ValueError(
            f"backbone.decode_timestep, decode_noise_scale: the decoder of this {family} has no time input; set them "
            "to 0 and -1"
        )


AT_ONCE = 8  # frames that the codec takes together


def encode_frames(codec: Any, pixels_BCTHW: Tensor) -> Tensor:
    """Latents of clips by an image model's codec, the means of its posterior: a latent frame is one pixel frame."""
    return _by_frame(lambda images: codec.encode(images).latent_dist.mode(), pixels_BCTHW)


def decode_frames(codec: Any, latents_BCFHW: Tensor, options: LoadOptions = DEFAULTS) -> Tensor:
    """Pixels of latents that an image model's codec decodes frame by frame."""
    return _by_frame(lambda images: codec.decode(images, return_dict=False)[0], latents_BCFHW)


def _by_frame(each: Callable[[Tensor], Tensor], clips_BCFHW: Tensor) -> Tensor:
    """What `each` makes of images [N, C, H, W], for clips."""
    images = clips_BCFHW.transpose(1, 2).flatten(0, 1)
    results = torch.cat([each(some) for some in torch.split(images, AT_ONCE)])
    return results.view(len(clips_BCFHW), -1, *results.shape[1:]).transpose(1, 2)
