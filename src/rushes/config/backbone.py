"""Settings of the video model, and the shapes that its clips have."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from rushes.config.base import Folder, Module, SettingsTable
from rushes.config.clip_shapes import ClipShape, Footage, all_shapes, best_shape
from rushes.config.ranges import Frames, Rate, Side, Tokens

OWN_RATES = (8.0, 10.0, 12.0, 15.0, 16.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0)  # of footage
# Height and width; a list, as TOML has it, is one too.
Size = Annotated[tuple[Side, Side], Strict(False)]


class BackboneSettings(SettingsTable):
    """The video model and the size it works at."""

    name: Module = Field("tiny", min_length=1, description="name of a backbone, or the dotted path of your own")
    path: Folder = Field(
        "",
        description="folder of the weights, or hub:OWNER/NAME, perhaps @ and a revision; empty = Rushes' own base",
    )
    height_px: Side = Field(32, gt=0, description="height of a frame in pixels")
    width_px: Side = Field(32, gt=0, description="width of a frame in pixels")
    sizes: Literal["auto"] | Annotated[tuple[Size, ...], Strict(False)] = Field(
        (),
        description="heights and widths to choose from for each clip; auto = of one area; empty = one size for all",
    )
    frames: Frames = Field(17, gt=0, description="frames of a clip; the backbone says which counts it can carry")
    lengths: tuple[Frames, ...] = Field(
        (), strict=False, description="frames to choose from for each clip, the most that it fills; empty = one length"
    )
    fps: Rate = Field(8.0, description="frames per second to which clips are resampled; own = see rates")
    rates: tuple[Rate, ...] = Field(
        (), strict=False, description="further frames per second that clips keep, for models that are told the rate"
    )
    first_frame: bool = Field(True, description="the model is given the first frame of each clip")
    dtype: Literal["auto", "float32", "bfloat16", "mixed"] = Field(
        "auto", description="precision; auto = bfloat16 on a GPU, mixed where all weights train; else float32"
    )
    gradient_checkpointing: bool = Field(
        True, description="recompute activations in the backward pass: less memory, about a third more time"
    )
    tiling: Literal["auto", True, False] = Field(
        "auto", description="codec in overlapping tiles to save memory; auto = where a clip in one piece takes 10 GiB"
    )
    quantize: Literal["none", "8bit", "4bit"] = Field(
        "none", description="bits of the frozen network's weights, under an adapter (docs/backbones.md)"
    )
    offload: Literal[False, True, "idle_expert"] = Field(
        False,
        description="keep the network in main memory, and bring its blocks or one of two experts to the GPU",
    )
    chunk_size_feed_forward: Tokens = Field(
        0, ge=0, description="tokens that a feed-forward layer takes at once, which saves memory; 0 = all"
    )
    text_quantize: Literal["none", "8bit", "4bit"] = Field(
        "none", description="bits of the text encoders' weights; captions are read a little otherwise"
    )
    text_offload: bool = Field(
        False, description="bring the text encoders' layers to the GPU one by one, where they are larger than it"
    )
    attention: str = Field(
        "", description="diffusers' attention backend, such as flash or _native_cudnn; empty = torch's own"
    )
    compile: bool = Field(
        False,
        description="compile the network's repeated blocks: minutes once, then faster; answers differ by rounding",
    )
    decode_timestep: float = Field(
        0.0, ge=0, le=1, description="time that the decoder is told, where it finishes the denoising (LTX 0.9.1 on)"
    )
    decode_noise_scale: float = Field(
        -1.0, ge=-1, le=1, description="share of noise in the latents that such a decoder gets; -1 = as decode_timestep"
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
                    f"sizes: lacks {self.height_px} x {self.width_px}, which height_px and width_px say; add it, or "
                    "set these to one of sizes"
                )
        if self.lengths and (self.frames not in self.lengths or min(self.lengths) < 1):
            raise ValueError(f"lengths: must be above 0 and hold frames, {self.frames}; add it, or set frames to one")
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
            raise ValueError("backbone.sizes: auto is of an open project; name the sizes here")
        sizes, lengths = self.sizes or ((self.height_px, self.width_px),), self.lengths or (self.frames,)
        return all_shapes(self.shape, sizes, lengths, tuple(rate for rate in self.rates if rate != self.fps))

    @property
    def largest(self) -> ClipShape:
        """The shape of most pixels; sizes that are "auto" have as many as the default."""
        if self.sizes == "auto":
            return ClipShape(self.height_px, self.width_px, max((self.frames, *self.lengths)))
        return max(self.shapes, key=lambda shape: (shape.pixels, shape))

    def shape_of(self, *videos: Footage) -> ClipShape:
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
