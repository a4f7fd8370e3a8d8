"""A run with an adapter on a small Wan of random weights, and what other programs get of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rushes.backbones.adapters import LORA_FILE, adapter_is_idle
from rushes.cli import main
from rushes.export import weights
from rushes.export.weights import WeightsFormat, export_weights
from rushes.formats.exchange import ProjectExported
from rushes.project import intake, training
from rushes.project.networks import load_run, run_network
from rushes.project.project import OpenProject, open_project, run_folder
from rushes.training.history import read_history

from ..backbones.tiny_pipelines import write
from ..projects import SmallProject

Forms = pytest.mark.parametrize("form", ["diffusers", "comfyui"])


@pytest.fixture(scope="module", params=["wan", "wan_experts"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small: SmallProject
) -> OpenProject:
    """A project of which run `sft` trained an adapter with alpha other than its rank."""
    folder = tmp_path_factory.mktemp("lora")
    with torch.random.fork_rng():
        path = write(request.param, folder / "model")
    changes = {
        "backbone": {
            "name": "wan",
            "path": str(path),
            "first_frame": False,
            "height_px": 32,
            "width_px": 32,
            "frames": 17,
        },
        "train": {
            "recipe": "sft",
            "trainable": "lora",
            "lora_rank": 4,
            "lora_alpha": 12.0,
            "learning_rate": 1e-2,
            "options": {},
            "shortcut_probe": 0,
        },
    }
    settings = small.settings.model_copy(
        update={table: getattr(small.settings, table).model_copy(update=values) for table, values in changes.items()}
    )
    project = open_project(small.new_project(folder / "project", settings), settings)
    intake.import_footage(project)
    training.train_run(project)
    return project


def test_one_run_trains_both_experts_and_says_how_each_fares(trained: OpenProject) -> None:
    run: Any = load_run(trained, "sft")
    rows = read_history(run_folder(trained, "sft") / "metrics.jsonl")[1:]
    of = {name: [row for row in rows if f"expert/{name}/loss" in row] for name in ("high_noise", "low_noise")}
    if run.spec.boundary is None:
        assert not any(of.values())
        return
    for name, expert in (("high_noise", run.network.high), ("low_noise", run.network.low)):
        assert of[name] and not adapter_is_idle(expert)
    for row in rows:
        asked = [(row.get(f"expert/{name}/comparisons", 0), row.get(f"expert/{name}/loss", 0)) for name in of]
        assert sum(count for count, _ in asked) == trained.settings.train.batch
        assert sum(count * loss for count, loss in asked) / 2 == pytest.approx(row["loss"], rel=1e-5)


@Forms
def test_what_is_written_acts_as_the_run(form: WeightsFormat, trained: OpenProject, tmp_path: Path) -> None:
    wrote = export_weights(trained, "sft", tmp_path, form)
    assert wrote.change is not None and wrote.change > 1e-3 and wrote.difference < 1e-4
    files = sorted(path.relative_to(wrote.path).as_posix() for path in wrote.path.rglob("*.safetensors"))
    experts = trained.base.spec.boundary is not None
    assert files == ([f"{part}/{LORA_FILE}" for part in ("high_noise", "low_noise")] if experts else [LORA_FILE])
    with pytest.raises(ValueError, match="already exists"):
        export_weights(trained, "sft", tmp_path, form)


def test_the_command_says_how_it_is_loaded(
    trained: OpenProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", str(trained.store.project), "--out", str(tmp_path), "--run", "sft"])
    shown = capsys.readouterr().out.splitlines()
    lines = [line for line in shown if "load_lora" in line]
    assert lines[-1] == shown[-1], "the last line is what diffusers needs"
    if trained.base.spec.boundary is None:
        assert lines == [f"load: pipeline.load_lora_weights('{tmp_path / 'sft'}')"]
    else:
        assert (
            lines[1] == f"pipeline.load_lora_weights('{tmp_path / 'sft' / 'low_noise'}', load_into_transformer_2=True)"
        )


@Forms
def test_pipelines_of_diffusers_load_it(form: WeightsFormat, trained: OpenProject, tmp_path: Path) -> None:
    """Through `load_lora_weights` alone, which reads both forms of a Wan adapter."""
    from diffusers import DiffusionPipeline

    folder = export_weights(trained, "sft", tmp_path, form).path
    pipeline: Any = DiffusionPipeline.from_pretrained(trained.settings.backbone.path, local_files_only=True)
    run: Any = load_run(trained, "sft")
    networks: list[tuple[Path, Any, Any, dict[str, bool]]] = [(folder, pipeline.transformer, run.network, {})]
    if run.spec.boundary is not None:
        networks = [
            (folder / "high_noise", pipeline.transformer, run.network.high, {}),
            (folder / "low_noise", pipeline.transformer_2, run.network.low, {"load_into_transformer_2": True}),
        ]
    noise = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    asked = (noise, torch.tensor([700.0]), torch.ones(1, 5, 16))
    for part, theirs, ours, more in networks:
        with torch.no_grad():
            before = theirs(*asked, return_dict=False)[0]
            pipeline.load_lora_weights(part, weight_name=LORA_FILE, **more)
            after, expected = theirs(*asked, return_dict=False)[0], ours(*asked, return_dict=False)[0]
        assert (expected - before).norm() > 1e-3 * before.norm()
        torch.testing.assert_close(after, expected, rtol=1e-3, atol=1e-4)


@Forms
def test_a_file_that_acts_otherwise_is_refused(
    form: WeightsFormat, trained: OpenProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of which the scale was lost: its effect is a third."""
    save: Callable[..., None] = weights._save

    def lossy(backbone: Any, path: Path, form: WeightsFormat) -> None:
        save(backbone, path, form)
        for file in path.rglob("*.safetensors"):
            tensors = load_file(file)
            save_file({key: p / (3 if "lora_B" in key or "up" in key else 1) for key, p in tensors.items()}, file)

    monkeypatch.setattr(weights, "_save", lossy)
    with pytest.raises(ValueError, match=r"differs from the trained model's by 0\.\d+, .* do not use the file"):
        export_weights(trained, "sft", tmp_path, form)


