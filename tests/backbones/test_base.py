from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rushes.backbones.base import Precision, main_memory, trained_precision, weights_fingerprint


@pytest.mark.parametrize(
    ("asked", "changes_weights", "device", "expected"),
    [
        ("auto", True, "cuda", "mixed"),
        ("auto", False, "cuda", "auto"),  # a frozen network in bfloat16 under a float32 adapter
        ("auto", True, "cpu", "auto"),  # float32
        ("auto", False, "cpu", "auto"),
        ("bfloat16", True, "cuda", "bfloat16"),  # asked for
        ("float32", True, "cuda", "float32"),
        ("mixed", False, "cuda", "mixed"),
    ],
)
def test_own_weights_are_trained_in_mixed_precision_on_a_gpu(
    asked: Precision, changes_weights: bool, device: str, expected: Precision
) -> None:
    assert trained_precision(asked, changes_weights, device) == expected


def layer(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 3)


def test_equal_weights_have_one_name() -> None:
    assert weights_fingerprint(layer()) == weights_fingerprint(layer()) != weights_fingerprint(layer(1))
    assert len(weights_fingerprint(layer())) == 24


def test_dtype_shape_and_place_count() -> None:
    one = layer()
    zero = nn.Linear(3, 3)
    nn.init.zeros_(zero.weight), nn.init.zeros_(zero.bias)
    wide = nn.Linear(9, 1)
    nn.init.zeros_(wide.weight), nn.init.zeros_(wide.bias)
    turned = layer()
    turned.weight.data = turned.weight.data.T
    names = [
        weights_fingerprint(one),
        weights_fingerprint(layer().double()),
        weights_fingerprint(layer().bfloat16()),
        weights_fingerprint(zero),
        weights_fingerprint(wide),
        weights_fingerprint(turned),
        weights_fingerprint(one, zero),
        weights_fingerprint(nn.Sequential(one)),
    ]
    assert len(set(names)) == len(names)


def test_memory_layout_does_not_count() -> None:
    one, other = layer(), layer()
    other.weight.data = other.weight.data.T.contiguous().T
    assert not other.weight.is_contiguous()
    assert weights_fingerprint(one) == weights_fingerprint(other)


def test_buffers_and_single_numbers_count() -> None:
    one, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    assert weights_fingerprint(one) == weights_fingerprint(other)
    other.get_buffer("num_batches_tracked").add_(1)
    assert weights_fingerprint(one) != weights_fingerprint(other)


def test_memory_that_cannot_be_pinned_is_no_error_of_what_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA keeps the error of a call, and torch raises it after its next kernel, whatever that computes."""
    pending: list[int] = []

    def register(*_: int) -> int:
        pending.append(2)
        return 2

    def kernel(*_: object, device: torch.device) -> None:
        if pending:
            raise RuntimeError(f"CUDA error {pending.pop()}")

    monkeypatch.setattr(torch.cuda, "cudart", lambda: SimpleNamespace(cudaHostRegister=register))
    monkeypatch.setattr(torch, "ones", kernel)
    assert main_memory(8, torch.device("cuda")).shape == (8,)
    kernel(device=torch.device("cuda"))
