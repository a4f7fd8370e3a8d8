"""What must hold before a step is spent: winners and losers went through the same path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rushes.objectives.terms import ALONE, Term
from rushes.store.latents import LatentStore
from rushes.training.batches import seen
from rushes.training.comparison import Comparison, View

LEAST_CORRELATION = 0.9
LOWEST = 0.7  # correlation that is asked for of any codec; RealDPO's released losers have 0.59
SPREADS = (0.8, 1.25)  # of a latent frame that shows the same picture, loser over winner
MOST_LEFT_OUT = 0.1  # of the comparisons; more is no accident
MEASURED = 16  # first frames that the codec's own round trip is measured on, where any comparison fails


@dataclass(frozen=True)
class Likeness:
    """How alike two latents of one picture must be."""

    correlation: float = LEAST_CORRELATION  # at least this
    spreads: tuple[float, float] = SPREADS  # of the other latent over the one, between these

    def problem(self, one_CHW: Tensor, other_CHW: Tensor) -> str:
        """Why two latents are not of one picture; empty where they are."""
        if torch.equal(one_CHW, other_CHW):  # also where both are flat, which have no correlation
            return ""
        correlation, spread = _figures(one_CHW, other_CHW)
        if correlation < self.correlation:
            return f"their latents correlate at {correlation:.2f}, which should be above {self.correlation:.2g}"
        if not self.spreads[0] < spread < self.spreads[1]:
            return f"their latents' spreads differ by a factor of {spread:.2f}, which should be near 1"
        return ""


def check_latents(
    comparisons: Sequence[Comparison],
    latents: LatentStore,
    clean: bool = True,
    again: Callable[[Tensor], Tensor] | None = None,
) -> tuple[list[Comparison], dict[str, str]]:
    """Leave out what starts from the same picture and does not show it in its latents; refuse where that is systematic.

    RealDPO's released loader encodes losers without normalising their pixels; first-frame latents of winner and loser
    then correlate at 0.59 where they should be near 1, and the two are trivially classified. A model that is not given
    the first frame clean (`clean` false) may start its takes elsewhere, so those that it made here are not looked at.

    A take has been decoded and encoded again, which a codec that compresses strongly does not do without loss. Where
    takes fail, that loss is measured on some of their first frames: it may be twice as large for a take, as its file
    adds some.

    Args:
        comparisons: encoded.
        latents: what their views name.
        clean: see above.
        again: a first frame's latent [C, F, H, W] decoded and encoded again by the codec; None = not to be measured.

    Returns:
        The comparisons without the terms that look at such a clip, those without any term left out; and the problem of
        each comparison that lost terms, by its id.

    Raises:
        ValueError: more than 10 % of the comparisons; names one with its figures and the remedy.
    """
    failing = _failing(comparisons, latents, clean, Likeness(LEAST_CORRELATION))
    if failing and again is not None:
        failing = _failing(comparisons, latents, clean, _reachable(comparisons, failing, latents, again))
    if len(failing) > MOST_LEFT_OUT * len(comparisons):
        id, views = next(iter(failing.items()))
        raise ValueError(
            f"comparison {id}: {next(iter(views.values()))} (so in {len(failing)} of {len(comparisons)} comparisons): "
            "one of the two was encoded without normalising pixels, or at another size or crop; encode both with "
            "`rushes train`, or leave these clips out"
        )
    passed = []
    for comparison in comparisons:
        bad = failing.get(comparison.id, {})
        alive = [term for term in comparison.terms if not any(term.coefficients[v] for v in bad)]
        if alive:
            passed.append(narrowed(comparison, alive) if bad else comparison)
    return passed, {id: next(iter(views.values())) for id, views in failing.items()}


def _failing(
    comparisons: Sequence[Comparison], latents: LatentStore, clean: bool, likeness: Likeness
) -> dict[str, dict[int, str]]:
    """What is wrong with views that do not start from their given first frame, by comparison and view."""
    failing: dict[str, dict[int, str]] = {}
    for comparison in comparisons:
        for v, view in enumerate(comparison.views):
            generated = not clean and view.source not in ("real", "imported")
            if not view.first_frame or view.edit or generated:  # an edit may change the first frame, and is meant to
                continue
            given, own = _given(view, latents), latents.get(view.key)
            assert own is not None
            problem = likeness.problem(given[:, 0], own[:, 0])
            if problem:
                words = (
                    f"the {view.source} clip {view.media[:12]} does not start from its given first frame ({problem})"
                )
                failing.setdefault(comparison.id, {})[v] = words
    return failing


def _reachable(
    comparisons: Sequence[Comparison],
    failing: Mapping[str, Mapping[int, str]],
    latents: LatentStore,
    again: Callable[[Tensor], Tensor],
) -> Likeness:
    """What honest takes can reach: the codec's own round trip of the first frames of some that fail, the median."""
    views = [c.views[v] for c in comparisons for v in failing.get(c.id, ())]
    firsts = list({view.first_frame: view for view in views}.values())
    chosen = [firsts[at * len(firsts) // MEASURED] for at in range(MEASURED)] if len(firsts) > MEASURED else firsts
    given = [_given(view, latents) for view in chosen]
    figures = [_figures(latent[:, 0], again(latent)[:, 0]) for latent in given]
    correlation, spread = (float(median(each)) for each in zip(*figures, strict=True))
    least = max(LOWEST, min(LEAST_CORRELATION, 1 - 2 * (1 - correlation)))
    return Likeness(least, (SPREADS[0] * min(1.0, spread), SPREADS[1] * max(1.0, spread)))


def _given(view: View, latents: LatentStore) -> Tensor:
    given = latents.get(str(view.first))
    assert given is not None
    return given


@dataclass(frozen=True)
class FolderCheck:
    """A folder of latents that another program wrote."""

    losers: int  # files that were read
    problems: tuple[str, ...]  # a sentence for each loser that did not come as its winner did


def check_folder(folder: Path) -> dict[str, str]:
    """Problem of each loser in a folder of latents as RealDPO's released trainer caches them; "" where there is none.

    Winners lie in `video_latent/MODEL/SIZE/NAME.safetensors`, their losers in
    `lose_video_latent/MODEL/SIZE/NAME/0.safetensors`, 1, ...; each file holds one tensor [C, F, H, W], and all of a
    name start from the same picture. Keys of the result are paths below the folder.

    Raises:
        ValueError: no losers there, one without its winner, or a file that is not such a latent.
    """
    losers = sorted(folder.glob("lose_video_latent/*/*/*/*.safetensors"))
    if not losers:
        raise ValueError(f"{folder}: no lose_video_latent/MODEL/SIZE/NAME/*.safetensors in it; name the latents folder")
    problems = {}
    for path in losers:
        *_, model, size, name, _ = path.parts
        winner = folder / "video_latent" / model / size / f"{name}.safetensors"
        problems[str(path.relative_to(folder))] = unlike(_read(winner), _read(path))
    return problems


def _read(path: Path) -> Tensor:
    try:
        (latent,) = load_file(path).values()
    except (OSError, SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: not a file with one latent ({error}); encode it again") from error
    if latent.ndim != 4:
        raise ValueError(
            f"{path}: its latent has the shape {list(latent.shape)} in place of [C, F, H, W]; encode it again"
        )
    return latent


def unlike(winner_CFHW: Tensor, loser_CFHW: Tensor) -> str:
    """Why latents of two clips that start from the same picture did not come the same way; empty where they did."""
    if winner_CFHW.shape != loser_CFHW.shape:
        return f"their latents have the shapes {list(winner_CFHW.shape)} and {list(loser_CFHW.shape)}"
    if not (winner_CFHW.isfinite().all() and loser_CFHW.isfinite().all()):
        return "a latent has values that are NaN or infinite"
    return same_picture(winner_CFHW[:, 0], loser_CFHW[:, 0])


def same_picture(one_CHW: Tensor, other_CHW: Tensor) -> str:
    """Why two latents of one picture are not that; empty where they are."""
    return Likeness(LEAST_CORRELATION).problem(one_CHW, other_CHW)


def _figures(one_CHW: Tensor, other_CHW: Tensor) -> tuple[float, float]:
    """Correlation of two latents, NaN where one is flat, and the spread of the other over that of the one."""
    first, other = one_CHW.float().flatten(), other_CHW.float().flatten()
    return float(torch.corrcoef(torch.stack([first, other]))[0, 1]), float(other.std() / first.std().clamp(min=1e-9))


NEARLY = 0.05  # root mean square difference of two latent frames that counts as none, as a share of the clip's spread


def drop_degenerate_terms(
    comparisons: Sequence[Comparison], latents: LatentStore
) -> tuple[list[Comparison], Counter[str]]:
    """Comparisons without terms whose views are the same and without views that no other term needs.

    One without any term is left out.

    Returns:
        The comparisons in their order, and how many terms of each level were dropped.
    """
    remaining, dropped = [], Counter[str]()
    for comparison in comparisons:
        dead = [term for term in comparison.terms if _compares_nothing(term, comparison.views, latents)]
        dropped.update(term.level for term in dead)
        alive = [term for term in comparison.terms if term not in dead]
        if alive:
            remaining.append(narrowed(comparison, alive) if dead else comparison)
    return remaining, dropped


def narrowed(comparison: Comparison, terms: Sequence[Term]) -> Comparison:
    """The comparison with some of its terms and with the views that these need."""
    needed = [v for v in range(len(comparison.views)) if any(term.coefficients[v] for term in terms)]
    fewer = (replace(term, coefficients=tuple(term.coefficients[v] for v in needed)) for term in terms)
    return replace(comparison, views=tuple(comparison.views[v] for v in needed), terms=tuple(fewer))


def _compares_nothing(term: Term, views: Sequence[View], latents: LatentStore) -> bool:
    used = [view for view, a in zip(views, term.coefficients, strict=True) if a]
    if term.loss_type in ALONE:
        return False
    first, *others = used
    # Other clips differ, as their content does; reading them to find out would cost as much as an epoch.
    if any(view.caption != first.caption or (view.media != first.media and not view.edit) for view in others):
        return False
    shown, scored = seen(first, latents), [f for f, label in enumerate(term.labels) if label]
    given = [0] if first.first_frame else []
    return all(_nearly(shown, seen(view, latents), [*given, *scored]) for view in others)


def _nearly(one_CFHW: Tensor, other_CFHW: Tensor, frames: Sequence[int]) -> bool:
    difference_F = (one_CFHW - other_CFHW)[:, list(frames)].square().mean((0, 2, 3)).sqrt()
    return float(difference_F.max()) <= NEARLY * float(one_CFHW.std())
