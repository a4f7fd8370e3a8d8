"""What of an offloaded network cannot be trained is reported before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.project.networks import load_start
from rushes.project.project import open_project
from rushes.project.training import cache_reference, train_run

from ..projects import SmallProject


def test_training_is_refused_before_anything_is_loaded(tmp_path: Path, small: SmallProject) -> None:
    settings = small.settings
    nowhere = {"name": "wan", "path": str(tmp_path / "none"), "offload": True}
    settings = settings.model_copy(
        update={
            "backbone": settings.backbone.model_copy(update=nowhere),
            "train": settings.train.model_copy(update={"reference_cache": 2}),
        }
    )
    project = open_project(small.new_project(tmp_path / "project", settings), settings)
    for command in (train_run, cache_reference, load_start):
        with pytest.raises(ValueError) as caught:
            command(project)
        assert str(caught.value).startswith(
            "backbone.offload: trained weights stay on the GPU, and here all are trained; set it to false"
        )
