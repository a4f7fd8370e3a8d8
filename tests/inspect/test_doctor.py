"""What `rushes doctor` finds, on installations that are broken on purpose."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.inspect import doctor
from rushes.inspect.doctor import MachineFinding

from ..projects import AS_A_USER, Command, SmallProject

VERSIONS: dict[str, str | None] = {
    name: "1.0" for name in (*doctor.CORE, *doctor.PACKAGES.values(), *doctor.MODELS, "torchvision")
}


def plant(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """A package that other processes import before the installed one."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)
    about = folder / f"{name.replace('-', '_')}-9.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))


def found(findings: list[MachineFinding], name: str) -> MachineFinding:
    (one,) = [each for each in findings if each.name == name]
    return one


def test_a_broken_and_a_deadly_module_are_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, monkeypatch, "scipy", "raise RuntimeError('two\\nlines')")
    plant(tmp_path, monkeypatch, "cv2", "import os; os._exit(139)")
    probed = doctor.probe(["numpy", "scipy", "cv2", "av", "no_such_module"])
    assert list(probed) == ["numpy", "scipy", "cv2", "av", "no_such_module"]
    assert probed["numpy"]["error"] is probed["av"]["error"] is None
    assert probed["scipy"]["error"] == "RuntimeError: two lines"
    assert probed["cv2"]["error"] == "the process died with code 139"
    assert {*doctor.DECODERS, doctor.ENCODER} <= {*probed["av"]["codecs"]}
    said = list(doctor._imports({name: probed[name] for name in ("numpy", "scipy", "cv2", "av")}, VERSIONS))
    assert [each.name for each in said] == ["scipy", "opencv-python-headless"]
    assert said[0].words == (
        "scipy 1.0 cannot be imported (RuntimeError: two lines); run `pip install --force-reinstall scipy`, "
        "in the version of constraints.txt"
    )


@pytest.mark.slow
def test_a_torchvision_that_does_not_fit_is_named_as_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, monkeypatch, "torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.setattr(doctor, "CORE", ("torch",))
    report = doctor.examine(tmp_path)
    (one,) = [each for each in report.findings if each.name == "torchvision"]
    assert one.severity == "error" and report.versions["torchvision"] == "9.9"
    assert one.words.startswith("torchvision 9.9 does not fit torch 2.")
    assert "nms does not exist" in one.words and "`pip uninstall torchvision`" in one.words
    assert "diffusers" not in [each.name for each in report.findings]


@pytest.mark.slow
def test_this_machine(tmp_path: Path) -> None:
    report = doctor.examine(tmp_path / "project that is not there yet")
    assert [each for each in report.findings if each.severity == "error" and each.name != "disk"] == []
    assert report.versions["torch"].startswith("2.") and "torchvision" not in report.versions
    machine = report.machine
    assert machine.cores is not None and machine.cores >= 1 and machine.memory_gb > 0 and machine.disk_free_gb > 0


def test_codecs_that_are_missing() -> None:
    assert list(doctor._codecs({"codecs": ["h264", "hevc", "vp9", "libdav1d", "libx264"]})) == []
    decode, encode = doctor._codecs({"codecs": ["h264", "vp9"]})
    assert decode.words.startswith("this build of PyAV cannot decode hevc, av1;") and decode.severity == "error"
    assert "has no libx264" in encode.words


def test_gpus() -> None:
    seen = {"error": None, "gpus": [{"name": "X", "memory_gb": 80.0}], "cuda": "13.0", "bfloat16": True}
    without: dict[str, object] = {"error": None, "gpus": [], "cuda": None, "bfloat16": False}
    assert list(doctor._gpus(seen, VERSIONS, driver=True)) == []
    assert found(list(doctor._gpus(without, VERSIONS, driver=False)), "gpu").severity == "warning"
    hidden = found(list(doctor._gpus(without, VERSIONS, driver=True)), "gpu")
    assert hidden.severity == "error" and "sees no GPU because it is built without CUDA; install" in hidden.words
    old = found(list(doctor._gpus({**without, "cuda": "13.0"}, VERSIONS, driver=True)), "gpu")
    assert "because it needs a driver for CUDA 13.0" in old.words
    assert "no bfloat16" in found(list(doctor._gpus({**seen, "bfloat16": False}, VERSIONS, driver=True)), "gpu").words
    assert list(doctor._gpus({"error": "ImportError: x"}, VERSIONS, driver=True)) == []


