"""Tensors in files of safetensors, and their bytes for checksums: equal tensors and metadata give equal bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping

import torch
from safetensors.torch import save_file
from torch import Tensor


def save_tensors(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors does, with its metadata in the order of their names: it has them in any.

    Raises:
        SafetensorError: the disk is full, or tensors share memory.
    """
    save_file(dict(tensors), path, dict(metadata) if metadata else None)
    if not metadata or len(metadata) < 2:
        return
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size, "the same header in another order is as long"
        file.seek(8)
        file.write(text.ljust(size))


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Bytes of a tensor's values in the order of its axes, whatever its strides and its device."""
    values = tensor.detach().cpu().contiguous()
    # not flatten: torch calls a tensor with one element contiguous whatever its strides, and flatten leaves them
    flat = values.as_strided((values.numel(),), (1,))
    return flat.view(torch.uint8).numpy().data


def tensors_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of names, shapes, dtypes and bytes, in the order given; of those made one by one, one is held."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()
