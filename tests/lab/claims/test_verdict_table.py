from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.lab.claims import verdict_table
from rushes.lab.claims.base import Arm, Claim, Hypothesis, Sighting
from rushes.lab.claims.evidence import Evidence, Result, read_evidence, write_evidence
from rushes.lab.claims.hypotheses import PRIMARY
from rushes.lab.claims.plots import forest
from rushes.records import BASE

CLAIM = Claim(
    "toy",
    "A paper",
    (Arm("a", "sft"), Arm("b", "sft")),
    (
        Hypothesis("helps", "It helps.", "a", BASE, "lost_dots", "lower", 0.01),
        Hypothesis("same", "Both are alike.", "b", "a", "speed", "equal", 0.5),
    ),
)


def found(second: float) -> Evidence:
    """Two prompts, three seeds; `a` lowers lost dots by about 0.1, and the second judge's `dark` by `second`."""
    return {
        arm: {
            seed: Result(
                "settings",
                {
                    "lost_dots": {p: 0.3 - gain - 0.001 * seed * (gain > 0) for p in "pq"},
                    "dark": {p: 0.3 - second * (gain > 0) for p in "pq"},
                    "speed": {p: 1.0 + 0.001 * seed * gain for p in "pq"},
                    "missing_balls": {p: 0.01 + 0.02 * gain + 0.0001 * seed * (gain > 0) for p in "pq"},
                },
                ("shortcut",) if arm == "b" and seed else (),
                60.0,
            )
            for seed in range(3)
        }
        for arm, gain in ((BASE, 0.0), ("a", 0.1), ("b", 0.2))
    }


def test_rows_and_the_second_judge() -> None:
    helps, same = verdict_table.rows([CLAIM], found(0.05))
    assert (helps.outcome, same.outcome) == ("reproduced", "reproduced")
    assert helps.effect.value == pytest.approx(-0.101)
    assert helps.second_judge is True and same.second_judge is None
    against = verdict_table.rows([CLAIM], found(-0.05))[0]
    assert against.second_judge is False and against.outcome == "not decided"


def test_p_values_are_corrected_together() -> None:
    alone = verdict_table.rows([Claim("t", "p", CLAIM.arms, CLAIM.hypotheses[:1])], found(0.0))[0].p
    assert verdict_table.rows([CLAIM], found(0.0))[0].p >= alone


def test_an_answer_does_not_depend_on_what_else_was_asked() -> None:
    other = Claim("other", "Another paper", CLAIM.arms, CLAIM.hypotheses[::-1])
    alone, both = verdict_table.rows([CLAIM], found(0.05)), verdict_table.rows([CLAIM, other], found(0.05))
    assert [(row.p, row.effect) for row in both[:2]] == [(row.p, row.effect) for row in alone]


METRICS = ("lost_dots", "dark", "speed", "missing_balls")


def test_spread_is_lent_within_a_metric() -> None:
    """Four differences of one metric have a spread in common; one of another metric has its own."""
    arms = tuple(Arm(name, "sft") for name in "abcde")
    hypotheses = [Hypothesis(name, "?", name, BASE, "lost_dots", "lower", 0.01) for name in "abcde"]
    claim = Claim("t", "p", arms, (*hypotheses, Hypothesis("x", "?", "a", BASE, "speed", "lower", 0.01)))
    evidence: Evidence = {
        arm: {seed: Result("", {m: {"p": 0.1 * (at + 1) * seed} for m in METRICS}, (), 1.0) for seed in range(3)}
        for at, arm in enumerate([BASE, *"abcde"])
    }
    *lent, own = (row.effect for row in verdict_table.rows([claim], evidence))
    assert {effect.prior for effect in lent} != {own.prior} and own.prior.df == 0
    assert all(effect.spread[1] > 2 for effect in lent) and own.spread[1] == 2


def test_faults_that_were_seen() -> None:
    claim = Claim("t", "p", CLAIM.arms, (), (Sighting("b", "shortcut"), Sighting("a", ""), Sighting("b", "")))
    seen = verdict_table.sightings([claim], found(0.0))
    assert [(one.right, one.seeds, one.others) for one in seen] == [(2, 3, ()), (3, 3, ()), (1, 3, ("shortcut",))]


def test_evidence_goes_into_a_file_and_back(tmp_path: Path) -> None:
    evidence = found(0.05)
    evidence["silent"] = {7: Result("other", {}, ("diverged",), 2.5)}
    write_evidence(tmp_path / "e.parquet", evidence)
    back = read_evidence(tmp_path / "e.parquet")
    assert back["silent"] == evidence["silent"]
    assert back["a"][2].values["lost_dots"] == pytest.approx(evidence["a"][2].values["lost_dots"])
    assert back["b"][1].facts == evidence["b"][1].facts
    (tmp_path / "no.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"no\.parquet: not a file of evidence"):
        read_evidence(tmp_path / "no.parquet")


def test_the_plot_turns_to_the_right_what_is_as_claimed() -> None:
    helps, same = verdict_table.rows([CLAIM], found(0.05))
    drawn = forest([helps, same], "A paper <1>")
    dots = [float(text.split('"')[0]) for text in drawn.split('<circle cx="')[1:]]
    zero = float(drawn.split('class="zero"')[0].rsplit('x1="', 1)[1].split('"')[0])
    assert dots[0] > zero + 10 and dots[1] == pytest.approx(zero, abs=2)
    assert "A paper &lt;1&gt;" in drawn and drawn.count("reproduced</text>") == 2


def test_files(tmp_path: Path) -> None:
    verdict_table.write(tmp_path, [CLAIM], found(0.05), {"clips": 8})
    text = (tmp_path / "table.md").read_text()
    assert "## A paper" in text and "| It helps. | a against base | lost_dots | -0.101 [" in text
    assert "| agrees | **+0.002** | reproduced |" in text
    row = json.loads((tmp_path / "table.json").read_text())["rows"][0]
    assert (row["verdict"], row["second_judge_agrees"], row["pairs"]) == ("reproduced", True, 6)


def test_primary_rows_are_corrected_for_all_primary_ones_that_there_are() -> None:
    """Alone or among rows of another claim a primary one pays for as many as the table of claims names."""
    primary = replace(CLAIM.hypotheses[0], primary=True)
    alone = verdict_table.rows([Claim("t", "p", CLAIM.arms, (primary,))], found(0.0))[0]
    plain = verdict_table.rows([Claim("t", "p", CLAIM.arms, CLAIM.hypotheses[:1])], found(0.0))[0]
    both = verdict_table.rows([Claim("t", "p", CLAIM.arms, (primary, CLAIM.hypotheses[1])), CLAIM], found(0.0))[0]
    assert PRIMARY == 6 and alone.p == both.p == pytest.approx(min(1.0, PRIMARY * plain.p))


def test_a_difference_is_stated_for_each_kind_of_scene() -> None:
    evidence = found(0.05)
    for seed in range(3):
        evidence[BASE][seed] = replace(evidence[BASE][seed], kinds={"p": "drop", "q": "swing"})
        evidence["a"][seed].values["lost_dots"]["p"] = 0.3
    row = verdict_table.rows([CLAIM], evidence)[0]
    assert row.by_kind["drop"].value == pytest.approx(0.0)
    assert row.by_kind["swing"].value == pytest.approx(-0.101)
    assert set(row.by_kind) == {"drop", "swing"}
