from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rushes.judges.base import Judgement
from rushes.lab.claims import run
from rushes.lab.claims.arms import LEVELS
from rushes.lab.claims.base import DataStep
from rushes.lab.claims.data import FOOTAGE, MOST, WORLD, Careless, LabelSource, Takes, second_judge
from rushes.lab.claims.hypotheses import CLAIMS, arms_of, find_claims
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.project import intake
from rushes.project.project import open_project
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes


class Left:
    name, size_px = "left", None

    def compare(self, left: Shot, right: Shot, segment_s: float | None) -> Judgement:
        brighter = 1 if left.frames_FHWC.sum() > right.frames_FHWC.sum() else -1
        return Judgement((brighter,) * 10, 1.0)


def shots(seed: int) -> tuple[Shot, Shot]:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 255, (2, 5, 16, 16, 3), dtype=np.uint8)
    return Shot(left, 8.0, "a"), Shot(right, 8.0, "a")


def test_flips_are_a_share_of_the_labels_and_always_the_same_ones() -> None:
    careless, true = Careless("c", Left(), 0.3), Left()
    flipped = []
    for seed in range(100):
        left, right = shots(seed)
        one, again = careless.compare(left, right, 1.0), careless.compare(left, right, 1.0)
        assert one == again
        assert careless.compare(right, left, 1.0).labels == tuple(-x for x in one.labels)
        flipped += [a != b for a, b in zip(one.labels, true.compare(left, right, 1.0).labels, strict=True)]
    assert 0.25 < np.mean(flipped) < 0.35


def test_each_set_of_labels_has_a_judge_of_its_own() -> None:
    several = [
        LabelSource("take"),
        LabelSource("guided"),
        LabelSource("guided", 1.0),
        LabelSource("guided", share=0.5),
        LabelSource("guided", flips=0.2),
        LabelSource("guided", by="arcs"),
    ]
    assert len({labels.judge for labels in several}) == len(several)


def test_the_second_judge_labels_the_half_seconds_in_which_a_dot_is_lost() -> None:
    (scene,) = draw_scenes(3, 1, ["throw"])
    dots = scene.dots_FKP.copy()
    dots[9:13, 0, 2] = 0.0
    whole, torn = (Shot(render(each), FPS, scene.caption) for each in (scene, replace(scene, dots_FKP=dots)))
    assert second_judge().compare(whole, torn, 0.5).labels == (0, 0, 1, 0, 0, 0, 0, 0)
    assert second_judge().compare(torn, whole, 1.0).labels == (0, -1, 0, 0)


def test_levels_of_a_pair_lie_apart() -> None:
    low, high = LEVELS.etas()
    assert high - low == pytest.approx(0.1) and 0 < low < high < 1


@pytest.mark.slow
def test_other_clips_take_the_place_of_the_true_ones(tmp_path: Path) -> None:
    """Half of a pool has a fault: the verifier's half is nearly free of it, and a random one is not."""
    budget, bad = run.Budget(1, (), 24, 2, 1, 2), {}
    for name in ("random", "funnel", "selected", "still"):
        settings = run.settings_of(replace(CLAIMS["realdpo"].arms[0], footage=name), 0, budget)
        project = open_project(tmp_path / name, settings)
        step = FOOTAGE[name]
        assert step is not None
        with closing(project.store) as store:
            intake.import_footage(project)
            step(project)
            clips = store.clips("train")
            step(project)
            assert store.clips("train") == clips and len(clips) == 24 and len(store.clips("eval")) == 2
            bad[name] = sum(clip.made_by != WORLD for clip in clips)
            if name == "still":
                frames = read_video(store.media_path(clips[0].media)).frames_FHWC.astype(int)
                assert abs(frames - frames[:1]).mean() < 1
    assert bad["selected"] <= 3 and bad["funnel"] <= 5 < 7 <= bad["random"] and bad["still"] == 24


@pytest.mark.slow
def test_pairs_of_two_levels(tmp_path: Path) -> None:
    arm = CLAIMS["ablations"].arm("densedpo-mixed-levels")
    project = open_project(tmp_path, run.settings_of(arm, 0, run.Budget(1, (), 6, 2, 1, 2)))
    with closing(project.store) as store:
        intake.import_footage(project)
        steps: list[DataStep] = [Takes(2, "guided"), *arm.data, *arm.data]
        for step in steps:
            step(project)
        pairs = store.preferences()
        etas = {row.id: row.eta for row in store.candidates()}
        assert len(pairs) == 6 and {row.judge for row in pairs} == {arm.train["options"]["judge"]}
        assert all(abs((etas[p.left] or 0) - (etas[p.right] or 0)) == pytest.approx(0.1, abs=1e-4) for p in pairs)


@pytest.mark.slow
def test_what_other_arms_had_made_changes_no_labels(tmp_path: Path) -> None:
    arm = CLAIMS["densedpo"].arm("vanilla")
    used = []
    for name, more in (("alone", ()), ("after others", (MOST,))):
        project = open_project(tmp_path / name, run.settings_of(arm, 0, run.Budget(1, (), 6, 2, 1, 2)))
        with closing(project.store) as store:
            intake.import_footage(project)
            for step in (*more, *arm.data):
                step(project)
            used.append({(row.left, row.right, row.labels) for row in store.preferences()})
    assert len(used[0]) == 6 and used[0] == used[1]


def test_arms_that_use_all_takes_ask_for_as_many_as_there_can_be() -> None:
    for arm in arms_of(find_claims([])):
        counts = [step.count for step in arm.data if isinstance(step, Takes) and step.kind == "take"]
        assert max(counts, default=0) <= MOST.count
        if arm.recipe in ("huvidpo", "physhpo"):
            assert counts == [MOST.count], arm.name
        elif arm.recipe.rpartition(".")[2] in ("realdpo", "unscaled"):
            assert counts == [arm.train["options"]["losers"]], arm.name
