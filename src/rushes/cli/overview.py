"""What `rushes --help` prints: all commands in groups, by the path from footage to a result.

`commands.txt` has them in the order in which they are used: name, place in this package, and what its help begins with.
No library is imported for it, so that help comes at once.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ABOUT = "Preference optimization for video diffusion models."
EPILOGUE = (
    "Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 a failed gate, or a fault "
    "that `verify` or `doctor` found; 2 a command, setting or file that must be changed, or a full disk; 130 stopped "
    "by Ctrl-C. Run a stopped command again to continue it. With RUSHES_TRACEBACK=1 in the environment an "
    "error shows where it came from."
)
OTHER = {"--help": "This page; `rushes COMMAND --help` has a command's options.", "--version": "The version of Rushes."}


class Command(NamedTuple):
    """A command of the first level."""

    name: str
    place: str  # module and function in this package
    words: str  # what its help begins with


def groups() -> Mapping[str, list[Command]]:
    """All commands of the first level, by the title of their group."""
    text = Path(__file__).with_name("commands.txt").read_text(encoding="utf-8")
    parts = [part.splitlines() for part in text.split("\n\n")]
    return {title: [Command(*line.split(maxsplit=2)) for line in lines] for title, *lines in parts}


def overview() -> str:
    """The help of `rushes` itself, as wide as the terminal and at most 120 columns."""
    width = min(shutil.get_terminal_size((80, 24)).columns - 1, 120)
    lines = {title: [(command.name, command.words) for command in commands] for title, commands in groups().items()}
    lines["Other"] = [*OTHER.items()]
    indent = 4 + max(len(name) for rows in lines.values() for name, _ in rows)
    fill = textwrap.TextWrapper(max(width, indent + 20), subsequent_indent=" " * indent, break_on_hyphens=False).fill
    text = ["Usage: rushes COMMAND", "", ABOUT]
    for title, rows in lines.items():
        text += ["", title, *(fill(f"  {name:<{indent - 2}}{words}") for name, words in rows)]
    return "\n".join([*text, "", textwrap.fill(EPILOGUE, max(width, indent + 20), break_on_hyphens=False)])
