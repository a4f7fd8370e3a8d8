"""Probes: the takes of `rushes tune eta`, what is measured of their pairs, and the sheets that show them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from rushes import generate
from rushes.arrays import first_to_last
from rushes.evaluate.levels import PairFacts
from rushes.evaluate.suites import MetricSuite
from rushes.files import append_text, write_text
from rushes.judges.base import Judge, PointwiseJudge
from rushes.media.images import write_image
from rushes.media.read import read_video
from rushes.media.strips import contact_sheet
from rushes.metrics.base import Shot
from rushes.metrics.motion_agreement import motion_agreement
from rushes.project.generation import encode_missing, latents_of
from rushes.project.labels import PROBE_PAIRS
from rushes.project.networks import load_network, network_of
from rushes.project.processes import match_network, share_takes
from rushes.project.project import OpenProject
from rushes.records import Candidate, Clip, stable_hash
from rushes.text_reader import counted, read_by_line

_LOG = logging.getLogger(__name__)
FOLDER, MEASURED = "eta", "pairs.jsonl"
FREE, REAL = 1.0, 0.0  # levels beside the guided ones: takes from pure noise, and the real clip after the codec
SHEET_CLIPS, SHEET_PX, SHEET_FRAMES = PROBE_PAIRS, 96, 8
_VERSION = 1  # of what is measured; raise it when a measure changes


@dataclass(frozen=True)
class ProbePair:
    """Two takes of one clip from one level, and the real clip after the model's codec, which they are held against."""

    eta: float
    left: Candidate
    right: Candidate
    real: Candidate


def make_probes(project: OpenProject, clips: Sequence[Clip], levels: Sequence[float]) -> list[ProbePair]:
    """A pair of each clip at each level, and one from pure noise; what is stored already is not made again.

    The noise of a pair is the same at all levels, so that levels differ by nothing else. Nothing trains on them.
    """
    settings, system = project.settings, project.settings.train.init_from
    encode_missing(project, *latents_of(project, clips, whole=True), "eta: encode")
    network = network_of(project, system)
    backbone = load_network(project, network) if network.chain else project.base
    ask = settings.generate.model_copy(update={"kind": "guided"})
    context = generate.GenerationContext(
        project.latents, backbone, settings.backbone, ask, store=project.store, system=system, kind="probe"
    )
    wanted = list(_requests(context, clips, (REAL, *levels, FREE), settings.project.seed))
    missing = generate.missing(context, wanted).requests
    with project.timed("eta", len(missing)) as tick:
        spread = share_takes(project.ranks, network, context, missing)
        if missing:
            match_network(project.ranks, backbone, network)
        generate.generate(context, missing, tick, spread)
    stored = {row.id: row for row in project.store.candidates(split="train", kind="probe", system=system)}
    rows: dict[tuple[str, float], list[Candidate]] = {}
    for request in wanted:
        level = FREE if request.eta is None else request.eta
        rows.setdefault((request.clip.id, level), []).append(stored[request.id])
    pairs = [(clip.id, level) for clip in clips for level in (*levels, FREE)]  # by clip: its real one is read once
    return [ProbePair(level, rows[id, level][0], rows[id, level][1], rows[id, REAL][0]) for id, level in pairs]


def _requests(
    context: generate.GenerationContext, clips: Sequence[Clip], levels: Sequence[float], seed: int
) -> Iterator[generate.Request]:
    shapes = {clip.id: generate.shape_of(context.size, clip) for clip in clips}
    own = {shape: context.at(shape).settings_hash for shape in dict.fromkeys(shapes.values())}
    for level in levels:
        for clip in clips:
            shape = shapes[clip.id]
            for k in range(1 if level == REAL else 2):
                number = generate.take_seed(seed, clip, k)
                id = stable_hash([clip.id, context.weights, number, own[shape], context.system, "eta", level])
                eta = None if level == FREE else level
                yield generate.Request(id, clip, clip.caption, number, eta=eta, shape=shape)


