"""A model behind an OpenAI-style chat endpoint (vLLM, or any hosted one): text and frames in, a checked answer out.

    with Endpoint(settings.endpoint, project / "answers.db") as endpoint:
        answer = endpoint.ask(["Which clip has fewer artefacts?", "First:", *first, "Second:", *second], Verdict)
        if answer.parsed is None:
            print(answer.problem)  # "refused", "not JSON", ...: count it, do not guess

A question that was answered is not asked again: answers are kept by the hash of everything that was sent. What fails
for a while (429, 5xx, a timeout, a cut connection) is sent again, after the time that the server names. Every request
counts against the budget, those of earlier runs included.
"""

from __future__ import annotations

import base64
import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import cv2
import httpx
import stamina
from pydantic import BaseModel, ValidationError

from rushes.arrays import Frames
from rushes.config.model_endpoint import EndpointSettings
from rushes.metrics.base import shrink
from rushes.records import now, stable_hash
from rushes.sidefile import SideFile

_ANSWER_TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, stopped TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS calls (at TEXT NOT NULL, outcome TEXT NOT NULL, cost REAL NOT NULL)",
)


@dataclass(frozen=True)
class Reply:
    """The text of one answer, and why the model broke off ("" = it did not)."""

    text: str
    stopped: str = ""


@dataclass(frozen=True)
class Spent:
    """Requests sent so far, and money in the unit of the prices that the settings name."""

    calls: int
    cost: float


