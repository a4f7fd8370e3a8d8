"""SkyReels V2: what it is told beside captions and times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.backbones.base import DEFAULTS, LoadOptions
from rushes.backbones.loading import load_backbone
from rushes.backbones.model_defaults import released
from rushes.backbones.sampling import sample
from rushes.backbones.skyreels import spec

from .references import ask, load_pipeline
from .test_pipelines import CAPTIONS, Models, clips_for, condition_for, noise_for, times_for


def test_frames_per_second_reach_the_network_as_the_pipeline_hands_them_on(
    tiny_folder: Callable[[str], Path], tiny_model: Models
) -> None:
    folder = tiny_folder("skyreels_df")
    slow: Any = load_backbone("skyreels", str(folder), LoadOptions(fps=16.0))
    noise, condition = noise_for(slow, 1), condition_for(slow, "text", CAPTIONS[:1], 1)
    sampled = sample(slow, condition, noise, steps=3)
    theirs = ask(load_pipeline(folder), "text", noise, CAPTIONS[0], "", clips_for(slow)[0], 3, 1.0, fps=16)
    torch.testing.assert_close(sampled, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    own = sample(tiny_model("skyreels_df"), condition, noise, steps=3)
    assert (own - sampled).abs().max() > 1e-3


def test_each_frame_has_a_level_of_its_own(tiny_model: Models) -> None:
    """As diffusion forcing was trained: the level of one frame reaches what is said of it most."""
    model = tiny_model("skyreels_df")
    condition, noise = condition_for(model, "text"), noise_for(model)
    t = times_for(model, condition, 0.9)
    lower = t.clone()
    lower[:, 1] = 0.2
    with torch.no_grad():
        change = (model.predict(noise, lower, condition) - model.predict(noise, t, condition)).abs().amax((0, 1, 3, 4))
    assert change[1] == change.max() > 1e-3


def test_only_a_network_that_is_told_the_rate_has_another_than_24() -> None:
    slow = LoadOptions(fps=16.0)
    assert spec(released("skyreels-v2-df-1.3b-540p"), slow).fps == 16.0
    for name in ("skyreels-v2-df-14b-540p", "skyreels-v2-t2v-14b-540p", "skyreels-v2-i2v-1.3b-540p"):
        assert spec(released(name), slow).fps == spec(released(name), DEFAULTS).fps == 24.0


def test_a_model_between_two_frames_is_refused() -> None:
    folder = released("skyreels-v2-i2v-14b-540p")
    between = {**folder.configs, "transformer": {**folder.config("transformer"), "pos_embed_seq_len": 514}}
    with pytest.raises(ValueError, match="use the I2V model"):
        spec(replace(folder, configs=between), DEFAULTS)
