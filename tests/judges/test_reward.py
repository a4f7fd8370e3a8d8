from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.judges.reward import make, overall
from rushes.metrics.base import Shot


def shot(media: str = "", level: int = 100, seconds: int = 2) -> Shot:
    rng = np.random.default_rng(level)
    frames = rng.integers(0, 2 * level + 1, (8 * seconds, 40, 48, 3)).clip(0, 255).astype(np.uint8)
    return Shot(frames, 8.0, "a cat", media=media)


def scores(folder: Path, *lines: object) -> str:
    (folder / "scores.jsonl").write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return str(folder)


def test_scores_of_another_program_decide_beyond_the_margin(tmp_path: Path) -> None:
    folder = scores(
        tmp_path,
        {"media": "a", "scores": {"VQ": 0.5, "MQ": -0.25, "TA": 0.5}, "segments": [1.0, 0.0]},
        "",
        {"media": "b", "scores": {"VQ": 0.25, "MQ": 0.0, "TA": 0.25}, "segments": [0.0, 0.05]},
    )
    judge = make(folder, 0.1)
    assert judge.compare(shot("a"), shot("b"), None).labels == (1,)
    assert judge.compare(shot("a"), shot("b"), 1.0).labels == (1, 0)
    assert make(folder, 0.3).compare(shot("a"), shot("b"), None).labels == (0,)
    assert judge.name.startswith(f"reward:{tmp_path.name}@")


def test_an_overall_score_stands_for_the_sum() -> None:
    assert overall({"VQ": 1.0, "MQ": 2.0}) == 3.0
    assert overall({"VQ": 1.0, "Overall": -1.0}) == -1.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: "),
        ({"media": "a"}, "line 1: scores: Field required"),
        ({"media": "a", "scores": {}}, "line 1: scores"),
        ('{"media": "a", "scores": {"VQ": NaN}}', "line 1: "),
        ({"media": "a", "scores": {"VQ": 1}, "more": 2}, "line 1: more"),
    ],
    ids=str,
)
def test_a_line_that_does_not_fit_is_said(line: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(scores(tmp_path, line), 0.0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"VQ": 0.0, "MQ": 0.0}, {"VQ": 3.0}], "line 2: its scores are VQ, but most lines have MQ, VQ"),
        (
            [{"VQ": 0.0}, {"VQ": 3.0, "overall": 1.0}],
            "line 2: its scores are VQ, overall, but most lines have VQ",
        ),
        ([{"VQ": 0.0}, {"VQ": 1.0}, {"VQ": 0.0}], "line 3: 0 already has scores on line 1; delete one line"),
    ],
    ids=["a score lacks", "a score more", "a clip twice"],
)
def test_lines_that_do_not_fit_each_other_are_refused(lines: list[object], message: str, tmp_path: Path) -> None:
    rows = [{"media": str(at % 2), "scores": line} for at, line in enumerate(lines)]
    with pytest.raises(ValueError, match=message):
        make(scores(tmp_path, *rows), 0.0)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path)):
        with pytest.raises(ValueError, match=r"scores.jsonl or config.json"):
            make(folder, 0.0)
    judge = make(scores(tmp_path, {"media": "a", "scores": {"VQ": 1.0}}), 0.0)
    with pytest.raises(ValueError, match="no score for the clip b"):
        judge.compare(shot("a"), shot("b"), None)
    with pytest.raises(ValueError, match=r"0 scores for 2 segments of 1 s; .* label.whole"):
        judge.compare(shot("a"), shot("a"), 1.0)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video classifier with random weights and three outputs, as transformers saves it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(0)
    size: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    config = transformers.VideoMAEConfig(
        image_size=16, patch_size=8, num_frames=4, tubelet_size=2, **size,
        id2label={0: "VQ", 1: "MQ", 2: "TA"}, label2id={"VQ": 0, "MQ": 1, "TA": 2},
    )  # fmt: skip
    transformers.VideoMAEForVideoClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    return folder


def test_a_saved_classifier_scores_clips_and_segments(classifier: Path) -> None:
    judge = make(str(classifier), 0.0)
    one, other = shot(level=20), shot(level=120)
    there, back = judge.compare(one, other, None), judge.compare(other, one, None)
    assert there.labels[0] == -back.labels[0] != 0 and there.strength == pytest.approx(-(back.strength or 0))
    assert len(judge.compare(one, other, 1.0).labels) == 2
    assert judge.score(one, None) == judge.score(one, None) and judge.score(one, 1.0)[0] != judge.score(one, 1.0)[1]


def test_a_folder_that_cannot_be_loaded_is_said(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((classifier / "config.json").read_text())
    with pytest.raises(ValueError, match="not a video classifier that transformers can load"):
        make(str(tmp_path), 0.0)
