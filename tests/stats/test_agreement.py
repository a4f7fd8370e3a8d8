"""Agreement: published values and a case by hand."""

from __future__ import annotations

import math

import pytest

from rushes.stats import krippendorff_alpha

NAN = math.nan

# Four observers, twelve units: Krippendorff, "Computing Krippendorff's alpha-reliability", 2011, example C.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorff_published_values(level: str, alpha: float) -> None:
    assert krippendorff_alpha(OBSERVERS, level) == pytest.approx(alpha, abs=6e-4)  # type: ignore[arg-type]


def test_krippendorff_by_hand() -> None:
    # Two raters, ten binary units: 4 agree on 0, 4 on 1, 2 differ. Observed 4 / 20, expected 2 * 10 * 10 / 380.
    ratings = [[0] * 4 + [1] * 4 + [0, 1], [0] * 4 + [1] * 4 + [1, 0]]
    assert krippendorff_alpha(ratings) == pytest.approx(1 - 0.2 / (200 / 380))
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 3]]) == 1.0
    with pytest.raises(ValueError, match="undefined"):
        krippendorff_alpha([[1, 1], [1, 1]])
