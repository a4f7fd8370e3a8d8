"""CogVideoX 2B and 5B, and 1.5, from text or with a first frame (arXiv 2408.06072).

v-prediction on a schedule of 1000 steps whose signal-to-noise ratio is shifted and ends at zero. A first frame is shown
as channels beside latent frame 0, zeros beside the others. The network of 1.5 takes latent frames in twos: clips of
1 + 8 k frames have an odd number, and a copy of latent frame 0 stands in front.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from torch import Tensor

from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone, Family, TensorRows
from rushes.backbones.schedules import noise_schedule, training_steps

LONGEST = 226  # tokens of a caption
OFFSET = 2.0  # what the network of 1.5 with a first frame is told beside the time


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the variant that the folder holds."""
    network, codec = folder.config("transformer"), folder.config("vae")
    channels, spatial = codec["latent_channels"], 2 ** (len(codec["block_out_channels"]) - 1)
    group = network.get("patch_size_t") or 1
    learned = network.get("use_learned_positional_embeddings")
    sample_px = (network["sample_height"] * spatial, network["sample_width"] * spatial)
    return BackboneSpec(
        name="cogvideox",
        modes=("first_frame",) if network["in_channels"] != channels else ("text",),
        **noise_schedule(folder, diffusers.CogVideoXDDIMScheduler),
        channels=channels,
        temporal_ratio=codec["temporal_compression_ratio"],
        spatial_ratio=spatial,
        fps=8.0 if group == 1 else 16.0,
        lora_targets=("to_q", "to_k", "to_v", "to_out.0"),
        first_frame="channels",
        multiple_px=spatial * network["patch_size"],
        only_px=sample_px if learned else None,
        # At another length diffusers takes positions by sine and cosine instead, without a word.
        only_frames=network["sample_frames"] if learned else 0,
        most_px=sample_px if group > 1 else None,
        lead=group - 1,
    )


def text(pipeline: Any, caption: str) -> TensorRows:
    """Embeddings of a caption."""
    embeddings, _ = pipeline.encode_prompt([caption], do_classifier_free_guidance=False, max_sequence_length=LONGEST)
    return {"text": embeddings[0]}


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """v = sqrt(abar) noise - sqrt(1 - abar) clean."""
    x = noised_BCFHW
    if "first" in condition.more:
        first = _as_shown(condition.more["first"], model)
        x = torch.cat([x, torch.cat([first, first.new_zeros(x[:, :, 1:].shape)], 2)], 1)
    prediction: Tensor = network(
        x.transpose(1, 2),
        condition.text,
        training_steps(model.spec, t_BF[:, -1]),
        ofs=None if network.config.ofs_embed_dim is None else x.new_full((1,), OFFSET),
        image_rotary_emb=_positions(network, x, model),
        return_dict=False,
    )[0]
    return prediction.transpose(1, 2)


def _as_shown(first_BC1HW: Tensor, model: DiffusersBackbone) -> Tensor:
    """1.5 was trained on first frames divided by the codec's scale, where latents are multiplied by it."""
    codec = model.folder.config("vae")
    return first_BC1HW / codec["scaling_factor"] ** 2 if codec.get("invert_scale_latents") else first_BC1HW


def _positions(network: Any, latents_BCFHW: Tensor, model: DiffusersBackbone) -> tuple[Tensor, Tensor] | None:
    """Rotary position embeddings for the size of the clip, as diffusers' pipeline makes them."""
    if not network.config.use_rotary_positional_embeddings:
        return None
    _, _, f, h, w = latents_BCFHW.shape
    ratio = model.spec.spatial_ratio
    pipeline: Any = SimpleNamespace(transformer=network, vae_scale_factor_spatial=ratio)
    positions: tuple[Tensor, Tensor] = diffusers.CogVideoXPipeline._prepare_rotary_positional_embeddings(
        pipeline, h * ratio, w * ratio, f, latents_BCFHW.device
    )
    return positions


FAMILY = Family(
    name="cogvideox",
    pipelines=("CogVideoXPipeline", "CogVideoXImageToVideoPipeline"),
    spec=spec,
    text=text,
    predict=predict,
    tokens={"text": (LONGEST, "text_embed_dim")},
)
