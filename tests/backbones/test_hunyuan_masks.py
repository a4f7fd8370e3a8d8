"""Attention without masks of queries: the answers of diffusers' transformers, for captions of any length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from torch import Tensor

from rushes.backbones.base import Condition
from rushes.backbones.pipeline import DiffusersBackbone

from .test_pipelines import CAPTIONS, Models, condition_for, mode_of, noise_for, times_for

# The second has words in quotes, which HunyuanVideo 1.5 reads by their letters; the first has none.
MIXED = [CAPTIONS[0], CAPTIONS[1]]
every_form = pytest.mark.parametrize("name", ["hunyuan", "hunyuan_i2v", "hunyuan15", "hunyuan15_i2v"])


def whole_masks(model: DiffusersBackbone, noise: Tensor, t: Tensor, condition: Condition) -> Tensor:
    """The answer of diffusers' transformer with its own processors, given padding and masks."""
    network: Any = model.folder.load("transformer", torch.float32).eval()
    more = condition.more
    extra: dict[str, Any]
    if model.spec.name == "hunyuan":
        scale = torch.full((len(noise),), 1000.0) if model.spec.guidance == "embedded" else None
        extra = {"pooled_projections": more["pooled"], "guidance": scale}
        x, time = noise, 1000 * t[:, -1]
    else:
        shown = noise.new_zeros(len(noise), noise.shape[1] + 1, *noise.shape[2:])
        image = noise.new_zeros(len(noise), 729, network.config.image_embed_dim)
        if "first" in more:
            shown[:, :-1, :1], shown[:, -1, 0], image = more["first"], 1.0, more["image"].flatten(2)
        x, time = torch.cat([noise, shown], 1), 1000 * t[:, -1]
        extra = {"encoder_hidden_states_2": more["glyphs"], "encoder_attention_mask_2": more["glyphs_mask"]}
        extra["image_embeds"] = image
    with torch.no_grad():
        answer: Tensor = network(x, time, condition.text, more["mask"], return_dict=False, **extra)[0]
    return answer


@every_form
def test_the_answers_are_those_with_whole_masks(name: str, tiny_model: Models) -> None:
    """For rows of unequal captions, of equal ones and alone; for one row the same in any company."""
    model = tiny_model(name)
    noise = noise_for(model)
    for captions in (MIXED, [MIXED[1]] * 2, MIXED[:1]):
        rows = len(captions)
        condition = condition_for(model, mode_of(model), captions, rows)
        t = times_for(model, condition, 0.6, rows)
        with torch.no_grad():
            ours = model.predict(noise[:rows], t, condition)
        torch.testing.assert_close(ours, whole_masks(model, noise[:rows], t, condition), rtol=1e-4, atol=1e-5)
        if captions == MIXED:
            assert not torch.equal(condition.more["mask"][0], condition.more["mask"][1])
            with torch.no_grad():
                alone = model.predict(noise[:1], t[:1], condition[:1])
            torch.testing.assert_close(ours[:1], alone, rtol=1e-4, atol=1e-5)


@every_form
def test_no_attention_of_the_clip_has_a_mask_of_queries(
    name: str, tiny_model: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, noise = tiny_model(name), noise_for(tiny_model(name))
    masks: list[Any] = []
    whole = HunyuanVideoAttnProcessor2_0.__call__

    def watched(self: Any, attn: Any, x: Tensor, text: Any = None, mask: Any = None, rotary: Any = None) -> Any:
        masks.append(mask)
        return whole(self, attn, x, text, mask, rotary)

    monkeypatch.setattr(HunyuanVideoAttnProcessor2_0, "__call__", watched)
    for captions, masked in ((MIXED[:1], False), ([MIXED[1]] * 2, False), (MIXED, True)):
        condition = condition_for(model, mode_of(model), captions, len(captions))
        masks.clear()
        with torch.no_grad():
            model.predict(noise[: len(captions)], times_for(model, condition, 0.6, len(captions)), condition)
        assert masks and all((mask is not None) == masked for mask in masks)
        assert all(mask.shape[1:3] == (1, 1) for mask in masks if mask is not None)


def test_gradients_through_blocks_that_are_run_again_are_the_same(
    tiny_folder: Callable[[str], Path], tiny_model: Models
) -> None:
    """A pass of other rows comes between a forward pass and its backward pass, which runs the blocks again."""
    model = tiny_model("hunyuan15")
    network, noise = model.network, noise_for(model)
    pairs = [condition_for(model, "text", captions) for captions in (MIXED, [MIXED[1]] * 2)]
    t = times_for(model, pairs[0], 0.6)
    gradients = []
    for between in (False, True):
        network.requires_grad_(True).zero_grad()
        out = model.predict(noise, t, pairs[0])
        if between:
            model.predict(noise, t, pairs[1])
        out.pow(2).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)
