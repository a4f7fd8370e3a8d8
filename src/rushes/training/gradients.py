"""From a batch to gradients: one graph for all views, or one view's activations at a time with the same gradient.

The loss depends on the network only through the errors e[v, f], so its gradient is the sum over views of c[v, f] times
the gradient of e[v, f], with c = dL/de. Three ways to get it, equal up to rounding:

- joint: one graph over all views, or over those of a few comparisons at a time.
- stash: view by view. A view whose c depends on errors not yet known is backpropagated along the direction of its
  frames, its gradient is kept, and added times one number once that is known. No extra pass; one stash of the size of
  the trainable weights per waiting view. With the winner first, a pair or N losers have one.
- two_pass: view by view. A view whose c is not yet known runs without a graph, and again with one when it is.

`stash` falls back to a second pass for views whose frames may get different signs (labels per segment).

Where weights are sharded over processes, each pass gathers them from all, so every process must take the same passes
(`GradientPlan.passes`), and a process without rows for one goes along with a stand-in. Each of two experts has passes
of its own. Rows that do not fit at once go through twice, a few at a time (`rows`): a stash would hold gradients that
were never added up.

With `losers` what pushes an error up is added to a second set of gradients, which `rushes.training.gradient_surgery`
scales. No forward is added, and a backward only for a view that is pulled down in some frames and pushed up in others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rushes.backbones.base import Backbone
from rushes.noise.paths import NoisePath
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import ALONE, TermBatch, collate
from rushes.training.batches import Batch
from rushes.training.comparison import Comparison
from rushes.training.gradient_surgery import LoserGradients
from rushes.training.memory import (
    AUTO,
    GradientMode,
    GradientPlan,
    GradientStrategy,
    ShardedPass,
    activation_mib,
    budget_mib,
    latent_shape,
)

# A coefficient below this changes no weight's last bit. Behind it come numbers too small for float32's exponent, with
# which a processor is several times slower: what a saturated comparison would cost for nothing.
LEAST = 1e-20

RowSelection = slice | list[int]


def row_errors(backbone: Backbone, batch: Batch, rows: RowSelection = slice(None)) -> Tensor:
    """Mean squared error [R, F] of the prediction over C, H and W, in float32 or finer whatever the model's dtype.

    On the processor, wherever the network is: all that comes after it is a few numbers.
    """
    prediction, target = predictions(backbone, batch, rows)
    return ((prediction - target) ** 2).mean(dim=(1, 3, 4)).cpu()


def predictions(backbone: Backbone, batch: Batch, rows: RowSelection = slice(None)) -> tuple[Tensor, Tensor]:
    """What the network predicts of some rows and what it should [R, C, F, H, W], in float32 or finer."""
    path: NoisePath = backbone.spec.path
    clean, noise, t = batch.clean_RCFHW[rows], batch.noise_RCFHW[rows], batch.t_RF[rows]
    prediction = backbone.predict(path.mix(clean, noise, t), t, batch.condition[rows])
    wide = torch.promote_types(prediction.dtype, torch.float32)
    return prediction.to(wide), path.target(clean, noise, t).to(wide)


@torch.no_grad()
def plain_errors(backbone: Backbone, batch: Batch, strategy: GradientStrategy | GradientMode = AUTO) -> Tensor:
    """Errors [B, V, F] without a graph, by the same forwards as `backward` takes: equal weights give equal bits."""
    plan = (strategy if isinstance(strategy, GradientStrategy) else GradientStrategy(strategy)).plan(batch)
    if plan.passes:
        return _placed(batch, plan.passes, [_pass_errors(backbone, batch, each) for each in plan.passes])
    if not batch.place:
        return no_errors(batch)
    if plan.mode == "joint":
        parts = [row_errors(backbone, part) for _, part in batch.parts(plan.together)]
    else:
        parts = [row_errors(backbone, batch, slice(row, row + 1)) for row in range(len(batch.place))]
    return batch.scatter(torch.cat(parts))


def no_errors(batch: Batch) -> Tensor:
    """Errors [B, V, F] before any is known."""
    return torch.zeros(len(batch.terms.coefficients_BKV), batch.views, batch.clean_RCFHW.shape[2])


def backward(
    backbone: Backbone,
    batch: Batch,
    reference_BVF: Tensor,
    strategy: GradientStrategy | GradientMode = AUTO,
    counts: Mapping[str, Tensor] | None = None,
    losers: LoserGradients | None = None,
) -> tuple[Tensor, ViewErrors]:
    """Add the gradient of the batch's loss to the trainable weights.

    Args:
        backbone: the policy.
        batch: views and terms.
        reference_BVF: errors of the reference; zeros where no term asks for them.
        strategy: how the gradient is taken; see the module.
        counts: see `rushes.objectives.losses.loss`.
        losers: receives the gradient of what pushes errors up, in place of the weights.

    Returns:
        The loss and the errors, detached.
    """
    counts = batch.terms.counts() if counts is None else counts
    plan = (strategy if isinstance(strategy, GradientStrategy) else GradientStrategy(strategy)).plan(batch)
    if plan.passes:
        return _by_pass(backbone, batch, reference_BVF, plan, counts)
    if not batch.place:
        return torch.zeros(()), ViewErrors(no_errors(batch), reference_BVF)
    if plan.mode != "joint":
        return _ViewByView(
            backbone, batch, reference_BVF, counts=counts, stash=plan.mode == "stash", losers=losers
        ).run()
    value, policy = torch.zeros(()), []
    for span, part in batch.parts(plan.together):
        policy_BVF = part.scatter(row_errors(backbone, part))
        policy.append(policy_BVF.detach())
        own, coefficients_BVF = _coefficients(ViewErrors(policy[-1], reference_BVF[span]), part.terms, counts)
        _pull(policy_BVF, coefficients_BVF, losers)
        value = value + own
    return value, ViewErrors(torch.cat(policy), reference_BVF)


def _by_pass(
    backbone: Backbone, batch: Batch, reference_BVF: Tensor, plan: GradientPlan, counts: Mapping[str, Tensor]
) -> tuple[Tensor, ViewErrors]:
    """Sharded weights: passes that are the same in all processes, whatever their comparisons are.

    Where all rows fit at once each graph is kept until its coefficients are known, one for each expert; else all rows
    go through without a graph first.
    """
    once = plan.mode == "joint"
    with torch.set_grad_enabled(once):
        graphs = [_pass_errors(backbone, batch, each) for each in plan.passes]
    errors = ViewErrors(_placed(batch, plan.passes, graphs), reference_BVF)
    value, coefficients_BVF = _coefficients(errors, batch.terms, counts)
    for each, graph in zip(plan.passes, graphs, strict=True):
        errors_RF = graph if once else _pass_errors(backbone, batch, each)
        b, v = torch.tensor([batch.place[row] for row in each.rows], dtype=torch.long).view(-1, 2).T
        coefficients_RF = coefficients_BVF[b, v] if each.rows else torch.zeros_like(errors_RF)
        torch.autograd.backward(errors_RF, coefficients_RF)
    return value, errors


def _pass_errors(backbone: Backbone, batch: Batch, each: ShardedPass) -> Tensor:
    """Errors [R, F] of a pass's rows, or of the stand-in, which counts nothing."""
    return row_errors(backbone, batch, [*each.rows]) if each.rows else row_errors(backbone, batch.stand_in(each.time))


