"""The video stream of LTX-2, from text or with a first frame (arXiv 2601.03233).

Rectified flow; the network is told 1000 t for each token. A first frame stands clean in latent frame 0, at time 0. The
network is made of a video and an audio stream that look at each other. Clips have no sound here, so we run it with
that exchange off, as its own guidance by modality does: the video stream is then a model of video alone. The audio
stream is carried along silent, sees nothing, is not scored, and none of its weights is adapted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from rushes.backbones import ltx
from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.ltx import by_length, mu
from rushes.backbones.pipeline import DiffusersBackbone, TensorRows
from rushes.backbones.schedules import flow_schedule, shift_by_length

LONGEST = 1024  # tokens of a caption
LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
VIDEO = (*(f"{part}.{layer}" for part in ("attn1", "attn2") for layer in LAYERS), "ff.net.0.proj", "ff.net.2")


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the version that the folder holds."""
    codec, network = folder.config("vae"), folder.config("transformer")
    time, space, _ = network.get("vae_scale_factors") or (8, 32, 32)
    return BackboneSpec(
        name="ltx2",
        modes=("text", "first_frame"),
        **flow_schedule(folder, by_length),
        channels=codec["latent_channels"],
        temporal_ratio=codec.get("temporal_compression_ratio") or time,
        spatial_ratio=codec.get("spatial_compression_ratio") or space,
        fps=options.fps or 24.0,
        told_rate=True,
        lora_targets=VIDEO,
        shift_of=shift_by_length(folder, mu),
    )


def text(pipeline: Any, caption: str) -> TensorRows:
    """What the video stream is told of a caption, and which of it is not padding."""
    embeddings, mask, _, _ = pipeline.encode_prompt(
        [caption], do_classifier_free_guidance=False, max_sequence_length=LONGEST
    )
    side = pipeline.tokenizer.padding_side
    video, _, seen = pipeline.connectors(embeddings, mask, padding_side=side)
    return {"text": video[0], "mask": seen[0]}


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean, of the video."""
    b, _, f, h, w = noised_BCFHW.shape
    sigma, sizes = 1000 * t_BF[:, -1], network.config
    caption_width = sizes.caption_channels if sizes.use_prompt_embeddings else sizes.audio_cross_attention_dim
    tokens: Tensor = network(
        noised_BCFHW.flatten(2).transpose(1, 2),
        noised_BCFHW.new_zeros(b, 1, sizes.audio_in_channels),
        condition.text,
        noised_BCFHW.new_zeros(b, 1, caption_width),
        (1000 * t_BF).repeat_interleave(h * w, 1),
        audio_timestep=sigma,
        sigma=sigma,
        encoder_attention_mask=condition.more["mask"],
        num_frames=f,
        height=h,
        width=w,
        fps=condition.rate(model.spec),
        audio_num_frames=1,
        isolate_modalities=True,
        return_dict=False,
    )[0]
    return tokens.transpose(1, 2).reshape(noised_BCFHW.shape)


FAMILY = replace(
    ltx.FAMILY,
    name="ltx2",
    pipelines=("LTX2Pipeline", "LTX2ImageToVideoPipeline"),
    spec=spec,
    text=text,
    predict=predict,
    tokens={"text": (LONGEST, "caption_channels"), "mask": (LONGEST, "")},
    idle=("audio_vae", "vocoder", "prompt_enhancer", "duration_head", "processor"),
    longest=None,
)
