"""Hashes of weights, remembered by path, size and time of change of their files: 28 GB take a minute to read again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rushes.files import write_json
from rushes.records import stable_hash

NAME = "weights.json"  # beside the folder of captions, in a project


def remembered(memory: Path | None, files: Iterable[Path], about: Sequence[str], compute: Callable[[], str]) -> str:
    """What `compute` makes of files, computed anew where one of them changed.

    Args:
        memory: JSON file of what was computed before; None = nothing is remembered.
        files: all that are read.
        about: what the result depends on beside them.
        compute: reads them.
    """
    if memory is None:
        return compute()
    files = sorted(files)
    key = state_of(files, about)
    if (value := _read(memory).get(key)) is not None:
        return value
    value = compute()
    if state_of(files, about) == key:  # else somebody wrote while we read
        with suppress(OSError, ValueError):  # a full disk is reported by the stage itself
            write_json(memory, _read(memory) | {key: value})
    return value


def state_of(files: Sequence[Path], about: Sequence[str]) -> str:
    """A hash of what files are, by path, size and time of change.

    Also by when a file's entry changed, which tells a copy that kept its times.
    """
    states = [(path.resolve(), path.stat()) for path in files]
    return stable_hash([*about, *([str(p), s.st_size, s.st_mtime_ns, s.st_ctime_ns] for p, s in states)])


def _read(memory: Path) -> dict[str, str]:
    """All that is remembered; nothing where the file is missing or torn, as it can be made again."""
    try:
        table = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
