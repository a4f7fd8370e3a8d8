"""Evidence -> one row per hypothesis and per fault, as JSON and as a page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rushes.files import write_json, write_text
from rushes.lab.claims.base import Claim, Hypothesis, Sighting
from rushes.lab.claims.evidence import Evidence
from rushes.lab.claims.hypotheses import PRIMARY
from rushes.lab.claims.verdict import (
    ClaimOutcome,
    Effect,
    SeedValues,
    agree,
    effect,
    moderated,
    outcome,
    p_value,
    refuting_p,
)
from rushes.pages import templates
from rushes.records import INLINE, plain
from rushes.stats import holm

# The first judge's metrics and what the second one measures of the same thing.
SECOND_JUDGE = {"lost_dots": "dark", "law_error": "unlawful"}
LOOK = "missing_balls"  # what may get worse while dots get better


@dataclass(frozen=True)
class ClaimRow:
    """One hypothesis with its answer."""

    claim: str
    hypothesis: Hypothesis
    effect: Effect
    p: float  # corrected (Holm): a primary one's for all that are, another's for all of its claim
    outcome: ClaimOutcome
    second_judge: bool | None  # whether it sees the difference on the same side; None = it was not asked
    look: Effect  # the same arms' difference in missing, torn or doubled balls
    by_kind: Mapping[str, Effect]  # the difference on each kind of scene


@dataclass(frozen=True)
class ObservedEffect:
    """One run that was built to have a fault, over its seeds."""

    sighting: Sighting
    seeds: int
    right: int  # seeds whose curves raised the diagnosis; for a healthy run, seeds that raised none
    others: tuple[str, ...]  # what else was said, by any seed


@dataclass(frozen=True)
class ReproduceResult:
    """What of the papers' claims reproduced."""

    table: Path  # Markdown
    evidence: Path  # Parquet
    answers: Mapping[str, str] = field(metadata=INLINE)  # outcome by `CLAIM/HYPOTHESIS`


def rows(claims: Sequence[Claim], evidence: Evidence) -> list[ClaimRow]:
    """Every hypothesis of the claims.

    Primary ones are corrected together: for all that there are, also where some were not asked. The others are
    corrected within their claim, so that what else was asked has no part in an answer. Those of one claim and metric
    lend each other their spread.
    """
    asked = [(claim, hypothesis) for claim in claims for hypothesis in claim.hypotheses]
    effects = [effect for claim in claims for effect in _effects(claim.hypotheses, evidence)]
    family = ["" if hypothesis.primary else claim.name for claim, hypothesis in asked]
    hypotheses = [hypothesis for _, hypothesis in asked]
    proving = _corrected(family, [p_value(e, h) for e, h in zip(effects, hypotheses, strict=True)])
    refuting = _corrected(family, [refuting_p(e, h) for e, h in zip(effects, hypotheses, strict=True)])
    return [
        _row(claim.name, h, effect, p, refuted, evidence)
        for (claim, h), effect, p, refuted in zip(asked, effects, proving, refuting, strict=True)
    ]


