"""AnimateDiff over Stable Diffusion 1.5, from text (arXiv 2307.04725).

Noise prediction on the folder's schedule; the codec is that of images, so a latent frame is one pixel frame. The folder
is one that diffusers' `AnimateDiffPipeline` saved, with the motion adapter in its UNet.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import Tensor

from rushes.backbones.base import AS_IT_IS, BackboneSpec, Condition, How
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone, Family, Rows, load_model
from rushes.backbones.schedules import noise_schedule
from rushes.noise.paths import VariancePreserving

ABOUT = {"modes": ["text"], "path": "noise", "temporal_ratio": 1, "spatial_ratio": 8, "fps": 8.0}
AT_ONCE = 8  # frames that the codec takes together


def spec(folder: Folder, how: How) -> BackboneSpec:
    """Facts of the model.

    Raises:
        ValueError: a folder whose UNet has no motion adapter in it.
    """
    if folder.index["unet"][1] != "UNetMotionModel":
        raise ValueError(
            f"{folder.path / 'unet'}: an image UNet; load it with its motion adapter as an AnimateDiffPipeline of "
            "diffusers, save that, and name the folder it was saved to"
        )
    path, solver = noise_schedule(folder, diffusers.DDIMScheduler)
    network, codec = folder.config("unet"), folder.config("vae")
    spatial = 2 ** (len(codec["block_out_channels"]) - 1)
    return BackboneSpec(
        name="animatediff",
        modes=("text",),
        path=path,
        channels=codec["latent_channels"],
        temporal_ratio=1,
        spatial_ratio=spatial,
        fps=8.0,
        shift=1.0,
        lora_targets=("to_q", "to_k", "to_v", "to_out.0"),
        multiple_px=spatial * 2 ** (len(network["block_out_channels"]) - 1),
        solver=solver,
    )


def text(pipeline: Any, caption: str) -> Rows:
    """Embeddings of a caption."""
    embeddings, _ = pipeline.encode_prompt(caption, pipeline.device, 1, do_classifier_free_guidance=False)
    return {"text": embeddings[0]}


def encode(codec: Any, pixels_BCTHW: Tensor) -> Tensor:
    """Frame by frame."""
    images = pixels_BCTHW.transpose(1, 2).flatten(0, 1)
    latents = torch.cat([codec.encode(some).latent_dist.mode() for some in torch.split(images, AT_ONCE)])
    return latents.view(len(pixels_BCTHW), -1, *latents.shape[1:]).transpose(1, 2)


def decode(codec: Any, latents_BCFHW: Tensor) -> Tensor:
    """Frame by frame."""
    images = latents_BCFHW.transpose(1, 2).flatten(0, 1)
    pixels = torch.cat([codec.decode(some, return_dict=False)[0] for some in torch.split(images, AT_ONCE)])
    return pixels.view(len(latents_BCFHW), -1, *pixels.shape[1:]).transpose(1, 2)


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """The noise."""
    path = model.spec.path
    assert isinstance(path, VariancePreserving)
    index = (t_BF[:, -1] * (len(path.alphas_bar) - 1)).round().long()
    frames = noised_BCFHW.shape[2]
    prediction: Tensor = network(noised_BCFHW, index, condition.text.repeat_interleave(frames, 0), return_dict=False)[0]
    return prediction


FAMILY = Family(
    name="animatediff",
    pipelines=("AnimateDiffPipeline",),
    spec=spec,
    text=text,
    predict=predict,
    networks=("unet",),
    idle=("motion_adapter", "image_encoder", "feature_extractor"),
    encode=encode,
    decode=decode,
)


def load(path: str, how: How = AS_IT_IS) -> DiffusersBackbone:
    """The AnimateDiff model at `path`: a folder that diffusers saved, or `hub:OWNER/NAME`."""
    return load_model(path, FAMILY, how)
