from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from rushes.backbones.adapters import add_lora
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.store.latents import LatentStore
from rushes.training import reference_cache as caches
from rushes.training.batches import Batch, NoiseSampler, make_batch
from rushes.training.comparison import Comparison
from rushes.training.gradients import plain_errors
from rushes.training.loop import TrainingData, train
from rushes.training.memory import GradientStrategy
from rushes.training.reference_cache import ReferenceCache, fill, needs_reference, open_cache

from .conftest import DataIn, Small

VIEW_BY_VIEW = GradientStrategy("two_pass")


def cache_of(
    folder: Path, data: TrainingData, backbone: TinyBackbone, count: int = 2, weights: str = "", **changes: Any
) -> ReferenceCache:
    draws = NoiseSampler(**{"seed": 0, "times": data.times, **changes})
    weights = weights or backbone.fingerprint
    return open_cache(folder / "bank", count, weights=weights, latents=data.latents, backbone=backbone, draws=draws)


def filled(
    folder: Path,
    data: TrainingData,
    backbone: TinyBackbone,
    draws: int = 2,
    strategy: GradientStrategy = VIEW_BY_VIEW,
    seed: int = 0,
) -> ReferenceCache:
    cache = cache_of(folder, data, backbone, draws, seed=seed)
    missing = cache.missing(data.comparisons)
    fill(cache, missing, backbone, data.latents, draws=NoiseSampler(seed, data.times), strategy=strategy)
    return cache


def fresh(data: TrainingData, backbone: TinyBackbone, chosen: Sequence[tuple[Comparison, int]]) -> Tensor:
    return plain_errors(backbone, make_batch(chosen, data.latents, backbone, NoiseSampler(0, data.times)), VIEW_BY_VIEW)


