"""One server at a time gives out the pairs of a project: two would give one pair to two people."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rushes.files import locked, write_text


class LabelingLock:
    """A lock in the project, held as long as this server gives pairs out; beside it lies the server's address."""

    def __init__(self, folder: Path, assignments: str, page: str) -> None:
        """`assignments`: file of who labels what, which two servers share. `page`: its page, below the address."""
        self._lock_file, self._address_file = folder / f".{assignments}.lock", folder / f".{assignments}.address"
        self._page, self._address = page, ""
        self._holds, self._count, self._lock = ExitStack(), 0, threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it, once more where this server has it already. Raises ValueError: another server has it."""
        with self._lock:
            if not self._count:
                self._take()
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    self._address_file.unlink(missing_ok=True)
                    self._holds.close()

    def serves_at(self, address: str) -> None:
        """Say where this server is, for those that are refused."""
        with self._lock:
            self._address = address
            if self._count:
                write_text(self._address_file, address)

    def _take(self) -> None:
        try:
            self._holds.enter_context(locked(self._lock_file, wait=False))
        except BlockingIOError:
            address = ""
            with suppress(OSError, UnicodeError):
                address = self._address_file.read_text(encoding="utf-8").strip()
            where = f" at {address}{self._page}" if address else " by another process"
            raise ValueError(
                f"{self._lock_file.parent}: this labelling page is already open{where}, and a second server would give "
                "the same pair to two people; use the address that the first command printed, or end that command "
                "first"
            ) from None
        if self._address:
            write_text(self._address_file, self._address)
