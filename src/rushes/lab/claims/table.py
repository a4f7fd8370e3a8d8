"""Evidence -> one row per hypothesis and per fault, as JSON and as a page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rushes.files import write_json, write_text
from rushes.lab.claims.base import Claim, Hypothesis, Sighting
from rushes.lab.claims.evidence import Evidence
from rushes.lab.claims.verdict import Effect, Measured, Outcome, agree, effect, moderated, outcome, p_value
from rushes.pages import templates
from rushes.records import INLINE, plain
from rushes.stats import holm

# The first judge's metrics and what the second one measures of the same thing.
SECOND_JUDGE = {"bad_frames": "lost", "physics_error": "roughness"}
LOOK = "artifacts"  # stray paint beside the objects: what may get worse while these behave better


@dataclass(frozen=True)
class ClaimRow:
    """One hypothesis with its answer."""

    claim: str
    hypothesis: Hypothesis
    effect: Effect
    p: float  # corrected for all hypotheses of the claim (Holm)
    outcome: Outcome
    second_judge: bool | None  # whether it sees the difference on the same side; None = it was not asked
    look: Effect  # the same arms' difference in stray paint


@dataclass(frozen=True)
class ObservedEffect:
    """One run that was built to have a fault, over its seeds."""

    sighting: Sighting
    seeds: int
    right: int  # seeds whose curves were called so; for a healthy run, those that were called nothing
    others: tuple[str, ...]  # what else was said, by any seed


@dataclass(frozen=True)
class ReproduceResult:
    """What of the papers' claims reproduced."""

    table: Path  # Markdown
    evidence: Path  # Parquet
    answers: Mapping[str, str] = field(metadata=INLINE)  # outcome by `CLAIM/HYPOTHESIS`


def rows(claims: Sequence[Claim], evidence: Evidence) -> list[ClaimRow]:
    """Every hypothesis of the claims; those of one claim are corrected together and lend each other their spread.

    Other claims have no part in an answer, so it is the same whatever else was asked.
    """
    return [row for claim in claims for row in _rows(claim, evidence)]


def _rows(claim: Claim, evidence: Evidence) -> list[ClaimRow]:
    asked = claim.hypotheses
    effects = _effects(asked, evidence)
    looks = _effects([replace(h, metric=LOOK) for h in asked], evidence)
    corrected = holm([p_value(e, h) for e, h in zip(effects, asked, strict=True)])
    judged_rows = []
    for h, e, p, look in zip(asked, effects, corrected, looks, strict=True):
        seconded = _seconded(evidence, h, e)
        judged_rows.append(
            ClaimRow(
                claim.name,
                h,
                e,
                p=float(p),
                outcome=outcome(e, h, float(p), seconded),
                second_judge=seconded,
                look=look,
            )
        )
    return judged_rows


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
    plain = [effect(_of(evidence, h.arm, h.metric), _of(evidence, h.against, h.metric)) for h in hypotheses]
    kinds = [(h.metric, len(e.per_seed)) for h, e in zip(hypotheses, plain, strict=True)]
    effects: dict[int, Effect] = {}
    for kind in dict.fromkeys(kinds):
        places = [at for at, other_kind in enumerate(kinds) if other_kind == kind]
        effects |= dict(zip(places, moderated([plain[at] for at in places]), strict=True))
    return [effects[at] for at in range(len(plain))]


def _of(evidence: Evidence, arm: str, metric: str) -> Measured:
    return {seed: result.values[metric] for seed, result in evidence[arm].items()}


def _seconded(evidence: Evidence, hypothesis: Hypothesis, first: Effect) -> bool | None:
    """Of a direction; the sides of two that are equal are chance."""
    other = SECOND_JUDGE.get(hypothesis.metric)
    if other is None or hypothesis.expects == "equal":
        return None
    second = effect(_of(evidence, hypothesis.arm, other), _of(evidence, hypothesis.against, other))
    return agree(first.per_seed, second.per_seed)


def write(folder: Path, claims: Sequence[Claim], evidence: Evidence, budget: Mapping[str, Any]) -> list[ClaimRow]:
    """`table.json` and `table.md` in the folder; what they say of the hypotheses."""
    table, seen = rows(claims, evidence), sightings(claims, evidence)
    facts = {
        "budget": dict(budget),
        "rows": [_plain(row) for row in table],
        "faults": [
            {**asdict(observed.sighting), "seeds": observed.seeds, "right": observed.right, "others": observed.others}
            for observed in seen
        ],
    }
    write_json(folder / "table.json", facts, indent=2)
    write_text(folder / "table.md", markdown(claims, table, seen, budget))
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
        }
    )
    return facts


def markdown(
    claims: Sequence[Claim], table: Sequence[ClaimRow], seen: Sequence[ObservedEffect], budget: Mapping[str, Any]
) -> str:
    """A section per claim with a table of its hypotheses, and one for the faults that runs were built to have."""
    page = templates("rushes.lab.claims", span=_span, look=_look).get_template("table.md")
    return page.render(claims=claims, table=table, seen=seen, budget=budget, look=LOOK)


def _span(effect: Effect) -> str:
    value = f"{effect.value:+.3f}"
    return f"{value} [{effect.low:+.3f}, {effect.high:+.3f}]" if math.isfinite(effect.low) else f"{value}, one seed"


def _look(effect: Effect) -> str:
    """In grey levels; in bold where the interval lies off zero."""
    text = f"{255 * effect.value:+.1f}"
    return f"**{text}**" if effect.low > 0 or effect.high < 0 else text
