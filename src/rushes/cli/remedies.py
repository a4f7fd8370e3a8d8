"""Commands in a message, so that they can be copied: with the project that the user typed.

Rooms that read files do not know which project they work for. They name `rushes import` or `rushes set PROJECT x=y`,
and the command line, which knows it, fills it in here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from shlex import quote

from rushes.project.settings import SETTINGS_FILE

# Commands of one project's folder, alone or before an option, which stand in a message without it.
_COMMAND = re.compile(
    r"`rushes (?P<words>(?:(?:cache|footage|labels|prompts|tune) )?[a-z][a-z-]*)(?=`| --(?!help|systems))"
)
_PLACE = re.compile(r"(?<=\s)PROJECT(?=[\s`])")
WITHOUT = {  # a project to work on
    "bench", "cache check-folder", "demo", "doctor", "init", "models", "recipes", "reproduce", "sample-size", "stop",
    "trust",
}  # fmt: skip


def project_in(arguments: Sequence[str]) -> str:
    """The project that a command line names, as it was typed; "" = none."""
    return next((text for text in arguments[1:] if os.path.isfile(os.path.join(text, SETTINGS_FILE))), "")


def with_project(words: str, project: str) -> str:
    """A message whose commands name the project; the message itself where none is known."""
    if not project:
        return words
    place = quote(project)

    def named(match: re.Match[str]) -> str:
        return match[0] if match["words"] in WITHOUT else f"{match[0]} {place}"

    return _PLACE.sub(lambda _: place, _COMMAND.sub(named, words))
