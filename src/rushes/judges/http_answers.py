"""An answer of a server as HTTP brings it: read within bounds, and when it says to ask again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

MOST_BYTES = 4 * 2**20  # of an answer: a few sentences for each second of a clip
ASKED = {"Accept-Encoding": "identity"}
_OF_THE_WAY = ("content-length", "transfer-encoding")


class RefusedAnswer(ValueError):
    """An answer that is not read: it is longer than any that a model gives, or packed, and no size of that is known."""


def bounded(response: httpx.Response, key: str = "") -> httpx.Response:
    """An answer that is read as it comes, and no further than any answer goes; a key that it repeats is masked.

    Raises:
        RefusedAnswer: it is longer, or packed: a few hundred kilobytes may unpack to gigabytes.
    """
    packing = response.headers.get("content-encoding", "identity")
    if packing.lower() != "identity":
        raise RefusedAnswer(f"an answer packed as {packing!r:.40}, which nobody asked for; let the server not pack it")
    parts, size = [], 0
    for part in response.iter_bytes(64 * 1024):
        size += len(part)
        if size > MOST_BYTES:
            raise RefusedAnswer(f"an answer of more than {MOST_BYTES // 2**20} MiB; check that this is a model")
        parts.append(part)
    content = b"".join(parts)
    if key:  # as servers do in "Incorrect API key provided: ..."
        content = content.replace(key.encode(), b"***")
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_WAY]
    return httpx.Response(response.status_code, headers=headers, content=content, request=response.request)


def wait_s_of(response: httpx.Response) -> float | None:
    """Seconds after which a server wants to be asked again, by its Retry-After header; None where it does not say."""
    text = response.headers.get("retry-after", "").strip()
    tries: tuple[Callable[[], float], ...] = (
        lambda: float(text),
        lambda: (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(),
    )
    for read in tries:
        try:
            return max(0.0, read())
        except (ValueError, TypeError):
            continue
    return None
