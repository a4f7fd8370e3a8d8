"""Files: content hashes, and writing that leaves either the whole file or none."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import re
import secrets
import stat
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)  # errors where a file is somebody else's, or its drive's


class MediaError(ValueError):
    """A media file that cannot be read right; the message names the file, the cause and the remedy.

    `reason` is the cause in a word or two, the same for all files that share it.
    """

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


def content_hash(source: str | os.PathLike[str] | bytes) -> str:
    """SHA-256 of a file, or of bytes, as 64 hex digits. A file is streamed, whatever its size.

    Raises OSError where the file cannot be read.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def odd_name(name: str) -> str:
    """What is wrong with a name that is not text here, and the remedy: its bytes, or the encoding of the locale.

    Args:
        name: as Python has it: halves of pairs are bytes that it could not read, other letters such that it cannot
            write.
    """
    encoding = sys.getfilesystemencoding()
    try:
        name.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        return "its name is not Unicode; rename the file"
    return (
        f"its name is not {encoding.upper()}, the encoding of names in this locale; set PYTHONUTF8=1 in the "
        "environment, or LC_ALL to a UTF-8 locale such as C.UTF-8"
    )


def is_file(path: Path) -> bool:
    """Whether there is such a file; a text that cannot be a name, as it is too long or has a NUL, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def inside(folder: Path, text: str | os.PathLike[str], remedy: str = "copy the file there") -> Path:
    """The path that a text of a row, a table or a list means, relative to `folder`; what it leads to may be missing.

    Raises:
        ValueError: it points outside the folder, by itself or by a link, or cannot be a path.
    """
    path = folder / text
    try:
        there = path.resolve().is_relative_to(folder.resolve())
    except UnicodeEncodeError:  # a name that the locale lacks
        raise
    except (OSError, RuntimeError, ValueError) as error:  # links in a ring; a name too long, or with a NUL
        raise ValueError(f"{os.fspath(text)!r:.200} names no file ({error}); {remedy}") from None
    if not there:
        raise ValueError(f"{os.fspath(text)!r:.200} points outside {folder}; {remedy}")
    return path


@contextmanager
def locked(path: Path, wait: bool = True, patience_s: float = 0.0, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file, which is made where it is missing and never written; it ends with the process.

    Args:
        path: of the file.
        wait: until nobody else holds it; without, so long as `patience_s`.
        patience_s: seconds.
        shared: beside others that hold it so.

    Raises:
        ValueError: the file is a link or a folder.
        BlockingIOError: another process holds it (where `wait` is False).
        OSError: the drive has no locks, or this user may not write the file; a `shared` one need only be readable.
    """
    until = time.monotonic() + patience_s
    handle = _opened_lock(path, shared)
    try:
        while True:
            try:
                hold(handle, wait, shared)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.05)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                    raise
                words = f"{error.strerror}: this drive has no locks; keep the project on a disk of this machine"
                raise OSError(error.errno, words, str(path)) from None
        yield
    finally:
        os.close(handle)


def _opened_lock(path: Path, shared: bool) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{path}: a link, and the lock would be on its target; delete it") from None
        if path.is_dir():
            raise ValueError(f"{path}: a folder where a lock's file belongs; delete it") from None
        if not (shared and error.errno in CANNOT_WRITE and path.is_file()):
            raise
    return os.open(path, os.O_RDONLY | _NO_LINKS)  # somebody else's, who writes it


if sys.platform == "win32":  # has not been run there
    _NO_LINKS = 0

    def hold(handle: int, wait: bool = True, shared: bool = False) -> None:
        """Hold a lock on an open file, until all processes that have it open close it; there are no `shared` ones.

        Raises:
            BlockingIOError: another process holds it (where `wait` is False).
        """
        while not shared:
            try:
                return msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    raise BlockingIOError(errno.EWOULDBLOCK, "another process holds it") from None
                time.sleep(0.1)

