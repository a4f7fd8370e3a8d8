"""`rushes.Project`: the stages as methods, by the functions of the command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import rushes
from rushes.evaluate.result import read_evaluation
from rushes.footage.ingest import Imported
from rushes.media.write import write_video
from rushes.project.reports import health_of_run
from rushes.project.settings import read_settings
from rushes.report.card import CARD
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def test_every_stage_of_a_finished_project_finds_it_finished(copied: Path) -> None:
    """The two doors in turn: nothing is made again, and the summary is that of the command line."""
    before = read_evaluation(copied / "reports" / "realdpo.json")
    with rushes.Project.open(copied) as project:
        assert project.generate().new == 0
        assert project.label().pairs == 6
        assert project.encode().comparisons == 6
        assert project.train().steps_now == 0
        assert project.health() == project.health("realdpo") == health_of_run(copied, project.settings)
        assert project.evaluate().metrics == before.metrics
        assert project.report().report == copied / "reports" / "realdpo.html"
        (run,) = project.store.runs()
        assert project.model("realdpo").fingerprint == run.made_by != project.model().fingerprint == run.base
    with pytest.raises(Exception, match="closed"):
        project.store.runs()


def test_reference_errors_are_computed_before_a_run(copied: Path) -> None:
    with rushes.Project.open(copied) as project, pytest.raises(ValueError, match=r"train\.reference_cache is 0"):
        project.cache_reference()
    with rushes.Project.open(copied, {"train.name": "cached", "train.reference_cache": 2}) as project:
        result = project.cache_reference()
        assert (result.draws, result.comparisons, result.entries) == (2, 5, 5)
        with pytest.raises(ValueError, match="'cached' has no curves yet"):
            project.health()


def test_footage_without_captions_becomes_a_set(tmp_path: Path) -> None:
    """Checked, captioned by the names of its files and curated, by the methods alone."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for seed, name in enumerate(("A red ball falls", "two balls meet", "IMG_0042")):
        write_video(clips / f"{name}.mp4", render(draw_scenes(seed, 1)[0])[:17], 8.0)
    changes = {"curate.stages": ["technical"], "footage.eval_fraction": 0.5}
    with rushes.Project.create(tmp_path / "p", footage=clips, settings=changes) as project:
        checked = project.preflight()
        assert (checked.summary.usable, checked.summary.refused, project.store.clips()) == (0, 3, ())
        with pytest.raises(ValueError, match="no caption"):
            project.import_clips()
        written = project.write_captions("names")
        assert (written.by, written.clips, written.written, written.without) == ("names", 3, 2, 1)
        assert project.import_clips().clips == 3  # which the project admits now, without a caption too
        seen = project.curate(dry_run=True)
        assert seen.card is None and not (tmp_path / "p" / CARD).exists()
        result = project.curate()
        assert result.imported is None and result.card == tmp_path / "p" / CARD and result.card.is_file()
        assert result.curation.set.train + result.curation.set.eval == len(project.store.clips())
    with (
        rushes.Project.open(tmp_path / "p", {"curate.stages": []}) as project,
        pytest.raises(ValueError, match=r"curate\.stages is empty"),
    ):
        project.curate()


def test_a_project_of_the_world_needs_no_captions(copied: Path) -> None:
    with rushes.Project.open(copied) as project:
        with pytest.raises(ValueError, match="whose scenes have captions"):
            project.write_captions("names")
        assert not project.settings.footage.allow_empty_captions
        with pytest.raises(ValueError, match=r"footage\.kind is world, which needs no check"):
            project.preflight()


def test_a_project_is_created_and_its_settings_are_changed_for_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    changes = {"footage.clips": 4, "footage.eval_prompts": 2, "label.by": "none", "train.options": {"beta": 7.0}}
    with rushes.Project.create(folder, "densedpo", settings=changes) as project:
        assert project.settings == read_settings(folder)
        assert project.settings.train.options["beta"] == 7.0 and project.settings.label.by == "none"
        assert project.import_clips() == Imported(clips=6, held_out=2)
    with rushes.Project.open(folder, {"train.weight_decay": 1e-6, "train.deterministic": False}) as project:
        assert project.settings.train.weight_decay == 1e-6 and not project.settings.train.deterministic
    assert read_settings(folder).train.weight_decay != 1e-6
    with pytest.raises(ValueError, match=r"already exists; edit it, open it with Project\.open"):
        rushes.Project.create(folder)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda folder: rushes.Project.open(folder / "none"), "is not a project: it has no rushes.toml"),
        (lambda folder: rushes.Project.create(folder / "a", "kto"), "--recipe: no recipe 'kto'"),
        (lambda folder: rushes.Project.create(folder / "b", model="wan"), "needs clips; pass their folder as footage"),
        (lambda folder: rushes.Project.create(folder / "c", settings={"train.stepz": 1}), "train.stepz: unknown"),
    ],
)
def test_what_is_wrong_is_said(act: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        act(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_training_after_cuda_was_used_names_the_line_to_set(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is encoded or trained; a process that has not used CUDA is told when the project is opened."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with rushes.Project.open(copied):
        assert os.environ[VARIABLE] == ":4096:8"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with rushes.Project.open(copied, {"train.name": "another"}) as project:
        assert VARIABLE not in os.environ
        with pytest.raises(ValueError, match=rf"os.environ\['{VARIABLE}'\] = ':4096:8'` before the first import"):
            project.train()
    assert not (copied / "runs" / "another").exists()
