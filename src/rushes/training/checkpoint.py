"""All state of a run, there whole or not at all.

One process, or several with copies of the weights, write one file. Sharded weights are written by all processes, a
safetensors file each (torch.distributed.checkpoint), into a folder that counts once its seal is there; any number of
processes can read it. Both carry checksums, so what was torn or altered is passed over for the one before.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save as save_parts
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from rushes.files import content_hash, locked, whole_file, write_json
from rushes.tensor_files import save_tensors, tensors_digest
from rushes.training.continuation import CheckpointFacts
from rushes.training.history import LOCK
from rushes.training.optimisers import begin_state, set_steps, state_of
from rushes.training.parallel import Ranks, as_part, own_part
from rushes.training.reference import EmaWeights, Reference

_NAME = re.compile(r"step-(\d{8})(\.safetensors)?")
_SEAL = "seal.json"  # of a folder: facts and the hashes of its files, written last
_REMOVED = "removed.json"
CHECKPOINTS = 2
_LOG = logging.getLogger(__name__)


_DAMAGED = (SafetensorError, OSError, ValueError, LookupError, TypeError)  # what torn or altered files end in


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name ("policy/...", "reference/...", "average/...", "optimiser/...") and a few plain values.

    One of sharded weights has no tensors here; `restore` lets each process read its part from `folder`.
    """

    step: int
    names: frozenset[str]
    tensors: Mapping[str, Tensor]
    facts: CheckpointFacts
    folder: Path | None = None

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below a prefix, by the rest of their name."""
        return {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if need be, against other processes; the system lets go when this one ends.

    Raises:
        ValueError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:  # who only asks whether a run is at work lets go at once
            stack.enter_context(locked(folder / LOCK, wait=False, patience_s=0.1))
        except BlockingIOError:
            raise ValueError(
                f"{folder}: another process is training this run; wait for it, or set train.name to another name"
            ) from None
        yield


def capture(
    network: nn.Module, reference: Reference, optimiser: Optimizer, average: EmaWeights | None = None
) -> dict[str, Tensor]:
    """Everything that a step changes."""
    weights = dict(network.named_parameters())
    names = {id(p): name for name, p in weights.items()}
    tensors = {f"policy/{name}": p.detach() for name, p in weights.items() if p.requires_grad}
    if reference.mode != "frozen":  # else it is what training started from
        tensors |= {f"reference/{name}": as_part(value, weights[name]) for name, value in reference.values.items()}
    if average is not None:
        tensors |= {f"average/{name}": as_part(value, weights[name]) for name, value in average.values.items()}
    for p in optimiser.state:
        tensors |= {f"optimiser/{names[id(p)]}/{key}": value for key, value in state_of(optimiser, p).items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def restore(
    checkpoint: Checkpoint,
    network: nn.Module,
    reference: Reference,
    optimiser: Optimizer,
    average: EmaWeights | None = None,
) -> None:
    """Put a run back where `capture` found it."""
    for name, p in network.named_parameters():
        if f"optimiser/{name}/step" in checkpoint.names:  # a weight that never had a gradient has no state
            begin_state(optimiser, p)
    places = capture(network, reference, optimiser, average)
    if checkpoint.names != set(places):
        raise ValueError(
            "the checkpoint holds different weights from those this run trains; set train.name to another name"
        )
    if checkpoint.folder is not None:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # one process is meant
            alone = not torch.distributed.is_initialized()
            load(places, storage_reader=HuggingFaceStorageReader(str(checkpoint.folder)), no_dist=alone)
        return
    with torch.no_grad():
        for name, place in places.items():
            value = checkpoint.tensors[name]
            if isinstance(place, DTensor):
                value = own_part(distribute_tensor(value.to(place.device), place.device_mesh, place.placements))
            own_part(place).copy_(value)
    for name, p in network.named_parameters():
        if f"optimiser/{name}/step" in checkpoint.names:
            set_steps(optimiser, p, float(places[f"optimiser/{name}/step"]))


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: CheckpointFacts) -> Path:
    """Write a checkpoint of one process beside the ones before and keep the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.safetensors"
    metadata = {"step": str(step), "facts": json.dumps(dict(facts)), "sha256": digest_of(tensors)}
    with whole_file(path) as partial:
        save_tensors(dict(tensors), partial, metadata=metadata)
    drop_old(folder)
    return path


