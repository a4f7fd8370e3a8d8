"""What a step of a model costs, found without its weights and without computing anything.

The network is built and asked, forward and backward, with tensors that have a shape and no values. The operations that
it would take are counted, and so are the bytes that it would keep for the backward pass, by the same code that trains.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Condition, How
from rushes.backbones.folders import Folder
from rushes.backbones.loading import backbone_names
from rushes.backbones.pipeline import DiffusersBackbone, Family
from rushes.backbones.quantized import linear_layers, weight_bytes

# tokens of a caption, and the width's name in the network's configuration, for each text that a network is given
TEXTS: dict[str, dict[str, tuple[int, str]]] = {
    "wan": {"text": (512, "text_dim")},
    "cogvideox": {"text": (226, "text_embed_dim")},
    "ltx": {"text": (128, "caption_channels"), "mask": (128, "")},
    "hunyuan": {"text": (256, "text_embed_dim"), "mask": (256, ""), "pooled": (0, "pooled_projection_dim")},
}
# tokens of the first frame that stand before a caption's, by HunyuanVideo's image_condition_type
SEEN = {"token_replace": 144, "latent_concat": 288}


@dataclass(frozen=True)
class Clip:
    """Size of what a step sees."""

    height_px: int
    width_px: int
    frames: int


@dataclass(frozen=True)
class Cost:
    """Of one view of a clip, whatever the recipe makes of it; sizes in bytes.

    Attributes:
        parameters: of all networks of the model (Wan 2.2 has two).
        trained: of them, or of the adapter.
        trained_bytes: of one value for each of these.
        weights: bytes of the frozen and trained weights.
        latents: C, F, H, W.
        forward: operations of a forward pass.
        both: of a forward and a backward pass, activations computed again where they are not kept.
        kept: bytes that a forward pass keeps for the backward pass.
        again: bytes that computing one block again takes, with checkpointing.
    """

    parameters: int
    trained: int
    trained_bytes: int
    weights: int
    latents: tuple[int, int, int, int]
    forward: float
    both: float
    kept: int
    again: int = 0

    @property
    def activations(self) -> int:
        """Most bytes that a view's activations take at once."""
        return self.kept + self.again


def find_family(pipeline: str) -> Family:
    """The family that reads pipelines of this class.

    Raises:
        ValueError: none does.
    """
    known: list[str] = []
    for name in backbone_names():
        family = getattr(importlib.import_module(f"rushes.backbones.{name}"), "FAMILY", None)
        if isinstance(family, Family):
            known += family.pipelines if family.name in TEXTS else ()
            if pipeline in known:
                return family
    raise ValueError(f"there is no forecast for a {pipeline} yet; there is one for {', '.join(known)}")


