"""Models that were distilled to few steps are refused: preference training would undo what the distillation did.

They are sampled in 4 to 12 steps without guidance, at times that they were distilled for. Training at all times, on the
path of the model that they came from, takes that away, and their takes by a schedule of many steps are not theirs.
Guidance that was distilled into a network (HunyuanVideo, the `_distilled` models of 1.5) is another matter, and works.

Adapters that do the same (CausVid, Lightning, LCM) cannot be seen once they are merged under another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rushes.backbones.folders import Folder
from rushes.backbones.model_defaults import families

# Words in names of releases that work in few steps, whichever the family.
FEW_STEPS = (
    r"step[-_]?distill|causvid|self[-_]?forcing|lightning|turbo|fastwan|fasthunyuan|"
    r"(?<![a-z])(?:lcm|dmd2?)(?![a-z])"
)


def check_not_distilled(folder: Folder, family: str, asked: str) -> None:
    """Refuse a model that a folder shows to be distilled to few steps; `asked` is what `backbone.path` says.

    Raises:
        ValueError: says by what it was recognised.
    """
    for where, why in _signs(folder, family, asked):
        raise ValueError(
            f"{asked}: a model distilled to few steps, according to {where} ({why}), and preference training would "
            "undo that; use the model that it was distilled from, or rename the folder if its name is misleading"
        )


def _signs(folder: Folder, family: str, asked: str) -> Iterator[tuple[str, str]]:
    own = families().get(family, {}).get("distilled")
    words = re.compile("|".join(filter(None, (FEW_STEPS, own))), re.IGNORECASE)
    names = {"its name": re.split(r"[/\\]", asked.rstrip("/\\"))[-1], "model_index.json": _name(folder.index)}
    if folder.has("transformer"):
        config = folder.config("transformer")
        names["transformer/config.json"] = _name(config)
        if config.get("use_meanflow"):
            yield "transformer/config.json", "use_meanflow"
    for where, name in names.items():
        if words.search(name):
            yield where, name
    if folder.has("scheduler") and "LCM" in folder.index["scheduler"][1]:
        yield "model_index.json", folder.index["scheduler"][1]


def _name(config: Mapping[str, Any]) -> str:
    """What a configuration says that it was loaded from, its last part: folders above it may be called anything."""
    return str(config.get("_name_or_path") or "").rstrip("/").rsplit("/", 1)[-1]
