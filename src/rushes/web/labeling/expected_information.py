"""Which pair is worth a label next: Bradley-Terry with ties, and how much one more answer would tell.

In a group of K clips that answer one request each clip has a strength s, normal with mean 0 and variance 1 before any
label. With d = s_i - s_j, Davidson (1970) gives the chances of a win, a loss and a tie as

    exp(d / 2) : exp(-d / 2) : 1

where the 1 makes a tie between equals as likely as either win. After some labels the strengths are normal around the
most likely ones (Laplace). One more label of (i, j) is then worth `log(1 + I(d) v) / 2` nats, where v is the variance
of d and I(d) what one comparison tells of d: much where the two are close and little is known, little where it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rushes.arrays import Floats

_ROUNDS = 12
_SETTLED = 1e-6


def gains(wins: ArrayLike, ties: ArrayLike) -> Floats:
    """What one more label of each pair is worth in nats, [G, K, K], symmetric; the diagonal is 0.

    `wins[g, i, j]` counts how often i beat j in group g, `ties[g, i, j] = ties[g, j, i]` how often neither did.
    """
    won, tied = np.asarray(wins, float), np.asarray(ties, float)
    size = won.shape[-1]
    played = won + won.swapaxes(-1, -2) + tied
    strength = np.zeros(won.shape[:-1])
    prior = np.eye(size)
    for _ in range(_ROUNDS):
        expected, information = _moments(strength)
        gradient = ((won - won.swapaxes(-1, -2)) / 2 - played * expected / 2).sum(-1) - strength
        precision = prior + _laplacian(played * information)
        step = np.linalg.solve(precision, gradient[..., None])[..., 0]
        strength = strength + step
        if np.abs(step).max(initial=0.0) < _SETTLED:
            break
    _, information = _moments(strength)
    covariance = np.linalg.inv(prior + _laplacian(played * information))
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    variance = own[..., :, None] + own[..., None, :] - 2 * covariance
    return np.asarray(np.log1p(information * np.maximum(variance, 0.0)) / 2)


def _moments(strength: Floats) -> tuple[Floats, Floats]:
    """Mean outcome in [-1, 1] and information on the difference, [G, K, K], at these strengths [G, K]."""
    difference = strength[..., :, None] - strength[..., None, :]
    win, loss = np.exp(difference / 2), np.exp(-difference / 2)
    total = win + loss + 1
    mean = (win - loss) / total
    return mean, ((win + loss) / total - mean**2) / 4


def _laplacian(weights: Floats) -> Floats:
    summed = weights.sum(-1)
    return np.asarray(summed[..., None] * np.eye(weights.shape[-1]) - weights)
