from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rushes.backbones.base import BackboneSpec, Condition
from rushes.backbones.first_frame_consistency import matched, matched_colours, matched_end, matched_step, shared_noise
from rushes.backbones.sampling import sample
from rushes.noise.paths import Flow


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("unit", [True, False])
def test_frames_share_a_part_of_their_noise(unit: bool) -> None:
    """Spread and correlation of 0.2 n_0 + 0.8 n_f: sqrt(0.68), 0.16 / 0.68 ** 0.5 with n_0 and 0.04 / 0.68 apart."""
    noise = draw(1, 4, 3, 150, 150)
    mixed = shared_noise(noise, 0.2, unit)
    assert torch.equal(mixed[:, :, 0], noise[:, :, 0])
    spread = 1.0 if unit else 0.68**0.5
    assert mixed[:, :, 1:].std().item() == pytest.approx(spread, abs=0.01)
    flat = mixed.transpose(0, 2).flatten(1)
    apart = torch.corrcoef(flat)
    assert apart[0, 1:].tolist() == pytest.approx([0.2 / 0.68**0.5] * 2, abs=0.01)
    assert apart[1, 2].item() == pytest.approx(0.04 / 0.68, abs=0.01)
    torch.testing.assert_close(mixed[:, :, 1], (0.2 * noise[:, :, 0] + 0.8 * noise[:, :, 1]) * (spread / 0.68**0.5))
    assert torch.equal(shared_noise(noise, 0.0, unit), noise)


def facts(latents: Tensor) -> Tensor:
    return torch.stack([latents.mean((3, 4)), latents.std((3, 4))])


def test_matched_latents_have_the_statistics_and_keep_the_picture() -> None:
    one, other = 3 * draw(2, 4, 3, 6, 5) + 1, draw(2, 4, 1, 6, 5, seed=1) - 2
    made = matched(one, other)
    torch.testing.assert_close(facts(made), facts(other).expand(-1, -1, -1, 3), rtol=1e-4, atol=1e-4)
    a, b = (x[1, 2, 1] - x[1, 2, 1].mean() for x in (one, made))
    torch.testing.assert_close(b / b.std(), a / a.std(), rtol=1e-4, atol=1e-4)  # nothing but shift and scale
    torch.testing.assert_close(matched(one, one), one)


def test_who_takes_whose_statistics() -> None:
    """Frames from 2 on those of frame 1, which in late steps has taken those of frame 0 before."""
    x = draw(1, 2, 4, 8, 8) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 4, 1, 1)
    early, late, end = matched_step(x, False), matched_step(x, True), matched_end(x)
    for made, frames in ((early, [0, 1, 1, 1]), (late, [0, 0, 0, 0]), (end, [0, 0, 0, 0])):
        torch.testing.assert_close(facts(made), facts(x)[:, :, :, frames], rtol=1e-3, atol=1e-3)
    assert torch.equal(early[:, :, :2], x[:, :, :2]) and torch.equal(late[:, :, 0], x[:, :, 0])
    for length in (1, 2):
        assert matched_step(x[:, :, :length], True).shape == matched_end(x[:, :, :length]).shape == (1, 2, length, 8, 8)


class Model:
    """Predicts so that every step multiplies by a factor of its own; keeps what it was asked."""

    def __init__(self, ratio: int = 1) -> None:
        self.spec = BackboneSpec("model", ("text",), Flow(), 2, ratio, 8, 8.0, 1.0, ())
        self.asked: list[Tensor] = []

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        self.asked.append(noised_BCFHW)
        return -noised_BCFHW * torch.arange(1, 5).view(1, 1, 4, 1, 1)


@pytest.mark.parametrize(("match", "late"), [(0.4, 6), (0.38, 6), (0.1, 9), (1.0, 0)])
def test_statistics_are_matched_while_sampling(match: float, late: int) -> None:
    """With the published 0.38 of 50 steps, step 31 is the first late one."""
    model, noise, first = Model(), draw(1, 2, 4, 8, 8), draw(1, 2, 1, 8, 8, seed=1)
    condition = Condition(torch.zeros(1, 1), first)
    made = sample(model, condition, noise, steps=10, match=match)  # type: ignore[arg-type]
    torch.testing.assert_close(facts(made), facts(first).expand(-1, -1, -1, 4), rtol=1e-3, atol=1e-3)
    for index, x in enumerate(model.asked[1:], start=1):  # what step `index` starts from, after step index - 1
        spread = facts(x)[1, 0, 0]
        assert spread[2:].tolist() == pytest.approx([spread[1].item()] * 2, rel=1e-3)
        assert (abs(spread[1] / spread[0] - 1) < 1e-3) == (index - 1 >= late)
    assert round((1 - 0.38) * 50) == 31


def test_without_matching_nothing_is_touched() -> None:
    model, noise = Model(), draw(1, 2, 4, 8, 8)
    made = sample(model, Condition(torch.zeros(1, 1)), noise, steps=10)  # type: ignore[arg-type]
    factors = [float(made[0, 0, f, 0, 0] / noise[0, 0, f, 0, 0]) for f in range(4)]
    assert factors == pytest.approx([(1 + k / 10) ** 10 for k in range(1, 5)], rel=1e-4)


def test_latent_frames_of_several_pixel_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model has 4 in all but the first; set it to 0"):
        sample(Model(ratio=4), Condition(torch.zeros(1, 1)), draw(1, 2, 4, 8, 8), steps=2, match=0.4)  # type: ignore[arg-type]


def test_colours_are_those_of_an_independent_implementation() -> None:
    from skimage.exposure import match_histograms

    rng = np.random.default_rng(0)
    frames = np.clip(rng.normal(120, 40, (3, 40, 30, 3)) * [1.0, 0.7, 0.4], 0, 255).astype(np.uint8)
    frames[1] //= 2
    made = matched_colours(frames)
    assert np.array_equal(made[0], frames[0])
    for t in (1, 2):
        wanted = match_histograms(frames[t], frames[0], channel_axis=-1)
        assert np.abs(made[t].astype(float) - wanted).max() <= 1  # it cuts, we round
        assert abs(made[t].mean() - frames[0].mean()) < 2
    assert abs(frames[1].mean() - frames[0].mean()) > 20


def test_a_darker_copy_gets_its_colours_back() -> None:
    frame = np.random.default_rng(0).integers(0, 4, (16, 16, 3), np.uint8) * 80
    made = matched_colours(np.stack([frame, frame // 2, frame]))
    assert all(np.array_equal(each, frame) for each in made)
