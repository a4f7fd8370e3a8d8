"""What holds for every recipe: each module of `rushes.recipes` is found by its name and goes through all of this.

Stored curves: tests/golden/NAME.json. After a change that is meant to change them, write them anew with
RUSHES_WRITE_GOLDEN=1 and say in the log why.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
import torch

from rushes.backbones.tiny import TinyBackbone
from rushes.config.base import SettingsTable
from rushes.config.settings_files import load_settings, to_toml, validate_table
from rushes.config.tables import Settings, TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.objectives.losses import ViewErrors, loss, term_logits
from rushes.objectives.terms import Term, TermBatch, collate
from rushes.project.recipe_table import by_majority, recipe_needs
from rushes.store.database import Store
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.batches import Batch, NoiseSampler, make_batch
from rushes.training.comparison import Comparison
from rushes.training.gradients import backward, plain_errors
from rushes.training.loop import TrainingData, reference_errors, train
from rushes.training.memory import GradientStrategy
from rushes.training.recipe import Recipe, drawn_times, load_recipe, recipe_names
from rushes.training.reference import Reference
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from ..projects import CLOCKS
from .conftest import ProjectWithClips

GOLDEN = Path(__file__).parents[1] / "golden"
NEEDS = {"takes", "guided", "gaps", "likeness", "wrong captions", "labels", "scores", "first_frame"}
STEPS = 20
WEIGHT = {"physhpo": 1.9}  # of a comparison's logistic terms, where it is not 1
# Rounding apart, a curve is the same on every machine. It is sharper than one part in ten thousand of beta, which
# changes the first gradient by as much; a test below shows it.
TOLERANCE = 2e-5

Small = Callable[[], TinyBackbone]

every_recipe = pytest.mark.parametrize("recipe", [load_recipe(name) for name in recipe_names()], ids=recipe_names())


def named(recipe: Recipe) -> str:
    assert isinstance(recipe, ModuleType)
    return recipe.__name__.rsplit(".", 1)[-1]


def options(recipe: Recipe, **changes: Any) -> SettingsTable:
    """Defaults, with a beta at which rounding of the errors does not show in the loss."""
    mild = {"beta": 5.0} if "beta" in recipe.Options.model_fields else {}
    return recipe.Options(**{**mild, **changes})


def batch_of(
    recipe: Recipe, project_with_clips: ProjectWithClips, backbone: TinyBackbone
) -> tuple[Batch, list[Comparison]]:
    chosen = options(recipe)
    comparisons = recipe.comparisons(project_with_clips.store, chosen, project_with_clips.grid)
    batch = make_batch(
        [(c, 0) for c in comparisons],
        project_with_clips.latents,
        backbone,
        NoiseSampler(0, drawn_times(recipe, chosen)),
    )
    return batch, comparisons


def run(
    recipe: Recipe,
    project_with_clips: ProjectWithClips,
    backbone: TinyBackbone,
    folder: Path,
    steps: int,
    comparisons: Sequence[Comparison] | None = None,
) -> None:
    chosen = options(recipe)
    if comparisons is None:
        comparisons = recipe.comparisons(project_with_clips.store, chosen, project_with_clips.grid)
    small = {
        "steps": steps,
        "batch": 3,
        "learning_rate": 2e-4,
        "checkpoint_every": 5,
        "warmup_steps": 0,
        "lr_scheduler": "constant",
    }
    settings = TrainSettings(**{**recipe.TINY, **small})
    data = TrainingData(comparisons, (), project_with_clips.latents, drawn_times(recipe, chosen))
    train(backbone, data, settings, folder, seed=0, identity="contract")


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCKS} for line in lines]


def test_every_recipe_is_collected() -> None:
    assert {"sft", "realdpo", "densedpo", "huvidpo"} <= set(recipe_names())


@every_recipe
def test_declares_what_it_is(recipe: Recipe) -> None:
    assert isinstance(recipe.PAPER, str) and recipe.PAPER
    assert recipe.__doc__ and ("Settings of the published run" in recipe.__doc__ or named(recipe) == "sft")
    assert set(recipe.NEEDS) <= NEEDS
    TrainSettings(**{"recipe": named(recipe), **recipe.TINY})
    assert {"learning_rate", "steps", "batch"} <= set(recipe.TINY)


@every_recipe
def test_what_options_change_is_a_literal_that_is_read_without_torch(recipe: Recipe) -> None:
    name, fields = named(recipe), recipe.Options.model_fields
    for (option, value), needs in getattr(recipe, "NEEDS_WHERE", {}).items():
        recipe.Options(**{option: value})
        assert fields[option].default != value and set(needs) <= NEEDS
        assert recipe_needs(TrainSettings(recipe=name, options={option: value})) == needs != recipe.NEEDS
    for option, values in getattr(recipe, "MAJORITY", {}).items():
        assert fields[option].default not in values and not by_majority(TrainSettings(recipe=name))
        assert all(by_majority(TrainSettings(recipe=name, options={option: value})) for value in values)


@every_recipe
def test_options_survive_the_settings_file(recipe: Recipe, tmp_path: Path) -> None:
    """Each option set to something else than its default, as far as its own value allows."""
    changed = {
        name: field.default / 2
        for name, field in recipe.Options.model_fields.items()
        if isinstance(field.default, float) and field.default
    }
    chosen = recipe.Options(**changed)
    table = chosen.model_dump(mode="json")
    settings = Settings(train=TrainSettings(recipe=named(recipe), options=table))
    path = tmp_path / "rushes.toml"
    path.write_text(to_toml(settings))
    assert validate_table(recipe.Options, load_settings(path).train.options, "train.options") == chosen
    assert all(field.description for field in recipe.Options.model_fields.values())


@every_recipe
def test_an_unknown_option_is_named(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=r"train\.options\.betta: unknown setting"):
        validate_table(recipe.Options, {"betta": 1.0}, "train.options")


@every_recipe
def test_comparisons_come_in_a_fixed_order_and_fit_the_clips(
    recipe: Recipe, project_with_clips: ProjectWithClips
) -> None:
    one, other = (
        recipe.comparisons(project_with_clips.store, recipe.Options(), project_with_clips.grid) for _ in range(2)
    )
    assert one and one == other
    assert len({c.id for c in one}) == len(one)
    for comparison in one:
        assert "eval" not in comparison.group
        for view in comparison.views:
            assert view.key in project_with_clips.latents and view.first_frame and view.source and view.caption
        for term in comparison.terms:
            assert len(term.coefficients) == len(comparison.views)
            assert len(term.labels) == project_with_clips.grid.frames and term.labels[0] == 0 and any(term.labels)


@every_recipe
def test_without_rows_there_is_nothing_to_compare(
    recipe: Recipe, project_with_clips: ProjectWithClips, store: Store
) -> None:
    assert recipe.comparisons(store, recipe.Options(), project_with_clips.grid) == []


@every_recipe
def test_times_are_within_the_path(recipe: Recipe) -> None:
    drawn = drawn_times(recipe, recipe.Options())(1000, torch.Generator().manual_seed(0))
    assert drawn.min() > 0 and drawn.max() < 1 and drawn.std() > 0.1


@every_recipe
def test_policy_equal_to_reference_gives_the_declared_value(
    recipe: Recipe, project_with_clips: ProjectWithClips, backbone: Small
) -> None:
    """ln 2 for a comparison's logistic terms by their weights, and its own error for a supervised one."""
    policy = backbone()
    batch, comparisons = batch_of(recipe, project_with_clips, policy)
    reference = reference_errors(policy, batch, Reference(policy.network))
    value, errors = backward(policy, batch, reference)
    expected = 0.0
    for b, comparison in enumerate(comparisons):
        for term in comparison.terms:
            scored = torch.tensor(term.labels) != 0
            own = float(errors.policy_BVF[b, term.coefficients.index(1.0)][scored].mean())
            expected += term.weight * (math.log(2) if term.loss_type == "sigmoid" else own) / len(comparisons)
    assert float(value) == pytest.approx(expected, rel=1e-6)
    if all(term.loss_type == "sigmoid" for c in comparisons for term in c.terms):
        assert float(value) == pytest.approx(WEIGHT.get(named(recipe), 1.0) * math.log(2), rel=1e-6)