def test_little_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    severities = {}
    for free_gb in (0.5, 5, 500):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free_gb: usage(0, 0, int(free * 2**30)))
        machine = replace(doctor._machine(tmp_path, {}), memory_gb=64.0)
        severities[free_gb] = [each.severity for each in doctor._room(machine)]
    assert severities == {0.5: ["error"], 5: ["warning"], 500: []}
    assert [each.name for each in doctor._room(replace(machine, memory_gb=2.0))] == ["memory"]


def test_a_network_drive_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = doctor._file_system(Path("/proc/self"))
    assert here == "proc" and list(doctor._drive(tmp_path)) == [], "the machine's own mounts"
    kinds = (("/", "ext4"), ("/data\\040team", "nfs4"), ("/data\\040team/fast", "xfs"), ("/far", "fuse.sshfs"))
    lines = [f"{k} 1 0:{k} / {point} rw shared:{k} - {kind} it:/x rw\n" for k, (point, kind) in enumerate(kinds)]
    monkeypatch.setattr(doctor, "MOUNTS", tmp_path / "mounts")
    (tmp_path / "mounts").write_text("".join(lines))
    for folder, kind in (("/data team/p", "nfs4"), ("/data team/fast/p", ""), ("/data", ""), ("/far", "fuse.sshfs")):
        drive = [each.words for each in doctor._drive(Path(folder))]
        assert [f"{folder} is on a network drive ({kind})" in words for words in drive] == [True] * bool(kind), folder


def test_a_project_that_needs_more_disk_than_is_free_is_named(
    tmp_path: Path, small: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `rushes plan`, less what is stored; before, only the free space was looked at."""
    project = small.new_project(tmp_path / "project", small.settings)
    planned = doctor._planned_gb(project)
    assert isinstance(planned, float) and 0.02 < planned < 1.0  # three checkpoints of 24 MB, and more
    monkeypatch.setattr(doctor, "_planned_gb", lambda folder: planned)
    assert list(doctor._need(project, 1.0)) == [] == list(doctor._need(tmp_path, 0.0))
    (finding,) = doctor._need(project, 0.01)
    assert finding.severity == "error" and "GB more for latents and checkpoints" in finding.words
    (project / "runs" / "stored").mkdir(parents=True)
    with open(project / "runs" / "stored" / "weights.safetensors", "wb") as file:
        file.truncate(2**30)
    assert list(doctor._need(project, 0.01)) == []
    monkeypatch.setattr(doctor, "_planned_gb", lambda folder: "no clips yet")
    (finding,) = doctor._need(project, 0.01)
    assert finding.severity == "warning" and "no forecast (no clips yet)" in finding.words


def test_modes_that_keep_a_user_out_are_named(tmp_path: Path, command: Command) -> None:
    project = tmp_path / "project"
    (project / "runs").mkdir(parents=True)
    (project / "rushes.toml").touch()
    (project / "video.mp4").touch(mode=0o444)  # read only, as it never changes
    assert list(doctor._modes(project)) == list(doctor._modes(tmp_path / "new")) == []
    (project / "rushes.toml").chmod(0o444)
    show = f"from rushes.inspect.doctor import _modes\nprint([each.words for each in _modes({project!r})])"
    result = command("--help", before=f"from pathlib import Path, PosixPath\n{AS_A_USER}\n{show}")
    assert f"{project / 'rushes.toml'} cannot be read or written by you (1 of 4 files and folders)" in result.out


def test_two_opencvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor._conflicts(VERSIONS)) == []
    plant(tmp_path, monkeypatch, "opencv-python", "")
    (one,) = doctor._conflicts(VERSIONS)
    assert "`pip uninstall opencv-python`" in one.words
