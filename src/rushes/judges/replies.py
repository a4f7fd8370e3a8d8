"""What a chat endpoint sends, and how it is read: one JSON object of a given form, or why there is none."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from rushes.text_reader import parse_json

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