def term_batch(comparisons: Sequence[Comparison]) -> TermBatch:
    views = max(len(c.views) for c in comparisons)
    return collate([c.terms for c in comparisons], views, len(comparisons[0].terms[0].labels))


@every_recipe
def test_lower_winner_and_higher_loser_error_lower_the_loss(
    recipe: Recipe, project_with_clips: ProjectWithClips
) -> None:
    comparisons = recipe.comparisons(project_with_clips.store, options(recipe), project_with_clips.grid)
    terms = term_batch(comparisons)
    shape = (len(comparisons), terms.coefficients_BKV.shape[-1], project_with_clips.grid.frames)
    generator = torch.Generator().manual_seed(0)
    policy, reference = 0.1 * torch.rand(2, *shape, generator=generator)
    before = loss(ViewErrors(policy, reference), terms)
    # how hard each view is pulled down in each frame: above zero where it wins, below where it loses
    pull_BVF = torch.einsum("bkv,bkf->bvf", terms.coefficients_BKV, terms.labels_BKF)
    for place in pull_BVF.new_ones(shape).nonzero().tolist():
        for change in (-0.01, 0.01):
            moved = policy.clone()
            moved[tuple(place)] += change
            after = loss(ViewErrors(moved, reference), terms)
            assert (after - before).sign() == (pull_BVF[tuple(place)] * change).sign(), place
    for b, comparison in enumerate(comparisons):
        for v, view in enumerate(comparison.views):
            assert view.source != "real" or (pull_BVF[b, v, 1:] > 0).all()  # a real clip never loses


