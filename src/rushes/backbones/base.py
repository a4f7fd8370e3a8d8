"""What every stage may ask of a video model. Implementations live beside this file, one per model family.

Shapes: B batch, T pixel frames, C latent channels, F latent frames, H, W latent height and width.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rushes.config.clip_shapes import ClipShape
from rushes.noise.paths import NoisePath
from rushes.tensor_files import tensors_digest

MAIN_MEMORY = torch.device("cpu")
_LOG = logging.getLogger(__name__)
Precision = Literal["auto", "float32", "bfloat16", "mixed"]


def trained_precision(asked: Precision, changes_weights: bool, device: str) -> Precision:
    """The precision of a network that is trained, or was.

    A step of full tuning moves a weight by about the learning rate. bfloat16 has 8 bits of mantissa: a step below 1/512
    of the weight is rounded away, so that at 1e-6 some 2 % of the weights move at all. Merging an adapter into such
    weights rounds it likewise.

    Args:
        asked: what `backbone.dtype` says; all but "auto" is taken as it is.
        changes_weights: whether a run, or one that it starts from, tunes the network's own weights or merges an adapter
            into them. An adapter over a frozen network is float32 whatever the network's precision.
        device: "cuda" or "cpu".

    Returns:
        "mixed" for "auto" where own weights change on a GPU, else what was asked for.
    """
    return "mixed" if asked == "auto" and changes_weights and device == "cuda" else asked


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded and run; what the `[backbone]` settings choose beside the weights.

    Args:
        dtype: of the network. "mixed" keeps float32 weights and computes in bfloat16; "auto" is bfloat16 on a GPU and
            float32 without one. See `trained_precision` for a network that is trained.
        checkpointing: activations are computed again in the backward pass instead of kept.
        tiling: the codec works in overlapping tiles where frames are large.
        fps: frames per second of the clips, for models that are told; None = the model's own.
        quantize: the frozen network is held in 8 or 4 bits a weight.
        offload: the network lies in main memory, and its blocks come to the GPU one by one; or, of two experts, that
            which is not asked lies there.
        feed_forward_chunk: tokens that a feed-forward layer takes at once; 0 = all.
        text_quantize: text encoders are held in 8 or 4 bits a weight.
        text_offload: text encoders lie in main memory, and their layers come to the GPU one by one.
        attention: diffusers' name of an attention backend; "" = torch's own choice.
        compile: the network's repeated blocks are compiled.
        parked: the network stays in main memory until it is brought to where it works.
        texts: folder in which what captions were read as is kept for the next start; None = nowhere.
        decode_timestep: time that a decoder which finishes the denoising is told, in [0, 1].
        decode_noise_scale: share of noise in the latents that it gets, in [0, 1]; None = as `decode_timestep`.
    """

    dtype: Precision = "auto"
    checkpointing: bool = True
    tiling: bool = True
    fps: float | None = None
    quantize: Literal["none", "8bit", "4bit"] = "none"
    offload: Literal[False, True, "idle_expert"] = False
    feed_forward_chunk: int = 0
    text_quantize: Literal["none", "8bit", "4bit"] = "none"
    text_offload: bool = False
    attention: str = ""
    compile: bool = False
    parked: bool = False
    texts: Path | None = None
    decode_timestep: float = 0.0
    decode_noise_scale: float | None = None


DEFAULTS = LoadOptions()


class Solver(Protocol):
    """Steps from one noise level to the next."""

    levels: Tensor  # [n] falling; the network is asked once at each

    def step(self, prediction_BCFHW: Tensor, noised_BCFHW: Tensor, index: int, given: bool) -> Tensor:
        """Latents after step `index`, which starts at `levels[index]`; `given`: latent frame 0 is clean."""
        ...


LatentSize = tuple[int, int, int]  # latent frames, height and width
# steps, shift (None = the model's own), time to start from, size of the latents
MakeSolver = Callable[[int, float | None, float, LatentSize], Solver]


