"""A chat endpoint on 127.0.0.1 that does what a test tells it: answers, errors, delays, cut connections."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Does:
    """One thing that the server does with a request."""

    content: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None  # in place of a chat completion
    delay_s: float = 0.0
    cut: bool = False  # close the connection without a word
    refusal: str = ""
    finish: str = "stop"
    usage: tuple[int, int] | None = (100, 10)


@dataclass
class FakeEndpoint:
    """`script` is worked off first, one entry a request; then `answer` is asked, with the text parts of the request."""

    answer: Callable[[dict[str, Any]], Does] = lambda request: Does('{"choice": "tie"}')
    script: deque[Does] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, request: dict[str, Any], headers: dict[str, str]) -> Does:
        with self.lock:
            self.requests.append(request)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            return self.script.popleft() if self.script else self.answer(request)


def texts(request: dict[str, Any]) -> str:
    """All text of a request."""
    return "\n".join(part["text"] for part in request["messages"][-1]["content"] if part["type"] == "text")


@contextmanager
def serve(fake: FakeEndpoint) -> Iterator[FakeEndpoint]:
    """Run the server for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            does = fake.next(json.loads(raw), {name.lower(): value for name, value in self.headers.items()})
            time.sleep(does.delay_s)
            if does.cut:
                self.connection.close()
                return
            message = {"role": "assistant", "content": does.content, "refusal": does.refusal or None}
            reply: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": does.finish}]}
            if does.usage:
                reply["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), does.usage, strict=True))
            data = (json.dumps(reply) if does.body is None else does.body).encode()
            try:
                self.send_response(does.status)
                for name, value in {"content-type": "application/json", **does.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client gave up, as a test of timeouts wants

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
