"""Latents on disk: safetensors shards named by what made them."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from rushes.files import whole_file
from rushes.records import stable_hash
from rushes.store.compared import CheckedFiles, forget, remembering, state_of
from rushes.tensor_files import save_tensors, tensor_bytes

SHARD_BYTES = 256 * 2**20
_NAME = re.compile(r"\w+-[0-9a-f]{24}\.safetensors")
_THREADS = 4  # that compare shards: a core hashes about as fast as a disk reads
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LatentKey:
    """What a latent is of; `str` of it is the name it is stored under, and `read` reads that."""

    media: str  # content hash of a clip or still
    edit: str = ""  # what was done to its frames, in the words of `rushes.edits`; "" = nothing
    first: bool = False  # of its first frame alone
    part: str = ""  # what else a model takes of that first frame, by name; "" = its latent
    shape: str = ""  # what its frames are brought to, by name; "" = the project's own size and length

    def __str__(self) -> str:
        """The name in a shard: MEDIA, MEDIA|EDIT, MEDIA/first, MEDIA/first/PART or MEDIA|EDIT/first/PART, and of
        another shape MEDIA@SHAPE in the place of MEDIA."""
        clip = f"{self.media}@{self.shape}" if self.shape else self.media
        clip = f"{clip}|{self.edit}" if self.edit else clip
        return f"{clip}/first" + (f"/{self.part}" if self.part else "") if self.first else clip

    @classmethod
    def read(cls, name: str) -> LatentKey:
        """The key of a name."""
        clip, first, part = name.partition("/first")
        media, _, edit = clip.partition("|")
        media, _, shape = media.partition("@")
        return cls(media, edit, bool(first), part.removeprefix("/"), shape)


def first_frame_key(media: str, shape: str = "") -> str:
    """Name of the latent of the first frame alone of a clip or still with content hash `media`, in a shape."""
    return str(LatentKey(media, first=True, shape=shape))


def still_key(media: str, name: str, edit: str = "", shape: str = "") -> str:
    """Name of what else a model takes of the first frame of a clip or still, beside its latent."""
    return str(LatentKey(media, edit, True, name, shape))


def latent_fingerprint(
    codec: str, weights: str, width_px: int, height_px: int, frames: int, fps: float, preprocessing: str
) -> str:
    """The name of all latents that one codec makes from one kind of input.

    `codec` is its id, `weights` the hash of its weights, `frames` the number of pixel frames, and `preprocessing` says
    how frames are resampled, cropped and normalised. Latents of different fingerprints are never mixed.
    """
    return stable_hash([codec, weights, width_px, height_px, frames, float(fps), preprocessing])


class LatentStore:
    """Latents `[C, F, H, W]` of one fingerprint, by key (the content hash of the media).

    The index is read from the shards' own headers when the store is opened, so there is none to go stale. A tensor is
    read when asked for, and compared with its checksum the first time; writing needs the memory of one shard. A store
    sees the shards that were there when it was opened or looked again, and its own; those that are torn it passes over.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Read the headers. Raises ValueError when a shard was not written by a latent store."""
        assert re.fullmatch(r"\w+", fingerprint), fingerprint
        self.folder = folder
        self.fingerprint = fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        self._shard_of: dict[str, Path] = {}
        self._checksum_of: dict[str, str] = {}
        self._sound = set[str]()  # keys of entries that were compared
        self._torn: dict[Path, str] = {}  # why, by shard
        self.look_again()

    def look_again(self) -> None:
        """See what other processes have stored or deleted since. Raises ValueError as the constructor does."""
        seen = set(self._shard_of.values())
        self._forget([path for path in (*seen, *self._torn) if not path.exists()])
        for path in sorted(self.folder.glob("[!.]*.safetensors")):
            if not _NAME.fullmatch(path.name):
                raise ValueError(f"{path}: not written by Rushes; move it out of the folder")
            if path.name.startswith(f"{self.fingerprint}-") and path not in seen:
                try:
                    self._take_up(path, self._checksums(path))
                    self._torn.pop(path, None)  # another process wrote it again
                except _DamageError as error:
                    self._torn[path] = str(error)

    def _take_up(self, path: Path, checksums: Mapping[str, str]) -> None:
        for key, checksum in checksums.items():
            if key not in self._shard_of:
                self._shard_of[key], self._checksum_of[key] = path, checksum

    def _forget(self, shards: Iterable[Path]) -> int:
        """Leave out what these shards hold; how many entries that is."""
        gone = set(shards)
        keys = [key for key, path in self._shard_of.items() if path in gone] if gone else []
        for key in keys:
            del self._shard_of[key], self._checksum_of[key]
        self._sound.difference_update(keys)
        for path in gone:
            self._torn.pop(path, None)
        return len(keys)

    def __contains__(self, key: object) -> bool:
        """Whether `get` would find it."""
        return key in self._shard_of

    def __iter__(self) -> Iterator[str]:
        """All keys."""
        return iter(self._shard_of)

    def __len__(self) -> int:
        """How many latents there are."""
        return len(self._shard_of)

    def get(self, key: str) -> torch.Tensor | None:
        """The latent `[C, F, H, W]` in the dtype it was put in, on the CPU; None when there is none.

        Raises ValueError where it is damaged, which `mend` beforehand sees to; OSError where it cannot be read now.
        """
        path = self._shard_of.get(key)
        if path is None:
            return None
        latent = _read(path, key)
        if key not in self._sound:
            if _checksum(latent) != self._checksum_of[key]:
                raise self._altered(path, key)
            self._sound.add(key)
        return latent

    def mend(self, keys: Iterable[str] = (), *, remember: bool = False) -> int:
        """Delete shards that are torn, or in which one of these entries is damaged, so that both are made again.

        Every entry is compared once in the life of this object. A line is logged for each shard. What another process
        wrote again meanwhile is taken up, not deleted.

        Args:
            keys: names of entries.
            remember: compare only those of shards that changed since a call that remembered; see `CheckedFiles`.

        Returns:
            How many entries are gone, those of torn shards aside, of which nobody knows.

        Raises:
            OSError: a shard cannot be read now, as there are too many open files, or the disk fails; it stays.
        """
        unread = dict[Path, list[str]]()
        for key in dict.fromkeys(keys):
            if key in self._shard_of and key not in self._sound:
                unread.setdefault(self._shard_of[key], []).append(key)
        place = remembering(self.folder.parent) if remember else nullcontext()
        with place as memory, ThreadPoolExecutor(_THREADS) as threads:
            compare = partial(self._compare, memory)
            sound = dict(zip(unread, threads.map(compare, unread, unread.values()), strict=True))
        gone = 0
        for path in [*self._torn, *(path for path, right in sound.items() if not right)]:
            entries = self._forget([path])
            if not self._written_again(path):
                path.unlink(missing_ok=True)
                _LOG.warning("%s: was damaged and has been deleted; its contents are computed again", path)
                gone += entries
        return gone

    def _compare(self, memory: CheckedFiles | None, path: Path, keys: Sequence[str]) -> bool:
        try:
            state = state_of(path) if memory else ""
            self._sound.update(memory.parts(path, state).intersection(keys) if memory else ())
            unread = [key for key in keys if key not in self._sound]
            for key in unread:
                self.get(key)
        except _DamageError:
            return False
        except FileNotFoundError:  # another process deleted it
            if path.exists():
                raise
            return False
        if memory and unread:
            memory.add(path, state, unread)
        return True

    def _altered(self, path: Path, key: str) -> _DamageError:
        forget(self.folder.parent, path)
        return _DamageError(f"{path}: the entry for {key!r} was altered; {_AGAIN}")

    def _written_again(self, path: Path) -> bool:
        """Take a damaged shard up where it is whole by now."""
        try:
            checksums = self._checksums(path)
            whole = all(_checksum(_read(path, key)) == checksum for key, checksum in checksums.items())
        except _DamageError:
            return False
        if whole:
            self._take_up(path, checksums)
        return whole

    def put(self, many: Mapping[str, torch.Tensor]) -> int:
        """Write latents in shards of at most `SHARD_BYTES` (or one latent) and return how many were new.

        On return they are on disk; put many at a time, each call makes a file. Keys that are there already are kept as
        they are. Raises ValueError, before anything is written, for what is not a finite floating-point `[C, F, H, W]`;
        OSError when the disk is full.
        """
        new = {key: latent for key, latent in many.items() if key not in self._shard_of}
        for key, latent in new.items():
            if problem := _problem(latent):
                raise ValueError(f"latent of {key!r}: {problem}; check the clip and the codec's precision")
        shard: dict[str, torch.Tensor] = {}
        room = SHARD_BYTES
        for key, latent in new.items():
            if shard and latent.nbytes > room:
                self._write(shard)
                shard, room = {}, SHARD_BYTES
            shard[key] = latent.detach().cpu().contiguous()
            room -= latent.nbytes
        if shard:
            self._write(shard)
        return len(new)

    def verify(self) -> tuple[str, ...]:
        """Read every latent again; one sentence for each that is damaged, none when all is well."""
        problems = list(self._torn.values())
        for path in sorted(set(self._shard_of.values())):
            try:
                for key, checksum in self._checksums(path).items():
                    if _checksum(_read(path, key)) != checksum:
                        problems.append(str(self._altered(path, key)))
            except ValueError as error:
                problems.append(str(error))
        return tuple(problems)

    def _write(self, latents: Mapping[str, torch.Tensor]) -> None:
        path = self.folder / f"{self.fingerprint}-{stable_hash(sorted(latents))}.safetensors"
        checksums = json.dumps({key: _checksum(latent) for key, latent in latents.items()})
        try:
            with whole_file(path) as part:
                save_tensors(dict(latents), part, {"fingerprint": self.fingerprint, "sha256": checksums})
        except SafetensorError as error:
            raise OSError(f"{path}: cannot be written ({error}); free some disk space, then run again") from error
        self._torn.pop(path, None)
        self._take_up(path, json.loads(checksums))
        self._sound.update(latents)

    def _checksums(self, path: Path) -> dict[str, str]:
        try:
            with _opened(path) as shard:
                about, keys = shard.metadata() or {}, set(shard.keys())
            ours = about.get("fingerprint") == self.fingerprint
            checksums: dict[str, str] = json.loads(about.get("sha256", "{}")) if ours else {}
        except json.JSONDecodeError as error:
            raise _torn(path, error) from error
        if not keys or not isinstance(checksums, dict) or set(checksums) != keys:
            raise ValueError(f"{path}: its contents do not match its name; move it out of the folder")
        return checksums


class _DamageError(ValueError):
    """A shard that is torn, lost, or holds another thing than was put; not one that cannot be read just now."""


def _torn(path: Path, error: Exception) -> _DamageError:
    return _DamageError(f"{path}: incomplete or not a safetensors file ({error}); {_AGAIN}")


_AGAIN = "run the same command again: it deletes the file and computes the contents anew"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as shard:
            yield shard
    except SafetensorError as error:
        raise _torn(path, error) from error
    except FileNotFoundError as error:  # as safetensors says whatever the cause is
        if path.exists():
            path.open("rb").close()  # which says the cause
            raise
        raise _torn(path, error) from error


def _read(path: Path, key: str) -> torch.Tensor:
    with _opened(path) as shard:
        # A copy, as the tensor is a map of the file, and the process would die of a bus error if that changed.
        latent: torch.Tensor = shard.get_tensor(key).clone()
        return latent


def _problem(latent: torch.Tensor) -> str:
    if latent.dim() != 4 or latent.numel() == 0 or not latent.is_floating_point():
        return f"expected floating-point [C, F, H, W], got {latent.dtype} {list(latent.shape)}"
    return "" if bool(latent.isfinite().all()) else "it holds NaN or infinity"


def _checksum(latent: torch.Tensor) -> str:
    return hashlib.sha256(tensor_bytes(latent)).hexdigest()