@dataclass(frozen=True)
class BackboneSpec:
    """Facts of a model that the rest of the program needs."""

    name: str
    modes: tuple[str, ...]  # "text" (from a caption alone), "first_frame"
    path: NoisePath
    channels: int
    temporal_ratio: int  # pixel frames per latent frame; latent frame 0 holds one pixel frame
    spatial_ratio: int
    fps: float
    shift: float  # of its sampling schedule
    lora_targets: tuple[str, ...]  # names of the linear layers that adapters go into, or ends of their paths
    # How a first frame enters: "clean" replaces latent frame 0, which is then neither noised nor scored; "channels" is
    # shown beside the latents, all of which are noised and scored.
    first_frame: Literal["clean", "channels"] = "clean"
    still: tuple[str, ...] = ()  # what `Backbone.still` makes of a first frame beside its latent
    multiple_px: int = 0  # heights and widths are multiples of it; 0 = of the spatial ratio
    only_px: tuple[int, int] | None = None  # the one height and width that there is, for learned positions
    # What limits clips or concerns sampling alone changes no prediction, so no cache is named after it (repr=False).
    only_frames: int = field(default=0, repr=False)  # the one number of frames, for learned positions; 0 = any
    most_px: tuple[int, int] | None = field(default=None, repr=False)  # largest height and width that have positions
    most_frames: int = field(default=0, repr=False)  # largest number of frames that have positions; 0 = any
    # Copies of latent frame 0 that stand in front, for a network that takes latent frames in groups of 1 + lead.
    lead: int = 0
    start_share: float = 0.0  # of the first frame's latent, in all frames of the noise that sampling starts from
    guidance: Literal["two_passes", "embedded"] = "two_passes"  # embedded: the scale is an input of the network
    boundary: float | None = None  # of two experts, the first answers from this noise level up
    # The model's own; None = Euler or DDIM on a shifted grid. Neither it nor `shift_of` is shown, as caches are named
    # after what is, and a function shows its place in memory.
    solver: MakeSolver | None = field(default=None, repr=False)
    # The shift of clips of a latent size, where it depends on that; None = `shift`, whatever the size.
    shift_of: Callable[[LatentSize], float] | None = field(default=None, repr=False)
    # Amount of noise on a clean first frame in sampling, as its pipeline has it; None = the model has no such noise.
    image_cond_noise_scale: float | None = field(default=None, repr=False)
    # Name in `Condition.more` of the latents whose frame 0 shows the first frame, where it enters as channels.
    shown: str = field(default="first", repr=False)
    told_rate: bool = field(default=False, repr=False)  # the network is told the clips' frames a second, any number
    # Groups of weights that may be trained alone, by patterns of their names.
    tunable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of `frames` pixel frames, those in front included.

        Raises:
            ValueError: the codec cannot take that number.
        """
        if self.only_frames and frames not in (1, self.only_frames):  # a first frame alone goes to the codec alone
            raise ValueError(
                f"this {self.name} works only with {self.only_frames} frames, got {frames}; use {self.only_frames}"
            )
        if self.most_frames and frames > self.most_frames:
            raise ValueError(
                f"this {self.name} has positions for at most {self.most_frames} frames, got {frames}; "
                f"use {self.largest(frames)}"
            )
        low = self.largest(max(frames, 1))
        if frames != low:
            step = self.temporal_ratio * (1 + self.lead)
            raise ValueError(f"{self.name} needs 1 + {step} k frames, got {frames}; use {low} or {low + step}")
        return 1 + (frames - 1) // self.temporal_ratio + self.lead

    def latent_size(self, frames: int, height_px: int, width_px: int) -> LatentSize:
        """Latent frames, height and width of a clip.

        Raises:
            ValueError: as `latent_frames` does.
        """
        return self.latent_frames(frames), height_px // self.spatial_ratio, width_px // self.spatial_ratio

    def sampling_shift(self, size: LatentSize) -> float:
        """Shift of the schedule that clips of a latent size are sampled on, unless another is asked for."""
        return self.shift_of(size) if self.shift_of else self.shift

    def largest(self, frames: int) -> int:
        """The largest number of at most `frames` pixel frames, at least 1, that codec and network can take."""
        if self.only_frames:
            return self.only_frames if frames >= self.only_frames else 1
        frames = min(frames, self.most_frames or frames)
        step = self.temporal_ratio * (1 + self.lead)
        return 1 + (frames - 1) // step * step

    def check_size(self, height_px: int, width_px: int) -> None:
        """Refuse sizes that codec or network cannot take.

        Raises:
            ValueError: not positive multiples of what they need, not the one size that there is, or too large.
        """
        if self.only_px and (height_px, width_px) != self.only_px:
            raise ValueError(
                f"this {self.name} works only at {self.only_px[0]} x {self.only_px[1]} px, got {height_px} x {width_px}"
            )
        if self.most_px and (height_px > self.most_px[0] or width_px > self.most_px[1]):
            raise ValueError(
                f"this {self.name} has positions for at most {self.most_px[0]} x {self.most_px[1]} px, "
                f"got {height_px} x {width_px}"
            )
        multiple = self.multiple_px or self.spatial_ratio
        if min(height_px, width_px) < 1 or height_px % multiple or width_px % multiple:
            near = self.nearest_size(height_px, width_px)
            raise ValueError(
                f"{self.name} needs heights and widths that are multiples of {multiple} px, got {height_px} x "
                f"{width_px}; the nearest is {near[0]} x {near[1]}"
            )

    def nearest_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """The height and width nearest to those wanted that codec and network can take."""
        if self.only_px:
            return self.only_px
        multiple = self.multiple_px or self.spatial_ratio
        height, width = (max(round(side / multiple), 1) * multiple for side in (height_px, width_px))
        return (min(height, self.most_px[0]), min(width, self.most_px[1])) if self.most_px else (height, width)


@dataclass(frozen=True)
class Condition:
    """What a prediction is conditioned on, ready for the network; rows are clips.

    `text` holds word numbers or embeddings of captions. `first_frame` holds clean latents [B, C, 1, H, W] of latent
    frame 0, or None; where it is given, latent frame 0 is never noised and never scored. `more` holds what else a
    family needs, by name, such as masks, image embeddings or a first frame that is shown beside the latents.
    """

    text: Tensor
    first_frame: Tensor | None = None
    more: Mapping[str, Tensor] = field(default_factory=dict)

    def each(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """The same with all tensors changed alike."""
        first = None if self.first_frame is None else change(self.first_frame)
        return Condition(change(self.text), first, {name: change(tensor) for name, tensor in self.more.items()})

    def __getitem__(self, rows: Any) -> Condition:
        return self.each(lambda tensor: tensor[rows])

    def at_rate(self, shape: str) -> Condition:
        """The same for clips of a shape that has a rate of its own, by its name; see `rate`."""
        fps = ClipShape.read(shape).fps if shape else 0.0
        rows = len(self.text)
        return self.with_more(milli_fps=torch.full((rows,), round(1000 * fps))) if fps else self

    def rate(self, spec: BackboneSpec) -> float:
        """Frames a second that the network is told: the rows' own, all of which have one, or the model's."""
        own = self.more.get("milli_fps")
        return spec.fps if own is None else int(own[0]) / 1000

    def with_more(self, **more: Tensor) -> Condition:
        """The same with further tensors."""
        return replace(self, more={**self.more, **more})


class Backbone(Protocol):
    """A video model: codec, conditioning and network."""

    @property
    def spec(self) -> BackboneSpec:
        """Facts that the rest of the program needs."""
        ...

    @property
    def network(self) -> nn.Module:
        """Holds the trainable weights and no others."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the weights as they are now."""
        ...

    @property
    def codec_fingerprint(self) -> str:
        """Hash of the codec's weights: what latents depend on."""
        ...

    def encode(self, frames_BTHWC: NDArray[np.uint8]) -> Tensor:
        """uint8 RGB frames -> latents_BCFHW, normalised as the network expects them."""
        ...

    def decode(self, latents_BCFHW: Tensor) -> NDArray[np.uint8]:
        """Latents -> uint8 RGB frames [B, T, H, W, 3]."""
        ...

    def prepare(self, captions: Sequence[str]) -> None:
        """Read captions now, once, so that what reads them need not stay in memory beside the network."""
        ...

    def still(self, frames_BHWC: NDArray[np.uint8], frames: int) -> dict[str, Tensor]:
        """What a first frame is conditioned on beside its latent, as [B, C, F, H, W] by the names in `spec.still`.

        `frames` is the number of pixel frames of the clips that it starts.
        """
        ...

    def condition(self, captions: Sequence[str], first_frame_BCHW: Tensor | None = None, **still: Tensor) -> Condition:
        """Captions (empty string = unconditional), first-frame latents and what `still` made -> condition."""
        ...

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        """The network's prediction of the path's target, with gradients where they are enabled."""
        ...

    def save(self, path: Path) -> None:
        """Write codec and network where `load` of its module reads them."""
        ...


