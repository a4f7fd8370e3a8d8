"""A small store of rendered clips and noisy copies of them, and a small transformer to train on it.

Rows have plain names for content hashes: draws depend on them, and a video file's hash on the encoder's version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rushes.backbones.tiny import TinyBackbone, TinyConfig
from rushes.noise.draws import seeded
from rushes.records import Candidate, CandidateKind, Clip, Preference
from rushes.store.database import Store
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.comparison import LatentGrid
from rushes.world.render import render
from rushes.world.scenes import FPS, FRAMES, SIZE_PX, Scene, draw_scenes

CLIPS, TAKES = 5, 3  # of the last clip there is one take only
LABELS = ((1, 0, -1, 1), (0, 0, 1, 0), (-1, -1, -1, 0), (0, 0, 0, 0), (1, 1, 1, 1))  # of guided pairs, per half second


@dataclass(frozen=True)
class Corner:
    """What a recipe and the loop need."""

    store: Store
    latents: LatentStore
    grid: LatentGrid


def small_backbone() -> TinyBackbone:
    """Two blocks of width 24 and a random codec; all weights are random, so that none has no gradient."""
    backbone = TinyBackbone(TinyConfig(channels=6, width=24, depth=2, heads=2))
    generator = seeded("small backbone")
    for p in backbone.network.parameters():
        p.data = 0.2 * torch.randn(p.shape, generator=generator)
    for name in ("first_basis", "block_basis"):
        basis = backbone.codec.get_buffer(name)
        basis.copy_(torch.randn(basis.shape, generator=generator) / 8)
    return backbone


def clip_row(scene: Scene, name: str, split: str = "train") -> Clip:
    return Clip(name, name, scene.caption, SIZE_PX, SIZE_PX, FRAMES, FPS, "world", split)  # type: ignore[arg-type]


def candidate_row(clip: Clip, name: str, kind: CandidateKind, eta: float | None = None) -> Candidate:
    size = (clip.width_px, clip.height_px, clip.frames, clip.fps)
    return Candidate(name, name, clip.caption, kind, clip.id, clip.id, "base", "weights", 0, *size, eta, clip.split)


def preference_row(left: str, right: str, labels: tuple[int, ...], segment_s: float | None = 0.5) -> Preference:
    return Preference(f"{left} or {right}", left, right, labels, "world", segment_s)


def fill(store: Store, latents: LatentStore) -> None:
    codec, rng = small_backbone(), np.random.default_rng(0)

    def keep(name: str, frames: np.ndarray) -> None:
        latents.put({name: codec.encode(frames[None])[0]})

    for i, scene in enumerate(draw_scenes(5, CLIPS)):
        frames = render(scene)
        clip = clip_row(scene, f"clip {i}")
        store.add([clip])
        keep(clip.media, frames)
        latents.put({first_frame_key(clip.media): codec.encode(frames[None, :1])[0]})
        takes = 1 if i == CLIPS - 1 else TAKES
        made = [candidate_row(clip, f"take {i}.{k}", "take") for k in range(takes)]
        made += [candidate_row(clip, f"guided {i}.{k}", "guided", eta=0.65 + 0.01 * i) for k in range(2)]
        for candidate in made:
            noise = rng.normal(0, 20, frames.shape)
            keep(candidate.media, np.clip(frames + noise, 0, 255).astype(np.uint8))
        store.add(made)
        store.add([preference_row(f"guided {i}.0", f"guided {i}.1", LABELS[i])])
        if takes > 1:
            store.add([preference_row(f"take {i}.0", f"take {i}.1", LABELS[i])])
    aside = clip_row(draw_scenes(6, 1)[0], "eval clip", "eval")
    store.add([aside, candidate_row(aside, "eval take", "take"), candidate_row(aside, "eval take 2", "take")])
    store.add([preference_row("eval take", "eval take 2", (1, 1, 1, 1))])


@pytest.fixture(scope="session")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corner]:
    """Read only."""
    folder: Path = tmp_path_factory.mktemp("corner")
    with Store.create(folder) as store:
        latents = LatentStore(folder / "latents", "small")
        fill(store, latents)
        yield Corner(store, latents, LatentGrid(5, 4, FPS, first_frame=True))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, to be filled with rows."""
    with Store.create(tmp_path / "project") as opened:
        yield opened


@pytest.fixture
def scene() -> Scene:
    return draw_scenes(5, 1)[0]


@pytest.fixture
def backbone() -> Callable[[], TinyBackbone]:
    return small_backbone


@pytest.fixture
def rows() -> dict[str, Callable[..., object]]:
    return {"clip": clip_row, "candidate": candidate_row, "preference": preference_row}


@pytest.fixture
def text_only(corner: Corner) -> LatentGrid:
    return replace(corner.grid, first_frame=False)


@pytest.fixture(autouse=True)
def no_lasting_switch() -> Iterator[None]:
    """Training turns deterministic algorithms on for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
