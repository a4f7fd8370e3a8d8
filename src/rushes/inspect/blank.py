"""Parts of a model whose tensors have a shape and a dtype and no values: they take no memory and compute nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rushes.backbones.base import Condition
from rushes.backbones.folders import Folder
from rushes.backbones.pipeline import DiffusersBackbone

AS_RELEASED: Mapping[str, Any] = MappingProxyType({})


def blank_part(folder: Folder, part: str, dtype: torch.dtype, changes: Mapping[str, Any] = AS_RELEASED) -> nn.Module:
    """A part out of its configuration, some of it changed, on torch's default device; no weights are read."""
    cls, config = folder.cls(part), {**folder.config(part), **changes}
    with _default(dtype):
        module: nn.Module = cls(cls.config_class(**config)) if hasattr(cls, "config_class") else cls.from_config(config)
    return module.eval()


@contextmanager
def no_values(dtype: torch.dtype, module: nn.Module) -> Iterator[nn.Module]:
    """Lend a module whose tensors have no values; nor have new ones, which are of `dtype` by default."""
    with FakeTensorMode(allow_non_fake_inputs=True), _default(dtype):
        yield _without_values(module)


def _without_values(network: nn.Module) -> nn.Module:
    """The network with tensors of the mode that is on; in place. Those of device "meta" choose other operations."""
    wide = {*(getattr(network, "_keep_in_fp32_modules", None) or ())}  # which diffusers loads in float32 in any case
    for path, module in network.named_modules():
        for name, p in module._parameters.items():
            if p is not None:
                dtype = torch.float32 if wide & {*path.split("."), name} else p.dtype
                module._parameters[name] = nn.Parameter(torch.empty(p.shape, dtype=dtype), p.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return network


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """New tensors have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)


# Tokens of the first frame that stand before a caption's, by HunyuanVideo's image_condition_type.
SEEN = {"token_replace": 144, "latent_concat": 288}


def tokens_of(backbone: DiffusersBackbone) -> dict[str, int]:
    """Tokens of a caption at its longest, by the texts that a network is given."""
    family = backbone.family
    longer = family.longest_caption(backbone.folder) // family.tokens["text"][0]  # where models of it differ
    return {name: longer * tokens for name, (tokens, _) in family.tokens.items()}


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
    stills = {"start": (1, c, f, h, w), "first": (1, c, 1, h, w), "image": (1, tokens, config.get(width) or 0, 1, 1)}
    shown = tuple(name for name in backbone.spec.still if name in stills)
    if "text" not in backbone.spec.modes and not shown and backbone.spec.first_frame == "channels":
        shown = ("first",)
    clean = backbone.spec.first_frame == "clean" and (first_frame or "text" not in backbone.spec.modes)
    given = torch.empty(1, c, 1, h, w) if clean else None
    return Condition(more.pop("text"), given, {**more, **{name: torch.empty(stills[name]) for name in shown}})


def _config(network: Any) -> Any:
    """The configuration of a network, of the first of two experts, or of the image network in an inflated one."""
    for name in ("high", "unet"):
        network = getattr(network, name, network)
    return network.config


def _width(name: str, config: Any) -> str:
    """The key that holds a text's width: LTX-2 has another where its captions were projected beforehand."""
    projected = name == "caption_channels" and config.get("use_prompt_embeddings") is False
    return "cross_attention_dim" if projected else name
