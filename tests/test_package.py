from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import rushes

REPOSITORY = Path(__file__).resolve().parents[1]


def test_wheel_carries_every_file_of_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob(f"rushes-{rushes.__version__}-*.whl")
    expected = {
        path.relative_to(REPOSITORY / "src").as_posix()
        for path in (REPOSITORY / "src" / "rushes").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        assert expected <= set(archive.namelist())
        archive.extractall(tmp_path / "there")
    here = {**os.environ, "PYTHONPATH": str(tmp_path / "there"), "PYTHONSAFEPATH": "1"}
    for arguments in (["init", "p", "--recipe", "densedpo"], ["status", "p"], ["backbones", "wan2.1-t2v-1.3b"]):
        subprocess.run([sys.executable, "-m", "rushes", *arguments], cwd=tmp_path, env=here, check=True)
    name = "import rushes; print(rushes.__file__)"
    where = subprocess.run([sys.executable, "-c", name], env=here, check=True, capture_output=True, text=True).stdout
    assert where.startswith(str(tmp_path / "there")), "the wheel's files, and not the checkout's, were tried"


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"]]
    for text in extras["dev"]:
        if text.startswith("rushes["):
            wanted += extras[text.removeprefix("rushes[").rstrip("]")]
    assert {text.split(">=")[0] for text in wanted if not text.startswith("rushes[")} <= pinned


def test_ci_runs_the_test_command_of_the_readme_and_nothing_else() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make test"]
    assert "make test" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