def _placed(batch: Batch, passes: Sequence[ShardedPass], errors: Sequence[Tensor]) -> Tensor:
    """Errors of passes -> [B, V, F]; those of stand-ins count nothing."""
    rows = [row for each in passes for row in each.rows]
    own = [errors_RF.detach() for each, errors_RF in zip(passes, errors, strict=True) if each.rows]
    return batch.scatter(torch.cat(own), rows) if own else no_errors(batch)


def measured_strategy(
    backbone: Backbone, batches: Iterable[Batch], mode: GradientMode, memory_mb: int = 0, to_come_mib: float = 0.0
) -> GradientStrategy:
    """What the choice between the ways is made from: one view of each batch goes through the network and back.

    Args:
        backbone: the network.
        batches: one of each shape.
        mode: `train.gradients`.
        memory_mb: `train.memory_mb`.
        to_come_mib: memory that will be held all the time and is not yet, such as the optimiser's moments.
    """
    if mode != "auto":
        return GradientStrategy(mode)
    taken, device = dict[str, float](), torch.device("cpu")
    for batch in batches:
        taken[latent_shape(batch)] = activation_mib(backbone.network, partial(row_errors, backbone, batch, slice(0, 1)))
        device = batch.clean_RCFHW.device
    budget = budget_mib(device, memory_mb, to_come_mib)
    return GradientStrategy(mode, max(taken.values()), budget, by_shape=taken if len(taken) > 1 else {})


