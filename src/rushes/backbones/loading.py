"""A backbone by its name."""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.backbones.base import DEFAULTS, Backbone, LoadOptions


def load_backbone(name: str, path: str = "", how: LoadOptions = DEFAULTS) -> Backbone:
    """The backbone that module `name` of this room (or a dotted path outside the package) loads from `path`.

    A backbone's module has a function `load(path: str) -> Backbone`, or `load(path, how)` where there is something to
    choose; an empty path means its bundled weights.

    Raises:
        ValueError: no such backbone, or weights that it cannot read.
    """
    module_name = name if "." in name else f"rushes.backbones.{name}"
    unknown = ValueError(
        f"no backbone {name!r}: there is {', '.join(backbone_names())}, or give a module's dotted path"
    )
    if name.startswith("."):  # a file's path, which importlib takes for a relative import
        raise unknown
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name and not module_name.startswith(f"{error.name}."):
            raise
        raise unknown from None
    if not hasattr(module, "load"):
        raise ValueError(f"module {module_name} is not a backbone: it has no function load(path)")
    chooses = len(inspect.signature(module.load).parameters) > 1
    if how.offload and not chooses:
        raise ValueError(f"backbone.offload: {name!r} has no blocks that could come one by one; set it to false")
    if how.quantize != "none" and not chooses:
        raise ValueError(f"backbone.quantize: {name!r} is not held in {how.quantize}; set it to none")
    backbone: Backbone = module.load(path, how) if chooses else module.load(path)
    return backbone


def backbone_names() -> list[str]:
    """Backbones that ship with the package: the modules of this room with a function `load`."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if "\ndef load(" in file.read_text(encoding="utf-8")]


@dataclass(frozen=True)
class BackboneRow:
    """A family of video models."""

    name: str
    modes: tuple[str, ...]  # what clips are made from: `text`, `first_frame`
    path: str  # what the network predicts along
    temporal_ratio: int  # frames per latent frame
    spatial_ratio: int  # pixels per latent, each way
    fps: float  # frames a second


def backbone_table() -> list[BackboneRow]:
    """Name, modes, path, frames and pixels per latent, and fps of every backbone that ships.

    They stand as `ABOUT` in each module, and are read out of its text: importing them all takes seconds.
    """
    about = {name: _about(Path(__file__).with_name(f"{name}.py")) for name in backbone_names()}
    return [BackboneRow(**{"name": name, **row, "modes": tuple(row["modes"])}) for name, row in about.items()]


def _about(module: Path) -> dict[str, Any]:
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ABOUT":
            found: dict[str, Any] = ast.literal_eval(node.value)
            return found
    raise AssertionError(f"{module} says nothing about itself")
