"""HunyuanVideo 1.5, from text or with a first frame (arXiv 2511.18870).

Rectified flow; the network is told 1000 t. A first frame is shown as channels beside latent frame 0, zeros beside the
others, with a mask, and as an embedding; from text all three are zero.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.hunyuan_video1_5.pipeline_hunyuan_video1_5 import extract_glyph_texts
from diffusers.utils.pil_utils import numpy_to_pil
from numpy.typing import NDArray
from torch import Tensor

from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.caption_tokens import TokenLimit
from rushes.backbones.folders import Folder
from rushes.backbones.hunyuan import COMFY, LAYERS, READERS, even_levels, mask_keys_alone, without_padding
from rushes.backbones.pipeline import DiffusersBackbone, Family, TensorRows
from rushes.backbones.schedules import flow_schedule

SEEN = 729  # tokens that an image embedding has


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the model."""
    network, codec = folder.config("transformer"), folder.config("vae")
    looks = folder.has("image_encoder")
    return BackboneSpec(
        name="hunyuan15",
        modes=("first_frame",) if looks else ("text",),
        **flow_schedule(folder, even_levels),
        channels=codec["latent_channels"],
        temporal_ratio=codec["temporal_compression_ratio"],
        spatial_ratio=codec["spatial_compression_ratio"],
        fps=24.0,
        lora_targets=LAYERS,
        first_frame="channels",
        still=("first", "image") if looks else (),
        multiple_px=codec["spatial_compression_ratio"] * network["patch_size"],
    )


def reader(model: DiffusersBackbone) -> Any:
    """What reads captions; diffusers' own pipeline does not load without its codec."""
    return SimpleNamespace(**{name: model.part(name) for name in READERS}, device=model.device)


def glyphs(caption: str) -> str:
    """What of a caption is read by its letters: what it has in quotes."""
    return str(extract_glyph_texts(caption) or "")


def text(read: Any, caption: str) -> TensorRows:
    """Embeddings of a caption by a language model, of what is written in quotes by its letters, and their masks."""
    pipeline = diffusers.HunyuanVideo15Pipeline
    words, mask = pipeline._get_mllm_prompt_embeds(read.text_encoder, read.tokenizer, [caption], read.device)
    letters, seen = pipeline._get_byt5_prompt_embeds(read.tokenizer_2, read.text_encoder_2, [caption], read.device)
    rows = {"text": words[0] * mask[0, :, None], "mask": mask[0], "glyphs": letters[0] * seen[0, :, None]}
    return {**rows, "glyphs_mask": seen[0]}


def still(model: DiffusersBackbone, frames_BHWC: NDArray[np.uint8], frames: int) -> dict[str, Tensor]:
    """`first`: latents of the frame; `image`: its embedding."""
    latents = torch.cat([model.encode_pixels(model.pixels(frame[None])) for frame in frames_BHWC])
    encoder, processor = model.part("image_encoder"), model.part("feature_extractor")
    look = diffusers.HunyuanVideo15ImageToVideoPipeline._get_image_embeds
    images = [look(encoder, processor, image, model.device) for image in numpy_to_pil(frames_BHWC / 255)]
    return {"first": latents.cpu(), "image": torch.cat(images).float().cpu()[..., None, None]}


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean."""
    x, more = noised_BCFHW, condition.more
    shown = x.new_zeros(len(x), x.shape[1] + 1, *x.shape[2:])
    image = x.new_zeros(len(x), 0, network.config.image_embed_dim)  # diffusers masks 729 zeros in its place
    if "first" in more:
        shown[:, :-1, :1], shown[:, -1, 0] = more["first"], 1.0
        image = more["image"].flatten(2)
    text_BLD, mask_BL = without_padding(condition.text, more["mask"])
    glyphs_BLD, glyphs_mask_BL = without_padding(more["glyphs"], more["glyphs_mask"])
    prediction: Tensor = network(
        torch.cat([x, shown], 1),
        (1000 * t_BF[:, -1]).to(x),
        text_BLD,
        mask_BL,
        encoder_hidden_states_2=glyphs_BLD,
        encoder_attention_mask_2=glyphs_mask_BL,
        image_embeds=image,
        return_dict=False,
    )[0]
    return prediction


FAMILY = Family(
    name="hunyuan15",
    pipelines=("HunyuanVideo15Pipeline", "HunyuanVideo15ImageToVideoPipeline"),
    spec=spec,
    text=text,
    predict=predict,
    tokens={
        "text": (1000, "text_embed_dim"),
        "mask": (1000, ""),
        "glyphs": (256, "text_embed_2_dim"),
        "glyphs_mask": (256, ""),
    },
    tokenizers={"tokenizer": TokenLimit(1000, marks=False), "tokenizer_2": TokenLimit(256, reads=glyphs)},
    image_tokens=(SEEN, "image_embed_dim"),
    still=still,
    reader=reader,
    adjust=mask_keys_alone,
    comfy=COMFY,
)
