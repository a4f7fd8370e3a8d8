"""A small transformer whose every weight matters, and batches and runs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
import torch

from rushes.backbones.tiny import TinyBackbone, TinyConfig
from rushes.noise.draws import TimeDraw, seeded
from rushes.objectives.terms import Term, collate
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.batches import Batch
from rushes.training.comparison import Comparison, View
from rushes.training.loop import TrainingData

CHANNELS, FRAMES, SIDE = 6, 4, 2
BETA = 3.0

Rows = Callable[[Sequence[Sequence[Term]], torch.dtype], Batch]
Referenced = Callable[[Batch], torch.Tensor]


class Small(Protocol):
    def __call__(self, seed: int = 0) -> TinyBackbone: ...


class DataIn(Protocol):
    def __call__(self, folder: Path, pairs: int = 6, first_frame: bool = False, held_out: int = 0) -> TrainingData: ...


def small_backbone(seed: int = 0) -> TinyBackbone:
    """Two blocks of width 24. All weights are random: with those that start at zero, most gradients would be zero."""
    backbone = TinyBackbone(TinyConfig(channels=CHANNELS, width=24, depth=2, heads=2))
    generator = seeded("small backbone", seed)
    for p in backbone.network.parameters():
        p.data = 0.2 * torch.randn(p.shape, generator=generator)
    return backbone


def make_rows(terms: Sequence[Sequence[Term]], dtype: torch.dtype) -> Batch:
    """A batch of random latents; a comparison has as many views as its first term has coefficients."""
    generator = seeded("rows")
    place = tuple((b, v) for b, row in enumerate(terms) for v in range(len(row[0].coefficients)))
    shape = (CHANNELS, FRAMES, SIDE, SIDE)
    noise = torch.randn(len(terms), *shape, generator=generator).to(dtype)
    times = torch.rand(len(terms), 1, generator=generator).expand(-1, FRAMES).to(dtype)
    clean = torch.randn(len(place), *shape, generator=generator).to(dtype)
    of = [b for b, _ in place]
    views = max(v for _, v in place) + 1
    batch = collate(terms, views, FRAMES)
    exact = {name: value.to(dtype) for name, value in vars(batch).items() if name != "forms"}
    condition = TinyBackbone().condition([f"a ball of kind {b} falls" for b in of])
    return Batch(clean, noise[of], times[of], condition, place, replace(batch, **exact))


def random_reference(batch: Batch) -> torch.Tensor:
    """Errors [B, V, F] that a reference might have."""
    shape = (len(batch.terms.beta_BK), batch.views, FRAMES)
    return 1 + torch.rand(*shape, generator=seeded("reference")).to(batch.clean_RCFHW.dtype)


def small_data(folder: Path, pairs: int = 6, first_frame: bool = False, held_out: int = 0) -> TrainingData:
    """Pairs of random latents under a segment-free label."""
    latents = LatentStore(folder / "latents", "small")
    generator = seeded("small data")
    names = [f"{side}{i}" for i in range(pairs) for side in "ab"]
    shape = (CHANNELS, FRAMES, SIDE, SIDE)
    latents.put({name: torch.randn(*shape, generator=generator) for name in names})
    latents.put(
        {first_frame_key(f"a{i}"): torch.randn(CHANNELS, 1, SIDE, SIDE, generator=generator) for i in range(pairs)}
    )
    labels = (0 if first_frame else 1, *(1,) * (FRAMES - 1))
    comparisons = [
        Comparison(
            f"pair {i}",
            f"prompt {i // 2}",
            tuple(View(f"{side}{i}", f"caption {i}", f"a{i}" if first_frame else "") for side in "ab"),
            (Term("clip", (1.0, -1.0), labels, BETA),),
        )
        for i in range(pairs)
    ]
    kept = pairs - held_out
    return TrainingData(comparisons[:kept], comparisons[kept:], latents, TimeDraw("uniform"))


def uneven_data(folder: Path) -> TrainingData:
    """Comparisons of two and three views; labels per segment, of which some are ties."""
    data = small_data(folder, pairs=9, held_out=2)
    labels = [(1, 1, -1, 0), (0, 0, 0, 0), (1, 0, 0, 0), (-1, -1, -1, -1)]
    found = []
    for i, comparison in enumerate(data.comparisons):
        views, coefficients = comparison.views, list[tuple[float, ...]]([(1.0, -1.0)])
        if i % 3 == 0:
            views = (*views, View("b8", "another caption"))
            coefficients = [(1.0, -1.0, 0.0), (1.0, 0.0, -1.0)]
        terms = tuple(
            Term("segment", c, labels[(i + k) % 4], BETA, 0.5, reduction="segment") for k, c in enumerate(coefficients)
        )
        found.append(replace(comparison, views=views, terms=terms))
    held = [replace(c, terms=(replace(c.terms[0], level="segment", reduction="segment"),)) for c in data.held_out]
    return replace(data, comparisons=found, held_out=held)


SHAPES = {"": (FRAMES, SIDE, SIDE), "5x16x32": (2, 2, 4), "13x32x16": (FRAMES, 4, 2)}  # by name, F, H, W of latents


def mixed_data(folder: Path) -> TrainingData:
    """The same in three shapes, one of which a single comparison has."""
    data = uneven_data(folder)
    generator = seeded("mixed data")

    def of(comparison: Comparison, shape: str) -> Comparison:
        size = (CHANNELS, *SHAPES[shape])
        views = tuple(replace(view, shape=shape) for view in comparison.views)
        data.latents.put({view.key: torch.randn(*size, generator=generator) for view in views if shape})
        terms = tuple(replace(term, labels=term.labels[: size[1]]) for term in comparison.terms)
        return replace(comparison, views=views, terms=terms)

    names = ["", "5x16x32", "", "5x16x32", "13x32x16", "", "5x16x32"]
    used = [of(comparison, name) for comparison, name in zip(data.comparisons, names, strict=True)]
    held_out = [of(comparison, name) for comparison, name in zip(data.held_out, ("5x16x32", ""), strict=True)]
    return replace(data, comparisons=used, held_out=held_out)


@pytest.fixture
def mixed() -> Callable[[Path], TrainingData]:
    return mixed_data


@pytest.fixture
def small() -> Small:
    return small_backbone


@pytest.fixture
def rows() -> Rows:
    return make_rows


@pytest.fixture
def reference_of() -> Referenced:
    return random_reference


@pytest.fixture
def data_in() -> DataIn:
    return small_data


@pytest.fixture(autouse=True)
def no_lasting_switch() -> Iterator[None]:
    """Training turns deterministic algorithms on for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
