"""The server process of a project's pages: where it listens, whom it believes, and connections that say nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, ClassVar, cast

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from rushes.web.site import LOCAL

# No address that a link could hold, and one of documentation alone, towards which this machine has an address.
_EVERYWHERE = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}
HEAD_S, READ_S, WAITING, HEAD_BYTES = 10.0, 120.0, 400, 64 * 1024


class WaitLimit(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # which of uvicorn's it is depends on what is installed
    """A connection for which the server does not wait without end.

    Its next request must have begun within `HEAD_S` seconds of its first byte, and what is ready must have been read
    within `READ_S` seconds; a browser needs milliseconds. The server holds at most `WAITING` connections for which it
    waits, also for the body of a request; the oldest goes first, so that somebody who opens thousands shuts out nobody.
    """

    waiting: ClassVar[dict[WaitLimit, None]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait: a browser sends at once."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so that the server knows of each byte that is not read
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._wait(HEAD_S)

    def data_received(self, data: bytes) -> None:
        """Go on, or stop waiting."""
        super().data_received(data)
        if self.flow.write_paused:  # the answer is waited for, whatever comes
            return
        if self.cycle is None or self.cycle.response_complete:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._end()
            self._wait(HEAD_S)
        elif self.cycle.more_body:  # which the guard ends
            self._stop_timer()
        else:
            self._arrived()

    def pause_writing(self) -> None:
        """Wait until what is ready was read."""
        super().pause_writing()
        self._stop_timer()
        self._wait(READ_S)

    def resume_writing(self) -> None:
        """All was read."""
        self._arrived()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._arrived()
        super().connection_lost(exc)

    def _wait(self, seconds: float) -> None:
        if self._timer is None and (self.flow.write_paused or not self.transport.is_closing()):
            self._timer = self.loop.call_later(seconds, self._end)
            self.waiting[self] = None
            if len(self.waiting) > WAITING:
                next(iter(self.waiting))._end()

    def _end(self) -> None:
        """Close the connection; what was not read by now is dropped, as closing alone would wait for its reader."""
        self.waiting.pop(self, None)  # at once: several may come before the loop says that this one is lost
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _arrived(self) -> None:
        self._head_bytes = 0
        self.waiting.pop(self, None)
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def config_of(app: Any, behind_proxy: bool = False) -> uvicorn.Config:
    """How a page is served. `behind_proxy`: a proxy on this machine is believed who it says has sent a request."""
    return uvicorn.Config(
        app,
        http=cast(Any, WaitLimit),
        ws="none",
        log_level="error",  # a stranger's requests write no log
        access_log=False,
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips=",".join(LOCAL),
        timeout_graceful_shutdown=3,
    )


def reachable(host: str) -> str:
    """What stands for a host in a link.

    A machine that listens at all addresses stands there by the address through which it reaches others: its name may
    mean nothing to them. Without such an address it stands there by its name.
    """
    if host in _EVERYWHERE:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.connect((_EVERYWHERE[host], 9))  # which sends nothing
                host = asked.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def serve(app: Any, host: str, port: int, on_ready: Callable[[str], None], behind_proxy: bool = False) -> None:
    """Serve a page until the process is told to stop. `on_ready` gets the address once it is known.

    Raises:
        ValueError: the address or port cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends each part of an answer at once; without, the second waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # whoever follows the address at once waits until the first answer
    except OSError as error:
        listener.close()
        raise ValueError(
            f"--host {host} --port {port}: {error.strerror or error}; choose another port with --port"
        ) from error
    with listener:
        on_ready(f"http://{reachable(host)}:{listener.getsockname()[1]}")
        uvicorn.Server(config_of(app, behind_proxy)).run(sockets=[listener])
