"""SkyReels V2, from text, from an image, and by diffusion forcing (arXiv 2504.13074).

Wan 2.1's codec, text encoder and network; rectified flow; the network is told 1000 t. The models from an image see it
as Wan 2.1 I2V does. Those of diffusion forcing were trained with a noise level for each latent frame, are told one for
each, and take a clean first frame in latent frame 0, at time 0. All other frames have one level here, as in the
pipeline's synchronous mode, its default; long clips out of overlapping windows and the asynchronous mode are not done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from rushes.backbones import wan
from rushes.backbones.base import BackboneSpec, Condition, LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone

FORCING = "SkyReelsV2DiffusionForcingPipeline"


def spec(folder: Folder, options: LoadOptions) -> BackboneSpec:
    """Facts of the variant that the folder holds.

    Raises:
        ValueError: a network that is shown a last frame too.
    """
    facts = wan.spec(folder, options)
    asked = options.fps if folder.config("transformer").get("inject_sample_info") else None  # the others are told none
    modes = ("text", "first_frame") if folder.pipeline == FORCING else facts.modes
    return replace(facts, name="skyreels", modes=modes, fps=asked or 24.0)


def predict(network: Any, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition, model: DiffusersBackbone) -> Tensor:
    """Velocity, noise - clean."""
    if model.folder.pipeline != FORCING:
        return wan.predict(network, noised_BCFHW, t_BF, condition, model)
    prediction: Tensor = network(
        noised_BCFHW,
        1000 * t_BF,
        condition.text,
        enable_diffusion_forcing=True,
        fps=[0 if model.spec.fps == 16 else 1],  # of the whole batch: with one for each row diffusers fails
        return_dict=False,
    )[0]
    return prediction


FAMILY = replace(
    wan.FAMILY,
    name="skyreels",
    pipelines=("SkyReelsV2Pipeline", "SkyReelsV2ImageToVideoPipeline", FORCING),
    spec=spec,
    predict=predict,
    networks=("transformer",),
)
