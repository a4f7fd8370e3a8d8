"""All state of a run in one file that is there whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from rushes.media.files import whole_file
from rushes.training.reference import Reference

_NAME = re.compile(r"step-(\d{8})\.safetensors")
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name ("policy/...", "reference/...", "optimiser/...") and a few plain values."""

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below a prefix, by the rest of their name."""
        return {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}


def capture(network: nn.Module, reference: Reference, optimiser: Optimizer) -> dict[str, Tensor]:
    """Everything that a step changes."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    names = {id(p): name for name, p in trained.items()}
    tensors = {f"policy/{name}": p.detach() for name, p in trained.items()}
    tensors |= {f"reference/{name}": value for name, value in reference.values.items()}
    for p, state in optimiser.state.items():
        tensors |= {f"optimiser/{names[id(p)]}/{key}": value for key, value in state.items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def restore(checkpoint: Checkpoint, network: nn.Module, reference: Reference, optimiser: Optimizer) -> None:
    """Put a run back where `capture` found it."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    policy = checkpoint.part("policy/")
    if set(policy) != set(trained):
        raise ValueError("the checkpoint holds other weights than this run trains; give the run another name")
    for name, p in trained.items():
        p.data.copy_(policy[name])
        state = checkpoint.part(f"optimiser/{name}/")
        if state:
            optimiser.state[p] = {key: value.clone() for key, value in state.items()}
    reference.load(checkpoint.part("reference/"))


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write a checkpoint beside the ones before and keep the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.safetensors"
    metadata = {"step": str(step), "facts": json.dumps(dict(facts))}
    with whole_file(path) as partial:
        save_file(dict(tensors), partial, metadata=metadata)
    for old in _in_order(folder)[:-KEPT]:
        old.unlink()
    return path


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read; a torn one (a disk that lied) is passed over for the one before."""
    for path in reversed(_in_order(folder)):
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
        except SafetensorError:
            continue
        return Checkpoint(int(metadata["step"]), tensors, json.loads(metadata["facts"]))
    return None


def _in_order(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))
