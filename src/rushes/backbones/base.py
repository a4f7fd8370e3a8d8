"""What every stage may ask of a video model. Implementations live beside this file, one per model family.

Shapes: B batch, T pixel frames, C latent channels, F latent frames, H, W latent height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rushes.noise.paths import NoisePath


@dataclass(frozen=True)
class BackboneSpec:
    """Facts of a model that the rest of the program needs."""

    name: str
    modes: tuple[str, ...]  # "text", "first_frame"
    path: NoisePath
    channels: int
    temporal_ratio: int  # pixel frames per latent frame; latent frame 0 holds one pixel frame
    spatial_ratio: int
    fps: float
    shift: float  # of its sampling schedule
    lora_targets: tuple[str, ...]  # names of the linear layers that adapters go into

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of `frames` pixel frames.

        Raises:
            ValueError: the codec cannot take that number.
        """
        if frames < 1 or (frames - 1) % self.temporal_ratio:
            low = 1 + (max(frames, 1) - 1) // self.temporal_ratio * self.temporal_ratio
            raise ValueError(
                f"{self.name} takes 1 + {self.temporal_ratio} k frames, got {frames}; "
                f"use {low} or {low + self.temporal_ratio}"
            )
        return 1 + (frames - 1) // self.temporal_ratio

    def check_size(self, height_px: int, width_px: int) -> None:
        """Refuse sizes that the codec cannot take.

        Raises:
            ValueError: not a positive multiple of the spatial ratio.
        """
        if min(height_px, width_px) < 1 or height_px % self.spatial_ratio or width_px % self.spatial_ratio:
            raise ValueError(
                f"{self.name} takes heights and widths that are multiples of {self.spatial_ratio} px, "
                f"got {height_px} x {width_px}"
            )


@dataclass(frozen=True)
class Condition:
    """What a prediction is conditioned on, ready for the network.

    `first_frame` holds clean latents [B, C, 1, H, W] of latent frame 0, or None; where it is given, latent frame 0 is
    never noised and never scored.
    """

    text: Tensor
    first_frame: Tensor | None = None

    def __getitem__(self, rows: Any) -> Condition:
        return Condition(self.text[rows], None if self.first_frame is None else self.first_frame[rows])


class Backbone(Protocol):
    """A video model: codec, conditioning and network."""

    spec: BackboneSpec
    network: nn.Module  # holds the trainable weights and no others

    @property
    def fingerprint(self) -> str:
        """Hash of the weights as they are now."""
        ...

    @property
    def codec_fingerprint(self) -> str:
        """Hash of the codec's weights: what latents depend on."""
        ...

    def encode(self, frames_BTHWC: NDArray[np.uint8]) -> Tensor:
        """uint8 RGB frames -> latents_BCFHW, normalised as the network expects them."""
        ...

    def decode(self, latents_BCFHW: Tensor) -> NDArray[np.uint8]:
        """Latents -> uint8 RGB frames [B, T, H, W, 3]."""
        ...

    def condition(self, captions: Sequence[str], first_frame_BCHW: Tensor | None = None) -> Condition:
        """Captions (empty string = unconditional) and clean first-frame latents -> condition."""
        ...

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        """The network's prediction of the path's target, with gradients where they are enabled."""
        ...

    def save(self, path: Path) -> None:
        """Write codec and network where `load` of its module reads them."""
        ...
