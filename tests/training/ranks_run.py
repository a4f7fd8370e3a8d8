"""A training run in several processes of torchrun's: ranks_run.py FOLDER STEPS replicate|shard joint|auto|... [data]"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from rushes.config.tables import TrainSettings
from rushes.training.loop import train
from rushes.training.parallel import joined, whole

spec = importlib.util.spec_from_file_location("workshop", Path(__file__).with_name("conftest.py"))
assert spec is not None and spec.loader is not None
workshop = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workshop)


def main(folder: Path, steps: int, parallel: str, gradients: str, data: str = "uneven_data") -> None:
    """Train, or go on, on comparisons with ties, labels per segment and unequal numbers of views."""
    torch.set_num_threads(1)
    settings = TrainSettings.model_validate(dict(
        steps=steps, batch=5, learning_rate=1e-3, checkpoint_every=2, reference="ema", reference_ema=0.9,
        warmup_steps=0, lr_scheduler="constant", max_grad_norm=0.5, parallel=parallel,
        gradients=gradients, weights_ema=0.9, caption_dropout=0.3,
    ))  # fmt: skip
    with joined() as ranks:
        if ranks.first and not (folder / "latents").exists():
            getattr(workshop, data)(folder)
        ranks.wait()
        backbone = workshop.small_backbone(seed=ranks.rank)  # the first one's weights count
        train(backbone, getattr(workshop, data)(folder), settings, folder, seed=0, identity="ranks", ranks=ranks)
        written = {name: whole(p.detach()).contiguous() for name, p in backbone.network.named_parameters()}
        if ranks.first:
            save_file(written, folder / "weights.safetensors")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
