"""Stills from an image pipeline of diffusers: what a video may start from."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rushes.backbones.folders import read_folder
from rushes.devices import default_device
from rushes.noise.draws import seeded


class StillMaker:
    """An image pipeline in a local folder; HuViDPO takes its first frames from one that was tuned by DPO."""

    def __init__(self, folder: Path) -> None:
        """Load the pipeline, on the GPU where there is one.

        Raises:
            ValueError: no folder, or not one of a pipeline that makes images of captions.
        """
        if not (folder / "model_index.json").is_file():
            raise ValueError(f"{folder}: not an image pipeline in diffusers' layout, as it has no model_index.json")
        device = default_device()
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        model = read_folder(str(folder))
        try:
            self.pipeline: Any = model.open_pipeline(dtype, ())
        except (ValueError, OSError, AttributeError) as error:
            first = str(error).splitlines()[0]
            raise ValueError(f"{folder}: not an image pipeline that diffusers can load ({first})") from error
        takes = set(inspect.signature(self.pipeline.__call__).parameters)
        if "prompt" not in takes or takes & {"image", "num_frames"}:
            raise ValueError(
                f"{folder} holds a {type(self.pipeline).__name__}, which does not make an image from a prompt alone; "
                "name the folder of a pipeline that does"
            )
        self.pipeline.to(device)
        self.pipeline.set_progress_bar_config(disable=True)

    def make(
        self, caption: str, height_px: int, width_px: int, *, steps: int, guidance: float, seed: int
    ) -> NDArray[np.uint8]:
        """An image of the caption, [H, W, 3] uint8 RGB; the same for the same seed."""
        output = self.pipeline(
            caption,
            height=height_px,
            width=width_px,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=seeded("still", seed, caption),
            output_type="np",
        )
        image: NDArray[np.uint8] = (output.images[0] * 255).round().clip(0, 255).astype(np.uint8)
        return image
