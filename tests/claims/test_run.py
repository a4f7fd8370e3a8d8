from __future__ import annotations

from pathlib import Path

import pytest

from rushes.claims import run, table
from rushes.claims.base import BASE
from rushes.claims.catalogue import CLAIMS, arms_of, find_claims
from rushes.evaluate.meters import fit_meter, world_meter

NANO = run.Budget(clips=6, prompts=4, steps=0.02)


@pytest.mark.slow
def test_arms_share_a_project_and_are_run_once(tmp_path: Path) -> None:
    said: list[str] = []
    found = run.reproduce(["huvidpo"], [0, 1], tmp_path, NANO, 1, said.append)
    assert set(found) == {BASE, "huvidpo", "huvidpo-gap"} and len(said) == 2
    metrics = {*world_meter().better, *fit_meter().better}
    assert set(found["huvidpo"][0]) == metrics
    assert set(found["huvidpo"][1]["lost"]) == set(found[BASE][1]["lost"]) != set(found[BASE][0]["lost"])
    projects = {path: path.stat().st_mtime_ns for path in tmp_path.glob("seed-*/runs/*/weights.safetensors")}
    assert len(projects) == 4
    assert run.reproduce(["huvidpo"], [0, 1], tmp_path, NANO, 1) == found
    assert {path: path.stat().st_mtime_ns for path in projects} == projects
    assert [row.outcome for row in table.rows(find_claims(["huvidpo"]), found)]


def test_arms_of_a_seed_differ_by_training_alone() -> None:
    settings = [run.settings_of(arm, 3, NANO) for arm in arms_of(find_claims([]))]
    assert len({s.model_dump_json(exclude={"train"}) for s in settings}) == 1
    assert len({s.train.name for s in settings}) == len(settings)


def test_arms_get_an_equal_share_of_their_steps() -> None:
    full, half = (run.settings_of(CLAIMS["realdpo"].arms[0], 0, run.Budget(8, 8, steps)) for steps in (1.0, 0.5))
    assert half.train.steps * 2 == full.train.steps


def test_hypotheses_have_names_of_their_own() -> None:
    for claim in CLAIMS.values():
        assert len({h.name for h in claim.hypotheses}) == len(claim.hypotheses)


def test_an_unknown_claim_is_named() -> None:
    with pytest.raises(ValueError, match="no claim 'x': there are realdpo, densedpo"):
        find_claims(["x"])
