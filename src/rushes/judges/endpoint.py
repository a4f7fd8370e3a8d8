"""A model behind an OpenAI-style chat endpoint (vLLM, or any hosted one): text and frames in, a checked answer out.

    with Endpoint(settings.endpoint, project / "answers.db") as endpoint:
        answer = endpoint.ask(["Which clip has fewer artefacts?", "First:", *first, "Second:", *second], Verdict)
        if answer.parsed is None:
            print(answer.problem)  # "refused", "not JSON", ...: count it, do not guess

A question that was answered is not asked again: answers are kept by the hash of everything that was sent. One that
cannot be read is no answer: it is not kept, the next run asks again, and after ten in a row, or where there is no other
at the end, asking fails. What fails for a while (429, 5xx, a timeout, a cut connection) is sent again, after the time
that the server names. Every request counts against the budget, those of earlier runs included.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import stamina
from pydantic import BaseModel
from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks

from rushes.config.model_endpoint import EndpointSettings
from rushes.judges.messages import (
    HEADERS,
    EndpointAnswer,
    QuestionPart,
    RefusedAnswer,
    Reply,
    bounded,
    content,
    has_frames,
    is_result,
    other_model,
    parse,
    reply_of,
    tokens_of,
    vectors_of,
    wait_s_of,
)
from rushes.records import now, stable_hash
from rushes.sidefile import SideFile
from rushes.trust import host_of, is_loopback

_ANSWER_TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, stopped TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS calls (at TEXT NOT NULL, outcome TEXT NOT NULL, cost REAL NOT NULL)",
)
_OPEN = "on the way"  # the outcome of a request that has none yet


@dataclass(frozen=True)
class RequestCosts:
    """Requests sent so far, and money in the unit of the prices that the settings name."""

    calls: int
    cost: float


class Answers(SideFile):
    """Answers by the hash of the question, and a ledger of every request."""

    loss = "its questions are then asked, and paid for, again"

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

    def forget(self, key: str) -> None:
        """Delete the answer under `key`, as it turned out to be none."""
        self.run("DELETE FROM answers WHERE key = ?", key)

    def reserve(self, max_calls: int, max_cost: float) -> int:
        """Note one request more, before it is sent; its number, or 0 where a limit would be passed.

        One statement, so that processes that share the file cannot pass a limit together. What is on the way, or was
        when its process was killed, is taken to cost as much as the most expensive so far. `max_cost` 0 = no limit.
        """
        row = self.first(
            "INSERT INTO calls SELECT ?, ?, 0 FROM (SELECT count(*) AS calls, coalesce(sum(cost), 0) AS cost, "
            "coalesce(sum(outcome = ?), 0) AS open, coalesce(max(cost), 0) AS highest FROM calls) "
            "WHERE calls < ? AND (? = 0 OR cost + (open + 1) * highest < ?) RETURNING rowid",
            *(now(), _OPEN, _OPEN, max_calls, max_cost, max_cost),
        )
        return int(row[0]) if row else 0

    def pay(self, number: int, outcome: str, cost: float) -> None:
        """Note of a request its outcome (a word or a status), and what it cost."""
        self.run("UPDATE calls SET outcome = ?, cost = ? WHERE rowid = ?", outcome, cost, number)

    def spent(self) -> RequestCosts:
        """All requests of this file, those of earlier runs included."""
        return RequestCosts(*self.first("SELECT count(*), coalesce(sum(cost), 0) FROM calls"))


S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")

_LONGEST_WAIT_S = 120.0  # a server that asks for more is told of instead
MOST_UNREADABLE = 10  # answers in a row
_LOG = logging.getLogger(__name__)
_AGAIN = "answers so far are stored, so run the same command again"


class EndpointError(ValueError):
    """The endpoint cannot be used, or the budget is spent; the text says what to change."""


class _BadRequest(EndpointError):
    """The server does not take this one request."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


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
        key = os.environ.get(settings.key_env, "").strip() if settings.key_env else ""
        if settings.key_env and not key:
            raise EndpointError(
                f"endpoint.key_env names the environment variable {settings.key_env}, which is not set; set it to the "
                'key, or set endpoint.key_env to "" if the server needs no key'
            )
        if not (key.isascii() and key.isprintable()):  # which a header cannot carry; the key itself is not shown
            raise EndpointError(
                f"endpoint.key_env: the key in {settings.key_env} has a line end, a typographic quote or another "
                "character that no key has; set the variable to the key alone"
            )
        self.settings = settings
        self._client = httpx.Client(
            headers=HEADERS | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
        )
        self._key = key
        self._sent = ""  # what was said to be sent
        self._answers = Answers(answers)
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}  # by the hash of the question
        self._answered = False  # whether the server ever took a question
        self._results = 0  # answers that could be read
        self._unreadable = 0  # in a row
        self._first_unreadable: EndpointAnswer[Any] | None = None  # of the row

    def close(self) -> None:
        """Close the connections and the file of answers."""
        self._client.close()
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close. Raises EndpointError where questions were asked, and no answer could be read."""
        self.close()
        first = self._first_unreadable
        if kind is None and first and not self._results:
            raise EndpointError(unreadable(self.settings, f"{self._unreadable} of {self._unreadable} answers", first))

    @property
    def spent(self) -> RequestCosts:
        """Requests and money so far, earlier runs included."""
        return self._answers.spent()

    def ask(self, parts: Sequence[QuestionPart], schema: type[S], system: str = "") -> EndpointAnswer[S]:
        """One question, texts and frames ([H,W,3] uint8 RGB) in order; the answer must be one JSON object of `schema`.

        The text should describe that object too, as not every server enforces a schema.

        A question that a server does not take (status 400, 413, 422) which took others has a `problem`.

        Raises EndpointError: the server refuses the request for good or keeps failing, the budget is spent, or ten
        answers in a row cannot be read.
        """
        body = self._body(parts, schema, system)
        key = stable_hash({"url": self.settings.url, **body}, 64)
        with self._lock:
            alone = self._asking.setdefault(key, threading.Lock())
        with alone:  # who asks the same meanwhile waits for this answer
            answer = self._find(key, schema) or self._ask(key, body, schema)
        with self._lock:
            self._asking.pop(key, None)
        self._note(answer)
        return answer

    def _find(self, key: str, schema: type[S]) -> EndpointAnswer[S] | None:
        """What was answered before; one that cannot be read is forgotten."""
        reply = self._answers.find(key)
        answer = parse(reply, schema) if reply else None
        if answer is None or is_result(answer):
            return answer
        self._answers.forget(key)
        return None

    def _ask(self, key: str, body: dict[str, Any], schema: type[S]) -> EndpointAnswer[S]:
        try:
            reply = self._fetch("chat/completions", body, reply_of)
        except _BadRequest as error:
            if not self._answered:
                raise
            return EndpointAnswer(None, str(error), f"status {error.status}")
        self._answered = True
        answer = parse(reply, schema)
        if is_result(answer):
            self._answers.keep(key, reply)
        return answer

    def _note(self, answer: EndpointAnswer[Any]) -> None:
        """Count answers in a row that cannot be read. Raises EndpointError for the last that is allowed."""
        with self._lock:
            if is_result(answer):
                self._results += 1
                self._unreadable, self._first_unreadable = 0, None
                return
            self._unreadable += 1
            first = self._first_unreadable = self._first_unreadable or answer
            if self._unreadable >= MOST_UNREADABLE:
                raise EndpointError(unreadable(self.settings, f"{self._unreadable} answers in a row", first))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, in order, by one request to the server's /embeddings; what it says is not kept.

        Raises EndpointError: as `ask` does.
        """
        body = {"model": self.settings.model, "input": list(texts), "encoding_format": "float"}
        return self._fetch("embeddings", body, lambda data: vectors_of(data, len(texts)))

    def _body(self, parts: Sequence[QuestionPart], schema: type[BaseModel], system: str) -> dict[str, Any]:
        settings = self.settings
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": [content(part, settings.max_side_px) for part in parts]})
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
        number = self._reserve()
        outcome, cost = "no answer", 0.0
        self._say_where("captions and frames" if has_frames(body) else "captions")
        try:
            response = self._post(path, body)
            outcome = str(response.status_code)
            data, answer = _checked(response, self.settings, read)
            self._say_model(other_model(data, self.settings.model))
            cost = _cost(data, self.settings)
            return answer
        finally:
            self._answers.pay(number, outcome, cost)

    def _say_where(self, what: str) -> None:
        """Say before the first request what goes to another machine, or with which key; and again when more goes."""
        host, key = host_of(self.settings.url), self.settings.key_env
        with self._lock:
            if what in self._sent or not host or (is_loopback(host) and not key):
                return
            self._sent = what
        with_key = f", with the key in {key}" if key else ""
        _LOG.warning("%s of clips go to %s (%s)%s", what, host, self.settings.model, with_key)

    def _say_model(self, other: str) -> None:
        """Say, once, that another model answers than labels are signed with, as some servers take any name."""
        with self._lock:
            if other and other not in self._sent:
                self._sent += f" {other}"
                words = "%s: %s answers there, not %s, which labels name as their judge; check endpoint.model"
                _LOG.warning(words, self.settings.url, _shown(other), self.settings.model)

    def _reserve(self) -> int:
        """Count one more request, or refuse it; its number."""
        settings = self.settings
        if number := self._answers.reserve(settings.max_calls, settings.max_cost):
            return number
        spent = self._answers.spent()
        if spent.calls >= settings.max_calls:
            raise EndpointError(f"endpoint.max_calls: all {settings.max_calls} calls are used up; raise it ({_AGAIN})")
        raise EndpointError(
            f"endpoint.max_cost: {spent.cost:.4f} of {settings.max_cost:g} is spent (a request without an answer "
            f"counts as the most expensive one), and the next call could exceed the limit; raise it ({_AGAIN})"
        )

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            with self._client.stream("POST", f"{self.settings.url.rstrip('/')}/{path}", json=body) as response:
                return bounded(response, self._key)
        except RefusedAnswer as error:
            raise EndpointError(f"{self.settings.url}: {error}") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise EndpointError(
                f"endpoint.url: {self.settings.url!r} is not an address ({error}); write it as http://HOST:PORT/v1"
            ) from error
        except httpx.LocalProtocolError as error:
            raise EndpointError(
                f"{self.settings.url}: no request can be sent with these characters; check endpoint.url and the key"
            ) from error
        except httpx.TimeoutException as error:
            raise _Passing(f"no answer within {self.settings.timeout_s:g} s") from error
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise EndpointError(
                    f"{self.settings.url}: its certificate cannot be verified ({error}); check the address, or set "
                    "SSL_CERT_FILE to the authority's file"
                ) from error
            raise _Passing(f"the connection failed ({error or type(error).__name__})") from error


