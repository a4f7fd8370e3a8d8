"""The second judge: clips as pieces of straight lines and parabolas whose joints must be impacts that the laws allow.

It shares no code and no threshold with `rushes.world.verify` and never labels what the first one labels: balls are
what stands out from its row, dots are light places, and motion is cut into pieces where one polynomial no longer does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from rushes.arrays import Floats
from rushes.world import mechanics, scenes

STANDS_OUT = 90  # levels off the row's middle, summed over the channels
ROPE_PX = 7  # what is thinner is no ball
NEW_PIECE, NEW_PAIR_PIECE = 1.0, 0.3  # px^2 by which a cut must lower the squared error; of two balls that touch
JOIN_PX, TOUCH_PX = 0.8, 1.6  # gap between two pieces, and of an impact from where things touch
SPEED_PX = 0.3  # px per frame, by which a speed after an impact may be off, and a seventh of the speed beside it
SAG_PX = 0.8  # by which a piece's curve may differ from that of the law
SINE_PX = 0.5  # by which a swing may be off one sine, root mean square
LOST_FRAMES = 2
ENERGY_RATIO, FASTEST_PX = 1.6, 2.8  # of two balls: most over least energy, and px per frame
_RING = {1: (6.8, 6), 2: (5.2, 3)}  # where dots sit, px from the centre, and how many
_POST = (26.0, 37.0)  # columns that the post and its soft edges take


@dataclass(frozen=True)
class Arcs:
    """What the second judge sees of a clip; all are better when lower.

    Attributes:
        missing: share of frames in which a ball is not whole, 0..1.
        unlawful: joints, curves and levels that no law allows, a count.
        dark: share of dots and frames in which a dot's place is no lighter than the ball, 0..1.
        dark_seconds: half seconds in which some dot is dark for most frames, a count.
        lost_F: share of the dots that are dark in each frame, 1 where a ball is not whole.
    """

    missing: float
    unlawful: int
    dark: float
    dark_seconds: int
    lost_F: Floats

    @property
    def passes(self) -> bool:
        """Whether nothing is wrong."""
        return self.unlawful == 0 and self.dark_seconds == 0 and self.missing * len(self.lost_F) < LOST_FRAMES


def arcs(frames_FHWC: NDArray[np.uint8], caption: str) -> Arcs:
    """Measure one clip [F, 64, 64, 3] of uint8 RGB under a caption of the embedded world.

    Raises:
        ValueError: the caption is not of the embedded world.
    """
    wording = scenes.read_wording(caption)
    balls = 2 if wording.kind == "collide" else 1
    masks = _standing_out(frames_FHWC, wording.kind)
    places, whole = _pair_places(masks) if balls == 2 else _places(masks, wording.kind)
    unlawful = _unlawful(places, whole, wording)
    dark = np.concatenate(
        [_dark(frames_FHWC, places[:, k], whole[:, k], balls, wording.kind == "roll") for k in range(balls)], 1
    )
    halves = [dark[at : at + 4] for at in range(1, len(dark), 4)]
    bad = sum(bool((np.nan_to_num(half, nan=0.0).sum(0) > np.isfinite(half).sum(0) / 2).any()) for half in halves)
    shown = np.isfinite(dark)
    share = float(np.nansum(dark) / max(1, shown.sum()))
    lost = np.where(whole.all(1), np.nansum(dark, 1) / np.maximum(shown.sum(1), 1), 1.0)
    return Arcs(float((~whole).any(1).mean()), unlawful, share, bad, lost)


def _standing_out(frames_FHWC: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """Pixels [F, H, W] of balls: 1; what is off the sky, without ground, rope and the columns of the post."""
    above = frames_FHWC[:, : int(mechanics.FLOOR_PX) - 1].astype(np.int16)
    off = np.zeros(frames_FHWC.shape[:3], np.int64)
    off[:, : above.shape[1]] = np.abs(above - np.median(above[:, :, :: mechanics.SIZE_PX - 1], axis=(0, 1, 2))).sum(-1)
    masks = (off > STANDS_OUT).astype(np.uint8)
    if kind == "roll":
        masks[:, :, int(_POST[0]) : int(_POST[1]) + 1] = 0
        return masks
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (ROPE_PX, ROPE_PX))
    return np.stack([cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel) for mask in masks])


def _places(masks_FHW: NDArray[np.uint8], kind: str) -> tuple[Floats, NDArray[np.bool_]]:
    """Centres [F, 1, 2] of one ball and whether it is whole; behind the post by the circle through its edge."""
    area = masks_FHW.sum((1, 2)).astype(float)
    rows, columns = np.mgrid[0 : mechanics.SIZE_PX, 0 : mechanics.SIZE_PX]
    if kind == "roll":
        fits = [_circle(mask) for mask in masks_FHW]
        return np.array([[place] for place, _ in fits]), np.array([[good] for _, good in fits])
    mass = np.maximum(area, 1)[:, None]
    places = np.stack([(masks_FHW * columns).sum((1, 2)), (masks_FHW * rows).sum((1, 2))], -1) / mass
    pieces = np.array([cv2.connectedComponents(mask)[0] - 1 for mask in masks_FHW])
    whole = (np.abs(area / max(area[0], 1) - 1) < 0.3) & (pieces == 1)
    return places[:, None], whole[:, None]


def _circle(mask_HW: NDArray[np.uint8]) -> tuple[tuple[float, float], bool]:
    """Place of a circle of the ball's size on the floor that best matches the edge in sight."""
    edge = mask_HW.astype(bool) & ~cv2.erode(mask_HW, np.ones((3, 3), np.uint8)).astype(bool)
    edge[:, int(_POST[0]) - 2 : int(_POST[1]) + 3] = False
    edge[int(mechanics.FLOOR_PX) - 3 :] = False
    y, x = np.nonzero(edge)
    level = mechanics.FLOOR_PX - 0.5 - mechanics.RADIUS_PX
    if len(x) < 8:
        return (0.0, level), False
    tries = np.arange(8.0, 57.0, 0.1)
    off = np.abs(np.hypot(x - tries[:, None], y - level) - (mechanics.RADIUS_PX + 0.4)).mean(1)
    best = int(off.argmin())
    inside = np.hypot(
        *(np.mgrid[0 : mechanics.SIZE_PX, 0 : mechanics.SIZE_PX][::-1] - np.array([tries[best], level])[:, None, None])
    )
    sight = inside < mechanics.RADIUS_PX - 2
    sight[:, int(_POST[0]) : int(_POST[1]) + 1] = False
    filled = mask_HW[sight].mean() if sight.any() else 0.0
    return (float(tries[best]), level), bool(off[best] < 1.2 and filled > 0.8)


