"""The media/ folder: files named by the hash of their content."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

from rushes.files import MediaError, content_hash, whole_file
from rushes.store.compared import CheckedFiles, forget, remembering, state_of

_HASH = re.compile(r"[0-9a-f]{64}")
_THREADS = 4  # that compare files: a core hashes about as fast as a disk reads


class MediaFolder:
    """Files called `ab/<sha256><suffix>`, where ab begins the hash; a content is kept once, whatever its suffix.

    The 256 subfolders keep a lookup short without a list that could go stale: any number of processes, also ones
    that have no database, may put files at the same time. A process that is killed may leave a hidden `.part` file,
    which nothing reads. A file is compared with its name the first time that it is asked for, once in the life of
    this object: a disk that flips a bit does not say so, and most videos with one still play.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sound: set[str] = set()  # hashes of files that were compared with their names
        self._memory: CheckedFiles | None = None  # of former processes

    def put(self, path: Path) -> str:
        """Copy the file at `path` into the folder, unless its content is there already and whole; return its hash.

        Raises ValueError when it is not a file or changes while it is copied, OSError when the disk is full.
        """
        if not path.is_file():
            raise ValueError(f"{path}: not a file; check the path")
        digest = content_hash(path)
        if not self.sound(digest):
            with whole_file(self._named(digest) or self._new(digest, path.suffix)) as part:
                shutil.copyfile(path, part)
                if content_hash(part) != digest:
                    raise ValueError(f"{path}: changed while it was copied; import it again once it is complete")
            self._sound.add(digest)
        return digest

    def put_as(self, path: Path, digest: str) -> None:
        """Copy a file that goes by this hash; the copy alone is compared, so the file is read once.

        Raises MediaError where it is other content: nothing was written.
        """
        with whole_file(self._named(digest) or self._new(digest, path.suffix)) as part:
            shutil.copyfile(path, part)
            if content_hash(part) != digest:
                raise MediaError(f"{path}: this file or its copy was damaged or altered; {self._way_out()}", "damaged")
        self._sound.add(digest)

    def put_bytes(self, data: bytes, suffix: str) -> str:
        """Write `data` unless it is there already and whole; `suffix` has its dot, as in ".mp4". Return its hash."""
        assert re.fullmatch(r"\.\w+", suffix), suffix
        digest = content_hash(data)
        if not self.sound(digest):
            with whole_file(self._named(digest) or self._new(digest, suffix)) as part:
                part.write_bytes(data)
            self._sound.add(digest)
        return digest

    def path(self, digest: str) -> Path:
        """Where the content with this hash lies, to be read.

        Raises ValueError when it is not in the folder, MediaError (which is one) when the file is not what its name
        says.
        """
        file = self.locate(digest)
        if not self.sound(digest):
            raise MediaError(
                f"{file}: damaged or altered: its content does not match its name; {self._way_out()}", "damaged"
            )
        return file

    def locate(self, digest: str) -> Path:
        """The same, unread and not compared, where the name is what matters. Raises ValueError as `path` does."""
        file = self._find(digest)
        if file is None:
            raise ValueError(f"{self.folder}: no file with content hash {digest!r}; {self._way_out()}")
        return file

    def sound(self, digest: str) -> bool:
        """Whether the content with this hash is in the folder, whole; a link, and a file in a bad sector, is not.

        Raises OSError where it cannot be read for another cause, which may pass.
        """
        if digest in self._sound and self._named(digest) is not None:
            return True
        try:
            file = self._find(digest)
            whole = file is not None and self._whole(file, digest)
        except _LinkError:  # `put` writes a file in its place
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        if whole:
            self._sound.add(digest)
        return whole

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Within the block, only files that changed since the last such block are compared; see `CheckedFiles`."""
        with remembering(self.folder.parent) as self._memory:
            try:
                yield
            finally:
                self._memory = None

    def _whole(self, file: Path, digest: str) -> bool:
        state = state_of(file) if self._memory else ""
        if self._memory and self._memory.parts(file, state):
            return True
        if content_hash(file) != digest:
            forget(self.folder.parent, file)
            return False
        if self._memory:
            self._memory.add(file, state, [digest])
        return True

    def lost(self, digests: Iterable[str]) -> set[str]:
        """Which of these contents are not in the folder, or not whole; several files are read at once."""
        asked = list(dict.fromkeys(digests))
        with ThreadPoolExecutor(_THREADS) as threads:
            return {digest for digest, sound in zip(asked, threads.map(self.sound, asked), strict=True) if not sound}

    def __contains__(self, digest: object) -> bool:
        """Whether the content with this hash is in the folder. Raises ValueError where it is a link."""
        return isinstance(digest, str) and self._find(digest) is not None

    def _way_out(self) -> str:
        return f"`rushes verify {quote(str(self.folder.parent))}` names the command that restores it"

    def _find(self, digest: str) -> Path | None:
        file = self._named(digest)
        if file is not None and not stat.S_ISREG(os.lstat(file).st_mode):
            raise _LinkError(f"{file}: a link or other special file; delete it, then {self._way_out()}")
        return file

    def _named(self, digest: str) -> Path | None:
        """What goes by this hash, whatever it is."""
        if not _HASH.fullmatch(digest):
            return None
        folder = self.folder / digest[:2]
        with suppress(FileNotFoundError):  # names alone: a folder of 100,000 clips has 400 in each of its parts
            name = min((name for name in os.listdir(folder) if name.startswith(digest)), default="")
            return folder / name if name else None
        return None

    def _new(self, digest: str, suffix: str) -> Path:
        (self.folder / digest[:2]).mkdir(parents=True, exist_ok=True)
        return self.folder / digest[:2] / f"{digest}{suffix.lower()}"


class _LinkError(ValueError):
    """A name of ours that is not a file."""
