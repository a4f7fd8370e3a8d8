"""A backbone by its name."""

from __future__ import annotations

import inspect

from rushes import plugins
from rushes.backbones.base import DEFAULTS, Backbone, LoadOptions
from rushes.backbones.pipeline import load_model
from rushes.backbones.table import backbone_names


def load_backbone(name: str, path: str = "", options: LoadOptions = DEFAULTS) -> Backbone:
    """The backbone that module `name` of this room (or a dotted path outside the package) loads from `path`.

    A backbone's module has a `Family`, FAMILY, or a function `load(path: str) -> Backbone`, or `load(path, options)`
    where there is something to choose; an empty path means its bundled weights.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    module = plugins.load("backbone", name, "backbones", (), backbone_names())
    if hasattr(module, "FAMILY") and not hasattr(module, "load"):
        return load_model(path, module.FAMILY, options)
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
