"""AnimateDiff over Stable Diffusion 1.5, from text (arXiv 2307.04725).

Noise prediction on the folder's schedule; the codec is that of images, so a latent frame is one pixel frame. The folder
is one that diffusers' `AnimateDiffPipeline` saved, with the motion adapter in its UNet.
"""

from __future__ import annotations

from typing import Any

import diffusers
from torch import Tensor

from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.decoders import decode_frames, encode_frames
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone, Family, TensorRows
from rushes.backbones.schedules import noise_schedule, training_steps


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the model.

    Raises:
        ValueError: a folder whose UNet has no motion adapter in it.
    """
    if folder.index["unet"][1] != "UNetMotionModel":
        raise ValueError(
            f"{folder.path / 'unet'}: an image UNet without motion modules; load it with its motion adapter as "
            "diffusers' AnimateDiffPipeline, save that, and set backbone.path to the new folder"
        )
    network, codec = folder.config("unet"), folder.config("vae")
    spatial = 2 ** (len(codec["block_out_channels"]) - 1)
    return BackboneSpec(
        name="animatediff",
        modes=("text",),
        **noise_schedule(folder, diffusers.DDIMScheduler),
        channels=codec["latent_channels"],
        temporal_ratio=1,
        spatial_ratio=spatial,
        fps=8.0,
        lora_targets=("to_q", "to_k", "to_v", "to_out.0"),
        multiple_px=spatial * 2 ** (len(network["block_out_channels"]) - 1),
        most_frames=network.get("motion_max_seq_length") or 32,
    )


def text(pipeline: Any, caption: str) -> TensorRows:
    """Embeddings of a caption."""
    embeddings, _ = pipeline.encode_prompt(caption, pipeline.device, 1, do_classifier_free_guidance=False)
    return {"text": embeddings[0]}


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """The noise."""
    index = training_steps(model.spec, t_BF[:, -1])
    frames = noised_BCFHW.shape[2]
    prediction: Tensor = network(noised_BCFHW, index, condition.text.repeat_interleave(frames, 0), return_dict=False)[0]
    return prediction


FAMILY = Family(
    name="animatediff",
    pipelines=("AnimateDiffPipeline",),
    spec=spec,
    text=text,
    predict=predict,
    tokens={"text": (77, "cross_attention_dim")},
    networks=("unet",),
    idle=("motion_adapter", "image_encoder", "feature_extractor"),
    encode=encode_frames,
    decode=decode_frames,
)
