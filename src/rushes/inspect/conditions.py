"""What a network is shown beside a clip, in its shapes and without values: captions at their longest, first frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rushes.backbones.base import Condition
from rushes.backbones.pipeline import DiffusersBackbone

CONDITIONS = "LTXConditionPipeline"  # whose captions are twice as long
# Tokens of the first frame that stand before a caption's, by HunyuanVideo's image_condition_type.
SEEN = {"token_replace": 144, "latent_concat": 288}


def tokens_of(backbone: DiffusersBackbone) -> dict[str, int]:
    """Tokens of a caption at its longest, by the texts that a network is given."""
    longer = 2 if backbone.folder.pipeline == CONDITIONS else 1
    return {name: longer * tokens for name, (tokens, _) in backbone.family.tokens.items()}


def condition_of(backbone: DiffusersBackbone, size: tuple[int, int, int, int], first_frame: bool) -> Condition:
    """What the network is given beside the clip, with a first frame where it always or here takes one."""
    config: Any = _config(backbone.network)
    c, f, h, w = size
    more: dict[str, Tensor] = {}
    seen = SEEN.get(config.get("image_condition_type") or "", 0)
    for name, tokens in tokens_of(backbone).items():
        width = backbone.family.tokens[name][1]
        shape = [n for n in (1, tokens and tokens + seen, config[_width(width, config)] if width else 0) if n]
        more[name] = torch.empty(shape) if width else torch.ones(shape, dtype=torch.bool)
    tokens, width = backbone.family.image_tokens
    stills = {
        "start": (1, c, f, h, w),
        "first": (1, c, 1, h, w),
        "image": (1, tokens, config.get(width) or 0, 1, 1),
    }
    shown = tuple(name for name in backbone.spec.still if name in stills)
    if "text" not in backbone.spec.modes and not shown and backbone.spec.first_frame == "channels":
        shown = ("first",)
    condition = Condition(more.pop("text"), None, {**more, **{name: torch.empty(stills[name]) for name in shown}})
    clean = backbone.spec.first_frame == "clean" and (first_frame or "text" not in backbone.spec.modes)
    return Condition(condition.text, torch.empty(1, c, 1, h, w), condition.more) if clean else condition


def _config(network: Any) -> Any:
    """Of a network, of the first of two experts, or of the image network in an inflated one."""
    for name in ("high", "unet"):
        network = getattr(network, name, network)
    return network.config


def _width(name: str, config: Any) -> str:
    """The key that holds a text's width: LTX-2 has another where its captions were projected beforehand."""
    projected = name == "caption_channels" and config.get("use_prompt_embeddings") is False
    return "cross_attention_dim" if projected else name