def test_a_cache_has_one_name_in_all_processes(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    """A model's own solver is a function, whose text has its place in memory; none of it matters to training."""

    def name() -> str:
        def solver(*_: object) -> Any:
            return kept

        backbone = small()
        backbone.spec = replace(backbone.spec, solver=solver)
        return cache_of(tmp_path, data, backbone).entries.fingerprint

    data, kept = data_in(tmp_path), list[object]()
    assert name() == name()


@pytest.mark.parametrize("first_frame", [False, True])
def test_what_is_looked_up_is_what_would_be_computed(
    first_frame: bool, tmp_path: Path, small: Small, data_in: DataIn
) -> None:
    """Bit for bit where views go one by one; rounding where other rows go along."""
    data, backbone = data_in(tmp_path, first_frame=first_frame), small()
    chosen = [(data.comparisons[i], draw) for i, draw in ((3, 1), (0, 0), (3, 0), (5, 2))]
    exact = filled(tmp_path / "one", data, backbone, draws=3)
    assert torch.equal(exact.errors(chosen, 2), fresh(data, backbone, chosen))
    joint = filled(tmp_path / "two", data, backbone, draws=3, strategy=GradientStrategy())
    torch.testing.assert_close(joint.errors(chosen, 2), fresh(data, backbone, chosen), rtol=1e-6, atol=1e-6)


def test_comparisons_of_unequal_views_are_padded(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data, backbone = data_in(tmp_path), small()
    one, two = data.comparisons[0], data.comparisons[1]
    wide = replace(
        two,
        views=(*two.views, one.views[0]),
        terms=(Term("clip", (1.0, -0.5, -0.5), (1, 1, 1, 1), 3.0),),
    )
    data = replace(data, comparisons=[one, wide])
    errors = filled(tmp_path, data, backbone).errors([(one, 0), (wide, 1)], 3)
    assert torch.equal(errors, fresh(data, backbone, [(one, 0), (wide, 1)]))
    assert not errors[0, 2].any() and errors[1].all()


@pytest.mark.parametrize("tune", ["full", "lora"])
@pytest.mark.parametrize("gradients", ["two_pass", "joint"])
def test_a_run_with_a_cache_is_the_run_without_at_the_same_draws(
    gradients: str, tune: str, tmp_path: Path, small: Small, data_in: DataIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is computed, or looked up: same draws, same losses; view by view the same bits."""

    def run(name: str, looked_up: bool) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
        backbone, data = small(), data_in(tmp_path / name, held_out=0)
        weights = backbone.fingerprint
        if tune == "lora":
            torch.manual_seed(0)
            add_lora(backbone.network, backbone.spec.lora_targets, rank=2, alpha=2)
        cache = cache_of(tmp_path / name, data, backbone, weights=weights)
        strategy = GradientStrategy(gradients)  # type: ignore[arg-type]
        fill(cache, data.comparisons, backbone, data.latents, draws=NoiseSampler(0, data.times), strategy=strategy)
        if not looked_up:
            monkeypatch.setattr("rushes.training.loop._reference_errors", beside)
        settings = TrainSettings.model_validate(
            {"steps": 8, "batch": 4, "learning_rate": 1e-3, "gradients": gradients, "warmup_steps": 0}
            | {"lr_scheduler": "constant"}
        )
        train(backbone, replace(data, reference_cache=cache), settings, tmp_path / name, seed=0, identity="bank")
        monkeypatch.undo()
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        mine = ("seconds", "memory_gib")
        rows = [{k: v for k, v in json.loads(x).items() if isinstance(v, float) and k not in mine} for x in lines]
        return rows[1:], {n: p.detach().clone() for n, p in backbone.network.named_parameters() if p.requires_grad}

    def beside(work: Any, batch: Any, *_: Any) -> Tensor:
        with work.reference.applied():
            return plain_errors(work.backbone, batch, work.strategy)

    (rows, weights), (other_rows, other_weights) = run("looked up", True), run("beside", False)
    for row, other in zip(rows, other_rows, strict=True):
        assert row == (other if gradients == "two_pass" else pytest.approx(other, rel=1e-4, abs=1e-5))
    for name, weight in weights.items():
        if gradients == "two_pass":
            assert torch.equal(weight, other_weights[name])
        else:
            torch.testing.assert_close(weight, other_weights[name], rtol=1e-4, atol=1e-5)


def test_a_visit_takes_its_number_modulo_the_draws(
    tmp_path: Path, small: Small, data_in: DataIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = make_batch

    def visited(chosen: list[tuple[Comparison, int]], *rest: Any) -> Batch:
        seen.extend(visit for _, visit in chosen)
        return real(chosen, *rest)

    monkeypatch.setattr(
        "rushes.training.loop.make_batch",
        visited,
    )
    data, backbone = data_in(tmp_path), small()
    data = replace(data, reference_cache=filled(tmp_path, data, backbone, draws=3))
    train(backbone, data, TrainSettings(steps=7, batch=6), tmp_path / "run", seed=0, identity="bank")
    assert seen[-42:] == [visit % 3 for visit in range(7) for _ in range(6)]


def test_dropped_captions_are_in_the_cache_as_in_training(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    """Training on looked-up errors is training beside the reference, under the same captions."""
    data, share = data_in(tmp_path), 0.5
    settings = TrainSettings(
        steps=4, batch=6, learning_rate=1e-3, warmup_steps=0, gradients="two_pass", caption_dropout=share
    )
    cache = cache_of(tmp_path, data, small(), caption_dropout=share)
    missing, draws = cache.missing(data.comparisons), NoiseSampler(0, data.times, share)
    fill(cache, missing, small(), data.latents, draws=draws, strategy=VIEW_BY_VIEW)
    other = cache_of(tmp_path, data, small())
    assert other.missing(data.comparisons) == list(data.comparisons)  # without dropped captions it is another
    fill(other, data.comparisons, small(), data.latents, draws=NoiseSampler(0, data.times), strategy=VIEW_BY_VIEW)
    chosen = [(c, draw) for c in data.comparisons for draw in range(2)]
    dropped = [NoiseSampler(0, TimeDraw(), share).of(c, draw, (1, 1, 1, 1)).drops_caption for c, draw in chosen]
    changed = (cache.errors(chosen, 2) != other.errors(chosen, 2)).flatten(1).any(1)
    assert changed.tolist() == dropped and 0 < sum(dropped) < len(dropped)
    backbone = small()
    train(backbone, replace(data, reference_cache=cache), settings, tmp_path / "run", seed=0, identity="bank")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["clip/winner_relative_error"] == rows[1]["clip/loser_relative_error"] == 0.0  # to the last bit


def change_caption(c: Comparison) -> Comparison:
    return replace(c, views=(replace(c.views[0], caption="another"), *c.views[1:]))


def change_edit(c: Comparison) -> Comparison:
    return replace(c, views=(replace(c.views[0], edit="reverse"), *c.views[1:]))


def change_media(c: Comparison) -> Comparison:
    return replace(c, views=(replace(c.views[0], media="b4"), *c.views[1:]))


def change_first_frame(c: Comparison) -> Comparison:
    return replace(c, views=tuple(replace(view, first_frame="a3") for view in c.views))


def swap_views(c: Comparison) -> Comparison:
    return replace(c, views=c.views[::-1])


@pytest.mark.parametrize("change", [change_caption, change_edit, change_media, change_first_frame, swap_views])
def test_a_changed_view_is_not_looked_up(
    change: Callable[[Comparison], Comparison], tmp_path: Path, small: Small, data_in: DataIn
) -> None:
    data, backbone = data_in(tmp_path), small()
    cache = filled(tmp_path, data, backbone)
    changed = [change(data.comparisons[0]), *data.comparisons[1:]]
    assert cache.missing(changed) == changed[:1]
    with pytest.raises(ValueError, match=r"the reference cache lacks comparison pair 0; run `rushes cache reference`"):
        cache.errors([(changed[0], 0)], 2)


def test_weights_seed_draws_times_dtype_and_latents_each_have_a_cache_of_their_own(
    tmp_path: Path, small: Small, data_in: DataIn
) -> None:
    data, backbone = data_in(tmp_path), small()
    filled(tmp_path, data, backbone)
    assert cache_of(tmp_path, data, backbone).missing(data.comparisons) == []
    everything = list(data.comparisons)
    assert cache_of(tmp_path, data, small(seed=1)).missing(everything) == everything
    assert cache_of(tmp_path, data, backbone, seed=1).missing(everything) == everything
    assert cache_of(tmp_path, data, backbone, count=3).missing(everything) == everything
    assert cache_of(tmp_path, data, backbone, times=TimeDraw("uniform", high=0.5)).missing(everything) == everything
    other = replace(data, latents=LatentStore(tmp_path / "latents", "other"))
    assert cache_of(tmp_path, other, backbone).missing(everything) == everything
    wide = small()
    wide.network.double()
    assert cache_of(tmp_path, data, wide, weights=backbone.fingerprint).missing(everything) == everything


def test_what_only_names_a_view_does_not_matter(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data, backbone = data_in(tmp_path), small()
    cache = filled(tmp_path, data, backbone)
    renamed = [replace(c, views=tuple(replace(view, source="real") for view in c.views)) for c in data.comparisons]
    assert cache.missing(renamed) == []


def test_a_fill_that_was_stopped_goes_on(
    tmp_path: Path, small: Small, data_in: DataIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "AT_ONCE", 2)
    data, backbone = data_in(tmp_path), small()
    ticks: list[int] = []

    def stop(count: int) -> None:
        ticks.append(count)
        if len(ticks) == 4:  # in the second part: the first is on the disk
            raise KeyboardInterrupt

    cache = cache_of(tmp_path, data, backbone)
    with pytest.raises(KeyboardInterrupt):
        draws = NoiseSampler(0, data.times)
        fill(cache, data.comparisons, backbone, data.latents, draws=draws, strategy=VIEW_BY_VIEW, tick=stop)
    again = cache_of(tmp_path, data, backbone)
    assert again.missing(data.comparisons) == list(data.comparisons[2:])
    assert sum(ticks[:2]) == 4
    cache = filled(tmp_path, data, backbone)
    chosen = [(c, 1) for c in data.comparisons]
    assert torch.equal(cache.errors(chosen, 2), fresh(data, backbone, chosen))


def test_a_moving_reference_has_no_cache(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data, backbone = data_in(tmp_path), small()
    data = replace(data, reference_cache=filled(tmp_path, data, backbone))
    references: list[Literal["ema", "hard"]] = ["ema", "hard"]
    for moving in references:
        with pytest.raises(
            ValueError, match=rf"train\.reference_cache .* fixed reference, but train\.reference is '{moving}'"
        ):
            train(backbone, data, TrainSettings(steps=1, reference=moving), tmp_path / moving, seed=0, identity="")


@pytest.mark.parametrize(("cached", "passes"), [(True, 4), (False, 8)])
def test_three_losers_cost_four_passes_and_the_reference_none(
    cached: bool, passes: int, tmp_path: Path, small: Small, data_in: DataIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RealDPO's released loop takes twelve: four for each loser."""
    data, backbone = data_in(tmp_path), small()
    one = data.comparisons[0]
    views = (*one.views, data.comparisons[1].views[1], data.comparisons[2].views[1])
    against = [(1.0, *(-1.0 if j == k else 0.0 for j in range(3))) for k in range(3)]
    terms = tuple(Term("clip", c, (1, 1, 1, 1), 3.0, weight=1 / 3) for c in against)
    data = replace(data, comparisons=[replace(one, views=views, terms=terms)])
    data = replace(data, reference_cache=filled(tmp_path, data, backbone) if cached else None)
    clips: list[int] = []
    real = backbone.predict

    def counted(noised: Tensor, *rest: Any) -> Tensor:
        clips.append(len(noised))
        return real(noised, *rest)

    monkeypatch.setattr(backbone, "predict", counted)
    costs = []
    for steps in (1, 2):  # what is measured before the first step falls out of the difference
        before = sum(clips)
        train(backbone, data, TrainSettings(steps=steps, batch=1), tmp_path / f"{steps}", seed=0, identity="")
        costs.append(sum(clips) - before)
    assert costs[1] - costs[0] == passes


def test_who_needs_a_reference(tmp_path: Path, data_in: DataIn) -> None:
    (comparison,) = data_in(tmp_path).comparisons[:1]
    own = Term("supervised", (1.0, 0.0), (1, 1, 1, 1), loss_type="error")
    assert needs_reference(comparison) and needs_reference(replace(comparison, terms=(own, *comparison.terms)))
    assert not needs_reference(replace(comparison, terms=(own,)))
    assert not needs_reference(replace(comparison, terms=(replace(comparison.terms[0], reference=False),)))