class Answers(SideFile):
    """Answers by the hash of the question, and a ledger of every request."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, _ANSWER_TABLES, paid=True)

    def find(self, key: str) -> Reply | None:
        """The answer that is kept under `key`, or None."""
        row = self.first("SELECT text, stopped FROM answers WHERE key = ?", key)
        return Reply(*row) if row else None

    def keep(self, key: str, reply: Reply) -> None:
        """Keep the answer under `key`; the first one stays."""
        self.run("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", key, reply.text, reply.stopped)

    def pay(self, outcome: str, cost: float) -> None:
        """Note one request, its outcome (a word or a status), and what it cost."""
        self.run("INSERT INTO calls VALUES (?, ?, ?)", now(), outcome, cost)

    def spent(self) -> Spent:
        """All requests of this file, those of earlier runs included."""
        return Spent(*self.first("SELECT count(*), coalesce(sum(cost), 0) FROM calls"))


S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")
Part = str | Frames

_JPEG_QUALITY = 95
_LONGEST_WAIT_S = 120.0  # a server that asks for more is told of instead
_AGAIN = "what was answered is kept, so run the same command again"


class EndpointError(ValueError):
    """The endpoint cannot be used, or the budget is spent; the text says what to change."""


@dataclass(frozen=True)
class EndpointAnswer(Generic[S]):
    """`parsed` is None when the model did not answer as asked; `problem` then says how, in a few fixed words."""

    parsed: S | None
    text: str
    problem: str = ""  # "refused", "cut off", "not JSON" or "wrong fields"


class _Passing(Exception):
    """A failure that may pass; `wait_s` is what the server asks for, None = it did not say."""

    def __init__(self, cause: str, wait_s: float | None = None) -> None:
        super().__init__(cause)
        self.wait_s = wait_s


class ChatEndpoint:
    """A client of one model; threads may share it. `answers` is the file that keeps answers and the ledger."""

    def __init__(self, settings: EndpointSettings, answers: Path) -> None:
        """Raises EndpointError when no model is named or the environment variable with the key is not set."""
        if not settings.model:
            raise EndpointError("endpoint.model is empty; name the model that answers at endpoint.url")
        key = os.environ.get(settings.key_env, "") if settings.key_env else ""
        if settings.key_env and not key:
            raise EndpointError(
                f"endpoint.key_env names the environment variable {settings.key_env}, which is not set; set it to the "
                'key, or endpoint.key_env to "" where the server wants none'
            )
        self.settings = settings
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
        )
        self._answers = Answers(answers)
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}  # by the hash of the question
        self._open = 0  # requests on the way
        self._dearest = 0.0

    def close(self) -> None:
        """Close the connections and the file of answers."""
        self._client.close()
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def spent(self) -> Spent:
        """Requests and money so far, earlier runs included."""
        return self._answers.spent()

    def ask(self, parts: Sequence[Part], schema: type[S], system: str = "") -> EndpointAnswer[S]:
        """One question, texts and frames ([H,W,3] uint8 RGB) in order; the answer must be one JSON object of `schema`.

        The text should describe that object too, as not every server enforces a schema.

        Raises:
            EndpointError: the server refuses the request for good or keeps failing, or the budget is spent.
        """
        body = self._body(parts, schema, system)
        key = stable_hash({"url": self.settings.url, **body}, 64)
        with self._lock:
            alone = self._asking.setdefault(key, threading.Lock())
        with alone:  # who asks the same meanwhile waits for this answer
            reply = self._answers.find(key)
            if reply is None:
                reply = self._fetch("chat/completions", body, _reply)
                self._answers.keep(key, reply)
        with self._lock:
            self._asking.pop(key, None)
        return parse(reply, schema)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, in order, by one request to the server's /embeddings; what it says is not kept.

        Raises:
            EndpointError: as `ask` does.
        """
        body = {"model": self.settings.model, "input": list(texts), "encoding_format": "float"}
        return self._fetch("embeddings", body, lambda data: _vectors(data, len(texts)))

    def _body(self, parts: Sequence[Part], schema: type[BaseModel], system: str) -> dict[str, Any]:
        settings = self.settings
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": [_content(part, settings.max_side_px) for part in parts]})
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": messages,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
        }
        if settings.json_schema:
            form = {"name": schema.__name__, "schema": schema.model_json_schema(), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _fetch(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
        attempts = self.settings.attempts
        try:
            for attempt in stamina.retry_context(
                on=_backoff, attempts=attempts, timeout=None, wait_initial=0.5, wait_max=30.0, wait_jitter=0.5
            ):
                with attempt:
                    return self._send(path, body, read)
        except _Passing as error:
            raise EndpointError(f"{self.settings.url}: {error}, {attempts} times in a row; {_AGAIN} later") from error
        raise AssertionError("the loop returns or raises")

    def _send(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
        self._reserve()
        outcome, cost = "no answer", 0.0
        try:
            response = self._post(path, body)
            outcome = str(response.status_code)
            data, answer = _checked(response, self.settings, read)
            cost = _cost(data, self.settings)
            return answer
        finally:
            with self._lock:
                self._answers.pay(outcome, cost)
                self._open -= 1
                self._dearest = max(self._dearest, cost)

    def _reserve(self) -> None:
        """Count one more request, or refuse it: what is on the way is taken to cost as much as the dearest so far."""
        settings = self.settings
        with self._lock:
            spent = self._answers.spent()
            if spent.calls + self._open >= settings.max_calls:
                raise EndpointError(f"endpoint.max_calls: all {settings.max_calls} are used; raise it, then {_AGAIN}")
            if settings.max_cost and spent.cost + (self._open + 1) * self._dearest >= settings.max_cost:
                raise EndpointError(
                    f"endpoint.max_cost: {spent.cost:.4f} of {settings.max_cost:g} is spent, and one call more could "
                    f"pass it; raise it, then {_AGAIN}"
                )
            self._open += 1

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            return self._client.post(f"{self.settings.url.rstrip('/')}/{path}", json=body)
        except httpx.TimeoutException as error:
            raise _Passing(f"no answer within {self.settings.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise _Passing(f"the connection failed ({error or type(error).__name__})") from error


def parse(reply: Reply, schema: type[S]) -> EndpointAnswer[S]:
    """The answer as `schema`: one JSON object, perhaps in a code fence, with right types and no other fields."""
    text = reply.text.strip()
    if reply.stopped:
        return EndpointAnswer(None, text, reply.stopped)
    bare = text
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].removeprefix("json").strip()
    try:
        return EndpointAnswer(schema.model_validate_json(bare, strict=True, extra="forbid"), text)
    except ValidationError as error:
        kinds = {item["type"] for item in error.errors(include_url=False)}
        return EndpointAnswer(None, text, "not JSON" if "json_invalid" in kinds else "wrong fields")


def data_url(frame_HWC: Frames, max_side_px: int) -> str:
    """A frame [H,W,3] as a data address of a JPEG whose long side is at most `max_side_px`."""
    height, width = frame_HWC.shape[:2]
    small = shrink(frame_HWC, max(1, max_side_px * min(height, width) // max(height, width)))
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _content(part: Part, max_side_px: int) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part, max_side_px)}}


def _backoff(error: Exception) -> bool | float:
    if not isinstance(error, _Passing):
        return False
    return True if error.wait_s is None else error.wait_s


def _checked(
    response: httpx.Response, settings: EndpointSettings, read: Callable[[dict[str, Any]], T]
) -> tuple[dict[str, Any], T]:
    status, body = response.status_code, " ".join(response.text.split())[:300]
    if status == 429 or status >= 500 or status == 408:
        wait_s = _wait_s(response)
        if wait_s is not None and wait_s > _LONGEST_WAIT_S:
            raise EndpointError(f"{settings.url}: status {status}, to be asked again in {wait_s:.0f} s; {_AGAIN} then")
        raise _Passing(f"status {status} ({body})", wait_s)
    if status != 200:
        names = {401: "endpoint.key_env", 403: "endpoint.key_env", 404: "endpoint.url and endpoint.model"}
        check = names.get(status, "endpoint.model, endpoint.json_schema and endpoint.max_side_px")
        raise EndpointError(f"{settings.url}: status {status} ({body}); check {check}")
    try:
        data = response.json()
        return data, read(data)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _Passing(f"an answer that is not of the kind asked for ({body})") from error


def _wait_s(response: httpx.Response) -> float | None:
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


def _reply(data: dict[str, Any]) -> Reply:
    choice = data["choices"][0]
    message, finish = choice["message"], choice.get("finish_reason")
    if message.get("refusal") or finish == "content_filter":
        return Reply(str(message.get("refusal") or message.get("content") or ""), "refused")
    return Reply(str(message.get("content") or ""), "cut off" if finish == "length" else "")


def _vectors(data: dict[str, Any], count: int) -> list[list[float]]:
    """Vectors in the order of the texts. Raises ValueError unless there are `count` of one length, all finite."""
    items = sorted(data["data"], key=lambda item: int(item["index"]))
    vectors = [[float(number) for number in item["embedding"]] for item in items]
    if len(vectors) != count or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise ValueError(f"{len(vectors)} vectors for {count} texts")
    if not all(math.isfinite(number) for vector in vectors for number in vector):
        raise ValueError("a number that is not finite")
    return vectors


def _cost(data: dict[str, Any], settings: EndpointSettings) -> float:
    usage = data.get("usage") or {}
    read: int | None = usage.get("prompt_tokens")
    written: int | None = usage.get("completion_tokens")
    if written is None and read is not None and "total_tokens" in usage:  # embeddings: nothing is written
        written = usage["total_tokens"] - read
    if read is None or written is None:
        if settings.max_cost:
            raise EndpointError(
                f"{settings.url}: the server does not say how many tokens it used, so endpoint.max_cost cannot be "
                "kept; set it to 0 and limit endpoint.max_calls"
            )
        return 0.0
    return (read * settings.price_in + written * settings.price_out) / 1e6
