"""What captions were read as, kept on disk, so that a second start reads none and loads no text encoder.

One file for each caption, in a folder that is named after all else that its embeddings depend on: weights of the text
encoders, tokenizers, precision, and the code that reads. A change of any makes another folder, so an entry that was
made otherwise is never found; a file has its name only once it is whole.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rushes.backbones.folders import Folder
from rushes.backbones.weight_hashes import remembered
from rushes.files import content_hash, whole_file
from rushes.records import stable_hash
from rushes.tensor_files import save_tensors, tensor_bytes

# Tensors of one caption by name: on the CPU, without the zeros at the end, and the length that they had with them.
CaptionRows = Mapping[str, tuple[Tensor, int]]
_LOG = logging.getLogger(__name__)
LIBRARIES = ("torch", "transformers", "diffusers", "ftfy")  # with another version captions are read again


class TextCache:
    """Embeddings of captions that were made in one way."""

    def __init__(self, folder: Path, depends_on: Mapping[str, str]) -> None:
        """Nothing is read or written yet.

        Args:
            folder: of all embeddings of a project.
            depends_on: what an embedding is made from beside its caption: hashes, versions and names.
        """
        self.depends_on = dict(depends_on)
        self.fingerprint = stable_hash(self.depends_on)
        self.all, self.folder = folder, folder / self.fingerprint

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """The embeddings that lie in a folder, whatever they depend on, to be read again."""
        cache = cls(folder.parent, {})
        cache.folder, cache.fingerprint = folder, folder.name
        return cache

    def path(self, caption: str) -> Path:
        """The file of a caption, there or not."""
        return self.folder / f"{content_hash(caption.encode('utf-8', 'surrogatepass'))}.safetensors"

    def __contains__(self, caption: object) -> bool:
        """Whether `get` would find it."""
        return isinstance(caption, str) and self.path(caption).is_file() and not self.path(caption).is_symlink()

    def paths(self) -> list[Path]:
        """The files of all captions."""
        return sorted(self.folder.glob("[!.]*.safetensors"))

    def get(self, caption: str) -> CaptionRows | None:
        """What `put` was given; None where there is none, or a damaged file, which is logged: it is made again."""
        path = self.path(caption)
        if not path.is_file():
            return None
        try:
            return self.read(path)[1]
        except ValueError as error:
            _LOG.warning("%s", error)
            return None

    def read(self, path: Path) -> tuple[str, CaptionRows]:
        """Caption and embeddings of a file.

        Raises:
            ValueError: a file that is torn, was altered, or was written under another name; a link.
        """
        if path.is_symlink() or path.parent.is_symlink():
            raise ValueError(f"{path}: is a link, or inside one; delete the link: {_AGAIN}")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                # A copy, as a tensor is a map of the file.
                tensors: dict[str, Tensor] = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            caption, sums, lengths = (json.loads(about.get(key, "null")) for key in ("caption", "sha256", "lengths"))
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"{path}: incomplete or not a safetensors file ({error}); {_AGAIN}") from error
        ours = about.get("fingerprint") == self.fingerprint and isinstance(caption, str) and self.path(caption) == path
        if (
            not ours
            or not isinstance(lengths, dict)
            or lengths.keys() != tensors.keys()
            or sums != {name: _checksum(tensor) for name, tensor in tensors.items()}
        ):
            raise ValueError(f"{path}: altered, or moved here from elsewhere; {_AGAIN}")
        return caption, {name: (tensor, lengths[name]) for name, tensor in tensors.items()}

    def put(self, caption: str, rows: CaptionRows) -> None:
        """Keep what a caption was read as; on return it is on disk.

        Raises:
            OSError: the disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, (tensor, _) in
                   rows.items()}  # fmt: skip
        about = {
            "fingerprint": self.fingerprint,
            "caption": json.dumps(caption),
            "lengths": json.dumps({name: length for name, (_, length) in rows.items()}),
            "sha256": json.dumps({name: _checksum(tensor) for name, tensor in tensors.items()}),
        }
        path = self.path(caption)
        try:
            with whole_file(path) as part:
                save_tensors(tensors, part, about)
        except SafetensorError as error:
            raise OSError(f"{path}: cannot be written ({error}); free some disk space, then run again") from error

    def stale(self) -> dict[str, int]:
        """How many captions are kept that were read in another way, by the fingerprint of that."""
        paths = sorted(self.all.glob("*/[!.]*.safetensors"))
        return dict(Counter(path.parent.name for path in paths if path.parent != self.folder))

    def stale_of(self, caption: str) -> list[str]:
        """Fingerprints of other ways in which a caption was read."""
        paths = sorted(self.all.glob(f"*/{self.path(caption).name}"))
        return [path.parent.name for path in paths if path.parent != self.folder]


_AGAIN = "its caption is encoded again when it is needed"


def trimmed(row: Tensor) -> tuple[Tensor, int]:
    """A row on the CPU without the zeros at its end, and its length: most embeddings are padding."""
    row = row.detach().cpu()
    if row.dim() < 2:
        return row, len(row) if row.dim() else 0
    used = row.flatten(1).any(1).nonzero()
    end = int(used[-1]) + 1 if len(used) else 0
    return row[:end].clone(), len(row)


def untrimmed(row: Tensor, length: int) -> Tensor:
    """The inverse of `trimmed`."""
    if row.dim() < 2 or len(row) == length:
        return row
    return torch.cat([row, row.new_zeros(length - len(row), *row.shape[1:])])


def made_by(
    model: Folder,
    idle: Collection[str],
    read: Callable[..., Any],
    dtype: torch.dtype,
    memory: Path | None = None,
) -> dict[str, str]:
    """What an embedding is made from beside its caption.

    Args:
        model: all of whose parts are hashed, tokenizers among them,
        idle: but these.
        read: what takes from the encoders what the network is given; the module that it stands in says how many tokens
            a caption has at most.
        dtype: of the encoders.
        memory: where hashes of files are remembered.
    """
    code = inspect.getsource(inspect.getmodule(read) or read)
    return {
        "pipeline": model.pipeline,
        "dtype": str(dtype).removeprefix("torch."),
        "code": content_hash(code.encode())[:24],
        **{library: _version(library) for library in LIBRARIES},
        **{
            part: _files_hash(model.path / part, memory)
            for part in sorted(model.index)
            if model.has(part) and part not in idle
        },
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""  # without ftfy some pipelines clean captions otherwise, and do not say so


def _files_hash(folder: Path, memory: Path | None = None) -> str:
    """24 hex digits over names and contents of a folder's files; what is hidden is left out."""
    files = files_of(folder)

    def read() -> str:
        return stable_hash([[path.relative_to(folder).as_posix(), content_hash(path)] for path in files])

    return remembered(memory, files, ("files",), read)


def files_of(folder: Path) -> list[Path]:
    """A folder's files in order; what is hidden is left out."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]


def _checksum(tensor: Tensor) -> str:
    return content_hash(tensor_bytes(tensor).tobytes())
