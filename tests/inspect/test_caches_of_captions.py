"""Captions of a project are read once: runs start without text encoders, and `rushes cache` knows what is kept."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.texts import TextCache, _checksum
from rushes.cli import main
from rushes.inspect.caches import explain, verify
from rushes.project.intake import import_footage
from rushes.project.project import OpenProject, open_project
from rushes.project.training import train_run
from rushes.records import Decision

from ..backbones.tiny_pipelines import write
from ..projects import Command, SmallProject, Stop


@pytest.fixture
def project(tmp_path: Path, small: SmallProject) -> OpenProject:
    """A project with a small Wan, clips imported, nothing else."""
    with torch.random.fork_rng():
        model = write("wan", tmp_path / "model")
    changes = {
        "backbone": {
            "name": "wan",
            "path": str(model),
            "first_frame": False,
            "height_px": 32,
            "width_px": 32,
            "frames": 17,
        },
        "train": {"recipe": "sft", "trainable": "lora", "lora_rank": 2, "steps": 1, "options": {}, "shortcut_probe": 0},
    }
    settings = small.settings.model_copy(
        update={table: getattr(small.settings, table).model_copy(update=values) for table, values in changes.items()}
    )
    opened = open_project(small.new_project(tmp_path / "project", settings), settings)
    import_footage(opened)
    return opened


def entries_of(project: OpenProject, subject: str) -> object:
    texts = explain(project, subject).texts
    return texts and texts.entries


def again(project: OpenProject, **train: Any) -> OpenProject:
    """The project in a later start."""
    settings = project.settings
    new = settings.model_copy(update={"train": settings.train.model_copy(update=train)})
    return open_project(project.store.project, new)


def texts(project: OpenProject) -> TextCache:
    assert isinstance(project.base, DiffusersBackbone) and project.base.texts is not None
    return project.base.texts


def test_a_later_run_loads_no_text_encoder(project: OpenProject, monkeypatch: pytest.MonkeyPatch) -> None:
    train_run(project)
    captions = {clip.caption for clip in project.store.clips("train")}
    kept = texts(project)
    assert {kept.read(path)[0] for path in kept.paths()} == captions  # no negative prompt, as nothing is guided
    assert kept.folder.parent == project.store.project / "texts"
    monkeypatch.setattr(DiffusersBackbone, "reader", lambda *_: pytest.fail("loads the text encoders"))
    assert train_run(again(project, name="second")).steps_now == 1


def test_commands_tell_of_captions(project: OpenProject, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: object) -> str:
        with suppress(SystemExit):
            main([str(text) for text in arguments])
        return capsys.readouterr().out

    folder, clip = project.store.project, project.store.clips("train")[0]
    facts = explain(project, clip.id).texts
    assert facts is not None and facts.current == 0 and facts.entries == {clip.caption: "missing"}
    assert verify(project).texts == 0
    train_run(project)
    kept = texts(project)
    words = told("cache", "explain", folder, clip.id)
    assert f"caption {clip.caption!r}: current" in words
    assert "captions are encoded with: family wan, pipeline WanPipeline, dtype float32, code " in words
    assert f"captions current: {len(kept.paths())}, in {kept.fingerprint}" in words
    assert entries_of(again(project), clip.caption) == {clip.caption: "current"}
    project.store.add([Decision("out", clip.id, keep=False)])
    assert entries_of(again(project), clip.id) == {clip.caption: "current"}
    with pytest.raises(ValueError, match="a caption of nobody: not a clip, take or latent of this project"):
        explain(project, "a caption of nobody")
    count = len(kept.paths())
    words = told("verify", folder, "--all")
    assert f"texts: {count}" in words and f"latents, {count} captions" in words


def test_an_entry_that_is_not_what_is_read_is_found(project: OpenProject) -> None:
    train_run(project)
    kept, caption = texts(project), project.store.clips("train")[0].caption
    path = kept.path(caption)
    with safe_open(path, framework="pt") as file:
        about = dict(file.metadata())
    tensors = {name: 1.1 * tensor for name, tensor in load_file(path).items()}
    about["sha256"] = json.dumps({name: _checksum(tensor) for name, tensor in tensors.items()})
    save_file(tensors, path, about)
    (problem,) = verify(again(project), share=1.0).problems
    assert problem == (
        f"caption {caption!r}: has a relative error of 0.1 in text against what the encoder now gives; "
        f"delete {path}, and the caption is encoded again"
    )
    path.write_bytes(path.read_bytes()[:-4])
    (problem,) = verify(again(project), share=1.0).problems
    assert problem.startswith(f"{path}: incomplete or not a safetensors file")


def test_another_text_encoder_makes_all_stale(project: OpenProject) -> None:
    train_run(project)
    before, clip = texts(project), project.store.clips("train")[0]
    (weights,) = Path(project.settings.backbone.path, "text_encoder").glob("*.safetensors")
    save_file({name: 1.5 * tensor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    facts = explain(again(project), clip.id).texts
    assert facts is not None and facts.current == 0 and facts.stale == {before.fingerprint: len(before.paths())}
    assert facts.entries == {clip.caption: f"stale (from {before.fingerprint}); encoded again when it is needed"}


@pytest.mark.slow
def test_a_start_that_is_killed_leaves_whole_files(project: OpenProject, command: Command, stop: Stop) -> None:
    kept, count = texts(project), len({clip.caption for clip in project.store.clips("train")})
    killed = command("train", project.store.project, before=stop("/texts/", nth=2))
    assert killed.code == -9
    (first,) = kept.paths()
    assert kept.read(first)[0] in {clip.caption for clip in project.store.clips("train")}
    stamp = first.stat().st_mtime_ns
    assert command("train", project.store.project).code == 0
    assert len(kept.paths()) == count and first.stat().st_mtime_ns == stamp
