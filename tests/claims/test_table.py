from __future__ import annotations

import json
from pathlib import Path

import pytest

from rushes.claims import table
from rushes.claims.base import BASE, Arm, Claim, Hypothesis

CLAIM = Claim(
    "toy",
    "A paper",
    (Arm("a", "sft"), Arm("b", "sft")),
    (
        Hypothesis("helps", "It helps.", "a", BASE, "bad_frames", "lower", 0.01),
        Hypothesis("same", "Both are alike.", "b", "a", "flicker", "equal", 0.5),
    ),
)


def found(second: float) -> table.Found:
    """Two prompts, three seeds; `a` lowers bad frames by about 0.1, and the second judge's `lost` by `second`."""
    return {
        arm: {
            seed: {
                "bad_frames": {p: 0.3 - gain - 0.001 * seed * (gain > 0) for p in "pq"},
                "lost": {p: 0.3 - second * (gain > 0) for p in "pq"},
                "flicker": {p: 1.0 + 0.001 * seed * gain for p in "pq"},
            }
            for seed in range(3)
        }
        for arm, gain in ((BASE, 0.0), ("a", 0.1), ("b", 0.2))
    }


def test_rows_and_the_second_judge() -> None:
    helps, same = table.rows([CLAIM], found(0.05))
    assert (helps.outcome, same.outcome) == ("reproduced", "reproduced")
    assert helps.effect.value == pytest.approx(-0.101)
    assert helps.second_judge is True and same.second_judge is None
    assert table.rows([CLAIM], found(-0.05))[0].second_judge is False


def test_p_values_are_corrected_together() -> None:
    alone = table.rows([Claim("t", "p", CLAIM.arms, CLAIM.hypotheses[:1])], found(0.0))[0].p
    assert table.rows([CLAIM], found(0.0))[0].p >= alone


def test_files(tmp_path: Path) -> None:
    made = table.write(tmp_path, [CLAIM], table.rows([CLAIM], found(0.05)), {"clips": 8})
    text = made.read_text()
    assert "## A paper" in text and "| It helps. | a against base | bad_frames | -0.101 [" in text
    row = json.loads((tmp_path / "table.json").read_text())["rows"][0]
    assert (row["verdict"], row["second_judge_agrees"], row["pairs"]) == ("reproduced", True, 6)
