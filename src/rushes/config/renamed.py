"""Names that settings had before: read for one version, and part of digests for as long as there are projects."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from importlib import resources
from typing import Any

UNTIL = "0.2"  # the version that no longer reads them
_TABLE = tomllib.loads(resources.files("rushes.config").joinpath("renamed.toml").read_text("utf-8"))
NAMES: Mapping[str, str] = _TABLE["names"]
VALUES: Mapping[str, Mapping[str, str]] = _TABLE["values"]
# From the options of recipes that ship into [train], where all recipes have them; digests are of the new place.
MOVED = {f"train.options.{name}": f"train.{name}" for name in ("times", "t_low", "t_high")}

# Settings that came later, with the value that does what was done before: at it they are part of no digest.
LATER: Mapping[str, object] = {
    "train.probe_every": 0,
    "train.activations": "keep",
    "train.optimizer": "adamw",
    "backbone.chunk_size_feed_forward": 0,
    "backbone.text_quantize": "none",
    "backbone.text_offload": False,
    "backbone.attention": "",
    "backbone.compile": False,
}


def with_names_of_today(data: Mapping[str, Any], recipe: str = "") -> tuple[dict[str, Any], list[str]]:
    """Settings under the names of today, and a phrase on each that had another, such as "train.lr is now ...".

    Args:
        data: nested tables, as TOML has them; not changed.
        recipe: that they are for; the options of one outside the package, a dotted path, stay as they are.

    Raises ValueError: a setting under both names.
    """
    out = deepcopy(dict(data))
    phrases = []
    for old, new in {**NAMES, **({} if "." in recipe else MOVED)}.items():
        table, name = _table(out, old)
        if name not in table:
            continue
        target, new_name = _table(out, new)
        if new_name in target:
            raise ValueError(f"{old} is now {new}, and both are given; remove {old}")
        target[new_name] = table.pop(name)
        phrases.append(f"{old} is now {new}")
    for path, values in VALUES.items():
        table, name = _table(out, path)
        value = table.get(name)
        if isinstance(value, str) and value in values:
            table[name] = values[value]
            phrases.append(f'{path} "{value}" is now "{values[value]}"')
    return out, phrases


def with_first_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names, and with the values, that each had first: a digest of them outlives a change of names.

    `data`, nested tables under the names of today, is not changed.
    """
    out = deepcopy(dict(data))
    for path, before in LATER.items():
        table, name = _table(out, path)
        if name in table and table[name] == before:
            del table[name]
    for path, values in VALUES.items():
        table, name = _table(out, path)
        if name in table:
            table[name] = {new: old for old, new in values.items()}.get(table[name], table[name])
    for old, new in NAMES.items():
        table, name = _table(out, new)
        if name in table:
            _table(out, old)[0][old.rpartition(".")[2]] = table.pop(name)
    return out


def _table(data: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The table that a dotted path leads to, an empty one where there is none, and the path's last name."""
    *outer, name = path.split(".")
    table: Any = data
    for part in outer:
        table = table.get(part, {}) if isinstance(table, dict) else {}
    return (table if isinstance(table, dict) else {}), name
