"""Stages by name. Each is a module of this room that has the stage's name and a function `make`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from rushes.config.curation import StageName
from rushes.config.tables import Settings
from rushes.curate.base import Stage


class Make(Protocol):
    """What a module of a stage has as `make`."""

    def __call__(self, settings: Settings, answers: Path) -> Stage:
        """The stage under these settings; `answers` is the file that keeps what models answered.

        Raises:
            ValueError: settings that the stage cannot work with, an EndpointError where its model cannot be asked.
        """


def make_stage(name: StageName, settings: Settings, answers: Path) -> Stage:
    """The stage of this name. Raises as its `make` does."""
    module = importlib.import_module(f"rushes.curate.{name}")
    stage = cast(Make, module.make)(settings, answers)
    assert stage.name == name, f"the stage of {module.__name__} calls itself {stage.name!r}"
    return stage