@runtime_checkable
class ReadsTogether(Protocol):
    """A backbone that reads each caption together with a first frame, so `prepare` of captions alone does nothing."""

    def prepare_together(self, captions: Sequence[str], stills: Iterable[Mapping[str, Tensor]]) -> None:
        """Read captions now, once, each with what `still` made of its first frame, one row without the batch."""
        ...


def weights_fingerprint(*modules: nn.Module) -> str:
    """24 hex digits over names, shapes, dtypes and bytes of parameters and buffers."""
    return tensors_digest(named for module in modules for named in sorted(module.state_dict().items()))[:24]


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The entries of a network's outermost lists that have weights: the blocks of a transformer, the levels of a UNet.

    A list within a block is none of them: its entries are too small for passes of their own.
    """
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            yield from (block for block in child if next(block.parameters(), None) is not None)
        else:
            yield from blocks(child)


def main_memory(size: int, device: torch.device) -> Tensor:
    """Bytes [size] in main memory that `device` can copy while it computes.

    torch's own pinned memory comes in powers of two, which is up to twice as much.
    """
    empty = torch.empty(size, dtype=torch.uint8, device=MAIN_MEMORY)
    if device.type != "cuda" or not size:
        return empty
    runtime = torch.cuda.cudart()
    failed = int(runtime.cudaHostRegister(empty.data_ptr(), size, 0))
    if failed:
        _LOG.warning("main memory cannot be pinned (CUDA error %d): copies to the GPU will be slower", failed)
        with suppress(RuntimeError):  # CUDA keeps the error, and torch raises it after the next kernel: this one
            torch.ones(1, device=device)
    else:
        weakref.finalize(empty.untyped_storage(), runtime.cudaHostUnregister, empty.data_ptr())
    return empty
