"""What the named sets of metrics promise."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from rushes.evaluate import measure
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


# What was measured before names followed from metrics; a new metric changes nothing here.
FORMER = [
    (
        "dynamic_degree motion_speed freeze_share jerk cuts loop_share sharpness sharpness_drift saturation "
        "saturation_drift contrast contrast_drift brightness brightness_drift first_frame_fidelity warping_error "
        "flicker",
        1,
        {"folders": "folders-1", "general": "general-2"},
    ),
    ("lost_dots law_error missing_balls caption_errors speed", 2, {"world": "world-2"}),
    ("dark unlawful", 1, {"arcs": "arcs-1"}),
    ("first_frame_fidelity", 1, {"fidelity": "fidelity-1"}),
]


@pytest.mark.parametrize(("metrics", "version", "names"), FORMER)
def test_a_set_is_stored_under_the_name_that_it_had(metrics: str, version: int, names: dict[str, str]) -> None:
    versions = dict.fromkeys(metrics.split(), version)
    turned = dict(reversed(versions.items()))
    first = next(iter(versions))
    for kind, former in names.items():
        assert meters.suite_name(kind, versions) == meters.suite_name(kind, turned) == former
        new = {meters.suite_name(kind, {**versions, name: version + 1}) for name in (first, "blueness")}
        assert len(new) == 2 and all(re.fullmatch(f"{kind}-[0-9a-f]{{8}}", name) for name in new)


def test_names_follow_from_the_metrics(add_metric: Callable[[], str]) -> None:
    folders, general, world = measure.meter_name(), meters.general_meter(), meters.world_meter()
    assert general.name == meters.suite_name("general", catalogue.versions())
    assert folders == meters.suite_name("folders", catalogue.versions())
    assert (world.name, meters.second_meter().name) == ("world-2", "arcs-1")
    name = add_metric()
    assert name in meters.general_meter().better
    assert meters.general_meter().name != general.name and measure.meter_name() != folders
    assert meters.world_meter().name == world.name
