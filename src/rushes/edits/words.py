"""Edits by their words: what a view says is done to a clip's frames before the codec.

An edit is a name and arguments, "swap-ends:2"; several are chained, "shuffle:7+noise:20.0:7". The words are part of the
key under which the result's latent is kept, so the same words must always do the same: an edit that is to work another
way gets another name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from rushes.arrays import Frames
from rushes.edits import corrupt, rearrange, renderings

MIRROR = "mirror"  # of a view that is seen mirrored, the first of its edits
CODEC = "codec"  # one trip through the model's codec, which `rushes.encode` makes, as no edit here knows a model
ReadClip = Callable[[str], Frames]  # content hash -> frames [T, H, W, 3] of another clip, at the same size and length


@dataclass(frozen=True)
class Edit:
    """What one name stands for."""

    apply: Callable[..., Frames]  # frames and arguments -> frames of the same shape; deterministic
    arguments: tuple[type, ...] = ()  # their types, in order
    # the result begins with another picture, and a model that is given a first frame is given that one
    anew: bool = False
    # the first argument is the content hash of another clip, whose frames `apply` gets in its place
    other: bool = False


EDITS = {
    "swap-ends": Edit(rearrange.swap_ends, (int,)),
    MIRROR: Edit(rearrange.mirror, anew=True),
    "reverse": Edit(rearrange.reverse, anew=True),
    "shuffle": Edit(rearrange.shuffle, (int,)),
    "freeze": Edit(rearrange.freeze, (int,)),
    "noise": Edit(corrupt.noise, (float, int)),
    "unscaled": Edit(corrupt.unscaled),
    "blur-box": Edit(corrupt.blur_box, (int,)),
    "shuffle-box": Edit(corrupt.shuffle_box, (int,)),
    "freeze-box": Edit(corrupt.freeze_box, (int,)),
    "flow": Edit(renderings.flow, (str,), anew=True, other=True),
    "edges": Edit(renderings.edges, anew=True),
    "depth": Edit(renderings.depth, (str,), anew=True),
}


def words(name: str, *arguments: object) -> str:
    """The words of one edit."""
    text = ":".join([name, *map(str, arguments)])
    parse(text)
    return text


def parse(edit: str) -> list[tuple[Edit, tuple[Any, ...]]]:
    """Edits and their arguments, in the order in which they are applied.

    Raises ValueError: a name that is not known, or arguments that are not those it takes.
    """
    return [_parse_one(part) for part in edit.split("+")]


def _parse_one(part: str) -> tuple[Edit, tuple[Any, ...]]:
    name, *given = part.split(":")
    if name not in EDITS:
        near = get_close_matches(name, EDITS, n=1)
        hint = f"did you mean {near[0]!r}" if near else f"choose one of {', '.join(EDITS)}"
        raise ValueError(f"unknown edit {name!r}: {hint}")
    kinds = EDITS[name].arguments
    try:
        return EDITS[name], tuple(kind(value) for kind, value in zip(kinds, given, strict=True))
    except ValueError as error:
        wanted = "".join(f":{kind.__name__}" for kind in kinds)
        raise ValueError(f"edit {part!r} is not of the form {name}{wanted}") from error


def in_mirror(edit: str) -> str | None:
    """The words of an edit that is done to the mirrored clip; None where it shows another clip or the codec."""
    if edit == CODEC or (edit and any(operation.other for operation, _ in parse(edit))):
        return None
    return f"{MIRROR}+{edit}" if edit else MIRROR


def is_mirrored(edit: str) -> bool:
    """Whether the clip is mirrored first."""
    return edit.partition("+")[0] == MIRROR


def begins_anew(edit: str) -> bool:
    """Whether the result begins with another picture than the clip, to be given instead of the clip's own."""
    return any(operation.anew for operation, _ in parse(edit))


def apply(frames_THWC: Frames, edit: str, read: ReadClip) -> Frames:
    """Frames [T, H, W, 3] uint8 RGB -> edited frames of the same shape; the argument is left as it is.

    Raises ValueError: words that are not an edit, or a clip that is too short for it.
    """
    for operation, arguments in parse(edit):
        if operation.other:
            arguments = (read(arguments[0]), *arguments[1:])
        edited = operation.apply(frames_THWC, *arguments)
        assert edited.shape == frames_THWC.shape and edited.dtype == np.uint8, edit
        frames_THWC = edited
    return frames_THWC
