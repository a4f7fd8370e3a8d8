"""PhysHPO: a real clip is preferred on four levels at once, each with something else held fixed (arXiv 2508.10858).

With D(clip | caption) the policy's mean squared prediction error minus the reference's, w the real clip, x its caption:

    instance  u = D(w|x) - 0.7 D(err|x) - 0.3 D(gap|x)    weight 1    err: a take; gap: a take of x with words left out
    state     u = D(w|x) - D(swapped|x)                   weight 0.4  swapped: w, its first and last 2 frames exchanged
    motion    u = D(flow(w)|x) - D(flow(err)|x)           weight 0.3  flow: optical flow as colour video
    semantic  u = D(w|x) - D(w|c)                         weight 0.2  c: x made wrong where err is wrong

and loss = sum of weight * -log sigmoid(-(beta / 2) u): 1.9 ln 2 while the policy is the reference. err is that of K
takes which looks most like w. All views share the time and the noise, and each of the seven runs once.

Where the paper leaves open or contradicts itself, and what is done here:
- Equations 5 and 6 multiply the losers by beta and by beta_i. Taken is one beta around a mixture whose shares sum to
  one, as in the same authors' VistaDPO code; otherwise the margin would not be zero where policy and reference agree.
- Equation 7 lacks the minus sign, equation 3 beta; both are as in Diffusion-DPO.
- The state negative is said to have its ends "replaced" (text) and "swapped" (appendix, figure 2): swapped, in pixels.
- beta, the share of left-out words, the likeness and the flow estimator are not given: settings, `generate.mask` 0.3,
  root mean square difference at 16 x 16 px, and DIS flow with one scale for both clips of a pair.
- The swapped clip differs in at most 2N frames, so its margin is the smallest: `state_beta` can raise it alone.
- With a given first frame, all clips start from the real one's, the swapped too (its first latent frame is then given
  and not scored); a rendering starts from its own.

Settings of the published run: CogVideoX-2B and 5B, HunyuanVideo; lr 2e-5, batch 8, 21,085 real clips, K = 3, N = 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from rushes.config.base import FolderPath, SettingsTable
from rushes.config.ranges import Factor, Few, FrameCount, LossWeight, Share
from rushes.edits.words import words
from rushes.objectives.terms import Term, frame_labels
from rushes.recipes import realdpo
from rushes.records import Candidate, CaptionRow, Clip, seed_of
from rushes.store.database import Store
from rushes.training.comparison import OWN, Comparison, LatentGrid, View
from rushes.training.views import candidate_view, gaps, of_clip, real_view, takes, training_clips

PAPER = "PhysHPO (arXiv 2508.10858)"
NEEDS: tuple[str, ...] = ("takes", "gaps", "likeness", "wrong captions")
NEEDS_WHERE: Mapping[tuple[str, Any], tuple[str, ...]] = {("semantic_weight", 0): ("takes", "gaps", "likeness")}
TINY: Mapping[str, Any] = realdpo.TINY
PUBLISHED: Mapping[str, tuple[Any, str]] = {
    "generate.takes": (3, f"{PAPER}: K = 3"),
    "train.batch": (8, PAPER),
    "train.reference": ("frozen", PAPER),
    "train.objective.sft_weight": (0.0, f"{PAPER}: no anchor"),
    "train.options.beta": (2000.0, f"Diffusion-DPO (arXiv 2311.12908), as {PAPER} gives none"),
    "train.options.gap_share": (0.3, PAPER),
    "train.options.swapped": (2, f"{PAPER}: N = 2"),
}
VIEWS = ("w", "err", "gap", "swapped", "flow w", "flow err", "w wrong")


class Options(SettingsTable):
    """Settings of PhysHPO."""

    beta: LossWeight = Field(
        2000.0, gt=0, description="DPO beta; the logit is -beta / 2 times the difference of mean squared errors"
    )
    instance_weight: Factor = Field(
        1.0, ge=0, description="weight of the instance level, real clip against takes; 0 = off"
    )
    state_weight: Factor = Field(
        0.4, ge=0, description="weight of the state level, clip against itself with swapped ends; 0 = off"
    )
    motion_weight: Factor = Field(
        0.3, ge=0, description="weight of the motion level, the clip's rendering against a take's; 0 = off"
    )
    semantic_weight: Factor = Field(
        0.2, ge=0, description="weight of the semantic level, caption against a wrong caption; 0 = off"
    )
    state_beta: LossWeight = Field(0.0, ge=0, description="beta of the state level; 0 = beta")
    motion_beta: LossWeight = Field(0.0, ge=0, description="beta of the motion level; 0 = beta")
    semantic_beta: LossWeight = Field(0.0, ge=0, description="beta of the semantic level; 0 = beta")
    gap_share: Share = Field(
        0.3, ge=0, le=1, description="weight of the gap sample among the losers; the error sample has the rest"
    )
    swapped: FrameCount = Field(2, ge=1, description="frames at each end that are swapped in the state level")
    cue: Literal["flow", "edges", "depth"] = Field("flow", description="rendering of clips in the motion level")
    depth_model: FolderPath = Field("", description="folder of a depth model that transformers loads (cue depth)")
    takes: Few = Field(0, ge=0, description="takes among which the error sample is chosen; 0 = all")
    err: Literal["most_alike", "random"] = Field("most_alike", description="which take is the error sample")
    likeness: str = Field(
        "likeness", min_length=1, description="metric that scores how similar a take is to the real clip"
    )


def terms(views: Sequence[str], frames: int | Sequence[int], options: Options | None = None) -> tuple[Term, ...]:
    """The terms of the levels, over the views that there are of a clip.

    Args:
        views: in their order, of "w" (the real clip), "err" (a take), "gap" (a take of a caption with words left out),
            "swapped" (w with swapped ends), "flow w", "flow err" (their renderings) and "w wrong" (w under a wrong
            caption). Without "w wrong" the semantic level is left out; without another that a level of some weight
            needs there are no terms at all.
        frames: latent frames, or a label for each, 0 for those that are not scored (a given first frame).
        options: weights, betas and `gap_share`.

    Raises ValueError: a view of another name.
    """
    if unknown := [name for name in views if name not in VIEWS]:
        raise ValueError(f"physhpo.terms: no view is called {unknown[0]!r}; use {', '.join(VIEWS)}")
    options, labels = options or Options(), frame_labels(frames)
    return tuple(
        Term(level, tuple(contrast.get(name, 0.0) for name in views), labels, beta, weight)
        for level, contrast in _contrasts(views, options).items()
        for weight, beta in [_levels(options)[level]]
    )


def comparisons(store: Store, options: Options, grid: LatentGrid) -> list[Comparison]:
    """A comparison per real clip that has what the levels need; one without a wrong caption lacks the semantic level.

    Raises ValueError: no level has a weight, takes have no score by which to choose, or no clip has a wrong caption.
    """
    if not any(weight for weight, _ in _levels(options).values()):
        raise ValueError("train.options: all levels have weight 0; give one of them a weight")
    takes_of, gap_takes = of_clip(takes(store, grid)), of_clip(gaps(store, grid))
    alike = {score.subject: score.value for score in store.scores(metric=options.likeness)}
    wrong: dict[str, list[CaptionRow]] = {}
    for caption in store.captions("wrong"):
        wrong.setdefault(caption.subject, []).append(caption)
    rows = []
    for clip in training_clips(store):
        err = _error_sample(takes_of.get(clip.id, ())[: options.takes or None], alike, options)
        gap = gap_takes[clip.id][0] if clip.id in gap_takes else None
        pieces = _Pieces(clip, err, gap, _about(wrong.get(clip.id, ()), err))
        views = _views(pieces, options, grid.of(clip))
        if own := terms([*views], grid.of(clip).labels((1,)), options):
            rows.append(Comparison(clip.id, clip.id, tuple(views.values()), own))
    if rows and options.semantic_weight and not any(term.level == "semantic" for c in rows for term in c.terms):
        raise ValueError(
            "the semantic level has no wrong caption to compare with; run `rushes wrong-captions`, or set "
            "train.options.semantic_weight to 0"
        )
    return rows


@dataclass(frozen=True)
class _Pieces:
    """What there is of one clip."""

    clip: Clip
    err: Candidate | None
    gap: Candidate | None
    wrong: str


def _levels(options: Options) -> dict[str, tuple[float, float]]:
    """Weight and beta of each level, in the order in which they are logged."""
    beta = options.beta
    return {
        "instance": (options.instance_weight, beta),
        "state": (options.state_weight, options.state_beta or beta),
        "motion": (options.motion_weight, options.motion_beta or beta),
        "semantic": (options.semantic_weight, options.semantic_beta or beta),
    }


def _error_sample(losers: Sequence[Candidate], alike: Mapping[str, float], options: Options) -> Candidate | None:
    if len(losers) < 2:
        return losers[0] if losers else None
    if options.err == "random":
        return losers[seed_of("err", losers[0].clip_id) % len(losers)]
    unscored = [take.id for take in losers if take.id not in alike]
    if unscored:
        raise ValueError(
            f"take {unscored[0]} has no score {options.likeness!r} by which err is chosen; import such scores with "
            "`rushes import --rows`, or leave train.options.likeness as it is, which `rushes train` measures"
        )
    return max(losers, key=lambda take: alike[take.id])


def _about(captions: Sequence[CaptionRow], err: Candidate | None) -> str:
    """The latest caption that is wrong where err is, else the latest that is wrong in itself."""
    fitting = {caption.about: caption.text for caption in captions}
    return fitting.get(err.id if err else "", fitting.get("", ""))


def _views(pieces: _Pieces, options: Options, grid: LatentGrid) -> dict[str, View]:
    """The views of a clip that a level compares, by their names in `terms`."""
    clip = pieces.clip
    w = real_view(clip, grid)
    views = {"w": w, "swapped": replace(w, edit=words("swap-ends", options.swapped), source="swapped")}
    if pieces.err:
        err = replace(candidate_view(pieces.err, clip, grid), caption=clip.caption)
        views |= {"err": err, "flow w": _rendered(w, err, options), "flow err": _rendered(err, w, options)}
    if pieces.gap:  # made from a part of the caption, and compared under all of it
        views["gap"] = replace(candidate_view(pieces.gap, clip, grid), caption=clip.caption)
    if pieces.wrong:
        views["w wrong"] = replace(w, caption=pieces.wrong, source="wrong caption")
    contrasts = _contrasts(views, options).values()
    return {name: view for name, view in views.items() if any(name in contrast for contrast in contrasts)}


def _contrasts(views: Iterable[str], options: Options) -> dict[str, dict[str, float]]:
    """Level -> coefficient of each view that it compares; empty where a level lacks a view, the semantic one apart."""
    share = options.gap_share
    contrasts = {
        "instance": {"w": 1.0, "err": share - 1, "gap": -share},
        "state": {"w": 1.0, "swapped": -1.0},
        "motion": {"flow w": 1.0, "flow err": -1.0},
        "semantic": {"w": 1.0, "w wrong": -1.0},
    }
    wanted = {
        level: {name: a for name, a in contrasts[level].items() if a}
        for level, (weight, _) in _levels(options).items()
        if weight
    }
    lacking = {level for level, contrast in wanted.items() if not contrast.keys() <= {*views}}
    if lacking - {"semantic"}:
        return {}
    return {level: contrast for level, contrast in wanted.items() if level not in lacking}


def _rendered(view: View, other: View, options: Options) -> View:
    """The rendering of a view beside that of another; a given first frame is the rendering's own."""
    about = {"flow": (other.media,), "edges": (), "depth": (options.depth_model,)}
    edit = words(options.cue, *about[options.cue])
    return replace(
        view, edit=edit, first_frame=OWN if view.first_frame else "", source=f"{options.cue} of {view.source}"
    )
