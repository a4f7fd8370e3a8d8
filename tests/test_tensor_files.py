from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rushes.tensor_files import save_tensors

SOURCE = Path(__file__).resolve().parents[1] / "src" / "rushes"
METADATA = {"format": "pt", "a": 'é "x" \\ \n\t\x01\x7f 日本 \U0001f3ac', "z": "1", "b": "2", "m": "[1, 2]", "c": ""}
PROGRAM = "import sys, torch; from rushes.tensor_files import save_tensors; save_tensors(*eval(sys.argv[1]))"


def test_equal_tensors_and_metadata_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    tensors = "{'x': torch.arange(6.0), 'y': torch.ones(2, 3, dtype=torch.bfloat16)}"
    contents = set()
    for name in "abc":
        path = tmp_path / name
        words = [sys.executable, "-P", "-c", PROGRAM, f"({tensors}, {str(path)!r}, {METADATA!r})"]
        subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(SOURCE.parent)})
        contents.add(path.read_bytes())
    assert len(contents) == 1
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == METADATA
    assert torch.equal(load_file(tmp_path / "a")["x"], torch.arange(6.0))


def test_nothing_else_writes_safetensors() -> None:
    writers = [path.name for path in SOURCE.rglob("*.py") if "save_file" in path.read_text(encoding="utf-8")]
    assert writers == ["tensor_files.py"]


def test_without_metadata_it_is_as_safetensors_writes_it(tmp_path: Path) -> None:
    save_tensors({"x": torch.zeros(3)}, tmp_path / "a")
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() is None and list(file.keys()) == ["x"]
