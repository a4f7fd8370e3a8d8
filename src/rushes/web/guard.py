"""What stands between the network and the page: who may write, how much, how often, and from where.

- Every write needs a token in a header, which no foreign page can set, and the same origin.
- Where the server is for this machine alone the host must be this machine's own name, so that no foreign page can
  reach it under a name of its own.
- Bodies are small and come soon, and requests are counted: those of a known person as theirs, all others as their
  address's. Pages and their files are not counted, as a page whose script is refused stays dead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rushes.web.accounts import bearer

BODY_BYTES, BODY_S = 64 * 1024, 30.0
PER_SECOND, BURST = 30.0, 120.0
_MAX_BUCKETS, _NAME_CHARS = 10_000, 64  # buckets that are held, about 2 MB of them; the least recent goes first

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass
class Rate:
    """A token bucket per caller: `per_second` requests lastingly, `burst` at once; None = as all requests."""

    clock: Callable[[], float] = time.monotonic
    per_second: float | None = None
    burst: float | None = None
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def allow(self, caller: str) -> bool:
        """Count one request; whether it is within the limits."""
        caller, now = caller[:_NAME_CHARS], self.clock()
        per_second = PER_SECOND if self.per_second is None else self.per_second
        burst = BURST if self.burst is None else self.burst
        left, then = self._left.pop(caller, (burst, now))
        left = min(burst, left + (now - then) * per_second)
        self._left[caller] = (max(0.0, left - 1), now)
        if len(self._left) > _MAX_BUCKETS:
            del self._left[next(iter(self._left))]
        return left >= 1


class Guard:
    """Wraps the application.

    Args:
        app: what it stands before.
        hosts: the names that it answers to; None = any (a token is then all that opens it from elsewhere).
        caller_of: what to count a token's requests under; "" = nobody's token.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, caller_of: Callable[[str], str]) -> None:
        self.app, self.hosts, self.caller_of, self.rate = app, hosts, caller_of, Rate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, reason = self._refuse(scope)
        if status:
            # What is left of such a request on the connection must not be read as another.
            more = {"retry-after": "1"} if status == 429 else {"connection": "close"}
            await JSONResponse({"detail": reason}, status, headers=more)(scope, receive, _with_headers(send))
            return
        await self.app(scope, _limited(receive), _with_headers(send))

    def _refuse(self, scope: Scope) -> tuple[int, str]:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and _host_name(host) not in self.hosts:
            return 403, "This server answers to its own address only."
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "This is not done here."
        size = headers.get("content-length", "")
        if "transfer-encoding" in headers and (size or scope["method"] != "POST"):
            return 400, "The request says in two ways how long it is."
        if scope["method"] == "POST":
            if not host or headers.get("origin") not in (f"http://{host}", f"https://{host}"):
                return 403, "Answers are taken from the project's own page only."
            if not size.isdigit():
                return 411, "The request does not say how long it is."
            if int(size) > BODY_BYTES:
                return 413, f"More than {BODY_BYTES} bytes at once are not taken."
        if scope["path"].startswith("/api/") and not self.rate.allow(self._caller(scope, headers)):
            return 429, "Too many requests; wait a second."
        return 0, ""

    def _caller(self, scope: Scope, headers: Headers) -> str:
        person = self.caller_of(bearer(headers.get("authorization", "")))
        return f"person {person}" if person else f"from {network_of((scope.get('client') or ('', 0))[0])}"


def _host_name(host: str) -> str:
    """The name in a Host header, with or without a port; "" where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "" if parts.netloc == host and "@" not in host else ""
    except ValueError:
        return ""


def network_of(address: str) -> str:
    """What one household or machine has: an IPv4 address, or the first half of an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return parsed.exploded[:19]
    return str(parsed)


def _limited(receive: Receive) -> Receive:
    """Ends a body that is longer than it said, or that does not come."""
    seen, whole, until = 0, False, time.monotonic() + BODY_S

    async def limited() -> Message:
        nonlocal seen, whole
        if whole:  # what is waited for now is that the client goes
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
        except TimeoutError:
            return {"type": "http.disconnect"}
        seen += len(message.get("body", b""))
        whole = not message.get("more_body", False)
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
