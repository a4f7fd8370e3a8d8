"""Sizes of models and clips that `rushes bench step` measures. Weights are random: a step costs the same with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from rushes.backbones.adapters import add_lora
from rushes.backbones.base import Backbone, BackboneSpec, Condition
from rushes.backbones.tiny import TinyBackbone, TinyConfig
from rushes.noise.paths import Flow

CAPTION = "a red ball falls and bounces"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")  # of Wan's adapters
TEXT_WIDTH = 4096  # of the text encoders of both large models


@dataclass(frozen=True)
class Shape:
    """A model, and the clips that a step shows it."""

    make: Callable[[torch.device, torch.dtype], Backbone]  # on a device, in a dtype -> the model
    comparisons: int  # in a step
    frames: int  # latent frames
    height: int  # of the latents; one token is `patch` x `patch` of their positions
    width: int  # of the latents
    dtype: torch.dtype = torch.bfloat16
    patch: int = 1
    checkpointing: bool = False  # whether activations are computed again in the backward pass
    blocks: tuple[int, int] = (0, 0)  # of the transformer, and their width: what attention costs
    lora: int = 0  # rank of the adapter that is trained in place of all weights; 0 = none

    @property
    def tokens(self) -> int:
        """Tokens of a clip."""
        return self.frames * (self.height // self.patch) * (self.width // self.patch)

    def flops(self, parameters: int) -> float:
        """Operations of a forward and a backward of one clip, as `rushes plan` counts them.

        A weight takes 2 operations a token forward and 4 backward, a frozen one 2 backward, as it gets no gradient
        itself; attention takes 2.5 times backward what it takes forward, as it makes its scores again. With
        checkpointing the forward pass counts twice: it is taken twice.
        """
        forward, weights = self.forward_flops(parameters), 2.0 * parameters * self.tokens
        backward = weights * (1 if self.lora else 2) + 2.5 * self._attention
        return forward * (2 if self.checkpointing else 1) + backward

    def forward_flops(self, parameters: int) -> float:
        """Operations of a forward of one clip: 2 per weight and token, and attention."""
        return 2.0 * parameters * self.tokens + self._attention

    @property
    def _attention(self) -> float:
        depth, width = self.blocks
        return 4.0 * depth * width * self.tokens**2


class BareTransformer:
    """A transformer of diffusers without codec and text encoder, as far as a training step needs a backbone."""

    def __init__(self, network: Any, tokens: int, ask: Mapping[str, Any]) -> None:
        network.enable_gradient_checkpointing()  # which diffusers does wherever gradients are enabled, in any mode
        self.network, self.tokens, self.ask = network, tokens, ask
        self.spec = BackboneSpec(
            "bare",
            ("text",),
            Flow(),
            channels=16,
            temporal_ratio=4,
            spatial_ratio=8,
            fps=16.0,
            shift=1.0,
            lora_targets=(),
        )

    def condition(self, captions: list[str], first_frame_BCHW: Tensor | None = None) -> Condition:
        """Random embeddings."""
        dtype = next(self.network.parameters()).dtype
        return Condition(torch.randn(len(captions), self.tokens, TEXT_WIDTH).to(dtype))

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        """The network's answer; for cost, its parametrisation does not matter."""
        order = (0, 2, 1, 3, 4) if "image_rotary_emb" in self.ask else (0, 1, 2, 3, 4)  # CogVideoX has frames first
        t = (1000 * t_BF[:, -1]).float()
        out: Tensor = self.network(noised_BCFHW.permute(order), encoder_hidden_states=condition.text, timestep=t,
                                   return_dict=False, **self.ask)[0].permute(order)  # fmt: skip
        return out


def wan(
    layers: int = 30, heads: int = 12, ffn: int = 8960, lora: int = 0
) -> Callable[[torch.device, torch.dtype], Backbone]:
    """Wan 2.1's transformer, or an adapter of rank `lora` over it; the defaults are the 1.3B model's."""

    def make(device: torch.device, dtype: torch.dtype) -> Backbone:
        import diffusers

        transformer: Any = diffusers.WanTransformer3DModel
        with device:
            network = transformer(num_layers=layers, num_attention_heads=heads, ffn_dim=ffn).to(dtype)
            if lora:
                add_lora(network, TARGETS, lora, lora)
        return cast(Backbone, BareTransformer(network, 512, {}))

    return make


def cogvideox(
    layers: int = 42, heads: int = 48, frames: int = 13, height: int = 60, width: int = 90
) -> Callable[[torch.device, torch.dtype], Backbone]:
    """CogVideoX's transformer; the defaults are the 5B model's."""

    def make(device: torch.device, dtype: torch.dtype) -> Backbone:
        import diffusers
        from diffusers.models.embeddings import get_3d_rotary_pos_embed

        transformer: Any = diffusers.CogVideoXTransformer3DModel
        with device:
            network = transformer(
                num_layers=layers, num_attention_heads=heads, use_rotary_positional_embeddings=True
            ).to(dtype)
        grid = (height // 2, width // 2)
        rotary = get_3d_rotary_pos_embed(64, ((0, 0), grid), grid, frames, device=device)
        return cast(Backbone, BareTransformer(network, 226, {"image_rotary_emb": rotary}))

    return make


def _transformer(config: TinyConfig) -> Callable[[torch.device, torch.dtype], Backbone]:
    def make(device: torch.device, dtype: torch.dtype) -> Backbone:
        backbone = TinyBackbone(config)
        network: nn.Module = backbone.network
        network.to(device, dtype)
        return backbone

    return make


MID = TinyConfig(channels=16, width=768, depth=12, heads=12, patch_px=8)
SHAPES = {
    "tiny": Shape(_transformer(TinyConfig()), 16, 9, height=4, width=4, dtype=torch.float32, blocks=(6, 128)),
    "mid": Shape(_transformer(MID), 1, 8, 16, 16, blocks=(12, 768)),
    "wan-1.3b": Shape(wan(), 1, 21, 60, 104, patch=2, checkpointing=True, blocks=(30, 1536)),  # 81 x 480 x 832
    "cogvideox-5b": Shape(cogvideox(), 1, 13, 60, 90, patch=2, checkpointing=True, blocks=(42, 3072)),  # 49 x 480 x 720
    "wan-14b-lora": Shape(  # 81 x 480 x 832
        wan(40, 40, 13824, 32), 1, 21, 60, 104, patch=2, checkpointing=True, blocks=(40, 5120), lora=32
    ),
    # The same networks at two narrow blocks and few tokens: that the command runs, in seconds on a CPU.
    "wan-small": Shape(wan(2, 2, 512), 1, 3, 8, 8, patch=2, checkpointing=True, blocks=(2, 256)),
    "cogvideox-small": Shape(cogvideox(2, 4, 3, 8, 8), 1, 3, 8, 8, patch=2, checkpointing=True, blocks=(2, 256)),
    "wan-lora-small": Shape(wan(2, 2, 512, 8), 1, 3, 8, 8, patch=2, checkpointing=True, blocks=(2, 256), lora=8),
}
