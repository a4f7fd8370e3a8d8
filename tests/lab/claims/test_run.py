from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from rushes.lab.claims import run, verdict_table
from rushes.lab.claims.arms import RULE
from rushes.lab.claims.base import Arm, Claim
from rushes.lab.claims.evidence import FILE, Result, read_evidence, write_evidence
from rushes.lab.claims.hypotheses import CLAIMS, arms_of, find_claims
from rushes.lab.claims.plots import write_plots
from rushes.progress import Tick
from rushes.records import BASE

from ...forked import IMPORTED

NANO = run.Budget(seeds=2, claims=(), clips=4, prompts=3, steps=2, batch=2)


@pytest.mark.slow
def test_arms_share_a_project_and_are_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two arms of a claim; workers are forked, as a start of their own takes seconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    monkeypatch.setattr("multiprocessing.get_context", lambda way=None: context)
    whole = CLAIMS["dfdpo"]
    arms = whole.arms[:2]
    names = {BASE, *(arm.name for arm in arms)}
    hypotheses = tuple(h for h in whole.hypotheses if {h.arm, h.against} <= names)
    claim = replace(whole, arms=arms, hypotheses=hypotheses)
    monkeypatch.setitem(CLAIMS, "dfdpo", claim)
    ticks: list[float] = []

    @contextmanager
    def bar(name: str, total: int) -> Iterator[Tick]:
        assert (name, total) == ("arms", 2 * (1 + len(claim.arms)))
        yield lambda count, facts="": ticks.append(count)

    evidence = run.reproduce(["dfdpo"], [0, 1], tmp_path, NANO, 1, {}, bar)
    assert set(evidence) == {BASE, *(arm.name for arm in claim.arms)}
    assert sum(ticks) == 2 * len(evidence) and sum(count > 0 for count in ticks) > 2
    metrics = {metric for suite in run.suites(first_frame=True) for metric in suite.better}
    values = {arm: evidence[arm][seed].values for arm in evidence for seed in (0, 1) if seed == 0 or arm == BASE}
    assert set(values["dfdpo"]) - {"winner_error"} == metrics
    strength = evidence["dfdpo"][0].strength
    assert set(strength) == {"visits", "weight", "drift"} and 0 < strength["weight"] < 1.1 and strength["visits"] > 0
    assert set(evidence[BASE][0].kinds) == set(evidence[BASE][0].values["dark"]) and not evidence["dfdpo"][0].kinds
    assert set(evidence["dfdpo"][1].values["dark"]) == set(evidence[BASE][1].values["dark"])
    assert set(evidence[BASE][0].values["dark"]) != set(evidence[BASE][1].values["dark"])
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("seed-*/runs/*/weights.safetensors")}
    assert len(weights) == 2 * len(claim.arms)
    assert run.reproduce(["dfdpo"], [0, 1], tmp_path, NANO, 1, {}) == evidence
    assert {path: path.stat().st_mtime_ns for path in weights} == weights

    write_evidence(tmp_path / FILE, evidence)
    elsewhere = tmp_path / "elsewhere"
    again = run.reproduce(["dfdpo"], [0, 1], elsewhere, NANO, 1, read_evidence(tmp_path / FILE))
    assert not list(elsewhere.iterdir())  # all was known
    rows = verdict_table.write(tmp_path, [claim], again, {"clips": 4})
    assert [row.outcome for row in rows] == [row.outcome for row in verdict_table.rows([claim], evidence)]
    write_plots(tmp_path, [claim], rows, 0)
    assert {path.name for path in tmp_path.glob("*.*")} >= {"table.md", "forest-dfdpo.svg", "takes-dfdpo.webp"}


def test_what_is_known_of_other_settings_is_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[str] = []

    def instead(arm: Arm, settings: object, out: Path, made_from: str) -> Result:
        ran.append(arm.name)
        return Result(made_from, {}, (), 1.0)

    monkeypatch.setattr(run, "_run", instead)
    arm = CLAIMS["realdpo"].arms[1]
    first = run._result(arm, 0, tmp_path, NANO, None)
    assert run._result(arm, 0, tmp_path / "new", NANO, first) is first and ran == ["realdpo"]
    run._result(arm, 0, tmp_path / "steps", replace(NANO, steps=3), first)
    run._result(replace(arm, footage="random"), 0, tmp_path / "footage", NANO, first)
    assert len(ran) == 3
    with pytest.raises(
        ValueError, match=r"realdpo\.json was made with other settings .* --out .*evidence.parquet with --earlier"
    ):
        run._result(arm, 0, tmp_path, replace(NANO, steps=3), first)


def test_the_winners_error_is_a_share_of_the_references() -> None:
    rows = [{"step": 2, "held_out/clip/winner_relative_error": 0.3, "held_out/reference_error": 0.6}]
    assert run._winner_error(rows) == {"winner_error": {"held out": 0.5}}
    assert run._winner_error(()) == run._winner_error([{"step": 2}]) == {}


def test_arms_of_a_seed_and_number_of_clips_differ_by_training_alone() -> None:
    arms = arms_of(find_claims([]))
    settings = [run.settings_of(arm, 3, NANO) for arm in arms]
    projects = {
        (arm.clips, arm.first_frame, s.model_dump_json(exclude={"train"}))
        for arm, s in zip(arms, settings, strict=True)
    }
    assert len(projects) == len({(arm.clips, arm.first_frame) for arm in arms})
    assert len({s.train.name for s in settings}) == len(settings)
    papers = {arm.name for arm in arms_of(find_claims(run.BUDGETS["small"].claims))}
    judged = [s.train for s, arm in zip(settings, arms, strict=True) if arm.evaluate and arm.name in papers]
    assert {(train.steps, train.batch) for train in judged} == {(NANO.steps, NANO.batch), (96, NANO.batch)}
    rule = [s.train for s, arm in zip(settings, arms, strict=True) if arm.train.items() >= RULE.items()]
    assert {(t.learning_rate, t.times, t.shift, t.objective.sft_weight) for t in rule} == {(3e-5, "uniform", 0.0, 0.0)}
    assert {arm.name for arm in arms if arm.evaluate and arm.trained} - {t.name for t in rule} == {
        "realdpo-sft-term",
        "without-sft-term",
        "winner-clamp",
        "safe-loser",
    }


def test_the_full_budget_goes_on_where_the_small_one_ends() -> None:
    small, full = run.BUDGETS["small"], run.BUDGETS["full"]
    assert small.seeds < full.seeds and set(small.claims) < set(full.claims) == set(CLAIMS)
    assert replace(full, seeds=small.seeds, claims=small.claims) == small


def test_hypotheses_have_names_of_their_own() -> None:
    for claim in CLAIMS.values():
        assert len({h.name for h in claim.hypotheses}) == len(claim.hypotheses)


def test_only_judged_arms_are_compared() -> None:
    arm = replace(CLAIMS["realdpo"].arms[1], evaluate=False)
    with pytest.raises(AssertionError):
        Claim("c", "p", (arm,), CLAIMS["realdpo"].hypotheses[:1])


def test_an_unknown_claim_is_named() -> None:
    with pytest.raises(ValueError, match="no claim 'x': there are realdpo, densedpo"):
        find_claims(["x"])
