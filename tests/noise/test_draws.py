from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from rushes.noise.draws import TimeDistribution, TimeDraw, seeded


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


def test_without_shift_and_range_draws_are_the_plain_ones_to_the_bit() -> None:
    """So that runs of before there were shifts can be repeated."""
    plain = torch.sigmoid(0.4 + 1.2 * torch.randn(999, generator=seeded("bits")))
    assert torch.equal(TimeDraw(mean=0.4, std=1.2)(999, seeded("bits")), plain)
    unit = torch.rand(999, generator=seeded("bits"))
    assert torch.equal(TimeDraw("uniform")(999, seeded("bits")), unit)
    assert torch.equal(TimeDraw("uniform", 0.2, 0.6)(999, seeded("bits")), 0.2 + (0.6 - 0.2) * unit)


def distribution(kind: str, shift: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """P(t <= x) of the shifted base distribution, by scipy and from the definition of the shift."""

    def at(x: NDArray[np.float64]) -> NDArray[np.float64]:
        before = x / (shift - (shift - 1) * x)
        with np.errstate(divide="ignore"):
            return before if kind == "uniform" else norm.cdf(np.log(before) - np.log1p(-before))

    return at


@pytest.mark.parametrize("kind", ["uniform", "logit_normal"])
@pytest.mark.parametrize("shift", [1.0, 3.0, 12.0, 0.5])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.875, 1.0), (0.0, 0.875), (0.2, 0.6)])
def test_histograms_are_those_of_the_closed_form(kind: TimeDistribution, shift: float, low: float, high: float) -> None:
    count, edges = 20_000, np.linspace(low, high, 11)
    draw = TimeDraw(kind, low, high, shift=shift)
    t = draw(count, seeded("histogram", kind, shift, low)).numpy()
    assert t.min() >= np.float32(low) and t.max() <= np.float32(high)
    below = distribution(kind, shift)(edges)
    expected = np.diff(below) / (below[-1] - below[0])
    found = np.histogram(t, edges)[0] / count
    assert (np.abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / count) + 1e-4).all()
    shares = [draw.share(a, b) for a, b in pairwise(edges)]
    assert shares == pytest.approx(expected.tolist(), abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "shift", "share"),
    [
        ("logit_normal", 1.0, 0.0258),
        ("uniform", 1.0, 0.125),
        ("uniform", 3.0, 0.3),
        ("logit_normal", 12.0, 0.7051),
        ("uniform", 12.0, 12 / 19),
    ],
)
def test_what_the_high_noise_expert_of_wan_gets(kind: TimeDistribution, shift: float, share: float) -> None:
    """At or above 0.875; 12/19 is also the share of the steps in which takes at shift 12 ask it."""
    draw = TimeDraw(kind, shift=shift)
    assert draw.share(0.875, 1.0) == pytest.approx(share, abs=5e-5)
    assert float((draw(40_000, seeded(kind, shift)) >= 0.875).double().mean()) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("shift", [1.0, 12.0])
def test_a_range_truncates_and_does_not_squeeze(shift: float) -> None:
    """A logit-normal that is squeezed into [0.875, 1] and then shifted by 12 has nothing below 0.988."""
    part = TimeDraw(low=0.875, shift=shift)
    t = part(4000, seeded("part"))
    whole = TimeDraw(shift=shift)(200_000, seeded("whole"))
    assert float(t.median()) == pytest.approx(float(whole[whole >= 0.875].median()), abs=0.004)
    assert float((t < 0.95).double().mean()) > 0.15


def test_far_out_on_either_side_draws_stay_apart() -> None:
    for low, high in ((0.9999, 1.0), (0.0, 0.0001)):
        t = TimeDraw(low=low, high=high)(1000, seeded("tail"))
        assert low - 1e-7 <= float(t.min()) and float(t.max()) <= high and len(t.unique()) > 300


@pytest.mark.parametrize("kind", ["uniform", "logit_normal"])
def test_each_draw_takes_one_number_whatever_shift_and_range(kind: TimeDistribution) -> None:
    """What is drawn after it from the same generator, the noise, does not depend on them."""
    after = []
    for draw in (TimeDraw(kind), TimeDraw(kind, 0.5, 0.9, shift=5.0)):
        generator = seeded("order")
        draw(1, generator)
        after.append(torch.randn(64, generator=generator))
    assert torch.equal(*after)


@pytest.mark.parametrize("shift", [0.0, -1.0, math.inf, math.nan])
def test_a_shift_that_is_none_is_refused(shift: float) -> None:
    with pytest.raises(ValueError, match="a shift above 0"):
        TimeDraw(shift=shift)


def test_a_range_that_no_draw_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match="no time can be drawn"):
        TimeDraw(low=0.0, high=1e-300, std=0.1)


def test_draws_are_a_function_of_the_generator_alone() -> None:
    draw = TimeDraw()
    assert torch.equal(draw(9, seeded("a")), draw(9, seeded("a")))
    assert not torch.equal(draw(9, seeded("a")), draw(9, seeded("b")))


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.6, 0.4), (-0.1, 1.0), (0.0, 1.1), (math.nan, 1.0)])
def test_a_range_outside_zero_to_one_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="0 <= low < high <= 1"):
        TimeDraw(low=low, high=high)
