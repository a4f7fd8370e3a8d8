from __future__ import annotations

import math

import pytest
import torch

from rushes.noise.draws import TimeDraw, seeded


def test_seeded_is_the_same_in_every_process() -> None:
    drawn = torch.randint(0, 2**31, (3,), generator=seeded("run", 7, "noise"))
    assert drawn.tolist() == [19773668, 1502005781, 1612261549]


def test_seeded_normal_draws_are_the_same_in_every_process() -> None:
    drawn = torch.randn(3, generator=seeded(0))
    assert drawn.tolist() == pytest.approx([-2.210177, -0.212024, 1.274857], abs=1e-6)


def test_seeded_depends_on_every_part_and_its_bounds() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), (1, 12), (11, 2), (1, 1, 2)]
    first = [int(torch.randint(0, 2**62, (1,), generator=seeded(*p))) for p in parts]
    assert len(set(first)) == len(parts)


def test_seeded_generators_do_not_share_state() -> None:
    one, other = seeded("x"), seeded("x")
    torch.randn(100, generator=one)
    assert torch.equal(torch.randn(5, generator=other), torch.randn(5, generator=seeded("x")))


def test_uniform_in_the_low_noise_half() -> None:
    t = TimeDraw("uniform", high=0.5)(20_000, seeded("uniform"))
    assert t.shape == (20_000,) and t.dtype == torch.float32
    assert 0 <= float(t.min()) < 0.001 and 0.499 < float(t.max()) < 0.5
    assert float(t.mean()) == pytest.approx(0.25, abs=0.005)
    assert float(t.std()) == pytest.approx(0.5 / math.sqrt(12), abs=0.003)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.4, 1.2)])
def test_logit_normal_has_the_moments_it_names(mean: float, std: float) -> None:
    t = TimeDraw(mean=mean, std=std)(20_000, seeded("logit", mean))
    assert float(t.min()) > 0 and float(t.max()) < 1
    logit = torch.logit(t.double())
    assert float(logit.mean()) == pytest.approx(mean, abs=0.03)
    assert float(logit.std()) == pytest.approx(std, abs=0.03)


def test_logit_normal_is_squeezed_into_its_range() -> None:
    whole, part = TimeDraw(), TimeDraw(low=0.2, high=0.6)
    t = part(1000, seeded("range"))
    assert torch.allclose(t, 0.2 + 0.4 * whole(1000, seeded("range")))
    assert float(t.min()) >= 0.2 and float(t.max()) <= 0.6


def test_draws_are_a_function_of_the_generator_alone() -> None:
    draw = TimeDraw()
    assert torch.equal(draw(9, seeded("a")), draw(9, seeded("a")))
    assert not torch.equal(draw(9, seeded("a")), draw(9, seeded("b")))


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.6, 0.4), (-0.1, 1.0), (0.0, 1.1), (math.nan, 1.0)])
def test_a_range_outside_zero_to_one_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="0 <= low < high <= 1"):
        TimeDraw(low=low, high=high)
