"""Settings that a recipe ships for the tiny backbone, and the list of recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rushes.backbones.loading import backbone_names
from rushes.config.tables import Footage, Generate, Label, Settings, Train
from rushes.training.recipe import Recipe, load_recipe, recipe_names


def preset(name: str, footage: Path | None = None) -> Settings:
    """Settings of a project that runs recipe `name` on the tiny backbone, on a folder of clips or the embedded world."""
    recipe = load_recipe(name)
    needs = recipe.NEEDS
    return Settings(
        footage=Footage(kind="folder", path=str(footage.resolve())) if footage else Footage(),
        generate=Generate(kind="guided", takes=2) if "guided" in needs else Generate(takes=2),
        label=Label(by="world") if "labels" in needs else Label(),
        train=tiny_train(name, recipe),
    )


def tiny_train(name: str, recipe: Recipe) -> Train:
    """The `[train]` table that suits the tiny backbone."""
    return Train.model_validate({"recipe": name, **recipe.TINY})


def recipe_table() -> list[dict[str, Any]]:
    """Name, paper, needs and backbones of every recipe that ships."""
    rows = []
    for name in recipe_names():
        recipe = load_recipe(name)
        rows.append({"name": name, "paper": recipe.PAPER, "needs": list(recipe.NEEDS), "backbones": backbone_names()})
    return rows
