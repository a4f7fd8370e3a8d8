"""All names of commands, in groups by the path from footage to a result, and the names that some had before."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from cyclopts import App, Group

from rushes.config.renamed import UNTIL

GROUPS: Mapping[str, tuple[str, ...]] = {  # in the order in which they are used; docs/commands.md is written from it
    "Start": ("demo", "init", "settings", "set", "run", "status", "studio", "doctor"),
    "Footage": ("preflight", "import", "curate", "review", "card", "footage"),
    "Takes": ("captions", "prompts", "generate", "wrong-captions"),
    "Labels": ("label", "campaign", "labels", "judges"),
    "Training": ("recipes", "models", "plan", "train", "health"),
    "Results": ("evaluate", "vote", "report", "compare", "stop", "export"),
    "Advanced": ("tune", "check-shortcuts", "encode", "cache", "sample-size", "bench", "reproduce"),
    "Upkeep": ("verify", "space", "clean", "backup", "trust"),
}
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


def arrange(app: App) -> None:
    """Put the commands of an app into the groups; one that is in none stays with `--help`, behind them."""
    app.group_commands = Group("Other", sort_key=len(GROUPS))
    for place, (title, names) in enumerate(GROUPS.items()):
        group = Group(title, sort_key=place)
        for number, name in enumerate(names):
            if name in app:
                command = app[name]
                command.group, command.sort_key = group, number


def with_current_command(arguments: Sequence[str]) -> Sequence[str]:
    """A command line whose command goes by its current name; a former one is reported on standard error."""
    if not arguments or arguments[0] not in FORMER:
        return arguments
    old, new = arguments[0], FORMER[arguments[0]]
    if old == "caption" and not {"--wrong", "--help"}.intersection(arguments):
        raise ValueError(
            "caption wrote wrong captions and is now `rushes wrong-captions PROJECT`; `rushes captions PROJECT --by "
            "vlm | names | human` writes those that clips lack"
        )
    if "RANK" not in os.environ:  # of several processes the one that starts the others
        print(f"rushes: `rushes {old}` is now `rushes {new}`; the old name is read until {UNTIL}", file=sys.stderr)
    return [*new.split(), *(text for text in arguments[1:] if (old, text) != ("caption", "--wrong"))]
