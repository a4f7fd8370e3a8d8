"""The recipes that ship in a table, without their modules: nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rushes import plugins
from rushes.backbones.table import backbone_table
from rushes.config.tables import Settings, TrainSettings
from rushes.records import OWN_TAKES, Candidate, CandidateKind
from rushes.store.database import Store


@dataclass(frozen=True)
class RecipeRow:
    """A recipe that ships."""

    name: str
    paper: str
    needs: tuple[str, ...]  # what it needs beside clips: `takes`, `labels`, ...
    backbones: tuple[str, ...]  # families that it runs on


def recipe_table() -> list[RecipeRow]:
    """Name, paper, needs and backbones of every recipe that ships."""
    backbones = backbone_table()
    rows = []
    for name in plugins.modules_of("recipes"):
        needs = recipe_needs(TrainSettings(recipe=name))
        runs_on = (b.name for b in backbones if "first_frame" not in needs or "first_frame" in b.modes)
        rows.append(RecipeRow(name, str(plugins.constant("recipes", name, "PAPER")), needs, tuple(runs_on)))
    return rows


def recipe_needs(train: TrainSettings) -> tuple[str, ...]:
    """What the recipe of some settings needs beside clips; see `_constant`."""
    where = _constant(train, "NEEDS_WHERE") or {}
    return plugins.needs_under(train.options, _constant(train, "NEEDS") or (), where)


def by_majority(train: TrainSettings) -> bool:
    """Whether the recipe of some settings takes of a pair's labels their majority alone; see `_constant`."""
    options: Mapping[str, Sequence[Any]] | None = _constant(train, "MAJORITY")
    return options is not None and all(train.options.get(name) in values for name, values in options.items())


def _constant(train: TrainSettings, name: str) -> Any:
    """What a recipe that ships assigns to a name; None for others, which say nothing before their module is loaded."""
    ships = train.recipe in plugins.modules_of("recipes")
    return plugins.constant("recipes", train.recipe, name) if ships else None


def takes_kind(settings: Settings) -> CandidateKind:
    """The kind of takes that the recipe compares."""
    needs = set(recipe_needs(settings.train))
    return "guided" if "guided" in needs else "take" if needs & OWN_TAKES else settings.generate.kind


def takes_wanted(settings: Settings) -> int:
    """Takes of each clip that the recipe is to have."""
    return max(settings.generate.takes, 2 if "labels" in recipe_needs(settings.train) else 1)


def takes_that_came(store: Store) -> list[Candidate]:
    """Takes of the project's training clips that were imported with them; videos of labelled pairs are none."""
    clips = {clip.id for clip in store.clips("train")}
    return [row for row in store.candidates(split="train", kind="imported") if row.clip_id in clips]
