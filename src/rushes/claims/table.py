"""Measurements of all arms -> one row per hypothesis, as JSON and as a page of Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rushes.claims.base import Claim, Hypothesis
from rushes.claims.run import Values
from rushes.claims.verdict import Effect, Measured, Outcome, agree, effect, outcome, p_value
from rushes.media.files import whole_file
from rushes.stats import holm

# The first judge's metrics and what the second one measures of the same thing.
SECOND_JUDGE = {"bad_frames": "lost", "physics_error": "roughness"}
Found = Mapping[str, Mapping[int, Values]]  # arm -> seed -> metric -> prompt -> value


@dataclass(frozen=True)
class Row:
    """One hypothesis with its answer."""

    claim: str
    hypothesis: Hypothesis
    effect: Effect
    p: float  # corrected for all hypotheses of the table (Holm)
    outcome: Outcome
    second_judge: bool | None  # whether it sees the difference on the same side; None = it measures nothing alike


def rows(claims: Sequence[Claim], found: Found) -> list[Row]:
    """Every hypothesis of the claims, tested on the same evidence and corrected together."""
    asked = [(claim.name, hypothesis) for claim in claims for hypothesis in claim.hypotheses]
    effects = [effect(_of(found, h.arm, h.metric), _of(found, h.against, h.metric)) for _, h in asked]
    corrected = holm([p_value(e, h) for e, (_, h) in zip(effects, asked, strict=True)])
    return [
        Row(name, h, e, float(p), outcome(e, h, float(p)), _seconded(found, h, e))
        for (name, h), e, p in zip(asked, effects, corrected, strict=True)
    ]


def _of(found: Found, arm: str, metric: str) -> Measured:
    return {seed: values[metric] for seed, values in found[arm].items()}


def _seconded(found: Found, hypothesis: Hypothesis, first: Effect) -> bool | None:
    other = SECOND_JUDGE.get(hypothesis.metric)
    if other is None:
        return None
    return agree(
        first.per_seed, effect(_of(found, hypothesis.arm, other), _of(found, hypothesis.against, other)).per_seed
    )


def write(folder: Path, claims: Sequence[Claim], table: Sequence[Row], budget: Mapping[str, Any]) -> Path:
    """`table.json` and `table.md` in the folder; the path of the latter."""
    facts = {"budget": dict(budget), "rows": [_plain(row) for row in table]}
    with whole_file(folder / "table.json") as partial:
        partial.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    path = folder / "table.md"
    with whole_file(path) as partial:
        partial.write_text(markdown(claims, table, budget), encoding="utf-8")
    return path


def _plain(row: Row) -> dict[str, Any]:
    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    found = row.effect
    return {
        "claim": row.claim,
        **asdict(row.hypothesis),
        "difference": found.value,
        "low": finite(found.low),
        "high": finite(found.high),
        "per_seed": list(found.per_seed),
        "pairs": found.prompts,
        "p": row.p,
        "verdict": row.outcome,
        "second_judge_agrees": row.second_judge,
    }


def markdown(claims: Sequence[Claim], table: Sequence[Row], budget: Mapping[str, Any]) -> str:
    """A section per claim with a table of its hypotheses."""
    spent = ", ".join(f"{name} {value}" for name, value in budget.items())
    lines = [
        "# What reproduced",
        "",
        f"Each arm: {spent}. Intervals of 95 % over training seeds; p corrected for the "
        f"{len(table)} hypotheses of this table.",
        "",
    ]
    for claim in claims:
        lines += [
            f"## {claim.paper}",
            "",
            "| the paper says | arms | metric | difference | p | second judge | verdict |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_line(row) for row in table if row.claim == claim.name]
        lines.append("")
    return "\n".join(lines)


def _line(row: Row) -> str:
    h, e = row.hypothesis, row.effect
    span = f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]" if math.isfinite(e.low) else f"{e.value:+.3f}, one seed"
    seconded = {None: "", True: "agrees", False: "disagrees"}[row.second_judge]
    return (
        f"| {h.says} | {h.arm} against {h.against} | {h.metric} | {span} | {row.p:.3f} | {seconded} | {row.outcome} |"
    )
