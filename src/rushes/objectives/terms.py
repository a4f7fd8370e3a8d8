"""Terms of a comparison: which views pull which way, under which labels, how hard.

Every method here is a choice of terms. Shapes: B comparisons, V views, K terms, F latent frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Link = Literal["logistic", "error"]
Reduction = Literal["clip", "segment", "sum_inside"]


@dataclass(frozen=True)
class Term:
    """One term of a comparison.

    Attributes:
        level: name under which it is logged and averaged ("clip", "segment", "state", ...).
        coefficients: one per view, positive for what should win; they sum to zero unless the link is "error".
        labels: one per latent frame: +1 as the coefficients say, -1 the other way round, 0 not scored. A clip label is
            the same label on every frame.
        beta: strength per mean squared error, with the one-half: 500 and 5000 mean what the papers mean.
        weight: share in the comparison's loss.
        link: "logistic" (DPO), or "error" for the policy's own error without a reference (supervised).
        reduction: frames are averaged before the link ("clip") or after it ("segment"), or summed before it
            ("sum_inside").
    """

    level: str
    coefficients: tuple[float, ...]
    labels: tuple[int, ...]
    beta: float = 0.0
    weight: float = 1.0
    link: Link = "logistic"
    reduction: Reduction = "clip"

    def __post_init__(self) -> None:
        assert set(self.labels) <= {-1, 0, 1}, self.labels
        if self.link == "error":
            assert self.reduction == "clip", f"the error of {self.level} is a mean over frames"
        else:
            assert abs(sum(self.coefficients)) < 1e-6, f"coefficients of {self.level} must sum to zero"
            assert self.beta > 0, f"beta of {self.level} must be positive"

    @property
    def form(self) -> tuple[str, Link, Reduction]:
        """What terms of one level share."""
        return self.level, self.link, self.reduction


@dataclass(frozen=True)
class TermBatch:
    """Terms of B comparisons as tensors; padded terms have weight and labels zero."""

    forms: tuple[tuple[str, Link, Reduction], ...]  # one per term column
    coefficients_BKV: Tensor
    labels_BKF: Tensor
    beta_BK: Tensor
    weight_BK: Tensor

    @property
    def levels(self) -> tuple[str, ...]:
        """Distinct level names, in order."""
        return tuple(dict.fromkeys(level for level, _, _ in self.forms))

    @property
    def scored_BKF(self) -> Tensor:
        """Which frames count in which terms."""
        return (self.labels_BKF != 0) & (self.weight_BK > 0)[..., None]

    @property
    def needs_reference(self) -> bool:
        """Whether any term compares with the reference."""
        return any(link != "error" for _, link, _ in self.forms)

    def __getitem__(self, rows: slice) -> TermBatch:
        return TermBatch(
            self.forms,
            self.coefficients_BKV[rows],
            self.labels_BKF[rows],
            self.beta_BK[rows],
            self.weight_BK[rows],
        )

    def counts(self) -> dict[str, Tensor]:
        """What each level's sum is divided by: scored frames for "segment", else comparisons with a scored frame.

        Several terms of a level share a frame or a comparison by their weights, so it counts once.
        """
        counts = {}
        for level in self.levels:
            columns = [k for k, form in enumerate(self.forms) if form[0] == level]
            part_BF = self.scored_BKF[:, columns].any(1)
            by_frame = self.forms[columns[0]][2] == "segment"
            counts[level] = part_BF.sum() if by_frame else part_BF.any(-1).sum()
        return counts


def collate(terms: Sequence[Sequence[Term]], views: int, frames: int) -> TermBatch:
    """Terms of several comparisons -> one batch; shorter comparisons are padded with terms that count nothing.

    Column k must have the same level, link and reduction in every comparison that has it, and a level one link and one
    reduction.
    """
    longest = max(len(row) for row in terms)
    forms = tuple(next(row for row in terms if len(row) > k)[k].form for k in range(longest))
    assert len(set(forms)) == len({level for level, _, _ in forms}), f"a level of {forms} has two links or reductions"
    coefficients = torch.zeros(len(terms), longest, views)
    labels = torch.zeros(len(terms), longest, frames)
    beta, weight = torch.zeros(len(terms), longest), torch.zeros(len(terms), longest)
    for b, row in enumerate(terms):
        for k, term in enumerate(row):
            assert term.form == forms[k], f"{term.form} does not fit {forms[k]}"
            coefficients[b, k, : len(term.coefficients)] = torch.tensor(term.coefficients)
            labels[b, k] = torch.tensor(term.labels, dtype=torch.float32)
            beta[b, k], weight[b, k] = term.beta, term.weight
    return TermBatch(forms, coefficients, labels, beta, weight)
