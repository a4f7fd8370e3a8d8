"""HunyuanVideo from text (arXiv 2412.03603), and its image-to-video models.

Rectified flow; the network is told 1000 t, and 1000 times the guidance scale where that was distilled into it: there is
no second pass. Training tells it a scale of 1, which is no guidance.

The image-to-video models take the first frame in one of two ways, by `image_condition_type` of the network:
`token_replace` has it clean in latent frame 0, at time 0; `latent_concat` shows it as channels beside latent frame 0,
zeros beside the others, with a mask. Both read the caption together with the frame, by a model that sees, and start
sampling from noise with a trace of the frame in it.

Padding of captions is cut, and attention gets no mask where no row has any: a mask rules out the fast kernels, and of
HunyuanVideo 1.5 it is N x N for N tokens of a clip, 2.5 GiB in each block at 121 x 480 x 848.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from diffusers.models.transformers.transformer_hunyuan_video15 import HunyuanVideo15AttnProcessor2_0
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_image2video import (
    DEFAULT_PROMPT_TEMPLATE,
    HunyuanVideoImageToVideoPipeline,
)
from diffusers.utils.pil_utils import numpy_to_pil
from numpy.typing import NDArray
from torch import Tensor, nn

from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.caption_tokens import TokenLimit
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone, Family, TensorRows
from rushes.backbones.schedules import flow_schedule
from rushes.files import content_hash

LONGEST, CLIP_LONGEST = 256, 77  # tokens of a caption
FROM_IMAGE = "HunyuanVideoImageToVideoPipeline"
INTERLEAVE = {"latent_concat": 2, "token_replace": 4}  # every so manieth of the image's tokens is kept
LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
COMFY = (  # its names are those of the first release
    (r"^context_embedder\.token_refiner\.refiner_blocks\.", "txt_in.individual_token_refiner.blocks."),
    (r"^single_transformer_blocks\.(\d+)\.(attn\.to_[qkv]|proj_mlp)$", r"single_blocks.\1.linear1"),
    (r"^(txt_in\..*)\.attn\.to_[qkv]$", r"\1.self_attn_qkv"),
    (r"^(txt_in\..*)\.attn\.to_out\.0$", r"\1.self_attn_proj"),
    (r"^transformer_blocks\.", "double_blocks."),
    (r"\.attn\.to_[qkv]$", ".img_attn_qkv"),
    (r"\.attn\.add_[qkv]_proj$", ".txt_attn_qkv"),
    (r"\.attn\.to_out\.0$", ".img_attn_proj"),
    (r"\.attn\.to_add_out$", ".txt_attn_proj"),
)
READERS = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")
TRACE = 0.001  # of the first frame, in the noise that sampling starts from


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the variant that the folder holds.

    Raises:
        ValueError: a network that takes a first frame in a way that is not known.
    """
    network, codec = folder.config("transformer"), folder.config("vae")
    spatial = codec.get("spatial_compression_ratio", 8)
    starts = folder.pipeline == FROM_IMAGE
    condition_type = network.get("image_condition_type")
    if starts and condition_type not in INTERLEAVE:
        raise ValueError(
            f"{folder.path / 'transformer'}: image_condition_type is {condition_type!r}, but a model that starts from "
            f"an image has {' or '.join(INTERLEAVE)}; download the model again, or copy it again"
        )
    return BackboneSpec(
        name="hunyuan",
        modes=("first_frame",) if starts else ("text",),
        **flow_schedule(folder, even_levels),
        channels=codec["latent_channels"],
        temporal_ratio=codec.get("temporal_compression_ratio", 4),
        spatial_ratio=spatial,
        fps=24.0,
        lora_targets=LAYERS,
        first_frame="channels" if condition_type == "latent_concat" else "clean",
        still=("look",) if starts else (),
        multiple_px=spatial * network["patch_size"],
        start_share=TRACE if starts else 0.0,
        guidance="embedded" if network.get("guidance_embeds", True) else "two_passes",
    )


def even_levels(steps: int, size: tuple[int, int, int], config: Mapping[str, Any]) -> dict[str, Any]:
    """From 1 in even steps, the last of which ends at 0."""
    return {"sigmas": np.linspace(1.0, 0.0, steps + 1)[:-1]}


def text(pipeline: Any, caption: str) -> TensorRows:
    """Embeddings of a caption by a language model, which of them are not padding, and one of the whole by CLIP."""
    return _rows(*pipeline.encode_prompt([caption], max_sequence_length=LONGEST))


def _rows(embeddings: Tensor, pooled: Tensor, mask: Tensor) -> TensorRows:
    return {"text": embeddings[0] * mask[0, :, None], "mask": mask[0], "pooled": pooled[0]}


def still(model: DiffusersBackbone, frames_BHWC: NDArray[np.uint8], frames: int) -> dict[str, Tensor]:
    """`look`: pixels [B, 3, 1, H, W] of the frame as the model that reads the caption sees them."""
    images = numpy_to_pil(frames_BHWC / 255)
    look: Tensor = model.part("image_processor")(images, return_tensors="pt").pixel_values
    return {"look": look[:, :, None].float()}


