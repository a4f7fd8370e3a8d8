"""Stages in several processes: what one process stores, whatever of them is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ..forked import run_ranks
from ..projects import Command, ReadContents, Stage

RUN = "import sys; from rushes.__main__ import run; sys.argv = arguments; run()"


def by_two(folder: Path, *arguments: object) -> str:
    """What the command printed in two processes."""
    return "".join(run_ranks(2, folder, RUN, arguments=["rushes", *map(str, arguments)]))


@pytest.mark.slow
def test_two_processes_store_what_one_does(
    stages: dict[str, Stage], tmp_path: Path, command: Command, contents: ReadContents
) -> None:
    """Guided takes of several batches, labels, latents, and takes of a finished run with what is measured of them."""
    guided = ("--set", "generate.kind=guided", "--set", "generate.batch=1")
    steps = [("generate", stages["generate"].before, guided), ("label", stages["label"].before, ())]
    steps += [("encode", stages["train"].before, ()), ("evaluate", stages["evaluate"].before, ())]
    for name, before, settings in steps:
        alone, two = tmp_path / f"{name}-1", tmp_path / f"{name}-2"
        for folder in (alone, two):
            shutil.copytree(before, folder)
        first = command(name, alone, *settings, "--json")
        assert first.code == 0, first.err
        (line,) = by_two(tmp_path, name, two, *settings, "--json").splitlines()
        ours, its = (
            {key: value for key, value in json.loads(text).items() if key != "seconds"} for text in (first.out, line)
        )
        assert {k: v for k, v in its.items() if k != "made_at"} == {k: v for k, v in ours.items() if k != "made_at"}
        assert contents(two) == contents(alone) != contents(before)
