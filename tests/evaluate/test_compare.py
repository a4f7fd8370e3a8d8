"""Many runs beside each other, and the gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from rushes.config.tables import FootageSettings, Settings
from rushes.evaluate.compare import Gate, check_gate, compare_runs, read_gate
from rushes.evaluate.table_file import StoredMean, StoredTable, load_table
from rushes.media.write import write_video
from rushes.records import Candidate, Score
from rushes.report.model import MetricRow
from rushes.stats import Better
from rushes.store.database import Store

BETTER: dict[str, Better] = {"error": "lower", "motion": "higher", "level": "neutral"}


def table(difference: float = 0.3, low: float = 0.1, high: float = 0.5) -> StoredTable:
    rows = {
        name: MetricRow(name, BETTER[name], 2.0, 2.0 + difference, difference, low, high, 9)
        for name in ("error", "motion")
    }
    means = {name: {"A": StoredMean(2.0, 1.0, 3.0, 9), "B": StoredMean(2.0, 1.0, 3.0, 9)} for name in BETTER}
    return StoredTable(("A", "B"), means, {"A|B": rows})


@pytest.mark.parametrize(
    ("rule", "margin", "breached"),
    [
        ("estimate", 0.29, True),
        ("estimate", 0.31, False),
        ("shown", 0.05, True),  # the whole interval is beyond
        ("shown", 0.2, False),
        ("excluded", 0.4, True),  # 0.5 is still possible
        ("excluded", 0.6, False),
    ],
)
def test_rules_of_the_gate(rule: str, margin: float, breached: bool) -> None:
    found = check_gate(table(), Gate(rule, {"error": margin}, {}), BETTER)  # type: ignore[arg-type]
    assert bool(found) == breached
    up = check_gate(table(-0.3, -0.5, -0.1), Gate(rule, {"motion": margin}, {}), BETTER)  # type: ignore[arg-type]
    assert bool(up) == breached
    gained = check_gate(table(), Gate(rule, {"motion": 0.0}, {}), BETTER)  # type: ignore[arg-type]
    assert gained == []


def test_shares_are_of_the_first_systems_mean() -> None:
    assert check_gate(table(), Gate("estimate", {}, {"error": 0.14}), BETTER)  # 0.28 of 2
    assert not check_gate(table(), Gate("estimate", {}, {"error": 0.16}), BETTER)


def test_what_is_unknown_does_not_pass() -> None:
    assert check_gate(table(low=-inf, high=inf), Gate("excluded", {"error": 9.0}, {}), BETTER)
    assert not check_gate(table(low=-inf, high=inf), Gate("shown", {"error": 0.0}, {}), BETTER)
    lost = replace(table(), pairs={"A|B": {}})
    (breach,) = check_gate(lost, Gate("estimate", {"error": 9.0}, {}), BETTER)
    assert "could not be measured" in breach.words
    with pytest.raises(ValueError, match="the gate names errror, which was not measured; name one of error"):
        check_gate(table(), Gate("estimate", {"errror": 0.1}, {}), BETTER)
    with pytest.raises(ValueError, match="higher or lower is better"):
        check_gate(table(), Gate("estimate", {"level": 0.1}, {}), BETTER)


def test_gates_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('rule = "shown"\n[metrics]\nerror = 0.1\nmotion = "5 %"\n')
    assert read_gate(path) == Gate("shown", {"error": 0.1}, {"motion": 0.05})
    path.write_text("error = 1\n")
    assert read_gate(path) == Gate("estimate", {"error": 1.0}, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("error = ", "not a TOML file"),
        ("", "no margins"),
        ('rule = "soft"\nerror = 1', "rule must be one of estimate, shown, excluded"),
        ("error = -1", "is not a margin"),
        ("error = true", "is not a margin"),
        ('error = "much"', "is not a margin"),
        ('error = "x %"', "is not a margin"),
        ("error = inf", "is not a margin"),
    ],
)
def test_other_gates_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_gate(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_gate(tmp_path / "nowhere.toml")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Base and two runs on six prompts; `good` lowers lost dots, `bad` raises them."""
    rng = np.random.default_rng(0)
    with Store.create(tmp_path / "project") as made:
        for system, shift in (("base", 0.0), ("good", -0.2), ("bad", 0.2)):
            for at in range(8):
                path = tmp_path / "clip.mp4"
                write_video(path, np.full((8, 32, 32, 3), 40 + 20 * at + len(system), np.uint8), 8.0)
                id = f"{system}{at}"
                shape = (32, 32, 8, 8.0)
                media = made.put_media(path)
                made.add(
                    [Candidate(id, media, f"ball {at}", "take", f"g{at}", "", system, "w", 0, *shape, None, "eval")]
                )
                value = 0.5 + shift + 0.05 * rng.normal()
                made.add([Score(f"s{id}", id, "lost_dots", value, measured_by="world-2")])
        yield made


