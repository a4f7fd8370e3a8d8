"""A list that is kept in a file: any number of rows, one of them in memory."""

from __future__ import annotations

import weakref
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import fields
from tempfile import TemporaryFile
from typing import Any, Generic, TypeVar, cast, overload

from pydantic import TypeAdapter

from rushes.files import odd_name

T = TypeVar("T")


class Spool(Sequence[T], Generic[T]):
    """Dataclasses of one kind, in the order in which they were added; the file is unnamed and goes with the object.

    Rows are read back equal, and anew each time. A slice is a plain list.

    Raises:
        ValueError: a row that is not Unicode, as a file's name may be. OSError: the disk is full.
    """

    def __init__(self, kind: type[T], rows: Iterable[T] = ()) -> None:
        self._form = TypeAdapter(kind)
        self._file = TemporaryFile()  # noqa: SIM115 - it is open as long as the list is there
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])
        for row in rows:
            self.append(row)

    def append(self, row: T) -> None:
        """Add a row at the end."""
        try:
            data = self._form.dump_json(row)
        except ValueError as error:
            texts = [str(getattr(row, column.name)) for column in fields(cast(Any, row))]
            name = next((text for text in texts if text.encode(errors="ignore").decode() != text), str(row))
            raise ValueError(f"{name:.300}: {odd_name(name)}") from error
        self._file.seek(self._ends[-1])
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> list[T]: ...
    def __getitem__(self, at: int | slice) -> T | list[T]:
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        at = range(len(self))[at]  # IndexError beyond the ends
        self._file.seek(self._ends[at])
        return self._form.validate_json(self._file.read(self._ends[at + 1] - self._ends[at]))
