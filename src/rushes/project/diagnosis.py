"""`rushes health`: the diagnoses of a run, finished or not, from its metrics.jsonl; free of torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rushes.config.tables import Settings
from rushes.project.reports import run_name
from rushes.training.health import diagnoses
from rushes.training.history import read_history


def health_of_run(project: Path, settings: Settings, run: str = "") -> dict[str, Any]:
    """Steps so far and what is wrong.

    Raises:
        ValueError: the run has no curves.
    """
    run = run or run_name(settings.train)
    path = project / "runs" / run / "metrics.jsonl"
    rows = read_history(path)
    if not rows:
        raise ValueError(f"{path} is not there, so run {run!r} has no curves yet; run `rushes train`")
    return {"run": run, "steps": rows[-1]["step"], "diagnoses": [asdict(each) for each in diagnoses(rows)]}
