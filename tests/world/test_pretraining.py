"""The script that trains the base: what is stopped goes on as if it had not been."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from rushes.backbones.tiny import TinyBackbone

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "pretrain_tiny.py"
SMALL = ["--patch", "16", "--channels", "4", "--width", "24", "--depth", "1", "--batch", "2", "--codec-clips", "10"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrain_tiny", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "pretrain_tiny", module)
    spec.loader.exec_module(module)
    for name, value in {
        "CHUNK": 8,
        "HELD": 2,
        "STEPS_A_CHUNK": 2,
        "RENDERED": 1,
        "flow": lambda ours, theirs: ours[::-1],
    }.items():
        monkeypatch.setattr(module, name, value)
    # The codec of the real size takes a minute: its components are those of the shipped script on fewer pixels.
    monkeypatch.setattr(module, "fit_codec", lambda codec, frames, weight: None)
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> dict[str, torch.Tensor]:
    monkeypatch.setattr(sys, "argv", ["pretrain_tiny.py", "--folder", str(folder), *SMALL, *more])
    script.main()
    state: dict[str, torch.Tensor] = torch.load(folder / "state.pt", weights_only=True)["network"]
    return state


def test_going_on_equals_not_stopping(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    straight = run(script, monkeypatch, tmp_path / "a", "--steps", "4")
    run(script, monkeypatch, tmp_path / "b", "--steps", "3")
    again = run(script, monkeypatch, tmp_path / "b", "--steps", "4")
    assert all(torch.equal(value, again[name]) for name, value in straight.items())
    starts = json.loads((tmp_path / "b" / "run.json").read_text())["starts"]
    assert [(start["from_step"], start["to_step"]) for start in starts][-1] == (3, 4)
    base = TinyBackbone.load(tmp_path / "b" / "base.safetensors")
    assert base.config.patch_px == 16 and base.spec.spatial_ratio == 16
    from_weights = run(
        script, monkeypatch, tmp_path / "c", "--start", str(tmp_path / "b" / "base.safetensors"), "--steps", "0"
    )
    assert all(torch.equal(value, from_weights[name]) for name, value in base.network.state_dict().items())


def test_a_cooldown_ends_at_no_learning_rate(script: ModuleType) -> None:
    shares = [
        script.learning_rate_share(step, None if step < 300 else 300, 10) for step in (0, 100, 299, 300, 305, 310)
    ]
    assert shares[:2] == pytest.approx([1 / 200, 101 / 200])
    assert shares[2:] == pytest.approx([1.0, 1.0, 0.5, 0.0])
