"""Who writes a wrong caption: rules, the embedded world's verifier, or a vision-language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import BaseModel

from rushes.arrays import Frames
from rushes.caption.rules import wrong_by_rule
from rushes.judges.base import evenly
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.questions import QuestionPart
from rushes.metrics.base import Shot
from rushes.records import seed_of
from rushes.world.scenes import COLOURS, SIZE_PX, other_captions, read_caption
from rushes.world.tracks import Tracks, track
from rushes.world.verify import verify


class Write(Protocol):
    """Real clip and take, both with the true caption (None for a writer that does not see), a seed, and faults that
    people found in the take -> the wrong caption, "" where it cannot."""

    def __call__(
        self, caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()
    ) -> str: ...


@dataclass(frozen=True)
class Writer:
    """One way to write wrong captions."""

    name: str  # what they are signed with
    sees: bool  # whether it looks at the real clip and at a take; else it is told the caption alone
    size_px: tuple[int, int] | None  # (height, width) that clips are read at; None = as they are
    write: Write


def by_rules() -> Writer:
    """One word replaced by rule; see `rushes.caption.rules`."""
    return Writer("rules", False, None, lambda caption, real, take, seed, faults=(): wrong_by_rule(caption, seed))


def by_world() -> Writer:
    """The caption that fits the take best by the verifier, among the world's captions that differ in one respect."""

    def write(caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()) -> str:
        assert take is not None
        misfits = {other: _misfit(take, other) for other in other_captions(caption)}
        least = min(misfits.values())
        among = [other for other, misfit in misfits.items() if misfit < least + 1e-6]
        return among[seed_of("world", seed, caption) % len(among)]

    return Writer("world", True, (SIZE_PX, SIZE_PX), write)


_UNSEEN, _PAINT = 10.0, 10.0  # an object that is not there, or has another colour, weighs more than any way of moving
_ACROSS_PX = 3.0  # net way to a side from which on a ball was thrown


def _misfit(take: Shot, caption: str) -> float:
    """How far a take is from what a caption says, 0 = just that.

    Beside what the verifier measures: the colour at an object's middle, and to which side a ball goes.
    """
    kind, colours = read_caption(caption)
    verdict = verify(take.frames_FHWC, caption, fps=take.fps)
    tracks = track(take.frames_FHWC, kind, colours)
    off_px = 0.0 if math.isnan(verdict.physics_error) else verdict.physics_error
    return (
        _UNSEEN * verdict.bad_frames
        + _PAINT * _other_paint(take.frames_FHWC, tracks, colours)
        + off_px
        + _moves_otherwise(tracks, kind)
    )


def _other_paint(frames_FHWC: Frames, tracks: Tracks, colours: tuple[str, ...]) -> float:
    """Distance of the objects' colours from the named ones, 0..1; 0 where there is no object."""
    gaps = []
    for k, colour in enumerate(colours):
        (present,) = tracks.present_FK[:, k].nonzero()
        column, row = tracks.centres_FKD[present, k].round().astype(int).T.clip(0, SIZE_PX - 1)
        gaps += np.abs(frames_FHWC[present, row, column] - np.array(COLOURS[colour], float)).mean(-1).tolist()
    return float(np.mean(gaps)) / 255 if gaps else 0.0


def _moves_otherwise(tracks: Tracks, kind: str) -> float:
    """1 where a ball goes to another side than it should, else 0."""
    if kind not in ("fall", "left", "right"):
        return 0.0
    x = tracks.centres_FKD[tracks.present_FK[:, 0], 0, 0]
    across = float(x[-1] - x[0]) if len(x) else 0.0
    seen = "fall" if abs(across) < _ACROSS_PX else "right" if across > 0 else "left"
    return float(seen != kind)


class WrongCaption(BaseModel):
    """What the model answers."""

    caption: str


SYSTEM = "You compare a real video with a generated one and edit captions. You answer with one JSON object."
_ASK = """The caption of the real video is:
{caption}
Rewrite it so that it describes the generated video. Change as few words as possible: only what the generated video
shows otherwise (what happens, how things move, how many there are, which colour they have). Keep everything else word
for word.
If both show the same, make one statement about the motion untrue.
Answer with {{"caption": "..."}}."""
_FAULTS = """
People who watched the generated video found this wrong with it: {faults}. Say that, if the video shows it."""


def by_model(endpoint: ChatEndpoint, frames: int) -> Writer:
    """A vision-language model that sees `frames` frames of each clip and changes the caption only where they differ."""

    def write(caption: str, real: Shot | None, take: Shot | None, seed: int, faults: Sequence[str] = ()) -> str:
        assert real is not None and take is not None
        parts: list[QuestionPart] = ["Frames of the real video, in order:", *evenly(real.frames_FHWC, frames)]
        parts += ["Frames of the generated video, in order:", *evenly(take.frames_FHWC, frames)]
        ask = _ASK.format(caption=caption) + (_FAULTS.format(faults=", ".join(faults)) if faults else "")
        answer = endpoint.ask([*parts, ask], WrongCaption, SYSTEM)
        return " ".join(answer.parsed.caption.split()) if answer.parsed else ""

    return Writer(f"model {endpoint.settings.model}", True, None, write)
