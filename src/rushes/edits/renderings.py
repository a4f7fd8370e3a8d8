"""Renderings: videos that show how a clip moves or is built, without its colours.

PhysHPO contrasts the renderings of winner and loser, so that appearance cannot decide.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rushes.arrays import Floats, Frames
from rushes.metrics.base import luma
from rushes.metrics.flow import dense_flow, speed

_FULL_SHARE = 99.5  # per cent of all pixels that are at most as fast as full brightness says
_LEAST_FULL = 1 / 64  # of the short side per frame: slower motion than this is never shown at full brightness
_EDGES = (60, 180)  # Canny's thresholds, grey levels


def flow(frames_THWC: Frames, other_THWC: Frames) -> Frames:
    """Optical flow as colour video: the hue says where to, the brightness how fast, black is still.

    DIS flow; motion that frames do not bear out (`rushes.metrics.flow`: seen) is shown as none, as flow makes up motion
    on grain and in fades. The last flow is shown twice. Full brightness is the same speed for both clips of a pair, so
    that the faster one looks it.
    """
    ours = _flows(frames_THWC)
    theirs = ours if other_THWC is frames_THWC else _flows(other_THWC)
    full_px = max(_LEAST_FULL * min(frames_THWC.shape[1:3]), *(_fast(flows) for flows in (ours, theirs)))
    shown = [_coloured(flow_HWC, full_px) for flow_HWC in ours]
    return np.stack([*shown, shown[-1]])


def edges(frames_THWC: Frames) -> Frames:
    """Canny edges, white on black."""
    edges_THW = [cv2.Canny(luma(frame), *_EDGES) for frame in frames_THWC]
    return np.stack([np.asarray(edge, np.uint8) for edge in edges_THW])[..., None].repeat(3, -1)


def depth(frames_THWC: Frames, folder: str) -> Frames:
    """Depth as grey video, near is bright, by a model in a local folder; nothing is downloaded.

    Brightness is stretched over the whole clip. Its scale is the clip's own: models of relative depth have no other.

    Raises ValueError: no such folder, or none that transformers can read as a model of depth.
    """
    estimate = _depth_model(folder)
    height, width = frames_THWC.shape[1:3]
    depth_THW = np.stack([estimate(frame) for frame in frames_THWC])
    low, high = float(depth_THW.min()), float(depth_THW.max())
    grey = ((depth_THW - low) / max(high - low, 1e-6) * 255).round().astype(np.uint8)
    return np.stack([np.asarray(cv2.resize(frame_HW, (width, height)), np.uint8) for frame_HW in grey])[
        ..., None
    ].repeat(3, -1)


def _flows(frames_THWC: Frames) -> list[Floats]:
    if len(frames_THWC) < 2:
        raise ValueError("a clip of one frame has no motion to show; use clips of two frames or more")
    flow = dense_flow(np.stack([luma(frame) for frame in frames_THWC]))
    return [f.astype(np.float32) * seen[..., None] for f, seen in zip(flow.forward_PHWC, flow.seen_PHW, strict=True)]


def _fast(flows: list[Floats]) -> float:
    return float(np.percentile(np.stack([speed(flow_HWC) for flow_HWC in flows]), _FULL_SHARE))


def _coloured(flow_HWC: Floats, full_px: float) -> Frames:
    hue = np.degrees(np.arctan2(flow_HWC[..., 1], flow_HWC[..., 0])) % 360
    bright = np.clip(speed(flow_HWC) / full_px, 0, 1)
    colours = cv2.cvtColor(np.stack([hue, np.ones_like(hue), bright], -1).astype(np.float32), cv2.COLOR_HSV2RGB)
    return np.asarray((colours * 255).round(), np.uint8)


@cache
def _depth_model(folder: str) -> Callable[[Frames], Floats]:
    """Frame [H, W, 3] -> depth [h, w], larger is nearer."""
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(
            f"{folder or 'no folder'}: no depth model there; download one that transformers reads (such as Depth "
            "Anything V2: config.json, preprocessor_config.json, model.safetensors) into a folder, and name that "
            "folder"
        )
    try:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        read: Any = AutoImageProcessor.from_pretrained
        prepare = read(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForDepthEstimation.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        ).eval()
    except (ImportError, OSError, ValueError) as error:
        raise ValueError(f"{folder}: cannot be used as a model of depth ({error})") from error

    def estimate(frame_HWC: Frames) -> Floats:
        depth_HW = model(**prepare(images=frame_HWC, return_tensors="pt")).predicted_depth
        return np.asarray(depth_HW.detach().squeeze(0).numpy(), np.float32)

    return estimate
