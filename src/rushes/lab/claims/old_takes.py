"""RealDPO on the base's takes, whatever training starts from, as a recipe: what a second round is compared with.

A second round starts from an improved model and compares with its own takes. This one starts there too and goes on with
the takes of the first round, so that the two differ by the takes alone.
"""

from __future__ import annotations

from dataclasses import replace

from rushes.recipes import realdpo
from rushes.recipes.realdpo import Options, account
from rushes.records import BASE
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid

PAPER, NEEDS, TINY = realdpo.PAPER, realdpo.NEEDS, realdpo.TINY
__all__ = ["NEEDS", "PAPER", "TINY", "Options", "account", "comparisons"]


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """Those of `realdpo` as if training started from the base."""
    return realdpo.comparisons(store, options, replace(grid, system=BASE))
