"""What all settings tables have in common."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from rushes.text_reader import without_password
from rushes.trust import ADDRESS, KEY, MODULE

FOLDER = "folder"  # marks a string that names a folder: relative ones are resolved when the settings are loaded
FolderPath = Annotated[str, FOLDER]
MOST_OF_TEXT = 10_000  # characters of a text in settings: paths have 4096 at most, negative prompts some hundreds
# What only the user chooses, and no file from elsewhere: see `rushes.trust`.
Module = Annotated[str, MODULE]
# What looks as keys do, and not as names of variables do: hf_..., AKIA..., or 24 signs with small letters and digits.
_KEY = re.compile(r"[a-z]\w{1,5}_\w{20,}|A(KIA|Iza)\w{16,}|(?=\w*\d)(?=\w*[a-z])\w{24,}|\w{65,}")


class SecretError(ValueError):
    """A setting whose value may be a secret, so that no message shows it."""


def _without_secret(url: str) -> str:
    if without_password(url) != url:
        raise SecretError(
            "the address holds a password or a key, and settings are stored and shared; remove it, and set key_env to "
            "the name of an environment variable that holds it"
        )
    return url


def may_be_key(name: str) -> bool:
    """Whether what stands in place of a variable's name is no such name, and so perhaps the key itself."""
    return bool(name) and (not re.fullmatch(r"[A-Za-z_]\w*", name) or bool(_KEY.fullmatch(name)))


def _a_variable(name: str) -> str:
    if may_be_key(name):
        raise SecretError(
            "this is not the name of an environment variable, and may be the key itself, so it is not shown; put the "
            "key into a variable, and set key_env to its name, such as MODELS_KEY"
        )
    return name


Address = Annotated[str, ADDRESS, AfterValidator(_without_secret)]
KeyVariable = Annotated[str, KEY, AfterValidator(_a_variable)]


class SettingsTable(BaseModel):
    """Base of every settings table: frozen, unknown names refused, no conversion between types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=MOST_OF_TEXT
    )
