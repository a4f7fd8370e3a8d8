"""The recipes that ship in a table, without their modules: nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from rushes import plugins
from rushes.backbones.table import backbone_table
from rushes.records import Candidate
from rushes.store.database import Store


@dataclass(frozen=True)
class RecipeRow:
    """A recipe that ships."""

    name: str
    paper: str
    needs: tuple[str, ...]  # beside clips: `takes`, `labels`, ...
    backbones: tuple[str, ...]  # families that it runs on


def recipe_table() -> list[RecipeRow]:
    """Name, paper, needs and backbones of every recipe that ships."""
    backbones = backbone_table()
    rows = []
    for name in plugins.modules_of("recipes"):
        needs = recipe_needs(name)
        runs_on = (b.name for b in backbones if "first_frame" not in needs or "first_frame" in b.modes)
        rows.append(RecipeRow(name, str(plugins.constant("recipes", name, "PAPER")), needs, tuple(runs_on)))
    return rows


def recipe_needs(name: str) -> tuple[str, ...]:
    """What a recipe that ships needs beside clips; of others nothing is known before their module is loaded."""
    return tuple(plugins.constant("recipes", name, "NEEDS") or ()) if name in plugins.modules_of("recipes") else ()


def takes_that_came(store: Store) -> list[Candidate]:
    """Takes of the project's training clips that were imported with them; videos of labelled pairs are none."""
    clips = {clip.id for clip in store.clips("train")}
    return [row for row in store.candidates(split="train", kind="imported") if row.clip_id in clips]
