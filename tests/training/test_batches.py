from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rushes.backbones.tiny import TinyBackbone
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.batches import Batch, NoiseSampler, make_batch, schedule
from rushes.training.comparison import Comparison, View, hashed_comparisons, with_captions
from rushes.training.gradients import backward, plain_errors
from rushes.training.loop import TrainingData

from .conftest import DataIn, Small


def batch_of(data: TrainingData, chosen: list[tuple[int, int]], seed: int = 0) -> Batch:
    rows = [(data.comparisons[i], visit) for i, visit in chosen]
    return make_batch(rows, data.latents, TinyBackbone(), NoiseSampler(seed, data.times))


def test_views_share_noise_and_time_as_videodpos_do_not(tmp_path: Path, data_in: DataIn) -> None:
    """VideoDPO's released loop meant to share them and drew them for winner and loser apart: its margin is then mostly
    the difference of two draws."""
    batch = batch_of(data_in(tmp_path), [(0, 0), (1, 0), (2, 0)])
    winner, loser = slice(0, None, 2), slice(1, None, 2)
    assert torch.equal(batch.noise_RCFHW[winner], batch.noise_RCFHW[loser])
    assert torch.equal(batch.t_RF[winner], batch.t_RF[loser])
    assert not torch.equal(batch.clean_RCFHW[winner], batch.clean_RCFHW[loser])
    assert batch.place == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))


def test_each_comparison_and_visit_has_its_own_draw(tmp_path: Path, data_in: DataIn) -> None:
    batch = batch_of(data_in(tmp_path), [(0, 0), (0, 1), (1, 0)])
    for one, other in ((0, 2), (0, 4), (2, 4)):
        assert not torch.equal(batch.noise_RCFHW[one], batch.noise_RCFHW[other])
        assert batch.t_RF[one, 0] != batch.t_RF[other, 0]
    assert (batch.t_RF == batch.t_RF[:, :1]).all()


def test_draws_do_not_depend_on_the_batch(tmp_path: Path, data_in: DataIn) -> None:
    data = data_in(tmp_path)
    alone = batch_of(data, [(3, 2)])
    last = batch_of(data, [(0, 0), (5, 1), (3, 2)])
    for name in ("clean_RCFHW", "noise_RCFHW", "t_RF"):
        assert torch.equal(getattr(alone, name), getattr(last, name)[4:]), name
    assert not torch.equal(alone.noise_RCFHW, batch_of(data, [(3, 2)], seed=1).noise_RCFHW)


def test_draws_do_not_depend_on_what_ran_before(tmp_path: Path, data_in: DataIn) -> None:
    data = data_in(tmp_path)
    torch.manual_seed(1)
    one = batch_of(data, [(0, 0)])
    torch.manual_seed(2)
    torch.rand(7)
    assert torch.equal(one.noise_RCFHW, batch_of(data, [(0, 0)]).noise_RCFHW)


@pytest.mark.parametrize(("count", "batch"), [(7, 3), (5, 5), (3, 8), (1, 4)])
def test_every_comparison_comes_once_a_round(count: int, batch: int) -> None:
    steps = count  # makes `batch` whole rounds
    seen = Counter(pair for step in range(steps) for pair in schedule(count, batch, step, seed=4))
    assert seen == Counter((index, visit) for visit in range(batch) for index in range(count))


def test_rounds_have_their_own_orders_and_a_step_needs_none_before_it() -> None:
    rounds = [[index for index, _ in schedule(20, 20, step, seed=0)] for step in range(3)]
    assert len({tuple(order) for order in rounds}) == 3
    assert [index for index, _ in schedule(20, 20, 2, seed=0)] == rounds[2]
    assert [index for index, _ in schedule(20, 20, 0, seed=1)] != rounds[0]


def test_a_given_first_frame_is_clean_and_replaced(tmp_path: Path, data_in: DataIn) -> None:
    data = data_in(tmp_path, first_frame=True)
    batch = batch_of(data, [(0, 0), (1, 0)])
    for row, (b, v) in enumerate(batch.place):
        given = data.latents.get(first_frame_key(f"a{b}"))
        own = data.latents.get(f"{'ab'[v]}{b}")
        assert given is not None and own is not None
        assert torch.equal(batch.clean_RCFHW[row, :, :1], given) and not torch.equal(own[:, :1], given)
        assert torch.equal(batch.clean_RCFHW[row, :, 1:], own[:, 1:])
        assert batch.condition.first_frame is not None
        assert torch.equal(batch.condition.first_frame[row], given)
    assert not batch.t_RF[:, 0].any() and (batch.t_RF[:, 1:] > 0).all()
    noised = TinyBackbone().spec.path.mix(batch.clean_RCFHW, batch.noise_RCFHW, batch.t_RF)
    assert torch.equal(noised[:, :, 0], batch.clean_RCFHW[:, :, 0])


