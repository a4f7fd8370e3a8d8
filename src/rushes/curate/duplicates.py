"""The best of the clips that show the same stays: copies of another size, rate or quality, cropped, mirrored, reversed.

Copies are found by their fingerprints, see `fingerprint`: work grows about as the number of clips, not its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats, Frames
from rushes.config.curate import DuplicatesSettings
from rushes.config.tables import Settings
from rushes.curate.base import CurationEntry, CurationFinding, Dropped, Stage, Task
from rushes.curate.fingerprint import INNER, MOMENTS, Index, Prints, backwards, fingerprint, mirrored, scales
from rushes.curate.frames import read_moments
from rushes.files import MediaError

Counts = NDArray[np.int64]
Turns = tuple[tuple[str, str], ...]


def make(settings: Settings, answers: Path) -> Stage:
    """The stage; it finds the fingerprints of a clip, whole and without its rim, its pixels in a frame and bytes."""
    return Stage("duplicates", "duplicates.1", measure, partial(_choose, table=settings.curate.duplicates))


def measure(task: Task) -> CurationFinding:
    """Fingerprints of a clip. A file that does not decode to its end has a problem."""
    try:
        frames = read_moments(task.path, task.frames / task.fps, MOMENTS)
    except MediaError as error:
        return CurationFinding(problem=str(error))
    height, width = frames[0].shape[:2]
    whole, inner = fingerprints(frames)
    words = {"whole": tuple(whole), "inner": tuple(inner)}
    return CurationFinding({"pixels": float(width * height), "bytes": float(task.path.stat().st_size)}, words)


def fingerprints(frames: Sequence[Frames]) -> tuple[Floats, Floats]:
    """[SIZE] each, of MOMENTS frames [H,W,3] uint8 RGB: of the whole picture, and without its rim."""
    return fingerprint(frames), fingerprint(frames, INNER)


@dataclass(frozen=True)
class Duplicate:
    """A clip that shows what a better one does: places of both, how different they are (0 = equal), in words how."""

    place: int
    original: int
    difference: float
    turn: str


def copies(whole_NS: Prints, inner_NS: Prints, order: Sequence[int], table: DuplicatesSettings) -> Iterator[Duplicate]:
    """In `order`, from the best clip on: all that are copies of one that is no copy itself, each once.

    A difference is the distance of two fingerprints over the scale of the original, see `fingerprint.scales`. A crop is
    found by its whole being the original's inner part, or the other way round.
    """
    whole, inner = Index(whole_NS), Index(inner_NS)
    views = (_Query("", whole, whole_NS), _Query("cropped ", whole, inner_NS), _Query("cropped ", inner, whole_NS))
    turns = tuple(product(("", "mirrored ")[: 1 + table.mirrored], ("", "reversed ")[: 1 + table.reversed]))
    scale_N = scales(whole_NS)
    reach_N = table.max_distance * scale_N
    others = [view.others(reach_N) for view in views]
    taken = np.zeros(len(whole_NS), np.bool_)
    for at in order:
        if taken[at]:
            continue
        taken[at] = True
        seen = [view.near(at, float(reach_N[at]), turns, taken)
                for view, count in zip(views, others, strict=True) if count[at]]  # fmt: skip
        for matches in zip(*seen, strict=True):  # of each turn
            for turn, place, distance in chain.from_iterable(matches):
                if not taken[place]:
                    taken[place] = True
                    yield Duplicate(place, at, distance / float(scale_N[at]), turn)


class _Query:
    """One way in which copies are looked for: fingerprints that are asked about, and an index of others."""

    def __init__(self, name: str, index: Index, asked_NS: Prints) -> None:
        self._name, self._index, self._asked_NS = name, index, asked_NS
        self._places_NK = index.places(asked_NS)

    def others(self, reach_N: Floats) -> Counts:
        """[N] how many other clips may lie within the reach of each, the clip itself left out where it surely does."""
        own = np.linalg.norm(self._places_NK - self._index.places_NK, axis=1) <= reach_N
        return np.asarray(self._index.counts(self._places_NK, reach_N) - own, np.int64)

    def near(self, at: int, reach: float, turns: Turns, taken: NDArray[np.bool_]) -> list[list[tuple[str, int, float]]]:
        """For each turn the clips within reach that are not taken: in words how, which, and how far away, in order."""
        among = self._index.candidates(self._places_NK[at], reach)
        among = among[~taken[among]]
        own = np.asarray(self._asked_NS[at : at + 1], np.float64)
        matches = []
        for mirror, back in turns:
            apart = self._index.apart(_turned(own, mirror, back)[0], among)
            turn, near = f"{self._name}{mirror}{back}", np.flatnonzero(apart <= reach)
            matches.append([(turn, int(among[k]), float(apart[k])) for k in near])
        return matches


def _turned(prints_NS: Floats, mirror: str, back: str) -> Floats:
    prints_NS = mirrored(prints_NS) if mirror else prints_NS
    return backwards(prints_NS) if back else prints_NS


def _choose(entries: Sequence[CurationEntry], table: DuplicatesSettings) -> Dropped:
    """Best is what a person kept, then more pixels, more frames' worth of bytes, and what was imported first."""
    if len(entries) < 2:
        return {}
    whole, inner = (np.array([entry.finding.words[name] for entry in entries]) for name in ("whole", "inner"))
    order = sorted(range(len(entries)), key=lambda at: _rank(entries[at]))
    return {
        entries[copy.place].id: (
            f"{copy.turn}copy of {entries[copy.original].id}: difference {copy.difference:.3f}, "
            f"at most {table.max_distance:g}"
        )
        for copy in copies(whole, inner, order, table)
        if not entries[copy.place].person
    }


def _rank(entry: CurationEntry) -> tuple[bool, float, float]:
    values = entry.finding.values
    return not entry.person, -values["pixels"], -values["bytes"]
