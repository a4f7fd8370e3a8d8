"""Which prompts are one cluster: pieces of one film, and prompts under one caption, are no independent evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rushes.evaluate.video_folders import Folders
from rushes.files import content_hash
from rushes.footage.split import SharedContent, film_of
from rushes.records import Candidate, Clip
from rushes.store.database import Store


def clusters_of_store(store: Store, takes: Iterable[Candidate]) -> dict[str, str]:
    """The cluster of each prompt (`Candidate.group`) that some takes answer.

    Prompts are one where their clips are of one film, start from one still, or have one caption. A scene of the
    embedded world is drawn on its own, and its caption names few of the things that differ, so it is its own
    cluster.
    """
    clips = {clip.id: clip for clip in store.clips(dropped=True)}
    return _joined({take.group: _shared(take, clips.get(take.clip_id)) for take in takes})


def clusters_of_folders(folders: Folders) -> dict[str, str]:
    """The cluster of each prompt of folders of videos: one caption, or one first frame, is one."""
    stills = {prompt: f"still {content_hash(path)}" for prompt, path in folders.stills.items()}
    return _joined({name: [_caption(folders.captions.get(name, "")), stills.get(name, "")] for name in folders.prompts})


def _shared(take: Candidate, clip: Clip | None) -> list[str]:
    if clip is None:
        return [_caption(take.caption)]
    if clip.made_by == "world":
        return []
    still = f"still {clip.first_frame}" if clip.first_frame else ""
    return [_caption(take.caption), f"film {film_of(clip)}", still]


def _caption(text: str) -> str:
    """The key of a caption, whatever its capitals and spaces; "" for none, which is nothing to share."""
    words = text.casefold().split()
    return f"caption {' '.join(words)}" if words else ""


def _joined(keys: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Prompts by the group that their keys join them to."""
    shared = SharedContent()
    for prompt, of in keys.items():
        for key in filter(None, of):
            shared.join(key, f"prompt {prompt}")
    return {prompt: shared.group(f"prompt {prompt}") for prompt in keys}
