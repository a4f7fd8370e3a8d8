"""What diffusers' own pipelines make of given noise: the oracle of our sampling.

They run with their defaults. Size, frames, frame rate, caption, negative caption, steps and guidance are asked for, and
latents come out instead of pixels. What else is set or replaced is this, and docs/backbones.md lists it where it is a
difference that a user can see:

- CogVideoX: its scheduler is replaced by DDIM on the same schedule, as some folders name one that draws fresh noise.
- CogVideoX, LTX: the codec's posterior gives its mean instead of a draw (`posterior_means`).
- LTX, LTX-2, from an image: latents are given with the image's in frame 0, which these pipelines expect of them.
- LTX for conditions: its noise is replaced by ours, that of its steps too (`image_cond_noise_scale`); what its last
  step leaves of that in frame 0 is taken out again.
- LTX-2: `isolate_modalities` is forced on in each pass, so that guidance by modality adds nothing (clips have no
  sound); `stg_scale` and `guidance_rescale` are 0, which we do not do; `image_crf` changes no latents that are given.
- HunyuanVideo I2V: a negative caption is read with the image, not with a black one.
- SkyReels V2 by diffusion forcing: its noise is replaced by ours, as it fails on latents that are given; its solvers
  get copies of the latents, as the pipeline writes over those that they go on from in their second step.
- HunyuanVideo 1.5: the guider of its folder gets another scale.
"""

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
from rushes.noise.draws import seeded

SEED = 0  # of the noise on first frames
# tiny pipeline and mode -> how it is asked
CASES: list[tuple[str, str]] = [
    ("wan", "text"),
    ("wan_unipc", "text"),
    ("wan_experts", "text"),
    ("wan_i2v", "first_frame"),
    ("wan_i2v_experts", "first_frame"),
    ("wan_ti2v", "text"),
    ("wan_ti2v", "first_frame"),
    ("skyreels", "text"),
    ("skyreels_i2v", "first_frame"),
    ("skyreels_df", "text"),
    ("skyreels_df", "first_frame"),
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
    ("mochi", "text"),
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
    negative: str | None,
    frames_THWC: NDArray[np.uint8],
    steps: int,
    guidance: float,
    **more: Any,
) -> Tensor:
    """Latents that the folder's own pipeline makes from the noise, as ours are shaped and normalised."""
    return ask(load_pipeline(folder), mode, noise_BCFHW, caption, negative, frames_THWC, steps, guidance, **more)


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
    negative: str | None,
    frames_THWC: NDArray[np.uint8],
    steps: int,
    guidance: float,
    fps: float = 0.0,
    **more: Any,
) -> Tensor:
    """Latents that a pipeline makes from the noise.

    `fps` is for those that are told, 0 = the family's own; `negative` may be None, for the pipeline's own; `more` are
    further arguments of it.
    """
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
        **more,
    }
    if mode == "first_frame":
        asked["image"] = Image.fromarray(frames_THWC[0])
    if rate := TOLD_FPS.get(type(pipeline).__name__):
        argument, own = rate
        asked[argument] = fps or own
    return ASK[type(pipeline).__name__](pipeline, noise_BCFHW, asked)


def load_lora(pipeline: Any, folder: Path) -> None:
    """By the lines of docs/machine.md."""
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