@every_recipe
def test_exchanging_winner_and_loser_mirrors_the_margin(recipe: Recipe, project_with_clips: ProjectWithClips) -> None:
    comparisons = recipe.comparisons(project_with_clips.store, options(recipe), project_with_clips.grid)
    flipped = [
        replace(c, terms=tuple(replace(t, coefficients=tuple(-a for a in t.coefficients)) for t in c.terms))
        for c in comparisons
    ]
    terms, mirrored = term_batch(comparisons), term_batch(flipped)
    shape = (len(comparisons), terms.coefficients_BKV.shape[-1], project_with_clips.grid.frames)
    errors = ViewErrors(*torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)))
    for k, (_, loss_type, _) in enumerate(terms.forms):
        if loss_type == "sigmoid":
            (logit, scored), (other, _) = term_logits(errors, terms, k), term_logits(errors, mirrored, k)
            assert torch.equal(logit, -other) and logit[scored].abs().min() > 0


@every_recipe
def test_no_gradient_reaches_the_reference_and_all_reaches_the_policy(
    recipe: Recipe, project_with_clips: ProjectWithClips, backbone: Small
) -> None:
    policy = backbone()
    batch, _ = batch_of(recipe, project_with_clips, policy)
    reference = Reference(policy.network)
    held = {name: value.clone() for name, value in reference.values.items()}
    backward(policy, batch, reference_errors(policy, batch, reference))
    assert all(p.grad is not None and p.grad.any() for p in policy.network.parameters())
    assert all(value.grad is None and torch.equal(value, held[name]) for name, value in reference.values.items())


@every_recipe
@pytest.mark.parametrize("mode", ["stash", "two_pass"])
def test_view_by_view_gives_the_joint_gradient(
    recipe: Recipe, mode: Literal["stash", "two_pass"], project_with_clips: ProjectWithClips, backbone: Small
) -> None:
    policy = backbone()
    batch, _ = batch_of(recipe, project_with_clips, policy)
    reference = plain_errors(policy, batch) * 1.01
    found = []
    for way in ("joint", mode):
        policy.network.zero_grad(set_to_none=True)
        backward(policy, batch, reference, way)
        found.append(torch.cat([p.grad.flatten() for p in policy.network.parameters() if p.grad is not None]))
    assert (found[0] - found[1]).norm() <= 1e-5 * found[0].norm()


@every_recipe
@pytest.mark.parametrize(
    "way",
    [GradientStrategy("stash"), GradientStrategy("two_pass"), GradientStrategy("auto", view_mib=1.0, budget_mib=8.0)],
    ids=["stash", "two_pass", "few"],
)
def test_every_way_gives_the_joint_gradient_in_double_precision(
    recipe: Recipe, way: GradientStrategy, project_with_clips: ProjectWithClips, backbone: Small
) -> None:
    policy = backbone()
    policy.network.double()
    batch, _ = batch_of(recipe, project_with_clips, policy)
    first = batch.condition.first_frame
    condition = replace(batch.condition, first_frame=None if first is None else first.double())
    terms = replace(batch.terms, **{k: v.double() for k, v in vars(batch.terms).items() if k != "forms"})
    clean, noise, t = (x.double() for x in (batch.clean_RCFHW, batch.noise_RCFHW, batch.t_RF))
    batch = replace(batch, clean_RCFHW=clean, noise_RCFHW=noise, t_RF=t, condition=condition, terms=terms)
    reference = plain_errors(policy, batch) * 1.01
    found = []
    for each in (GradientStrategy("joint"), way):
        policy.network.zero_grad(set_to_none=True)
        backward(policy, batch, reference, each)
        found.append(torch.cat([p.grad.flatten() for p in policy.network.parameters() if p.grad is not None]))
    assert (found[0] - found[1]).norm() <= 1e-10 * found[0].norm()


