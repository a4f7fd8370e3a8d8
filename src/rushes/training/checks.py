"""What must hold before a step is spent: winners and losers went through the same path."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.comparison import Comparison

LEAST_CORRELATION = 0.9
SPREADS = (0.8, 1.25)  # of a latent frame that shows the same picture, loser over winner


def check_latents(comparisons: Sequence[Comparison], latents: LatentStore) -> None:
    """Refuse comparisons whose views start from the same picture and do not show it in their latents.

    RealDPO's released loader encodes losers without normalising their pixels; first-frame latents of winner and loser
    then correlate at 0.59 where they should be near 1, and the two are trivially told apart.

    Raises:
        ValueError: names the clip, both figures and the remedy.
    """
    for comparison in comparisons:
        for view in comparison.views:
            if not view.first_frame:
                continue
            given, own = latents.get(first_frame_key(view.first_frame)), latents.get(view.media)
            assert given is not None and own is not None
            problem = same_picture(given[:, 0], own[:, 0])
            if problem:
                raise ValueError(
                    f"comparison {comparison.id}: the {view.source} clip {view.media[:12]} does not start from its "
                    f"given first frame ({problem}): one of them was encoded without normalising pixels, or at another "
                    f"size or crop; encode both through `rushes train`, or leave this clip out"
                )


def same_picture(one_CHW: torch.Tensor, other_CHW: torch.Tensor) -> str:
    """Why two latents of one picture are not that; empty where they are."""
    one, other = one_CHW.float().flatten(), other_CHW.float().flatten()
    if torch.equal(one, other):  # also where both are flat, which have no correlation
        return ""
    correlation = float(torch.corrcoef(torch.stack([one, other]))[0, 1])
    spread = float(other.std() / one.std().clamp(min=1e-9))
    if correlation < LEAST_CORRELATION:
        return f"their latents correlate at {correlation:.2f}, which should be above {LEAST_CORRELATION}"
    if not SPREADS[0] < spread < SPREADS[1]:
        return f"their latents' spreads differ by a factor of {spread:.2f}, which should be near 1"
    return ""
