"""Strengths of several systems from comparisons of two at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import norm
from scipy.stats import t as student

from rushes.arrays import Floats
from rushes.stats.intervals import Interval


def bradley_terry(wins_matrix: ArrayLike, ties: ArrayLike | None = None, level: float = 0.95) -> list[Interval]:
    """Log strengths of S systems, mean zero, from wins[i, j] = times i beat j and ties[i, j] = ties[j, i] [S, S].

    A difference of 1 means odds of e to 1 among decided comparisons. Ties follow Davidson (1970): their odds grow
    with the closeness of the two, through one more fitted parameter. Intervals are Wald's, relative to the average
    system; comparisons count as independent. Raises ValueError when no finite maximum exists: a system, or a group
    of them, never lost or never won against the rest.
    """
    wins = np.asarray(wins_matrix, float)
    drawn = np.zeros_like(wins) if ties is None else np.asarray(ties, float)
    _check_comparisons(wins, drawn)
    i, j, counts = _tally(wins, drawn)
    theta, information = _fit(counts, _design(i, j, len(wins), counts.shape[1] == 3))
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    return _strengths(theta, covariance, len(wins), float(norm.ppf((1 + level) / 2)), wins, drawn)


@dataclass(frozen=True)
class Match:
    """One comparison of two systems: +1 the left one won, 0 tie, -1 the right one; `cluster` is usually the prompt."""

    left: str
    right: str
    outcome: int
    cluster: Hashable


def rank_systems(matches: Sequence[Match], level: float = 0.95) -> dict[str, Interval]:
    """Log strengths of systems, the strongest first, as `bradley_terry`, with intervals over clusters.

    The variance is the sandwich over clusters (Liang and Zeger 1986) with the factor k / (k - 1) and Student's t, so
    that four seeds of a prompt do not count as four prompts. One cluster gives infinite intervals. Raises ValueError as
    `bradley_terry` does, and for no matches.
    """
    if not matches:
        raise ValueError("no comparisons to rank the systems by; judge some pairs first")
    systems = list(dict.fromkeys(name for match in matches for name in (match.left, match.right)))
    clusters = {cluster: at for at, cluster in enumerate(dict.fromkeys(match.cluster for match in matches))}
    place, size = {name: at for at, name in enumerate(systems)}, len(systems)
    wins_KSS, ties_KSS = np.zeros((2, len(clusters), size, size))
    for match in matches:
        a, b, k = place[match.left], place[match.right], clusters[match.cluster]
        if match.outcome == 0:
            ties_KSS[k, a, b] += 1
            ties_KSS[k, b, a] += 1
        else:
            wins_KSS[(k, a, b) if match.outcome > 0 else (k, b, a)] += 1
    wins, drawn = wins_KSS.sum(0), ties_KSS.sum(0)
    _check_comparisons(wins, drawn)
    i, j, counts = _tally(wins, drawn)
    design = _design(i, j, size, counts.shape[1] == 3)
    theta, information = _fit(counts, design)
    parts = [_tally(*pair)[2] for pair in zip(wins_KSS, ties_KSS, strict=True)]
    scores_KD = np.stack([_softmax_moments(theta, design, _padded(part, counts.shape[1]))[0] for part in parts])
    k, bread = len(clusters), np.linalg.inv(information)
    spread = bread @ (scores_KD.T @ scores_KD) @ bread * (k / max(1, k - 1))
    quantile = float(student.ppf((1 + level) / 2, k - 1)) if k > 1 else np.inf
    strengths = _strengths(theta, spread, size, quantile, wins, drawn)
    return dict(sorted(zip(systems, strengths, strict=True), key=lambda item: -item[1].value))


def _tally(wins: Floats, drawn: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The pairs i < j of systems, and how often i won, j won, and (where there are ties) neither did [P, 2 or 3]."""
    i, j = np.triu_indices(len(wins), 1)
    counts = np.stack([wins[i, j], wins[j, i], drawn[i, j]], 1)
    return i, j, counts[:, : 2 + bool(drawn.any())]


def _padded(counts: Floats, outcomes: int) -> Floats:
    return np.pad(counts, ((0, 0), (0, outcomes - counts.shape[1])))


def _design(i: NDArray[np.intp], j: NDArray[np.intp], size: int, with_ties: bool) -> Floats:
    """[pairs, outcomes, parameters]; the first system stays at zero, as only differences are identified."""
    one_hot = np.eye(size + with_ties)[:, 1:]
    design = np.stack([one_hot[i], one_hot[j]], 1)
    if with_ties:
        design = np.concatenate([design, design.sum(1, keepdims=True) / 2 + one_hot[-1]], 1)
    return design


def _fit(counts: Floats, design: Floats) -> tuple[Floats, Floats]:
    theta = np.zeros(design.shape[-1])
    for _ in range(200):
        gradient, information = _softmax_moments(theta, design, counts)
        step = np.linalg.solve(information, gradient)
        theta += step / max(1.0, float(np.abs(step).max()))  # at most one unit of log odds at a time
        if np.abs(step).max() < 1e-8:
            return theta, information
    raise AssertionError("Newton's method did not settle on a concave likelihood")


def _strengths(
    theta: Floats, covariance: Floats, size: int, quantile: float, wins: Floats, drawn: Floats
) -> list[Interval]:
    """Strengths relative to the average system, `quantile` standard errors to either side."""
    centre = (np.eye(size) - 1 / size)[:, 1:]
    strengths, variance = centre @ theta[: size - 1], covariance[: size - 1, : size - 1]
    error = np.sqrt(np.diag(centre @ variance @ centre.T))
    half = quantile * error if np.isfinite(quantile) else np.full(size, np.inf)
    played = (wins + wins.T + drawn).sum(1)
    return [
        Interval(float(v), float(v - h), float(v + h), int(n)) for v, h, n in zip(strengths, half, played, strict=True)
    ]


def _check_comparisons(wins: Floats, drawn: Floats) -> None:
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or wins.shape != drawn.shape:
        raise ValueError(f"wins and ties must be square and of one shape, got {wins.shape} and {drawn.shape}")
    if (wins < 0).any() or (drawn < 0).any() or not np.array_equal(drawn, drawn.T):
        raise ValueError("counts must not be negative, and ties[i, j] must equal ties[j, i]")
    if not (wins - np.diag(np.diag(wins))).any():
        raise ValueError("all comparisons are ties, from which strengths cannot be estimated; judge more pairs")
    groups, _ = connected_components(wins + drawn > 0, connection="strong")
    if groups > 1:
        raise ValueError(
            "some systems never lost, never won, or were never compared with the others; compare more prompts or leave "
            "these systems out"
        )


def _softmax_moments(theta: Floats, design: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Gradient and Fisher information of the log likelihood of outcome counts [P, O] under softmax(design @ theta)."""
    logits = design @ theta
    chance = np.exp(logits - logits.max(1, keepdims=True))
    chance /= chance.sum(1, keepdims=True)
    mean = np.einsum("po,pok->pk", chance, design)
    total = counts.sum(1)
    gradient = np.einsum("po,pok->k", counts, design) - total @ mean
    second = np.einsum("p,po,pok,pol->kl", total, chance, design, design)
    return gradient, second - np.einsum("p,pk,pl->kl", total, mean, mean)
