"""Videos, stills, weights, side files and results that were torn or altered: as `test_fuzz.py` for texts."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from rushes.backbones.folders import read_folder
from rushes.backbones.texts import TextCache
from rushes.evaluate.result import EvaluateResult, read_evaluation
from rushes.footage.probe_cache import ProbeCache
from rushes.formats.layouts import Part, SourceVideo
from rushes.media.cut import cut_pieces
from rushes.media.images import read_image, write_image
from rushes.media.read import read_video
from rushes.media.recognise import is_video_file
from rushes.media.write import write_video
from rushes.records import plain
from rushes.report.model import MetricRow
from rushes.store.latents import LatentStore
from rushes.training import checkpoint

from .fuzzing import Draw, Files, Reader, changed_tree, fuzz, json_text


@cache
def made() -> Files:
    """One file of each kind, as the product writes it."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        frames = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), np.uint8)
        write_video(folder / "a.mp4", frames, 8)
        write_image(folder / "a.png", frames[0])
        weights = {"policy/a": torch.ones(2, 3), "optimiser/a": torch.zeros(2)}
        checkpoint.save(folder / "runs", 3, weights, {"identity": "a"})
        texts().put("a dog", {"embeds": (torch.ones(2, 3), 4)})
        latents = LatentStore(folder / "latents", "f" * 24)
        latents.put({"c": torch.ones(4, 2, 3, 3)})
        paths = [folder / "a.mp4", folder / "a.png", *folder.glob("runs/*.safetensors")]
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in [*paths, *folder.glob("latents/*.safetensors")]
        }
        return files | {"texts": texts().path("a dog").read_bytes()}


CACHE = TemporaryDirectory()


def texts(folder: Path | None = None) -> TextCache:
    return TextCache(folder or Path(CACHE.name), {"model": "m"})


def of(*names: str) -> tuple[str, ...]:
    return tuple(name for name in made() if name.startswith(names))


def some(prefix: str) -> Files:
    return {name: content for name, content in made().items() if name.startswith(prefix)}


def video(folder: Path) -> Iterable[str]:
    """A video either has facts that hold of its frames, or a reason and what to do."""
    path = folder / "a.mp4"
    is_video_file(path)
    (folder / "project").mkdir()
    with ProbeCache(folder / "project") as facts:
        fact = facts.of(SourceVideo(path, "", str(path)))
    if fact.problem:
        assert fact.reason
        return [f"{path}: {fact.problem}"]
    frames = read_video(path).frames_FHWC
    assert frames.shape[1:3] == (fact.height_px, fact.width_px) and len(frames) == fact.frames
    if fact.seconds > 0.5:
        with warnings.catch_warnings():
            assert [path.is_file() for _, path in cut_pieces(path, [(0.0, 0.4)], 20, folder)] == [True]
    return ()


def still(folder: Path) -> Iterable[str]:
    assert read_image(folder / "a.png").shape[2] == 3
    return ()


def last_checkpoint(folder: Path) -> Iterable[str]:
    """One that is altered is passed over, never taken for whole."""
    checkpoint.newest_facts(folder / "runs")
    whole = checkpoint.latest(folder / "runs")
    assert whole is None or torch.equal(whole.tensors["policy/a"], torch.ones(2, 3))
    return ()


def kept_text(folder: Path) -> Iterable[str]:
    target = texts(folder).path("a dog")
    target.parent.mkdir()
    (folder / "texts").rename(target)
    stored = texts(folder).get("a dog")
    assert stored is None or torch.equal(stored["embeds"][0], torch.ones(2, 3))  # what is torn is read again
    return ()


def latents(folder: Path) -> Iterable[str]:
    store = LatentStore(folder / "latents", "f" * 24)
    lines = store.verify()
    latent = store.get("c")
    assert latent is None or lines or torch.equal(latent, torch.ones(4, 2, 3, 3))
    return lines


INDEX = {"_class_name": "WanPipeline", "vae": ["diffusers", "AutoencoderKLWan"], "scheduler": ["diffusers", "X"]}
CONFIG = {"_class_name": "AutoencoderKLWan", "z_dim": 4}


def model(draw: Draw) -> Files:
    return {
        "model_index.json": json_text(changed_tree(draw, INDEX)),
        "vae/config.json": json_text(changed_tree(draw, CONFIG)),
    }


def read_model(folder: Path) -> Iterable[str]:
    opened = read_folder(str(folder))
    assert opened.pipeline
    assert isinstance(opened.config("vae"), dict)
    return ()


ROW = MetricRow("flicker", "lower", 1.0, 0.5, -0.5, -1.0, 0.0, 4)
RESULT = plain(
    EvaluateResult("first", "flicker", {"flicker": ROW}, {"other": {"flicker": ROW}}, seconds={"train": 1.0})
)


def result(draw: Draw) -> Files:
    return {"first.json": json_text(changed_tree(draw, RESULT))}


def read_result(folder: Path) -> Iterable[str]:
    read = read_evaluation(folder / "first.json")
    assert all(row.outcome for row in read.metrics.values())
    return ()


def held(draw: Draw) -> Files:
    """Parquet tables that hold videos."""
    from .test_fuzz import parquet_table

    return parquet_table(draw)


def unpacked(folder: Path) -> Iterable[str]:
    """Each row of a table of videos is unpacked, or said to hold none."""
    (folder / "project").mkdir()
    path = folder / "table.parquet"
    with ProbeCache(folder / "project") as facts:
        for at in (0, 2, 1, 7):
            fact = facts.of(SourceVideo(path, "", f"{path}, row {at}", part=Part("", at, column="video")))
            assert fact.problem and fact.reason  # none of them is a video
            yield f"{path}, row {at}: {fact.problem}"


READERS = (
    Reader("video", lambda draw: some("a.mp4"), video, of("a.mp4")),
    Reader("still", lambda draw: some("a.png"), still, of("a.png")),
    Reader("checkpoint", lambda draw: some("runs"), last_checkpoint, of("runs")),
    Reader("text", lambda draw: some("texts"), kept_text, of("texts")),
    Reader("latents", lambda draw: some("latents"), latents, of("latents")),
    Reader("model", model, read_model, ("model_index.json", "vae/config.json")),
    Reader("result", result, read_result, ("first.json",)),
    Reader("unpacked", held, unpacked, ("table.parquet",)),
)


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_a_few_changed_files(reader: Reader) -> None:
    fuzz(reader, 6)


@pytest.mark.whole
@pytest.mark.parametrize("reader", READERS, ids=str)
def test_many_changed_files(reader: Reader) -> None:
    fuzz(reader, 1000)


def same(content: bytes, draw: Draw) -> Files:
    return {"a.mp4": content}


@pytest.mark.whole
@pytest.mark.parametrize("name", ["media/*.mp4", "realaction/**/*.mp4"])
def test_real_videos_that_were_damaged(real_data: Path, name: str) -> None:
    for path in sorted(real_data.glob(name))[:3]:
        content = path.read_bytes()
        fuzz(Reader(path.name, partial(same, content), video, ("a.mp4",)), 60)