def _pair_places(masks_FHW: NDArray[np.uint8]) -> tuple[Floats, NDArray[np.bool_]]:
    """Centres [F, 2, 2] of two balls by their outer edges, which are never hidden."""
    wide = mechanics.PAIR_RADIUS_PX
    places, whole = np.zeros((len(masks_FHW), 2, 2)), np.zeros((len(masks_FHW), 2), bool)
    for frame, mask in enumerate(masks_FHW):
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        if len(columns) == 0:
            continue
        ends = (columns[0] + wide, columns[-1] - wide)
        cut = int(np.ceil((ends[0] + ends[1]) / 2))
        for k, half in enumerate((slice(0, cut), slice(cut, None))):
            y, x = np.nonzero(mask[:, half])
            places[frame, k] = (x.mean() + k * cut, y.mean()) if len(x) else (ends[k], rows.mean())
        enough = mask.sum() > 1.6 * np.pi * wide**2
        apart = ends[1] - ends[0] > 1.7 * wide
        level = rows[-1] - rows[0] < 2 * wide + 5
        whole[frame] = enough and apart and level
    return places, whole


def _pieces(values_T: Floats, times_T: Floats, degree: int, price: float = NEW_PIECE) -> list[tuple[int, int, Floats]]:
    """The cut into polynomials that costs least: first row, row after the last, and coefficients of each."""
    n, base = len(values_T), degree + 1
    powers = np.vander(times_T, base)
    cost = np.full((n + 1, n + 1), np.inf)
    for i in range(n):
        normal, right = np.zeros((base, base)), np.zeros(base)
        total = 0.0
        for j in range(i, n):
            normal += np.outer(powers[j], powers[j])
            right += powers[j] * values_T[j]
            total += values_T[j] ** 2
            if j - i >= base:
                cost[i, j + 1] = max(0.0, total - right @ np.linalg.solve(normal, right))
            elif j - i == base - 1:
                cost[i, j + 1] = 0.0
    best, origin = np.full(n + 1, np.inf), np.zeros(n + 1, int)
    best[0] = 0.0
    for j in range(1, n + 1):
        options = best[:j] + cost[:j, j] + price
        origin[j] = int(options.argmin())
        best[j] = options[origin[j]]
    cuts, at = [], n
    while at > 0:
        cuts.append((int(origin[at]), at))
        at = int(origin[at])
    return [(i, j, np.polyfit(times_T[i:j], values_T[i:j], min(degree, j - i - 1))) for i, j in reversed(cuts)]