@pytest.mark.parametrize("mode", ["joint", "stash", "two_pass"])
def test_no_error_of_a_given_first_frame_reaches_the_loss(
    mode: str, tmp_path: Path, data_in: DataIn, small: Small
) -> None:
    """Whatever the network says of frame 0 of the target, loss and gradient stay as they are."""
    backbone = small()
    batch = batch_of(data_in(tmp_path, first_frame=True), [(0, 0), (1, 0)])
    reference = plain_errors(backbone, batch) + 0.1

    def run(noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        backbone.network.zero_grad(set_to_none=True)
        value, errors = backward(backbone, replace(batch, noise_RCFHW=noise), reference, mode)  # type: ignore[arg-type]
        return (
            value,
            errors.policy_BVF,
            {n: p.grad for n, p in backbone.network.named_parameters() if p.grad is not None},
        )

    other = batch.noise_RCFHW.clone()
    other[:, :, 0] += 3.0  # at t = 0 the noise of frame 0 is in its target and nowhere else
    value, errors, gradient = run(batch.noise_RCFHW)
    value_2, errors_2, gradient_2 = run(other)
    assert (errors[..., 0] != errors_2[..., 0]).all()
    assert torch.equal(value, value_2) and torch.equal(errors[..., 1:], errors_2[..., 1:])
    assert all(torch.equal(gradient[name], gradient_2[name]) for name in gradient)


def test_unequal_comparisons_are_padded_with_nothing(tmp_path: Path, data_in: DataIn) -> None:
    data = data_in(tmp_path)
    one = data.comparisons[0]
    label = (1,) * 4
    three = Comparison(
        "three",
        "prompt",
        (*one.views, data.comparisons[1].views[1]),
        (Term("clip", (1.0, -1.0, 0.0), label, 3.0), Term("clip", (1.0, 0.0, -1.0), label, 3.0)),
    )
    batch = make_batch([(one, 0), (three, 0)], data.latents, TinyBackbone(), NoiseSampler(0, data.times))
    assert batch.views == 3 and batch.place == ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))
    assert not batch.terms.coefficients_BKV[0, :, 2].any() and not batch.terms.weight_BK[0, 1]
    spread = batch.scatter(torch.arange(1.0, 6.0)[:, None].expand(-1, 4))
    assert spread[..., 0].tolist() == [[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]]


def test_captions_are_dropped_by_comparison_and_visit_and_draws_stay(tmp_path: Path, data_in: DataIn) -> None:
    data, model = data_in(tmp_path, pairs=12), TinyBackbone()
    chosen = [(c, visit) for visit in range(25) for c in data.comparisons]

    def batch(share: float, of: list[tuple[Comparison, int]]) -> Batch:
        return make_batch(of, data.latents, model, NoiseSampler(0, data.times, share))

    captioned, some, none = (batch(share, chosen) for share in (0.0, 0.3, 1.0))
    assert captioned.condition.text.any(1).all() and not none.condition.text.any()
    empty = [not words.any() for words in some.condition.text]
    assert empty[::2] == empty[1::2]  # both views alike
    assert sum(empty) / len(empty) == pytest.approx(0.3, abs=0.08)
    kept = [torch.equal(x, y) for x, y in zip(some.condition.text, captioned.condition.text, strict=True)]
    assert [not each for each in empty] == kept
    assert torch.equal(some.t_RF, captioned.t_RF) and torch.equal(some.noise_RCFHW, captioned.noise_RCFHW)
    last = batch(0.3, chosen[-5:])  # whatever else is in the batch
    assert torch.equal(last.condition.text, some.condition.text[-10:])
    assert len({tuple(empty[2 * at : 2 * at + 24]) for at in range(0, 300, 12)}) > 20  # each visit anew


def test_one_caption_of_several_is_drawn_at_each_visit(tmp_path: Path, data_in: DataIn) -> None:
    data, model = data_in(tmp_path, pairs=2), TinyBackbone()
    own = data.comparisons[0].views[0].caption
    pair = [replace(comparison, group=str(at)) for at, comparison in enumerate(data.comparisons)]
    several, single = with_captions(pair, {"0": ("a cat", "a swing")})
    assert single == pair[1] and several.captions == (own, "a cat", "a swing")
    assert {view.caption for view in several.every_view()} == {own, "a cat", "a swing"}

    def caption(view: View, visit: int) -> str:
        return NoiseSampler(0, data.times).of(several, visit, (1, 1, 1, 1)).caption(view)

    drawn = [caption(several.views[0], visit) for visit in range(300)]
    assert all(80 <= drawn.count(caption) <= 120 for caption in several.captions)
    assert drawn == [caption(several.views[1], visit) for visit in range(300)]  # all views alike
    other = replace(several.views[0], caption="no caption of this clip")
    assert {caption(other, visit) for visit in range(9)} == {other.caption}
    chosen = [(several, drawn.index("a cat")), (single, 0)]
    text = make_batch(chosen, data.latents, model, NoiseSampler(0, data.times)).condition.text
    assert torch.equal(text[:2], model.condition(["a cat"] * 2).text)
    assert torch.equal(text[2:], model.condition([view.caption for view in single.views]).text)
    assert "captions" not in hashed_comparisons([single])[0] and "captions" in hashed_comparisons([several])[0]


def test_a_missing_latent_is_named_with_its_remedy(tmp_path: Path, data_in: DataIn) -> None:
    data = data_in(tmp_path)
    empty = LatentStore(tmp_path / "other", "small")
    with pytest.raises(ValueError, match=re.escape("no latent for a0") + ".*run `rushes train`"):
        make_batch([(data.comparisons[0], 0)], empty, TinyBackbone(), NoiseSampler(0, TimeDraw()))
