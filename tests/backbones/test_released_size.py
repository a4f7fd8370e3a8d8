"""Every released model at its released size through every stage, on a GPU that is not there (see `fake_gpu`).

The ordinary suite takes one model through what is dearest; `scripts/test --all` takes all. Where there is a GPU, the
smallest does a step on it.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from rushes.backbones.base import LoadOptions
from rushes.backbones.model_defaults import all_models, released
from rushes.config.clip_shapes import ClipShape
from rushes.inspect.step_forecast import ForecastRequest, forecast
from rushes.training.recipe import recipe_names

from .. import forked
from ..forked import run_ranks
from . import released_run

PROGRAM = Path(released_run.__file__)
STAGES = ("text", "codec", "sample")


def went_through(model: str, *jobs: str) -> dict[str, Any]:
    """What each job cost, from a process of its own; what went wrong there fails the test."""
    with TemporaryDirectory() as outputs:
        (output,) = run_ranks(1, Path(outputs), forked.SCRIPT, arguments=[str(PROGRAM), model, *jobs])
    costs: dict[str, Any] = json.loads(output.splitlines()[-1])["jobs"]
    return costs


def test_every_model_has_a_size() -> None:
    assert list(released_run.SIZES) == list(all_models())


def test_every_recipe_has_a_shape() -> None:
    assert sorted(released_run.RECIPES) == sorted(recipe_names())
    assert set(released_run.RECIPES.values()) == set(released_run.SHAPES)


@pytest.mark.slow
def test_a_step_of_wan_at_released_size() -> None:
    """283 TFLOP a forward, hence about 1,150 a step with an adapter: forward, again, and gradients by inputs alone."""
    costs = went_through("wan2.1-t2v-1.3b", "stray", "text", "lora/supervised")
    assert costs["stray"]["refused"] == "FakeTensorDeviceMismatchError"
    assert costs["text"]["tokens"] == [1, 512, 4096]
    step = costs["lora/supervised"]
    assert step["tflop"] == pytest.approx(1150, rel=0.03)
    assert 8.9 < step["peak_gib"] < 14 and step["idle"] == []


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("jobs", ["stages", "lora", "full"])
@pytest.mark.parametrize("model", list(all_models()))
def test_all_of_a_model_at_released_size(model: str, jobs: str) -> None:
    """All stages, and a step of each recipe with adapters and in full; each asserts in its process what it sees."""
    names = STAGES if jobs == "stages" else [f"{jobs}/{shape}" for shape in released_run.SHAPES]
    costs = went_through(model, *names)
    print(json.dumps({model: costs}))
    assert [*costs] == [*names]
    for job, facts in costs.items():
        assert facts["tflop"] > 0 or job == "text", job


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("model", "way"), [("wan2.1-t2v-14b", "card"), ("wan2.1-t2v-1.3b", "streamed")])
def test_a_step_on_a_small_card_is_as_forecast(model: str, way: str) -> None:
    """All blocks, both passes, what the reference holds and gradients: all but the moments, which come with the first
    step of the optimizer. 14B in 4 bits: 18.99 GiB and 13.14 of main memory, forecast 19.19 and 13.12.
    """
    (step,) = went_through(model, f"{way}/supervised").values()
    options, activations = released_run.WAYS[way]
    height, width, frames = released_run.SIZES[model]
    ask = ForecastRequest(
        ClipShape(height, width, frames),
        replace(options, dtype="bfloat16"),
        "lora",
        rank=32,
        views=1,
        batch=1,
        reference_cache=True,
        gpu_memory_gb=24,
        tflops=66,
        activations=activations,
    )
    forecasted = forecast(released(model), ask)
    there = forecasted.modes["joint"].memory_gb - forecasted.memory_gb["optimiser"]
    assert step["peak_gib"] == pytest.approx(there, rel=0.05) and step["peak_gib"] <= there + 0.1
    assert step["main_gib"] == pytest.approx(sum(forecasted.main_memory_gb.values()), rel=0.02)
    assert forecasted.fits and forecasted.modes["joint"].memory_gb + forecasted.memory_gb["gradients"] <= 21.0
    assert sum(forecasted.main_memory_gb.values()) <= 48


@pytest.mark.slow
@pytest.mark.cuda
def test_a_step_of_wan_on_a_gpu(cuda: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest model with random weights of released size: a pair's step, and memory as the fake GPU has it."""
    name, size = "wan2.1-t2v-1.3b", (480, 832, 17)
    backbone = released_run.opened(name, LoadOptions(), cuda)
    rows = {released_run.CAPTION: {"text": (torch.randn(512, 4096, dtype=torch.bfloat16), 512)}}
    monkeypatch.setitem(released_run.ROWS, name, rows)
    run = released_run.Run(name, backbone, size)
    torch.cuda.reset_peak_memory_stats()
    facts = run.train("lora", "pair")
    assert facts["idle"] == []
    assert facts["loss"] == pytest.approx(math.log(2), abs=1e-3), "policy and reference are one"
    assert 2.6 < torch.cuda.max_memory_allocated() / 2**30 < 14
