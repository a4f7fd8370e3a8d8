"""What a recipe is, and how one is found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from rushes import plugins
from rushes.config.base import SettingsTable
from rushes.config.settings_files import validate_table
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid

_REQUIRED = ("PAPER", "NEEDS", "Options", "TINY", "comparisons")


class Recipe(Protocol):
    """A module of `rushes.recipes`, or any module with these names.


    It may have more:

    - `times(options) -> TimeDraw`: the distribution of training times where the settings name no other; else uniform.
    - `NEEDS_WHERE`: (option, value) -> what it needs in place of `NEEDS` where the settings have that value.
    - `MAJORITY`: option -> values under which labels of a pair count as their majority; {} = they always do.
    - `account(store, options, grid) -> dict[str, int]`: how many rows became comparisons, and why others did not,
      where the loop cannot tell.
    - `PUBLISHED`: settings of the published run by their dotted paths, each with its source, as `rushes init --model`
      writes. Strengths are per mean error with the one-half. Rank, alpha and learning rate of an adapter are the
      model's, so they are not among these.
    - `terms(..., options)`: the terms of one comparison, without a store, for other training loops.
    """

    PAPER: str  # what it implements, for `rushes recipes`
    # rows that must be in the store: "takes", "guided", "gaps", "likeness", "wrong captions", "labels", "scores" (from
    # 0 to 10); and "first_frame" where the model must be given one
    NEEDS: tuple[str, ...]
    Options: type[SettingsTable]  # its settings, the table `[train.options]`
    # settings of `[train]` for the tiny backbone, from the table of `rushes reproduce` (docs/evidence.md)
    TINY: Mapping[str, Any]

    def comparisons(self, store: Store, options: Any, grid: LatentGrid) -> list[Comparison]:
        """Rows -> comparisons, in a fixed order."""
        ...


def published(recipe: Recipe) -> Mapping[str, tuple[Any, str]]:
    """Settings of a recipe's published run, each with its source; none where the module has none."""
    settings: Mapping[str, tuple[Any, str]] = getattr(recipe, "PUBLISHED", {})
    return settings


def drawn_times(recipe: Recipe, options: SettingsTable) -> TimeDraw:
    """A recipe's distribution of training times, where the settings name no other; uniform where it has none."""
    times: Callable[[Any], TimeDraw] = getattr(recipe, "times", lambda options: TimeDraw("uniform"))
    return times(options)


def needs_of(train: TrainSettings) -> tuple[str, ...]:
    """The rows that the recipe of some settings needs. Raises as `chosen_recipe` does."""
    recipe, _ = chosen_recipe(train)
    return plugins.needs_under(train.options, recipe.NEEDS, getattr(recipe, "NEEDS_WHERE", {}))


def recipe_names() -> list[str]:
    """Recipes that ship with the package."""
    return plugins.modules_of("recipes")


def chosen_recipe(train: TrainSettings) -> tuple[Recipe, Any]:
    """The recipe that settings name, and its options from `[train.options]`.

    Raises:
        ValueError: no such recipe, or options that it does not take.
    """
    recipe = load_recipe(train.recipe)
    return recipe, validate_table(recipe.Options, train.options, "train.options")


def load_recipe(name: str) -> Recipe:
    """A recipe by its name, or by the dotted path of a module outside the package.

    Raises:
        ValueError: no such recipe, or the module lacks a part of one.
    """
    return cast(Recipe, plugins.load("recipe", name, "recipes", _REQUIRED))
