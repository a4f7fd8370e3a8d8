"""HunyuanVideo from text (arXiv 2412.03603).

Rectified flow; the network is told 1000 t, and 1000 times the guidance scale, which was distilled into it: there is no
second pass. Training tells it a scale of 1, which is no guidance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from rushes.backbones.base import AS_IT_IS, BackboneSpec, Condition, How
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone, Family, Rows, load_model
from rushes.backbones.schedules import flow_schedule
from rushes.noise.paths import Flow

ABOUT = {"modes": ["text"], "path": "flow", "temporal_ratio": 4, "spatial_ratio": 8, "fps": 24.0}
LONGEST = 256  # tokens of a caption


def spec(folder: Folder, how: How) -> BackboneSpec:
    """Facts of the model."""
    shift, solver = flow_schedule(folder, even_levels)
    network, codec = folder.config("transformer"), folder.config("vae")
    spatial = codec.get("spatial_compression_ratio", 8)
    return BackboneSpec(
        name="hunyuan",
        modes=("text",),
        path=Flow(),
        channels=codec["latent_channels"],
        temporal_ratio=codec.get("temporal_compression_ratio", 4),
        spatial_ratio=spatial,
        fps=24.0,
        shift=shift,
        lora_targets=("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
        multiple_px=spatial * network["patch_size"],
        guidance="embedded" if network.get("guidance_embeds", True) else "two_passes",
        solver=solver,
    )


def even_levels(steps: int, size: tuple[int, int, int], config: Mapping[str, Any]) -> dict[str, Any]:
    """From 1 in even steps, the last of which ends at 0."""
    return {"sigmas": np.linspace(1.0, 0.0, steps + 1)[:-1]}


def text(pipeline: Any, caption: str) -> Rows:
    """Embeddings of a caption by a language model, which of them are not padding, and one of the whole by CLIP."""
    embeddings, pooled, mask = pipeline.encode_prompt([caption], max_sequence_length=LONGEST)
    return {"text": embeddings[0] * mask[0, :, None], "mask": mask[0], "pooled": pooled[0]}


def normalise(codec: Any, latents: Tensor) -> Tensor:
    """About unit variance."""
    scaled: Tensor = latents * codec.config.scaling_factor
    return scaled


def denormalise(codec: Any, latents: Tensor) -> Tensor:
    """The inverse."""
    scaled: Tensor = latents / codec.config.scaling_factor
    return scaled


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean."""
    more = condition.more
    scale = more["guidance"] if "guidance" in more else noised_BCFHW.new_ones(len(noised_BCFHW))
    prediction: Tensor = network(
        noised_BCFHW,
        1000 * t_BF[:, -1],
        condition.text,
        more["mask"],
        more["pooled"],
        guidance=1000 * scale if model.spec.guidance == "embedded" else None,
        return_dict=False,
    )[0]
    return prediction


FAMILY = Family(
    name="hunyuan",
    pipelines=("HunyuanVideoPipeline",),
    spec=spec,
    text=text,
    normalise=normalise,
    denormalise=denormalise,
    predict=predict,
)


def load(path: str, how: How = AS_IT_IS) -> DiffusersBackbone:
    """The HunyuanVideo model at `path`: a folder in diffusers' layout, or `hub:OWNER/NAME`."""
    return load_model(path, FAMILY, how)
