"""Settings of the video model, and the shapes that its clips have."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from rushes.config.base import FolderPath, Module, SettingsTable
from rushes.config.clip_shapes import ClipShape, HasVideoShape, all_shapes, best_shape
from rushes.config.ranges import FrameCount, FrameRate, Noise, SideLength, Tokens

OWN_RATES = (8.0, 10.0, 12.0, 15.0, 16.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0)  # of footage
# Height and width; a list, as TOML has it, is one too.
Size = Annotated[tuple[SideLength, SideLength], Strict(False)]


class BackboneSettings(SettingsTable):
    """The video model, the shape of its clips, and how it uses memory."""

    name: Module = Field(
        "tiny", min_length=1, description="name of a model family, or the dotted path of your own backbone"
    )
    path: FolderPath = Field(
        "",
        description="folder of the weights, or hub:OWNER/NAME with an optional @revision; empty = the base that "
        "comes with Rushes",
    )
    height_px: SideLength = Field(64, gt=0, description="frame height in pixels")
    width_px: SideLength = Field(64, gt=0, description="frame width in pixels")
    sizes: Literal["auto"] | Annotated[tuple[Size, ...], Strict(False)] = Field(
        (),
        description="[height, width] pairs; each clip gets the one that crops it least; auto = five aspect ratios of "
        "equal area; empty = one size",
    )
    frames: FrameCount = Field(
        33, gt=0, description="frames per clip; the model limits the choice, for example to 4n + 1"
    )
    lengths: tuple[FrameCount, ...] = Field(
        (), strict=False, description="frame counts; each clip gets the longest that it fills; empty = one length"
    )
    fps: FrameRate = Field(
        8.0, description="frame rate in fps that clips are resampled to; own = clips keep their rate (rates)"
    )
    rates: tuple[FrameRate, ...] = Field(
        (),
        strict=False,
        description="further frame rates in fps that clips may keep, for models conditioned on the frame rate",
    )
    first_frame: bool = Field(True, description="condition the model on the first frame of each clip (image-to-video)")
    dtype: Literal["auto", "float32", "bfloat16", "mixed"] = Field(
        "auto", description="precision; auto = on a GPU bfloat16, or mixed if all weights train; on a CPU float32"
    )
    gradient_checkpointing: bool = Field(
        True, description="recompute activations in the backward pass: less memory, about a third more time"
    )
    tiling: Literal["auto", True, False] = Field(
        "auto",
        description="encode and decode in overlapping tiles to save memory; auto = for clips that need 10 GiB or "
        "more in one piece",
    )
    quantize: Literal["none", "8bit", "4bit"] = Field(
        "none", description="quantization of the frozen network under a LoRA adapter (docs/backbones.md)"
    )
    offload: Literal[False, True, "idle_expert"] = Field(
        False,
        description="keep the network in main memory; true = load its blocks one by one, idle_expert = load one "
        "of two experts at a time",
    )
    chunk_size_feed_forward: Tokens = Field(
        0, ge=0, description="tokens per pass of a feed-forward layer; fewer save memory; 0 = all at once"
    )
    text_quantize: Literal["none", "8bit", "4bit"] = Field(
        "none", description="quantization of the text encoders; embeddings change slightly"
    )
    text_offload: bool = Field(
        False, description="load the text encoders' layers to the GPU one by one, for encoders that do not fit"
    )
    attention: str = Field(
        "", description="attention backend of diffusers, such as flash or _native_cudnn; empty = PyTorch's own"
    )
    compile: bool = Field(
        False,
        description="torch.compile the repeated blocks: minutes at the start, faster steps; results differ by rounding",
    )
    decode_timestep: Noise = Field(
        0.0, ge=0, le=1, description="timestep given to decoders that finish the denoising (LTX 0.9.1 and later)"
    )
    decode_noise_scale: Noise = Field(
        -1.0,
        ge=-1,
        le=1,
        description="fraction of noise added to the latents for such a decoder; -1 = same as decode_timestep",
    )

    @model_validator(mode="before")
    @classmethod
    def _first_of_several(cls, values: Any) -> Any:
        """Where several sizes or lengths are given and no one of them is singled out, the first is the default."""
        if not isinstance(values, dict):
            return values
        given, frames, sizes = dict(values), values.get("frames"), values.get("sizes")
        frames_a_second = given.get("fps")
        if isinstance(frames, list | tuple) and not given.get("lengths"):
            given["lengths"] = frames
        if frames_a_second == "own":
            given["rates"] = given.get("rates") or OWN_RATES
            del given["fps"]
        if isinstance(given.get("lengths"), list | tuple) and given["lengths"] and not isinstance(frames, int):
            given["frames"] = given["lengths"][0]
        first = sizes[0] if isinstance(sizes, list | tuple) and sizes else ()
        if isinstance(first, list | tuple) and len(first) == 2 and not {"height_px", "width_px"} & given.keys():
            given["height_px"], given["width_px"] = first
        return given

    @model_validator(mode="after")
    def _default_among_them(self) -> Self:
        if isinstance(self.sizes, tuple) and self.sizes:
            if min(min(size) for size in self.sizes) < 1:
                raise ValueError("sizes: heights and widths are above 0 px")
            if (self.height_px, self.width_px) not in self.sizes:
                raise ValueError(
                    f"sizes: does not contain {self.height_px} x {self.width_px}, the size that height_px and width_px "
                    "set; add it, or set height_px and width_px to one of sizes"
                )
        if self.lengths and (self.frames not in self.lengths or min(self.lengths) < 1):
            raise ValueError(
                f"lengths: all must be above 0, and frames ({self.frames}) must be one of them; add it, "
                "or set frames to one of lengths"
            )
        return self

    @property
    def shape(self) -> ClipShape:
        """The default: that of prompts without a clip, and of all clips where there is no other."""
        return ClipShape(self.height_px, self.width_px, self.frames)

    @property
    def shapes(self) -> tuple[ClipShape, ...]:
        """All shapes that clips may have, the default first.

        Raises:
            ValueError: `sizes` is "auto", which `rushes.project.defaults` puts sizes in the place of.
        """
        if self.sizes == "auto":
            raise ValueError("backbone.sizes: auto works only in a project that is open; list the sizes here")
        sizes, lengths = self.sizes or ((self.height_px, self.width_px),), self.lengths or (self.frames,)
        return all_shapes(self.shape, sizes, lengths, tuple(rate for rate in self.rates if rate != self.fps))

    @property
    def largest(self) -> ClipShape:
        """The shape of most pixels; sizes that are "auto" have as many as the default."""
        if self.sizes == "auto":
            return ClipShape(self.height_px, self.width_px, max((self.frames, *self.lengths)))
        return max(self.shapes, key=lambda shape: (shape.pixels, shape))

    def shape_of(self, *videos: HasVideoShape) -> ClipShape:
        """The shape that a clip is brought to, or several that are compared; the shortest that there is where they fill
        none, which reading them then refuses."""
        shapes = self.shapes
        if len(shapes) == 1:
            return shapes[0]
        return best_shape(videos, shapes, self.fps, self.frames)

    def name_of(self, shape: ClipShape) -> str:
        """A shape as views and latents name it: "" for the default, as in projects that have no other."""
        return "" if shape == self.shape else str(shape)

    def at(self, name: str) -> Self:
        """The settings of clips of one shape alone, by its name."""
        shape = ClipShape.read(name) if name else self.shape
        if (shape, self.sizes, self.lengths, self.rates) == (self.shape, (), (), ()):
            return self
        only = {"height_px": shape.height_px, "width_px": shape.width_px, "frames": shape.frames}
        rate = {"fps": shape.fps or self.fps}
        return self.model_copy(update={**only, **rate, "sizes": (), "lengths": (), "rates": ()})
