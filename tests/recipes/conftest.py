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
from rushes.edits.words import apply
from rushes.noise.draws import seeded
from rushes.records import Candidate, CandidateKind, CaptionRow, Clip, Preference, Score, Split
from rushes.store.database import Store
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.comparison import LatentGrid
from rushes.training.recipe import load_recipe
from rushes.world.mechanics import FPS, SIZE_PX
from rushes.world.render import render
from rushes.world.scenes import Scene, draw_scenes

CLIPS, TAKES, FRAMES = 5, 3, 17  # of the last clip there is one take only
EDITING = ("dfdpo", "physhpo")  # recipes with views of edited clips
GRID = LatentGrid(5, 4, FPS, first_frame=True)
SCORES = ((9, 10, 7.5), (3, 8, 3), (2, 1, 0.5), (5, 5, 5), (6,))  # of takes, out of ten; of group 3 all tie
LABELS = ((1, 0, -1, 1), (0, 0, 1, 0), (-1, -1, -1, 0), (0, 0, 0, 0), (1, 1, 1, 1))  # of guided pairs, per half second


@dataclass(frozen=True)
class ProjectWithClips:
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


def clip_row(scene: Scene, name: str, split: Split = "train") -> Clip:
    return Clip(name, name, scene.caption, SIZE_PX, SIZE_PX, FRAMES, FPS, "world", split)


def candidate_row(clip: Clip, name: str, kind: CandidateKind, eta: float | None = None) -> Candidate:
    size = (clip.width_px, clip.height_px, clip.frames, clip.fps)
    return Candidate(name, name, clip.caption, kind, clip.id, clip.id, "base", "weights", 0, *size, eta, clip.split)


def preference_row(left: str, right: str, labels: tuple[int, ...], segment_s: float | None = 0.5) -> Preference:
    return Preference(f"{left} or {right}", left, right, labels, "world", segment_s)


def score_row(subject: str, value: float, rater: str = "human", metric: str = "human") -> Score:
    return Score(f"{rater} {metric} {subject} {value}", subject, metric, value, measured_by=rater)


class SceneRows:
    """One row of each kind, of a scene, of a clip or of their ids."""

    clip = staticmethod(clip_row)
    candidate = staticmethod(candidate_row)
    preference = staticmethod(preference_row)
    score = staticmethod(score_row)


def fill(store: Store, latents: LatentStore) -> None:
    codec, rng, gap_rng = small_backbone(), np.random.default_rng(0), np.random.default_rng(1)
    kept: dict[str, np.ndarray] = {}

    def keep(name: str, frames: np.ndarray) -> None:
        kept[name] = frames
        latents.put({name: codec.encode(frames[None])[0]})

    for i, scene in enumerate(draw_scenes(5, CLIPS, frames=FRAMES)):
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
        gap = replace(candidate_row(clip, f"gap {i}", "gap"), caption="a ball")
        keep(gap.media, np.clip(frames + gap_rng.normal(0, 20, frames.shape), 0, 255).astype(np.uint8))
        store.add([gap, CaptionRow(f"wrong {i}", clip.id, "a ball stands still", "wrong", f"take {i}.{takes - 1}")])
        store.add(Score(f"alike {i}.{k}", f"take {i}.{k}", "likeness", 0.9 + 0.01 * k) for k in range(takes))
        store.add(score_row(f"take {i}.{k}", score) for k, score in enumerate(SCORES[i]))
        store.add([preference_row(f"guided {i}.0", f"guided {i}.1", LABELS[i])])
        if takes > 1:
            store.add([preference_row(f"take {i}.0", f"take {i}.1", LABELS[i])])
    aside = clip_row(draw_scenes(6, 1, frames=FRAMES)[0], "eval clip", "eval")
    store.add([aside, candidate_row(aside, "eval take", "take"), candidate_row(aside, "eval take 2", "take")])
    store.add([preference_row("eval take", "eval take 2", (1, 1, 1, 1))])
    for recipe in map(load_recipe, EDITING):
        for view in (view for c in recipe.comparisons(store, recipe.Options(), GRID) for view in c.views):
            if view.edit:
                edited = apply(kept[view.media], view.edit, kept.__getitem__)
                latents.put({view.key: codec.encode(edited[None])[0]})


@pytest.fixture(scope="session")
def project_with_clips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectWithClips]:
    """Read only."""
    folder: Path = tmp_path_factory.mktemp("project_with_clips")
    with Store.create(folder) as store:
        latents = LatentStore(folder / "latents", "small")
        fill(store, latents)
        yield ProjectWithClips(store, latents, GRID)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, to be filled with rows."""
    with Store.create(tmp_path / "project") as opened:
        yield opened


@pytest.fixture
def scene() -> Scene:
    return draw_scenes(5, 1, frames=FRAMES)[0]


@pytest.fixture
def backbone() -> Callable[[], TinyBackbone]:
    return small_backbone


@pytest.fixture
def rows() -> SceneRows:
    return SceneRows()


@pytest.fixture
def text_only(project_with_clips: ProjectWithClips) -> LatentGrid:
    return replace(project_with_clips.grid, first_frame=False)


@pytest.fixture(autouse=True)
def no_lasting_switch() -> Iterator[None]:
    """Training turns deterministic algorithms on for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
