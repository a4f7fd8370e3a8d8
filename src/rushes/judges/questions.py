"""What a question to a model is sent as."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from rushes.arrays import Frames
from rushes.media.images import jpeg_of
from rushes.metrics.base import shrink

QuestionPart = str | Frames

_JPEG_QUALITY = 95


def data_url(frame_HWC: Frames, max_side_px: int) -> str:
    """A frame [H,W,3] as a data address of a JPEG whose long side is at most `max_side_px`."""
    height, width = frame_HWC.shape[:2]
    small = shrink(frame_HWC, max(1, max_side_px * min(height, width) // max(height, width)))
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_of(small, _JPEG_QUALITY)).decode()


def content(part: QuestionPart, max_side_px: int) -> dict[str, Any]:
    """A text, or a frame [H,W,3] as `data_url` has it, in the form of OpenAI's messages."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part, max_side_px)}}


def has_frames(body: Mapping[str, Any]) -> bool:
    """Whether a request has pictures among its texts."""
    parts = [part for message in body.get("messages", ()) for part in message["content"] if isinstance(part, dict)]
    return any(part["type"] == "image_url" for part in parts)
