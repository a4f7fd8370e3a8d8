"""`rushes init --model` on each family's tiny folders, and the stages after it with no further setting but sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rushes.backbones.loading import load_backbone
from rushes.backbones.table import backbone_names
from rushes.cli import main
from rushes.media.write import encode_bytes
from rushes.project.model_presets import DEFAULT
from rushes.recipes import realdpo
from rushes.store.database import Store

from .. import tiny_sd
from ..backbones.test_pipelines import frames_of, size_of
from ..backbones.tiny_pipelines import BACKBONE, MAKERS, write
from .test_model_presets import DRIVEN

# One model of each family goes through the stages; the other variants through `init` alone.
STAGES = (
    "wan_unipc",
    "skyreels_df",
    "cogvideox_i2v",
    "ltx_conditions",
    "ltx2",
    "mochi",
    "hunyuan",
    "hunyuan15_i2v",
    "animatediff",
    "inflated_sd",
)
FEWER = {
    "train.steps": 2,
    "train.batch": 1,
    "train.warmup_steps": 0,
    "generate.steps": 2,
    "evaluate.steps": 2,
    "generate.takes": 1,
}
Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    known: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in known:
            place = tmp_path_factory.mktemp("models") / name
            with torch.random.fork_rng():
                known[name] = tiny_sd.write(place, taught=True) if name == "inflated_sd" else write(name, place)
        return known[name]

    return make


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    t, y, x = np.meshgrid(np.arange(24), np.arange(64), np.arange(96), indexing="ij")
    for k in range(3):
        waves = np.sin((k + 1) * (0.1 * x + 0.05 * y + 0.3 * t)[..., None] + np.arange(3))
        (folder / f"{k}.mp4").write_bytes(encode_bytes(((waves + 1) * 127.5).astype(np.uint8), 16.0))
        (folder / f"{k}.txt").write_text(f"{k + 1} waves roll by")
    return folder


def test_every_family_goes_through_the_stages() -> None:
    assert {BACKBONE.get(name, name) for name in STAGES} == set(backbone_names()) - {"tiny"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MAKERS, "inflated_sd"])
def test_init_takes_nothing_from_the_tiny_backbone(
    name: str, folder: Folder, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", str(tmp_path / "p"), "--model", str(folder(name)), "--footage", str(footage), "--json"])
    facts = json.loads(capsys.readouterr().out)
    rows = facts["settings"]
    assert [path for path in DRIVEN if rows[path]["source"] == DEFAULT] == []
    assert rows["backbone.name"]["value"] == BACKBONE.get(name, name)
    assert facts["notes"]  # a folder of no release's sizes is said to be one
    assert all(rows[f"train.{path}"]["value"] != realdpo.TINY[path] for path in ("batch", "steps"))
    assert rows["train.objective.sft_weight"]["value"] == 0 and rows["train.options.beta"]["value"] == 5000


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_stages_run_with_what_init_wrote_and_the_export_loads(
    name: str, folder: Folder, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model: Any = load_backbone(BACKBONE.get(name, name), str(folder(name)))
    (height, width), frames = size_of(model), frames_of(model)
    fewer = [f"--set={key}={value}" for key, value in FEWER.items()]
    project = str(tmp_path / "p")
    main(["init", project, "--model", str(folder(name)), "--footage", str(footage), "--size", f"{height}x{width}",
          "--frames", str(frames), *fewer])  # fmt: skip
    for stage in ("import", "generate", "train", "evaluate"):
        main([stage, project])
    capsys.readouterr()
    main(["export", project, "--out", str(tmp_path / "out"), "--run", "realdpo", "--json"])
    facts = json.loads(capsys.readouterr().out)
    if name == "inflated_sd":  # with what it adds to the image model a whole model, which is none of diffusers'
        load_backbone(name, facts["weights"])
    else:  # read back by diffusers
        assert facts["output_change"] > 0 and facts["read_back_difference"] <= 1e-2 * facts["output_change"]
    with Store.open(Path(project)) as store:
        (run,) = store.runs()
        assert run.settings["train"]["options"]["beta"] == 5000.0 and run.settings["train"]["trainable"] == "lora"
        noise = [-3.0, 0.5] if name == "cogvideox_i2v" else []  # its trainer has noise on the shown frame
        assert run.settings["train"].get("first_frame_noise", []) == noise
        assert len(store.candidates(split="eval", system="realdpo")) == 1
