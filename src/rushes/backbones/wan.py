"""Wan: 2.1 (text, and image to video), 2.2 A14B (two experts) and 2.2 TI2V-5B (arXiv 2503.20314).

Rectified flow; the network is told 1000 t. Three ways to take a first frame: none; 2.1 I2V and 2.2 A14B I2V see the
clip's start, encoded with gray frames after it, as channels beside the latents (2.1 also an image embedding); TI2V-5B
has it clean in latent frame 0, at time 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers.utils.pil_utils import numpy_to_pil
from numpy.typing import NDArray
from torch import Tensor

from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone, Family, TensorRows
from rushes.backbones.schedules import flow_schedule

LONGEST = 512  # tokens of a caption
COMFY = (  # its names are those of the first release
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_out\.0$", ".o"),
    (r"\.to_([qkv])$", r".\1"),
    (r"\.add_([kv])_proj$", r".\1_img"),
    (r"\.net\.0\.proj$", ".0"),
    (r"\.net\.2$", ".2"),
)
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the variant that the folder holds.

    Raises:
        ValueError: a network that is shown a last frame too; two networks and no level at which they change.
    """
    network, codec = folder.config("transformer"), folder.config("vae")
    spatial, temporal = codec.get("scale_factor_spatial") or 8, codec.get("scale_factor_temporal") or 4
    clean = bool(folder.index.get("expand_timesteps"))  # TI2V-5B
    channels = network["in_channels"] != codec["z_dim"]
    looks = bool(network.get("image_dim"))  # 2.1 I2V
    boundary = folder.index.get("boundary_ratio")
    if network.get("pos_embed_seq_len"):  # two images share one row of it, which would mix the clips of a batch
        raise ValueError(
            f"{folder.path / 'transformer'}: a model that starts from a first and a last frame, but Rushes cannot give "
            "it last frames; use the I2V model"
        )
    if folder.has("transformer_2") and boundary is None:
        raise ValueError(
            f"{folder.path / 'model_index.json'} names two networks but no boundary_ratio, the noise level where they "
            "switch; set it to the release's value: 0.875 for Wan 2.2 T2V, 0.9 for I2V"
        )
    patch_frames, patch_px, _ = network["patch_size"]
    positions = network.get("rope_max_seq_len") or 1024
    return BackboneSpec(
        name="wan",
        modes=("text", "first_frame") if clean else ("first_frame",) if channels else ("text",),
        **flow_schedule(folder),
        channels=codec["z_dim"],
        temporal_ratio=temporal,
        spatial_ratio=spatial,
        fps=24.0 if clean else 16.0,
        lora_targets=(*TARGETS, "add_k_proj", "add_v_proj") if looks else TARGETS,
        first_frame="channels" if channels else "clean",
        still=(("start", "image") if looks else ("start",)) if channels else (),
        multiple_px=spatial * patch_px,
        most_px=(positions * patch_px * spatial,) * 2,
        most_frames=1 + (positions * patch_frames - 1) * temporal,
        shown="start",
        boundary=boundary if folder.has("transformer_2") else None,
    )


def text(pipeline: Any, caption: str) -> TensorRows:
    """Embeddings of a caption, zero after its end."""
    embeddings, _ = pipeline.encode_prompt([caption], do_classifier_free_guidance=False, max_sequence_length=LONGEST)
    return {"text": embeddings[0]}


def normalise(codec: Any, latents: Tensor) -> Tensor:
    """Zero mean and unit spread per channel."""
    mean, std = _statistics(codec, latents)
    return (latents - mean) / std


def denormalise(codec: Any, latents: Tensor) -> Tensor:
    """The inverse."""
    mean, std = _statistics(codec, latents)
    return latents * std + mean


def _statistics(codec: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(part).to(like) for part in (codec.config.latents_mean, codec.config.latents_std))
    return mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1)


def still(model: DiffusersBackbone, frames_BHWC: NDArray[np.uint8], frames: int) -> dict[str, Tensor]:
    """`start`: latents of the frame with gray frames after it; `image`: its embedding, where the network takes one."""
    starts = []
    for frame in frames_BHWC:
        pixels = model.pixels(frame[None])
        gray = pixels.new_zeros(1, 3, frames - 1, *frame.shape[:2])
        starts.append(model.encode_pixels(torch.cat([pixels, gray], 2)))
    tensors = {"start": torch.cat(starts).cpu()}
    if "image" in model.spec.still:
        reader = model.reader(without=("text_encoder", "tokenizer"))
        images = [reader.encode_image(image, model.device) for image in numpy_to_pil(frames_BHWC / 255)]
        tensors["image"] = torch.cat(images).float().cpu()[..., None, None]
    return tensors


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean."""
    _, _, f, h, w = noised_BCFHW.shape
    x, more = noised_BCFHW, condition.more
    if "start" in more:
        given = x.new_zeros(len(x), model.spec.temporal_ratio, f, h, w)
        given[:, :, 0] = 1.0
        x = torch.cat([x, given, more["start"]], 1)
    if model.folder.index.get("expand_timesteps"):  # one time per token
        _, ph, pw = network.config.patch_size
        t = (1000 * t_BF).repeat_interleave((h // ph) * (w // pw), 1)
    else:
        t = 1000 * t_BF[:, -1]
    image = more["image"].flatten(2) if "image" in more else None
    prediction: Tensor = network(x, t, condition.text, encoder_hidden_states_image=image, return_dict=False)[0]
    return prediction


FAMILY = Family(
    name="wan",
    pipelines=("WanPipeline", "WanImageToVideoPipeline"),
    spec=spec,
    text=text,
    normalise=normalise,
    denormalise=denormalise,
    predict=predict,
    tokens={"text": (LONGEST, "text_dim")},
    networks=("transformer", "transformer_2"),
    still=still,
    comfy=COMFY,
)