def _skyreels(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    sampled: Tensor = pipeline(latents=noise.clone(), **asked).frames
    return sampled


def _skyreels_forcing(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    """It fails on given noise, and overwrites what its solver remembers."""
    from diffusers import SkyReelsV2DiffusionForcingImageToVideoPipeline, UniPCMultistepScheduler
    from diffusers.pipelines.skyreels_v2 import pipeline_skyreels_v2_diffusion_forcing as module

    if "image" in asked:
        pipeline = SkyReelsV2DiffusionForcingImageToVideoPipeline(**pipeline.components)
        pipeline.set_progress_bar_config(disable=True)
        asked["latents"] = noise.clone()
    step = UniPCMultistepScheduler.step

    def step_of_copy(solver: Any, prediction: Tensor, at: Tensor, sample: Tensor, **more: Any) -> Any:
        return step(solver, prediction, at, sample.clone(), **more)

    with (
        patched(UniPCMultistepScheduler, "step", step_of_copy),
        patched(module, "randn_tensor", lambda *_, **__: noise.clone()),
    ):
        sampled: Tensor = pipeline(**asked).frames
    return sampled


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
    latents: Tensor = made.transpose(1, 2).unflatten(2, (f, h, w))
    return latents


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
    made = pipeline(latents=noise, guidance_rescale=0.0, stg_scale=0.0, **asked).frames
    normalised: Tensor = pipeline._normalize_latents(made, *statistics)
    return normalised


def _ltx_conditions(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    """It draws the noise that it begins with, and in each step some for the first frame, which is left noisy."""
    from diffusers.pipelines.ltx import pipeline_ltx_condition as module

    image = asked.pop("image", None)
    if image is not None:
        asked["conditions"] = module.LTXVideoCondition(image=image, frame_index=0)
    packed = noise.flatten(2).transpose(1, 2).shape
    c, _, h, w = noise[0].shape
    generator = seeded("first frame", SEED)

    def draw(shape: Any, **more: Any) -> Tensor:
        if tuple(shape) != tuple(packed):
            return noise.clone()
        drawn = torch.zeros(packed)
        drawn[:, : h * w] = torch.randn(c, 1, h, w, generator=generator).flatten(1).T
        return drawn

    with posterior_means(), warnings.catch_warnings(), patched(module, "randn_tensor", draw):
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        made: Tensor = pipeline(**asked).frames
        if image is not None:
            pixels = pipeline.video_processor.preprocess(image, asked["height"], asked["width"])
            first = pipeline.vae.encode(pixels[:, :, None]).latent_dist.mode()
            first = pipeline._normalize_latents(first, pipeline.vae.latents_mean, pipeline.vae.latents_std)
            made = torch.cat([first.detach(), made[:, :, 1:]], 2)
    return made


@contextmanager
def posterior_means() -> Iterator[None]:
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    with patched(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode()):
        yield


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
    pipeline.guider = pipeline.guider.new(guidance_scale=asked.pop("guidance_scale"))
    size = {} if "image" in asked else {name: asked[name] for name in ("height", "width")}
    more = {name: value for name, value in asked.items() if name not in ("height", "width")}
    made: Tensor = pipeline(latents=noise.clone(), **size, **more).frames
    return made


def _mochi(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "In CPU autocast", UserWarning)
        sampled: Tensor = pipeline(latents=noise.clone(), **asked).frames
    return sampled


def _animatediff(pipeline: Any, noise: Tensor, asked: dict[str, Any]) -> Tensor:
    made: Tensor = pipeline(latents=noise.clone(), **asked).frames
    return made


# pipelines that are told frames per second: by which argument, and their own
TOLD_FPS = {
    "LTXPipeline": ("frame_rate", 25.0),
    "LTXConditionPipeline": ("frame_rate", 25.0),
    "LTX2Pipeline": ("frame_rate", 24.0),
    "SkyReelsV2DiffusionForcingPipeline": ("fps", 24),
}
ASK: dict[str, Callable[[Any, Tensor, dict[str, Any]], Tensor]] = {
    "WanPipeline": _wan,
    "WanImageToVideoPipeline": _wan,
    "SkyReelsV2Pipeline": _skyreels,
    "SkyReelsV2ImageToVideoPipeline": _skyreels,
    "SkyReelsV2DiffusionForcingPipeline": _skyreels_forcing,
    "CogVideoXPipeline": _cogvideox,
    "HunyuanVideoPipeline": _hunyuan,
    "HunyuanVideoImageToVideoPipeline": _hunyuan_i2v,
    "HunyuanVideo15Pipeline": _hunyuan15,
    "HunyuanVideo15ImageToVideoPipeline": _hunyuan15,
    "AnimateDiffPipeline": _animatediff,
    "MochiPipeline": _mochi,
    "LTXPipeline": _ltx,
    "LTX2Pipeline": _ltx2,
    "LTXConditionPipeline": _ltx_conditions,
    "CogVideoXImageToVideoPipeline": _cogvideox,
}