def unreadable(settings: EndpointSettings, what: str, first: EndpointAnswer[Any]) -> str:
    """What to say where answers cannot be read: how many, the first, and what to do."""
    remedies = {
        "cut off": "raise endpoint.max_tokens",
        "empty": "raise endpoint.max_tokens, or turn on the server's reasoning parser",
    }
    remedy = remedies.get(first.problem, "check endpoint.model and endpoint.json_schema")
    text = f"{first.text!r}" if len(first.text) < 200 else f"{first.text[:200]!r} and more"
    return (
        f"{settings.url}: {what} of {settings.model} could not be read, and are not used; the first ({first.problem}) "
        f"is {text}: {remedy}, then run the same command again"
    )


def _say_wait(details: RetryDetails) -> None:
    """Say in words why and how long it waits; other programs' waits are worded as stamina words them."""
    if isinstance(details.caused_by, _Passing):
        _LOG.warning("%s; asked again in %.0f s", details.caused_by, details.wait_for)
        return
    for hook in _others_hooks:
        hook(details)


_others_hooks = get_on_retry_hooks()
set_on_retry_hooks([_say_wait])


def _backoff(error: Exception) -> bool | float:
    if not isinstance(error, _Passing):
        return False
    return True if error.wait_s is None else error.wait_s


