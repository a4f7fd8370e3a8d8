"""Hashes of files are remembered for as long as the files are what they were."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rushes.backbones import pipeline
from rushes.backbones.base import DEFAULTS
from rushes.backbones.loading import load_backbone
from rushes.backbones.weight_hashes import NAME, remembered
from rushes.files import content_hash

from .tiny_pipelines import write


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    """Also where size and time of modification stay, as `cp -p` leaves them."""
    file, memory, reads = tmp_path / "weights", tmp_path / NAME, []

    def compute() -> str:
        reads.append(1)
        return content_hash(file)

    def ask(about: str = "float32") -> str:
        return remembered(memory, [file], (about,), compute)

    file.write_bytes(b"first")
    first = ask()
    assert ask() == first and len(reads) == 1
    ask("bfloat16")
    assert len(reads) == 2
    before = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ask() == content_hash(b"other") and len(reads) == 3
    memory.write_text(memory.read_text()[:10])  # torn: made again
    assert ask() == content_hash(b"other") and len(reads) == 4
    assert len(json.loads(memory.read_text())) == 1
    assert remembered(None, [file], (), compute) == content_hash(b"other") and len(reads) == 5


def test_a_network_is_not_loaded_for_a_hash_that_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, options = tmp_path / "model", replace(DEFAULTS, texts=tmp_path / "project" / "texts")
    (tmp_path / "project").mkdir()
    with torch.random.fork_rng():
        write("wan_unipc", folder)
    plain = load_backbone("wan", str(folder)).fingerprint
    first = load_backbone("wan", str(folder), options)
    assert (first.fingerprint, first.codec_fingerprint) != ("", plain) and first.fingerprint == plain
    codec = load_backbone("wan", str(folder)).codec_fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.DiffusersBackbone, "_load", lambda *_: pytest.fail("weights are read again"))
        again = load_backbone("wan", str(folder), options)
        assert again.fingerprint == plain
    (weights,) = (folder / "transformer").glob("*.safetensors")
    tensors = load_file(weights)
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] + 1}, weights)
    changed = load_backbone("wan", str(folder), options)
    assert changed.fingerprint != plain and changed.codec_fingerprint == codec
