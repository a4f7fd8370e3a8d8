"""Ways to hold a clip to its first frame while it is sampled (HuViDPO's inference, arXiv 2502.01690, after LAMP).

Pure functions; all are off unless asked for.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def shared_noise(noise_BCFHW: Tensor, share: float, unit: bool = True) -> Tensor:
    """Noise of which a part is the same in all frames: share * noise_0 + (1 - share) * noise_f for frames f >= 1.

    The published share is 0.2, which leaves a spread of sqrt(0.2^2 + 0.8^2) = 0.82. With `unit` the sum is divided by
    it: the network has learned to start from noise of spread 1.
    """
    mixed = share * noise_BCFHW[:, :, :1] + (1 - share) * noise_BCFHW[:, :, 1:]
    if unit:
        mixed = mixed / (share**2 + (1 - share) ** 2) ** 0.5
    return torch.cat([noise_BCFHW[:, :, :1], mixed], 2)


def matched(latents_BCFHW: Tensor, like_BCFHW: Tensor) -> Tensor:
    """Latents with the mean and spread over space, per channel and frame, of others (AdaIN)."""
    if not latents_BCFHW.shape[2]:
        return latents_BCFHW
    (mean, spread), (other, wanted) = _statistics(latents_BCFHW), _statistics(like_BCFHW)
    return (latents_BCFHW - mean) / spread * wanted + other


def matched_step(latents_BCFHW: Tensor, late: bool) -> Tensor:
    """After a sampling step: frames f >= 2 take the statistics of frame 1, and frame 1, in late steps, of frame 0."""
    first, second, rest = latents_BCFHW[:, :, :1], latents_BCFHW[:, :, 1:2], latents_BCFHW[:, :, 2:]
    if late:
        second = matched(second, first)
    return torch.cat([first, second, matched(rest, second)], 2)


def matched_end(latents_BCFHW: Tensor) -> Tensor:
    """After the last step: all frames take the statistics of frame 0."""
    first = latents_BCFHW[:, :, :1]
    return torch.cat([first, matched(latents_BCFHW[:, :, 1:], first)], 2)


def matched_colours(frames_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames whose distribution of levels, per RGB channel, is that of frame 0 as nearly as a rising map gives it."""
    levels = np.arange(256)
    matched = frames_THWC.copy()
    for c in range(frames_THWC.shape[-1]):
        wanted = _shares(frames_THWC[0, ..., c])
        there = np.flatnonzero(np.diff(wanted, prepend=0.0))
        for t in range(1, len(frames_THWC)):
            table = np.interp(_shares(frames_THWC[t, ..., c]), wanted[there], levels[there])
            matched[t, ..., c] = np.rint(table).astype(np.uint8)[frames_THWC[t, ..., c]]
    return matched


def _shares(levels_HW: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of pixels at or below each level, [256]."""
    shares: NDArray[np.float64] = np.bincount(levels_HW.ravel(), minlength=256).cumsum() / levels_HW.size
    return shares


def _statistics(latents_BCFHW: Tensor) -> tuple[Tensor, Tensor]:
    mean = latents_BCFHW.mean((3, 4), keepdim=True)
    return mean, (latents_BCFHW.var((3, 4), keepdim=True) + 1e-5).sqrt()
