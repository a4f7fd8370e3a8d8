"""Whether the embedded world and its base can decide what the papers claim: tests A1 to A7, before any arm is trained.

First comes a closed form that needs no network. Two clips that differ by d in latents can be classified at noise share
eta by a log-likelihood ratio of law N(D / 2, D), D = d0 ((1 - eta) / eta)^2, d0 = |d|^2. A perfect sampler that starts
from a sound clip at eta brings a fault of prior h back with R(eta) = E[e^-L / (1 - h + h e^-L)] of h: pairs of one
motion differ in faults only where R is large and motion is still decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import nan
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from rushes.arrays import Floats
from rushes.backbones.base import Condition
from rushes.backbones.sampling import sample
from rushes.backbones.tiny import TinyBackbone, load
from rushes.edits.renderings import flow
from rushes.lab.bench_clips import BenchMeasures, BenchWorld, WorldClip
from rushes.lab.world_results import (
    CaptionWeight,
    ClosedForm,
    Headroom,
    JudgesTest,
    JudgeTest,
    LevelTest,
    MeasuredFrames,
    MeasureHeadroom,
    RenderingError,
    Separation,
    SpeedBias,
    WorldBench,
    WorldTests,
)
from rushes.noise.draws import seeded
from rushes.progress import Bar
from rushes.records import plain
from rushes.stats import Interval, mean_interval

TESTS = ("A1", "A2", "A3", "A4", "A5", "A6", "A7")
ETAS = (0.7, 0.75, 0.8, 0.83, 0.86, 0.88, 0.9, 0.93, 0.95)
TIE_PARTS = 0.5  # a half second is decided where means of lost parts differ by so much; fixed before any sweep
SPEED_MATCH = 0.1  # free takes count as of one speed within this share
TIMES = (0.3, 0.6, 0.9, 0.97)  # at which errors on renderings and clips are compared
BATCH = 40
MEMBERS = 8  # takes of a clip, of which A2 compares each with each other


@dataclass(frozen=True)
class WorldBenchAsk:
    """What is measured.

    Attributes:
        base: weights; empty = the base that ships.
        clips: sound clips that takes start from.
        scenes: sound clips, and planted ones for each law and kind, of A7.
        steps: sampling steps of a take.
        seed: of clips and noise.
        tests: of `TESTS`.
    """

    base: str = ""
    clips: int = 80
    scenes: int = 1000
    steps: int = 16
    seed: int = 0
    tests: tuple[str, ...] = TESTS


def bench_world(ask: WorldBenchAsk, bar: Bar) -> WorldBench:
    """Measure the closed form and the tests that are asked for.

    Raises:
        ValueError: an unknown test, too few clips, or weights that do not fit.
    """
    if unknown := [name for name in ask.tests if name not in TESTS]:
        raise ValueError(f"--only {unknown[0]}: no such test; there are {', '.join(TESTS)}")
    if min(ask.clips, ask.scenes) < 5:
        raise ValueError(f"the tests need five clips and scenes at least, got {ask.clips} and {ask.scenes}")
    world, backbone = BenchWorld(), load(ask.base)
    asked = set(ask.tests)
    takes = TakeSets(world, backbone, ask, bar) if asked & {"A1", "A2", "A5", "A6"} else None
    apart = separation(takes) if takes and asked & {"A1", "A2"} else None
    tests = WorldTests(
        closed_form=closed_form(world, backbone, ask.seed),
        A1=apart if "A1" in asked else None,
        A2=speed_bias(takes, apart.eta) if takes and apart and "A2" in asked else None,
        A3=caption_weight(world, backbone, ask) if "A3" in asked else None,
        A4=rendering_error(world, backbone, ask) if "A4" in asked else None,
        A5=measured_frames(takes) if takes and "A5" in asked else None,
        A6=headroom(takes) if takes and "A6" in asked else None,
        A7=judges(world, ask, bar) if "A7" in asked else None,
    )
    return WorldBench(tests, tuple(name for name in TESTS if (row := getattr(tests, name)) and row.passes))


def returned_share(d0: float, eta: float, prior: float) -> float:
    """R(eta): share of the corpus's faults that a perfect sampler brings back from a sound clip."""
    spread = np.sqrt(d0) * (1 - eta) / eta
    at = norm.ppf((np.arange(4000) + 0.5) / 4000)
    odds = np.exp(-np.clip(spread**2 / 2 + spread * at, -60, 60))
    return float((odds / (1 - prior + prior * odds)).mean())


