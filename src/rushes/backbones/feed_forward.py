"""Feed-forward layers that take a few tokens at once: what is between their two matrices is the widest of a block.

A token's answer depends on no other token, so that chunks give what the whole gives. In a pass with gradients each
chunk is computed again when its gradient is wanted, so that what lies between is there for one chunk at a time.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def chunk_feed_forward(network: nn.Module, tokens: int) -> None:
    """Let the feed-forward layers of a network of diffusers take at most `tokens` at once; in place.

    HunyuanVideo's single blocks have their first matrix beside the attention's and stay as they are.

    Raises:
        ValueError: the network has no such layers.
    """
    from diffusers.models.attention import FeedForward

    layers = [module for module in network.modules() if isinstance(module, FeedForward)]
    if not layers:
        raise ValueError(
            f"backbone.chunk_size_feed_forward: a {type(network).__name__} has no feed-forward layers; set it to 0"
        )
    for layer in layers:
        vars(layer)["forward"] = functools.partial(_in_chunks, layer.forward, tokens)


def _in_chunks(forward: Any, tokens: int, hidden_BNC: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if hidden_BNC.shape[1] <= tokens:
        whole: Tensor = forward(hidden_BNC, *args, **kwargs)
        return whole
    run = functools.partial(checkpoint, forward, use_reentrant=False) if torch.is_grad_enabled() else forward
    return torch.cat([run(chunk, *args, **kwargs) for chunk in hidden_BNC.split(tokens, 1)], 1)
