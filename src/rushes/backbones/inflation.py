"""An image UNet of diffusers made into a video UNet, in place: HuViDPO's architecture (arXiv 2502.01690), after LAMP.

- Every 2D convolution of the UNet's own and of its residual, down- and upsampling blocks is followed by a gated causal
  convolution over time that starts at zero.
- Spatial self-attention looks from frame f at [frame 0; frame max(f - 1, 0)] (sparse-causal).
- Each transformer block ends in an attention over time at each position, whose output starts at zero.

So at the start a clip of equal frames gets, frame by frame, exactly what the image UNet gives: all that is new is zero,
and attention to equal frames is attention to one. Normalisation stays per frame, as in the image UNet; the released
code does not say, and only so is a frame never changed by a later one outside attention over time.

Where this differs from the released code: the bias of the temporal attention's output starts at zero too, which there
keeps its random start.

diffusers takes seconds to import, so it is imported where it is used.

Shapes: N = B * F frames of B clips, clip by clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rushes.tensor_files import save_tensors

if TYPE_CHECKING:
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.attention_processor import Attention
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

REACH = 3  # frames that a temporal convolution sees: two before, and its own
# What is new in a video UNet, by patterns of the weights' names, and what stage 1 trains.
ADDED = ("*.gate.*", "*.temporal.*", "*.over_time.*")
MOTION = (*ADDED, "*.attn1.to_q.*")
IMAGE_FILE, ADDED_FILE = "diffusion_pytorch_model.safetensors", "motion.safetensors"


@dataclass
class Clips:
    """How many frames the clips of the call that is running have; the layers of one network share it."""

    frames: int = 1


class GatedTemporalConv(nn.Module):
    """u + sigmoid(gate(u)) * temporal(u), with u the image convolution of each frame.

    The temporal convolution sees frames f - 2, f - 1 and f. It starts at zero and the gate at 1/2.
    """

    def __init__(self, spatial: nn.Conv2d, clips: Clips) -> None:
        super().__init__()
        channels = spatial.out_channels
        self.clips = clips
        self.spatial = spatial
        self.gate = nn.Conv2d(channels, 1, 3, padding=1)
        self.temporal = nn.Conv1d(channels, channels, REACH)
        for layer in (self.gate, self.temporal):
            for p in layer.parameters():
                nn.init.zeros_(p)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        u: Tensor = self.spatial(x_NCHW)
        n, c, h, w = u.shape
        frames = self.clips.frames
        line: Tensor = u.view(n // frames, frames, c, h * w).permute(0, 3, 2, 1).reshape(-1, c, frames)
        line = self.temporal(functional.pad(line, (REACH - 1, 0)))
        moved = line.view(n // frames, h * w, c, frames).permute(0, 3, 2, 1).reshape(n, c, h, w)
        gate: Tensor = torch.sigmoid(self.gate(u))
        return u + gate * moved


class SparseCausal:
    """Attention processor: keys and values of frame f come from [frame 0; frame max(f - 1, 0)]."""

    def __init__(self, clips: Clips) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self.clips = clips
        self.attend = AttnProcessor2_0()

    def __call__(self, attn: Attention, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        frames = self.clips.frames
        x_BFLD = hidden_states.view(-1, frames, *hidden_states.shape[1:])
        # Slices: a list of numbers would be copied to the device in each layer, which waits for it.
        first = x_BFLD[:, :1]
        before = torch.cat([first, x_BFLD[:, :-1]], 1)
        seen_NLD = torch.cat([first.expand(-1, frames, -1, -1), before], 2).flatten(0, 1)
        attended: Tensor = self.attend(attn, hidden_states, encoder_hidden_states=seen_NLD)
        return attended


class OverTime(nn.Module):
    """Attention of each position over the frames of its clip, added to it; its output starts at zero.

    No position is encoded: order reaches it through the temporal convolutions alone, as published.
    """

    def __init__(self, width: int, heads: int, clips: Clips) -> None:
        from diffusers.models.attention_processor import Attention

        super().__init__()
        self.clips = clips
        self.norm = nn.LayerNorm(width)
        self.attn = Attention(width, heads=heads, dim_head=width // heads)
        for p in self.attn.to_out.parameters():
            nn.init.zeros_(p)

    def forward(self, x_NLD: Tensor) -> Tensor:
        n, positions, width = x_NLD.shape
        frames = self.clips.frames
        line: Tensor = x_NLD.view(-1, frames, positions, width).transpose(1, 2).reshape(-1, frames, width)
        line = line + self.attn(self.norm(line))
        return line.view(-1, positions, frames, width).transpose(1, 2).reshape(n, positions, width)


class VideoBlock(nn.Module):
    """Sparse-causal attention, attention to the text, feed-forward, attention over time."""

    def __init__(self, block: BasicTransformerBlock, clips: Clips) -> None:
        super().__init__()
        self.block = block
        self.over_time = OverTime(block.dim, block.num_attention_heads, clips)
        block.attn1.set_processor(SparseCausal(clips))  # type: ignore[arg-type]

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        out: Tensor = self.over_time(self.block(*arguments, **named))
        return out


class VideoUNet(nn.Module):
    """The inflated UNet; takes over the image UNet that it is given.

    The weights that are new and not zero are drawn from a fixed seed, so an image model has one inflation.
    """

    def __init__(self, image: UNet2DConditionModel) -> None:
        super().__init__()
        self.clips = Clips()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            inflate(image, self.clips)
        self.unet = image

    def enable_gradient_checkpointing(self) -> None:
        """Compute activations again in the backward pass instead of keeping them."""

        def run(layer: nn.Module, *inputs: Any) -> Any:
            frames = self.clips.frames

            def again(*inputs: Any) -> Any:
                self.clips.frames = frames  # other clips may have been asked since
                return layer(*inputs)

            return checkpoint(again, *inputs, use_reentrant=False)

        self.unet.enable_gradient_checkpointing(run)

    def save_pretrained(self, folder: Path) -> None:
        """Write the image UNet where diffusers looks for it, and beside it what was added, in `ADDED_FILE`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in self.unet.state_dict().items()}
        assert not any("lora" in name for name in state), "adapters must be merged before a model is saved"
        added = {name: value for name, value in state.items() if is_added(name)}
        image = {image_name(name): value for name, value in state.items() if name not in added}
        self.unet.save_config(folder)
        save_tensors(image, folder / IMAGE_FILE, metadata={"format": "pt"})
        save_tensors(added, folder / ADDED_FILE)

    def load_added(self, folder: Path) -> None:
        """Read what `save_pretrained` wrote beside the image UNet; nothing happens where it wrote nothing.

        Raises:
            ValueError: weights of another UNet.
        """
        path = folder / ADDED_FILE
        if not path.is_file():
            return
        added = load_file(path)
        wanted = {name for name in self.unet.state_dict() if is_added(name)}
        try:
            if set(added) != wanted:
                raise RuntimeError(f"{len(set(added) ^ wanted)} layers are in only one of the two")
            self.unet.load_state_dict(added, strict=False)
        except RuntimeError as error:
            raise ValueError(
                f"{path}: does not belong to the UNet beside it ({error}); copy the folder again"
            ) from None

    def forward(self, noised_BCFHW: Tensor, step_B: Tensor, text_BLD: Tensor) -> Tensor:
        """The prediction for clips at a training step each; all frames of a clip share its step, given ones too."""
        frames = self.clips.frames = noised_BCFHW.shape[2]
        x_NCHW = noised_BCFHW.transpose(1, 2).flatten(0, 1)
        text_NLD = text_BLD.repeat_interleave(frames, 0)
        out: Tensor = self.unet(x_NCHW, step_B.repeat_interleave(frames), text_NLD, return_dict=False)[0]
        return out.view(-1, frames, *out.shape[1:]).transpose(1, 2)


def is_added(name: str) -> bool:
    """Whether a weight of this name is one that the image UNet does not have."""
    return any(fnmatchcase(name, pattern) for pattern in ADDED)


def image_name(name: str) -> str:
    """Name in the image UNet of a weight of the video UNet that is not new."""
    return name.replace(".spatial.", ".").replace(".block.", ".")


def inflate(module: nn.Module, clips: Clips) -> None:
    """Replace the convolutions and transformer blocks below `module`; projections around attention stay as they are."""
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    for name, child in list(module.named_children()):
        if isinstance(child, BasicTransformerBlock):
            setattr(module, name, VideoBlock(child, clips))
        elif isinstance(child, nn.Conv2d) and not isinstance(module, Transformer2DModel):
            setattr(module, name, GatedTemporalConv(child, clips))
        else:
            inflate(child, clips)