def closed_form(world: BenchWorld, backbone: TinyBackbone, seed: int, n: int = 60) -> ClosedForm:
    """d0 of one fault by its name, and R at several eta for the median fault."""
    by_name: dict[str, list[float]] = {}
    for name, sound, broken in world.one_fault(seed, n):
        apart = backbone.encode(sound[None]) - backbone.encode(broken[None])
        by_name.setdefault(name, []).append(float((apart**2).sum()))
    medians = {name: float(np.median(values)) for name, values in by_name.items()}
    median = float(np.median(list(medians.values())))
    share = {f"{eta:g}": round(returned_share(median, eta, world.loss), 3) for eta in (0.8, 0.85, 0.9, 0.95)}
    return ClosedForm({name: round(value, 1) for name, value in medians.items()}, d0_median=round(median, 1), R=share)


class TakeSets:
    """Takes of held-out sound clips: two at each eta, eight from noise, all measured by the first judge."""

    def __init__(self, world: BenchWorld, backbone: TinyBackbone, ask: WorldBenchAsk, bar: Bar) -> None:
        self.world, self.backbone, self.ask = world, backbone, ask
        self.clips = world.sound(ask.seed, ask.clips)
        self.kinds = np.array([clip.kind for clip in self.clips])
        self.latents = encoded(backbone, self.clips)
        self._bar = bar
        with bar("bench: takes", ask.clips * (2 * len(ETAS) + MEMBERS + 1)) as tick:
            self.floor = self._measured(backbone.decode(self.latents), tick)
            self.guided = {eta: [self._takes(eta, member, tick) for member in range(2)] for eta in ETAS}
            self.free = [self._takes(1.0, member, tick) for member in range(MEMBERS)]

    def more_guided(self, eta: float) -> list[list[BenchMeasures]]:
        """As many guided takes at this level as there are free ones."""
        with self._bar("bench: guided takes", len(self.clips) * (MEMBERS - 2)) as tick:
            return self.guided[eta] + [self._takes(eta, member, tick) for member in range(2, MEMBERS)]

    def _takes(self, eta: float, member: int, tick: Any) -> list[BenchMeasures]:
        frames = []
        for at in range(0, len(self.clips), BATCH):
            rows = range(at, min(at + BATCH, len(self.clips)))
            clean = self.latents[at : at + BATCH]
            noise = noise_of(clean, [("take", self.ask.seed, eta, member, row) for row in rows])
            start = {} if eta == 1.0 else {"start_BCFHW": clean, "eta": eta}
            condition = self.backbone.condition([self.clips[row].caption for row in rows], clean[:, :, 0])
            latents = sample(self.backbone, condition, noise, steps=self.ask.steps, **start)  # type: ignore[arg-type]
            frames.append(self.backbone.decode(latents))
        return self._measured(np.concatenate(frames), tick)

    def _measured(self, frames: Any, tick: Any) -> list[BenchMeasures]:
        rows = []
        for clip, row in zip(self.clips, frames, strict=True):
            rows.append(self.world.measured(WorldClip(row, clip.caption, clip.kind)))
            tick(1)
        return rows


def encoded(backbone: TinyBackbone, clips: Sequence[WorldClip]) -> Tensor:
    """Latents of clips [N, C, F, H, W]."""
    return torch.cat([backbone.encode(clip.frames_FHWC[None]) for clip in clips])


def noise_of(like: Tensor, seeds: Sequence[tuple[object, ...]]) -> Tensor:
    """Noise of the shape of latents, a seed for each row."""
    return torch.stack([torch.randn(like.shape[1:], generator=seeded(*seed)) for seed in seeds])


def faults(rows: Sequence[BenchMeasures]) -> float:
    """Lost parts, mean over frames and clips."""
    return float(np.mean([row.faults_F.mean() for row in rows]))


def labels(first: BenchMeasures, second: BenchMeasures, block: int) -> Floats:
    """A label per half second: 1 where the first take loses fewer parts, -1 the second, 0 a tie."""
    apart = (second.faults_F - first.faults_F)[1:]
    halves = len(apart) // block
    means = apart[: halves * block].reshape(halves, block).mean(1)
    return np.sign(np.where(np.abs(means) > TIE_PARTS - 1e-9, means, 0.0))


def label_shares(pairs: Sequence[tuple[BenchMeasures, BenchMeasures]], block: int) -> tuple[float, float]:
    """Share of pairs with a decided half second, and of these the share with both signs."""
    signs = [labels(a, b, block) for a, b in pairs]
    labelled = [row for row in signs if row.any()]
    mixed = [row for row in labelled if (row > 0).any() and (row < 0).any()]
    return len(labelled) / max(1, len(signs)), len(mixed) / max(1, len(labelled))


def within_kind_correlation(first: Floats, second: Floats, kinds: Any) -> float:
    """Correlation of two columns after each kind's mean is taken off."""
    a, b = first.copy(), second.copy()
    for kind in set(kinds):
        rows = kinds == kind
        a[rows] -= a[rows].mean()
        b[rows] -= b[rows].mean()
    return float((a * b).sum() / np.sqrt(max((a**2).sum() * (b**2).sum(), 1e-12)))


