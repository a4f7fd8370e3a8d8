"""LTX-Video 0.9.x, from text or with a first frame (arXiv 2501.00103); one network does both.

Rectified flow; the network is told 1000 t for each token. A first frame stands clean in latent frame 0, at time 0. The
network is told the clip's frames per second. Pipelines for conditions (0.9.5 on) place frames in time where the codec
saw them, and have a schedule of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rushes.backbones.base import BackboneSpec, Condition, LatentSize, LoadOptions
from rushes.backbones.decoders import decode
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone, Family, TensorRows
from rushes.backbones.schedules import flow_schedule, shift_by_length

CONDITIONS = "LTXConditionPipeline"
# What Lightricks' own trainer shifts training times by, whatever the pipeline (its timestep_samplers.py).
TRAINER = {"base_image_seq_len": 1024, "max_image_seq_len": 4096, "base_shift": 0.95, "max_shift": 2.05}
OWN_NOISE = 0.15  # its pipeline's `image_cond_noise_scale`


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the version that the folder holds."""
    codec = folder.config("vae")
    halvings = sum(codec["spatio_temporal_scaling"])
    return BackboneSpec(
        name="ltx",
        modes=("text", "first_frame"),
        **flow_schedule(folder, quadratic if folder.pipeline == CONDITIONS else by_length),
        channels=codec["latent_channels"],
        temporal_ratio=codec.get("temporal_compression_ratio") or codec.get("patch_size_t", 1) * 2**halvings,
        spatial_ratio=codec.get("spatial_compression_ratio") or codec["patch_size"] * 2**halvings,
        fps=options.fps or 25.0,
        told_rate=True,
        image_cond_noise_scale=OWN_NOISE if folder.pipeline == CONDITIONS else None,
        lora_targets=("to_q", "to_k", "to_v", "to_out.0"),
        shift_of=(shift_by_length(folder, mu) if folder.pipeline != CONDITIONS else None) or training_shift,
    )


def by_length(steps: int, size: tuple[int, int, int], config: Mapping[str, Any]) -> dict[str, Any]:
    """Even levels, shifted the more the more tokens a clip has."""
    return {"sigmas": np.linspace(1.0, 1 / steps, steps), "mu": mu(size, config)}


def mu(size: LatentSize, config: Mapping[str, Any]) -> float:
    """Logarithm of the shift of a clip: it grows with the number of its tokens."""
    short, long = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(least + (most - least) * (math.prod(size) - short) / (long - short))


def training_shift(size: LatentSize) -> float:
    """Shift of training times where sampling has none, or levels that are no shift of even ones (`quadratic`).

    Longer clips than the trainer's line reaches to have the shift at its end: at 704 x 1216 x 121 it would go on to
    215, and three draws in four would be above 0.99.
    """
    return math.exp(min(mu(size, TRAINER), TRAINER["max_shift"]))


def quadratic(steps: int, size: tuple[int, int, int], config: Mapping[str, Any]) -> dict[str, Any]:
    """Half of the steps between 1 and 0.975, the others on a parabola down to 0."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import linear_quadratic_schedule

    levels = linear_quadratic_schedule(steps).numpy()
    return {"sigmas": levels, "timesteps": 1000 * levels}


def text(pipeline: Any, caption: str) -> TensorRows:
    """Embeddings of a caption, and which of them are not padding."""
    longest = 256 if type(pipeline).__name__ == CONDITIONS else 128
    embeddings, mask, _, _ = pipeline.encode_prompt(
        [caption], do_classifier_free_guidance=False, max_sequence_length=longest
    )
    return {"text": embeddings[0], "mask": mask[0]}


def normalise(codec: Any, latents: Tensor) -> Tensor:
    """Zero mean and unit spread per channel."""
    mean, std = (part.view(1, -1, 1, 1, 1).to(latents) for part in (codec.latents_mean, codec.latents_std))
    normalised: Tensor = (latents - mean) * codec.config.scaling_factor / std
    return normalised


def denormalise(codec: Any, latents: Tensor) -> Tensor:
    """The inverse."""
    mean, std = (part.view(1, -1, 1, 1, 1).to(latents) for part in (codec.latents_mean, codec.latents_std))
    original: Tensor = latents * std / codec.config.scaling_factor + mean
    return original


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean."""
    _, _, f, h, w = noised_BCFHW.shape
    spec = model.spec
    fps, space, time = condition.rate(spec), spec.spatial_ratio, spec.temporal_ratio
    place: dict[str, Any] = {"rope_interpolation_scale": (time / fps, space, space)}
    if model.folder.pipeline == CONDITIONS:
        place = {"video_coords": _places(noised_BCFHW, fps, space, time)}
    tokens: Tensor = network(
        noised_BCFHW.flatten(2).transpose(1, 2),
        condition.text,
        (1000 * t_BF).repeat_interleave(h * w, 1),
        condition.more["mask"],
        num_frames=f,
        height=h,
        width=w,
        **place,
        return_dict=False,
    )[0]
    return tokens.transpose(1, 2).reshape(noised_BCFHW.shape)


def _places(latents_BCFHW: Tensor, fps: float, space: int, time: int) -> Tensor:
    """Seconds and pixels of each token [B, 3, N]; a latent frame lies where the first of its pixel frames does."""
    b, _, f, h, w = latents_BCFHW.shape
    ranges = [torch.arange(n, dtype=torch.float32, device=latents_BCFHW.device) for n in (f, h, w)]
    seconds = (time * ranges[0] + 1 - time).clamp(min=0) / fps
    grid = torch.meshgrid(seconds, space * ranges[1], space * ranges[2], indexing="ij")
    return torch.stack(grid).flatten(1).expand(b, -1, -1)


FAMILY = Family(
    name="ltx",
    pipelines=("LTXPipeline", "LTXImageToVideoPipeline", CONDITIONS),
    spec=spec,
    text=text,
    normalise=normalise,
    denormalise=denormalise,
    predict=predict,
    tokens={"text": (128, "caption_channels"), "mask": (128, "")},
    decode=decode,
    longest=lambda folder: 256 if folder.pipeline == CONDITIONS else 128,
    comfy=(),  # ComfyUI has diffusers' names
)