@every_recipe
def test_ten_steps_and_ten_more_are_twenty(
    recipe: Recipe, project_with_clips: ProjectWithClips, backbone: Small, tmp_path: Path
) -> None:
    whole, first, second = backbone(), backbone(), backbone()
    run(recipe, project_with_clips, whole, tmp_path / "whole", STEPS)
    run(recipe, project_with_clips, first, tmp_path / "parts", STEPS // 2)
    run(recipe, project_with_clips, second, tmp_path / "parts", STEPS)
    assert whole.fingerprint == second.fingerprint != first.fingerprint
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def with_faults(comparisons: Sequence[Comparison], codec: TinyBackbone, folder: Path, copies: int) -> TrainingData:
    """The comparisons `copies` times over, on scenes of their own, a view being faulty in the frames in which it loses.

    The fault is one and the same texture, so whoever learns from some comparisons can tell in the others. The last
    quarter is held out.
    """
    latents, found = LatentStore(folder / "latents", "faults"), []
    fault = torch.randn(codec.spec.channels, 4, 4, generator=torch.Generator().manual_seed(1))
    scenes = iter(draw_scenes(9, copies * len(comparisons), frames=17))
    for copy in range(copies):
        for comparison in comparisons:
            clean = codec.encode(render(next(scenes))[None])[0]
            views = []
            for v, view in enumerate(comparison.views):
                loses = [
                    sum(t.coefficients[v] * t.labels[f] for t in comparison.terms) < 0 for f in range(len(clean[0]))
                ]
                key = f"{comparison.id} {copy} {v}"
                faulty = clean + fault[:, None] * torch.tensor(loses)[None, :, None, None]
                latents.put({key: faulty, first_frame_key(key): clean[:, :1]})
                views.append(replace(view, media=key, first_frame=key, edit=""))
            found.append(replace(comparison, id=f"{comparison.id} {copy}", views=tuple(views)))
    kept = len(found) * 3 // 4
    return TrainingData(found[:kept], found[kept:], latents, TimeDraw())


@every_recipe
def test_what_is_learned_holds_for_clips_never_seen(
    recipe: Recipe, project_with_clips: ProjectWithClips, backbone: Small, tmp_path: Path
) -> None:
    """In a world where the right answer is known: the held-out margin rises, or the held-out error falls."""
    comparisons = recipe.comparisons(project_with_clips.store, options(recipe), project_with_clips.grid)
    data = with_faults(comparisons, backbone(), tmp_path, copies=6)
    settings = TrainSettings(steps=60, batch=4, learning_rate=2e-3, checkpoint_every=60, warmup_steps=0)
    train(backbone(), data, settings, tmp_path, seed=0, identity="contract")
    start, *_, end = rows(tmp_path)
    levels = {(t.level, t.loss_type) for c in data.held_out for t in c.terms}
    for level, loss_type in levels:
        if loss_type == "error":
            assert end[f"held_out/{level}/error"] < 0.7 * start[f"held_out/{level}/error"]
        else:
            assert start[f"held_out/{level}/margin"] == 0.0 and start[f"held_out/{level}/accuracy"] == 0.5
            assert end[f"held_out/{level}/margin"] > 0.5 and end[f"held_out/{level}/accuracy"] > 0.9


def curve(folder: Path) -> dict[str, list[float]]:
    found = rows(folder)[1:]
    return {name: [row[name] for row in found] for name in ("loss", "gradient_norm")}


@every_recipe
def test_twenty_steps_follow_the_stored_curve(
    recipe: Recipe, project_with_clips: ProjectWithClips, backbone: Small, tmp_path: Path
) -> None:
    run(recipe, project_with_clips, backbone(), tmp_path, STEPS)
    path = GOLDEN / f"{named(recipe)}.json"
    if os.environ.get("RUSHES_WRITE_GOLDEN"):
        environment = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
        environment["cpu"] = torch.backends.cpu.get_cpu_capability()
        path.write_text(json.dumps({"environment": environment, **curve(tmp_path)}, indent=1) + "\n")
        pytest.fail(f"{path} was written; look at what changed in it, then run again without RUSHES_WRITE_GOLDEN")
    stored = json.loads(path.read_text())
    for name, values in curve(tmp_path).items():
        assert values == pytest.approx(stored[name], rel=TOLERANCE, abs=0), f"{name}; stored on {stored['environment']}"


def stronger(comparison: Comparison, by: float) -> Comparison:
    def change(term: Term) -> Term:
        if term.loss_type == "error":
            return replace(term, weight=term.weight * by)
        return replace(term, beta=term.beta * by)

    return replace(comparison, terms=tuple(map(change, comparison.terms)))


@every_recipe
def test_the_stored_curve_tells_one_part_in_ten_thousand(
    recipe: Recipe, project_with_clips: ProjectWithClips, backbone: Small, tmp_path: Path
) -> None:
    """Of beta, or of a supervised term's weight."""
    comparisons = recipe.comparisons(project_with_clips.store, options(recipe), project_with_clips.grid)
    run(recipe, project_with_clips, backbone(), tmp_path, STEPS, [stronger(c, 1 + 1e-4) for c in comparisons])
    stored = json.loads((GOLDEN / f"{named(recipe)}.json").read_text())
    assert curve(tmp_path)["gradient_norm"] != pytest.approx(stored["gradient_norm"], rel=TOLERANCE, abs=0)
