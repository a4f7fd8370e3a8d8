"""An adapter under the names of the models' first releases, which is what ComfyUI loads.

ComfyUI takes a layer of its model `diffusion_model.PATH.weight` for the adapter whose keys are
`diffusion_model.PATH.lora_down.weight`, `.lora_up.weight` and `.alpha`, and adds alpha / rank * up @ down (its
`comfy/lora.py`). Where one of its layers stacks several of diffusers', so do the adapters: their first factors above
each other, their second ones along the diagonal; the sum is the same, and alpha grows with the rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rushes.backbones.pipeline import Family

PREFIX = "diffusion_model"
Layers = dict[str, tuple[tuple[str, int], ...]]


def comfy_layers(family: Family, network: nn.Module, adapted: Sequence[str]) -> Layers:
    """ComfyUI's layer -> the layers of diffusers' network that it stacks, each with its rows.

    `adapted` are paths of the layers that have an adapter; a stack counts where one of its parts has.

    Raises ValueError: ComfyUI's names of this family are not known.
    """
    if family.comfy is None:
        raise ValueError(
            f"ComfyUI's names for the layers of {family.name!r} are unknown to Rushes; export in diffusers' form"
        )
    wanted, stacks = set(adapted), dict[str, list[tuple[str, int]]]()
    for path, layer in network.named_modules():
        # an adapter keeps the layer that it adapts, and its factors, inside
        if hasattr(layer, "out_features") and ".lora_" not in path and not path.endswith(".base_layer"):
            stacks.setdefault(_renamed(path, family.comfy), []).append((path, layer.out_features))
    return {
        name: tuple(sorted(parts, key=lambda part: _place(part[0])))
        for name, parts in stacks.items()
        if wanted & {path for path, _ in parts}
    }


def _place(path: str) -> int:
    """Where a stack has this layer: q, k, v, then what else."""
    letter = re.search(r"_([qkv])(_proj)?$", path)
    return "qkv".index(letter[1]) if letter else 3


def _renamed(path: str, renames: Sequence[tuple[str, str]]) -> str:
    for pattern, name in renames:
        path = re.sub(pattern, name, path)
    return path


def to_comfy(adapter: Mapping[str, tuple[Tensor, Tensor]], layers: Layers, alpha: float) -> dict[str, Tensor]:
    """Factors by the paths of diffusers, first [r, in] and second [out, r], as what a file for ComfyUI holds."""
    tensors: dict[str, Tensor] = {}
    for name, parts in layers.items():
        downs = [adapter[path][0] for path, _ in parts if path in adapter]
        rank = downs[0].shape[0]
        up = downs[0].new_zeros(sum(count for _, count in parts), rank * len(downs))
        row = column = 0
        for path, count in parts:
            if path in adapter:
                up[row : row + count, column : column + rank] = adapter[path][1]
                column += rank
            row += count
        tensors[f"{PREFIX}.{name}.lora_down.weight"] = torch.cat(downs)
        tensors[f"{PREFIX}.{name}.lora_up.weight"] = up
        tensors[f"{PREFIX}.{name}.alpha"] = torch.tensor(float(alpha * len(downs)))
    return tensors


def from_comfy(tensors: Mapping[str, Tensor], layers: Layers) -> dict[str, Tensor]:
    """The inverse, as what diffusers loads; alpha is multiplied into the second factors."""
    factors: dict[str, Tensor] = {}
    for name, parts in layers.items():
        down, up = (tensors[f"{PREFIX}.{name}.{factor}.weight"] for factor in ("lora_down", "lora_up"))
        up = up * (tensors[f"{PREFIX}.{name}.alpha"] / len(down))
        for (path, _), rows in zip(parts, torch.split(up, [count for _, count in parts]), strict=True):
            if rows.any():
                factors[f"{path}.lora_A.weight"], factors[f"{path}.lora_B.weight"] = down.clone(), rows.clone()
    return factors
