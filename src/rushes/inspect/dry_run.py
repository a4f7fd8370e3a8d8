"""What a step of a model costs, found without its weights and without computing anything.

The network is built and asked, forward and backward, with tensors that have a shape and no values, by the same code
that trains; `rushes.training.cost_counter` counts. The blocks of a transformer are equal, so that operations and bytes
grow by the same amount with each: a network of two of each kind and one of three say what all of them take.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from torch import Tensor, nn

from rushes import plugins
from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Backbone, Condition, LoadOptions
from rushes.backbones.feed_forward import chunk_feed_forward
from rushes.backbones.folders import Folder
from rushes.backbones.inflation import VideoUNet
from rushes.backbones.offload import streamed
from rushes.backbones.pipeline import DiffusersBackbone, Family
from rushes.backbones.quantized import Quantize, linear_layers, weight_bytes
from rushes.backbones.table import backbone_names
from rushes.config.clip_shapes import ClipShape
from rushes.inspect.blank import blank_part, condition_of, no_values
from rushes.training.activations import MainMemoryActivations, SyncOffload, Where
from rushes.training.cost_counter import CostCounter
from rushes.training.memory import saved_for_backward

DEPTHS = ("num_layers", "num_single_layers")  # of equal blocks, in the configurations of transformers
SMALL = 2  # blocks of a kind that are looked at, and one more for what the next costs


@dataclass(frozen=True)
class Cost:
    """Cost of one view of a clip, whatever the recipe makes of it; sizes in bytes."""

    parameters: int  # of all networks of the model (Wan 2.2 has two)
    trained: int  # of them, or of the adapter
    trained_bytes: int  # of one value for each of these
    weights: int  # bytes of the frozen and trained weights
    latents: tuple[int, int, int, int]  # C, F, H, W
    forward: float  # operations of a forward pass
    both: float  # of a forward and a backward pass, activations computed again where they are not kept
    saved: int  # bytes that a forward pass keeps for the backward pass
    # most bytes that are alive at once in a forward pass and in a backward pass, beside weights and their gradients
    forward_peak: int = 0
    backward_peak: int = 0
    sampling: int = 0  # most bytes that are alive at once in a forward pass of frozen weights
    weights_4bit: int = 0  # bytes of the weights where the frozen ones are held in 4 bits
    stays: int = 0  # bytes of weights that are in no block or are trained
    two_blocks: int = 0  # bytes of the frozen weights of the two largest
    main_memory: int = 0  # bytes of activations that wait in main memory, where they do
    unpacked: int = 0  # most bytes that a layer in 4 bits takes when it is at work
    networks: int = 1  # of the model; one of them is asked at a time

    @property
    def peak(self) -> int:
        """Most bytes that are alive at once in both passes, beside weights and their gradients."""
        return max(self.forward_peak, self.backward_peak)

    @property
    def activations(self) -> int:
        """Most bytes that a view's activations take at once."""
        return max(self.peak, self.saved)

    @property
    def resident(self) -> int:
        """Bytes of weights on the GPU where blocks are brought there one by one: one comes while one works."""
        return self.stays + self.two_blocks


def find_family(pipeline: str) -> Family:
    """The family that reads pipelines of this class. Raises ValueError: none does."""
    pipelines: list[str] = []
    for name in backbone_names():
        family = getattr(plugins.load("family", name, "backbones", ()), "FAMILY", None)
        if isinstance(family, Family):
            pipelines += family.pipelines
            if pipeline in pipelines:
                return family
    raise ValueError(f"there is no forecast for a {pipeline}; forecasts exist for {', '.join(pipelines)}")


def open_blank(folder: Folder, options: LoadOptions) -> DiffusersBackbone:
    """The model whose configurations lie in `folder`, on a CPU and of no use but to be measured."""
    backbone = DiffusersBackbone(folder, find_family(folder.pipeline), options)
    backbone.device = torch.device("cpu")
    backbone.dtype = torch.bfloat16 if options.dtype in ("auto", "bfloat16") else torch.float32
    return backbone


def latent_size(backbone: Backbone, clip: ClipShape) -> tuple[int, int, int, int]:
    """C, F, H, W of a clip's latents. Raises ValueError: a size or length that the model cannot take."""
    spec = backbone.spec
    spec.check_size(clip.height_px, clip.width_px)
    return spec.channels, *spec.latent_size(clip.frames, clip.height_px, clip.width_px)


