"""Faults planted in sound clips: how many each stage finds, and how many sound clips it drops."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.curate.faults import FAULTS
from rushes.lab.curation_bench import planted, real_clips, world_clips
from rushes.metrics.base import Shot

# Lowest recall: of the world, at 256 px, and of real clips. Where a fault cannot be told, it must not be claimed.
SURE = {
    **dict.fromkeys(("blurred", "dark", "overexposed", "blocks", "letterbox", "title"), 1.0),
    **dict.fromkeys(("frozen", "half frozen", "slowed by repeats"), 1.0),
    **dict.fromkeys((name for name, fault in FAULTS.items() if fault.stage == "duplicates"), 1.0),
}
MOTION = [name for name, fault in FAULTS.items() if fault.stage == "motion" and name != "time lapse"]
OTHERS = [name for name, fault in FAULTS.items() if fault.stage != "motion"]


@pytest.fixture(scope="module")
def world() -> list[Shot]:
    return world_clips(6, 0, frames=17)


@pytest.mark.parametrize("names", [MOTION, OTHERS], ids=["motion", "others"])
def test_faults_of_the_world_are_found(world: list[Shot], names: list[str]) -> None:
    rows = planted(world, names)
    assert all(row.false_alarms == 0 for row in rows.values())
    assert {name: rows[name].recall for name in names if name in SURE} == {
        name: SURE[name] for name in names if name in SURE
    }
    if "cut" in rows:
        assert rows["cut"].recall >= 0.5  # the next clip has the same stage, and only its ball elsewhere
    for name in names:
        if not FAULTS[name].detectable:
            assert rows[name].recall < 1, f"{name} is found after all: say so in docs/curation.md"


def test_faults_of_a_real_clip_are_found(real_data: Path) -> None:
    (clip,) = real_clips(real_data / "realaction" / "train" / "videos")
    names = ["blurred", "blocks", "letterbox", "subtitle", "re-encoded", "cropped 6 %"]
    rows = planted([Shot(clip.frames_FHWC[::6], clip.fps / 6)], names)
    assert all(row.false_alarms == 0 and row.recall == 1 for row in rows.values())
