"""Links: a logit -> a loss. The logit is -(beta / 2) sum_v a_v D_v; above zero the right side wins.

What is known of each on video is said with it. A link is chosen for a whole run by `train.objective.loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional


def sigmoid(logit: Tensor) -> Tensor:
    """-log sigmoid(x): ln 2 at x = 0, falling for ever (Diffusion-DPO, arXiv 2311.12908, equation 14).

    Evidence for video: RealDPO, DenseDPO, PhysHPO, HuViDPO, VideoDPO and VideoAlign all report gains with it.
    """
    return -functional.logsigmoid(logit)


def ipo(logit: Tensor) -> Tensor:
    """(x - 1/2)^2: 1/4 at x = 0, least at x = 1/2, rising after it (IPO, arXiv 2310.12036, equation 17, times beta^2).

    With h = x / beta the published form is (h - 1 / (2 beta))^2. The factor beta^2 leaves its minimum where it is and
    makes the first gradient, -1 per logit, of the size of the sigmoid one's, -1/2, whatever beta is.

    Evidence for video: none known. (diffusers' example script offers it; that branch reads an argument that is not
    there.)
    """
    return (logit - 0.5) ** 2


def hinge(logit: Tensor) -> Tensor:
    """max(0, 1 - x): 1 at x = 0, no gradient from x = 1 on (SLiC-HF, arXiv 2305.10425).

    Evidence for video: none known.
    """
    return torch.relu(1 - logit)


LOSS_TYPES: Mapping[str, Callable[[Tensor], Tensor]] = {"sigmoid": sigmoid, "ipo": ipo, "hinge": hinge}


def smoothed(loss_type: str, logit: Tensor, smoothing_B: Tensor) -> Tensor:
    """The loss expected if each label is wrong with probability s: (1 - s) f(x) + s f(-x).

    With the sigmoid link this is conservative DPO (https://ericmitchell.ai/cdpo.pdf): its gradient vanishes at the
    logit log((1 - s) / s) instead of never. Evidence for video: none known; DenseDPO does measure what wrong labels
    cost (a fifth of them flipped costs little, two fifths most of the gain).

    Args:
        loss_type: one of `LOSS_TYPES`.
        logit: B x anything.
        smoothing_B: s of each comparison, in [0, 1/2).
    """
    f = LOSS_TYPES[loss_type]
    # Without a branch on s, which would wait for a GPU: at s = 0 the second part adds an exact zero.
    s = smoothing_B.reshape(-1, *[1] * (logit.ndim - 1))
    return (1 - s) * f(logit) + s * f(-logit)
