"""Processes of one machine hold a network's weights once, with the bits that each would have read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rushes.backbones.base import LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.loading import load_backbone
from rushes.backbones.shared_weights import load_shared

from ..forked import start
from .tiny_pipelines import wan_transformer

HALVES, WIDE = torch.bfloat16, torch.float32


def folder_of(path: Path, dtype: torch.dtype) -> Folder:
    """A network whose files have this precision."""
    wan_transformer().to(dtype).save_pretrained(path / "transformer")
    return Folder(path, {"transformer": ["diffusers", "WanTransformer3DModel"]})


def mapped(network: nn.Module) -> float:
    """What share of a network's bytes lies in files that are mapped, so that processes share their pages."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(".safetensors")]
    maps = [[int(end, 16) for end in line[0].split("-")] for line in lines]
    shared = size = 0
    for p in network.parameters():
        bytes_ = p.numel() * p.element_size()
        size += bytes_
        shared += bytes_ * any(low <= p.data_ptr() < high for low, high in maps)
    return shared / size


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, its = one.state_dict(), other.state_dict()
    return ours.keys() == its.keys() and all(
        ours[name].dtype == its[name].dtype and torch.equal(ours[name], its[name]) for name in ours
    )


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="maps of memory are read from /proc")
@pytest.mark.parametrize(("files", "asked"), [(WIDE, WIDE), (HALVES, HALVES), (WIDE, HALVES), (HALVES, WIDE)])
def test_pages_are_shared(files: torch.dtype, asked: torch.dtype, tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model", files)
    plain = model.load("transformer", asked)
    if files == asked:  # without ado; norms, which are kept in float32, are next to nothing in a large network
        assert mapped(plain) > (0.99 if asked == WIDE else 0.5)
    else:
        assert mapped(plain) < 0.5
    shared = load_shared(model, "transformer", asked, tmp_path / "copies")
    assert same(plain, shared) and (mapped(shared) > 0.99 or files == asked)
    assert len([*tmp_path.glob("copies/transformer-*/")]) == (files != asked) or mapped(shared) > 0.99


def test_a_copy_is_made_anew_when_files_change_and_not_without_room(
    tmp_path: Path, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(tiny_folder("wan"), tmp_path / "model"))
    model, copies = Folder(path, {"transformer": ["diffusers", "WanTransformer3DModel"]}), tmp_path / "copies"
    load_shared(model, "transformer", HALVES, copies)
    (before,) = copies.glob("transformer-*/")
    (file,) = (path / "transformer").glob("*.safetensors")
    shutil.copy2(file, path / "again")
    (path / "again").replace(file)
    assert same(load_shared(model, "transformer", HALVES, copies), model.load("transformer", HALVES))
    (after,) = copies.glob("transformer-*/")
    assert after != before
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    shutil.rmtree(after)
    with pytest.warns(UserWarning, match="no room for 0 GiB, a copy of transformer in torch.bfloat16"):
        assert same(load_shared(model, "transformer", HALVES, copies), model.load("transformer", HALVES))


LOAD = """
import torch
from rushes.backbones import shared_weights
from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone
copies = []
load = shared_weights.whole_folder
def counted(copy):
    copies.append(copy)
    return load(copy)
shared_weights.whole_folder = counted
import os
os.environ["LOCAL_WORLD_SIZE"] = "2"
backbone = load_backbone("wan", str(path), LoadOptions("bfloat16", texts=texts))
torch.save({"weights": dict(backbone.network.state_dict()), "copies": len(copies)}, out)
"""


def test_processes_that_start_at_once_make_one_copy(tmp_path: Path, tiny_folder: Callable[[str], Path]) -> None:
    path, texts = tiny_folder("wan"), tmp_path / "project" / "texts"
    outs = [tmp_path / f"{rank}.pt" for rank in range(2)]
    started = [start(LOAD, path=path, texts=texts, out=out) for out in outs]
    for process in started:
        process.join(60)
        assert process.exitcode == 0
    results: list[Mapping[str, Any]] = [torch.load(out) for out in outs]
    assert sorted(result["copies"] for result in results) == [0, 1]
    plain = load_backbone("wan", str(path), LoadOptions("bfloat16")).network.state_dict()
    for result in results:
        weights: Mapping[str, Tensor] = result["weights"]
        assert all(weights[name].dtype == p.dtype and torch.equal(weights[name], p) for name, p in plain.items())
