"""The precision that a network is trained in, and what a step changes in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rushes.backbones import wan
from rushes.backbones.base import LoadOptions, Precision
from rushes.backbones.pipeline import load_model
from rushes.config.tables import BackboneSettings, Settings, TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.project.networks import precision_of
from rushes.project.project import OpenProject
from rushes.records import Run
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.training.comparison import Comparison, View
from rushes.training.loop import TrainingData, train

from ..backbones.tiny_pipelines import write

FULL, MOTION = TrainSettings(trainable="full"), TrainSettings(trainable="motion")
SMALL, LARGE = TrainSettings(trainable="lora", lora_rank=4), TrainSettings(trainable="lora", lora_rank=8)


def after(settings: TrainSettings, run: str) -> TrainSettings:
    return settings.model_copy(update={"init_from": run})


def project_with(folder: Path, runs: dict[str, TrainSettings], dtype: Precision = "auto") -> OpenProject:
    store = Store.create(folder)
    settings = Settings(backbone=BackboneSettings(dtype=dtype))
    for name, trained in runs.items():
        kept = settings.model_copy(update={"train": trained}).model_dump(mode="json")
        store.add([Run(name, name, trained.recipe, "wan", "base", name, 0, 1, 0.0, kept, "x")])
    return OpenProject(store, settings)


@pytest.mark.parametrize(
    ("runs", "settings", "gpu", "expected"),
    [
        ({}, FULL, True, "mixed"),
        ({}, MOTION, True, "mixed"),
        ({}, SMALL, True, "auto"),
        ({}, FULL, False, "auto"),
        ({"a": SMALL}, after(SMALL, "a"), True, "auto"),  # the same adapter goes on
        ({"a": SMALL}, after(LARGE, "a"), True, "mixed"),  # a's adapter is merged
        ({"a": FULL}, after(SMALL, "a"), True, "mixed"),  # a's weights are the network's
        ({"a": SMALL, "b": after(LARGE, "a")}, after(LARGE, "b"), True, "mixed"),
    ],
)
def test_weights_that_change_are_kept_in_float32(
    runs: dict[str, TrainSettings], settings: TrainSettings, gpu: bool, expected: Precision, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    project = project_with(tmp_path, runs)
    assert precision_of(project, settings) == expected
    project.store.close()


def test_what_is_asked_for_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    project = project_with(tmp_path, {}, "bfloat16")
    assert precision_of(project, FULL) == "bfloat16"
    project.store.close()


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Precision], float]:
    """The share of a network's weights that five steps at RealDPO's learning rate move."""
    folder = tmp_path_factory.mktemp("moved")
    with torch.random.fork_rng():
        model = write("wan", folder / "model")
        torch.manual_seed(0)
        latents = LatentStore(folder / "latents", "x")
        latents.put({"a": torch.randn(4, 2, 4, 4), "b": torch.randn(4, 2, 4, 4)})
    term = Term("clip", (1.0, -1.0), (1, 1), 100.0)
    data = TrainingData(
        [Comparison("c", "g", (View("a", "ball"), View("b", "ball")), (term,))], [], latents, TimeDraw()
    )

    def share(dtype: Precision) -> float:
        backbone = load_model(str(model), wan.FAMILY, LoadOptions(dtype=dtype, checkpointing=False))
        backbone.network.requires_grad_(True)
        before = {name: p.detach().clone() for name, p in backbone.network.named_parameters() if p.dim() > 1}
        settings = TrainSettings(steps=5, batch=1, learning_rate=1e-6, warmup_steps=0, lr_scheduler="constant")
        train(backbone, data, settings, folder / dtype, seed=0, identity="")
        after = dict(backbone.network.named_parameters())
        changed = [(before[name] != after[name]).float() for name in before]
        return float(torch.cat([c.flatten() for c in changed]).mean())

    return share


def test_few_weights_in_bfloat16_move_and_nearly_all_in_mixed_precision(moved: Callable[[Precision], float]) -> None:
    assert moved("bfloat16") < 0.1
    assert moved("mixed") > 0.9
