"""What is in memory at once: one network, and no text encoder beside it, whichever the stage."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rushes.backbones.folders import Folder
from rushes.config.tables import Settings
from rushes.project.generation import generate_takes
from rushes.project.intake import import_footage
from rushes.project.labels import label_pairs
from rushes.project.networks import load_run
from rushes.project.project import open_project
from rushes.project.run_evaluation import evaluate_run
from rushes.project.training import train_run

from ..backbones.tiny_pipelines import write
from ..projects import SmallProject

NETWORK, ENCODER = "WanTransformer3DModel", "UMT5EncoderModel"


def settings_for(small: SmallProject, model: Path) -> Settings:
    """A take of each of a few clips; held-out captions that training has not read."""
    backbone = {"name": "wan", "path": str(model), "first_frame": False, "height_px": 32, "width_px": 32, "frames": 9}
    train = {
        "recipe": "realdpo",
        "steps": 2,
        "trainable": "lora",
        "lora_rank": 2,
        "shortcut_probe": 0,
        "options": {},
        "held_out": 0,
    }
    tables: dict[str, dict[str, Any]] = {
        "backbone": backbone,
        "footage": {"clips": 3, "eval_prompts": 3},  # the third asks for another tempo
        "generate": {"takes": 1, "steps": 2},
        "train": train,
        "evaluate": {"prompts": 3, "seeds": 1, "steps": 2},
    }
    update = {table: getattr(small.settings, table).model_copy(update=values) for table, values in tables.items()}
    return small.settings.model_copy(update=update)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Each network and encoder that is loaded, and those that are alive then."""
    alive: list[weakref.ref[nn.Module]] = []
    rows: list[tuple[str, list[str]]] = []

    def noted(make: Callable[..., Any]) -> Callable[..., Any]:
        def load(*args: Any, **named: Any) -> Any:
            gc.collect()
            there = [type(module).__name__ for ref in alive if (module := ref()) is not None]
            loaded = make(*args, **named)
            parts = loaded.components.values() if hasattr(loaded, "components") else [loaded]
            for part in parts:
                if type(part).__name__ in (NETWORK, ENCODER):
                    rows.append((type(part).__name__, there))
                    alive.append(weakref.ref(part))
            return loaded

        return load

    monkeypatch.setattr(Folder, "load", noted(Folder.load))
    monkeypatch.setattr(Folder, "open_pipeline", noted(Folder.open_pipeline))
    return rows


def test_the_stages_hold_one_network_at_a_time(
    tmp_path: Path, small: SmallProject, loads: list[tuple[str, list[str]]]
) -> None:
    with torch.random.fork_rng():
        model = write("wan", tmp_path / "model")
    settings = settings_for(small, model)
    project = open_project(small.new_project(tmp_path / "project", settings), settings)
    import_footage(project)
    generate_takes(project)
    assert "network" in vars(project.base)
    with pytest.raises(ValueError, match="no pair to compare"):  # once there is room for a judge
        label_pairs(project)
    assert "network" not in vars(project.base)
    train_run(project)
    evaluate_run(project)
    kinds = [kind for kind, _ in loads]
    assert kinds.count(ENCODER) >= 2 and kinds.count(NETWORK) >= 4  # a hash, takes, training, base and run evaluated
    assert [(kind, there) for kind, there in loads if there] == []
    loads.clear()
    again = open_project(project.store.project, settings)
    evaluate_run(again)  # whose takes are all there
    assert loads == [(NETWORK, [])]  # for the run's hash; the base's is remembered
    load_run(again, "realdpo")
    assert "network" not in again.base.__dict__ and [there for _, there in loads if there] == []
    project.store.close()
    again.store.close()
