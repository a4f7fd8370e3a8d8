from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.config.settings_files import mapping_to_toml
from rushes.evaluate.result import EvaluateResult, read_evaluation
from rushes.evaluate.run_report import collect
from rushes.media.write import encode_bytes
from rushes.records import VOTE, Annotation, Candidate, Clip, Preference, Run, Score, plain
from rushes.report import page
from rushes.report.model import MetricRow
from rushes.stats import Better
from rushes.store.database import Store

from ..report.conftest import FPS, FRAMES, grey_clip, training_rows

PAIRS = 12


def candidate(system: str, group: int, seed: int, media: str, split: str = "eval") -> Candidate:
    return Candidate(
        f"{system}-{group}-{seed}-{split}", media, f"ball {group}", "take", f"g{group:02d}", f"clip{group}", system,
        f"weights-{system}", seed, 32, 32, FRAMES, FPS, split=split,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Twelve evaluation pairs whose gain in lost_dots grows with their number; one base clip without a partner."""
    with Store.create(tmp_path / "falling-balls") as store:
        media = store.put_media_bytes(encode_bytes(grey_clip(), FPS, scale=4), ".mp4")
        clips = [Clip(f"clip{i}", media, f"ball {i}", 32, 32, FRAMES, FPS, "world", "eval") for i in range(3)]
        rows = [candidate(system, i, 5, media) for i in range(PAIRS) for system in ("base", "realdpo-1")]
        rows += [candidate("base", 90, 5, media), candidate("base", 0, 1, media, "train")]
        scores = [
            Score(f"s-{row.id}-{name}", row.id, name, value)
            for row in rows[: 2 * PAIRS]
            for name, value in (
                ("lost_dots", 0.5 if row.system == "base" else 0.8 - 0.05 * int(row.group[1:])),
                ("motion", float(int(row.group[1:]))),
            )
        ]
        labels = [Preference(f"p{i}", "a", "b", (1, 0) if i else (-1, -1, 1), "world", segment_s=1.0) for i in range(4)]
        later = Preference("p9", "a", "b", (-1,), "alice", dimension="motion")
        fixed = Preference("p10", "a", "b", (1,), "alice", dimension="motion", supersedes="p9")
        runs = [
            Run(
                "r1", "realdpo-1", "realdpo", "tiny", "w0", "w1", 3, 60, 71.5, {"train": {"beta": 100.0, "note": None}}
            ),
            Run("r2", "forgotten", "sft", "tiny", "w0", "w2", 3, 60, 70.0),
        ]
        store.add([*clips, *rows, *scores, *labels, later, fixed, *runs])
        folder = store.project / "runs" / "realdpo-1"
        folder.mkdir(parents=True)
        lines = [json.dumps(row) for row in training_rows()]
        (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 61, "lo']))
        yield store


def metric(name: str, better: Better = "lower", unit: str = "") -> MetricRow:
    return MetricRow(name, better, base=0.5, trained=0.525, difference=0.025, low=-0.06, high=0.11, n=12, unit=unit)


@pytest.fixture
def result() -> EvaluateResult:
    lost_dots = metric("lost_dots")
    return EvaluateResult(
        "realdpo-1",
        "lost_dots",
        {"lost_dots": lost_dots, "motion": metric("motion", "higher", "px")},
        {"sft": {"lost_dots": lost_dots}},
        seconds={"generate": 12.0, "evaluate": 3.0, "publish": 1.0},
        version="0.1.0",
    )


def test_results_of_every_version_are_read(tmp_path: Path) -> None:
    entry = {"base": 0.5, "trained": 0.525, "difference": 0.025, "low": -0.06, "high": 0.11, "n": 12, "better": "lower"}
    former = {
        "metrics": {"lost_dots": entry, "motion": {**entry, "better": "neutral", "low": None, "high": None}},
        "seconds": {"generate": 12.0},
        "seed": 0,
        "arms": {"sft": {"metrics": {"lost_dots": entry}}, "densedpo": {"lost_dots": entry}},
        "of a later version": 1,
    }
    path = tmp_path / "realdpo-1.json"
    path.write_text(json.dumps(former))
    read = read_evaluation(path)
    assert (read.run, read.headline, read.seconds, read.title) == ("realdpo-1", "lost_dots", {"generate": 12.0}, "")
    assert read.metrics["lost_dots"] == metric("lost_dots") == read.arms["sft"]["lost_dots"]
    assert read.arms["densedpo"] == read.arms["sft"]
    level = read.metrics["motion"]
    assert (level.low, level.high, level.p_adjusted) == (-math.inf, math.inf, 1.0)  # no correction concerns it
    path.write_text(json.dumps(plain(read), allow_nan=False))
    assert read_evaluation(path) == read


def test_cases_are_chosen_by_score_and_by_seed(store: Store, result: EvaluateResult) -> None:
    report = collect(store, result, cases=3, seed=4)
    found = {kind: [case.caption for case in report.cases if case.kind == kind] for kind in ("random", "worst", "best")}
    assert found["worst"] == ["ball 0", "ball 1", "ball 2"]
    assert found["best"] == ["ball 11", "ball 10", "ball 9"]
    assert len(found["random"]) == 3 and not {*found["random"]} & {*found["worst"], *found["best"]}
    assert report.pairs == PAIRS
    assert report.wins is not None and (report.wins.wins, report.wins.ties, report.wins.losses) == (5, 1, 6)
    worst = next(case for case in report.cases if case.kind == "worst")
    assert worst.gain == pytest.approx(-0.3) and worst.seed == 5
    assert [video.label for video in worst.videos] == ["Base", "Trained", "Real"]
    assert worst.videos[1].values == pytest.approx({"lost_dots": 0.8, "motion": 0.0})
    again = collect(store, result, cases=3, seed=4)
    other = collect(store, result, cases=3, seed=5)
    assert again == report and other.cases != report.cases


def test_direction_turns_best_and_worst(store: Store, result: EvaluateResult) -> None:
    metrics = {**result.metrics, "lost_dots": metric("lost_dots", "higher")}
    report = collect(store, replace(result, metrics=metrics), cases=1)
    assert next(case.caption for case in report.cases if case.kind == "best") == "ball 0"


def test_few_pairs_are_not_shown_twice(store: Store, result: EvaluateResult) -> None:
    captions = [case.caption for case in collect(store, result, cases=50).cases]
    assert len(captions) == len(set(captions)) == PAIRS


def test_counts_labels_and_spread(store: Store, result: EvaluateResult) -> None:
    report = collect(store, result)
    world, alice = report.labels
    assert (world.judge, world.comparisons) == ("world", 4)
    assert world.segments == ((3, 0, 1), (0, 3, 1), (1, 0, 0))  # clips of unequal length keep their own segments
    assert alice.totals == (1, 0, 0)  # the correction replaced the first event
    steps = {step.name: step for step in report.steps}
    assert [*steps][:3] == ["generate", "evaluate", "publish"] and steps["train"].seconds == 71.5
    assert steps["import"].did == "3 real clips: 0 to train, 3 to evaluate"
    assert steps["label"].did == "5 comparisons, 10 labels by alice, world"
    spread = {row.name: row.clip_spread for row in report.metrics}
    assert spread["lost_dots"] == 0.0 and spread["motion"] == pytest.approx(3.6056, abs=1e-4)
    assert report.curves and report.headline == "lost_dots" and report.arms[0].name == "sft"


def test_blind_votes_are_read_and_shown_beside_judges(store: Store, result: EvaluateResult) -> None:
    assert collect(store, result).judged == () and 'id="judged"' not in page.render(collect(store, result))
    for group, mark in enumerate((1, 1, 1, -1, 0)):
        left, right = f"realdpo-1-{group}-5-eval", f"base-{group}-5-eval"
        store.add([Preference(f"v{group}", left, right, (mark,), "human:ada", dimension=VOTE, by_slot=(mark,))])
    report = collect(store, result)
    (row,) = report.judged
    assert (row.judge, row.second, row.wins.wins, row.wins.ties, row.wins.losses) == (
        "1 person, blind", "realdpo-1", 3, 1, 1,
    )  # fmt: skip
    assert "1 person, blind" in page.render(report)
    assert "1 person, blind, chose between base and realdpo-1: realdpo-1 won 3, tied 1, lost 1." in page.render(report)
    assert {summary.dimension for summary in report.labels} == {"overall", "motion"}  # votes are no labels


def test_what_people_complained_of_base_against_trained(store: Store, result: EvaluateResult) -> None:
    """Faults are of the worse take; of the base alone, whatever its split, until people judged the run's takes too."""

    def say(number: int, left: str, right: str, label: int, *reasons: str, judge: str = "human:ada") -> None:
        row = Preference(f"v{number}", left, right, (label,), judge)
        store.add([row, Annotation(f"n{number}", row.id, judge, (reasons,), seconds=4.0)])

    assert collect(store, result).complaints == {}
    say(1, "base-0-5-eval", "base-0-1-train", 1, "hand")
    say(2, "base-0-5-eval", "base-0-1-train", -1, "physics", judge="human:ada#again")
    (alone,) = collect(store, result).complaints.items()
    assert alone[0] == "hand" and set(alone[1]) == {"base"} and (alone[1]["base"].value, alone[1]["base"].n) == (0.5, 2)
    for group in range(3):
        label = -1 if group else 0
        say(10 + group, f"base-{group}-5-eval", f"realdpo-1-{group}-5-eval", label, "flicker", *["hand"] * (group == 1))
    report = collect(store, result)
    shares = {fault: [share.value for share in by_system.values()] for fault, by_system in report.complaints.items()}
    assert shares == {
        "flicker": [1.0, pytest.approx(1 / 3)], "hand": [pytest.approx(1 / 3), 0.0],
    }  # fmt: skip
    flicker = report.complaints["flicker"]["realdpo-1"]
    assert 0 < flicker.low < 1 / 3 < flicker.high < 1 and flicker.n == 3
    assert 'id="complaints"' in page.render(report) and 'id="complaints"' not in page.render(
        replace(report, complaints={})
    )


def test_what_is_missing_is_noted(store: Store, result: EvaluateResult) -> None:
    notes = " ".join(collect(store, result).notes)
    assert "1 evaluation clips have no partner" in notes
    assert "1 lines of metrics.jsonl could not be read" in notes
    assert "without results here: forgotten" in notes
    (store.project / "runs" / "realdpo-1" / "metrics.jsonl").unlink()
    for path in (store.project / "media").rglob("*.mp4"):
        path.unlink()
    bare = collect(store, result, cases=1)
    assert bare.cases == () and bare.curves == ()
    assert "3 cases are not shown" in " ".join(bare.notes) and "no training curves" in " ".join(bare.notes)


def test_unknown_run_is_refused_with_the_names(store: Store, result: EvaluateResult) -> None:
    with pytest.raises(ValueError, match=r"'typo'.*realdpo-1, forgotten"):
        collect(store, replace(result, run="typo"))


def test_the_whole_page_renders(store: Store, result: EvaluateResult) -> None:
    html = page.render(collect(store, result))
    assert "falling-balls" in html and "No change shown: lost dots" in html and "beta = 100.0" in html


def test_settings_are_toml() -> None:
    settings = {
        "seed": 1,
        "name": 'a "b"',
        "train": {"lr": 1e-5, "on": True, "eta": [0.1], "x": None, "deep": {"k": 2}},
    }
    read = tomllib.loads(mapping_to_toml(settings))
    del settings["train"]["x"]  # type: ignore[attr-defined]
    assert read == settings and "# x is not set" in mapping_to_toml({"x": None})