def dry_run(
    folder: Folder,
    options: LoadOptions,
    clip: ClipShape,
    tune: str,
    rank: int,
    first_frame: bool = False,
    whole: bool = False,
    activations: Where = "keep",
) -> Cost:
    """Cost of a view of the model whose configurations lie in `folder`.

    Args:
        options: dtype, checkpointing and bits of its weights.
        tune: "full", "lora", or a group of weights that the model names.
        first_frame: whether a model that may be given a first frame is given one.
        whole: run all blocks, in place of two and three of each kind.
        activations: where they wait for the backward pass.

    Raises:
        ValueError: a size or length that the model cannot take, or a model whose cost cannot be found this way.
    """
    backbone = open_blank(folder, options)
    size = latent_size(backbone, clip)
    part = next(part for part in backbone.family.networks if folder.has(part))
    depths = {} if whole else _depths(folder, part)
    ask = _StepAsk(backbone, size, tune, rank=rank, first_frame=first_frame, activations=activations)
    try:
        least = _measured(ask, dict.fromkeys(depths, SMALL))
        more = {
            name: (_measured(ask, {**dict.fromkeys(depths, SMALL), name: SMALL + 1}), depth - SMALL)
            for name, depth in depths.items()
        }
    except RuntimeError as error:  # a network that looks at values, of which there are none
        why = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        raise ValueError(
            f"no forecast for this {backbone.spec.name}, because its network's operations depend on values ({why})"
        ) from error
    cost, networks = _at_depth(least, more), sum(folder.has(part) for part in backbone.family.networks)
    return replace(cost, networks=networks, **{name: networks * getattr(cost, name) for name in _BY_NETWORK})


@dataclass(frozen=True)
class _StepAsk:
    """What is measured."""

    backbone: DiffusersBackbone
    size: tuple[int, int, int, int]
    tune: str
    rank: int
    first_frame: bool
    activations: Where = "keep"


_BY_BLOCK = [each.name for each in fields(Cost) if each.name not in ("latents", "two_blocks", "networks")]
_BY_NETWORK = ("parameters", "trained", "trained_bytes", "weights", "weights_4bit", "stays", "two_blocks")


def _at_depth(least: Cost, more: Mapping[str, tuple[Cost, int]]) -> Cost:
    """Cost of the whole network, from that of a small one and of those with one block more of a kind."""
    totals = {name: getattr(least, name) for name in _BY_BLOCK}
    for other, count in more.values():
        each = {name: getattr(other, name) - getattr(least, name) for name in _BY_BLOCK}
        # A block's kept bytes are alive at any peak: one that small networks have elsewhere must not hide them.
        each |= {peak: max(each[peak], each["saved"]) for peak in ("forward_peak", "backward_peak")}
        totals = {name: total + count * each[name] for name, total in totals.items()}
    # The last block may be a smaller one: a block more then makes another the second largest, and once.
    two_blocks = max(cost.two_blocks for cost in (least, *(other for other, _ in more.values())))
    return replace(least, **totals, two_blocks=two_blocks)


def _depths(folder: Folder, part: str) -> dict[str, int]:
    """Numbers of equal blocks by their names in the configuration, where there are more than are looked at."""
    given = inspect.signature(folder.cls(part).__init__).parameters
    config = folder.config(part)
    depths = {name: config.get(name, given[name].default) for name in DEPTHS if name in given}
    return {name: depth for name, depth in depths.items() if isinstance(depth, int) and depth > SMALL + 1}


def _measured(ask: _StepAsk, depths: Mapping[str, int]) -> Cost:
    """Cost of one network with so many blocks."""
    backbone, options = ask.backbone, ask.backbone.options
    with no_values(backbone.dtype, blank_network(ask, depths)) as network:
        backbone.__dict__["network"] = network
        try:
            condition = condition_of(backbone, ask.size, ask.first_frame)
            weights = {p.untyped_storage()._cdata: p for p in network.parameters()}
            held = sum(p.numel() * p.element_size() for p in weights.values())
            trained = [p for p in network.parameters() if p.requires_grad]
            passes = measured_passes(backbone, ask.size, condition, ask.activations)
        finally:
            del backbone.__dict__["network"]
    own = {id(p) for name, p in network.named_parameters() if ".lora_" in name}
    return Cost(
        parameters=sum(p.numel() for p in network.parameters() if id(p) not in own),
        trained=sum(p.numel() for p in trained),
        trained_bytes=sum(p.numel() * p.element_size() for p in trained),
        weights=held - saved_bytes(network, options.quantize),
        latents=ask.size,
        weights_4bit=held - saved_bytes(network, "4bit"),
        **_resident(network, options),
        unpacked=_unpacked(network) if options.quantize == "4bit" else 0,
        **passes,
    )


