"""Renderings show motion and structure, and nothing else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rushes.edits.renderings import depth, edges, flow


def texture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 255, (96, 96, 3)).astype(np.uint8), (0, 0), 2)


def sliding(dx: int, dy: int, frames: int = 5) -> np.ndarray:
    """A textured square of 32 px that moves over a still grey ground."""
    clip = np.full((frames, 96, 96, 3), 90, np.uint8)
    patch = texture()[:32, :32]
    for k in range(frames):
        x, y = 32 + k * dx, 32 + k * dy
        clip[k, y : y + 32, x : x + 32] = patch
    return clip


def hue(frame: np.ndarray) -> float:
    """Degrees, at the brightest pixel's colour."""
    hsv = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    return float(np.median(hsv[..., 0][hsv[..., 2] > 0.5]))


@pytest.mark.parametrize(("way", "degrees"), [((3, 0), 0), ((0, 3), 90), ((-3, 0), 180), ((0, -3), 270)])
def test_hue_is_the_direction(way: tuple[int, int], degrees: float) -> None:
    clip = sliding(*way)
    shown = flow(clip, clip)
    gap = (hue(shown[1]) - degrees + 180) % 360 - 180
    assert abs(gap) < 15


def test_black_is_still_and_the_last_flow_is_shown_twice() -> None:
    clip = sliding(3, 0)
    shown = flow(clip, clip)
    assert shown.shape == clip.shape and shown.dtype == np.uint8
    assert (shown[-1] == shown[-2]).all() and (shown[0] != shown[-1]).any()
    corners = np.concatenate([shown[:, :16, :16].ravel(), shown[:, -16:, -16:].ravel()])
    assert corners.max() < 10 and shown[:, 40:56, 40:56].max() > 150
    still = np.repeat(texture()[None], 5, 0)
    assert flow(still, still).max() == 0


def test_grain_does_not_move() -> None:
    rng = np.random.default_rng(0)
    clip = np.clip(90 + rng.normal(0, 15, (5, 96, 96, 3)), 0, 255).astype(np.uint8)
    assert flow(clip, clip).mean() < 2


def test_full_brightness_is_one_speed_for_both_clips() -> None:
    slow, fast = sliding(1, 0), sliding(4, 0)
    assert flow(slow, slow).max() > 200
    beside, beside_it = flow(slow, fast), flow(fast, slow)
    ratio = beside[1:3, 40:56, 40:52].max() / beside_it[1:3, 40:56, 44:56].max()
    assert 0.15 < ratio < 0.4  # a quarter of the speed


def test_one_frame_has_no_motion() -> None:
    with pytest.raises(ValueError, match="one frame has no motion"):
        flow(texture()[None], texture()[None])


def test_edges_are_white_lines_where_the_picture_changes() -> None:
    clip = sliding(3, 0)
    shown = edges(clip)
    assert shown.shape == clip.shape and set(np.unique(shown)) == {0, 255}
    assert shown[0, :, 31:33].any() and not shown[:, :24, :24].any()


def test_depth_needs_a_folder_and_says_what_goes_there(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path)):
        with pytest.raises(ValueError, match=r"no depth model there; .* config\.json, preprocessor_config"):
            depth(texture()[None], folder)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be used as a model of depth"):
        depth(texture()[None], str(tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_depth_by_a_model_in_a_folder(tmp_path: Path) -> None:
    """A model of the family that is named, tiny and untrained: what is tested is the way to it and from it."""
    transformers = pytest.importorskip("transformers")
    inner = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=inner, reassemble_hidden_size=16, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
        head_hidden_size=8, patch_size=14,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.DepthAnythingForDepthEstimation(config)
    for p in model.parameters():
        p.data = torch.randn(p.shape)  # as it starts it answers zero everywhere
    model.save_pretrained(tmp_path)
    transformers.DPTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    clip = sliding(3, 0, frames=2)
    shown = depth(clip, str(tmp_path))
    assert shown.shape == clip.shape and shown.dtype == np.uint8
    assert (shown[..., 0] == shown[..., 2]).all() and shown.min() == 0 and shown.max() > 200
