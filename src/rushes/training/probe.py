"""Figures beside the loss: of held-out comparisons at draws that never change, and of the expert that was asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rushes.backbones.base import Backbone
from rushes.objectives.diagnostics import Decisions, comparing, decisions, diagnose, side_errors
from rushes.objectives.losses import ViewErrors, loss
from rushes.objectives.terms import TermBatch, collate
from rushes.stats import Interval, mean_interval, win_rate
from rushes.training.batches import Batch, MakeBatch
from rushes.training.beta import scaled
from rushes.training.comparison import Comparison, by_shape
from rushes.training.gradients import predictions
from rushes.training.health import EXPERT
from rushes.training.parallel import ALONE, Ranks
from rushes.training.reference import Reference
from rushes.training.reference_predictions import ReferencePredictions

DRAWS = 4  # fixed draws per held-out comparison
POSITIONS = 32_768  # latent positions that go through the network at once: no graph is kept, so this is little memory
NOISE_BINS = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))


@dataclass(frozen=True)
class Probe:
    """Errors of comparisons at fixed draws; P = comparisons times draws."""

    errors: ViewErrors  # [P, V, F]
    terms: TermBatch
    comparisons: tuple[Comparison, ...]  # one for each of P
    t_P: Tensor
    drift: float  # mean squared difference between predictions of policy and reference
    reference_error: float  # mean squared error of the reference, what a drift is large or small beside

    def figures(self) -> dict[str, float]:
        """All figures: those of `rushes.objectives.diagnostics.diagnose`, and by noise level, source and interval."""
        out = {"drift": self.drift, "reference_error": self.reference_error} | diagnose(self.errors, self.terms)
        for level in comparing(self.terms):
            decided = decisions(self.errors, self.terms, level)
            if not len(decided.logits_N):
                continue
            for name, interval in self._intervals(level, decided).items():
                out |= {f"{level}/{name}_low": interval.low, f"{level}/{name}_high": interval.high}
            out |= {f"{level}/{name}": value for name, value in self._parts(decided).items()}
        # With one prompt alone nothing is known about the spread, and JSON has no infinity.
        return {name: value for name, value in out.items() if np.isfinite(value)}

    def _intervals(self, level: str, decided: Decisions) -> dict[str, Interval]:
        """95 % intervals, clustered by prompt or film: four draws of a comparison are not four witnesses."""
        groups = [c.cluster for c in self.comparisons]
        logits = decided.logits_N.double().numpy()
        of = [groups[b] for b in decided.comparison_N.tolist()]
        total_B, weight_B = side_errors(self.errors, self.terms, level, 1)
        there = weight_B > 0
        winner = (total_B[there] / weight_B[there]).double().numpy()
        return {
            "accuracy": win_rate(np.zeros_like(logits), logits, "higher", clusters=of).rate,
            "winner_relative_error": mean_interval(
                winner, clusters=[groups[b] for b in there.nonzero()[:, 0].tolist()]
            ),
        }

    def _parts(self, decided: Decisions) -> dict[str, float]:
        """Accuracy and margin by noise level, margin by the sources of winner and loser, and the size of most logits.

        `typical` is the median size: a few draws at the ends of the noise path outweigh all others in a mean.
        """
        t_N, logits = self.t_P[decided.comparison_N], decided.logits_N
        out = {"typical": float(logits.abs().median())}
        for low, high in NOISE_BINS:
            inside = logits[(t_N >= low) & ((t_N < high) | (high == 1.0))]
            if len(inside):
                name = f"{low:g}-{high:g}"
                out[f"accuracy_by_noise/{name}"] = float(((inside > 0).float() + 0.5 * (inside == 0).float()).mean())
                out[f"margin_by_noise/{name}"] = float(inside.mean())
        by_source = defaultdict(list)
        for at in range(len(logits)):
            b, k = int(decided.comparison_N[at]), int(decided.term_N[at])
            pull_V = (self.terms.coefficients_BKV[b, k] * decided.label_N[at]).tolist()
            by_source[_sides(self.comparisons[b], pull_V)].append(float(logits[at]))
        return out | {f"margin_by_source/{name}": float(np.mean(many)) for name, many in sorted(by_source.items())}


def _sides(comparison: Comparison, pull_V: Sequence[float]) -> str:
    """ "real over take": the sources of the views on either side of a term."""
    pulled = list(zip(comparison.views, pull_V, strict=False))  # a comparison may have fewer views than the widest
    won, lost = ({view.source or "view" for view, pull in pulled if sign * pull > 0} for sign in (1, -1))
    return f"{'+'.join(sorted(won))} over {'+'.join(sorted(lost))}"


@dataclass(frozen=True)
class _ProbeBatch:
    """One batch of a probe."""

    policy_BVF: Tensor
    reference_BVF: Tensor
    t_B: Tensor
    gap: float  # sum of squared differences between predictions, each a mean over C, H and W
    count: int  # of these


def measure(
    backbone: Backbone,
    reference: Reference,
    comparisons: Sequence[Comparison],
    make: MakeBatch,
    at_once: int,
    strength: float = 1.0,
    *,
    ranks: Ranks = ALONE,
    stored: ReferencePredictions | None = None,
) -> Probe | None:
    """Policy and reference on comparisons at `DRAWS` draws each; `at_once` of these make one batch.

    Args:
        backbone: the policy.
        reference: see there.
        comparisons: held-out ones.
        make: batches of them.
        at_once: comparisons at a draw in a batch.
        strength: multiplies every beta.
        ranks: processes that share the batches; each has all weights.
        stored: what a frozen reference predicted before; None = it is asked.

    Returns:
        The probe; None in processes that merely help.
    """
    # Those of one shape together.
    pairs = [(comparisons[at], -1 - draw) for places in by_shape(comparisons) for at in places for draw in range(DRAWS)]
    views, frames = max(len(c.views) for c in comparisons), max(c.frames for c in comparisons)
    cuts = by_shape([comparison for comparison, _ in pairs], at_once)

    @torch.no_grad()
    def of_batch(rows: Sequence[int]) -> _ProbeBatch:
        chosen = [pairs[at] for at in rows]
        batch = make(chosen)
        wider = (0, frames - batch.clean_RCFHW.shape[2], 0, views - batch.views)
        ours, theirs, gap = _both(backbone, reference, batch, chosen, stored)
        starts = [row for row, (_, v) in enumerate(batch.place) if v == 0]
        policy, other = (functional.pad(batch.scatter(errors), wider) for errors in (ours, theirs))
        t_B = batch.t_RF[starts].max(-1).values.cpu()
        return _ProbeBatch(policy, other, t_B, float(gap.double().sum()), gap.numel())

    parts = [part for _, part in ranks.in_rounds(cuts, of_batch)]
    if not ranks.first:
        return None
    # All at once: means of batches' means would count a short last batch, or one with many ties, too much.
    errors = ViewErrors(*(torch.cat([getattr(p, name) for p in parts]) for name in ("policy_BVF", "reference_BVF")))
    terms = scaled(collate([c.terms for c, _ in pairs], views, frames), strength)
    there = errors.reference_BVF[errors.reference_BVF > 0]  # zero where a comparison lacks a view
    drift = sum(part.gap for part in parts) / sum(part.count for part in parts)
    whole, times = tuple(c for c, _ in pairs), torch.cat([part.t_B for part in parts])
    return Probe(errors, terms, whole, t_P=times, drift=drift, reference_error=float(there.mean()))


def _both(
    backbone: Backbone,
    reference: Reference,
    batch: Batch,
    chosen: Sequence[tuple[Comparison, int]],
    stored: ReferencePredictions | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Errors [R, F] of policy and reference, and the mean squared difference of their predictions [R, F].

    Both see the same rows together, so equal weights give equal bits.
    """
    at_once = max(1, POSITIONS // batch.clean_RCFHW[0, 0].numel())
    before = stored.get(batch, chosen) if stored else None
    parts, asked = [], []
    for at in range(0, len(batch.place), at_once):
        rows = slice(at, at + at_once)
        ours, target = predictions(backbone, batch, rows)
        if before is None:
            with reference.applied():
                theirs, _ = predictions(backbone, batch, rows)
            if stored:
                asked.append(theirs.cpu())
        else:
            theirs = torch.empty_like(ours).copy_(before[rows])  # as it lay in memory: sums round by that
        squares = (ours - target, theirs - target, ours - theirs)
        parts.append(torch.stack([(x**2).mean(dim=(1, 3, 4)).cpu() for x in squares]))
    if stored and before is None:
        stored.put(batch, chosen, torch.cat(asked))
    ours, theirs, gap = torch.cat(parts, 1)
    return ours, theirs, gap


HIGH, LOW = "high_noise", "low_noise"  # the expert that answers from the boundary up, and the one below; as in exports
FIGURES = ("loss", "accuracy", "margin", "winner_relative_error", "loser_relative_error")


def per_expert_metrics(errors: ViewErrors, terms: TermBatch, t_B: Tensor, boundary: float) -> dict[str, float]:
    """Figures of each expert, `expert/NAME/...`: `comparisons`, `loss`, and of each level that compares FIGURES.

    All views of a comparison share a time, so one expert answers all of them. NAME is high_noise, which answers from
    the boundary up, or low_noise, as in an export.

    Args:
        errors: of B comparisons.
        terms: of the same.
        t_B: their times.
        boundary: of `BackboneSpec`.
    """
    out: dict[str, float] = {}
    for name, asked_B in ((HIGH, t_B >= boundary), (LOW, t_B < boundary)):
        rows = asked_B.nonzero().flatten()
        if not len(rows):
            continue
        own, of = ViewErrors(errors.policy_BVF[rows], errors.reference_BVF[rows]), terms[rows]
        figures = {"comparisons": float(len(rows)), "loss": float(loss(own, of))}
        figures |= {key: value for key, value in diagnose(own, of).items() if key.rpartition("/")[2] in FIGURES}
        out |= {f"{EXPERT}{name}/{key}": value for key, value in figures.items()}
    return out
