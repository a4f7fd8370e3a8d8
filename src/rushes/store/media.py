"""The media/ folder: files named by the hash of their content."""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from rushes.files import content_hash, whole_file

_HASH = re.compile(r"[0-9a-f]{64}")


class MediaFolder:
    """Files called `ab/<sha256><suffix>`, where ab begins the hash; a content is kept once, whatever its suffix.

    The 256 subfolders keep a lookup short without a list that could go stale: any number of processes, also ones
    that have no database, may put files at the same time. A process that is killed may leave a hidden `.part` file,
    which nothing reads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: Path) -> str:
        """Copy the file at `path` into the folder, unless its content is there already; return its hash.

        Raises ValueError when it is not a file or changes while it is copied, OSError when the disk is full.
        """
        if not path.is_file():
            raise ValueError(f"{path}: not a file; check the path")
        digest = content_hash(path)
        if self._find(digest) is None:
            with whole_file(self._new(digest, path.suffix)) as part:
                shutil.copyfile(path, part)
                if content_hash(part) != digest:
                    raise ValueError(f"{path}: changed while it was copied; import it again once it is complete")
        return digest

    def put_bytes(self, data: bytes, suffix: str) -> str:
        """Write `data` unless it is there already; `suffix` has its dot, as in ".mp4". Return its hash."""
        assert re.fullmatch(r"\.\w+", suffix), suffix
        digest = content_hash(data)
        if self._find(digest) is None:
            with whole_file(self._new(digest, suffix)) as part:
                part.write_bytes(data)
        return digest

    def path(self, digest: str) -> Path:
        """Where the content with this hash lies. Raises ValueError when it is not in the folder, or is a link."""
        file = self._find(digest) if _HASH.fullmatch(digest) else None
        if file is None:
            raise ValueError(f"{self.folder}: no file with content hash {digest!r}; copy it there or import it again")
        return file

    def __contains__(self, digest: object) -> bool:
        """Whether the content with this hash is in the folder. Raises ValueError where it is a link."""
        return isinstance(digest, str) and bool(_HASH.fullmatch(digest)) and self._find(digest) is not None

    def _find(self, digest: str) -> Path | None:
        folder = self.folder / digest[:2]
        with suppress(FileNotFoundError):  # names alone: a folder of 100,000 clips has 400 in each of its parts
            name = min((name for name in os.listdir(folder) if name.startswith(digest)), default="")
            if name and not stat.S_ISREG(os.lstat(folder / name).st_mode):
                raise ValueError(
                    f"{folder / name}: no file but a link or the like; delete it and import the clip again"
                )
            return folder / name if name else None
        return None

    def _new(self, digest: str, suffix: str) -> Path:
        (self.folder / digest[:2]).mkdir(parents=True, exist_ok=True)
        return self.folder / digest[:2] / f"{digest}{suffix.lower()}"
