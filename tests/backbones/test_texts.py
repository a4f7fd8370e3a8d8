"""Embeddings of captions on disk: read once, found again bit for bit, never used where anything changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rushes.backbones import texts
from rushes.backbones.base import LoadOptions, Precision
from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.texts import TextCache

from .test_pipelines import CAPTIONS
from .tiny_pipelines import BACKBONE, MAKERS

WORDS = [*CAPTIONS, "", "\ud800 小球"]


def started(name: str, folder: Path, kept: Path | None, dtype: Precision = "float32") -> DiffusersBackbone:
    model = load_backbone(BACKBONE[name], str(folder), LoadOptions(dtype=dtype, texts=kept))
    assert isinstance(model, DiffusersBackbone)
    return model


def reads_nothing(model: DiffusersBackbone, monkeypatch: pytest.MonkeyPatch) -> DiffusersBackbone:
    monkeypatch.setattr(model, "reader", lambda *_: pytest.fail("loads the text encoders"))
    return model


def rows(model: DiffusersBackbone, captions: list[str]) -> dict[str, Any]:
    return dict(model.read(captions))


def same(ours: Any, theirs: Any) -> bool:
    return ours.keys() == theirs.keys() and all(
        length == theirs[name][1] and row.dtype == theirs[name][0].dtype and torch.equal(row, theirs[name][0])
        for name, (row, length) in ours.items()
    )


@pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith("hunyuan_i2v")])
def test_a_second_start_reads_nothing(
    name: str, tiny_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HunyuanVideo's image-to-video reads a caption together with a frame, which is not kept."""
    first = started(name, tiny_folder(name), tmp_path)
    first.prepare(WORDS)
    second = reads_nothing(started(name, tiny_folder(name), tmp_path), monkeypatch)
    second.prepare(WORDS[::-1])
    for caption in WORDS:
        assert same(second._rows[caption], first._rows[caption])
    assert all(caption in (second.texts or ()) for caption in WORDS)


def test_only_what_is_new_is_read(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    started("wan", tiny_folder("wan"), tmp_path).prepare(CAPTIONS)
    model, read = started("wan", tiny_folder("wan"), tmp_path), list[str]()
    usual = model.read
    model.read = lambda captions: (read.extend(captions), usual(captions))[1]  # type: ignore[method-assign, func-returns-value]
    model.prepare([*CAPTIONS, "a new caption", "a new caption"])
    assert read == ["a new caption"]


def larger(file: Path) -> None:
    tensors = load_file(file)
    save_file({name: 1.5 * tensor for name, tensor in tensors.items()}, file, {"format": "pt"})


def spaced(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "pattern", "change", "stale"),
    [
        ("text_encoder", "*.safetensors", larger, True),
        ("text_encoder", "config.json", spaced, True),
        ("tokenizer", "tokenizer_config.json", spaced, True),
        ("transformer", "*.safetensors", larger, False),
        ("vae", "*.safetensors", larger, False),
    ],
)
def test_a_stale_entry_is_read_again_and_never_used(
    part: str, pattern: str, change: Callable[[Path], None], stale: bool, tiny_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(tiny_folder("wan"), tmp_path / "model"))
    before = started("wan", folder, tmp_path / "texts")
    before.prepare(CAPTIONS)
    (file,) = (folder / part).glob(pattern)
    change(file)
    after = started("wan", folder, tmp_path / "texts")
    assert before.texts and after.texts
    assert (CAPTIONS[0] not in after.texts) is stale
    assert after.texts.stale_of(CAPTIONS[0]) == ([before.texts.fingerprint] if stale else [])
    assert after.texts.stale() == ({before.texts.fingerprint: len(CAPTIONS)} if stale else {})
    after.prepare(CAPTIONS)
    expected = rows(started("wan", folder, None), CAPTIONS)
    assert all(same(after._rows[caption], expected[caption]) for caption in CAPTIONS)
    assert same(after._rows[CAPTIONS[0]], before._rows[CAPTIONS[0]]) is (change is not larger or not stale)


def test_precision_code_and_libraries_make_others(
    tiny_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(dtype: Precision = "float32", **family: Any) -> str:
        model = started("wan", tiny_folder("wan"), tmp_path, dtype)
        model.family = replace(model.family, **family)
        assert model.texts is not None
        return model.texts.fingerprint

    usual = fingerprint()
    assert fingerprint() == usual
    # pytest's own code stands for a family's module that was changed
    found = [usual, fingerprint("bfloat16"), fingerprint(text=rows), fingerprint(name="wan3")]
    monkeypatch.setattr(texts, "version", lambda library: "0" if library == "diffusers" else "1")
    found.append(fingerprint())
    assert len(set(found)) == len(found)


@pytest.fixture
def cache(tmp_path: Path) -> TextCache:
    made = TextCache(tmp_path / "texts", {"family": "none"})
    made.put("a ball", {"text": (torch.arange(6.0).view(2, 3), 5), "mask": (torch.tensor([True, False]), 2)})
    return made


def test_torn_altered_and_moved_files_are_passed_over_and_named(
    cache: TextCache, caplog: pytest.LogCaptureFixture
) -> None:
    path = cache.path("a ball")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match=r"incomplete or not a safetensors file .*; its caption is encoded again"):
        cache.read(path)
    assert cache.get("a ball") is None and f"{path}: incomplete" in caplog.text
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert cache.get("a ball") is None and f"{path}: altered, or moved here" in caplog.text
    path.write_bytes(whole)
    assert cache.get("a ball") is not None
    for other in (cache.path("a cube"), TextCache(cache.all, {"family": "other"}).path("a ball")):
        other.parent.mkdir(exist_ok=True)
        shutil.copy(path, other)
    assert cache.get("a cube") is None
    assert TextCache(cache.all, {"family": "other"}).get("a ball") is None
    assert TextCache.of_folder(cache.folder).read(path)[0] == "a ball"


def test_a_write_that_fails_leaves_nothing(cache: TextCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(tensors: Any, path: Path, about: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(texts, "save_tensors", half)
    with pytest.raises(OSError, match="nothing was written; free space"):
        cache.put("a cube", {"text": (torch.zeros(1, 1), 1)})
    assert "a cube" not in cache and cache.get("a cube") is None
    assert [path.name for path in cache.folder.iterdir()] == [cache.path("a ball").name]


def test_released_embeddings_are_kept_as_they_are(real_data: Path, tmp_path: Path) -> None:
    """RealDPO's trainer names its files as ours are named: by the hash of the caption."""
    train = real_data / "realaction" / "train"
    (file,) = (train / "latents" / "prompt_embeddings").glob("*.safetensors")
    embedding = load_file(file)["prompt_embedding"]
    assert embedding.shape == (226, 4096) and embedding.dtype == torch.bfloat16
    cache = TextCache(tmp_path, {"family": "cogvideox"})
    captions = (train / "prompt.txt").read_text(encoding="utf-8").splitlines()
    named = [caption for caption in captions if cache.path(caption).name == file.name]
    assert len(named) == 1
    cache.put(named[0], {"text": (embedding, len(embedding))})
    kept = cache.get(named[0])
    assert kept is not None and torch.equal(kept["text"][0], embedding)
