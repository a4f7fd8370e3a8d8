"""PhysHPO's score: the arithmetic of the worked examples, the form of an answer, the cut."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rushes.config.curate import FidelitySettings
from rushes.curate.fidelity import GROUPS, choose, group_score, make, question, total

from ..fake_endpoint import Does, FakeEndpoint, texts
from .staged import BROKEN, entry, run, settings, text_tasks

EXAMPLES = ((4, 2, 5, 1, 1, 4), (1, 1, 2, 1, 1, 1), (4, 3, 2, 1, 1))


def evolved(request: dict[str, Any], scores: Any = EXAMPLES) -> Does:
    """The rewrites that a request asks for, under these scores."""
    keys = texts(request).partition("with the keys ")[2].partition(", each an")[0].split(", ")
    group = next(at for at, group in enumerate(GROUPS) if list(group.phenomena) == keys)
    said = {
        key: {"caption": f"it shows {key}", "reason": "because", "score": score}
        for key, score in zip(keys, scores[group], strict=True)
    }
    return Does(json.dumps(said))


def test_worked_examples_of_the_paper() -> None:
    assert [round(group_score(scores), 1) for scores in EXAMPLES] == [2.8, 1.2, 2.2]
    assert [sum(scores) for scores in EXAMPLES] == [17, 7, 11]
    assert total([group_score(scores) for scores in EXAMPLES]) == pytest.approx(17 / 6 * 7 / 6 * 11 / 5)
    # the static close-up: direct scores of 4, 2 and 5 would have been 40, evolved ones are 1.0, 1.0 and 1.8
    assert total([group_score([1] * 6), group_score([1] * 6), group_score([1, 1, 1, 1, 5])]) == pytest.approx(1.8)
    assert total([5.0, 5.0, 5.0]) == 125


def test_seventeen_phenomena_in_three_groups() -> None:
    assert [len(group.phenomena) for group in GROUPS] == [6, 6, 5]
    assert len({key for group in GROUPS for key in group.phenomena}) == 17
    for group in GROUPS:
        assert all(f"- {key}: " in question(group, "x") for key in group.phenomena)
        assert list(group.schema.model_json_schema()["properties"]) == list(group.phenomena)
        assert {name for name, *_ in group.examples} < set(group.phenomena)


def test_one_question_a_group_gives_scores_and_evolved_captions(fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = evolved
    stage = make(settings(fake, text={"model": "reader"}), answers)
    ran = run(stage, text_tasks('A ball "falls"\nand breaks.'))
    found = ran.findings["clip 0"]
    assert len(fake.requests) == 3 and stage.calls is not None and stage.calls(10) == 30
    assert found.values["fidelity"] == pytest.approx(17 / 6 * 7 / 6 * 11 / 5)
    assert found.values["fidelity_dynamic"] == pytest.approx(17 / 6)
    assert found.words["fidelity_scores"] == tuple(float(score) for group in EXAMPLES for score in group)
    lines = found.captions["evolved"].splitlines()
    assert len(lines) == 17 and lines[0] == "dynamic, rigid body motion, 4: it shows rigid_body_motion (because)"
    assert {request["max_tokens"] for request in fake.requests} == {2048}
    assert 'A ball "falls"\nand breaks.' in texts(fake.requests[0])


@pytest.mark.parametrize("score", [0, 6, 2.5, "4", None])
def test_a_score_out_of_range_is_no_score(score: object, fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = lambda request: evolved(request, ((4, 2, score, 1, 1, 4), *EXAMPLES[1:]))
    assert "in another form" in run(make(settings(fake), answers), text_tasks("x")).problems["clip 0"]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_unreadable_group_is_named_and_the_others_are_not_asked_again(
    broken: Does, fake: FakeEndpoint, answers: Path
) -> None:
    fake.answer = lambda request: broken if "melting" in texts(request) else evolved(request)
    stage = make(settings(fake), answers)
    assert run(stage, text_tasks("x")).problems["clip 0"].startswith("thermodynamic: one ")
    fake.answer = evolved
    longer = make(settings(fake, fidelity={"max_tokens": 4000}), answers)
    assert longer.signature == stage.signature
    assert run(longer, text_tasks("x")).kept == ["clip 0"]


def ranked(**totals: float) -> list[Any]:
    return [entry(id, "", fidelity=value) for id, value in totals.items()]


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        ({"keep": "top_k", "top_k": 2}, "bd"),
        ({"keep": "top_k", "top_k": 9}, "abcd"),
        ({"keep": "min_score", "min_score": 3.0}, "abd"),
        ({"keep": "share", "share": 0.5}, "bd"),
        ({"keep": "share", "share": 0.51}, "abd"),
        ({"keep": "share", "share": 1.0}, "abcd"),
        ({}, "b"),
    ],
)
def test_the_cut(table: dict[str, Any], kept: str) -> None:
    entries = ranked(a=3.0, b=9.0, c=1.0, d=8.0)
    dropped = choose(FidelitySettings(**table), entries)
    assert "".join(e.id for e in entries if e.id not in dropped) == kept


def test_equal_totals_are_cut_in_the_order_given_and_the_reason_says_where() -> None:
    dropped = choose(FidelitySettings(keep="top_k", top_k=1), ranked(a=3.0, b=3.0))
    assert dropped == {
        "b": "physical fidelity 3.00 (0.0 x 0.0 x 0.0), rank 2; the best 1 of 2 stay (curate.fidelity.top_k)"
    }


def test_the_share_is_the_paper_s() -> None:
    assert FidelitySettings().share == pytest.approx(59_076 / 266_931, abs=5e-5)
    entries = [entry(str(at), "", fidelity=float(at)) for at in range(1000)]
    assert 1000 - len(choose(FidelitySettings(), entries)) == math.ceil(221.3)
    assert choose(FidelitySettings(), []) == {}
