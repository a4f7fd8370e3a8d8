"""Weights that processes of one machine hold once: files in the precision that is asked for, mapped by all of them.

safetensors maps a file, and a weight that is asked for as it lies there is a part of the map: its pages are in memory
once, whatever the number of processes, and go when memory is short. A weight that has to be rounded or widened
first is each process's own: eight of Wan 14B in bfloat16, from files in float32, would hold 218 GiB. So the process
that comes first writes the network once more, in that precision, and all map the copy.
"""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from rushes.backbones.folders import Folder, whole_folder
from rushes.backbones.texts import files_of
from rushes.backbones.weight_hashes import state_of
from rushes.files import locked

FOLDER = "weights"  # of copies, in a project
OWN_SHARE = 8  # a network of which less than one in so many bytes changes is mapped as it is
_SHARD = "2GB"
_NAMES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def many_here() -> bool:
    """Whether several processes of this machine do one work, as torchrun tells them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1


def load_shared(model: Folder, part: str, dtype: torch.dtype, copies: Path) -> nn.Module:
    """`Folder.load`, with the same bits, of which pages are shared with other processes that load it so.

    Where the files have another precision, `copies` gets a copy, made by whoever comes first while others wait. It
    stays for the next start, until the files change; deleting it costs the time to make it.

    Warns where the disk has no room for it: each process then has its own weights.
    """
    files = [path for path in files_of(model.path / part) if path.suffix == ".safetensors"]
    wide = getattr(model.cls(part), "_keep_in_fp32_modules", None) or ()
    changed, size = _bytes(files, dtype, wide)
    if not hasattr(model.cls(part), "save_config") or changed * OWN_SHARE < size:
        return model.load(part, dtype)
    # of this machine: others that see the folder may have the model's files elsewhere
    family = f"{part}-{str(dtype).removeprefix('torch.')}-{platform.node()}"
    copies.mkdir(parents=True, exist_ok=True)
    copy = copies / f"{family}-{state_of(files, ())}"
    with locked(copies / f"{family}.lock"):
        if not copy.is_dir():
            for old in copies.glob(f"{family}-*"):
                shutil.rmtree(old)
            if shutil.disk_usage(copies).free < size + 2**30:
                warnings.warn(
                    f"{copies}: no room for {size / 2**30:.0f} GiB, a copy of {part} in {dtype} that processes could "
                    "share; each process loads its own into main memory",
                    stacklevel=2,
                )
                return model.load(part, dtype)
            with whole_folder(copy) as partial:
                own: Any = model.load(part, dtype)
                own.save_pretrained(partial / part, max_shard_size=_SHARD)
                del own
    return Folder(copy, {part: model.index[part]}).load(part, dtype)


def _bytes(files: Iterable[Path], dtype: torch.dtype, wide: Sequence[str]) -> tuple[int, int]:
    """Bytes of the weights in `dtype`, modules named `wide` in float32: those that files have otherwise, and all."""
    changed = size = 0
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                weight = file.get_slice(name)
                target = torch.float32 if set(wide) & {*name.split(".")} else dtype
                count = prod(weight.get_shape()) * target.itemsize
                size += count
                changed += count * (_NAMES.get(weight.get_dtype(), target) != target)
    return changed, size
