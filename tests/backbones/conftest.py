from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone

from .tiny_pipelines import BACKBONE, write


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny pipeline, written once; read only."""
    known: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in known:
            with torch.random.fork_rng():
                known[name] = write(name, tmp_path_factory.mktemp("models") / name)
        return known[name]

    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Callable[[str], Path]) -> Callable[[str], DiffusersBackbone]:
    """A tiny pipeline as a backbone, loaded afresh at each call."""

    def load(name: str) -> DiffusersBackbone:
        model = load_backbone(BACKBONE[name], str(tiny_folder(name)))
        assert isinstance(model, DiffusersBackbone)
        return model

    return load
