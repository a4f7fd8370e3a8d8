"""Terms of a comparison: which views pull which way, under which labels, how hard.

Every method here is a choice of terms. Shapes: B comparisons, V views, K terms, F latent frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

LossType = Literal["sigmoid", "ipo", "hinge"]  # of the margin between views
OwnLoss = Literal["error", "excess"]  # of a view by itself
TermLoss = LossType | OwnLoss
Reduction = Literal["clip", "segment", "sum_inside"]
ALONE: frozenset[TermLoss] = frozenset(get_args(OwnLoss))


def check_labels(labels: Sequence[int], place: str) -> None:
    """Raises ValueError: a label that is none of +1, -1 and 0."""
    if wrong := [label for label in labels if label not in (-1, 0, 1)]:
        raise ValueError(f"{place}: labels must be +1, -1 or 0, got {wrong[0]}")


def check_word(place: str, word: str, words: Sequence[str]) -> None:
    """Raises ValueError: a word that is none of the words."""
    if word not in words:
        raise ValueError(f"{place} must be one of {', '.join(words)}, got {word!r}")


def check_weight(place: str, weight: float) -> None:
    """Raises ValueError: a weight below 0, whose term would not count."""
    if not weight >= 0:
        raise ValueError(f"{place} must be 0 or more, got {weight}")


def check_smoothing(place: str, smoothing: float) -> None:
    """Raises ValueError: a label that would be wrong as often as right."""
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"{place} must be in [0, 0.5), got {smoothing}")


def check_beta(place: str, beta: float) -> None:
    """Raises ValueError: a beta of 0 or below, under which the loser would win."""
    if not beta > 0:
        raise ValueError(f"{place} must be above 0, got {beta}")


@dataclass(frozen=True)
class Term:
    """One term of a comparison. Raises ValueError: a field out of its range."""

    level: str  # name under which it is logged and averaged ("clip", "segment", "state", ...)
    # one per view, positive for what should win; they sum to zero unless `loss_type` is one of `ALONE`
    coefficients: tuple[float, ...]
    # one per latent frame: +1 as the coefficients say, -1 the other way round, 0 not scored. A clip label is the same
    # label on every frame
    labels: tuple[int, ...]
    beta: float = 0.0  # strength per mean squared error, with the one-half: 500 and 5000 mean what the papers mean
    weight: float = 1.0  # share in the comparison's loss
    # "sigmoid" (DPO), "ipo" or "hinge" (see `rushes.objectives.loss_types`); "error" for the policy's own error
    # (supervised); "excess" for max(0, D), how far the error lies above the reference's
    loss_type: TermLoss = "sigmoid"
    # frames are averaged before the loss ("clip") or after it ("segment"), or summed before it ("sum_inside")
    reduction: Reduction = "clip"
    smoothing: float = 0.0  # probability in [0, 1/2) that a label is wrong
    # whether errors are taken relative to the reference; without it the margin is on the policy's own
    reference: bool = True

    def __post_init__(self) -> None:
        place = f"Term {self.level!r}"
        if not self.labels:
            raise ValueError(f"{place}: give a label for each latent frame, one or more")
        check_labels(self.labels, place)
        check_word(f"{place}: loss_type", self.loss_type, (*get_args(LossType), *get_args(OwnLoss)))
        check_word(f"{place}: reduction", self.reduction, get_args(Reduction))
        check_weight(f"{place}: weight", self.weight)
        check_smoothing(f"{place}: smoothing", self.smoothing)
        if self.loss_type in ALONE:
            if self.reduction != "clip":
                raise ValueError(
                    f"{place}: reduction must be 'clip' where loss_type is {self.loss_type!r}, got {self.reduction!r}"
                )
            return
        if not abs(sum(self.coefficients)) < 1e-6:
            raise ValueError(f"{place}: coefficients must sum to zero, got {self.coefficients}")
        check_beta(f"{place}: beta", self.beta)

    @property
    def form(self) -> tuple[str, TermLoss, Reduction]:
        """What terms of one level share."""
        return self.level, self.loss_type, self.reduction


@dataclass(frozen=True)
class TermBatch:
    """Terms of B comparisons as tensors; padded terms have weight and labels zero.

    Terms of one level share its loss type and reduction; a comparison may lack some.
    """

    forms: tuple[tuple[str, TermLoss, Reduction], ...]  # one per term column
    coefficients_BKV: Tensor
    labels_BKF: Tensor
    beta_BK: Tensor
    weight_BK: Tensor
    smoothing_BK: Tensor
    reference_BK: Tensor  # 1 where the reference's error is subtracted, else 0

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
        return any(
            bool(self.reference_BK[:, k].any())
            for k, (_, loss_type, _) in enumerate(self.forms)
            if loss_type != "error"
        )

    def __getitem__(self, rows: slice | Tensor) -> TermBatch:
        return self._each(lambda value: value[rows])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TermBatch:
        """The same terms on a device, in a precision."""
        return self._each(lambda value: value.to(device=device, dtype=dtype))

    def _each(self, change: Callable[[Tensor], Tensor]) -> TermBatch:
        changed: dict[str, Any] = {name: change(part) for name, part in vars(self).items() if isinstance(part, Tensor)}
        return replace(self, **changed)

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
    """Terms of several comparisons -> one batch; what a comparison lacks is padded with terms that count nothing, and
    frames that a shorter clip lacks with ones that are not scored.

    Columns go by level, in the order in which levels first appear, as many for each as the comparison with the most
    terms of it has. A level has one loss type and one reduction.

    Raises ValueError: a term of more views or frames than there are, or a level of two loss types or reductions.
    """
    most: Counter[tuple[str, TermLoss, Reduction]] = Counter()
    for row in terms:
        most |= Counter(term.form for term in row)
    forms = tuple(most.elements())
    levels = Counter(level for level, _, _ in most)
    if len(levels) != len(most):
        raise ValueError(
            f"collate: terms of level {levels.most_common(1)[0][0]!r} differ in loss_type or reduction; give them two "
            "levels"
        )
    start = {form: forms.index(form) for form in most}
    shape = (len(terms), len(forms))
    batch = TermBatch(
        forms,
        coefficients_BKV=torch.zeros(*shape, views),
        labels_BKF=torch.zeros(*shape, frames),
        beta_BK=torch.zeros(shape),
        weight_BK=torch.zeros(shape),
        smoothing_BK=torch.zeros(shape),
        reference_BK=torch.zeros(shape),
    )
    for b, row in enumerate(terms):
        filled: Counter[tuple[str, TermLoss, Reduction]] = Counter()
        for term in row:
            _check_room(term, views, frames)
            k = start[term.form] + filled[term.form]
            filled[term.form] += 1
            batch.coefficients_BKV[b, k, : len(term.coefficients)] = torch.tensor(term.coefficients)
            batch.labels_BKF[b, k, : len(term.labels)] = torch.tensor(term.labels, dtype=torch.float32)
            batch.beta_BK[b, k], batch.weight_BK[b, k] = term.beta, term.weight
            batch.smoothing_BK[b, k], batch.reference_BK[b, k] = term.smoothing, float(term.reference)
    return batch


def _check_room(term: Term, views: int, frames: int) -> None:
    for what, has, name, most in (
        ("coefficients", len(term.coefficients), "views", views),
        ("labels", len(term.labels), "frames", frames),
    ):
        if has > most:
            raise ValueError(
                f"collate: a term of {term.level!r} has {has} {what}, but {name} is {most}; give the number of its clip"
            )


def frame_labels(frames: int | Sequence[int]) -> tuple[int, ...]:
    """A label for each latent frame: those given, or of a number of frames all scored (1).

    Raises ValueError: a number below 1.
    """
    if isinstance(frames, int) and frames < 1:
        raise ValueError(f"frames must be 1 or more, got {frames}; give the latent frames of a clip, or their labels")
    return (1,) * frames if isinstance(frames, int) else tuple(frames)


def one_against_each(
    losers: int, frames: int | Sequence[int], beta: float, *, level: str = "clip", unused: float = 0.0
) -> tuple[Term, ...]:
    """View 0 against each of the views 1 .. N, averaged: a term of weight 1 / N for each loser.

    Args:
        losers: N.
        frames: latent frames F, all of them scored; or a label for each, 0 for those that are not scored.
        beta: strength per mean squared error, with the one-half.
        level: name under which the terms are logged.
        unused: coefficient of the losers that a term is not about, +0 or -0; the two differ in a run's hash alone.

    Raises ValueError: no loser, no frame, a label that is none, or a beta that is not above 0.
    """
    if losers < 1:
        raise ValueError(f"a comparison needs a loser, one or more, got {losers}; leave out a clip that has none")
    labels = frame_labels(frames)
    return tuple(
        Term(level, (1.0, *(-1.0 if j == k else unused for j in range(losers))), labels, beta, weight=1 / losers)
        for k in range(losers)
    )
