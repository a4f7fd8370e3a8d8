"""`rushes health`: the diagnoses of a run, finished or not, from its metrics.jsonl; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rushes.config.tables import Settings
from rushes.project.reports import run_name
from rushes.training.diagnosis import Diagnosis
from rushes.training.health import diagnoses
from rushes.training.history import read_history


@dataclass(frozen=True)
class HealthResult:
    """How a run goes, finished or not."""

    run: str
    steps: int  # so far
    diagnoses: tuple[Diagnosis, ...]  # what is wrong


def health_of_run(project: Path, settings: Settings, run: str = "") -> HealthResult:
    """Steps so far and what is wrong.

    Raises:
        ValueError: the run has no curves.
    """
    run = run or run_name(settings.train)
    path = project / "runs" / run / "metrics.jsonl"
    rows = read_history(path)
    if not rows:
        raise ValueError(f"{path} is not there, so run {run!r} has no curves yet; run `rushes train`")
    return HealthResult(run, rows[-1]["step"], tuple(diagnoses(rows)))
