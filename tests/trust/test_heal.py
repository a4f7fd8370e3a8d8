"""What is derived is made again bit for bit where its file was lost or damaged; all by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load

from rushes.files import content_hash
from rushes.records import Candidate, Clip
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
    assert stage == "import" or "1 takes were lost from media/ or damaged, and are made again" in err


@pytest.mark.parametrize("damage", [emptied, flipped])
def test_latents_are_encoded_again_with_a_line_said(
    project: Path, rushes: Rushes, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    shard = max((project / "latents").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    whole = tensors(shard)
    damage(shard)
    code, out, err = rushes("encode", project, "--json")
    assert code == 0, err
    assert json.loads(out)["stored"] > 0 and caplog.text.count("was damaged and is deleted; what it held") == 1
    assert tensors(shard) == whole
