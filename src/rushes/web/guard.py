"""What stands between the network and the page: who may write, how much, how often, and from where.

- Every write needs a token in a header, which no foreign page can set, and the same origin.
- Where people join without an invitation the host must be this machine's own name, so that no foreign page can reach
  the server under a name of its own.
- Bodies are small, and requests of one person are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 64 * 1024
PER_SECOND, BURST = 20.0, 80.0
_MAX_BUCKETS = 10_000  # buckets kept; more than that is no labelling project

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass
class Rate:
    """A token bucket per caller: `PER_SECOND` requests lastingly, `BURST` at once."""

    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def allow(self, caller: str) -> bool:
        """Count one request; whether it is within the limits."""
        now = self.clock()
        if len(self._left) > _MAX_BUCKETS:
            self._left.clear()
        left, then = self._left.get(caller, (BURST, now))
        left = min(BURST, left + (now - then) * PER_SECOND)
        self._left[caller] = (max(0.0, left - 1), now)
        return left >= 1


class Guard:
    """Wraps the application; `hosts` are the names it answers to, None = any (people then need an invitation)."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, rate: Rate | None = None) -> None:
        self.app, self.hosts, self.rate = app, hosts, rate or Rate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, reason = self._refuse(scope)
        if status:
            response = JSONResponse({"detail": reason}, status, headers={"retry-after": "1"} if status == 429 else {})
            await response(scope, receive, _with_headers(send))
            return
        await self.app(scope, _limited(receive), _with_headers(send))

    def _refuse(self, scope: Scope) -> tuple[int, str]:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and host.rpartition(":")[0].strip("[]") not in self.hosts:
            return 403, "This server answers to its own address only."
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "This is not done here."
        if scope["method"] == "POST":
            if urlsplit(headers.get("origin", "")).netloc != host:
                return 403, "Answers are taken from the project's own page only."
            size = headers.get("content-length", "")
            if not size.isdigit():
                return 411, "The request does not say how long it is."
            if int(size) > BODY_BYTES:
                return 413, f"More than {BODY_BYTES} bytes at once are not taken."
        client = scope.get("client") or ("", 0)
        if not self.rate.allow(headers.get("authorization") or client[0]):
            return 429, "Too many requests; wait a second."
        return 0, ""


def _limited(receive: Receive) -> Receive:
    """Ends a body that is longer than it said."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > BODY_BYTES else message

    return limited


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sender
