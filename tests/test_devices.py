from __future__ import annotations

import pytest
import torch

from rushes.devices import default_device
from rushes.training.parallel import own_device


def test_the_gpu_of_a_process_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (str(default_device()), str(default_device(3))) == ("cuda", "cuda:3")


def test_a_device_that_the_user_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHES_DEVICE", "mps")
    assert default_device(3).type == own_device().type == "mps"
    monkeypatch.setenv("RUSHES_DEVICE", "cuda")  # all GPUs: of several processes each has its own
    assert (str(default_device()), str(default_device(3))) == ("cuda", "cuda:3")
    monkeypatch.setenv("RUSHES_DEVICE", "cuda:1")
    assert str(default_device(3)) == "cuda:1"
    monkeypatch.setenv("RUSHES_DEVICE", "gpu")
    with pytest.raises(ValueError, match="RUSHES_DEVICE: 'gpu' is not a device"):
        default_device()
