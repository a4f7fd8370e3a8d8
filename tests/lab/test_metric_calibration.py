"""Metrics against the truth of the embedded world."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from rushes.lab import metric_calibration as calibration
from rushes.metrics.catalogue import all_metrics
from rushes.progress import no_bar
from rushes.records import plain


def test_rank_correlation_is_spearmans_and_its_interval_counts_scenes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60).round(1)
    y = x + rng.normal(size=60)
    rows = [(at, float(a), float(b)) for at, (a, b) in enumerate(zip(x, y, strict=True))]
    agreement = calibration._agreement(rows)
    assert agreement.value == pytest.approx(spearmanr(x, y).statistic, abs=5e-4)
    assert agreement.low < agreement.value < agreement.high and agreement.n == 60
    twice = calibration._agreement([*rows, *rows])
    assert twice.high - twice.low == pytest.approx(agreement.high - agreement.low, abs=0.03)
    assert plain(calibration._agreement([(0, 1.0, 2.0)] * 5))["value"] is None
    assert calibration._agreement([]).n == 0


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="ten scenes"):
        calibration.calibrate(9, 100, 0, no_bar)


@pytest.mark.slow
def test_metrics_of_motion_follow_the_verifier() -> None:
    rows = calibration.calibrate(36, 12, 3, no_bar)
    assert set(rows) == set(all_metrics()) - {"first_frame_fidelity"}
    own = rows["motion_speed"].faults_own
    assert own is not None and own.value > 0.6
    assert plain(rows["sharpness"]).keys() == {"better", "faults", "takes"}  # nothing to be right about