def _speeds(rows: Sequence[BenchMeasures]) -> Floats:
    return np.array([row.speed for row in rows])


def _speed_matched(takes: TakeSets) -> list[tuple[BenchMeasures, BenchMeasures]]:
    """The two free takes of each clip whose speeds are nearest, where these are within a tenth, in the order drawn."""
    pairs = []
    for rows in zip(*takes.free, strict=True):
        order = sorted(range(len(rows)), key=lambda i: rows[i].speed)
        a, b = min(pairwise(order), key=lambda two: rows[two[1]].speed - rows[two[0]].speed)
        if rows[b].speed - rows[a].speed <= SPEED_MATCH * rows[b].speed:
            pairs.append((rows[min(a, b)], rows[max(a, b)]))
    return pairs


def separation(takes: TakeSets) -> Separation:
    """A1: a level that keeps the motion and brings back half of the faults, with labels on most pairs, many mixed."""
    floor, free = faults(takes.floor), faults([row for rows in takes.free[:2] for row in rows])
    _, matched = label_shares(_speed_matched(takes), takes.world.block)
    table, best = dict[str, LevelTest](), None
    for eta, (first, second) in takes.guided.items():
        corr = within_kind_correlation(_speeds(first), _speeds(second), takes.kinds)
        share = (faults([*first, *second]) - floor) / max(free - floor, 1e-9)
        labelled, mixed = label_shares(list(zip(first, second, strict=True)), takes.world.block)
        holds = corr >= 0.9 and share >= 0.5 and labelled >= 0.8 and mixed >= max(0.5, 0.9 * matched)
        table[f"{eta:g}"] = LevelTest(
            motion_corr=round(corr, 3),
            faults_share=round(share, 3),
            labelled=round(labelled, 3),
            mixed=round(mixed, 3),
            passes=holds,
        )
        best = eta if holds and best is None else best
    return Separation(
        etas=table,
        eta=best,
        free_faults=round(free, 3),
        floor=round(floor, 4),
        matched_free_mixed=round(matched, 3),
        passes=best is not None,
    )


def speed_bias(takes: TakeSets, eta: float | None) -> SpeedBias:
    """A2: winners of free pairs are slower, winners of guided pairs are not. Intervals are over clips."""
    at = eta if eta is not None else min(ETAS, key=lambda level: abs(level - 0.86))
    free, guided = winner_speed(takes.free), winner_speed(takes.more_guided(at))
    holds = eta is not None and free.value <= -0.05 and free.high < 0  # neither where there is no clip, and NaN
    return SpeedBias(free, guided, at, passes=holds and guided.low >= -0.01 and guided.high <= 0.01)


def winner_speed(members: Sequence[Sequence[BenchMeasures]]) -> Interval:
    """Speed of the winner above the loser's, as a share: mean over all pairs of a clip's takes, then over clips."""
    clips = []
    for rows in zip(*members, strict=True):
        shares = [
            np.sign(b.faults_F.mean() - a.faults_F.mean()) * (a.speed - b.speed) / ((a.speed + b.speed) / 2)
            for a, b in combinations(rows, 2)
            if a.faults_F.mean() != b.faults_F.mean() and a.speed + b.speed > 0
        ]
        clips += [float(np.mean(shares))] if shares else []
    return mean_interval(clips).rounded(4) if clips else Interval(nan, nan, nan, 0)


def measured_frames(takes: TakeSets) -> MeasuredFrames:
    """A5: share of frames of free takes in which each law has a residual."""
    rows = [row for rows in takes.free[:2] for row in rows]
    shares = {name: float(np.mean([np.isfinite(row.laws[name]).mean() for row in rows])) for name in rows[0].laws}
    return MeasuredFrames({k: round(v, 3) for k, v in shares.items()}, passes=min(shares.values()) >= 0.9)


def headroom(takes: TakeSets) -> Headroom:
    """A6: how far the best of eight free takes is below the mean one, by each measure; best = lowest sum of ranks."""
    names = list(takes.free[0][0].measures)
    values = np.array([[[row.measures[name] for name in names] for row in rows] for rows in takes.free])  # 8 N M
    total = values.reshape(-1, len(names)).std(0)
    best = (values / np.maximum(total, 1e-9)).sum(-1).argmin(0)
    chosen = values[best, np.arange(values.shape[1])]
    lower = values.mean((0, 1)) - chosen.mean(0)
    figures = {
        name: MeasureHeadroom(round(float(m), 3), lower_by=round(float(d), 3))
        for name, m, d in zip(names, values.mean((0, 1)), lower, strict=True)
    }
    return Headroom(figures, passes=bool((lower >= 0.05).all()))