class _Noted(SyncOffload):
    """Main memory of which only the size is there: what is copied out is freed, and what comes back is new."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.bytes = 0

    def out(self, tensor: Tensor) -> Any:
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor.shape, tensor.dtype

    def begin(self, copy: Any) -> Tensor:
        shape, dtype = copy
        return torch.empty(shape, dtype=dtype)


def measured_passes(
    backbone: Backbone, size: tuple[int, int, int, int], condition: Condition, activations: Where = "keep"
) -> dict[str, Any]:
    """Operations and bytes of a clip's passes through a network, by the names in `Cost`."""
    network = backbone.network
    # A gradient that is there is added to in place: its bytes are not those of activations.
    for p in network.parameters():
        p.grad = torch.empty_like(p) if p.requires_grad else None
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    ask = (torch.empty(1, *size), torch.full((1, size[1]), 0.5), condition)
    held = [*network.parameters(), *network.buffers(), *gradients, *ask[:2], condition.text, *condition.more.values()]
    trained = [p for p in network.parameters() if p.requires_grad]
    network.requires_grad_(False)  # of weights that are trained, autocast would keep copies
    with CostCounter(held) as sampled, torch.no_grad():
        backbone.predict(*ask)
    for p in trained:
        p.requires_grad_(True)
    main = _Noted()
    waiting = MainMemoryActivations(network, main).waiting if activations == "offload" else nullcontext
    with CostCounter(held) as counter:
        with saved_for_backward(network) as saved, waiting():
            prediction = backbone.predict(*ask)
        forward, saved_bytes = counter.operations, sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
        forward_peak = counter.peak
        saved.clear()
        counter.restart()
        prediction.float().pow(2).mean().backward()
        del prediction
    for p in network.parameters():
        p.grad = None
    return {
        "forward": forward,
        "both": counter.operations,
        "saved": saved_bytes,
        "forward_peak": forward_peak,
        "backward_peak": counter.peak,
        "sampling": sampled.peak,
        "main_memory": main.bytes,
    }


def blank_network(ask: _StepAsk, depths: Mapping[str, int]) -> nn.Module:
    """The network as it is trained, on the device that holds no values, with so many blocks."""
    backbone = ask.backbone
    part = next(part for part in backbone.family.networks if backbone.folder.has(part))
    with torch.device("meta"):
        network = blank_part(backbone.folder, part, backbone.dtype, depths)
        if backbone.family.name == "inflated_sd":
            network = VideoUNet(cast(Any, network)).to(backbone.dtype)
    network.eval().requires_grad_(False)
    backbone.family.adjust(network)
    if backbone.options.feed_forward_chunk:
        chunk_feed_forward(network, backbone.options.feed_forward_chunk)
    if backbone.options.checkpointing:
        cast(Any, network).enable_gradient_checkpointing()
    if ask.tune == "lora":
        add_lora(network, backbone.spec.lora_targets, ask.rank, ask.rank)
        return network
    patterns = {"full": ("*",), **backbone.spec.tunable}[ask.tune]
    for name, p in network.named_parameters():
        p.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
    return network


def saved_bytes(network: nn.Module, bits: Quantize) -> int:
    """Bytes that the frozen weights take less in 8 or 4 bits."""
    if bits == "none":
        return 0
    weights = [layer.weight for path, layer in linear_layers(network) if ".lora_" not in path]
    return sum(p.numel() * p.element_size() - weight_bytes(p.shape, bits) for p in weights)


def _resident(network: nn.Module, options: LoadOptions) -> dict[str, int]:
    """Bytes of the weights that are in no list of blocks or are trained, and of the two largest blocks: one comes while
    one works."""

    def size(module: nn.Module, frozen: bool = False) -> int:
        weights = (p for p in module.parameters() if not (frozen and p.requires_grad))
        return sum(p.numel() * p.element_size() for p in weights) - saved_bytes(module, options.quantize)

    blocks = [size(block, frozen=True) for block in streamed(network)]
    return {"stays": size(network) - sum(blocks), "two_blocks": sum(sorted(blocks)[-2:])}


def _unpacked(network: nn.Module) -> int:
    """Bytes of the largest layer's weights in bfloat16, and of its scales in float32."""
    layers = [layer.weight.numel() for path, layer in linear_layers(network) if ".lora_" not in path]
    return round(max(layers, default=0) * (2 + 4 / 64))
