"""The embedded backbone: a rectified-flow video transformer and a linear patch codec that train on a laptop.

The codec has what the large ones have: four pixel frames per latent frame, eight pixels or more per latent position,
and a first latent frame that holds one pixel frame. It is a fixed projection (principal components of patches
of 16 x 16 px and one or four frames), so it is exact to invert up to what it drops and has nothing to train.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from rushes.backbones.base import BackboneSpec, Condition, weights_fingerprint
from rushes.files import whole_file
from rushes.noise.paths import Flow
from rushes.tensor_files import save_tensors
from rushes.text_reader import CaptionLength

PATCH_PX, RATIO = 16, 4
WORDS, LONGEST = 1024, 48  # hashed vocabulary; captions are cut after 48 words
BUNDLED = Path(__file__).parent / "weights" / "tiny.safetensors"


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of the network and of its latents."""

    channels: int = 96
    width: int = 128
    depth: int = 6
    heads: int = 4
    patch_px: int = PATCH_PX


class PatchCodec(nn.Module):
    """Orthogonal projections of patches, one for the first frame and one for blocks of four; buffers, no parameters."""

    def __init__(self, channels: int, patch_px: int = PATCH_PX) -> None:
        super().__init__()
        self.patch_px = patch_px
        for name, frames in (("first", 1), ("block", RATIO)):
            size = frames * patch_px * patch_px * 3
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_basis", torch.zeros(size, channels))
            self.register_buffer(f"{name}_scale", torch.ones(channels))

    def patches(self, frames_BTHWC: Tensor, span: int) -> Tensor:
        """[B, T, H, W, 3] -> [B, T / span, H / p, W / p, span * p * p * 3] of patches of p px."""
        b, t, h, w, c = frames_BTHWC.shape
        p = self.patch_px
        x = frames_BTHWC.reshape(b, t // span, span, h // p, p, w // p, p, c)
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)

    def unpatched(self, patches: Tensor, span: int) -> Tensor:
        """The inverse of `patches`."""
        b, t, h, w, _ = patches.shape
        p = self.patch_px
        x = patches.reshape(b, t, h, w, span, p, p, 3).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return x.reshape(b, t * span, h * p, w * p, 3)

    def _parts(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        return self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_basis"), self.get_buffer(f"{name}_scale")

    def encode(self, frames_BTHWC: Tensor) -> Tensor:
        """Frames in [-1, 1] -> latents_BCFHW."""
        parts = []
        for name, frames, span in (("first", frames_BTHWC[:, :1], 1), ("block", frames_BTHWC[:, 1:], RATIO)):
            mean, basis, scale = self._parts(name)
            parts.append((self.patches(frames, span) - mean) @ basis / scale)
        return torch.cat(parts, 1).permute(0, 4, 1, 2, 3)

    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        """Latents -> frames in about [-1, 1]."""
        latents = latents_BCFHW.permute(0, 2, 3, 4, 1)
        parts = []
        for name, part, span in (("first", latents[:, :1], 1), ("block", latents[:, 1:], RATIO)):
            mean, basis, scale = self._parts(name)
            parts.append(self.unpatched(part * scale @ basis.T + mean, span))
        return torch.cat(parts, 1)


def word_ids(caption: str) -> list[int]:
    """Hashed word numbers 1..1023 of a caption, at most 48; 0 is padding. Words are never unknown."""
    words = re.findall(r"\w+", caption.lower())[:LONGEST]
    return [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in words]


def caption_lengths(caption: str) -> tuple[CaptionLength, ...]:
    """How many words of a caption the network is given."""
    words = re.findall(r"\w+", caption)
    return (CaptionLength(len(words), LONGEST, " ".join(words[LONGEST - 5 : LONGEST]) if words[LONGEST:] else ""),)


def waves(position: Tensor, size: int, longest: float) -> Tensor:
    """Sine and cosine features [..., size] of positions, with periods up to `longest`."""
    rate = torch.exp(torch.linspace(0, 1, size // 2) * -math.log(longest)).to(position.device)
    angle = position[..., None] * rate * math.pi
    return torch.cat([angle.sin(), angle.cos()], -1)


def grid_features(frames: int, height: int, width: int, size: int) -> Tensor:
    """Fixed position features [F * H * W, size]; any grid works, so one network serves every clip size."""
    part = size // 3 // 2 * 2
    axes = [torch.arange(n, dtype=torch.float32) for n in (frames, height, width)]
    f, h, w = (a.flatten() for a in torch.meshgrid(*axes, indexing="ij"))
    features = torch.cat([waves(f, size - 2 * part, 32), waves(h, part, 32), waves(w, part, 32)], -1)
    return features


class Block(nn.Module):
    """Attention and feed-forward under modulation by time and text (DiT, adaLN; one shared map as in PixArt-alpha)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.shifts = nn.Parameter(torch.zeros(6, width))
        nn.init.zeros_(self.down.weight)

    def forward(self, x_BND: Tensor, modulation_BN6D: Tensor) -> Tensor:
        s1, g1, o1, s2, g2, o2 = (modulation_BN6D + self.shifts).unbind(-2)
        y = functional.layer_norm(x_BND, x_BND.shape[-1:]) * (1 + g1) + s1
        b, n, d = y.shape
        q, k, v = (f(y).view(b, n, self.heads, -1).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        q, k = functional.rms_norm(q, q.shape[-1:]), functional.rms_norm(k, k.shape[-1:])
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        x = x_BND + o1 * self.to_out(y)
        y = functional.layer_norm(x, x.shape[-1:]) * (1 + g2) + s2
        out: Tensor = x + o2 * self.down(functional.gelu(self.up(y), approximate="tanh"))
        return out


class TinyTransformer(nn.Module):
    """Velocity of noised latents under time per frame, caption and, optionally, a clean first frame."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.words = nn.Embedding(WORDS, width, padding_idx=0)
        self.text = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, 6 * width)
        self.enter = nn.Linear(config.channels, width)
        self.first = nn.Linear(config.channels + 1, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.leave = nn.Linear(width, config.channels)
        self.leave_modulation = nn.Linear(width, 2 * width)
        for layer in (self.modulation, self.leave, self.leave_modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, noised_BCFHW: Tensor, t_BF: Tensor, words_BL: Tensor, first_BCHW: Tensor | None) -> Tensor:
        b, c, f, h, w = noised_BCFHW.shape
        width = self.config.width
        x = self.enter(noised_BCFHW.permute(0, 2, 3, 4, 1))
        if first_BCHW is not None:
            given = functional.pad(first_BCHW.permute(0, 2, 3, 1), (0, 1), value=1.0)
            x = x + self.first(given)[:, None]
        x = x.flatten(1, 3) + grid_features(f, h, w, width).to(x)
        order = waves(torch.arange(words_BL.shape[1], device=x.device), width, 64).to(x)
        present = (words_BL > 0)[..., None].to(x)
        text = self.text((functional.silu(self.words(words_BL) + order) * present).sum(1) / present.sum(1).clamp(min=1))
        state = functional.silu(self.time(waves(t_BF * 8, width, 64).to(x)) + text[:, None])
        each = h * w
        modulation = self.modulation(state).view(b, f, 6, width).repeat_interleave(each, 1)
        for block in self.blocks:
            x = block(x, modulation)
        shift, gain = self.leave_modulation(state).repeat_interleave(each, 1).chunk(2, -1)
        out: Tensor = self.leave(functional.layer_norm(x, x.shape[-1:]) * (1 + gain) + shift)
        return out.view(b, f, h, w, c).permute(0, 4, 1, 2, 3)


class TinyBackbone:
    """The embedded video model. See `rushes.backbones.base.Backbone` for the meaning of the methods."""

    def __init__(self, config: TinyConfig | None = None) -> None:
        self.config = config or TinyConfig()
        self.codec = PatchCodec(self.config.channels, self.config.patch_px)
        self.network: nn.Module = TinyTransformer(self.config)
        self.spec = BackboneSpec(
            name="tiny",
            modes=("text", "first_frame"),
            path=Flow(),
            channels=self.config.channels,
            temporal_ratio=RATIO,
            spatial_ratio=self.config.patch_px,
            fps=8.0,
            shift=4.0,
            lora_targets=("to_q", "to_k", "to_v", "to_out", "up", "down"),
        )

    @property
    def fingerprint(self) -> str:
        """Hash of codec and network weights as they are now."""
        return weights_fingerprint(self.codec, self.network)

    @property
    def codec_fingerprint(self) -> str:
        """Hash of the codec's weights."""
        return weights_fingerprint(self.codec)

    def encode(self, frames_BTHWC: NDArray[np.uint8]) -> Tensor:
        """uint8 RGB frames -> latents_BCFHW of about unit variance."""
        _, t, h, w, _ = frames_BTHWC.shape
        self.spec.latent_frames(t)
        self.spec.check_size(h, w)
        with torch.no_grad():
            return self.codec.encode(torch.from_numpy(frames_BTHWC).float() / 127.5 - 1)

    def decode(self, latents_BCFHW: Tensor) -> NDArray[np.uint8]:
        """Latents -> uint8 RGB frames."""
        with torch.no_grad():
            frames = self.codec.decode(latents_BCFHW.float())
        return ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()

    def prepare(self, captions: Sequence[str]) -> None:
        """Nothing: its words are read by the network itself."""

    def still(self, frames_BHWC: NDArray[np.uint8], frames: int) -> dict[str, Tensor]:
        """Nothing: a first frame is given by its latent alone."""
        return {}

    def condition(self, captions: Sequence[str], first_frame_BCHW: Tensor | None = None, **still: Tensor) -> Condition:
        """Hashed words of the captions, and the first frame's clean latents."""
        ids = [word_ids(caption) for caption in captions]
        longest = max(1, *(len(row) for row in ids)) if ids else 1
        words = torch.tensor([row + [0] * (longest - len(row)) for row in ids], dtype=torch.long)
        return Condition(words, None if first_frame_BCHW is None else first_frame_BCHW[:, :, None])

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        """Predicted velocity, noise - clean."""
        first = None if condition.first_frame is None else condition.first_frame[:, :, 0]
        prediction: Tensor = self.network(noised_BCFHW, t_BF, condition.text, first)
        return prediction

    def save(self, path: Path) -> None:
        """Write codec and network to one safetensors file."""
        state = {f"codec.{k}": v for k, v in self.codec.state_dict().items()}
        state |= {f"network.{k}": v.detach() for k, v in self.network.state_dict().items()}
        shape = {k: str(v) for k, v in vars(self.config).items()}
        with whole_file(path) as partial:
            save_tensors({k: v.contiguous() for k, v in state.items()}, partial, metadata=shape)

    @classmethod
    def load(cls, path: Path = BUNDLED) -> TinyBackbone:
        """Read a file that `save` wrote.

        Raises:
            ValueError: no such file, or not a tiny backbone's.
        """
        if not path.is_file():
            raise ValueError(f"{path}: no such weights file; leave [backbone] path empty to use the bundled base")
        try:
            with safe_open(str(path), "pt") as file:
                shape = {k: int(v) for k, v in (file.metadata() or {}).items() if k in TinyConfig.__annotations__}
                state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a mapping
            backbone = cls(TinyConfig(**shape))
            backbone.codec.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("codec.")})
            backbone.network.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("network.")})
        except Exception as error:
            raise ValueError(f"{path}: not the weights of a tiny backbone ({error})") from error
        backbone.network.eval()
        return backbone


def load(path: str) -> TinyBackbone:
    """The backbone at `path`, or the bundled base where it is empty."""
    return TinyBackbone.load(Path(path) if path else BUNDLED)
