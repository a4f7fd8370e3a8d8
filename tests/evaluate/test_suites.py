"""What the named sets of metrics promise."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from rushes.evaluate import measure, suites
from rushes.metrics import catalogue
from rushes.metrics.base import Shot
from rushes.world import verify


def test_suites_measure_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    shot = Shot(rng.integers(0, 255, (33, 64, 64, 3), np.uint8), 8.0, "a ball drops and bounces")
    for made in (suites.world_suite(), suites.second_suite(), suites.general_suite()):
        assert set(made.measure(shot)) == set(made.better)
    assert suites.world_suite().better[suites.world_suite().headline] == "lower"
    assert suites.general_suite().headline == ""
    assert set(suites.world_suite().better.values()) == {"lower", "higher"}
    assert set(verify.MEASURES) == set(suites.world_suite().better)
    assert set(suites.general_suite().better) == set(catalogue.all_metrics())


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
        assert suites.suite_name(kind, versions) == suites.suite_name(kind, turned) == former
        new = {suites.suite_name(kind, {**versions, name: version + 1}) for name in (first, "blueness")}
        assert len(new) == 2 and all(re.fullmatch(f"{kind}-[0-9a-f]{{8}}", name) for name in new)


def test_names_follow_from_the_metrics(add_metric: Callable[[], str]) -> None:
    folders, general, world = measure.folder_suite_name(), suites.general_suite(), suites.world_suite()
    assert general.name == suites.suite_name("general", catalogue.versions())
    assert folders == suites.suite_name("folders", catalogue.versions())
    assert (world.name, suites.second_suite().name) == ("world-2", "arcs-1")
    name = add_metric()
    assert name in suites.general_suite().better
    assert suites.general_suite().name != general.name and measure.folder_suite_name() != folders
    assert suites.world_suite().name == world.name
