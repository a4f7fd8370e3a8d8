"""RealDPO with the fault of its released loader, as a recipe: losers are not scaled to -1..1 before the codec.

There losers reach the codec as 0..255, whose layers of normalisation take the scale out again in part: latents spread
1.17 times as far as the winners' and their first frames correlate at 0.59. The embedded codec is linear and would give
latents a hundred times as large, so here losers reach it as 0..1. `rushes train` refuses comparisons like these
(`rushes.training.comparison_checks`); as an edit they pass.
"""

from __future__ import annotations

from dataclasses import replace

from rushes.recipes import realdpo
from rushes.recipes.realdpo import Options, account
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid

PAPER, NEEDS, TINY = realdpo.PAPER, realdpo.NEEDS, realdpo.TINY
__all__ = ["NEEDS", "PAPER", "TINY", "Options", "account", "comparisons"]


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """Those of `realdpo`, the takes among their views unscaled."""
    return [
        replace(each, views=(each.views[0], *(replace(view, edit="unscaled") for view in each.views[1:])))
        for each in realdpo.comparisons(store, options, grid)
    ]
