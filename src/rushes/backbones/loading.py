"""A backbone by its name, or as the `[backbone]` settings have it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

from rushes import plugins
from rushes.backbones import pipeline
from rushes.backbones.base import DEFAULTS, Backbone, LoadOptions, Precision
from rushes.backbones.table import backbone_names
from rushes.backbones.tiling import tiled
from rushes.config.tables import BackboneSettings


def load_backbone(name: str, path: str = "", options: LoadOptions = DEFAULTS) -> Backbone:
    """The backbone that module `name` of this room (or a dotted path outside the package) loads from `path`.

    A backbone's module has a `Family`, FAMILY, or a function `load(path: str) -> Backbone`, or `load(path, options)`
    where there is something to choose; an empty path means its bundled weights.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    module = plugins.load("backbone", name, "backbones", (), backbone_names())
    if hasattr(module, "FAMILY") and not hasattr(module, "load"):
        return pipeline.load_model(path, module.FAMILY, options)
    load = plugins.load("backbone", name, "backbones", ("load",)).load
    chooses = len(inspect.signature(load).parameters) > 1
    if options.offload and not chooses:
        raise ValueError(f"backbone.offload: {name!r} has no blocks that could be moved one by one; set it to false")
    if options.quantize != "none" and not chooses:
        raise ValueError(f"backbone.quantize: {name!r} cannot be quantized to {options.quantize}; set it to none")
    if (options.attention or options.compile) and not chooses:
        setting = "attention" if options.attention else "compile"
        raise ValueError(f"backbone.{setting}: {name!r} is not a diffusers network; leave the setting out")
    backbone: Backbone = load(path, options) if chooses else load(path)
    return backbone


def load_model(
    size: BackboneSettings, texts: Path | None = None, dtype: Precision | None = None, parked: bool = False
) -> Backbone:
    """A fresh copy of the model that the `[backbone]` settings name.

    Args:
        size: those settings.
        texts: folder in which what captions are read as is kept; None = nowhere.
        dtype: in place of the settings', see `trained_precision`.
        parked: its network stays in main memory until it is brought to where it works.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    options = replace(
        load_options(size, dtype or size.dtype),
        attention=size.attention,
        compile=size.compile,
        parked=parked,
        texts=texts,
        decode_timestep=size.decode_timestep,
        decode_noise_scale=size.decode_noise_scale if size.decode_noise_scale >= 0 else None,
    )
    return load_backbone(size.name, size.path, options)


def load_options(size: BackboneSettings, dtype: Precision) -> LoadOptions:
    """How a model is held in memory; what else the settings ask of it costs none."""
    return LoadOptions(
        dtype,
        size.gradient_checkpointing,
        tiled(size),
        fps=size.fps,
        quantize=size.quantize,
        offload=size.offload,
        feed_forward_chunk=size.chunk_size_feed_forward,
        text_quantize=size.text_quantize,
        text_offload=size.text_offload,
    )