def _checked(
    response: httpx.Response, settings: EndpointSettings, read: Callable[[dict[str, Any]], T]
) -> tuple[dict[str, Any], T]:
    status, body = response.status_code, _shown(response.text)
    if status == 429 or status >= 500 or status == 408:
        wait_s = wait_s_of(response)
        if wait_s is not None and wait_s > _LONGEST_WAIT_S:
            raise EndpointError(
                f"{settings.url}: status {status}, the server asks to wait {wait_s:.0f} s; {_AGAIN} then"
            )
        raise _Passing(f"status {status} ({body})", wait_s)
    if status in (400, 413, 422):
        check = "endpoint.model, endpoint.json_schema and endpoint.max_side_px"
        raise _BadRequest(f"{settings.url}: status {status} ({body}); check {check}", status)
    if status != 200:
        names = {401: "endpoint.key_env", 403: "endpoint.key_env", 404: "endpoint.url and endpoint.model"}
        check = names.get(status, "endpoint.url")
        raise EndpointError(f"{settings.url}: status {status} ({body}); check {check}")
    if body.startswith("<"):
        raise EndpointError(
            f"{settings.url}: the answer is a web page ({body}); set endpoint.url to the address up to and including "
            "/v1"
        )
    try:
        data = response.json()
        _check_error(data, settings)
        return data, read(data)
    except EndpointError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _Passing(f"an answer of another kind than the one asked for ({body})") from error


def _shown(text: str) -> str:
    """The beginning of what a server says, in one line and without control characters."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split())[:300])


def _check_error(data: dict[str, Any], settings: EndpointSettings) -> None:
    """Raise for an error that a gateway sends as an answer: _Passing where it may pass, else EndpointError."""
    error = data.get("error")
    if not error or data.get("choices") or data.get("data"):
        return
    code = error.get("code") if isinstance(error, dict) else None
    words = _shown(str(error.get("message") if isinstance(error, dict) else error))
    if isinstance(code, int) and 400 <= code < 500 and code not in (408, 429):
        raise EndpointError(f"{settings.url}: error {code} ({words}); check endpoint.model and endpoint.url")
    raise _Passing(f"an error in place of an answer ({words})")


def _cost(data: dict[str, Any], settings: EndpointSettings) -> float:
    tokens = tokens_of(data)
    if tokens is None and settings.max_cost:
        raise EndpointError(
            f"{settings.url}: the server does not report how many tokens it used, so endpoint.max_cost cannot be "
            "enforced; set it to 0 and use endpoint.max_calls"
        )
    read, written = tokens or (0, 0)
    return (read * settings.price_in + written * settings.price_out) / 1e6