def test_an_adapter_without_effect_is_refused(
    trained: OpenProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = load_run(trained, "sft")
    expert = getattr(run.network, "low", run.network)
    for name, p in expert.named_parameters():
        if ".lora_A." in name:  # the second factors stay, so the adapter does not look idle
            p.data.zero_()
    monkeypatch.setattr(weights, "load_network", lambda project, network: run)
    with pytest.raises(
        ValueError, match=r"does not change the prediction at noise level 0\.\d+, so its export would act"
    ):
        export_weights(trained, "sft", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [0.5, None])
def test_the_last_line_says_where_weights_without_python_go(change: float | None) -> None:
    exported = ProjectExported({"clips": 2, "scores": 0}, {}, Path("out/sft"), None, change, 1e-6)
    assert exported.lines()[0] == "rows: clips 2"
    place = (
        "put out/sft/*.safetensors in ComfyUI's models/loras" if change else "set backbone.path of a project to out/"
    )
    assert exported.lines()[-1].startswith(f"load: {place}")


def test_comfyui_is_for_adapters(trained: OpenProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, backbone = run_network(trained, "sft"), load_run(trained, "sft")
    own = network.chain[0]
    full = replace(own, train=own.train.model_copy(update={"trainable": "full"}))
    monkeypatch.setattr(weights, "run_network", lambda project, name: replace(network, chain=(full,)))
    monkeypatch.setattr(weights, "load_network", lambda project, network: backbone)
    with pytest.raises(ValueError, match=r"run 'sft' is not an adapter on .* leave --weights out"):
        export_weights(trained, "sft", tmp_path, "comfyui")
