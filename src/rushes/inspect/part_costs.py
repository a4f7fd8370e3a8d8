"""What a model's codec and readers cost: operations and bytes of coding a clip, and of reading a caption.

The codec runs with tensors that have shapes and no values, in tiles where it works in tiles. Its encoder and decoder
meet the same shapes again and again, tile after tile; what a call has cost is kept, and the next one of these shapes is
not run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from rushes.backbones.base import LoadOptions
from rushes.backbones.folders import Folder
from rushes.config.clip_shapes import ClipShape
from rushes.inspect.blank import blank_part, no_values, tokens_of
from rushes.inspect.dry_run import latent_size, open_blank, saved_bytes
from rushes.training.cost_counter import CostCounter

READERS = ("text_encoder", "text_encoder_2", "image_encoder", "connectors")  # parts that read captions or first frames
BLENDS = ("blend_v", "blend_h", "blend_t")  # methods of codecs that blend a tile with the one before it
MASK = "prepare_causal_attention_mask"  # method of a block that makes one


@dataclass(frozen=True)
class CodecCost:
    """Cost of one clip in the codec, which works in float32."""

    weights: int = 0  # bytes
    encode: float = 0.0  # operations of encoding a clip
    decode: float = 0.0  # of decoding one
    encode_first: float = 0.0  # of encoding one frame
    encode_bytes: int = 0  # most bytes that are alive at once while a clip is encoded, beside the weights
    decode_bytes: int = 0  # while one is decoded

    @classmethod
    def counted(cls, weights: int, clip: CostCounter, first: CostCounter, decoded: CostCounter) -> CodecCost:
        """The cost that was counted of encoding a clip and one frame, and of decoding a clip."""
        return cls(
            weights,
            clip.operations,
            decoded.operations,
            first.operations,
            encode_bytes=clip.peak,
            decode_bytes=decoded.peak,
        )


@dataclass(frozen=True)
class ReaderCost:
    """Cost of reading one caption."""

    weights: int = 0  # bytes of all parts that read, which are in memory together
    operations: float = 0.0  # of one caption: two for each weight and token. Attention among so few tokens is left out


def codec_cost(folder: Folder, options: LoadOptions, clip: ClipShape) -> CodecCost:
    """Cost of the codec of the model whose configurations lie in `folder`, for clips of a size.

    Raises ValueError: a size or length that the model cannot take.
    """
    backbone = open_blank(folder, options)
    family, (c, f, h, w) = backbone.family, latent_size(backbone, clip)
    with torch.device("meta"):
        codec: Any = blank_part(folder, "vae", torch.float32).requires_grad_(False)
    if options.tiling and hasattr(codec, "enable_tiling"):
        codec.enable_tiling()

    def encode(pixels: Tensor) -> Tensor:
        return family.normalise(codec, family.encode(codec, pixels))

    def decode(latents: Tensor) -> Tensor:
        return family.decode(codec, family.denormalise(codec, latents), options)

    with no_values(torch.float32, codec), torch.no_grad():
        of_clip, of_first = (
            _run(codec, encode, torch.empty(1, 3, frames, clip.height_px, clip.width_px)) for frames in (clip.frames, 1)
        )
        decoded = _run(codec, decode, torch.empty(1, c, f - backbone.spec.lead, h, w))
    return CodecCost.counted(_own_bytes(codec.parameters()), of_clip, of_first, decoded)


def reader_cost(folder: Folder, options: LoadOptions) -> ReaderCost:
    """Cost on a GPU of reading a caption with the readers of the model whose configurations lie in `folder`."""
    backbone = open_blank(folder, options)
    dtype = torch.float32 if options.dtype == "float32" else torch.bfloat16  # also beside a network in mixed precision
    longest = max(tokens_of(backbone).values())
    weights, operations = 0, 0.0
    for part in filter(folder.has, READERS):
        with torch.device("meta"):
            reader = blank_part(folder, part, dtype)
        weights += (
            _reading_bytes(reader, options) if part.startswith("text_encoder") else _own_bytes(reader.parameters())
        )
        looked_up = {id(p) for m in reader.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        operations += 2.0 * longest * sum(p.numel() for p in reader.parameters() if id(p) not in looked_up)
    return ReaderCost(weights, operations)


def _reading_bytes(encoder: nn.Module, options: LoadOptions) -> int:
    """What a text encoder's weights take on the GPU: all of them, in the bits asked for, or its largest layer."""
    if options.text_offload:
        return max(_own_bytes(module.parameters(recurse=False)) for module in encoder.modules())
    return _own_bytes(encoder.parameters()) - saved_bytes(encoder, options.text_quantize)


def _own_bytes(weights: Iterable[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in weights)


def _run(codec: Any, work: Callable[[Tensor], object], given: Tensor) -> CostCounter:
    counter = CostCounter([*codec.parameters(), *codec.buffers(), given])
    with counter:
        calls: dict[tuple[Any, str], Any] = {}
        for part in (codec.encoder, codec.decoder):
            calls[part, "forward"] = _Remembered(part.forward, counter)
        # Seams are blended row by row, which is nothing to a GPU and many thousand calls here.
        calls |= {(codec, name): lambda before, tile, extent: tile for name in BLENDS if hasattr(codec, name)}
        # HunyuanVideo 1.5 fills its mask row by row too.
        masked = [module for module in codec.modules() if hasattr(module, MASK)]
        calls |= {(module, MASK): _mask for module in masked}
        for (part, name), call in calls.items():
            setattr(part, name, call)
        try:
            work(given)
        finally:
            for part, name in calls:
                delattr(part, name)
    return counter


def _mask(frames: int, positions: int, dtype: torch.dtype, device: torch.device, batch_size: int = 1) -> Tensor:
    tokens = frames * positions
    return torch.empty(tokens, tokens, dtype=dtype, device=device).expand(batch_size, -1, -1)


@dataclass(frozen=True)
class _Blank:
    """A tensor's shape and dtype."""

    shape: torch.Size
    dtype: torch.dtype

    def filled(self) -> Tensor:
        return torch.empty(self.shape, dtype=self.dtype)


@dataclass(frozen=True)
class _Call:
    """What one call gave, what it made of lists that it was given, and what it cost."""

    out: Any
    lists: list[Any]
    operations: Counter[str]
    above: int


@dataclass
class _Remembered:
    """A module's forward that runs once for each set of shapes; what it writes into lists is written again."""

    forward: Any
    counter: CostCounter
    calls: dict[Any, _Call] = field(default_factory=dict)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = _key((args, kwargs))
        lists = [each for each in (*args, *kwargs.values()) if isinstance(each, list)]
        if key in self.calls:
            call = self.calls[key]
            for each, after in zip(lists, call.lists, strict=True):
                for place, leaf in enumerate(after):  # one by one, so that what was there is freed
                    each[place] = None
                    each[place] = _filled(leaf)
            self.counter.add(call.operations, call.above)
            return tree_map(_filled, call.out)
        with self.counter.apart() as cost:
            out = self.forward(*args, **kwargs)
        after = [[_blank(leaf) for leaf in each] for each in lists]
        self.calls[key] = _Call(tree_map(_blank, out), after, cost.operations, cost.above)
        return out


def _blank(leaf: Any) -> Any:
    return _Blank(leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf


def _filled(leaf: Any) -> Any:
    return leaf.filled() if isinstance(leaf, _Blank) else leaf


def _key(given: Any) -> tuple[Any, ...]:
    leaves, form = tree_flatten(given)
    return str(form), tuple(map(_blank, leaves))
