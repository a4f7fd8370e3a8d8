"""A small but complete report, with videos whose grey level tells the frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rushes.media.write import encode_bytes
from rushes.report import curves
from rushes.report.model import Case, CaseKind, LabelSummary, MetricRow, Report, ReportArm, ReportVideo, Step

FRAMES, FPS = 16, 8.0
GREY_STEP = 14  # frame i is grey level 16 + 14 i


def grey_clip(frames: int = FRAMES, side_px: int = 32) -> np.ndarray:
    """[F, side, side, 3] uint8 where every frame has one grey level of its own."""
    levels = 16 + GREY_STEP * np.arange(frames, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (frames, side_px, side_px, 3)).copy()


def metric(name: str, low: float, high: float, better: str = "lower", base: float = 1.0, n: int = 40) -> MetricRow:
    middle = (low + high) / 2 if math.isfinite(low + high) else 0.1
    return MetricRow(name, better, base, base + middle, middle, low, high, n, "px", 0.5)  # type: ignore[arg-type]


def training_rows(steps: int = 60) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    return [
        {
            "step": step,
            "loss": math.log(2) * math.exp(-step / 40) + 0.01 * rng.normal(),
            "winner_relative_error": -0.002 * step / steps + 1e-4 * rng.normal(),
            "loser_relative_error": 0.01 * step / steps,
            "accuracy": 0.5 + 0.4 * step / steps,
            "learning_rate": 1e-5,
            "phase": "train",
        }
        for step in range(1, steps + 1)
    ]


@pytest.fixture(scope="session")
def mp4() -> bytes:
    return encode_bytes(grey_clip(), FPS, scale=4)


@pytest.fixture(scope="session")
def report(mp4: bytes) -> Report:
    """Headline better, one regression, one undecided; two cases of each kind, the second real clip being longer."""
    longer = encode_bytes(grey_clip(17), FPS, scale=4)
    kinds: tuple[CaseKind, ...] = ("random", "random", "worst", "worst", "best", "best")
    cases = tuple(
        Case(kind, f"a red ball falls, take {at}", at, 0.1 * at - 0.3, (
            ReportVideo("Base", mp4, "video/mp4", 32, 32, FRAMES, FPS, {"lost_dots": 0.5}),
            ReportVideo("Trained", mp4, "video/mp4", 32, 32, FRAMES, FPS, {"lost_dots": 0.25}),
            ReportVideo("Real", longer, "video/mp4", 32, 32, 17, FPS),
        ))
        for at, kind in enumerate(kinds)
    )  # fmt: skip
    rows = training_rows()
    return Report(
        title="falling balls",
        run="realdpo-1",
        headline="lost_dots",
        metrics=(
            metric("lost_dots", -0.3, -0.1),
            metric("sharpness", -0.2, 0.1, "higher"),
            metric("artifacts", 0.05, 0.25),
        ),
        steps=(Step("generate", "64 takes", 12.5), Step("train", "realdpo on tiny, 60 steps", 71.0), Step("export")),
        curves=curves.curves(rows),
        findings=curves.findings(rows),
        labels=(
            LabelSummary("world", "overall", 20, ((8, 4, 8), (15, 0, 5))),
            LabelSummary("alice", "motion", 3, ((0, 3, 0),)),
        ),
        cases=cases,
        case_seed=7,
        pairs=40,
        arms=(ReportArm("sft", (metric("lost_dots", -0.1, 0.2), metric("artifacts", -0.1, -0.05))),),
        settings="[train]\nbeta = 100.0",
        hashes={"run": "0123abcd"},
        versions={"rushes": "0.1.0"},
        notes=("3 lines of metrics.jsonl could not be read.",),
        made_at="2025-11-20T10:00:00+00:00",
    )
