"""A backbone by its name."""

from __future__ import annotations

import inspect
from typing import Any

from rushes import plugins
from rushes.backbones.base import DEFAULTS, Backbone, LoadOptions

_BOTH = ("text", "first_frame")
_COLUMNS = ("name", "modes", "path", "temporal_ratio", "spatial_ratio", "fps")
_BACKBONES = (  # written down, as to import them all takes seconds
    ("animatediff", ("text",), "noise", 1, 8, 8.0),
    ("cogvideox", _BOTH, "v", 4, 8, 8.0),
    ("hunyuan", _BOTH, "flow", 4, 8, 24.0),
    ("hunyuan15", _BOTH, "flow", 4, 16, 24.0),
    ("inflated_sd", _BOTH, "noise", 1, 8, 8.0),
    ("ltx", _BOTH, "flow", 8, 32, 25.0),
    ("ltx2", _BOTH, "flow", 8, 32, 24.0),
    ("tiny", _BOTH, "flow", 4, 8, 8.0),
    ("wan", _BOTH, "flow", 4, 8, 16.0),
)


def load_backbone(name: str, path: str = "", how: LoadOptions = DEFAULTS) -> Backbone:
    """The backbone that module `name` of this room (or a dotted path outside the package) loads from `path`.

    A backbone's module has a function `load(path: str) -> Backbone`, or `load(path, how)` where there is something to
    choose; an empty path means its bundled weights.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    load = plugins.load("backbone", name, "backbones", ("load",), backbone_names()).load
    chooses = len(inspect.signature(load).parameters) > 1
    if how.offload and not chooses:
        raise ValueError(f"backbone.offload: {name!r} has no blocks that could come one by one; set it to false")
    if how.quantize != "none" and not chooses:
        raise ValueError(f"backbone.quantize: {name!r} is not held in {how.quantize}; set it to none")
    backbone: Backbone = load(path, how) if chooses else load(path)
    return backbone


def backbone_names() -> list[str]:
    """Backbones that ship with the package."""
    return [row[0] for row in _BACKBONES]


def backbone_table() -> list[dict[str, Any]]:
    """Name, modes, path, frames and pixels per latent, and fps of every backbone that ships."""
    return [dict(zip(_COLUMNS, (name, list(modes), *rest), strict=True)) for name, modes, *rest in _BACKBONES]