def dry_run(folder: Folder, how: How, clip: Clip, tune: str, rank: int, first_frame: bool = False) -> Cost:
    """Cost of a view of the model whose configurations lie in `folder`.

    Raises:
        ValueError: a size or length that the model cannot take, or a model whose cost cannot be found this way.
    """
    family = find_family(folder.pipeline)
    backbone = DiffusersBackbone(folder, family, how)
    backbone.device = torch.device("cpu")
    backbone.dtype = torch.bfloat16 if how.dtype in ("auto", "bfloat16") else torch.float32
    spec = backbone.spec
    spec.check_size(clip.height_px, clip.width_px)
    ratio = spec.spatial_ratio
    size = (spec.channels, spec.latent_frames(clip.frames), clip.height_px // ratio, clip.width_px // ratio)
    try:
        cost = _measured(backbone, size, tune, rank, how.checkpointing, first_frame)
        if how.checkpointing:  # a block is computed again, at what it keeps when all is kept
            whole = _measured(backbone, size, tune, rank, False, first_frame)
            blocks = sum(len(part) for part in backbone.network.children() if isinstance(part, nn.ModuleList))
            cost = Cost(**{**cost.__dict__, "again": whole.kept // max(blocks, 1)})
    except RuntimeError as error:  # a network that looks at values, of which there are none
        why = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        raise ValueError(f"no forecast for this {family.name}, whose network looks at values ({why})") from error
    finally:
        backbone.__dict__.pop("network", None)
    return cost


def _measured(
    backbone: DiffusersBackbone, size: tuple[int, int, int, int], tune: str, rank: int, again: bool, first_frame: bool
) -> Cost:
    parts = [part for part in backbone.family.networks if backbone.folder.has(part)]
    with _default(backbone.dtype), torch.device("meta"):
        network: Any = backbone.folder.cls(parts[0]).from_config(backbone.folder.config(parts[0]))
    network.eval().requires_grad_(tune == "full")
    if again:
        network.enable_gradient_checkpointing()
    saved = _saved(network, backbone.how)
    if tune != "full":
        add_lora(network, backbone.spec.lora_targets, rank, rank)
    with FakeTensorMode(allow_non_fake_inputs=True), _default(backbone.dtype):
        backbone.__dict__["network"] = _without_values(network)
        weights = {p.untyped_storage()._cdata: p for p in network.parameters()}
        trained = [p for p in network.parameters() if p.requires_grad]
        condition = _condition(backbone, network.config, size, first_frame)
        ask = (torch.empty(1, *size), torch.full((1, size[1]), 0.5), condition)
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage()._cdata not in weights:
                kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with FlopCounterMode(display=False) as counted:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                made = backbone.predict(*ask)
            forward = counted.get_total_flops()
            made.float().pow(2).mean().backward()
            both = counted.get_total_flops()
    return Cost(
        parameters=len(parts) * sum(p.numel() for p in network.parameters() if p not in set(trained) or tune == "full"),
        trained=len(parts) * sum(p.numel() for p in trained),
        trained_bytes=len(parts) * sum(p.numel() * p.element_size() for p in trained),
        weights=len(parts) * (sum(p.numel() * p.element_size() for p in weights.values()) - saved),
        latents=size,
        forward=float(forward),
        both=float(both),
        kept=sum(tensor.untyped_storage().nbytes() for tensor in kept.values()),
    )


def _saved(network: nn.Module, how: How) -> int:
    """Bytes that the frozen weights take less in 8 or 4 bits."""
    if how.quantize == "none":
        return 0
    weights = [layer.weight for _, layer in linear_layers(network)]
    return sum(p.numel() * p.element_size() - weight_bytes(p.shape, how.quantize) for p in weights)


def _without_values(network: nn.Module) -> nn.Module:
    """The network with tensors of the mode that is on; in place. Those of device "meta" choose other operations."""
    wide = set(
        getattr(network, "_keep_in_fp32_modules", None) or ()
    )  # which diffusers loads in float32 whatever the rest
    for path, module in network.named_modules():
        for name, p in module._parameters.items():
            if p is not None:
                dtype = torch.float32 if wide & {*path.split("."), name} else p.dtype
                module._parameters[name] = nn.Parameter(torch.empty(p.shape, dtype=dtype), p.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return network


def _condition(
    backbone: DiffusersBackbone, config: Any, size: tuple[int, int, int, int], first_frame: bool
) -> Condition:
    """What a network is given beside the clip, in its shapes."""
    c, f, h, w = size
    more: dict[str, Tensor] = {}
    seen = SEEN.get(config.get("image_condition_type") or "", 0)
    for name, (tokens, width) in TEXTS[backbone.family.name].items():
        shape = [n for n in (1, tokens and tokens + seen, config[width] if width else 0) if n]
        more[name] = torch.empty(shape) if width else torch.ones(shape, dtype=torch.bool)
    stills = {
        "start": (1, c, f, h, w),
        "first": (1, c, 1, h, w),
        "image": (1, 257, config.get("image_dim") or config.get("image_embed_dim") or 0, 1, 1),
    }
    shown = tuple(name for name in backbone.spec.still if name in stills)
    if "text" not in backbone.spec.modes and not shown and backbone.spec.first_frame == "channels":
        shown = ("first",)
    condition = Condition(more.pop("text"), None, {**more, **{name: torch.empty(stills[name]) for name in shown}})
    if first_frame and backbone.spec.first_frame == "clean":
        return Condition(condition.text, torch.empty(1, c, 1, h, w), condition.more)
    return condition


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