def _prediction(backbone: TinyBackbone, noised: Tensor, t: float, captions: Sequence[str], clean: Tensor) -> Tensor:
    times = torch.full((len(noised), noised.shape[2]), t)
    times[:, 0] = 0.0
    condition: Condition = backbone.condition(captions, clean[:, :, 0])
    with torch.no_grad():
        return backbone.predict(noised, times, condition)[:, :, 1:]


def _noised(backbone: TinyBackbone, clean: Tensor, noise: Tensor, t: float) -> Tensor:
    times = torch.full((len(clean), clean.shape[2]), t)
    times[:, 0] = 0.0
    return backbone.spec.path.mix(clean, noise, times)


def caption_weight(world: BenchWorld, backbone: TinyBackbone, ask: WorldBenchAsk, t: float = 0.9) -> CaptionWeight:
    """A3: rms by which one wrong word moves the prediction, over its rms error; first frame given."""
    clips = world.sound(ask.seed + 1, ask.clips)
    moves: dict[str, list[float]] = {}
    for at, clip in enumerate(clips):
        clean = encoded(backbone, [clip])
        noise = noise_of(clean, [("word", ask.seed, at)])
        wrong = world.wrong(clip.caption)
        captions = [clip.caption, *wrong.values()]
        rows = clean.expand(len(captions), *clean.shape[1:])
        noised = _noised(backbone, rows, noise.expand_as(rows), t)
        out = _prediction(backbone, noised, t, captions, rows)
        error = ((out[:1] - (noise - clean)[:, :, 1:]) ** 2).mean().sqrt()
        for word, moved in zip(wrong, out[1:], strict=True):
            moves.setdefault(word, []).append(float(((moved - out[0]) ** 2).mean().sqrt() / error))
    words = {word: round(float(np.mean(values)), 3) for word, values in sorted(moves.items())}
    mean = round(float(np.mean(list(words.values()))), 3)
    return CaptionWeight(words, mean, passes=min(words.values()) >= 0.3)


def rendering_error(world: BenchWorld, backbone: TinyBackbone, ask: WorldBenchAsk) -> RenderingError:
    """A4: squared error on renderings of flow over that on clips, at several times; first frame given."""
    clips = world.sound(ask.seed + 2, max(5, ask.clips // 2))
    rendered = [WorldClip(flow(c.frames_FHWC, c.frames_FHWC), c.caption, c.kind) for c in clips]
    ratios = {}
    for t in TIMES:
        errors = []
        for some in (clips, rendered):
            clean = encoded(backbone, some)
            noise = noise_of(clean, [("render", ask.seed, t, row) for row in range(len(some))])
            out = _prediction(backbone, _noised(backbone, clean, noise, t), t, [c.caption for c in some], clean)
            errors.append(float(((out - (noise - clean)[:, :, 1:]) ** 2).mean()))
        ratios[f"{t:g}"] = round(errors[1] / errors[0], 2)
    return RenderingError(ratios, passes=max(ratios.values()) <= 2.0)


def judges(world: BenchWorld, ask: WorldBenchAsk, bar: Bar) -> JudgesTest:
    """A7: share of sound clips that pass, and of planted faults that are caught, by each judge."""
    sound = world.sound(ask.seed + 3, ask.scenes)
    passing: dict[str, float] = {}
    caught: dict[str, dict[str, float]] = {name: {} for name in world.judges}
    with bar("bench: judges", (len(world.cases) + 1) * ask.scenes) as tick:
        for name, judge in world.judges.items():
            passing[name] = float(np.mean([judge(clip.frames_FHWC, clip.caption) for clip in sound]))
        tick(ask.scenes)
        for law, kind in world.cases:
            planted = world.planted(law, kind, ask.seed + 4, ask.scenes)
            for name, judge in world.judges.items():
                passed = [judge(clip.frames_FHWC, clip.caption) for clip in planted]
                caught[name][f"{law}/{kind}"] = round(1 - float(np.mean(passed)), 4) if passed else 1.0
            tick(ask.scenes)
    holds = {name: passing[name] >= 0.99 and min(caught[name].values()) >= 0.95 for name in world.judges}
    figures = {name: JudgeTest(round(passing[name], 4), caught[name]) for name in world.judges}
    return JudgesTest(figures, ask.scenes, passes=all(holds.values()))


def world_lines(result: WorldBench) -> list[str]:
    """In words, the closed form first."""
    form = result.tests.closed_form
    share = ", ".join(f"{eta}: {value:.2f}" for eta, value in form.R.items())
    lines = [f"closed form: one fault weighs {form.d0_median:g} in latents; a perfect sampler brings back {share}"]
    for name, row in plain(result.tests).items():
        if name != "closed_form":
            figures = {key: value for key, value in row.items() if key != "passes"}
            lines.append(f"{name} {'holds' if row['passes'] else 'fails'}: {figures}")
    return lines