def test_runs_of_a_project_beside_their_base(store: Store) -> None:
    settings = Settings(footage=FootageSettings(kind="world"))
    result = compare_runs(store, settings, ["good", "bad"])
    assert result.verdicts is not None and result.report is not None
    assert result.verdicts["base|good"].startswith("Better: lost dots fell")
    assert result.verdicts["base|bad"].startswith("Worse: lost dots rose")
    data, directions = load_table(result.table)
    assert list(data.pairs) == ["base|good", "base|bad", "good|bad"]
    assert data.pairs["base|good"]["lost_dots"].win == 8
    (breach,) = check_gate(data, Gate("estimate", {"lost_dots": 0.1}, {}), directions)
    assert (breach.system, breach.metric) == ("bad", "lost_dots")
    few = {pair: {name: replace(row, prompts=7) for name, row in rows.items()} for pair, rows in data.pairs.items()}
    breaches = check_gate(replace(data, pairs=few), Gate("estimate", {"lost_dots": 0.1}, {}), directions)
    assert [(b.system, b.words) for b in breaches] == [
        (system, "7 independent prompts are too few to pass a gate; use 8 or more") for system in ("good", "bad")
    ]
    page = result.report.read_text()
    assert "bad against base" in page and "good against base" in page and page.count("<video") > 3


def test_prompts_of_each_size_and_length_are_compared_apart(store: Store) -> None:
    settings = Settings(footage=FootageSettings(kind="world"))

    def page() -> str:
        result = compare_runs(store, settings, ["good"])
        assert result.report is not None
        return result.report.read_text()

    assert "By size and length" not in page()
    rows = [row for system in ("base", "good") for row in store.candidates(split="eval", system=system)]
    scores = {score.subject: score for score in store.scores(metric="lost_dots")}
    tall = [replace(row, id=f"tall{row.id}", group=f"tall{row.group}", height_px=64) for row in rows]
    store.add(tall)
    store.add(
        [
            replace(scores[row.id], id=f"s tall{row.id}", subject=f"tall{row.id}", value=at / 9)
            for at, row in enumerate(rows)
        ]
    )
    text = page()
    assert "32 x 32 px, 8 frames (8 pairs)" in text and "64 x 32 px, 8 frames (8 pairs)" in text


def test_runs_without_results_are_refused(store: Store) -> None:
    with pytest.raises(
        ValueError, match="'other' has no scores on held-out prompts; run `rushes evaluate --run other`"
    ):
        compare_runs(store, Settings(), ["good", "other"])
    with pytest.raises(ValueError, match="name each run once"):
        compare_runs(store, Settings(), ["good", "good"])
    base = "'base' has no scores on held-out prompts; run `rushes evaluate --run good`"  # no run is called base
    with Store.create(store.project.parent / "without-base") as lone, pytest.raises(ValueError, match=base):
        lone.add([*store.candidates(system="good"), *store.scores(system="good")])
        compare_runs(lone, Settings(footage=FootageSettings(kind="world")), ["good"])
    row = store.candidates(split="eval", system="good")[0]
    store.add([replace(row, id="after-a-change-of-sizes", width_px=64)])
    with pytest.raises(ValueError, match="are 8 x 32 x 32 and by good 8 x 32 x 64: the project's sizes have changed"):
        compare_runs(store, Settings(footage=FootageSettings(kind="world")), ["good"])
