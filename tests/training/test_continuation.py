"""Which runs go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.training.continuation import ATTENTION, COMPILED, RunIdentity, check_continuation
from rushes.training.loop import learning_rate


@pytest.mark.parametrize(
    ("began", "now", "goes_on"), [(None, False, True), (None, True, False), (True, False, False), (True, True, True)]
)
def test_a_run_goes_on_with_blocks_compiled_or_not_as_it_began(began: bool | None, now: bool, goes_on: bool) -> None:
    """None: a run from before there was the switch."""
    train = {"steps": 4}
    others = {"project.seed": 0} | ({} if began is None else {COMPILED: began})
    facts = RunIdentity("then", train, others).facts()
    identity = RunIdentity("now", train, {"project.seed": 0, COMPILED: now})
    if goes_on:
        check_continuation(Path("run"), facts, 2, identity, learning_rate)
        return
    with pytest.raises(ValueError, match=r"run holds a run with other settings or data: backbone\.compile was "):
        check_continuation(Path("run"), facts, 2, identity, learning_rate)


def test_a_run_goes_on_with_the_attention_that_it_began_with() -> None:
    train, then = {"steps": 4}, RunIdentity("then", {"steps": 4}, {"project.seed": 0}).facts()
    check_continuation(Path("run"), then, 2, RunIdentity("now", train, {ATTENTION: ""}), learning_rate)
    other = RunIdentity("now", train, {ATTENTION: "_native_math"})
    with pytest.raises(ValueError, match=r"backbone\.attention was  and is _native_math"):
        check_continuation(Path("run"), then, 2, other, learning_rate)
