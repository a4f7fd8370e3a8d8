"""The command that tests what papers claim."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from rushes.cli.console import AsJson, app, say, tell


@app.command
def reproduce(
    claims: Annotated[tuple[str, ...], Parameter(help="claims by name; default: all")] = (),
    *,
    seeds: Annotated[int, Parameter(help="training seeds, each with clips, takes and prompts of its own")] = 3,
    out: Annotated[Path, Parameter(help="folder to write to")] = Path("reproduce"),
    budget: Annotated[Literal["small", "full"], Parameter(help="clips, prompts and steps of every arm")] = "small",
    jobs: Annotated[int, Parameter(help="seeds that run side by side, a core each; 0 = as many as cores")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the arms of each claim on the embedded world, and say what reproduced. Continues where it was stopped."""
    from rushes.claims import table
    from rushes.claims.catalogue import find_claims
    from rushes.claims.run import BUDGETS, reproduce

    if seeds < 1 or jobs < 0:
        raise ValueError(f"--seeds must be at least 1 and --jobs at least 0, got {seeds} and {jobs}")
    chosen = find_claims(claims)
    found = reproduce(claims, range(seeds), out, BUDGETS[budget], jobs or os.cpu_count() or 1, say)
    rows = table.rows(chosen, found)
    page = table.write(out, chosen, rows, {"seeds": seeds, **asdict(BUDGETS[budget])})
    answers = {f"{row.claim}/{row.hypothesis.name}": row.outcome for row in rows}
    tell({"table": str(page), **answers}, as_json)
