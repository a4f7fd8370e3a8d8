"""What a project's settings leave out, from the table of released models; free of torch, as reading settings is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rushes.backbones.model_defaults import (
    ModelMatch,
    OwnSettingsError,
    Sourced,
    all_models,
    find_model,
    settings_of,
    shift_at,
)
from rushes.backbones.table import sizes_of_one_area
from rushes.config.tables import Settings


def with_model_defaults(settings: Settings) -> Settings:
    """The settings, in which those that were left out are the released model's own; `tiny` keeps its defaults.

    A model that is of no known family or is not at hand keeps them too: loading it says what is wrong.
    """
    return with_sizes(with_values(settings, {path: given.value for path, given in left_out(settings).items()}))


def left_out(settings: Settings) -> dict[str, Sourced]:
    """What the table has for settings of the project's model that its file and the command line leave out."""
    match = model_of(settings)
    rows = settings_of(match.model) if match else {}
    if match and _is_set(settings, "backbone.height_px") and _is_set(settings, "backbone.width_px"):
        rows["generate.shift"] = shift_at(match.model, (settings.backbone.height_px, settings.backbone.width_px))
    if settings.footage.kind == "world":  # whose clips have a rate of their own
        rows.pop("backbone.fps", None)
    return {path: row for path, row in rows.items() if not _is_set(settings, path)}


def with_sizes(settings: Settings) -> Settings:
    """The settings with sizes in the place of `backbone.sizes = "auto"`: those of the default's area."""
    size = settings.backbone
    if size.sizes != "auto":
        return settings
    sizes = sizes_of_one_area(size.name, size.height_px, size.width_px)
    return with_values(settings, {"backbone.sizes": tuple(sizes)})


def model_of(settings: Settings) -> ModelMatch | None:
    """The released model that the project is about; None for a backbone that is in no table.

    A repository that the table does not have is fetched, as it will be to be loaded.

    Raises:
        ValueError: settings in the model's folder that cannot be used.
    """
    name, path = settings.backbone.name, settings.backbone.path
    if not path or name not in {row.family for row in all_models().values()}:
        return None
    try:
        match = find_model(path)
    except OwnSettingsError:  # which loading the model would not see
        raise
    except ValueError:
        return None
    return match if match.model.family == name else None


def in_words(given: Mapping[str, Sourced], model: str) -> str:
    """One line on what was left out and taken from the table."""
    values = ", ".join(f"{path} {_short(row.value)}" for path, row in given.items())
    return f"not in the settings, so {model}'s values apply (docs/models.md): {values}"


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Settings with others in place, by their dotted paths; each table is validated.

    Raises:
        ValueError: a path or value that no table takes.
    """
    tables: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for path, value in values.items():
        table, _, key = path.partition(".")
        tables[table][key] = value
    changed = {name: _changed(getattr(settings, name), inner) for name, inner in tables.items()}
    return settings.model_copy(update=changed)


def _changed(table: Any, values: Mapping[str, Any]) -> Any:
    data = table.model_dump()
    for path, value in values.items():
        *outer, key = path.split(".")
        inner = data
        for part in outer:
            inner = inner[part]
        inner[key] = value
    return type(table).model_validate(data)


def _is_set(settings: Settings, path: str) -> bool:
    table, _, key = path.partition(".")
    return key in getattr(settings, table).model_fields_set


def _short(value: Any) -> str:
    text = str(value) if value != "" else "none"
    return text if len(text) <= 40 else f"{text[:37]}..."