class ProbeAnswers:
    """What was measured, a line each in a file: each is on disk before the next is begun; torn lines are dropped."""

    def __init__(self, path: Path) -> None:
        self._path, self._values = path, dict[str, Any]()
        text = read_by_line(path) if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines(keepends=True)
        good = [line for line in lines if self._take(line)]
        if len(good) < len(lines):
            _LOG.warning("%s: %s altered; what it had is measured again", path, counted(len(lines) - len(good), "line"))
        if len("".join(good)) < len(text):
            write_text(path, "".join(good))

    def _take(self, line: str) -> bool:
        """Whether a line is a row, whose value is known from now on."""
        try:
            row = json.loads(line if line.isascii() else "")
            self._values[row["of"]] = row["value"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return False
        return True

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        append_text(self._path, json.dumps({"of": key, "value": value}, allow_nan=False) + "\n")
        self._values[key] = value


def measure_probes(
    project: OpenProject,
    probes: Sequence[ProbePair],
    judge: Judge | None,
    answers: Mapping[frozenset[str], tuple[int, ...]],
) -> list[PairFacts]:
    """What each pair shows. Without a judge labels are what people `said` of it, by the ids of its members."""
    folder = project.store.project / FOLDER
    folder.mkdir(exist_ok=True)
    cache, eyes = ProbeAnswers(folder / MEASURED), _JudgedTakes(project, judge) if judge else None
    keys = [_keys(probe, eyes.by if eyes else []) for probe in probes]
    shot = lru_cache(8)(lambda row: _shot(project, row, None))
    todo = [at for at, names in enumerate(keys) if any(name not in cache for name in names[: 2 if eyes else 1])]
    with project.timed("eta: measure", len(todo)) as tick:
        for at in todo:
            probe, (motion, judged) = probes[at], keys[at]
            if motion not in cache:
                cache[motion] = _finite(motion_agreement(shot(probe.left), shot(probe.right)))
            if eyes and judged not in cache:
                cache[judged] = eyes.look(probe)
            tick(1)
    results = []
    for probe, (motion, judged) in zip(probes, keys, strict=True):
        labels = answers.get(frozenset((probe.left.id, probe.right.id)), ())
        facts: dict[str, Any] = cache[judged] if eyes else {"labels": labels, "faults": None}
        numbers = _number(cache[motion]), tuple(facts["labels"]), _number(facts["faults"])
        results.append(PairFacts(probe.left.clip_id, probe.eta, *numbers))
    return results


class _JudgedTakes:
    """A judge's labels of a pair, and its faults: how far its members are behind the real clip, on average.

    Faults are counted by the metric that evaluation's verdict is about, where there is one; else by the judge's scores;
    and where it gives none, by the share of judged segments that the real clip wins less that which it loses.
    """

    def __init__(self, project: OpenProject, judge: Judge) -> None:
        suite, label = project.suite, project.settings.label
        self.judge, self.segment_s = judge, label.segment_s
        size_px, self.faults_by = (suite.size_px, suite.headline) if suite.headline else (judge.size_px, judge.name)
        self.by = [judge.name, label.by, label.margin, label.segment_s, label.frames_per_s, self.faults_by]
        self._shot = lru_cache(8)(lambda row, size: _shot(project, row, size))
        grade = _grade(suite, judge)
        self._score = lru_cache(64)(lambda row: grade(self._shot(row, size_px))) if grade else None

    def look(self, probe: ProbePair) -> dict[str, Any]:
        """The labels, and the faults or None."""
        left, right = (self._shot(row, self.judge.size_px) for row in (probe.left, probe.right))
        labels = self.judge.compare(left, right, self.segment_s).labels
        behind = [self._behind(probe.real, row) for row in (probe.left, probe.right)]
        return {"labels": list(labels), "faults": _finite(float(np.mean(behind)))}

    def _behind(self, real: Candidate, take: Candidate) -> float:
        if self._score:
            return self._score(real) - self._score(take)
        shots = [self._shot(row, self.judge.size_px) for row in (real, take)]
        verdict = self.judge.compare(shots[0], shots[1], self.segment_s)
        judged = [label for at, label in enumerate(verdict.labels) if at not in verdict.unjudged]
        return sum(judged) / len(judged) if judged else math.nan


def _grade(suite: MetricSuite, judge: Judge) -> Callable[[Shot], float] | None:
    """A score of one clip, higher is better; None where there is none."""
    if suite.headline:
        sign = 1.0 if suite.better[suite.headline] == "higher" else -1.0
        return lambda shot: sign * suite.measure(shot)[suite.headline][0]
    return (lambda shot: judge.score(shot, None)[0]) if isinstance(judge, PointwiseJudge) else None


def _keys(probe: ProbePair, by: Sequence[object]) -> tuple[str, str]:
    pair = [_VERSION, probe.left.id, probe.right.id]
    return stable_hash(["motion", *pair]), stable_hash(["judged", *pair, probe.real.id, *by])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _shot(project: OpenProject, row: Candidate, size_px: tuple[int, int] | None) -> Shot:
    video = read_video(project.store.media_path(row.media), fps=row.fps, size_px=size_px)
    return Shot(video.frames_FHWC, video.fps, row.caption, media=row.media)


def draw_sheets(project: OpenProject, probes: Sequence[ProbePair]) -> dict[float, Path]:
    """A contact sheet for each level, of the first `SHEET_CLIPS` clips: real clip, first and second take."""
    folder = project.store.project / FOLDER
    levels = {eta: list(rows) for eta, rows in groupby(sorted(probes, key=lambda p: p.eta), lambda p: p.eta)}
    read = lru_cache(SHEET_CLIPS)(lambda row: _strip(project, row))
    paths = {}
    with project.timed("eta: sheets", len(levels)) as tick:
        for eta, rows in levels.items():
            strips, labels = [], []
            for number, probe in enumerate(rows[:SHEET_CLIPS], 1):
                caption = probe.left.caption.encode("ascii", "replace").decode()
                strips += [read(row) for row in (probe.real, probe.left, probe.right)]
                labels += [f"{number} real: {caption}", f"{number} a", f"{number} b"]
            paths[eta] = folder / ("free.png" if eta == FREE else f"eta-{eta:.4g}.png")
            write_image(paths[eta], contact_sheet(strips, columns=SHEET_FRAMES, labels=labels))
            tick(1)
    return paths


def _strip(project: OpenProject, row: Candidate) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A few frames of a take, small."""
    scale = min(1.0, SHEET_PX / min(row.height_px, row.width_px))
    size = (max(1, round(row.height_px * scale)), max(1, round(row.width_px * scale)))
    frames = read_video(project.store.media_path(row.media), size_px=size, fit="stretch").frames_FHWC
    picks = first_to_last(len(frames), min(SHEET_FRAMES, len(frames)))
    return np.ascontiguousarray(frames[picks])
