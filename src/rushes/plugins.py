"""Parts by their names: modules of a room of the package, or anybody's own by a dotted path."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def modules_of(room: str) -> list[str]:
    """Names of the modules of `rushes.ROOM`, sorted; nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / room)]))


def constant(room: str, name: str, constant: str) -> Any:
    """A literal that the module `rushes.ROOM.NAME` assigns to a name, read from its text; None where it has none."""
    tree = ast.parse((Path(__file__).parent / room / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
                return ast.literal_eval(node.value)
    return None


def toml_table(room: str, name: str) -> dict[str, Any]:
    """What a file of TOML beside the modules of `rushes.ROOM` holds."""
    return tomllib.loads((Path(__file__).parent / room / name).read_text(encoding="utf-8"))


def needs_under(
    options: Mapping[str, Any], usual: Sequence[str], where: Mapping[tuple[str, Any], Sequence[str]]
) -> tuple[str, ...]:
    """What a part needs under its options: that of `where` whose option has its value, else the usual."""
    return tuple(next((needs for (name, value), needs in where.items() if options.get(name) == value), usual))


def load(kind: str, name: str, room: str, required: Sequence[str], names: Sequence[str] = ()) -> Any:
    """The module `name` of `rushes.ROOM`, or of a dotted path outside the package, which has all that is `required`.

    Args:
        kind: what such a module is called in messages, as "recipe".
        names: those that ship, for the message; empty = all modules of the room.

    Raises:
        ValueError: no such module, or it lacks a part.
        ModuleNotFoundError: the module is there, and imports another that is not.
    """
    path = name if "." in name else f"rushes.{room}.{name}"
    shipped = ", ".join(names or modules_of(room))
    unknown = ValueError(f"no {kind} {name!r}: there are {shipped}, or give a module's dotted path")
    if name.startswith("."):  # a file's path, which importlib takes for a relative import
        raise unknown
    try:
        module: ModuleType = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path and not path.startswith(f"{error.name}."):
            raise
        raise unknown from None
    missing = [part for part in required if not hasattr(module, part)]
    if missing:
        raise ValueError(f"module {path} is not a {kind}: it lacks {', '.join(missing)}")
    return module
