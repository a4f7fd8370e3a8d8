"""A name for weights: equal tensors, equal name."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def weights_fingerprint(*modules: nn.Module) -> str:
    """24 hex digits over names, shapes, dtypes and bytes of parameters and buffers."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            flat = tensor.detach().cpu().contiguous()
            digest.update(f"{name}{tuple(flat.shape)}{flat.dtype}".encode())
            digest.update(flat.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:24]
