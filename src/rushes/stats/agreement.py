"""How far several raters agree."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike


def krippendorff_alpha(ratings: ArrayLike, level: Literal["nominal", "ordinal", "interval"] = "nominal") -> float:
    """Krippendorff's alpha of ratings [raters, units], NaN where a rater skipped a unit; 1 agreement, 0 chance.

    Follows "Computing Krippendorff's alpha-reliability" (2011). Raises ValueError when no unit has two ratings or
    only one value was ever given: agreement is then undefined, not perfect.
    """
    data = np.asarray(ratings, float)
    values = np.unique(data[~np.isnan(data)])
    per_unit = (data[:, :, None] == values).sum(0).astype(float)  # [units, values]
    per_unit = per_unit[per_unit.sum(1) > 1]
    if per_unit.size == 0 or len(np.flatnonzero(per_unit.sum(0))) < 2:
        raise ValueError("agreement is undefined; it needs units with two ratings or more, and two different values")
    totals = per_unit.sum(0)
    weights = 1 / (per_unit.sum(1) - 1)
    coincidence = (per_unit * weights[:, None]).T @ per_unit - np.diag((per_unit * weights[:, None]).sum(0))
    if level == "nominal":
        distance = 1 - np.eye(len(values))
    else:
        scale = values if level == "interval" else np.cumsum(totals) - totals / 2
        distance = (scale[:, None] - scale) ** 2
    expected = (np.outer(totals, totals) * distance).sum() / (totals.sum() - 1)
    return float(1 - (coincidence * distance).sum() / expected)
