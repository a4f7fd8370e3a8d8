"""How much of a caption a model reads, by its own tokenizers and without its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rushes import plugins
from rushes.backbones.folders import cached_folder
from rushes.text_reader import CaptionLength


@dataclass(frozen=True)
class TokenLimit:
    """How many tokens a tokenizer passes on."""

    most: int
    marks: bool = True  # those at the ends count; else they belong to a template around the caption, as all of it does
    reads: Callable[[str], str] = str  # what of a caption the tokenizer is given


def caption_measure(name: str, path: str) -> Callable[[str], tuple[CaptionLength, ...]]:
    """What says of a caption how much of it each tokenizer of a model passes on; nothing is fetched.

    Args:
        name: of the backbone's module.
        path: a folder, or `hub:OWNER/NAME`, of which the cache on this machine is looked at.

    Raises:
        ValueError: the model or a tokenizer is not on this machine, or the backbone has no way to count.
    """
    module = plugins.load("backbone", name, "backbones", ())
    own: Callable[[str], tuple[CaptionLength, ...]] | None = getattr(module, "caption_lengths", None)
    if own:
        return own
    if not hasattr(module, "FAMILY"):
        raise ValueError(f"backbone {name} does not say how it reads captions")
    folder = cached_folder(path)
    readers = []
    for part, limit in module.FAMILY.token_limits(folder).items():
        try:
            reader = folder.processor(part)
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(f"{folder.path / part}: not a tokenizer that loads ({error})") from error
        marks = reader.num_special_tokens_to_add() if limit.marks else 0
        readers.append((part, reader, replace(limit, most=limit.most - marks)))
    return lambda caption: tuple(_length(caption, *each) for each in readers)


def _length(caption: str, part: str, reader: Any, limit: TokenLimit) -> CaptionLength:
    ids = reader(limit.reads(caption), add_special_tokens=False, verbose=False).input_ids
    seen = reader.decode(ids[max(0, limit.most - 12) : limit.most]) if len(ids) > limit.most else ""
    return CaptionLength(len(ids), limit.most, " ".join(seen.split()), part)