def without_padding(text_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Texts and their masks without the tokens that are padding in all rows; of one row, without any padding.

    What is cut is a key to no token, and no prediction is read from it: the prediction is the same to rounding.
    """
    # One index out of one mask: a forecast, which has no values, then counts captions at their longest.
    used = torch.arange(mask_BL.shape[1], device=mask_BL.device)[mask_BL.bool().any(0)]
    return text_BLD[:, used], mask_BL[:, used]


class KeyMask(HunyuanVideoAttnProcessor2_0):
    """Joint attention of video and text that is masked where it must be: not at all, or as keys.

    diffusers' masks leave padding out as keys and, in version 1.5, as queries too: what a padded query answers is read
    by none. `without_padding` leaves nothing to mask in one row, or in captions of one length.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        """As diffusers' processors; the mask is that of text [B, L], or of video and text [B, 1, 1, N]."""
        if attention_mask is not None and (len(hidden_states) == 1 or masks_nothing(attention_mask)):
            attention_mask = None
        elif attention_mask is not None and attention_mask.dim() == 2:
            video = hidden_states.shape[1]
            attention_mask = nn.functional.pad(attention_mask, (video, 0), value=True)[:, None, None]
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)


def masks_nothing(mask: Any) -> bool:
    """Whether all tokens count. Asked once of a tensor, which all blocks of a pass are given: each answer waits for the
    GPU."""
    if not hasattr(mask, "masks_nothing"):
        mask.masks_nothing = bool(mask.all())
    return bool(mask.masks_nothing)


def mask_keys_alone(network: nn.Module) -> None:
    """Replace the processors of the blocks; in place. The few tokens of captions alone keep theirs."""
    for module in network.modules():
        if type(getattr(module, "processor", None)) in (HunyuanVideoAttnProcessor2_0, HunyuanVideo15AttnProcessor2_0):
            module.set_processor(KeyMask())  # type: ignore[no-untyped-call, operator]


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean."""
    x, more = noised_BCFHW, condition.more
    if "first" in more:
        shown = x.new_zeros(len(x), x.shape[1] + 1, *x.shape[2:])
        shown[:, :-1, :1], shown[:, -1, 0] = more["first"], 1.0
        x = torch.cat([x, shown], 1)
    text_BLD, mask_BL = without_padding(condition.text, more["mask"])
    scale = more["guidance"] if "guidance" in more else x.new_ones(len(x))
    prediction: Tensor = network(
        x,
        1000 * t_BF[:, -1],
        text_BLD,
        mask_BL,
        more["pooled"],
        guidance=1000 * scale if model.spec.guidance == "embedded" else None,
        return_dict=False,
    )[0]
    return prediction


FAMILY = Family(
    name="hunyuan",
    pipelines=("HunyuanVideoPipeline", FROM_IMAGE),
    spec=spec,
    text=text,
    predict=predict,
    tokens={"text": (LONGEST, "text_embed_dim"), "mask": (LONGEST, ""), "pooled": (0, "pooled_projection_dim")},
    tokenizers={"tokenizer": TokenLimit(LONGEST, marks=False), "tokenizer_2": TokenLimit(CLIP_LONGEST)},
    still=still,
    adjust=mask_keys_alone,
    comfy=COMFY,
    model=lambda folder: HunyuanFromImage if folder.pipeline == FROM_IMAGE else DiffusersBackbone,
)


class HunyuanFromImage(DiffusersBackbone):
    """An image-to-video model: what a caption is read as depends on the first frame too.

    So captions are known by the pair of both, and what they were read as is not kept on disk.
    """

    texts = None

    def prepare(self, captions: Sequence[str]) -> None:
        """Nothing: a caption cannot be read without its first frame."""

    def prepare_together(self, captions: Sequence[str], stills: Iterable[Mapping[str, Tensor]]) -> None:
        """Read captions with what `still` made of their first frames; what reads leaves memory again."""
        reader = None
        for caption, row in zip(captions, stills, strict=True):
            key = _pair(caption, row["look"])
            if key not in self._rows:
                reader = reader or self.reader()
                with torch.no_grad():
                    read = self._read(reader, caption, row["look"])
                self._rows[key] = {name: (tensor.cpu(), len(tensor)) for name, tensor in read.items()}
        if reader and self.device.type == "cuda":
            del reader
            torch.cuda.empty_cache()

    def reader(self, without: Sequence[str] = ()) -> Any:
        """What reads captions; diffusers' own pipeline would prepare the image anew."""
        parts = {name: self.part(name) for name in READERS}
        return SimpleNamespace(**parts, image_processor=lambda look, return_tensors: SimpleNamespace(pixel_values=look))

    def _read(self, reader: Any, caption: str, look_CFHW: Tensor) -> TensorRows:
        pipeline = HunyuanVideoImageToVideoPipeline
        condition_type = self.folder.config("transformer")["image_condition_type"]
        words = [caption.encode("utf-8", "replace").decode()]
        seen = look_CFHW[None, :, 0].to(self.device, self.reading_dtype)
        placed: dict[str, Any] = {"device": self.device, "dtype": self.reading_dtype}
        embeddings, mask = pipeline._get_llama_prompt_embeds(
            reader,
            seen,
            words,
            DEFAULT_PROMPT_TEMPLATE,
            max_sequence_length=LONGEST,
            image_embed_interleave=INTERLEAVE[condition_type],
            **placed,
        )
        pooled = pipeline._get_clip_prompt_embeds(reader, words, max_sequence_length=CLIP_LONGEST, **placed)
        return _rows(embeddings, pooled, mask)

    def condition(self, captions: Sequence[str], first_frame_BCHW: Tensor | None = None, **still: Tensor) -> Condition:
        """Embeddings of captions with their first frames, and the first frame in the way of the model."""
        assert first_frame_BCHW is not None, "a model that starts from an image"
        looks = [{"look": look} for look in still["look"]]
        self.prepare_together(captions, looks)
        read = [self._rows[_pair(caption, look["look"])] for caption, look in zip(captions, looks, strict=True)]
        return self._conditioned(read, first_frame_BCHW, {})


def _pair(caption: str, look: Tensor) -> str:
    """Name of a caption together with a first frame."""
    return f"{content_hash(look.cpu().half().numpy().tobytes())} {caption}"
