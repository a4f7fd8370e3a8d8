"""A method without a project: `terms` of a recipe are those of its comparisons, from numbers alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rushes.objectives import Term
from rushes.recipes import densedpo, dfdpo, huvidpo, physhpo, realdpo, sft
from rushes.training.comparison import Comparison, LatentGrid
from rushes.training.recipe import load_recipe, recipe_names

from .conftest import ProjectWithClips

SOURCE = Path(__file__).resolve().parents[2] / "src"
GIVEN = (0, 1, 1, 1, 1)  # labels of a clip of five latent frames, the first of which is given
SEVEN = ("w", "swapped", "err", "flow w", "flow err", "gap", "w wrong")


def comparisons(project_with_clips: ProjectWithClips, recipe: Any, **options: Any) -> list[Comparison]:
    rows: list[Comparison] = recipe.comparisons(
        project_with_clips.store, recipe.Options(**options), project_with_clips.grid
    )
    return rows


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_terms(name: str) -> None:
    assert callable(load_recipe(name).terms)  # type: ignore[attr-defined]


def test_supervised(project_with_clips: ProjectWithClips) -> None:
    assert comparisons(project_with_clips, sft)[0].terms == sft.terms(GIVEN)
    assert sft.terms(2) == (Term("supervised", (1.0,), (1, 1), loss_type="error"),)


def test_takes_and_copies(project_with_clips: ProjectWithClips) -> None:
    assert [c.terms for c in comparisons(project_with_clips, realdpo)] == [
        realdpo.terms(n, GIVEN) for n in (3, 3, 3, 3, 1)
    ]
    changed = dfdpo.Options(beta=7.0, losers=2)
    assert comparisons(project_with_clips, dfdpo, beta=7.0, losers=2)[0].terms == dfdpo.terms(2, GIVEN, changed)


def test_scored_pairs(project_with_clips: ProjectWithClips) -> None:
    rows = comparisons(project_with_clips, huvidpo)
    assert {c.terms for c in rows} == {huvidpo.terms(GIVEN)}
    options = huvidpo.Options(weight="gap")
    weights = [c.terms[0].weight for c in comparisons(project_with_clips, huvidpo, weight="gap")]
    assert sum(weights) / len(weights) == pytest.approx(1) and len(set(weights)) > 1
    assert huvidpo.terms(GIVEN, options, gap=weights[0])[0].weight == weights[0]


@pytest.mark.parametrize("mode", ["dense", "structural"])
def test_labels_of_seconds(project_with_clips: ProjectWithClips, mode: Any) -> None:
    options = densedpo.Options(mode=mode)
    stored = {p.id: p for p in project_with_clips.store.preferences()}
    for row in comparisons(project_with_clips, densedpo, mode=mode):
        label = stored[row.id]
        assert row.terms == densedpo.terms(label.labels, label.segment_s, project_with_clips.grid, options)
    assert densedpo.terms((0, 0, 0, 0), 0.5, project_with_clips.grid, options) == ()
    grid = LatentGrid(frames=5, temporal_ratio=4, fps=8.0, first_frame=False)
    (term,) = densedpo.terms((1, -1), 1.0, grid)
    assert term.labels == (1, 1, 1, -1, -1) and term.beta == 500.0


def test_levels(project_with_clips: ProjectWithClips) -> None:
    four = [row for row in comparisons(project_with_clips, physhpo) if len(row.views) == 7]
    assert four and {row.terms for row in four} == {physhpo.terms(SEVEN, GIVEN)}
    levels = [term.level for term in physhpo.terms(SEVEN[:-1], 5)]
    assert levels == ["instance", "state", "motion"]
    assert physhpo.terms(("w", "swapped"), 5) == ()
    alone = physhpo.Options(instance_weight=0.0, motion_weight=0.0, semantic_weight=0.0)
    (term,) = physhpo.terms(("swapped", "w"), 2, alone)
    assert term == Term("state", (-1.0, 1.0), (1, 1), 2000.0, 0.4)


ALONE = """
import importlib.abc, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed | sys.stdlib_module_names and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"hidden: {name}", name=name)

allowed = {"rushes", "torch", "torchgen", "functorch", "numpy", "typing_extensions"}
sys.meta_path.insert(0, Hide())
import torch
import rushes
from rushes.objectives import loss

errors = torch.rand(2, 3, 5, requires_grad=True), torch.rand(2, 3, 5)
batch = rushes.collate([rushes.one_against_each(2, 5, 100.0)] * 2, 3, 5)
assert torch.allclose(rushes.dpo_loss(*errors, beta=100.0), loss(rushes.ViewErrors(*errors), batch))
assert "clip/loss" in rushes.diagnose(rushes.ViewErrors(*errors), batch)
try:
    from rushes.recipes import realdpo
except ModuleNotFoundError as error:
    assert str(error) == "hidden: pydantic", error
else:
    sys.exit("nothing is hidden")

# What settings, edits and latents are read with: no model, no page, no command.
allowed |= {"pydantic", "pydantic_core", "annotated_types", "typing_inspection", "safetensors", "cv2"}
from rushes.recipes import densedpo, dfdpo, huvidpo, physhpo, realdpo, sft
assert rushes.collate([realdpo.terms(takes=2, frames=5)], 3, 5).levels == ("clip",)
assert sft.terms(5) and dfdpo.terms(1, 5) and huvidpo.terms(5) and physhpo.terms(["w", "err", "gap"], 5) == ()
"""


def test_losses_need_torch_and_numpy_alone_and_terms_little_more() -> None:
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{ALONE}"
    result = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
