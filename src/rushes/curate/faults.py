"""Faults to plant in true clips, and the stage that should find each: what curation is measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from rushes.arrays import Frames
from rushes.config.curate import StageName

FaultMaker = Callable[[Frames, Frames], Frames]  # the clip and another one, both [F,H,W,3] uint8 RGB of one size


@dataclass(frozen=True)
class Fault:
    """What is done to a clip, and the stage that should drop it; `copy` = beside the clip itself, as its copy."""

    stage: StageName
    plant: FaultMaker
    doc: str
    copy: bool = False
    detectable: bool = True  # whether it can be told from a sound clip at all


def _each(change: Callable[[Frames], Frames]) -> FaultMaker:
    return lambda clip, other: np.stack([change(frame) for frame in clip])


def _blurred(frame: Frames) -> Frames:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), frame.shape[0] / 60), np.uint8)


def _blocks(frame: Frames) -> Frames:
    _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 8])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _letterbox(frame: Frames) -> Frames:
    bar = frame.shape[0] // 8
    boxed = np.zeros_like(frame)
    inner = cv2.resize(frame, (frame.shape[1], frame.shape[0] - 2 * bar), interpolation=cv2.INTER_AREA)
    boxed[bar : bar + len(inner)] = inner
    return boxed


def _titled(frame: Frames) -> Frames:
    """A plate with a line of text at the bottom."""
    height, width = frame.shape[:2]
    titled = frame.copy()
    titled[int(0.8 * height) : int(0.9 * height), int(0.05 * width) : int(0.8 * width)] = (220, 220, 60)
    place, scale = (int(0.08 * width), int(0.88 * height)), height / 400
    cv2.putText(titled, "BREAKING NEWS TODAY", place, cv2.FONT_HERSHEY_DUPLEX, scale, (10, 10, 60), 1, cv2.LINE_AA)
    return titled


def _subtitled(frame: Frames) -> Frames:
    """White letters with a black rim over the picture."""
    height, width = frame.shape[:2]
    titled = frame.copy()
    for thick, colour in ((6, (0, 0, 0)), (2, (255, 255, 255))):
        place, scale = (int(0.1 * width), int(0.92 * height)), height / 430
        thick = max(1, round(thick * height / 480))
        cv2.putText(
            titled, "You are looking at a test", place, cv2.FONT_HERSHEY_DUPLEX, scale, colour, thick, cv2.LINE_AA
        )
    return titled


def _scaled(clip: Frames, factor: float) -> Frames:
    height, width = (2 * round(factor * side / 2) for side in clip.shape[1:3])
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in clip])


def _cropped(clip: Frames, share: float) -> Frames:
    top, left = (round(share * side / 2) for side in clip.shape[1:3])
    return clip[:, top : clip.shape[1] - top, left : clip.shape[2] - left]


def _frozen_from_half(clip: Frames, other: Frames) -> Frames:
    half = len(clip) // 2
    return np.concatenate([clip[:half], clip[half - 1 : half].repeat(len(clip) - half, 0)])


def _blended(clip: Frames, other: Frames) -> Frames:
    half = clip[: len(clip) // 2 + 1].astype(np.float32)
    between = np.stack([half[:-1], (half[:-1] + half[1:]) / 2], 1)
    return between.reshape(-1, *half.shape[1:]).round().astype(np.uint8)


FAULTS: dict[str, Fault] = {
    "blurred": Fault("technical", _each(_blurred), "Gaussian blur of a sixtieth of the height"),
    "dark": Fault("technical", _each(lambda frame: (0.1 * frame).astype(np.uint8)), "a tenth of the brightness"),
    "overexposed": Fault(
        "technical",
        _each(lambda frame: np.minimum(255.0, 60 + 3.0 * frame).astype(np.uint8)),
        "brightness times 3, and 60 grey levels more",
    ),
    "blocks": Fault("technical", _each(_blocks), "JPEG of quality 8"),
    "letterbox": Fault("technical", _each(_letterbox), "black bars of an eighth of the height, above and below"),
    "title": Fault("technical", _each(_titled), "a line of text on a plate"),
    "subtitle": Fault("technical", _each(_subtitled), "a line of text over the picture"),
    "frozen": Fault("motion", lambda clip, other: clip[:1].repeat(len(clip), 0), "the first frame all along"),
    "half frozen": Fault("motion", _frozen_from_half, "stands still from the middle on"),
    "cut": Fault(
        "motion",
        lambda clip, other: np.concatenate([clip[: len(clip) // 2], other[len(clip) // 2 :]]),
        "goes on as another clip from the middle on",
    ),
    "slowed by repeats": Fault("motion", lambda clip, other: clip[: len(clip) // 2].repeat(2, 0), "each frame twice"),
    "slowed by blending": Fault("motion", _blended, "between each two frames their mean", detectable=False),
    "time lapse": Fault("motion", lambda clip, other: clip[::4], "every fourth frame"),
    "reversed": Fault("motion", lambda clip, other: clip[::-1], "played from its end", detectable=False),
    "re-encoded": Fault("duplicates", lambda clip, other: clip, "H.264 at a high loss (crf 40)", copy=True),
    "half size": Fault("duplicates", lambda clip, other: _scaled(clip, 0.5), "half the width and height", copy=True),
    "cropped 3 %": Fault("duplicates", lambda clip, other: _cropped(clip, 0.03), "3 % of each side off", copy=True),
    "cropped 6 %": Fault("duplicates", lambda clip, other: _cropped(clip, 0.06), "6 % of each side off", copy=True),
    "mirrored copy": Fault("duplicates", lambda clip, other: clip[:, :, ::-1], "left and right exchanged", copy=True),
    "reversed copy": Fault("duplicates", lambda clip, other: clip[::-1], "the clip from its end", copy=True),
    "brighter copy": Fault(
        "duplicates",
        _each(lambda frame: np.minimum(255.0, 1.15 * frame).astype(np.uint8)),
        "brightness times 1.15",
        copy=True,
    ),
}
LOSS = {"re-encoded": 40}  # crf; all others are written at 18
