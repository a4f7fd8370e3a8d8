"""The command line: all its commands in groups, by the path from footage to a result, and names that some had before.

`commands.txt` has them in the order in which they are used: name, place in this package, and what its help begins with.
A command's module is imported when it runs, so that help comes at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cyclopts import App, Group

import rushes

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
    help="Preference optimization for video diffusion models.",
    help_epilogue=(
        "Results go to standard output, all else to standard error. Exit codes: 0 done; 1 a gate that was not passed, "
        "or a fault that `verify` or `doctor` names; 2 a command, a setting or a file that must be changed, or a full "
        "disk; 130 stopped by Ctrl-C. Run a stopped command again to continue it. With RUSHES_TRACEBACK=1 in the "
        "environment an error shows where it came from."
    ),
    version=rushes.__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
GROUPS: dict[str, list[str]] = {}  # title -> names of commands; docs/commands.md is written from it
for place, part in enumerate(Path(__file__).with_name("commands.txt").read_text(encoding="utf-8").split("\n\n")):
    title, *lines = part.splitlines()
    group, GROUPS[title] = Group(title, sort_key=place), [line.split()[0] for line in lines]
    for number, (name, where, words) in enumerate(line.split(maxsplit=2) for line in lines):
        app.command(f"rushes.cli.{where}", name=name, help=words, group=group, sort_key=number)
app.group_commands = Group("Other", sort_key=len(GROUPS))  # `--help` and `--version`


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
