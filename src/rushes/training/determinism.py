"""Equal runs, equal bits: torch's switch for it, and what cuBLAS has to be told beforehand.

cuBLAS reads CUBLAS_WORKSPACE_CONFIG once, at the first matrix product of a process, so it is set before torch is
imported: by the command line, never by an import of this package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic as switches

CUBLAS, WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")  # the two that torch accepts


_NEW_MEMORY: Any = switches  # its `fill_uninitialized_memory` has no type


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Torch's switch for the time of a run, then as it was.

    New memory is not filled meanwhile, as torch would by default: no value is read that was not written.

    Raises:
        ValueError: it is wanted on a GPU, and cuBLAS was not told in time.
    """
    if wanted and torch.cuda.is_available():
        set_workspace()
        check_workspace(os.environ)
    before = torch.are_deterministic_algorithms_enabled()
    warns, fills = torch.is_deterministic_algorithms_warn_only_enabled(), _NEW_MEMORY.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted)
    _NEW_MEMORY.fill_uninitialized_memory = fills and not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        _NEW_MEMORY.fill_uninitialized_memory = fills


def set_workspace() -> None:
    """Tell cuBLAS, if nobody has and it is not too late: a process that has used CUDA may have asked it already."""
    if not torch.cuda.is_initialized():
        os.environ.setdefault(CUBLAS, WORKSPACES[0])


def check_workspace(environment: Mapping[str, str]) -> None:
    """Refuse a deterministic run for which cuBLAS was not told.

    Raises:
        ValueError: the variable is missing, or is neither of the two values; with the line that sets it.
    """
    value = environment.get(CUBLAS)
    if value not in WORKSPACES:
        has = f"is {value!r}" if value is not None else "was not set before this process used CUDA"
        raise ValueError(
            f"train.deterministic: {CUBLAS} {has}; put `import os; os.environ[{CUBLAS!r}] = {WORKSPACES[0]!r}` before "
            "the first import of torch, or set train.deterministic to false"
        )
