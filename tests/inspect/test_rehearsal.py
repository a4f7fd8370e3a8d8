"""A rehearsal runs every stage on little, says what the whole takes, and leaves nothing behind."""

from __future__ import annotations

import shlex
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from rushes.cli import main
from rushes.config.tables import LabelSettings, Settings
from rushes.config.uses import code as code_uses
from rushes.inspect.rehearsal import STAND_IN, RehearsalResult, rehearsal_settings, rehearse
from rushes.inspect.step_forecast import gpu_seen
from rushes.media.write import write_video
from rushes.project.intake import refused_footage
from rushes.project.project import OpenProject, open_project
from rushes.project.settings import read_settings

from ..projects import SMALL, Rushes, SmallProject


def test_what_decides_memory_stays_as_it_is() -> None:
    large = Settings.model_validate({"train": {"batch": 12, "steps": 900}, "generate": {"takes": 5, "steps": 50}})
    ask = rehearsal_settings(large)
    assert ask.backbone == large.backbone
    assert (ask.train.batch, ask.generate.takes, ask.train.recipe) == (12, 5, large.train.recipe)
    assert (ask.train.steps, ask.generate.steps, ask.evaluate.prompts) == (2, 4, 2)


@pytest.mark.parametrize(
    ("name", "memory", "kind"),
    [
        ("NVIDIA GeForce RTX 4090", 23.6, "rtx4090"),
        ("NVIDIA H100 80GB HBM3", 79.1, "h100"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "a100-40"),
        ("NVIDIA A100-SXM4-80GB", 79.2, "a100"),
        ("NVIDIA GeForce RTX 4060 Ti", 15.6, "rtx4060ti-16gb"),
        ("AMD Instinct MI300X", 191.0, ""),
    ],
)
def test_a_gpu_is_recognised_by_its_name_and_memory(name: str, memory: float, kind: str) -> None:
    assert gpu_seen(name, memory) == kind


def test_every_stage_is_rehearsed_and_nothing_stays(tmp_path: Path, small: SmallProject) -> None:
    by_people = SMALL.model_copy(
        update={"label": LabelSettings(by="human"), "train": SMALL.train.model_copy(update={"steps": 40_000})}
    )
    folder = small.new_project(tmp_path / "p", by_people)
    before = sorted(path.name for path in folder.iterdir())
    (folder / "rehearsal").mkdir()  # of one that was killed
    (folder / "rehearsal" / "rushes.db").write_bytes(b"half")
    result = rehearse(folder, by_people)
    assert isinstance(result, RehearsalResult) and sorted(path.name for path in folder.iterdir()) == before
    assert set(result.stages) == {"generate", "train", "evaluate"} and result.labels == STAND_IN
    assert result.total_hours == pytest.approx(sum(row.hours for row in result.stages.values()), abs=1e-3)
    steps_h = 40_000 * result.seconds_a_step / 3600
    assert steps_h <= result.stages["train"].hours <= 3 * steps_h  # and what comes with them: probes of held-out ones
    assert "forecast" not in " ".join(result.lines())  # a processor has none


def test_what_a_stage_would_stop_for_is_said_and_nothing_stays(tmp_path: Path, small: SmallProject) -> None:
    settings = SMALL.model_copy(update={"label": LabelSettings(by="reward", reward=str(tmp_path / "none"))})
    folder = small.new_project(tmp_path / "p", settings)
    with pytest.raises(ValueError, match="none"):
        rehearse(folder, settings)
    assert not (folder / "rehearsal").exists()


def test_a_rehearsal_takes_no_other_way_of_running(
    tmp_path: Path, small: SmallProject, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small.new_project(tmp_path / "p", SMALL)
    with pytest.raises(SystemExit):
        main(["run", str(folder), "--rehearse", "--detach", "--rounds", "2"])
    assert "--rounds, --detach: only for" in capsys.readouterr().err


def test_what_the_run_refuses_at_once_is_said_and_mended_by_the_command(tmp_path: Path, rushes: Rushes) -> None:
    clips, project = tmp_path / "my clips", tmp_path / "p"
    clips.mkdir()
    rng = np.random.default_rng(0)
    for k in range(8):
        write_video(clips / f"dog {k}.mp4", rng.integers(0, 255, (17, 32, 32, 3), np.uint8), 8)
    assert rushes("init", project, "--footage", clips)[0] == 0
    code, _, err = rushes("run", project, "--rehearse")
    assert code == 2 and "no caption" in err and err.splitlines()[-1] == f"next: rushes captions {project} --by names"
    for k in range(8):
        (clips / f"dog {k}.txt").write_text(f"a dog {k}")
    (clips / "broken.mp4").write_bytes(b"no video")
    (clips / "broken.txt").write_text("a cat")
    code, out, _ = rushes("run", project, "--rehearse")
    lines = out.splitlines()
    assert code == 1 and lines[0].startswith("every stage ran") and "broken.mp4" in out
    assert lines[-1] == f"next: rushes set {project} footage.on_refused=skip"
    assert rushes(*shlex.split(lines[-1])[2:])[0] == 0
    settings = read_settings(project, (), code_uses)
    with closing(open_project(project, settings).store) as store:
        assert refused_footage(OpenProject(store, settings))[0] == ""