@dataclass(frozen=True)
class _Joint:
    """Where two pieces meet: time, place, gap, and speeds before and after."""

    time: float
    place: float
    gap: float
    before: float
    after: float


def _joints(pieces: list[tuple[int, int, Floats]], times_T: Floats) -> list[_Joint]:
    """Only pieces long enough to have a speed count; shorter ones at the ends hold half an impact."""
    last = len(pieces) - 1
    long = [p for n, p in enumerate(pieces) if p[1] - p[0] > len(p[2]) + 1 or n not in (0, last)]
    out = []
    for (_, end, first), (begin, _, second) in pairwise(long):
        when = np.linspace(times_T[end - 1] - 0.3, times_T[begin] + 0.3, 33)
        gap = np.abs(np.polyval(first, when) - np.polyval(second, when))
        at = int(gap.argmin())
        speeds = [float(np.polyval(np.polyder(p), when[at])) for p in (first, second)]
        place = float(np.polyval(first, when[at]) + np.polyval(second, when[at])) / 2
        out.append(_Joint(float(when[at]), place, float(gap[at]), before=speeds[0], after=speeds[1]))
    return out


def _reflects(joint: _Joint, walls: tuple[float, ...], share: float) -> bool:
    """Whether a joint is an impact that gives back `share` of the speed."""
    near = min(abs(joint.place - wall) for wall in walls) < TOUCH_PX
    slack = SPEED_PX + 0.15 * abs(joint.before)
    return joint.gap < JOIN_PX and near and abs(joint.after + share * joint.before) < slack


def _unlawful(places_FKD: Floats, whole_FK: NDArray[np.bool_], wording: scenes.Wording) -> int:
    rows = np.flatnonzero(whole_FK.all(1))
    if len(rows) < 6:
        return 1
    times, places = rows.astype(float), places_FKD[rows]
    if wording.kind == "swing":
        return int(_off_sine(places[:, 0], times) > SINE_PX)
    if wording.kind == "collide":
        return _unlawful_pair(places[..., 0], times, bool(wording.heavy)) + _steps(places[:, 0, 1])
    low, high = mechanics.RADIUS_PX - 0.5, mechanics.SIZE_PX - 0.5 - mechanics.RADIUS_PX
    across = _joints(_pieces(places[:, 0, 0], times, 1), times)
    wrong = sum(not _reflects(joint, (low, high), 1.0) for joint in across)
    return wrong + (_steps(places[:, 0, 1]) if wording.kind == "roll" else _unlawful_fall(places[:, 0, 1], times))


def _steps(values_T: Floats) -> int:
    return int(np.ptp(values_T) > 2.0)


def _unlawful_fall(y_T: Floats, times_T: Floats) -> int:
    floor = mechanics.FLOOR_PX - 0.5 - mechanics.RADIUS_PX
    pieces = _pieces(y_T, times_T, 2)
    wrong = sum(not _reflects(joint, (floor,), mechanics.RESTITUTION) for joint in _joints(pieces, times_T))
    curves = [(2 * p[0], (times_T[j - 1] - times_T[i]) ** 2) for i, j, p in pieces if j - i >= 4]
    if not curves:
        return wrong
    weight = sum(span**2 for _, span in curves)
    common = sum(curve * span**2 for curve, span in curves) / weight
    slowest, fastest = (mechanics.GRAVITY * tempo**2 for tempo in mechanics.TEMPO)
    common = float(np.clip(common, 0.9 * slowest, 1.1 * fastest))
    return wrong + sum(bool(abs(curve - common) * span / 8 > SAG_PX) for curve, span in curves)