def _coefficients(errors: ViewErrors, terms: TermBatch, counts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The loss and dL/de [B, V, F]."""
    policy = errors.policy_BVF.clone().requires_grad_()
    value = loss(ViewErrors(policy, errors.reference_BVF), terms, counts)
    (gradient,) = torch.autograd.grad(value, policy)
    return value.detach(), torch.where(gradient.abs() < LEAST, 0.0, gradient)


def _pull(errors: Tensor, coefficients: Tensor, losers: LoserGradients | None) -> None:
    """Backpropagate errors by their coefficients; those that push errors up into `losers`, if it is there."""
    if losers is None:
        torch.autograd.backward(errors, coefficients)
        return
    up = coefficients < 0
    if not up.all():
        torch.autograd.backward(errors, coefficients.clamp(min=0), retain_graph=bool(up.any()))
    if up.any():
        with losers.filling():
            torch.autograd.backward(errors, coefficients.clamp(max=0))


@dataclass(eq=False)
class _ViewByView:
    """One comparison after the other, one view after the other."""

    backbone: Backbone
    batch: Batch
    reference_BVF: Tensor
    counts: Mapping[str, Tensor]
    stash: bool
    losers: LoserGradients | None

    def __post_init__(self) -> None:
        self.policy_BVF = torch.zeros_like(self.reference_BVF)
        self.trained = [p for p in self.backbone.network.parameters() if p.requires_grad]

    def run(self) -> tuple[Tensor, ViewErrors]:
        for b in range(len(self.reference_BVF)):
            self._comparison(b, [r for r, place in enumerate(self.batch.place) if place[0] == b])
        errors = ViewErrors(self.policy_BVF, self.reference_BVF)
        return loss(errors, self.batch.terms, self.counts), errors

    def _comparison(self, b: int, rows: list[int]) -> None:
        terms = self.batch.terms[b : b + 1]
        partners = _partners(terms)
        seen: set[int] = set()
        waiting: list[tuple[int, Callable[[Tensor], None]]] = []
        for row in rows:
            v = self.batch.place[row][1]
            seen.add(v)
            if partners[v] <= seen:
                errors_F = self._errors(b, v, row)
                _pull(errors_F, self._reference_errors(b)[v], self.losers)
                continue
            direction_F = _direction(terms, v) if self.stash else None
            if self.losers is not None and direction_F is not None and direction_F.min() < 0 < direction_F.max():
                direction_F = None  # one gradient cannot be cut into the two that are kept apart
            finish = self._later(b, v, row) if direction_F is None else self._stash(b, v, row, direction_F)
            waiting.append((v, finish))
        for v, finish in waiting:
            finish(self._reference_errors(b)[v])

    def _errors(self, b: int, v: int, row: int) -> Tensor:
        errors_F = row_errors(self.backbone, self.batch, slice(row, row + 1))[0]
        self.policy_BVF[b, v] = errors_F.detach()
        return errors_F

    def _reference_errors(self, b: int) -> Tensor:
        """dL/de of comparison b at the errors known so far, [V, F]."""
        errors = ViewErrors(self.policy_BVF[b : b + 1], self.reference_BVF[b : b + 1])
        return _coefficients(errors, self.batch.terms[b : b + 1], self.counts)[1][0]

    def _stash(self, b: int, v: int, row: int, direction_F: Tensor) -> Callable[[Tensor], None]:
        along = (self._errors(b, v, row) * direction_F).sum()
        stashed = torch.autograd.grad(along, self.trained, allow_unused=True)

        def finish(coefficients_F: Tensor) -> None:
            scale = (coefficients_F * direction_F).sum() / (direction_F**2).sum()
            apart = self.losers is not None and coefficients_F.min() < 0
            with self.losers.filling() if self.losers is not None and apart else nullcontext():
                for p, g in zip(self.trained, stashed, strict=True):
                    if g is not None:
                        p.grad = g * scale if p.grad is None else p.grad.add_(g * scale)

        return finish

    def _later(self, b: int, v: int, row: int) -> Callable[[Tensor], None]:
        with torch.no_grad():
            self._errors(b, v, row)

        def finish(coefficients_F: Tensor) -> None:
            errors_F = row_errors(self.backbone, self.batch, slice(row, row + 1))[0]
            _pull(errors_F, coefficients_F, self.losers)

        return finish


def waiting_views(comparison: Comparison) -> int:
    """Views that go through the network before all they are compared with have: `two_pass` takes them once more."""
    terms = collate([comparison.terms], len(comparison.views), len(comparison.terms[0].labels))
    return sum(any(other > view for other in partners) for view, partners in enumerate(_partners(terms)))


def _partners(terms: TermBatch) -> list[set[int]]:
    """For each view the views that share a term with it, itself included; of a batch of one comparison."""
    together = [set(row.nonzero().flatten().tolist()) for row in terms.coefficients_BKV[0]]
    return [set().union({v}, *(t for t in together if v in t)) for v in range(terms.coefficients_BKV.shape[-1])]


def _direction(terms: TermBatch, v: int) -> Tensor | None:
    """The frames through which view v enters, if it enters every term through one and the same number; else None."""
    columns = terms.coefficients_BKV[0, :, v].nonzero().flatten().tolist()
    if any(terms.forms[k][2] == "segment" for k in columns):
        return None
    labels_KF = terms.labels_BKF[0, columns]
    unsigned = torch.tensor([terms.forms[k][1] in ALONE for k in columns])  # an own error has no other way round
    labels_KF = torch.where(unsigned[:, None], labels_KF.abs(), labels_KF)
    labels_KF = labels_KF[labels_KF.abs().sum(-1) > 0]
    if not len(labels_KF):
        return torch.ones(terms.labels_BKF.shape[-1])
    first = labels_KF[0]
    same = all(torch.equal(row, first) or torch.equal(row, -first) for row in labels_KF)
    return first if same else None
