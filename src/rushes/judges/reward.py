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
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rushes.arrays import first_to_last
from rushes.devices import default_device
from rushes.files import content_hash
from rushes.judges.base import PointwiseJudge, Scorer
from rushes.judges.vlm import parts_of
from rushes.media.resize import resize_frame
from rushes.metrics.base import Shot
from rushes.text_reader import json_rows, read_by_line

MOST_LINES = 20  # of an error
SCORES, CONFIG, PREPROCESSOR = "scores.jsonl", "config.json", "preprocessor_config.json"


class _ScoreLine(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
    media: str = Field(min_length=1)
    scores: dict[str, float] = Field(min_length=1)
    segments: list[float] = []


def make(folder: str, margin: float, *, skip: bool = False) -> PointwiseJudge:
    """The judge of a folder, with a tie while overall scores differ by at most `margin`.

    With `skip`, lines of scores that cannot be used are left out, named in the judge's `left_out`, and clips without a
    score are unjudged.

    Raises:
        ValueError: the folder holds neither form, both, or one that cannot be read; without `skip`, every line that
            cannot be used.
    """
    path = Path(folder)
    scores, config = path / SCORES, path / CONFIG
    if not folder or scores.is_file() == config.is_file():
        raise ValueError(f"label.reward: {folder or 'empty'}: set it to a folder that holds {SCORES} or {CONFIG}")
    digest = content_hash(scores if scores.is_file() else config)[:8]
    name = f"reward:{path.name}@{digest}"
    if not scores.is_file():
        return PointwiseJudge(name, _classifier(path), margin)
    lines, problems = _score_lines(scores)
    if problems and not (skip and lines):
        more = f"and {len(problems) - MOST_LINES} more" if len(problems) > MOST_LINES else ""
        way_out = "correct the lines, or skip them with footage.on_refused = skip"
        raise ValueError("\n".join(filter(None, [*problems[:MOST_LINES], more, way_out])))
    return PointwiseJudge(
        name, _looked_up(scores, lines, skip=skip), margin, left_out=tuple(problems), scored=frozenset(lines)
    )


def overall(scores: Mapping[str, float]) -> float:
    """One number of several scores."""
    named = {name.lower(): value for name, value in scores.items()}
    return named.get("overall", sum(scores.values()))


def _looked_up(path: Path, lines_by_media: Mapping[str, _ScoreLine], *, skip: bool) -> Scorer:
    def score(shot: Shot, segment_s: float | None) -> tuple[float, ...]:
        line = lines_by_media.get(shot.media)
        wanted = len(parts_of(shot, segment_s)) if segment_s is not None else 1
        if skip and (line is None or (segment_s is not None and len(line.segments) != wanted)):
            return (math.nan,) * wanted
        if line is None:
            raise ValueError(
                f"{path}: no score for the clip {shot.media}; add it (`rushes labels clips` lists all "
                "clips that need one)"
            )
        if segment_s is None:
            return (overall(line.scores),)
        if len(line.segments) != wanted:
            raise ValueError(
                f"{path}: {shot.media} has {len(line.segments)} scores for {wanted} segments of {segment_s:g} s; score "
                "each segment, or set label.whole to true"
            )
        return tuple(line.segments)

    return score


def _score_lines(path: Path) -> tuple[dict[str, _ScoreLine], list[str]]:
    """Lines by the clip's content hash, and what is wrong with those that cannot be used.

    These are no JSON of this form, have other scores than most lines, or are two of one clip that differ.
    """
    read, problems = dict[int, _ScoreLine](), dict[int, str]()
    for row in json_rows(read_by_line(path)):
        try:
            if row.problem:
                problems[row.line] = row.problem
            else:
                read[row.line] = _ScoreLine.model_validate(row.cells)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            problems[row.line] = f"{'.'.join(map(str, first['loc']))}: {first['msg']}; correct the line"
    forms = Counter(tuple(sorted(line.scores)) for line in read.values())
    usual = set(forms.most_common(1)[0][0]) if forms else set()
    places = dict[str, int]()
    for number, line in read.items():
        before = places.setdefault(line.media, number)
        if odd := sorted(usual ^ line.scores.keys()):
            problems[number] = (
                f"its scores are {', '.join(line.scores)}, but most lines have {', '.join(sorted(usual))}; give every "
                f"clip the same scores, with or without {', '.join(odd)}"
            )
        elif len({name.lower() for name in line.scores}) < len(line.scores):
            problems[number] = (
                f"two of its scores, {', '.join(line.scores)}, differ only in upper and lower case; keep one"
            )
        elif before != number:
            problems[number] = f"{line.media} already has scores on line {before}; delete one line"
            if read[before] != line:  # which of them is right nobody knows
                problems.setdefault(before, f"{line.media} has other scores on line {number}; delete one line")
    lines = {line.media: line for number, line in read.items() if number not in problems}
    return lines, [f"{path}, line {number}: {words}" for number, words in sorted(problems.items())]


def _classifier(folder: Path) -> Scorer:
    import torch
    from transformers import AutoModelForVideoClassification

    try:
        model = AutoModelForVideoClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        model = model.to(default_device()).eval()
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
            picks = first_to_last(len(frames), config.num_frames)
            small = np.stack([resize_frame(frames[k], (side, side)) for k in picks])
            values = (small.astype(np.float32) / 255 - mean) / std  # [T, H, W, C]
            with torch.inference_mode():
                pixels = torch.from_numpy(values).permute(0, 3, 1, 2)[None].to(model.device)
                logits = model(pixel_values=pixels).logits[0].tolist()
            scores.append(overall(dict(zip(names, logits, strict=True))))
        return tuple(scores)

    return score
