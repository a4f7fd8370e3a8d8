"""Videos of one picture and several files: transcodes, crops and mirrored copies, by the fingerprints of curation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rushes.config.curate import DuplicatesSettings
from rushes.curate.duplicates import copies, fingerprints
from rushes.curate.fingerprint import MOMENTS, SIZE, UNIT, Prints
from rushes.curate.frames import read_moments
from rushes.files import MediaError
from rushes.footage.probe_cache import ProbeCache
from rushes.formats.layouts import SourceVideo

FINGERPRINT = "fingerprint 1"  # raise the number when fingerprints come out otherwise
_LEAST = 0.99 * UNIT * MOMENTS**0.5  # norm of the fingerprint of a clip that has anything to be recognised by


def look_alikes(
    cache: ProbeCache, videos: Mapping[str, tuple[Path | SourceVideo | None, float]]
) -> Iterator[tuple[str, str]]:
    """Content hashes of an original and of a copy of it, by how they look, each copy once.

    Clips of one colour have no fingerprint, and are copies of nothing. A fingerprint is kept in the cache.

    `videos`: content hash -> a file, or a video inside one, and its seconds; what cannot be read is left out. None =
    it is not here, and is recognised where a fingerprint of it was kept.
    """
    names, rows = list[str](), list[Prints]()
    for media, (video, seconds) in videos.items():
        prints = _fingerprints(cache, media, video, seconds)
        if prints is not None and np.linalg.norm(prints[0]) >= _LEAST:
            names.append(media)
            rows.append(prints)
    if len(names) > 1:
        whole, inner = (np.stack([row[k] for row in rows]) for k in (0, 1))
        for copy in copies(whole, inner, range(len(names)), DuplicatesSettings()):
            yield names[copy.original], names[copy.place]


def _fingerprints(cache: ProbeCache, media: str, video: Path | SourceVideo | None, seconds: float) -> Prints | None:
    """[2, SIZE] int16: of the whole picture and of its inner part; None where the file cannot be read."""
    body = cache.note(media, FINGERPRINT)
    if not body and video is None:
        return None
    if not body:
        assert video is not None
        try:
            path = video if isinstance(video, Path) else cache.file(video)
            prints = fingerprints(read_moments(path, seconds, MOMENTS))
        except (MediaError, OSError):
            return None
        body = json.dumps([list(map(int, each)) for each in prints])
        cache.write(media, FINGERPRINT, body)
    return np.array(json.loads(body), np.int16).reshape(2, SIZE)
