"""What all settings tables have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from rushes.trust import ADDRESS, KEY, MODULE

FOLDER = "folder"  # marks a string that names a folder: relative ones are resolved when the settings are loaded
Folder = Annotated[str, FOLDER]
# What only the user chooses, and no file from elsewhere: see `rushes.trust`.
Module = Annotated[str, MODULE]
Address = Annotated[str, ADDRESS]
KeyVariable = Annotated[str, KEY]


class SettingsTable(BaseModel):
    """Base of every settings table: frozen, unknown names refused, no conversion between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