def _corrected(families: Sequence[str], p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values within each family; that of the primary ones has as many as there are."""
    corrected = list(p_values)
    for family in dict.fromkeys(families):
        places = [at for at, name in enumerate(families) if name == family]
        unasked = 0 if family else max(0, PRIMARY - len(places))
        for at, p in zip(places, holm([*(p_values[at] for at in places), *[1.0] * unasked]), strict=False):
            corrected[at] = float(p)
    return corrected


def _row(name: str, h: Hypothesis, observed: Effect, p: float, refuted: float, evidence: Evidence) -> ClaimRow:
    seconded = _seconded(evidence, h, observed)
    return ClaimRow(
        name,
        h,
        observed,
        p=p,
        outcome=outcome(observed, h, p, refuted, seconded),
        second_judge=seconded,
        look=_difference(evidence, replace(h, metric=LOOK)),
        by_kind=_by_kind(evidence, h),
    )


def sightings(claims: Sequence[Claim], evidence: Evidence) -> list[ObservedEffect]:
    """What was said of every run that was built to have a fault, or to have none."""
    observed = []
    for sighting in (sighting for claim in claims for sighting in claim.sightings):
        diagnoses = [result.diagnoses for result in evidence[sighting.arm].values()]
        right = sum(sighting.diagnosis in names if sighting.diagnosis else not names for names in diagnoses)
        others = sorted({name for names in diagnoses for name in names} - {sighting.diagnosis})
        observed.append(ObservedEffect(sighting, len(diagnoses), right, tuple(others)))
    return observed


def _effects(hypotheses: Sequence[Hypothesis], evidence: Evidence) -> list[Effect]:
    """The difference that each hypothesis is about; those of one metric and number of seeds lend each other spread."""
    plain = [_difference(evidence, h) for h in hypotheses]
    kinds = [(h.metric, len(e.per_seed)) for h, e in zip(hypotheses, plain, strict=True)]
    effects: dict[int, Effect] = {}
    for kind in dict.fromkeys(kinds):
        places = [at for at, other_kind in enumerate(kinds) if other_kind == kind]
        effects |= dict(zip(places, moderated([plain[at] for at in places]), strict=True))
    return [effects[at] for at in range(len(plain))]


def _difference(evidence: Evidence, h: Hypothesis) -> Effect:
    """The arms' difference in the metric, as the seeds alone have it."""
    return effect(*_sides(evidence, h))


def _sides(evidence: Evidence, h: Hypothesis) -> list[SeedValues]:
    """What the two arms are compared by."""
    return [
        {seed: result.values.get(h.metric, {}) for seed, result in evidence[arm].items()} for arm in (h.arm, h.against)
    ]


def _by_kind(evidence: Evidence, h: Hypothesis) -> dict[str, Effect]:
    """The difference on the prompts of each kind of scene; of the kinds that both arms have measurements of."""
    kinds = {
        prompt: kind
        for seeds in evidence.values()
        for result in seeds.values()
        for prompt, kind in result.kinds.items()
    }
    sides = _sides(evidence, h)
    effects = {}
    for kind in sorted(set(kinds.values())):
        parts = [{s: {p: v for p, v in of.items() if kinds.get(p) == kind} for s, of in side.items()} for side in sides]
        with suppress(ValueError):
            effects[kind] = effect(*parts)
    return effects


def _seconded(evidence: Evidence, hypothesis: Hypothesis, first: Effect) -> bool | None:
    """The colour of a direction; the sides of two that are equal are chance."""
    other = SECOND_JUDGE.get(hypothesis.metric)
    if other is None or hypothesis.expects == "equal":
        return None
    return agree(first.per_seed, _difference(evidence, replace(hypothesis, metric=other)).per_seed)


def write(folder: Path, claims: Sequence[Claim], evidence: Evidence, budget: Mapping[str, Any]) -> list[ClaimRow]:
    """`table.json` and `table.md` in the folder; what they say of the hypotheses."""
    table, seen = rows(claims, evidence), sightings(claims, evidence)
    facts = {
        "claims": [claim.name for claim in claims],
        "budget": dict(budget),
        "rows": [_plain(row) for row in table],
        "arms": {arm: strength for claim in claims for arm, strength in strengths(claim, evidence).items()},
        "faults": [
            {**asdict(observed.sighting), "seeds": observed.seeds, "right": observed.right, "others": observed.others}
            for observed in seen
        ],
    }
    write_json(folder / "table.json", facts, indent=2, checksum=True)
    write_text(folder / "table.md", markdown(claims, table, seen, evidence, budget))
    return table


def _plain(row: ClaimRow) -> dict[str, Any]:
    effect = row.effect
    facts: dict[str, Any] = plain(
        {
            "claim": row.claim,
            **asdict(row.hypothesis),
            "difference": effect.value,
            "low": effect.low,
            "high": effect.high,
            "per_seed": effect.per_seed,
            "pairs": effect.prompts,
            "p": row.p,
            "verdict": row.outcome,
            "second_judge_agrees": row.second_judge,
            LOOK: row.look.value,
            "by_kind": {kind: [each.value, each.low, each.high] for kind, each in row.by_kind.items()},
        }
    )
    return facts


def strengths(claim: Claim, evidence: Evidence) -> dict[str, dict[str, float]]:
    """How strongly each arm of a claim was trained (`Result.strength`), means over its seeds."""
    rows = {arm.name: [result.strength for result in evidence[arm.name].values()] for arm in claim.arms}
    return {
        arm: {key: fmean(row[key] for row in of if key in row) for key in dict.fromkeys(k for row in of for k in row)}
        for arm, of in rows.items()
        if any(of)
    }


def markdown(
    claims: Sequence[Claim],
    table: Sequence[ClaimRow],
    seen: Sequence[ObservedEffect],
    evidence: Evidence,
    budget: Mapping[str, Any],
) -> str:
    """A section per claim with tables of its hypotheses and arms, and one of faults that runs were built to have."""
    page = templates("rushes.lab.claims", span=_span, look=_look, share=_share).get_template("table.md")
    arms = {claim.name: strengths(claim, evidence) for claim in claims}
    kinds = sorted({kind for row in table for kind in row.by_kind})
    return page.render(claims=claims, table=table, seen=seen, budget=budget, look=LOOK, arms=arms, kinds=kinds)


def _span(effect: Effect) -> str:
    value = f"{effect.value:+.3f}"
    return f"{value} [{effect.low:+.3f}, {effect.high:+.3f}]" if math.isfinite(effect.low) else f"{value}, one seed"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _look(effect: Effect) -> str:
    """In bold where the interval lies off zero."""
    text = f"{effect.value:+.3f}"
    return f"**{text}**" if effect.low > 0 or effect.high < 0 else text
