"""What is derived is made again bit for bit where its file was lost or damaged; all by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load

from rushes.config.settings_files import load_settings
from rushes.config.tables import FootageSettings
from rushes.files import content_hash
from rushes.media.write import encode_bytes
from rushes.project.intake import make_stills
from rushes.project.project import OpenProject
from rushes.records import Candidate, Clip, stable_hash
from rushes.store.database import Store

from ..projects import Rushes

Damage = Callable[[Path], None]


def flipped(path: Path) -> None:
    """One bit of a file, late in it, where its frames or tensors lie."""
    data = bytearray(path.read_bytes())
    data[-len(data) // 4] ^= 4
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def lost(path: Path) -> None:
    path.unlink()


def video(project: Path, kind: type[Clip | Candidate], split: str = "train") -> Path:
    """The file of a row of this kind."""
    with Store.open(project) as store:
        row = next(row for row in store.stream(kind) if row.split == split)
        return store.media_path(row.media)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Videos of the project that were compared with their names."""
    paths = list[Path]()

    def count(path: Path) -> str:
        paths.append(path)
        return content_hash(path)

    monkeypatch.setattr("rushes.store.media.content_hash", count)
    return paths


def tensors(path: Path) -> dict[str, bytes]:
    """Without a map of the file, which is about to be damaged."""
    return {name: tensor.numpy().tobytes() for name, tensor in load(path.read_bytes()).items()}


@pytest.mark.parametrize(
    ("kind", "split", "stage", "damage"),
    [
        (Candidate, "train", "generate", lost),
        (Candidate, "train", "generate", flipped),
        (Candidate, "eval", "evaluate", emptied),
        (Clip, "train", "import", lost),
        (Clip, "train", "import", emptied),
        (Clip, "eval", "import", flipped),
    ],
)
def test_a_video_is_made_again(
    project: Path, rushes: Rushes, kind: type[Clip | Candidate], split: str, stage: str, damage: Damage
) -> None:
    path = video(project, kind, split)
    whole = path.read_bytes()
    damage(path)
    code, _, err = rushes(stage, project)
    assert code == 0, err
    assert path.read_bytes() == whole and content_hash(path) == path.stem
    assert stage == "import" or "1 takes were lost from media/ or damaged, and are generated again" in err


@pytest.mark.parametrize("damage", [emptied, flipped])
def test_latents_are_encoded_again_with_a_line_said(
    project: Path, rushes: Rushes, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    shard = max((project / "latents").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    whole = tensors(shard)
    damage(shard)
    code, out, err = rushes("encode", project, "--json")
    assert code == 0, err
    assert json.loads(out)["stored"] > 0 and caplog.text.count("was damaged and has been deleted; its contents") == 1
    assert tensors(shard) == whole


def test_reference_errors_are_computed_again_with_a_line_said(
    project: Path, rushes: Rushes, caplog: pytest.LogCaptureFixture
) -> None:
    ask = ("cache", "reference", project, "--set", "train.reference_cache=2", "--set", "train.name=looked-up", "--json")
    assert rushes(*ask)[0] == 0
    (shard,) = (project / "bank").glob("*.safetensors")
    data = shard.read_bytes()
    whole = tensors(shard)
    shard.write_bytes(data[:-64] + bytes(64))
    code, out, err = rushes(*ask)
    assert code == 0, err
    assert json.loads(out)["entries"] == len(whole) and tensors(shard) == whole
    assert f"{shard}: was damaged and has been deleted; its contents are computed again" in caplog.text


def test_what_comes_out_otherwise_is_not_taken_for_a_lost_take(
    project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = video(project, Candidate)
    path.unlink()
    monkeypatch.setattr("rushes.generate.encode_bytes", partial(encode_bytes, crf=30))  # as by another encoder
    code, _, err = rushes("generate", project)
    assert code == 2 and "was lost from media/ and cannot be reproduced, because generate.batch" in err
    assert "restore that, copy the file from a backup, or set project.seed" in err
    assert not path.exists()


def test_a_still_compares_none_but_those_asked_for(project: Path, hashed: list[Path], tmp_path: Path) -> None:
    settings = load_settings(project / "rushes.toml", own=True)
    settings = settings.model_copy(update={"footage": FootageSettings(kind="folder", path=str(tmp_path))})
    size = settings.backbone
    about = ["painter", size.height_px, size.width_px, 4, 2.0, settings.project.seed]
    with Store.open(project) as store:
        clip = store.clips("train")[0]
        store.add([replace(clip, id=stable_hash(["still", "a dog", *about]))])
        asked = OpenProject(store, settings)
        hashed.clear()
        result = make_stills(asked, tmp_path / "painter", ["a dog"], steps=4, guidance=2.0)
        assert (result.stills, result.new) == (1, 0) and hashed == [store.media.locate(clip.media)]


@pytest.mark.parametrize("stage", ["import", "generate"])
def test_a_stage_with_nothing_to_do_reads_no_video_again(
    project: Path, rushes: Rushes, hashed: list[Path], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr("rushes.store.compared.SETTLED_NS", 0)  # the project is a copy that was made just now
    for again in (False, True):
        code, _, err = rushes(stage, project)
        assert code == 0, err
        assert bool(hashed) is not again
        hashed.clear()