def _unlawful_pair(x_TK: Floats, times_T: Floats, heavy: bool) -> int:
    """Walls and elastic impacts keep the energy of both balls together; joints are too close to be judged each."""
    begin = [float(np.polyfit(times_T[:5], x_TK[:5, k], 1)[0]) for k in range(2)]
    mover = int(abs(begin[1]) > abs(begin[0]))
    energy, wrong = np.zeros(len(x_TK)), 0
    for k in range(2):
        mass = mechanics.HEAVY if heavy and k != mover else 1.0
        for i, j, line in _pieces(x_TK[:, k], times_T, 1, NEW_PAIR_PIECE):
            off = x_TK[i:j, k] - np.polyval(line, times_T[i:j])
            straight = j - i > 3 and np.sqrt((off**2).mean()) < 0.2
            energy[i:j] += mass * line[0] ** 2 if straight else np.nan
            energy[max(i - 2, 0) * (i > 0) : i + 2 * (i > 0)] = np.nan  # the other ball's cut may lie beside
            wrong += j - i > 2 and abs(line[0]) > FASTEST_PX
    energy = energy[np.isfinite(energy)]
    return wrong + int(len(energy) > 0 and energy.max() > ENERGY_RATIO * energy.min())


def _off_sine(place_TD: Floats, times_T: Floats) -> float:
    """px, root mean square, off the nearest sine of a lawful period about the pivot."""
    rope = place_TD - np.array(mechanics.PIVOT_PX)
    length = float(np.hypot(*rope.T).mean())
    angle = np.arctan2(rope[:, 0], rope[:, 1])
    off = []
    for tempo in np.linspace(0.95 * mechanics.TEMPO[0], 1.05 * mechanics.TEMPO[1], 60):
        clock = tempo * np.sqrt(mechanics.SWING_PULL / length) * times_T
        basis = np.stack([np.cos(clock), np.sin(clock)], 1)
        rest = angle - basis @ np.linalg.lstsq(basis, angle, rcond=None)[0]
        off.append(float(np.sqrt((rest**2).mean())) * length)
    return max(min(off), float(np.hypot(*rope.T).std()))


def _dark(
    frames_FHWC: NDArray[np.uint8], places_FD: Floats, whole_F: NDArray[np.bool_], balls: int, hidden: bool
) -> Floats:
    """[F, P]: 1 where a dot's place is nearer to the ball's darkest than its lightest; NaN where hidden."""
    light = _blurred(frames_FHWC.min(-1))
    ring, count = _RING[balls]
    angles = np.arange(count) * 2 * np.pi / count + np.pi / 6
    out = np.full((len(light), count), np.nan)
    rows, columns = np.mgrid[0 : mechanics.SIZE_PX, 0 : mechanics.SIZE_PX]
    post = (columns >= _POST[0]) & (columns <= _POST[1]) & hidden
    inner = []
    for frame in np.flatnonzero(whole_F):
        x, y = places_FD[frame]
        near = (np.hypot(columns - x, rows - y) < ring) & ~post
        inner.append(light[frame][near])
        for p, angle in enumerate(angles):
            px, py = x + ring * np.cos(angle), y + ring * np.sin(angle)
            column, row = int(np.clip(round(px), 0, 63)), int(np.clip(round(py), 0, 63))
            if not post[row, column]:
                out[frame, p] = light[frame, row, column]
    if not inner:
        return out
    levels = np.concatenate(inner)
    dark, bright = np.quantile(levels, [0.03, 0.97])
    return np.where(np.isfinite(out), (out < (dark + bright) / 2).astype(float), np.nan)


def _blurred(planes_FHW: NDArray[np.uint8]) -> Floats:
    """Planes smoothed over three pixels."""
    return np.stack([cv2.blur(plane.astype(np.float64), (3, 3)) for plane in planes_FHW])
