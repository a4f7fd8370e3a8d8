"""Mochi 1, from text (genmo/mochi-1-preview; there is no paper).

Rectified flow. The network takes 1000 (1 - t) as its time, which counts from noise to clean, and predicts clean -
noise. Half of the sampling steps go in even levels from 1 to 0.975, the others on a parabola to 0. There are no first
frames.

Video and text attend together, as in HunyuanVideo: padding of captions is cut, and there is a mask where rows differ.
diffusers' own processor takes row after row and asks each mask where its tokens are; a GPU would wait for the answer in
every block, and a forecast has none.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import MochiAttnProcessor2_0
from torch import Tensor, nn

from rushes.backbones import wan
from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.hunyuan import masks_nothing, without_padding
from rushes.backbones.ltx import quadratic
from rushes.backbones.pipeline import DiffusersBackbone, Family, TensorRows
from rushes.backbones.schedules import flow_schedule

LONGEST = 256  # tokens of a caption
# Those of the release's trainer: without the path, "to_q" would also be a layer that pools the caption.
LAYERS = ("attn1.to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
COMFY = (  # its names are those of the first release
    (r"^transformer_blocks\.", "blocks."),
    (r"\.attn1\.to_[qkv]$", ".attn.qkv_x"),
    (r"\.attn1\.add_[qkv]_proj$", ".attn.qkv_y"),
    (r"\.attn1\.to_out\.0$", ".attn.proj_x"),
    (r"\.attn1\.to_add_out$", ".attn.proj_y"),
)


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the model that the folder holds."""
    network, codec = folder.config("transformer"), folder.config("vae")
    spatial = math.prod(codec.get("spatial_expansions", (2, 2, 2)))
    return BackboneSpec(
        name="mochi",
        modes=("text",),
        **flow_schedule(folder, quadratic),
        channels=codec["latent_channels"],
        temporal_ratio=math.prod(codec.get("temporal_expansions", (1, 2, 3))),
        spatial_ratio=spatial,
        fps=30.0,
        lora_targets=LAYERS,
        multiple_px=spatial * network["patch_size"],
    )


def text(pipeline: Any, caption: str) -> TensorRows:
    """Embeddings of a caption, and which of them are not padding."""
    embeddings, mask, _, _ = pipeline.encode_prompt(
        [caption], do_classifier_free_guidance=False, max_sequence_length=LONGEST
    )
    return {"text": embeddings[0] * mask[0, :, None], "mask": mask[0]}


def normalise(codec: Any, latents: Tensor) -> Tensor:
    """Zero mean and unit spread per channel."""
    normalised: Tensor = wan.normalise(codec, latents) * codec.config.scaling_factor
    return normalised


def denormalise(codec: Any, latents: Tensor) -> Tensor:
    """The inverse."""
    return wan.denormalise(codec, latents / codec.config.scaling_factor)


class JointAttention:
    """Attention of video and text together; the text's padding, which is at its end, is a key to no token."""

    _attention_backend = None  # which diffusers sets by name
    _parallel_config = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor,
        image_rotary_emb: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Video [B, N, C] and text [B, L, C'], mask [B, L], cosines and sines -> what becomes of video and text."""
        video, words = hidden_states, encoder_hidden_states
        q, k, v = (layer(video).unflatten(2, (attn.heads, -1)) for layer in (attn.to_q, attn.to_k, attn.to_v))
        q, k = (_rotated(x, *image_rotary_emb) for x in (attn.norm_q(q), attn.norm_k(k)))
        layers = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
        word_q, word_k, word_v = (layer(words).unflatten(2, (attn.heads, -1)) for layer in layers)
        keys = None
        if len(video) > 1 and not masks_nothing(attention_mask):
            keys = nn.functional.pad(attention_mask, (video.shape[1], 0), value=True)[:, None, None]
        joint = dispatch_attention_fn(
            torch.cat([q, attn.norm_added_q(word_q)], 1),
            torch.cat([k, attn.norm_added_k(word_k)], 1),
            torch.cat([v, word_v], 1),
            attn_mask=keys,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        ).flatten(2)
        video, words = joint.split_with_sizes((video.shape[1], words.shape[1]), 1)
        video = attn.to_out[1](attn.to_out[0](video))
        return video, attn.to_add_out(words) if hasattr(attn, "to_add_out") else words


def _rotated(x_BNHD: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Queries or keys at their places in the clip."""
    even, odd = x_BNHD[..., 0::2].float(), x_BNHD[..., 1::2].float()
    turned = torch.stack([even * cosines - odd * sines, even * sines + odd * cosines], -1)
    return turned.flatten(-2).to(x_BNHD.dtype)


def attend_jointly(network: nn.Module) -> None:
    """Replace the processors of the blocks; in place."""
    for module in network.modules():
        if type(getattr(module, "processor", None)) is MochiAttnProcessor2_0:
            vars(module)["processor"] = JointAttention()


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean."""
    text_BLD, mask_BL = without_padding(condition.text, condition.more["mask"])
    t = (1000 * (1 - t_BF[:, -1])).to(noised_BCFHW)
    with warnings.catch_warnings():  # positions are made outside of autocast, by a form that warns on a CPU
        warnings.filterwarnings("ignore", "In CPU autocast", UserWarning)
        prediction: Tensor = network(noised_BCFHW, text_BLD, t, mask_BL, return_dict=False)[0]
    return -prediction


FAMILY = Family(
    name="mochi",
    pipelines=("MochiPipeline",),
    spec=spec,
    text=text,
    normalise=normalise,
    denormalise=denormalise,
    predict=predict,
    tokens={"text": (LONGEST, "text_embed_dim"), "mask": (LONGEST, "")},
    adjust=attend_jointly,
    comfy=COMFY,
)
