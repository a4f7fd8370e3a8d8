"""Clips that keep their frames a second, on models that are told the rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone

from .tiny_pipelines import write


@pytest.mark.parametrize("name", ["ltx", "ltx2"])
def test_the_network_is_told_the_rate_of_the_rows(name: str, tmp_path: Path) -> None:
    """As it is where all clips have that rate; rows of a pass have one, and half precision does not round it."""
    path = str(write(name, tmp_path / name))
    at_24, at_30 = (load_backbone(name, path, LoadOptions("float32", fps=fps)) for fps in (24.0, 29.97))
    assert at_24.spec.told_rate
    torch.manual_seed(0)
    noised, t = torch.randn(2, at_24.spec.channels, 3, 2, 2), torch.full((2, 3), 0.5)
    asked = at_24.condition(["a cat", "a dog"])
    own, slow, fast = (
        at_24.predict(noised, t, asked.at_rate("17x64x64@29.97")),
        at_24.predict(noised, t, asked.at_rate("17x64x64")),
        at_30.predict(noised, t, asked),
    )
    assert torch.equal(own, fast) and torch.equal(slow, at_24.predict(noised, t, asked))
    assert not torch.equal(own, slow)
    assert asked.at_rate("17x64x64@29.97")[1:].rate(at_24.spec) == 29.97
