"""The schedules that released models are sampled with, out of the configuration in their folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from rushes.backbones.base import BackboneSpec, LatentSize, MakeSolver, Solver
from rushes.backbones.folders import Folder
from rushes.backbones.sampling import PathSolver
from rushes.noise.paths import Flow, NoisePath, VariancePreserving, first_time

FLOW = ("FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler", "DPMSolverMultistepScheduler")
# steps, latent frames, height and width, the scheduler's configuration -> further arguments of its `set_timesteps`
Grid = Callable[[int, tuple[int, int, int], Mapping[str, Any]], dict[str, Any]]


class Schedule(TypedDict):
    """How a model is noised and sampled, by the names in `BackboneSpec`."""

    path: NoisePath
    shift: float
    solver: MakeSolver


def count_alone(steps: int, size: tuple[int, int, int], config: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler lays out its steps itself."""
    return {"num_inference_steps": steps}


class SchedulerSolver:
    """A scheduler of diffusers for flow models, whose steps have been set."""

    def __init__(self, scheduler: Any, begin: float) -> None:
        """With `begin` < 1 the grid begins at that time and goes on with the scheduler's own levels below it."""
        many = scheduler.config.num_train_timesteps
        if begin < 1.0:
            below = scheduler.sigmas[scheduler.sigmas < begin - 1e-6].float()
            scheduler.sigmas = torch.cat([torch.tensor([begin]), below])
            scheduler.timesteps = scheduler.sigmas[:-1] * many
            scheduler.num_inference_steps = len(scheduler.timesteps)
        scheduler.set_begin_index(0)
        self.scheduler = scheduler
        # The network is asked at the scheduler's time steps, which UniPC rounds down, and not at its sigmas.
        self.levels: Tensor = scheduler.sigmas[:-1] if begin < 1.0 else scheduler.timesteps.float() / many

    def step(self, prediction_BCFHW: Tensor, noised_BCFHW: Tensor, index: int, given: bool) -> Tensor:
        """See `rushes.backbones.base.Solver`. A given frame moves too; whoever samples puts it back."""
        at = self.scheduler.timesteps[index]
        stepped: Tensor = self.scheduler.step(prediction_BCFHW, at, noised_BCFHW, return_dict=False)[0]
        return stepped


def flow_schedule(folder: Folder, grid: Grid = count_alone) -> Schedule:
    """The schedule of a flow model; its shift is not followed where it depends on a clip's size.

    Raises:
        ValueError: a scheduler that we cannot follow.
    """
    cls, config = folder.cls("scheduler"), folder.config("scheduler")
    name = cls.__name__
    full = dict(cls.from_config(config).config)
    if name not in FLOW or (name != FLOW[0] and not full.get("use_flow_sigmas")):
        raise ValueError(
            f"{folder.path / 'scheduler'}: {name} is not a known schedule of a flow model; put a scheduler_config.json "
            f"of {FLOW[0]} there, and name it in model_index.json"
        )
    shift_name = "shift" if name == FLOW[0] else "flow_shift"

    def solver(steps: int, shift: float | None, begin: float, size: tuple[int, int, int]) -> Solver:
        # Mochi's counts from noise to clean (`invert_sigmas`); time is 0 at clean here, in every family.
        changes: dict[str, Any] = {"stochastic_sampling": False, "invert_sigmas": False} if name == FLOW[0] else {}
        if shift is not None:
            changes |= {shift_name: shift, "use_dynamic_shifting": False}
        scheduler = cls.from_config(config, **changes)
        arguments = grid(steps, size, dict(scheduler.config))
        if not scheduler.config.use_dynamic_shifting:
            arguments.pop("mu", None)
        if shift is not None:  # which moves levels and not the steps that the network is told, where these are given
            arguments.pop("timesteps", None)
        scheduler.set_timesteps(**arguments)
        return SchedulerSolver(scheduler, begin)

    return {"path": Flow(), "shift": float(full[shift_name]), "solver": solver}


def shift_by_length(
    folder: Folder, mu: Callable[[LatentSize, Mapping[str, Any]], float]
) -> Callable[[LatentSize], float] | None:
    """Latent size -> shift, of a schedule whose shift depends on the size of the clip; None where it does not.

    `mu` is what the pipeline hands to `set_timesteps`, out of the latent size and the scheduler's configuration.
    """
    full = dict(folder.cls("scheduler").from_config(folder.config("scheduler")).config)
    if not full.get("use_dynamic_shifting"):
        return None
    linear = full.get("time_shift_type") == "linear"
    return lambda size: mu(size, full) if linear else math.exp(mu(size, full))


def training_steps(spec: BackboneSpec, t_B: Tensor) -> Tensor:
    """[B] numbers of the steps of a variance-preserving schedule that are nearest to times, which networks are told."""
    assert isinstance(spec.path, VariancePreserving)
    return (t_B * (len(spec.path.alphas_bar) - 1)).round().long()


def noise_schedule(folder: Folder, ddim: Any) -> Schedule:
    """The schedule of a variance-preserving model, which has no shift, with a DDIM solver.

    Folders may name a scheduler that draws fresh noise at each step. A take must follow from its noise alone, so we go
    by DDIM on the same schedule, `ddim` being its class in diffusers.
    """
    scheduler = ddim.from_config(folder.config("scheduler"))
    many = scheduler.config.num_train_timesteps
    kinds: dict[str, Literal["v", "noise"]] = {"v_prediction": "v", "epsilon": "noise"}
    kind = kinds.get(scheduler.config.prediction_type)
    if kind is None:
        raise ValueError(
            f"{folder.path / 'scheduler'}: prediction_type {scheduler.config.prediction_type!r} is unknown"
        )
    path = VariancePreserving(scheduler.alphas_cumprod.float(), kind)

    def solver(steps: int, shift: float | None, begin: float, size: tuple[int, int, int]) -> Solver:
        """The levels that the scheduler would visit; a shift other than the model's own is not defined."""
        ddim_steps = ddim.from_config(folder.config("scheduler"))
        ddim_steps.set_timesteps(steps)
        now = ddim_steps.timesteps.tolist()
        after = [at - many // steps for at in now]
        if begin < 1.0:
            start = round(begin * (many - 1))
            below = [pair for pair in zip(now, after, strict=True) if pair[0] < start]
            now = [start, *(at for at, _ in below)]
            after = [*now[1:], after[-1]]
        end = 0.0 if scheduler.config.set_alpha_to_one else level(0)
        solver = PathSolver(path, torch.zeros(1))
        solver.levels = torch.tensor([level(at) for at in now])
        solver.after = torch.tensor([level(at) if at >= 0 else end for at in after])
        return solver

    def level(index: int) -> float:
        return index / (many - 1) if index else first_time(many)

    return {"path": path, "shift": 1.0, "solver": solver}
