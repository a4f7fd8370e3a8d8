"""Where networks work, and how many cores there are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_device(index: int | None = None) -> torch.device:
    """Where networks work: what RUSHES_DEVICE names, such as mps or cuda:1, else the GPU where there is one.

    `index`: of the GPU, where one process of several asks; a device that is named with its own stays as it is.
    """
    import torch  # here, as what judges can be asked for without it

    name = os.environ.get("RUSHES_DEVICE", "") or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and index is not None:
        name = f"cuda:{index}"
    try:
        return torch.device(name)
    except RuntimeError as error:
        cause = str(error).splitlines()[0]
        raise ValueError(f"RUSHES_DEVICE: {name!r} is not a device ({cause}); use one such as cuda:0") from None
