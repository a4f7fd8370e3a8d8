from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rushes.backbones.pipeline import DiffusersBackbone
from rushes.noise.paths import VariancePreserving
from rushes.training.comparison import LatentGrid

Models = Callable[[str], DiffusersBackbone]


def test_clips_of_the_second_version_have_a_copy_of_their_start_in_front(tiny_model: Models) -> None:
    """Its network takes latent frames in twos."""
    model = tiny_model("cogvideox_1.5")
    assert (model.spec.lead, model.spec.latent_frames(81), model.spec.largest(84)) == (1, 22, 81)
    with pytest.raises(ValueError, match=r"cogvideox needs 1 \+ 8 k frames, got 85; use 81 or 89"):
        model.spec.latent_frames(85)
    clip = np.random.default_rng(0).integers(0, 255, (1, 9, 32, 48, 3), np.uint8)
    latents = model.encode(clip)
    assert latents.shape[2] == 4 and torch.equal(latents[:, :, 0], latents[:, :, 1])
    assert model.decode(latents).shape == clip.shape


def test_labels_lie_behind_the_copy() -> None:
    grid = LatentGrid(frames=4, temporal_ratio=4, fps=8.0, first_frame=True, clean=False, lead=1)
    # Of 9 frames at 8 fps, the second half second starts at frame 4, and frames 1 to 4 make latent frame 1.
    assert grid.labels((1, -1), 0.5) == (1, 1, 1, -1)


def test_the_schedule_ends_in_pure_noise(tiny_model: Models) -> None:
    path = tiny_model("cogvideox").spec.path
    assert isinstance(path, VariancePreserving) and path.predicts == "v"
    assert float(path.alphas_bar[-1]) == pytest.approx(0.0, abs=1e-6)


def test_learned_positions_fit_one_length_alone(tiny_model: Models) -> None:
    """At another, diffusers takes positions by sine and cosine, and the learned ones change nothing."""
    model = tiny_model("cogvideox_i2v")
    moved = []
    for frames in (9, 5):
        noise = torch.randn(1, 4, (frames - 1) // 4 + 1, 4, 6, generator=torch.Generator().manual_seed(0))
        condition = model.condition(["a ball"], noise[:, :, 0])
        before = model.predict(noise, torch.full((1, noise.shape[2]), 0.5), condition)
        table = model.network.get_submodule("patch_embed").get_buffer("pos_embedding")
        learned = table.clone()
        table += torch.randn(table.shape, generator=torch.Generator().manual_seed(1))
        moved.append(float((model.predict(noise, torch.full((1, noise.shape[2]), 0.5), condition) - before).norm()))
        table.copy_(learned)
    assert moved[0] > 0.1 and moved[1] == 0.0
    spec = model.spec
    assert (spec.latent_frames(9), spec.latent_frames(1), spec.largest(13), spec.largest(8)) == (3, 1, 9, 1)
    for frames in (5, 13):
        with pytest.raises(ValueError, match=rf"works only with 9 frames, got {frames}; use 9"):
            spec.latent_frames(frames)


def test_clips_of_the_second_version_may_not_outgrow_its_positions(tiny_model: Models) -> None:
    spec = tiny_model("cogvideox_1.5").spec
    spec.check_size(240, 240)
    with pytest.raises(ValueError, match=r"this cogvideox has positions for at most 240 x 240 px, got 256 x 240"):
        spec.check_size(256, 240)


def test_learned_positions_fit_one_size_alone(tiny_model: Models) -> None:
    spec = tiny_model("cogvideox_i2v").spec
    spec.check_size(32, 48)
    with pytest.raises(ValueError, match=r"this cogvideox works only at 32 x 48 px, got 32 x 64"):
        spec.check_size(32, 64)
