"""The model that settings name, fresh, and which of its weights a run with them trains."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Backbone, Precision
from rushes.backbones.loading import load_backbone
from rushes.backbones.offload import check_trains_offloaded, settle
from rushes.config.tables import BackboneSettings, Settings, TrainSettings
from rushes.generate import load_options

TEXTS = "texts"


def load_model(
    size: BackboneSettings, project: Path | None = None, dtype: Precision | None = None, parked: bool = False
) -> Backbone:
    """A fresh copy of the model that the `[backbone]` settings name.

    Args:
        size: those settings.
        project: folder of the project in which what captions are read as is kept; None = nowhere.
        dtype: in place of the settings', see `precision_of`.
        parked: its network stays in main memory until `brought`.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    options = replace(
        load_options(size, dtype or size.dtype),
        attention=size.attention,
        compile=size.compile,
        parked=parked,
        texts=project / TEXTS if project else None,
        decode_timestep=size.decode_timestep,
        decode_noise_scale=size.decode_noise_scale if size.decode_noise_scale >= 0 else None,
    )
    return load_backbone(size.name, size.path, options)


def make_trainable(backbone: Backbone, settings: TrainSettings) -> None:
    """Let the weights that are trained require gradients, and no others; in place.

    These are a fresh adapter's, all, or a group that the backbone names; of two experts those of both or of one.
    """
    if settings.trainable == "lora":
        add_lora(backbone.network, backbone.spec.lora_targets, settings.lora_rank, settings.lora_alpha)
    else:
        patterns = {"full": ("*",), **backbone.spec.tunable}[settings.trainable]
        for name, p in backbone.network.named_parameters():
            p.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
    train_expert(backbone, settings)
    settle(backbone.network)


def train_expert(backbone: Backbone, settings: TrainSettings) -> None:
    """Keep trainable the weights of the expert that `[train]` names alone; in place."""
    for name, p in backbone.network.named_parameters():
        if settings.expert != "both" and not name.startswith(f"{settings.expert}."):
            p.requires_grad_(False)


def check_offload(settings: Settings) -> None:
    """Refuse to train a network whose blocks leave the GPU where that cannot be.

    Raises:
        ValueError: see `rushes.backbones.offload.check_trains_offloaded`.
    """
    size, train = settings.backbone, settings.train
    check_trains_offloaded(size.name, size.offload, size.gradient_checkpointing, train.trainable, train.parallel)
