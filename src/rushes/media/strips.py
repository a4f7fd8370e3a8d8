"""Clips laid out to be looked at: contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rushes.arrays import Frames, first_to_last
from rushes.media.resize import enlarge
from rushes.media.write import check_frames

_PAPER = 255  # white between the pictures
_LABEL_PX = 16


def contact_sheet(
    clips: Sequence[Frames], *, columns: int = 8, scale: int = 1, gap_px: int = 2, labels: Sequence[str] | None = None
) -> Frames:
    """One row per clip [F,H,W,3], `columns` frames each from first to last in even steps, as one image [H,W,3].

    A clip of fewer frames leaves the rest of its row white. `scale` repeats pixels; a label stands above its row.
    Raises ValueError for no clips, clips of different sizes, or another number of labels than clips.
    """
    _check_clips(clips)
    if columns < 1:
        raise ValueError(f"columns must be 1 or more, got {columns}")
    if labels is not None and len(labels) != len(clips):
        raise ValueError(f"{len(labels)} labels for {len(clips)} clips; give one label per clip")
    height, width = (side * scale for side in clips[0].shape[1:3])
    head = _LABEL_PX if labels else 0
    row_height = head + height + gap_px
    sheet = np.full((len(clips) * row_height - gap_px, columns * (width + gap_px) - gap_px, 3), _PAPER, np.uint8)
    for row, clip in enumerate(clips):
        top = row * row_height
        if labels:
            baseline = (2, top + head - 4)
            cv2.putText(sheet, labels[row], baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        picks = first_to_last(len(clip), min(columns, len(clip)))
        for column, frame_HWC in enumerate(enlarge(clip[picks], scale)):
            left = column * (width + gap_px)
            sheet[top + head : top + head + height, left : left + width] = frame_HWC
    return sheet


def _check_clips(clips: Sequence[Frames]) -> None:
    if not clips:
        raise ValueError("no clips to lay out; give one or more")
    for clip in clips:
        check_frames(clip)
    sizes = {clip.shape[1:3] for clip in clips}
    if len(sizes) > 1:
        raise ValueError(f"clips have different sizes {sorted(sizes)}; read them with the same size_px")