else:
    _NO_LINKS = os.O_NOFOLLOW | os.O_CLOEXEC

    def hold(handle: int, wait: bool = True, shared: bool = False) -> None:
        """Hold a lock on an open file, until all processes that have it open close it; `shared`, beside others.

        Raises:
            BlockingIOError: another process holds it (where `wait` is False).
        """
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock on a file; False where this user may not ask."""
    if not path.is_file():
        return False
    try:
        with locked(path, wait=False, shared=sys.platform != "win32"):
            return False
    except BlockingIOError:
        return True
    except PermissionError:  # a colleague's, which this user may not read
        return False


def make_folder(folder: Path) -> None:
    """Make a folder that a user named, with those above it; one that is there stays as it is.

    Raises ValueError where that cannot be done, with the cause and the way out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = "a file is in the way" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise ValueError(f"cannot make the folder {folder} ({cause}); name another folder") from error


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a temporary path in the folder of `path`; when the block ends well, what it wrote becomes `path`.

    On any error, Ctrl-C included, the temporary file is deleted and `path` stays as it was; what a process that was
    killed left of the same file is deleted, too. Data and name are forced to disk before the return.

    Raises ValueError for a missing folder, OSError where the system refuses.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    part = path.with_name(f".{path.name}.{_writer()}{secrets.token_hex(2)}.part")
    try:
        sweep(path)
        _PARTS.add(part.name)
        mode = _new(part)
        yield part
        if stat.S_IMODE(part.stat().st_mode) != mode:  # safetensors puts a file of its own there, for its owner alone
            part.chmod(mode)
        _force_to_disk(part)
        os.replace(part, path)
        _force_to_disk(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"{reason}: nothing was written; free space or change the folder, then run again"
        raise OSError(error.errno, message, str(path)) from error
    finally:
        part.unlink(missing_ok=True)
        _PARTS.discard(part.name)


def _new(path: Path) -> int:
    """Make an empty file; its mode, which the umask decides."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def follow_umask(folder: Path) -> None:
    """Give every file below a folder the mode of a new one: libraries write some for their owner alone."""
    probe = folder / f".{secrets.token_hex(4)}.part"
    try:
        mode = _new(probe)
    finally:
        probe.unlink(missing_ok=True)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)


_PARTS: set[str] = set()  # temporary files that this process writes now


@cache
def _machine() -> str:
    """Eight hex digits for those among whose processes a number is one process's: a machine, or a container of it."""
    namespace = Path("/proc/self/ns/pid")
    inside = namespace.stat().st_ino if namespace.exists() else 0
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()} {inside}".encode()).hexdigest()[:8]


def _writer() -> str:
    """This process, as it stands in the names of its temporary files."""
    return f"{_machine()}{os.getpid():08x}"


def sweep(path: Path) -> None:
    """Delete temporary files of `path` whose processes are gone; those of other machines may be at work.

    Raises OSError where the system refuses.
    """
    if sys.platform == "win32":  # where nobody can be asked without being ended
        return
    for part in path.parent.glob(f".{glob.escape(path.name)}.{_machine()}????????????.part"):
        writer = int(part.name.split(".")[-2][8:16], 16)
        if part.name not in _PARTS and (writer == os.getpid() or not _is_alive(writer)):
            part.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _force_to_disk(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.EBADF):  # drives that cannot do it for a folder
            raise
    finally:
        os.close(handle)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole text file in UTF-8; raises as `whole_file` does."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def append_text(path: str | os.PathLike[str], text: str, *, durable: bool = True) -> None:
    """Add text to the end of a file in UTF-8, which is made where it is missing.

    Args:
        path: of the file. A process that is killed while it writes leaves a part of the text at its end.
        text: whole lines, so that a reader knows such a part by the line's end that it lacks.
        durable: wait until the file is on the disk; else a power cut may lose what was added last.

    Raises:
        OSError: the system refuses, with the remedy.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"{reason}; free space or change the folder, then run again", str(path)) from error


def write_json(path: str | os.PathLike[str], value: object, indent: int = 1, *, checksum: bool = False) -> None:
    """Write a whole JSON file with a line's end; `checksum`: an object's, for `text_reader.checked_text`.

    Raises as `whole_file` does, and ValueError for a NaN in `value`.
    """
    text = json.dumps(value, indent=indent, allow_nan=False) + "\n"
    write_text(path, with_checksum(text) if checksum else text)


_CHECKSUM = re.compile(r', "(.{3})": "(.{8})"[ \r\n]*}[ \r\n]*\Z')


def with_checksum(text: str) -> str:
    """JSON text of an object that is not empty, with a last entry `crc`: the CRC-32 of what comes before it."""
    body = text.rstrip().removesuffix("}").rstrip()
    return f'{body}, "crc": "{_crc(body)}"{text[len(body) :]}'


def without_checksum(text: str) -> str | None:
    """JSON text before `with_checksum`, or None if it was altered since. Text of older versions has none and stays.

    An altered key does not hide the checksum, as its digits still fit.
    """
    entry = _CHECKSUM.search(text, max(0, len(text) - 64))
    body = text[: entry.start()] if entry else ""
    fits = (entry[1] == "crc", entry[2] == _crc(body)) if entry else (False, False)
    return body + "}" if all(fits) else None if any(fits) else text


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode(errors='surrogatepass')):08x}"
