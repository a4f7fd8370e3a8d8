"""Settings that a model does not have are refused before anything is read, each by one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.cli import main
from rushes.project.project import open_project

from ..backbones.tiny_pipelines import BACKBONE, write
from ..projects import SmallProject


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    known: dict[str, Path] = {}

    def made(name: str) -> Path:
        if name not in known:
            with torch.random.fork_rng():
                known[name] = write(name, tmp_path_factory.mktemp("models") / name)
        return known[name]

    return made


@pytest.mark.parametrize(
    ("name", "table", "values", "sentence"),
    [
        (
            "cogvideox_i2v",
            "backbone",
            {"frames": 5},
            "backbone.frames: this cogvideox works only with 9 frames",
        ),
        ("animatediff", "backbone", {"frames": 40}, "backbone.frames: this animatediff has positions for at most 32"),
        (
            "wan",
            "generate",
            {"guidance_scale_2": 3.0},
            "generate.guidance_scale_2: this wan has one network and no second expert",
        ),
        (
            "wan",
            "generate",
            {"image_cond_noise_scale": 0.1},
            "generate.image_cond_noise_scale: this wan is not sampled",
        ),
        (
            "wan",
            "generate",
            {"adain_share": 0.5},
            "generate.adain_share: it needs one pixel frame per latent frame",
        ),
        (
            "wan",
            "backbone",
            {"decode_timestep": 0.05},
            "backbone.decode_timestep, decode_noise_scale: the decoder of this",
        ),
        (
            "ltx",
            "train",
            {"first_frame_noise": (-3.0, 0.5)},
            "train.first_frame_noise: this ltx has the first frame, without noise",
        ),
        ("wan", "train", {"first_frame_noise": (-3.0, 0.5)}, "train.first_frame_noise: no first frame is given"),
    ],
)
def test_refused_before_anything_is_read(
    name: str,
    table: str,
    values: dict[str, Any],
    sentence: str,
    folder: Callable[[str], Path],
    small: SmallProject,
    tmp_path: Path,
) -> None:
    size = {"name": BACKBONE[name], "path": str(folder(name)), "first_frame": name in ("cogvideox_i2v", "ltx")}
    size |= {"height_px": 32, "width_px": 48, "frames": 9} if name == "cogvideox_i2v" else {"frames": 9}
    changes: dict[str, dict[str, Any]] = {"backbone": size}
    changes[table] = {**changes.get(table, {}), **values}
    settings = small.settings.model_copy(
        update={key: getattr(small.settings, key).model_copy(update=new) for key, new in changes.items()}
    )
    project = small.new_project(tmp_path / "project", settings)
    with pytest.raises(ValueError) as caught:
        _ = open_project(project, settings).base
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


@pytest.mark.parametrize("noise", ["[-3]", "[-3, -0.5]", "[1, 2, 3]"])
def test_a_mean_and_a_spread(
    noise: str, small: SmallProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = small.new_project(tmp_path / "project", small.settings)
    with pytest.raises(SystemExit):
        main(["generate", str(project), "--set", f"train.first_frame_noise={noise}"])
    assert (
        "train.first_frame_noise: needs a mean and a spread of at least 0, such as [-3, 0.5]" in capsys.readouterr().err
    )
