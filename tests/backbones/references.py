"""What diffusers' own pipelines make of given noise: the oracle of our sampling."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rushes.backbones.adapters import LORA_FILE

# tiny pipeline and mode -> how it is asked
CASES: list[tuple[str, str]] = [
    ("wan", "text"),
    ("wan_unipc", "text"),
    ("wan_experts", "text"),
    ("wan_i2v", "first_frame"),
    ("wan_i2v_experts", "first_frame"),
    ("wan_ti2v", "text"),
    ("wan_ti2v", "first_frame"),
    ("cogvideox", "text"),
    ("cogvideox_5b", "text"),
    ("cogvideox_i2v", "first_frame"),
    ("cogvideox_1.5", "text"),
    ("cogvideox_1.5_i2v", "first_frame"),
    ("hunyuan", "text"),
    ("hunyuan_i2v", "first_frame"),
    ("hunyuan_i2v_channels", "first_frame"),
    ("hunyuan15", "text"),
    ("hunyuan15_i2v", "first_frame"),
    ("animatediff", "text"),
    ("ltx2", "text"),
    ("ltx2", "first_frame"),
    ("ltx", "text"),
    ("ltx", "first_frame"),
    ("ltx_conditions", "text"),
    ("ltx_conditions", "first_frame"),
]


def pipeline_sample(
    folder: Path,
    mode: str,
    noise_BCFHW: Tensor,
    caption: str,
    negative: str,
    frames_THWC: NDArray[np.uint8],
    steps: int,
    guidance: float,
    lora: Path | None = None,
) -> Tensor:
    """Latents that the folder's own pipeline makes from the noise, as ours are shaped and normalised."""
    pipeline = load_pipeline(folder)
    if lora:
        load_lora(pipeline, lora)
    return ask(pipeline, mode, noise_BCFHW, caption, negative, frames_THWC, steps, guidance)


def load_pipeline(folder: Path) -> Any:
    """The pipeline that the folder names, silent."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def ask(
    pipeline: Any,
    mode: str,
    noise_BCFHW: Tensor,
    caption: str,
    negative: str,
    frames_THWC: NDArray[np.uint8],
    steps: int,
    guidance: float,
    fps: float = 0.0,
) -> Tensor:
    """Latents that a pipeline makes from the noise; `fps` is for those that are told, 0 = the family's own."""
    t, h, w, _ = frames_THWC.shape
    asked = {
        "prompt": caption,
        "negative_prompt": negative,
        "height": h,
        "width": w,
        "num_frames": t,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "output_type": "latent",
    }
    if mode == "first_frame":
        asked["image"] = Image.fromarray(frames_THWC[0])
    told = TOLD_FPS.get(type(pipeline).__name__)
    if told:
        asked["frame_rate"] = fps or told
    return ASK[type(pipeline).__name__](pipeline, noise_BCFHW, asked)


def load_lora(pipeline: Any, folder: Path) -> None:
    if (folder / "low_noise").is_dir():
        pipeline.load_lora_weights(folder / "high_noise")
        pipeline.load_lora_weights(folder / "low_noise", load_into_transformer_2=True)
    elif hasattr(pipeline, "load_lora_weights"):
        pipeline.load_lora_weights(folder)
    else:
        pipeline.transformer.load_lora_adapter(folder / LORA_FILE, prefix="transformer")


def unload_lora(pipeline: Any) -> None:
    """Take out whatever `load_lora` put in."""
    for part in pipeline.components.values():
        if getattr(part, "peft_config", None):
            part.unload_lora()


