"""The command line: all its commands in their groups, and names that some had before.

A command's module is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError, UnusedCliTokensError, ValidationError

import rushes
from rushes.cli.overview import ABOUT, groups

FORMER: Mapping[str, str] = {  # read until the version that `config.renamed` names
    "backbones": "models",
    "bank": "cache reference",
    "beta": "tune beta",
    "caption": "wrong-captions",
    "eta": "tune eta",
    "leak": "check-shortcuts",
    "power": "sample-size",
    "still": "prompts add",
}
app = App(
    name="rushes",
    help=ABOUT,
    version=rushes.__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative_bool=()),  # an option that is off has no other form, unless it says so
)
for commands in groups().values():
    for command in commands:
        app.command(f"rushes.cli.{command.place}", name=command.name, help=command.words)


def with_current_command(arguments: Sequence[str]) -> Sequence[str]:
    """A command line whose command goes by its current name; a former one is reported on standard error."""
    if not arguments or arguments[0] not in FORMER:
        return arguments
    from rushes.config.renamed import UNTIL

    old, new = arguments[0], FORMER[arguments[0]]
    if old == "caption" and not {"--wrong", "--help"}.intersection(arguments):
        raise ValueError(
            "caption wrote wrong captions and is now `rushes wrong-captions PROJECT`; `rushes captions PROJECT --by "
            "vlm | names | human` writes those that clips lack"
        )
    if "RANK" not in os.environ:  # of several processes the one that starts the others
        print(f"rushes: `rushes {old}` is now `rushes {new}`; the old name is read until {UNTIL}", file=sys.stderr)
    return [*new.split(), *(text for text in arguments[1:] if (old, text) != ("caption", "--wrong"))]


def in_a_line(error: CycloptsError) -> str:
    """What is wrong with a command's words, and where its help is."""
    if isinstance(error, ValidationError) and error.argument is not None:
        given = " ".join(token.value for token in error.argument.tokens)
        words = f"{error.argument.name}: {error.exception_message}, not {given}"
    elif isinstance(error, UnusedCliTokensError):
        words = f"{', '.join(map(repr, error.unused_tokens or ()))}: more than the command takes"
        if (error.command_chain or ("",))[0] == "campaign":
            words += "; between people's names are commas, as in --people ada,bob"
    elif isinstance(error, UnknownCommandError):
        words = " ".join(str(error).split()).partition(" Available commands")[0].rstrip(".")
    else:
        words = " ".join(str(error).split()).rstrip(".")
    return f"{words}; see `{' '.join(('rushes', *(error.command_chain or ())))} --help`"
