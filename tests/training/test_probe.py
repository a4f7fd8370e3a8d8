from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rushes.noise.draws import seeded
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import Term, collate
from rushes.training import reference_predictions
from rushes.training.batches import Batch, NoiseSampler, make_batch
from rushes.training.comparison import Comparison, View
from rushes.training.gradients import plain_errors
from rushes.training.health import diagnoses
from rushes.training.probe import DRAWS, Probe, measure, per_expert_metrics
from rushes.training.reference import Reference
from rushes.training.reference_predictions import ReferencePredictions

from .conftest import DataIn, Small


def probe(logits: list[float], t: list[float], sources: list[tuple[str, str]], label: int = 1) -> Probe:
    """One comparison of one frame each, of beta 2, so a logit is the loser's error minus the winner's."""
    errors = torch.tensor([[[0.0], [value * label]] for value in logits])
    terms = (Term("clip", (1.0, -1.0), (label,), 2.0),)
    comparisons = tuple(
        Comparison(f"{at}", f"{at // 2}", tuple(View(s, "", "", s) for s in pair), terms)
        for at, pair in enumerate(sources)
    )
    whole = collate([terms] * len(logits), 2, 1)
    return Probe(ViewErrors(errors, torch.zeros_like(errors)), whole, comparisons, torch.tensor(t), 0.5, 2.0)


def test_by_noise_level_and_source() -> None:
    found = probe(
        [1.0, -3.0, 0.0, 4.0], [0.1, 0.2, 0.5, 1.0], [("real", "take")] * 3 + [("real", "reversed")]
    ).figures()
    assert found["clip/margin_by_noise/0-0.25"] == -1.0 and found["clip/accuracy_by_noise/0-0.25"] == 0.5
    assert "clip/margin_by_noise/0.25-0.5" not in found
    assert found["clip/margin_by_noise/0.5-0.75"] == 0.0 and found["clip/margin_by_noise/0.75-1"] == 4.0
    assert found["clip/margin_by_source/real over take"] == pytest.approx(-2 / 3)
    assert found["clip/margin_by_source/real over reversed"] == 4.0
    assert found["clip/typical"] == 1.0  # of 0, 1, 3, 4 the lower one in the middle
    assert found["drift"] == 0.5 and found["reference_error"] == 2.0


def test_a_label_of_the_right_view_swaps_the_sides() -> None:
    found = probe([1.0, 1.0], [0.1, 0.2], [("left", "right")] * 2, label=-1).figures()
    assert found["clip/margin_by_source/right over left"] == 1.0 and found["clip/accuracy"] == 1.0


def test_intervals_are_of_prompts_and_not_of_draws() -> None:
    """Two comparisons to a prompt: a hundred of them that agree within a prompt know as much as fifty."""
    generator = torch.Generator().manual_seed(0)
    each = torch.where(torch.rand(50, generator=generator) < 0.7, 1.0, -1.0).tolist()
    twice = [value for value in each for _ in range(2)]
    found = probe(twice, [0.5] * 100, [("real", "take")] * 100).figures()
    low, high = found["clip/accuracy_low"], found["clip/accuracy_high"]
    assert low < found["clip/accuracy"] < high
    assert high - low == pytest.approx(2 * 1.96 * (0.7 * 0.3 / 50) ** 0.5, rel=0.15)
    assert found["clip/winner_relative_error_low"] == found["clip/winner_relative_error_high"] == 0.0


def test_one_prompt_has_no_interval_and_no_infinity() -> None:
    found = probe([1.0, 2.0], [0.1, 0.2], [("real", "take")] * 2).figures()
    assert "clip/winner_relative_error_low" not in found and found["clip/accuracy_low"] == 0.0


