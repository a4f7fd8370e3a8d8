from __future__ import annotations

import re
from pathlib import Path

import pytest

from rushes.noise.draws import TimeDraw
from rushes.training.recipe import drawn_times, load_recipe, recipe_names

OWN = """
from rushes.recipes.sft import NEEDS, PAPER, Options, comparisons, times
{tiny}
"""


def test_recipes_are_found_by_their_files() -> None:
    folder = Path(load_recipe("sft").__file__).parent  # type: ignore[attr-defined]
    assert recipe_names() == sorted(path.stem for path in folder.glob("[!_]*.py"))


@pytest.mark.parametrize("name", ["realdp", "no.such.module", "rushes.recipes.none", "./my_recipe.py", "../sft"])
def test_an_unknown_recipe_is_named_with_those_there_are(name: str) -> None:
    expected = re.escape(f"no recipe {name!r}: there are {', '.join(recipe_names())}, or give a module's dotted path")
    with pytest.raises(ValueError, match=expected):
        load_recipe(name)


def test_a_recipe_from_outside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_one").mkdir()
    (tmp_path / "mine_one" / "method.py").write_text(OWN.format(tiny="TINY = {}"))
    (tmp_path / "mine_one" / "half.py").write_text(OWN.format(tiny=""))
    (tmp_path / "mine_one" / "broken.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = load_recipe("mine_one.method")
    assert mine.PAPER == load_recipe("sft").PAPER
    assert drawn_times(mine, mine.Options()) == TimeDraw("logit_normal")
    with pytest.raises(ValueError, match=r"module mine_one\.half is not a recipe: it lacks TINY"):
        load_recipe("mine_one.half")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):  # theirs to see, not "no such recipe"
        load_recipe("mine_one.broken")


def test_times_are_uniform_where_a_recipe_has_none() -> None:
    recipe = load_recipe("realdpo")
    assert not hasattr(recipe, "times")
    assert drawn_times(recipe, recipe.Options()) == TimeDraw("uniform")
