from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pytest

from rushes.backbones.tiny import load
from rushes.cli import main
from rushes.lab.bench_clips import BenchMeasures, BenchWorld, ClipJudge, WorldClip
from rushes.lab.world_bench import (
    WorldBenchAsk,
    bench_world,
    closed_form,
    judges,
    label_shares,
    labels,
    returned_share,
    winner_speed,
    within_kind_correlation,
    world_lines,
)
from rushes.lab.world_results import JudgeTest
from rushes.progress import no_bar
from rushes.records import plain
from rushes.world.scenes import wrong_captions


def take(parts: Sequence[float], speed: float = 1.0) -> BenchMeasures:
    """A take that loses so many parts in each half second."""
    return BenchMeasures(np.r_[0.0, np.repeat(np.array(parts, float), 4)], speed, {}, {})


def test_a_perfect_sampler_returns_what_noise_hides() -> None:
    assert returned_share(50, 0.999, 0.15) == pytest.approx(1.0, abs=0.01)
    assert returned_share(50, 0.3, 0.15) < 1e-3
    at = [returned_share(d, 0.5, 0.15) for d in (0.8, 5.0)]  # D = d0 at eta 0.5
    assert at == pytest.approx([0.9, 0.5], abs=0.05)
    shares = [returned_share(70, eta, 0.2) for eta in (0.7, 0.8, 0.9, 0.95)]
    assert shares == sorted(shares)


def test_one_fault_is_fine_enough_to_come_back() -> None:
    """What one lost dot weighs in the shipped codec: little enough for pairs that start at eta 0.85."""
    form = closed_form(BenchWorld(), load(""), 0, 10)
    assert form.d0_median < 100 and form.R["0.85"] > 0.6


def test_labels_tie_at_half_a_part() -> None:
    assert labels(take([1, 0, 2]), take([0, 0.5, 2.4]), 4).tolist() == [-1, 1, 0]
    pairs = [(take([1, 0]), take([0, 1])), (take([1, 0]), take([0, 0])), (take([0, 0]), take([0.25, 0]))]
    assert label_shares(pairs, 4) == (2 / 3, 1 / 2)


def test_correlation_leaves_kinds_out() -> None:
    kinds = np.array(["a", "a", "b", "b"])
    speeds = np.array([1.0, 2.0, 11.0, 12.0])
    assert within_kind_correlation(speeds, speeds, kinds) == pytest.approx(1.0)
    assert within_kind_correlation(speeds, np.array([2.0, 1.0, 12.0, 11.0]), kinds) == pytest.approx(-1.0)


def test_the_speed_of_winners_is_over_all_pairs_of_a_clip_and_then_over_clips() -> None:
    slow, fast = take([0, 0], 1.0), take([1, 0], 3.0)  # winners are (1 - 3) / 2 as fast as both
    assert winner_speed([[slow], [fast]]).value == winner_speed([[fast], [slow]]).value == -1.0
    third = [fast, take([2, 0], 3.0)]  # pairs of the first clip: -1, -1 and a tie; of the second: -1, -1 and 0
    row = winner_speed([[slow, slow], [fast, fast], third])
    assert row.value == pytest.approx((-1 - 2 / 3) / 2, abs=1e-4) and row.n == 2
    assert plain(winner_speed([[slow], [slow]])) == {"value": None, "low": None, "high": None, "n": 0}


class FewCases(BenchWorld):
    cases: Sequence[tuple[str, str]] = (("dots", "drop"),)


class Blind(FewCases):
    judges: Mapping[str, ClipJudge] = MappingProxyType({"blind": lambda frames, caption: True})


def test_judges_are_tested_on_sound_and_broken_clips() -> None:
    row = judges(FewCases(), WorldBenchAsk(scenes=5), no_bar)
    assert row.passes and set(row.judges) == {"verify", "arcs"}
    row = judges(Blind(), WorldBenchAsk(scenes=5), no_bar)
    assert not row.passes and row.judges["blind"] == JudgeTest(1.0, {"dots/drop": 0.0})


def test_the_world_measures_its_clips() -> None:
    world = BenchWorld()
    clip = world.sound(0, 3)[1]
    measures = world.measured(clip)
    assert len(measures.faults_F) == len(clip.frames_FHWC) and measures.faults_F.max() == 0 and measures.speed > 0
    blank = WorldClip(np.broadcast_to(clip.frames_FHWC[:1, :1, :1], clip.frames_FHWC.shape), clip.caption, clip.kind)
    assert world.measured(blank).faults_F.min() > 0
    assert world.wrong(clip.caption) and clip.caption not in world.wrong(clip.caption).values()


def test_wrong_words_are_named() -> None:
    caption = "a ball swings on a rope, to the left first, slowly"
    assert set(BenchWorld().wrong(caption)) == {"right", "quickly"} and len(wrong_captions(caption)) == 2


def test_the_command_prints_the_closed_form_first(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench_world(WorldBenchAsk(clips=5, scenes=5, tests=()), no_bar)
    assert result.passed == () and world_lines(result)[0].startswith("closed form: one fault weighs")
    with pytest.raises(SystemExit):
        main(["bench", "world", "--only", "A9"])
    assert "no such test" in capsys.readouterr().err
    main(["bench", "world", "--scenes", "5", "--clips", "5", "--only", "A4", "--json"])
    row = json.loads(capsys.readouterr().out)
    assert list(row) == ["closed_form", "A4", "passed"] and row["A4"]["ratio"]["0.3"] > 1
