"""The command that tests what papers claim."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from rushes.cli.console import GE_0, AsJson, bar, tell


def reproduce(
    claims: Annotated[tuple[str, ...], Parameter(help="claims by name; default: the budget's")] = (),
    *,
    budget: Annotated[
        Literal["small", "full"],
        Parameter(help="number of seeds, and whether our own claims and the ablations are asked; arms are the same"),
    ] = "small",
    seeds: Annotated[
        int, GE_0, Parameter(help="training seeds, each with clips, takes and prompts of its own; 0 = the budget's")
    ] = 0,
    out: Annotated[Path, Parameter(help="folder to write to")] = Path("reproduce"),
    earlier: Annotated[
        Path | None,
        Parameter(help="evidence.parquet of earlier runs: what is in it and still current is not run again"),
    ] = None,
    jobs: Annotated[
        int, GE_0, Parameter(help="seeds that run side by side, a thread each; 0 = all, at most two a core")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the arms of each claim on the embedded world, and say what was reproduced; a stopped run continues."""
    from rushes.lab.claims.evidence import FILE, read_evidence, write_evidence
    from rushes.lab.claims.hypotheses import find_claims
    from rushes.lab.claims.plots import write_plots
    from rushes.lab.claims.run import BUDGETS, FIRST_SEED, reproduce
    from rushes.lab.claims.verdict_table import ReproduceResult, write

    each = BUDGETS[budget]
    names = claims or each.claims
    chosen = find_claims(names)
    count = seeds or each.seeds
    before = read_evidence(earlier) if earlier else {}
    asked = range(FIRST_SEED, FIRST_SEED + count)
    evidence = reproduce(names, asked, out, each, jobs or min(count, 2 * (os.cpu_count() or 1)), before, bar)
    write_evidence(out / FILE, evidence)
    table = write(out, chosen, evidence, {**asdict(each), "seeds": count, "claims": len(chosen)})
    write_plots(out, chosen, table, FIRST_SEED)
    answers = {f"{row.claim}/{row.hypothesis.name}": row.outcome for row in table}
    tell(ReproduceResult(out / "table.md", out / FILE, answers), as_json)
