from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from threading import Timer

import pytest
import torch

from rushes.backbones.tiny import TinyBackbone
from rushes.files import is_locked, locked
from rushes.training import checkpoint
from rushes.training.reference import Reference

from ..forked import start_into
from .conftest import Small

TENSORS = {"policy/a": torch.arange(12.0).view(3, 4), "optimiser/a/step": torch.tensor(3.0)}


def trained(backbone: TinyBackbone, steps: int) -> tuple[Reference, torch.optim.Optimizer]:
    reference = Reference(backbone.network, "ema", ema=0.5)
    optimiser = torch.optim.AdamW(backbone.network.parameters(), lr=1e-2, foreach=False)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for p in backbone.network.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        optimiser.step()
        reference.update(step + 1)
    return reference, optimiser


def test_a_run_goes_on_where_it_was(tmp_path: Path, small: Small) -> None:
    one, other = small(), small(seed=1)
    reference, optimiser = trained(one, 3)
    tensors = checkpoint.capture(one.network, reference, optimiser)
    checkpoint.save(tmp_path / "checkpoints", 3, tensors, {"identity": "x"})
    found = checkpoint.latest(tmp_path / "checkpoints")
    assert found is not None and found.step == 3 and found.facts == {"identity": "x"}
    reference_2, optimiser_2 = trained(other, 0)
    checkpoint.restore(found, other.network, reference_2, optimiser_2)
    for backbone, its in ((one, optimiser), (other, optimiser_2)):
        for p in backbone.network.parameters():
            p.grad = torch.ones_like(p)
        its.step()
    assert one.fingerprint == other.fingerprint
    assert all(torch.equal(reference.values[name], reference_2.values[name]) for name in reference.values)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100, 20):
        checkpoint.save(tmp_path, step, TENSORS, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000020.safetensors",
        "step-00000100.safetensors",
    ]


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None


@pytest.mark.parametrize("left", [0, 1, 7, 8, 100, -1])
def test_a_torn_file_is_never_read(left: int, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, {"identity": "x"})
    path = checkpoint.save(tmp_path, 2, {**TENSORS, "policy/b": torch.ones(500)}, {"identity": "x"})
    path.write_bytes(path.read_bytes()[:left])
    found = checkpoint.latest(tmp_path)
    assert found is not None and found.step == 1
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("back", [1, 5, 400, 1999])
def test_a_flipped_bit_is_noticed_and_said(back: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, {})
    path = checkpoint.save(tmp_path, 2, {**TENSORS, "policy/b": torch.ones(500)}, {})
    whole = bytearray(path.read_bytes())
    whole[-back] ^= 1
    path.write_bytes(whole)
    found = checkpoint.latest(tmp_path)
    assert found is not None and found.step == 1
    assert f"{path} is incomplete or altered" in caplog.text


def test_one_process_at_a_time_holds_a_run(tmp_path: Path) -> None:
    said = tmp_path / "said"

    def other() -> int | None:
        program = "from rushes.training.checkpoint import only_one\nwith only_one(folder): pass"
        process = start_into(Path(os.devnull), said, program, folder=tmp_path / "run")
        process.join()
        return process.exitcode

    with checkpoint.only_one(tmp_path / "run"):
        assert other() == 1
        assert "this run; wait for it, or set train.name to another name" in said.read_text()
    assert other() == 0


def test_who_only_asks_whether_a_run_is_at_work_keeps_none_from_starting(tmp_path: Path) -> None:
    asking = ExitStack()
    asking.enter_context(locked(tmp_path / ".lock"))
    timer = Timer(0.03, asking.close)
    timer.start()
    with checkpoint.only_one(tmp_path):
        assert is_locked(tmp_path / ".lock")
    timer.join()


def test_a_frozen_reference_is_not_stored_again(small: Small) -> None:
    """It is what training started from."""
    network = small().network
    optimiser = torch.optim.AdamW(network.parameters())
    kinds = {
        mode: {name.partition("/")[0] for name in checkpoint.capture(network, Reference(network, mode), optimiser)}
        for mode in ("frozen", "ema", "hard")
    }
    assert kinds == {"frozen": {"policy"}, "ema": {"policy", "reference"}, "hard": {"policy", "reference"}}


def test_what_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, {})
    for name in ("step-best.safetensors", ".step-00000002.safetensors.1234.part", "notes.txt"):
        (tmp_path / name).write_text("mine")
    checkpoint.save(tmp_path, 3, TENSORS, {})
    checkpoint.save(tmp_path, 4, TENSORS, {})
    found = checkpoint.latest(tmp_path)
    assert found is not None and found.step == 4
    assert (tmp_path / "step-best.safetensors").read_text() == "mine"


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, {})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(OSError, match="nothing was written"):
        checkpoint.save(tmp_path, 2, TENSORS, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.safetensors"]


def test_weights_of_another_kind_are_refused(tmp_path: Path, small: Small) -> None:
    backbone = small()
    reference, optimiser = trained(backbone, 1)
    checkpoint.save(tmp_path, 1, checkpoint.capture(backbone.network, reference, optimiser), {})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    backbone.network.get_parameter("leave.bias").requires_grad_(False)
    with pytest.raises(ValueError, match=r"set train\.name to another name"):
        checkpoint.restore(found, backbone.network, reference, optimiser)
