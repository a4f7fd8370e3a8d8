"""What `rushes.toml` leaves out, held beside it as it was when the project was made, so that no newer version moves it.

`rushes init` writes the few settings that a person looks at into `rushes.toml`, and all others, each with its source,
into `defaults.json`. A file with `defaults = "VERSION"` is read over these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from rushes.files import write_json
from rushes.text_reader import parse_json, read_text

HELD_FILE = "defaults.json"
VERSION = "0.1"  # of the defaults, the recipes' settings and the models' that this package has
KEY = "defaults"  # in rushes.toml, with the version of what lies beside it
INPUTS = ("train.recipe", "backbone.name")  # settings that decide what others are
DEFAULT, GIVEN = "default", "given"  # sources of a setting: Rushes itself, or whoever made the project


@dataclass(frozen=True)
class HeldDefaults:
    """All settings of a new project, and where each comes from."""

    version: str  # of the tables that they were taken from
    # Nested tables, as TOML has them. They and all changes of settings stay mappings: a few of the names of `Settings`,
    # and those of any recipe's own options.
    settings: Mapping[str, Any]
    sources: Mapping[str, str]  # by dotted path: "default", "recipe: ...", "model: ...", "given", or what decided it


def read_held(folder: Path) -> HeldDefaults:
    """What is held in a project's folder.

    Raises:
        ValueError: the file is missing, cut or of another form.
    """
    path = folder / HELD_FILE
    mend = f"copy it from a backup, or use today's defaults with `rushes set {quote(str(folder))} --upgrade`"
    if not path.is_file():
        raise ValueError(f"{path}: missing; it holds the defaults for settings that rushes.toml does not name; {mend}")
    try:
        data = parse_json(read_text(path), path)
        version, settings, sources = data["version"], data["settings"], data["sources"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: was damaged; {mend}") from None
    if not (isinstance(version, str) and isinstance(settings, dict) and isinstance(sources, dict)):
        raise ValueError(f"{path}: was damaged; {mend}")
    return HeldDefaults(version, settings, sources)


def write_held(folder: Path, held: HeldDefaults) -> None:
    """Write what is held into a project's folder."""
    write_json(folder / HELD_FILE, asdict(held))


def at(settings: Mapping[str, Any], path: str) -> Any:
    """The value that a dotted path leads to in nested tables; None where there is none."""
    value: Any = settings
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def put(settings: dict[str, Any], path: str, value: Any) -> None:
    """Put a value where a dotted path leads in nested tables, which are made where they are missing."""
    *outer, name = path.split(".")
    for part in outer:
        settings = settings.setdefault(part, {})
    settings[name] = value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables, with values of others in place; neither is changed."""
    out = dict(below)
    for name, value in above.items():
        inner = out.get(name)
        out[name] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return out
