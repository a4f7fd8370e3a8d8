"""What the named sets of metrics promise."""

from __future__ import annotations

import numpy as np

from rushes.evaluate import suites as meters
from rushes.metrics import catalogue
from rushes.metrics.base import Shot
from rushes.world import verify


def test_meters_measure_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    shot = Shot(rng.integers(0, 255, (33, 64, 64, 3), np.uint8), 8.0, "a ball drops and bounces")
    for made in (meters.world_meter(), meters.second_meter(), meters.general_meter()):
        assert set(made.measure(shot)) == set(made.better)
    assert meters.world_meter().better[meters.world_meter().headline] == "lower"
    assert meters.general_meter().headline == ""
    assert set(meters.world_meter().better.values()) == {"lower", "higher"}
    assert set(verify.MEASURES) == set(meters.world_meter().better)
    assert set(meters.general_meter().better) == set(catalogue.all_metrics())
