"""What goes to a chat endpoint and what comes back: texts and frames, and one JSON object of a given form."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from rushes.arrays import Frames
from rushes.media.images import jpeg_of
from rushes.metrics.base import shrink
from rushes.text_reader import parse_json

QuestionPart = str | Frames

_JPEG_QUALITY = 95


def data_url(frame_HWC: Frames, max_side_px: int) -> str:
    """A frame [H,W,3] as a data address of a JPEG whose long side is at most `max_side_px`."""
    height, width = frame_HWC.shape[:2]
    small = shrink(frame_HWC, max(1, max_side_px * min(height, width) // max(height, width)))
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_of(small, _JPEG_QUALITY)).decode()


def content(part: QuestionPart, max_side_px: int) -> dict[str, Any]:
    """A text, or a frame [H,W,3] as `data_url` has it, in the form of OpenAI's messages."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part, max_side_px)}}


def has_frames(body: Mapping[str, Any]) -> bool:
    """Whether a request has pictures among its texts."""
    parts = [part for message in body.get("messages", ()) for part in message["content"] if isinstance(part, dict)]
    return any(part["type"] == "image_url" for part in parts)


MOST_BYTES = 4 * 2**20  # of an answer: a few sentences for each second of a clip
HEADERS = {"Accept-Encoding": "identity"}
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


S = TypeVar("S", bound=BaseModel)
REFUSED = "refused"


# Up to the last mark that ends it, as some servers swallow the first mark; all of it where there is no end.
_THINKING = re.compile(r"(?is)\A.*</(think|thinking|thought|reasoning)>|\A\s*<(think|thinking|thought|reasoning)>.*\Z")


@dataclass(frozen=True)
class Reply:
    """The text of one answer, and why the model broke off ("" = it did not)."""

    text: str
    stopped: str = ""


@dataclass(frozen=True)
class EndpointAnswer(Generic[S]):
    """`parsed` is None when the model did not answer as asked; `problem` then says how, in a few fixed words."""

    parsed: S | None
    text: str
    problem: str = ""  # "refused", "cut off", "empty", "not JSON", "wrong fields", or "status 400" and its like


def is_result(answer: EndpointAnswer[Any]) -> bool:
    """Whether asking again would give the same: what a model will not judge it has answered, by declining."""
    return answer.parsed is not None or answer.problem == REFUSED


def parse(reply: Reply, schema: type[S]) -> EndpointAnswer[S]:
    """The answer as `schema`: the one JSON object of a text, with right types and no other fields.

    What a model thinks before it answers is left out, words and a code fence around the object are passed over.
    """
    text = reply.text.strip()
    if reply.stopped:
        return EndpointAnswer(None, text, reply.stopped)
    bare = _THINKING.sub("", text).strip()
    if not bare:
        return EndpointAnswer(None, text, "empty")
    try:
        return EndpointAnswer(schema.model_validate_json(_one_object(bare), strict=True, extra="forbid"), text)
    except ValidationError as error:
        kinds = {item["type"] for item in error.errors(include_url=False)}
        return EndpointAnswer(None, text, "not JSON" if "json_invalid" in kinds else "wrong fields")
    except ValueError:
        return EndpointAnswer(None, text, "not JSON")


def _one_object(text: str) -> str:
    """The JSON text in an answer: all of it, or its one object. Raises ValueError where there is none or another."""
    try:
        json.loads(text)
        bare = text
    except (ValueError, RecursionError):
        start, end = text.find("{"), text.rfind("}")
        bare = text[start : end + 1] if start >= 0 else ""
    parse_json(bare, "answer")  # one that has a key twice is none
    return bare


def reply_of(data: dict[str, Any]) -> Reply:
    """The text of a chat completion. Raises LookupError, TypeError or AttributeError for what is none."""
    choice = data["choices"][0]
    message, finish = choice["message"], choice.get("finish_reason")
    content = message.get("content") or ""
    if isinstance(content, list):  # parts, of which thinking is one kind
        content = "".join(part.get("text") or "" for part in content if part.get("type") in ("text", "output_text"))
    if message.get("refusal") or finish == "content_filter":
        return Reply(str(message.get("refusal") or content), REFUSED)
    return Reply(str(content), "cut off" if finish == "length" else "")


def other_model(data: dict[str, Any], asked: str) -> str:
    """The model that a server says has answered, "" where it is `asked`, of any owner, date or suffix, or not said."""
    name = data.get("model")
    bare, wanted = (re.sub("[-_. ]", "", str(each).casefold().rpartition("/")[2]) for each in (name, asked))
    return name if isinstance(name, str) and name and wanted not in bare else ""


def vectors_of(data: dict[str, Any], count: int) -> list[list[float]]:
    """Vectors in the order of the texts. Raises ValueError unless there are `count` of one length, all finite."""
    items = sorted(data["data"], key=lambda item: int(item["index"]))
    vectors = [[float(number) for number in item["embedding"]] for item in items]
    if len(vectors) != count or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise ValueError(f"{len(vectors)} vectors for {count} texts")
    if not all(math.isfinite(number) for vector in vectors for number in vector):
        raise ValueError("a number that is NaN or infinite")
    return vectors


def tokens_of(data: dict[str, Any]) -> tuple[int, int] | None:
    """Tokens that were read and written; None where the server does not say them as whole numbers from 0 on."""
    usage = data.get("usage")
    named = usage if isinstance(usage, dict) else {}
    counts = [named.get(f"{what}_tokens") for what in ("prompt", "completion", "total")]
    read, written, total = (count if type(count) is int and count >= 0 else None for count in counts)
    if written is None and read is not None and total is not None:  # embeddings: nothing is written
        written = max(0, total - read)
    return None if read is None or written is None else (read, written)
