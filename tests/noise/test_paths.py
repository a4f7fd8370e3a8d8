from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rushes.noise.paths import Flow, NoisePath, VariancePreserving, per_frame, sampling_times, shifted

SHAPE = (2, 3, 4, 5, 6)  # B C F H W
# Stable Diffusion's and CogVideoX's schedule: square roots of beta in equal steps.
ABAR = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
PATHS: dict[str, NoisePath] = {
    "flow": Flow(),
    "vp v": VariancePreserving(ABAR),
    "vp noise": VariancePreserving(ABAR, "noise"),
}


@dataclass
class Case:
    clean: Tensor
    noise: Tensor
    t_BF: Tensor


@pytest.fixture
def case() -> Case:
    g = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(SHAPE, generator=g, dtype=torch.float64) for _ in range(2))
    return Case(clean, noise, torch.rand(2, 4, generator=g, dtype=torch.float64) * 0.98 + 0.01)


def amounts(t_BF: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(abar) and sqrt(1 - abar) at the training step that t stands for, by numpy."""
    steps = np.rint(t_BF.numpy() * 999).astype(int)
    abar = per_frame(torch.from_numpy(ABAR.numpy()[steps]))
    return abar**0.5, (1 - abar) ** 0.5


@pytest.mark.parametrize("name", PATHS)
def test_mix_and_target_lead_back_to_clean_and_noise(name: str, case: Case) -> None:
    path = PATHS[name]
    noised = path.mix(case.clean, case.noise, case.t_BF)
    target = path.target(case.clean, case.noise, case.t_BF)
    assert noised.dtype == torch.float64
    torch.testing.assert_close(path.clean_from(noised, target, case.t_BF), case.clean, rtol=0, atol=1e-10)
    torch.testing.assert_close(path.noise_from(noised, target, case.t_BF), case.noise, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", PATHS)
def test_any_prediction_mixes_back_to_the_noised_latents(name: str, case: Case) -> None:
    path = PATHS[name]
    noised = path.mix(case.clean, case.noise, case.t_BF)
    wrong = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    clean, noise = path.clean_from(noised, wrong, case.t_BF), path.noise_from(noised, wrong, case.t_BF)
    torch.testing.assert_close(path.mix(clean, noise, case.t_BF), noised, rtol=0, atol=1e-10)


def test_a_predictor_that_knows_the_clean_latents_has_no_error(case: Case) -> None:
    """What follows from x_t and x alone, solved by hand for each path, is the target."""
    t = per_frame(case.t_BF)
    signal, sigma = amounts(case.t_BF)
    known = {
        "flow": lambda x_t: (x_t - case.clean) / t,
        "vp v": lambda x_t: (signal * x_t - case.clean) / sigma,
        "vp noise": lambda x_t: (x_t - signal * case.clean) / sigma,
    }
    for name, path in PATHS.items():
        prediction = known[name](path.mix(case.clean, case.noise, case.t_BF))
        error = ((prediction - path.target(case.clean, case.noise, case.t_BF)) ** 2).mean()
        assert float(error) < 1e-20, name


def test_flow_velocity_is_the_slope_of_the_path(case: Case) -> None:
    path, h = Flow(), 1e-3
    slope = (path.mix(case.clean, case.noise, case.t_BF + h) - path.mix(case.clean, case.noise, case.t_BF)) / h
    torch.testing.assert_close(slope, path.target(case.clean, case.noise, case.t_BF), rtol=0, atol=1e-9)


def test_vp_agrees_with_the_scheduler_formulas(case: Case) -> None:
    """add_noise and get_velocity as diffusers' schedulers have them."""
    path = VariancePreserving(ABAR)
    signal, sigma = amounts(case.t_BF)
    noised = path.mix(case.clean, case.noise, case.t_BF)
    torch.testing.assert_close(noised, signal * case.clean + sigma * case.noise)
    velocity = signal * case.noise - sigma * case.clean
    torch.testing.assert_close(path.target(case.clean, case.noise, case.t_BF), velocity)


def test_realdpo_error_is_the_v_error(case: Case) -> None:
    """RealDPO's code: mean of (x0hat - x0)^2 / (1 - abar), x0hat by get_velocity with its arguments swapped."""
    path = VariancePreserving(ABAR)
    prediction = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    signal, sigma = amounts(case.t_BF)
    noised = path.mix(case.clean, case.noise, case.t_BF)
    x0hat = signal * noised - sigma * prediction
    torch.testing.assert_close(path.clean_from(noised, prediction, case.t_BF), x0hat)
    theirs = ((x0hat - case.clean) ** 2 / sigma**2).mean((1, 3, 4))
    ours = ((prediction - path.target(case.clean, case.noise, case.t_BF)) ** 2).mean((1, 3, 4))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", PATHS)
def test_a_frame_at_time_zero_stays_clean(name: str, case: Case) -> None:
    """A given first frame; the first training step of a variance-preserving schedule already has 3 % of noise."""
    path = PATHS[name]
    case.t_BF[:, 0] = 0.0
    noised = path.mix(case.clean, case.noise, case.t_BF)
    assert torch.equal(noised[:, :, 0], case.clean[:, :, 0])
    assert not torch.isclose(noised[:, :, 1:], case.clean[:, :, 1:]).all()
    anything = torch.ones_like(noised)
    assert torch.equal(path.clean_from(noised, anything, case.t_BF)[:, :, 0], case.clean[:, :, 0])


def test_flow_ends_in_noise(case: Case) -> None:
    assert torch.equal(Flow().mix(case.clean, case.noise, torch.ones(2, 4)), case.noise)


def test_vp_refuses_a_prediction_it_does_not_know() -> None:
    with pytest.raises(AssertionError, match="epsilon"):
        VariancePreserving(ABAR, "epsilon")  # type: ignore[arg-type]


def test_shift_by_hand() -> None:
    assert shifted(torch.tensor([0.0, 0.5, 1.0]), 3.0).tolist() == [0.0, 0.75, 1.0]
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(shifted(shifted(u, 5.66), 1 / 5.66), u)


@pytest.mark.parametrize(("eta", "steps"), [(0.65, 10), (0.75, 14), (0.80, 17), (1.0, 40)])
def test_guided_sampling_starts_where_the_noise_level_is_eta(eta: float, steps: int) -> None:
    """DenseDPO: 40 steps, shift 5.66. Starting at index eta * 40 would be noise of 0.91 and more, in 26 to 32 steps."""
    times = sampling_times(40, 5.66, eta)
    assert len(times) == steps + 1
    assert float(times[0]) == pytest.approx(eta)
    on_grid = shifted(torch.arange(steps - 1, -1, -1, dtype=torch.float64) / 40, 5.66)
    torch.testing.assert_close(times[1:].double(), on_grid, rtol=0, atol=1e-6)


@given(st.integers(1, 60), st.floats(0.3, 10), st.floats(1e-3, 1))
def test_times_fall_from_start_to_zero(steps: int, shift: float, start: float) -> None:
    times = sampling_times(steps, shift, start)
    assert float(times[0]) == pytest.approx(start, rel=1e-6) and float(times[-1]) == 0
    assert bool((times.diff() < 0).all())
    assert 2 <= len(times) <= steps + 1


def test_a_start_that_is_a_grid_point_up_to_rounding_makes_no_empty_step() -> None:
    grid = sampling_times(40, 5.66)
    for index in (1, 10, 25, 39):
        torch.testing.assert_close(sampling_times(40, 5.66, float(grid[index])), grid[index:])


@pytest.mark.parametrize(
    ("steps", "shift", "start"), [(0, 1.0, 1.0), (10, 1.0, 0.0), (10, 1.0, 1.01), (10, 0.0, 1.0), (10, -1.0, 0.5)]
)
def test_impossible_grids_are_refused(steps: int, shift: float, start: float) -> None:
    with pytest.raises(ValueError, match="sampling needs"):
        sampling_times(steps, shift, start)


def cogvideox(shift: float) -> Tensor:
    """abar of CogVideoX: scaled-linear betas, a shift of the signal-to-noise ratio, then none left at the last step."""
    abar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    root = (abar / (shift + (1 - shift) * abar)).sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()


@pytest.mark.parametrize(
    ("shift", "shares"),
    [(1.0, (0.76, 0.82, 0.88)), (3.0, (0.85, 0.89, 0.93))],
    ids=["CogVideoX-5B", "CogVideoX-2B"],
)
def test_the_share_of_noise_on_a_schedule_is_not_the_share_of_its_steps(
    shift: float, shares: tuple[float, ...]
) -> None:
    path = VariancePreserving(cogvideox(shift))
    of_steps = path.noise_share(torch.tensor((0.65, 0.725, 0.8), dtype=torch.float64))
    assert of_steps.tolist() == pytest.approx(shares, abs=0.006)
    for share in (0.65, 0.725, 0.8, 0.97):
        step = path.time_of_share(share) * 999
        assert step == pytest.approx(round(step), abs=1e-9)  # a training step, which the network is told
        a = float(path.alphas_bar[round(step)])
        assert (1 - a) ** 0.5 / ((1 - a) ** 0.5 + a**0.5) == pytest.approx(share, abs=1.5e-3)
        assert step < 999 * share


@given(st.floats(1e-6, 1))
def test_a_flow_has_its_share_of_noise_as_its_time(share: float) -> None:
    assert (
        Flow().time_of_share(share) == share
        and float(Flow().noise_share(torch.tensor(share, dtype=torch.float64))) == share
    )


def test_the_ends_of_a_schedule_are_its_first_and_last_step() -> None:
    path = VariancePreserving(ABAR)
    low, high = (float(path.noise_share(torch.tensor([t], dtype=torch.float64))) for t in (1e-9, 1.0))
    assert 0 < path.time_of_share(low) * 999 < 0.5 and 998.5 < path.time_of_share(high) * 999 < 999
    for beyond in (low - 1e-4, high + 1e-4):
        with pytest.raises(ValueError, match="choose one from"):
            path.time_of_share(beyond)
