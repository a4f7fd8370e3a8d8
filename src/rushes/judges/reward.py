"""Reward models as judges: pointwise scores, the higher one wins beyond a margin.

A folder holds one of two things:

- `scores.jsonl`: scores that some other program gave, in whatever language and environment. A line per clip:
  `{"media": content hash, "scores": {"VQ": 0.3, "MQ": -0.1, "TA": 0.8}}`, and `"segments": [...]`, one number for each
  segment, where it scored those too. `rushes labels clips` writes the hashes, files and captions it needs.
- a video classifier as `transformers` saves it: `config.json`, `preprocessor_config.json` and `model.safetensors`, one
  output per score, named in `id2label`. It is run here; nothing is fetched and no code of the folder is run.

The overall score is the one called `overall` where there is one, else the sum of all (as in VideoReward, arXiv
2501.13918). Mind what such scores like: VisionReward prefers a frozen frame to the clip that it was taken from in seven
cases of ten (DenseDPO, app. B); `rushes judges` shows it of any judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rushes.files import content_hash
from rushes.judges.base import PointwiseJudge, Scorer
from rushes.judges.vlm import parts_of
from rushes.media.resize import resize_frame
from rushes.metrics.base import Shot
from rushes.text_reader import read_text

SCORES, CONFIG, PREPROCESSOR = "scores.jsonl", "config.json", "preprocessor_config.json"


class _ScoreLine(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    media: str = Field(min_length=1)
    scores: dict[str, float] = Field(min_length=1)
    segments: list[float] = []


def make(folder: str, margin: float) -> PointwiseJudge:
    """The judge of a folder, with a tie while overall scores differ by at most `margin`.

    Raises ValueError: the folder holds neither form, both, or one that cannot be read.
    """
    path = Path(folder)
    scores, config = path / SCORES, path / CONFIG
    if not folder or scores.is_file() == config.is_file():
        raise ValueError(f"label.reward: {folder or 'empty'}: name a folder that holds either {SCORES} or {CONFIG}")
    digest = content_hash(scores if scores.is_file() else config)[:8]
    scorer = _looked_up(scores) if scores.is_file() else _classifier(path)
    return PointwiseJudge(f"reward:{path.name}@{digest}", scorer, margin)


def overall(scores: Mapping[str, float]) -> float:
    """One number of several scores."""
    named = {name.lower(): value for name, value in scores.items()}
    return named.get("overall", sum(scores.values()))


def _looked_up(path: Path) -> Scorer:
    lines_by_media = _score_lines(path)

    def score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        line = lines_by_media.get(shot.media)
        if line is None:
            raise ValueError(f"{path}: no score for the clip {shot.media}; `rushes labels clips` lists what is needed")
        if segment_s is None:
            return (overall(line.scores),)
        wanted = len(parts_of(shot, segment_s))
        if len(line.segments) != wanted:
            raise ValueError(
                f"{path}: {shot.media} has {len(line.segments)} scores for {wanted} segments of {segment_s:g} s; score "
                "each segment, or set label.whole to true"
            )
        return tuple(line.segments)

    return score


def _score_lines(path: Path) -> dict[str, _ScoreLine]:
    """Lines by the clip's content hash. Raises ValueError for the first that is none, lacks a score that the first line
    has or has one more, or is of a clip that has a line already."""
    lines_by_media: dict[str, _ScoreLine] = {}
    places: dict[str, int] = {}
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            line = _ScoreLine.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}, line {number}: {where}: {first['msg']}; correct the line") from error
        if before := places.get(line.media):
            raise ValueError(
                f"{path}, line {number}: {line.media} has scores on line {before} already; delete one line"
            )
        wanted = next(iter(lines_by_media.values()), line).scores
        if odd := sorted(wanted.keys() ^ line.scores.keys()):
            start = next(iter(places.values()))
            raise ValueError(
                f"{path}, line {number}: its scores are {', '.join(line.scores)} and those of line {start} are "
                f"{', '.join(wanted)}; give every clip the same, {', '.join(odd)} included or left out"
            )
        lines_by_media[line.media], places[line.media] = line, number
    return lines_by_media


def _classifier(folder: Path) -> Scorer:
    import torch
    from transformers import AutoModelForVideoClassification

    try:
        model = AutoModelForVideoClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        ).eval()
        prepared = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
        mean, std = (np.asarray(prepared[name], np.float32) for name in ("image_mean", "image_std"))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder}: not a video classifier that transformers can load ({error})") from error
    config: Any = model.config
    names = [config.id2label[k] for k in range(config.num_labels)]
    side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]

    def score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        scores = []
        for frames in parts_of(shot, segment_s):
            picks = np.linspace(0, len(frames) - 1, config.num_frames).round().astype(int)
            small = np.stack([resize_frame(frames[k], (side, side)) for k in picks])
            values = (small.astype(np.float32) / 255 - mean) / std  # [T, H, W, C]
            with torch.inference_mode():
                logits = model(pixel_values=torch.from_numpy(values).permute(0, 3, 1, 2)[None]).logits[0]
            scores.append(overall(dict(zip(names, map(float, logits), strict=True))))
        return tuple(scores)

    return score