def test_measured_errors_are_those_of_training_and_drift_is_of_predictions(
    tmp_path: Path, small: Small, data_in: DataIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, data = small(), data_in(tmp_path, held_out=2)
    reference = Reference(backbone.network)

    def make(chosen: list[tuple[Comparison, int]]) -> Batch:
        return make_batch(chosen, data.latents, backbone, NoiseSampler(0, data.times))

    stored = ReferencePredictions(tmp_path / "held_out")
    still = measure(backbone, reference, data.held_out, make, 3, stored=stored)  # type: ignore[arg-type]
    assert still is not None
    assert still.drift == 0.0 and torch.equal(still.errors.policy_BVF, still.errors.reference_BVF)
    with torch.no_grad():
        for p in backbone.network.parameters():
            p.add_(0.01 * torch.randn(p.shape, generator=seeded("moved", p.shape)))
    moved = measure(backbone, reference, data.held_out, make, 3)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(Reference, "applied", lambda self: pytest.fail("the reference is asked again"))
        again = measure(backbone, reference, data.held_out, make, 3, stored=stored)  # type: ignore[arg-type]
    assert moved is not None and again is not None and again.figures() == moved.figures()
    batch = make([(c, -1 - draw) for c in data.held_out for draw in range(DRAWS)])
    assert torch.allclose(moved.errors.policy_BVF, plain_errors(backbone, batch), rtol=1e-5)
    assert torch.equal(moved.errors.reference_BVF, still.errors.reference_BVF)
    x, t = backbone.spec.path.mix(batch.clean_RCFHW, batch.noise_RCFHW, batch.t_RF), batch.t_RF
    with torch.no_grad():
        ours = backbone.predict(x, t, batch.condition)
    with reference.applied():
        theirs = backbone.predict(x, t, batch.condition)
    assert moved.drift == pytest.approx(float(((ours - theirs) ** 2).mean()), rel=1e-4) and moved.drift > 1e-6
    assert moved.reference_error == pytest.approx(float(still.errors.reference_BVF.mean()), rel=1e-5)


LEVELS = ("high_noise", "low_noise")


def errors_of(winners: list[float], losers: list[float]) -> ViewErrors:
    """Relative errors of winner and loser, the same in both latent frames."""
    policy = torch.tensor([winners, losers]).T[..., None].expand(-1, 2, 2)
    return ViewErrors(policy, torch.zeros_like(policy))


def test_each_comparison_counts_for_the_expert_of_its_time() -> None:
    term = Term("clip", (1.0, -1.0), (1, 1), beta=2.0)
    terms = collate([(term,)] * 4, 2, 2)
    errors = errors_of([-0.1, 0.2, -0.3, -0.5], [0.1, 0.1, 0.1, 0.3])
    found = per_expert_metrics(errors, terms, torch.tensor([0.9, 0.875, 0.2, 0.874]), boundary=0.875)
    assert [found[f"expert/{name}/comparisons"] for name in LEVELS] == [2, 2]
    assert [found[f"expert/{name}/clip/accuracy"] for name in LEVELS] == [0.5, 1.0]
    assert [found[f"expert/{name}/clip/winner_relative_error"] for name in LEVELS] == pytest.approx([0.05, -0.4])
    assert [found[f"expert/{name}/clip/loser_relative_error"] for name in LEVELS] == pytest.approx([0.1, 0.2])
    assert [found[f"expert/{name}/clip/margin"] for name in LEVELS] == pytest.approx([0.05, 0.6])
    halves = [found[f"expert/{name}/loss"] for name in LEVELS]
    assert sum(halves) / 2 == pytest.approx(float(loss(errors, terms))) and halves[0] > halves[1]


def test_an_expert_that_was_not_asked_has_no_figures() -> None:
    terms = collate([(Term("clip", (1.0, -1.0), (1, 1), beta=2.0),)], 2, 2)
    found = per_expert_metrics(errors_of([-0.1], [0.1]), terms, torch.tensor([0.5]), boundary=0.875)
    assert {key.split("/")[1] for key in found} == {"low_noise"}


def test_experts_are_no_levels_of_their_own() -> None:
    """Nothing is held out of an expert alone, so health would find that it learned nothing."""
    level = {"clip/accuracy": 0.5, "clip/margin": 0.0, "clip/gradient": 0.5, "clip/winner_relative_error": 0.0}
    rows = [{"step": step, "loss": 0.69, **level} for step in range(12)]
    more = [{**row, **{f"expert/low_noise/{key}": value for key, value in level.items()}} for row in rows]
    assert diagnoses(more, 12) == diagnoses(rows, 12) != ()


@pytest.mark.parametrize(("half", "bytes_each"), [(True, 2), (False, 4)])
def test_predictions_of_the_reference_lie_beside_the_run_where_they_are_large(
    half: bool, bytes_each: int, tmp_path: Path, small: Small, data_in: DataIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on finds them, bit for bit, one that is made from something else does not, and none stay."""
    monkeypatch.setattr(reference_predictions, "IN_MEMORY", 0)
    data = data_in(tmp_path, held_out=2)
    chosen = [(c, -1) for c in data.held_out]
    batch = make_batch(chosen, data.latents, small(), NoiseSampler(0, data.times))
    predicted = torch.randn(batch.clean_RCFHW.shape, generator=seeded("predicted"))
    predicted = predicted.bfloat16().float() if half else predicted
    folder = tmp_path / "held_out"
    stored = ReferencePredictions(folder, "run")
    assert stored.get(batch, chosen) is None
    stored.put(batch, chosen, predicted)
    rows = ReferencePredictions(folder, "run").get(batch, chosen)
    assert rows is not None and torch.equal(rows.float(), predicted) and rows.element_size() == bytes_each
    assert ReferencePredictions(folder, "other").get(batch, chosen) is None
    stored.put(batch, [(c, -2) for c in data.held_out], predicted / 0)
    assert stored.get(batch, [(c, -2) for c in data.held_out]) is None  # what is not finite
    stored.clear()
    assert not folder.exists()
