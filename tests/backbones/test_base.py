from __future__ import annotations

import pytest

from rushes.backbones.base import Precision, trained_precision


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
