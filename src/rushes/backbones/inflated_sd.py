"""Any Stable Diffusion 1.x folder as a video model: HuViDPO's backbone (arXiv 2502.01690), see `inflation`.

Noise is predicted (or v, where the folder says so) on the folder's own schedule, frame by frame of one codec: a latent
frame is one pixel frame. A given first frame stands clean in latent frame 0, which is neither scored nor ever noised;
all frames of a clip share one time step, the given one too, as published. Latents are the mean of the codec's
posterior; the authors draw from it.

A model that was saved is a Stable Diffusion folder too, with what was added to it beside the UNet's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import diffusers
from torch import Tensor, nn

from rushes.backbones import animatediff
from rushes.backbones.base import DEFAULTS, BackboneSpec, Condition, LoadOptions
from rushes.backbones.folders import Folder, open_folder
from rushes.backbones.inflation import MOTION, VideoUNet
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.schedules import noise_schedule, training_steps


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the model.

    Raises:
        ValueError: a UNet that needs more than latents, a time and a caption, as those of XL or for inpainting do.
    """
    network, codec = folder.config("unet"), folder.config("vae")
    channels = codec["latent_channels"]
    if network["in_channels"] != channels or network.get("addition_embed_type") or network.get("class_embed_type"):
        raise ValueError(
            f"{folder.path / 'unet'}: not the UNet of a plain Stable Diffusion 1.x model (inputs: {channels} channels, "
            "a time and a caption); set backbone.path to the folder of one"
        )
    return BackboneSpec(
        name="inflated_sd",
        modes=("text", "first_frame"),
        **noise_schedule(folder, diffusers.DDIMScheduler),
        channels=channels,
        temporal_ratio=1,
        spatial_ratio=2 ** (len(codec["block_out_channels"]) - 1),
        fps=8.0,
        lora_targets=("to_q", "to_k", "to_v", "to_out.0"),
        tunable={"motion": MOTION},
    )


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """The noise, or v. The time is that of the frames that are noised."""
    prediction: Tensor = network(noised_BCFHW, training_steps(model.spec, t_BF.amax(1)), condition.text)
    return prediction


FAMILY = replace(  # text encoder and codec are those of Stable Diffusion 1.x
    animatediff.FAMILY, name="inflated_sd", pipelines=("StableDiffusionPipeline",), spec=spec, predict=predict, idle=()
)


class InflatedSD(DiffusersBackbone):
    """An image model whose network is inflated when it is first needed."""

    as_it_is = False

    @cached_property
    def network(self) -> nn.Module:
        """The video UNet, with the weights that were added to a saved one."""
        image: Any = self._load("unet", self.dtype)
        network = VideoUNet(image).to(self.device, self.dtype)
        network.load_added(self.folder.path / "unet")
        if self.options.checkpointing:
            network.enable_gradient_checkpointing()
        return network.eval().requires_grad_(False)

    def reader(self, without: Sequence[str] = ()) -> Any:
        """A pipeline that reads captions: the text encoder alone."""
        idle = ("vae", "unet", "safety_checker", "feature_extractor", *without)
        pipeline = self.folder.open_pipeline(self.reading_dtype, idle, requires_safety_checker=False)
        pipeline.text_encoder.eval().requires_grad_(False)
        return pipeline.to(self.device)


def load(path: str, options: LoadOptions = DEFAULTS) -> InflatedSD:
    """The model at `path`: a Stable Diffusion 1.x folder in diffusers' layout or `hub:OWNER/NAME`, or a saved one.

    Raises:
        ValueError: see `open_folder`; a network that is to be held in few bits, what is added to it among them.
    """
    if options.offload:
        raise ValueError("backbone.offload: 'inflated_sd' is small, and offloading is not supported; set it to false")
    if options.quantize != "none":
        raise ValueError(
            f"backbone.quantize: 'inflated_sd' cannot be quantized to {options.quantize}, because its added layers are "
            "trained; set it to none"
        )
    return InflatedSD(open_folder(path, FAMILY.name, FAMILY.pipelines), FAMILY, options)
