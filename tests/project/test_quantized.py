"""A project whose network is held in few bits: from settings to an exported adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.config.settings_files import SettingsError
from rushes.config.tables import Settings
from rushes.evaluate.stored import finished_run
from rushes.export.weights import export_weights
from rushes.noise.draws import TimeDraw
from rushes.project.intake import import_footage
from rushes.project.networks import load_run, load_start
from rushes.project.project import OpenProject, open_project
from rushes.project.training import train_run
from rushes.training.batches import NoiseSampler
from rushes.training.reference_cache import open_cache

from ..backbones.tiny_pipelines import write
from ..projects import SmallProject


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, small: SmallProject) -> OpenProject:
    """Of which a run trained an adapter over a Wan in 4 bits."""
    folder = tmp_path_factory.mktemp("quantized")
    with torch.random.fork_rng():
        model = write("wan", folder / "model")
    settings = changed(
        small.settings,
        backbone={
            "name": "wan",
            "path": str(model),
            "first_frame": False,
            "height_px": 32,
            "width_px": 32,
            "frames": 17,
            "quantize": "4bit",
        },
        train={
            "recipe": "sft",
            "trainable": "lora",
            "lora_rank": 4,
            "lora_alpha": 12.0,
            "learning_rate": 1e-2,
            "options": {},
            "shortcut_probe": 0,
        },
    )
    opened = open_project(small.new_project(folder / "project", settings), settings)
    import_footage(opened)
    train_run(opened)
    return opened


def changed(settings: Settings, **tables: dict[str, Any]) -> Settings:
    update = {table: getattr(settings, table).model_copy(update=values) for table, values in tables.items()}
    return settings.model_copy(update=update)


def test_a_run_is_loaded_and_exported(project: OpenProject, tmp_path: Path) -> None:
    run = load_run(project, "sft")
    assert run.fingerprint == finished_run(project.store, "sft").made_by != project.base.fingerprint
    wrote = export_weights(project, "sft", tmp_path)
    assert wrote.kind == "adapter for diffusers" and wrote.change is not None and wrote.change > 1e-3
    assert wrote.difference < 1e-4


def test_other_bits_are_other_weights(project: OpenProject) -> None:
    """For runs, the takes that they are compared with, and the cache."""
    names = set()
    for bits in ("none", "8bit", "4bit"):
        settings = changed(project.settings, backbone={"quantize": bits})
        other = open_project(project.store.project, settings)
        base = other.base
        cache = open_cache(project.store.project / "bank", 1, weights=base.fingerprint, latents=other.latents,
                         backbone=base, draws=NoiseSampler(0, TimeDraw()))  # fmt: skip
        names.add((base.fingerprint, cache.entries.fingerprint))
        assert other.latents.fingerprint == project.latents.fingerprint  # the codec's are the same
        if bits != "4bit":
            with pytest.raises(ValueError, match="run 'sft' started from weights other than"):
                load_run(other, "sft")
    assert len({weights for weights, _ in names}) == len({cache for _, cache in names}) == 3


def test_settings_that_do_not_go_with_it(project: OpenProject) -> None:
    for table, change, words in (
        (
            "train",
            {"trainable": "full"},
            "train.trainable: a network in 4bit stays frozen; set it to lora, or",
        ),
        ("train", {"parallel": "shard"}, "train.parallel: a network in 4bit cannot be sharded; set train.parallel to"),
        (
            "backbone",
            {"dtype": "mixed"},
            "backbone.dtype: mixed is for trained weights, but weights in 4bit are",
        ),
    ):
        with pytest.raises(SettingsError) as caught:
            open_project(project.store.project, changed(project.settings, **{table: change}))
        assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_an_adapter_is_not_merged_into_it(project: OpenProject) -> None:
    other = open_project(
        project.store.project, changed(project.settings, train={"name": "next", "init_from": "sft", "lora_rank": 2})
    )
    with pytest.raises(ValueError, match="cannot be merged into a network in 4bit, as rounding would"):
        load_start(other)
    same = open_project(project.store.project, changed(project.settings, train={"name": "next", "init_from": "sft"}))
    assert load_start(same).fingerprint == finished_run(project.store, "sft").made_by
