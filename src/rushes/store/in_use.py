"""Who works on a project: each process that has it open holds a share of one lock, and who removes files all of it.

The system lets go when a process ends, however it ends. Who can only read a project holds a share where a writer made
the lock's file, and removes nothing.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from rushes.files import CANNOT_WRITE, locked
from rushes.progress import LONG_WAIT_S
from rushes.sidefile import WAIT_S
from rushes.store.own_files import LOCK

_LOG = logging.getLogger(__name__)
_LOOKING_S = 1.0  # in which those have closed a project again that only look at its state


class HeldProject:
    """A share of a project's lock, held from here to `end`, or as long as this object is there."""

    def __init__(self, project: Path) -> None:
        """Raises ValueError: the lock's file is a link, or another process removes files for longer than `WAIT_S`."""
        self._project = project
        self._take()

    @contextmanager
    def alone(self, remedy: str) -> Iterator[None]:
        """Hold all of the lock: nobody else has the project open, and who opens it waits.

        Raises:
            ValueError: another process has it open, or this user cannot write here.
            OSError: this drive has no locks.
        """
        self.end()
        try:
            with ExitStack() as stack:
                self._take_all(stack, remedy)
                yield
        finally:
            self._take()

    def _take_all(self, stack: ExitStack, remedy: str) -> None:
        try:
            stack.enter_context(locked(self._project / LOCK, wait=False, patience_s=_LOOKING_S))
        except BlockingIOError:
            raise ValueError(
                f"{self._project}: another process has this project open, such as a stage, a page or a notebook, "
                f"and may use the files that would be removed; end it, or {remedy}"
            ) from None
        except OSError as error:
            if error.errno not in CANNOT_WRITE:
                raise
            raise ValueError(
                f"{error.filename}: you cannot write here ({error.strerror}), so nothing is removed; ask the owner "
                f"of the project, or {remedy}"
            ) from None

    def _take(self) -> None:
        stack = ExitStack()
        try:
            try:
                stack.enter_context(self._share(min(LONG_WAIT_S, WAIT_S)))
            except BlockingIOError:
                _LOG.warning("%s: waiting for `rushes clean`, which removes files of it ...", self._project)
                stack.enter_context(self._share(WAIT_S))
        except BlockingIOError:
            raise ValueError(
                f"{self._project}: `rushes clean` is removing files of it; run again when that has ended"
            ) from None
        except OSError:  # this user cannot write here, or the drive has no locks
            pass
        self.end = weakref.finalize(self, stack.close)

    def _share(self, patience_s: float) -> AbstractContextManager[None]:
        return locked(self._project / LOCK, wait=False, patience_s=patience_s, shared=True)
