"""A backbone by its name."""

from __future__ import annotations

import importlib
from pathlib import Path

from rushes.backbones.base import Backbone


def load_backbone(name: str, path: str = "") -> Backbone:
    """The backbone that module `name` of this room (or a dotted path outside the package) loads from `path`.

    A backbone's module has a function `load(path: str) -> Backbone`; an empty path means its bundled weights.

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
    backbone: Backbone = module.load(path)
    return backbone


def backbone_names() -> list[str]:
    """Backbones that ship with the package: the modules of this room with a function `load`."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if "\ndef load(" in file.read_text(encoding="utf-8")]