def _wan(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    from diffusers import WanImageToVideoPipeline

    if "image" in asked and "ImageToVideo" not in type(pipeline).__name__:
        parts = {name: part for name, part in pipeline.components.items() if part is not None}
        pipeline = WanImageToVideoPipeline(**parts, expand_timesteps=pipeline.config.expand_timesteps)
        pipeline.set_progress_bar_config(disable=True)
    made: Tensor = pipeline(latents=noise.clone(), **asked).frames
    return made


def _cogvideox(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    """By DDIM, and with the mean of the codec's posterior where the pipeline draws from it."""
    from diffusers import CogVideoXDDIMScheduler

    pipeline.scheduler = CogVideoXDDIMScheduler.from_config(pipeline.scheduler.config)
    with posterior_means():
        made: Tensor = pipeline(latents=noise.transpose(1, 2).clone(), **asked).frames
    return made.transpose(1, 2)


def _ltx(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    """Its latents are packed; the pipeline for first frames wants the frame among them."""
    from diffusers import LTXImageToVideoPipeline

    _, _, f, h, w = noise.shape
    packed = noise.flatten(2).transpose(1, 2)
    with posterior_means():
        if "image" in asked:
            pipeline = LTXImageToVideoPipeline(**pipeline.components)
            pipeline.set_progress_bar_config(disable=True)
            pixels = pipeline.video_processor.preprocess(asked["image"], asked["height"], asked["width"])
            first = pipeline.vae.encode(pixels[:, :, None]).latent_dist.mode()
            first = pipeline._normalize_latents(first, pipeline.vae.latents_mean, pipeline.vae.latents_std)
            packed = torch.cat([first.flatten(2).transpose(1, 2), packed[:, h * w :]], 1)
        made: Tensor = pipeline(latents=packed.detach(), **asked).frames
    return made.transpose(1, 2).unflatten(2, (f, h, w))


def _ltx2(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    """With the exchange of its streams off; its latents come and go without being normalised."""
    from diffusers import LTX2ImageToVideoPipeline

    forward, statistics = pipeline.transformer.forward, (pipeline.vae.latents_mean, pipeline.vae.latents_std)
    pipeline.transformer.forward = lambda **given: forward(**{**given, "isolate_modalities": True})
    if "image" in asked:
        pipeline = LTX2ImageToVideoPipeline(**{k: v for k, v in pipeline.components.items() if v is not None})
        pipeline.set_progress_bar_config(disable=True)
        pixels = pipeline.video_processor.preprocess(asked["image"], asked["height"], asked["width"])
        first = pipeline._normalize_latents(pipeline.vae.encode(pixels[:, :, None]).latent_dist.mode(), *statistics)
        noise = torch.cat([first.detach(), noise[:, :, 1:]], 2)
    noise = pipeline._denormalize_latents(noise, *statistics)
    made = pipeline(latents=noise, guidance_rescale=0.0, **asked).frames
    normalised: Tensor = pipeline._normalize_latents(made, *statistics)
    return normalised


def _ltx_conditions(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    from diffusers.pipelines.ltx import pipeline_ltx_condition as module

    if "image" in asked:
        asked["conditions"] = module.LTXVideoCondition(image=asked.pop("image"), frame_index=0)
    with posterior_means(), warnings.catch_warnings():  # it draws its own noise
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        module.randn_tensor, draw = (lambda *args, **more: noise.clone()), module.randn_tensor
        try:
            made: Tensor = pipeline(image_cond_noise_scale=0.0, **asked).frames
        finally:
            module.randn_tensor = draw
    return made


@contextmanager
def posterior_means() -> Iterator[None]:
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    draw = DiagonalGaussianDistribution.sample
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()
    try:
        yield
    finally:
        DiagonalGaussianDistribution.sample = draw


def _hunyuan(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    made: Tensor = pipeline(latents=noise.clone(), **asked).frames
    return made


def _hunyuan_i2v(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    """With the first latent frame, which one form drops, and a negative caption read with the image, not with black."""
    from diffusers.pipelines.hunyuan_video import pipeline_hunyuan_video_image2video as module

    image = asked["image"]
    guided = pipeline.transformer.config.guidance_embeds
    scale = asked.pop("guidance_scale")
    asked |= {"guidance_scale": scale} if guided else {"true_cfg_scale": scale}
    kept: list[Tensor] = []

    def keep(pipeline: Any, step: int, at: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        kept.append(tensors["latents"])
        return tensors

    with patched(module, "PIL", SimpleNamespace(Image=SimpleNamespace(new=lambda *_: image))):
        pipeline(latents=noise.clone(), callback_on_step_end=keep, **asked)
    return kept[-1]


@contextmanager
def patched(place: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


def _hunyuan15(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    """Its guidance is a part of the pipeline, and its size that of the image."""
    from diffusers import ClassifierFreeGuidance

    scale = asked.pop("guidance_scale")
    pipeline.guider = ClassifierFreeGuidance(guidance_scale=scale, enabled=scale != 1.0)
    size = {} if "image" in asked else {name: asked[name] for name in ("height", "width")}
    more = {name: value for name, value in asked.items() if name not in ("height", "width")}
    made: Tensor = pipeline(latents=noise.clone(), **size, **more).frames
    return made


def _animatediff(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    made: Tensor = pipeline(latents=noise.clone(), **asked).frames
    return made


TOLD_FPS = {"LTXPipeline": 25.0, "LTXConditionPipeline": 25.0, "LTX2Pipeline": 24.0}
ASK: dict[str, Callable[[Any, Tensor, dict[str, Any]], Tensor]] = {
    "WanPipeline": _wan,
    "WanImageToVideoPipeline": _wan,
    "CogVideoXPipeline": _cogvideox,
    "HunyuanVideoPipeline": _hunyuan,
    "HunyuanVideoImageToVideoPipeline": _hunyuan_i2v,
    "HunyuanVideo15Pipeline": _hunyuan15,
    "HunyuanVideo15ImageToVideoPipeline": _hunyuan15,
    "AnimateDiffPipeline": _animatediff,
    "LTXPipeline": _ltx,
    "LTX2Pipeline": _ltx2,
    "LTXConditionPipeline": _ltx_conditions,
    "CogVideoXImageToVideoPipeline": _cogvideox,
}