def save_sharded(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: CheckpointFacts, ranks: Ranks) -> Path:
    """Write a checkpoint of sharded weights, each process its part; to be called by all processes."""
    path = folder / f"step-{step:08d}"
    if ranks.first:
        shutil.rmtree(path, ignore_errors=True)  # of a run that was killed while it wrote
        path.mkdir(parents=True)
    ranks.wait()
    save_parts(dict(tensors), storage_writer=HuggingFaceStorageWriter(str(path), save_distributed=True))
    ranks.wait()
    if ranks.first:
        hashes = {file.name: content_hash(file) for file in sorted(path.glob("*.safetensors"))}
        with whole_file(path / _SEAL) as partial:
            partial.write_text(
                json.dumps({"step": step, "names": sorted(tensors), "facts": dict(facts), "sha256": hashes})
            )
        drop_old(folder)
    ranks.wait()
    return path


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; a torn or altered one (a disk that lied) is passed over, which is logged."""
    for path in reversed(in_order(folder)):
        checkpoint = read(path)
        if checkpoint is not None:
            return checkpoint
        _LOG.warning("%s is incomplete or altered; the checkpoint before it is used instead", path)
    return None


def read(path: Path) -> Checkpoint | None:
    """A checkpoint by its file or folder; None where it is torn or was altered."""
    return _sharded(path) if path.is_dir() else _single(path)


def is_whole(path: Path) -> bool:
    """Whether `read` would give it, without keeping its tensors: those of a 14B are 170 GB."""
    if path.is_dir():
        return _sharded(path) is not None
    try:
        return can_be_opened(path) and _file_is_whole(path, checksum_needed=True)
    except _DAMAGED:
        return False


def can_be_opened(path: Path) -> bool:
    """Whether it has its facts, and so was written to its end; its tensors are not looked at."""
    try:
        return _facts(path)[0] >= 0
    except _DAMAGED:
        return False


def at_work(folder: Path) -> bool:
    """Whether a process trains the run of this folder now; nothing is made there."""
    try:
        if (folder / LOCK).exists():
            with locked(folder / LOCK, wait=False):
                return False
    except BlockingIOError:
        return True
    except OSError:  # a folder that cannot be written: nobody here can train it
        return False
    return False


def newest_facts(folder: Path) -> tuple[int, CheckpointFacts] | None:
    """Steps and facts of the newest checkpoint that can be opened, without its weights; whether it is whole is not
    looked at. Those of a finished run's are there when it was removed, too.
    """
    for path in reversed(in_order(folder)):
        with suppress(*_DAMAGED):
            return _facts(path)
    with suppress(*_DAMAGED):
        note = json.loads((folder / _REMOVED).read_text())
        return int(note["step"]), _plain_values(note["facts"])
    return None


def _facts(path: Path) -> tuple[int, CheckpointFacts]:
    if path.is_dir():
        seal = json.loads((path / _SEAL).read_text())
        return int(seal["step"]), _plain_values(seal["facts"])
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    return int(metadata["step"]), _plain_values(json.loads(metadata["facts"]))


def _plain_values(stored: Any) -> CheckpointFacts:
    """Facts as JSON has them. Raises one of `_DAMAGED`: they are no object."""
    return cast(CheckpointFacts, dict(stored))


def note_removed(folder: Path) -> None:
    """Note of the newest checkpoint, before it is removed, what a run that would go on from it has to know."""
    newest = newest_facts(folder)
    if newest is not None:
        write_json(folder / _REMOVED, {"step": newest[0], "facts": newest[1]})


def removed(folder: Path) -> bool:
    """Whether the checkpoints were removed, as the run is finished."""
    return (folder / _REMOVED).is_file() and not in_order(folder)


def _single(path: Path) -> Checkpoint | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
            if metadata["sha256"] != digest_of(tensors):
                return None
            facts = _plain_values(json.loads(metadata["facts"]))
            return Checkpoint(int(metadata["step"]), frozenset(tensors), tensors, facts)
    except _DAMAGED:
        return None


def _sharded(path: Path) -> Checkpoint | None:
    try:
        seal = json.loads((path / _SEAL).read_text())
        hashes = {file.name: content_hash(file) for file in sorted(path.glob("*.safetensors"))}
        if hashes != seal["sha256"]:
            return None
        return Checkpoint(seal["step"], frozenset(seal["names"]), {}, seal["facts"], path)
    except _DAMAGED:
        return None


def weights_fault(path: Path, *, checksum_needed: bool = False) -> str:
    """Why a file of a run's weights is not what was written; empty where it is, or has no checksum and needs none."""
    try:
        return "" if _file_is_whole(path, checksum_needed) else "was altered"
    except FileNotFoundError:
        return "is missing"
    except _DAMAGED as error:
        return f"cannot be read ({error})"


def _file_is_whole(path: Path, checksum_needed: bool = False) -> bool:
    with safe_open(path, "pt") as file:
        checksum = (file.metadata() or {}).get("sha256")
        digest = tensors_digest((name, file.get_tensor(name)) for name in sorted(file.keys()))
        return digest == checksum or (checksum is None and not checksum_needed)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Digest of names, kinds and bytes."""
    return tensors_digest(sorted(tensors.items()))


def drop_old(folder: Path) -> None:
    """Keep the newest two."""
    for old in in_order(folder)[:-CHECKPOINTS]:
        remove(old)


def remove(path: Path) -> None:
    """Delete a checkpoint."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def in_order(folder: Path) -> list[Path]:
    """The files and folders of all checkpoints below `folder`, the newest last."""
    return sorted((path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)), key=lambda path: path.name)
