"""The client against a scripted server on 127.0.0.1: what it retries, refuses, keeps, counts and cannot read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import stamina
from pydantic import BaseModel, ConfigDict

from rushes.config.model_endpoint import EndpointSettings
from rushes.judges.endpoint import ChatEndpoint, EndpointError
from rushes.judges.messages import MOST_BYTES, data_url

from ..fake_endpoint import Does, FakeEndpoint, serve, texts

FRAME = np.full((40, 64, 3), 128, np.uint8)
Make = Callable[..., ChatEndpoint]


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    choice: Literal["first", "second", "tie"]


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serve(FakeEndpoint()) as running:
        yield running


@pytest.fixture
def make(fake: FakeEndpoint, tmp_path: Path) -> Iterator[Make]:
    made: list[ChatEndpoint] = []

    def build(**changes: Any) -> ChatEndpoint:
        settings = EndpointSettings.model_validate({"url": fake.url, "model": "m", "timeout_s": 5.0, **changes})
        made.append(ChatEndpoint(settings, tmp_path / "cache" / "answers.db"))
        return made[-1]

    yield build
    for endpoint in made:
        endpoint.close()


@pytest.fixture
def quick() -> Iterator[None]:
    """No waiting between attempts, as many as the settings say."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def test_frames_and_text_arrive_in_order_and_the_answer_is_read(fake: FakeEndpoint, make: Make) -> None:
    fake.script.append(Does('{"choice": "first"}'))
    answer = make().ask(["left", FRAME, "right", FRAME[:, ::2]], Verdict, system="be strict")
    assert answer.parsed == Verdict(choice="first") and not answer.problem
    (request,) = fake.requests
    assert request["messages"][0] == {"role": "system", "content": "be strict"}
    kinds = [part["type"] for part in request["messages"][1]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url"] and texts(request) == "left\nright"
    assert request["messages"][1]["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert request["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    assert request["temperature"] == 0


def test_an_answer_without_end_is_not_read_to_its_end(fake: FakeEndpoint, make: Make) -> None:
    fake.script.append(Does(" " * (MOST_BYTES + 1)))
    with pytest.raises(EndpointError, match="an answer of more than 4 MiB; check that this is a model"):
        make().ask(["text"], Verdict)


def test_a_packed_answer_is_not_unpacked(fake: FakeEndpoint, make: Make) -> None:
    """Some hundred kilobytes of it unpacked to as much as fills memory."""
    fake.script.append(Does('{"choice": "first"}', headers={"content-encoding": "gzip"}))
    with pytest.raises(EndpointError, match="an answer packed as 'gzip', which nobody asked for"):
        make().ask(["text"], Verdict)
    assert fake.headers[0]["accept-encoding"] == "identity"


def test_large_frames_are_shrunk_and_small_ones_sent_as_they_are() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 800, 3), np.uint8)
    assert len(data_url(noise, 100)) < len(data_url(noise, 200)) < len(data_url(noise, 800))
    assert data_url(noise, 800) == data_url(noise, 5000)


def test_an_answered_question_is_not_asked_again(fake: FakeEndpoint, make: Make) -> None:
    with make() as first:
        assert first.ask(["q", FRAME], Verdict) == first.ask(["q", FRAME], Verdict)
    again = make()
    again.ask(["q", FRAME], Verdict)
    assert len(fake.requests) == 1 and again.spent.calls == 1
    again.ask(["q", FRAME + np.uint8(9)], Verdict)
    again.ask(["Q", FRAME], Verdict)
    make(model="other").ask(["q", FRAME], Verdict)
    assert len(fake.requests) == 4


def test_threads_that_ask_the_same_pay_once(fake: FakeEndpoint, make: Make) -> None:
    fake.answer = lambda request: Does('{"choice": "tie"}', delay_s=0.2)
    endpoint = make()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda at: endpoint.ask([f"q{at % 2}"], Verdict), range(8)))
    assert len(fake.requests) == 2 and len(set(map(repr, answers))) == 1 and not endpoint._asking


@pytest.mark.parametrize(
    ("does", "problem"),
    [
        (Does("first"), "not JSON"),
        (Does('{"choice": "first"} {"choice": "second"}'), "not JSON"),
        (Does('{"choice": "both"}'), "wrong fields"),
        (Does('{"choice": "first", "why": "x"}'), "wrong fields"),
        (Does('["first"]'), "wrong fields"),
        (Does(""), "empty"),
        (Does("<think>hm</think> "), "empty"),
        (Does('<think>perhaps {"choice": "first"}'), "empty"),
        (Does('{"choice": "first", "choice": "second"}'), "not JSON"),
        (Does('the {first} is better: {"choice": "first"}'), "not JSON"),
        (Does(refusal="I cannot look at this."), "refused"),
        (Does('{"choice": "first"}', finish="content_filter"), "refused"),
        (Does('{"choice": "fir', finish="length"), "cut off"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.content[:20],
)
def test_what_is_no_answer_is_said_and_never_guessed(does: Does, problem: str, fake: FakeEndpoint, make: Make) -> None:
    fake.script.append(does)
    answer = make().ask(["q"], Verdict)
    assert (answer.parsed, answer.problem) == (None, problem)


class Loose(BaseModel):
    count: int


def test_types_and_fields_are_strict_whatever_the_schema_allows(fake: FakeEndpoint, make: Make) -> None:
    endpoint = make()
    for number, content in enumerate(('{"count": "3"}', '{"count": 3.0}', '{"count": 3, "more": 1}')):
        fake.script.append(Does(content))
        assert endpoint.ask([str(number)], Loose).problem == "wrong fields", content
    fake.script.append(Does('{"count": 3}'))
    assert endpoint.ask(["q"], Loose).parsed == Loose(count=3)


def test_a_code_fence_is_no_problem(fake: FakeEndpoint, make: Make) -> None:
    fake.script.append(Does('```json\n{"choice": "second"}\n```'))
    assert make().ask(["q"], Verdict).parsed == Verdict(choice="second")


@pytest.mark.parametrize(
    "content",
    [
        '<think>{"choice": "first"}? No.</think>\n{"choice": "second"}',
        'First I look ... so </think>{"choice": "second"}',
        'Here you go:\n```json\n{"choice": "second"}\n```\nHope that helps.',
        [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": '{"choice": "second"}'}],
    ],
    ids=["thinking", "thinking without its first mark", "words around", "parts"],
)
def test_the_one_object_of_an_answer_is_read(content: object, fake: FakeEndpoint, make: Make) -> None:
    body = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    fake.script.append(Does(body=json.dumps(body)))
    assert make().ask(["q"], Verdict).parsed == Verdict(choice="second")


def test_what_cannot_be_read_is_asked_again_and_a_refusal_is_not(fake: FakeEndpoint, make: Make) -> None:
    fake.script.extend([Does("hm"), Does(refusal="no"), Does('{"choice": "first"}')])
    endpoint = make()
    assert [endpoint.ask([q], Verdict).problem for q in ("1", "2", "1", "2", "1")] == [
        "not JSON", "refused", "", "refused", "",
    ]  # fmt: skip
    assert len(fake.requests) == 3


def test_an_unreadable_answer_of_an_older_version_is_forgotten(fake: FakeEndpoint, make: Make) -> None:
    endpoint = make()
    fake.script.extend([Does('{"choice": "tie"}'), Does('{"choice": "first"}')])
    endpoint.ask(["q"], Verdict)
    endpoint._answers.run("UPDATE answers SET text = 'hm'")
    assert endpoint.ask(["q"], Verdict).parsed == Verdict(choice="first") == make().ask(["q"], Verdict).parsed
    assert len(fake.requests) == 2


def test_ten_unreadable_answers_in_a_row_end_it_with_the_first(fake: FakeEndpoint, make: Make) -> None:
    answers = ["hm"] * 9 + ['{"choice": "tie"}'] + [f"hm \x1b {number}" for number in range(20)]
    fake.script.extend(map(Does, answers))
    endpoint, asked = make(), 0
    with pytest.raises(EndpointError, match=r"10 answers in a row of m could not be read.*'hm \\x1b 0'.*json_schema"):
        for asked in range(30):
            endpoint.ask([str(asked)], Verdict)
    assert asked == 19 and len(fake.requests) == 20


def test_a_few_questions_without_a_readable_answer_are_an_error_too(fake: FakeEndpoint, make: Make) -> None:
    fake.answer = lambda request: Does('{"choi', finish="length")
    with (
        pytest.raises(EndpointError, match=r"2 of 2 answers of m .*cut off.* raise endpoint.max_tokens"),
        make() as few,
    ):
        few.ask(["1"], Verdict)
        few.ask(["2"], Verdict)
    fake.answer = lambda request: Does('{"choice": "tie"}')
    with make() as again:
        again.ask(["1"], Verdict)


def test_one_question_that_the_server_does_not_take_costs_itself(fake: FakeEndpoint, make: Make) -> None:
    fake.script.extend([Does('{"choice": "tie"}'), Does(status=400, body="too long"), Does('{"choice": "first"}')])
    endpoint = make()
    assert [endpoint.ask([q], Verdict).problem for q in "123"] == ["", "status 400", ""]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("does", "message"),
    [
        (Does(body="<html><body>Sign in</body></html>"), "the answer is a web page .* endpoint.url"),
        (Does(body='{"error": {"message": "no such model", "code": 404}}'), r"error 404 \(no such model\)"),
        (Does(status=307, headers={"location": "https://x/"}), "status 307"),
    ],
    ids=["page", "error as an answer", "redirect"],
)
def test_what_cannot_pass_is_not_sent_again(does: Does, message: str, fake: FakeEndpoint, make: Make) -> None:
    fake.answer = lambda request: does
    with pytest.raises(EndpointError, match=message):
        make().ask(["q"], Verdict)
    assert len(fake.requests) == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("url", ["127.0.0.1:8766/v1", "http://[::1/v1", "ftp://127.0.0.1/v1"])
def test_an_address_that_is_none_is_not_tried_again(url: str, make: Make) -> None:
    endpoint = make(url=url)
    with pytest.raises(EndpointError, match=r"is not an address .*; write it as http://HOST:PORT/v1"):
        endpoint.ask(["q"], Verdict)
    assert endpoint.spent.calls == 1


def test_waiting_is_said_in_words(fake: FakeEndpoint, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    fake.script.append(Does(status=429, headers={"retry-after": "0"}, body="busy\x1b"))
    make().ask(["q"], Verdict)
    assert [record.getMessage() for record in caplog.records] == ["status 429 (busy?); asked again in 0 s"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "failure",
    [Does(status=429), Does(status=500, body="oops"), Does(status=503), Does(cut=True), Does(delay_s=0.5),
     Does(body="half of an ans"), Does(body='{"choices": []}'), Does(body='{"error": {"code": 429}}')],
    ids=["429", "500", "503", "cut", "timeout", "no JSON", "no choice", "error as an answer"],
)  # fmt: skip
def test_a_failure_that_passes_is_tried_again(failure: Does, fake: FakeEndpoint, make: Make) -> None:
    fake.script.extend([failure, Does('{"choice": "first"}')])
    endpoint = make(timeout_s=0.2)
    assert endpoint.ask(["q"], Verdict).parsed == Verdict(choice="first")
    assert endpoint.spent.calls == len(fake.requests) == 2


@pytest.mark.usefixtures("quick")
def test_a_failure_that_stays_is_said_with_its_cause(fake: FakeEndpoint, make: Make) -> None:
    fake.answer = lambda request: Does(status=500, body="out of memory")
    with pytest.raises(EndpointError, match=r"status 500 \(out of memory\), .* times in a row; answers so far"):
        make(attempts=3).ask(["q"], Verdict)
    assert len(fake.requests) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_time_that_the_server_names_is_waited_for(form: str, fake: FakeEndpoint, make: Make) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    fake.script.append(Does(status=429, headers={"retry-after": "1" if form == "seconds" else later}))
    make().ask(["q"], Verdict)
    assert 0.9 <= fake.times[1] - fake.times[0] < 3


def test_a_wait_of_hours_is_told_and_not_slept(fake: FakeEndpoint, make: Make) -> None:
    fake.script.append(Does(status=429, headers={"retry-after": "3600"}))
    with pytest.raises(EndpointError, match="asks to wait 3600 s"):
        make().ask(["q"], Verdict)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "endpoint.json_schema"), (401, "endpoint.key_env"), (404, "endpoint.model")]
)
def test_a_refusal_for_good_is_not_repeated(status: int, remedy: str, fake: FakeEndpoint, make: Make) -> None:
    fake.answer = lambda request: Does(status=status, body="no")
    with pytest.raises(EndpointError, match=rf"status {status} \(no\); check .*{remedy}"):
        make().ask(["q"], Verdict)
    assert len(fake.requests) == 1


def test_the_key_comes_from_the_environment(fake: FakeEndpoint, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "abc")
    make(key_env="JUDGE_KEY").ask(["q"], Verdict)
    assert fake.headers[0]["authorization"] == "Bearer abc"
    with pytest.raises(EndpointError, match="environment variable MISSING_KEY, which is not set"):
        make(key_env="MISSING_KEY")
    with pytest.raises(EndpointError, match=r"endpoint.model is empty"):
        make(model="")


@pytest.mark.usefixtures("quick")
def test_calls_are_limited_over_all_runs_and_failures_count(fake: FakeEndpoint, make: Make) -> None:
    fake.script.append(Does(status=500))
    with make(max_calls=3) as first:
        first.ask(["1"], Verdict)
    again = make(max_calls=3)
    again.ask(["2"], Verdict)
    with pytest.raises(EndpointError, match=r"endpoint.max_calls: all 3 calls are used up; raise it"):
        again.ask(["3"], Verdict)
    assert again.ask(["1"], Verdict).parsed and len(fake.requests) == 3


def test_money_is_limited(fake: FakeEndpoint, make: Make) -> None:
    endpoint = make(max_cost=0.0025, price_in=8.0, price_out=20.0)  # 100 and 10 tokens: 0.001 a call
    endpoint.ask(["1"], Verdict)
    assert endpoint.spent.cost == pytest.approx(0.001)
    endpoint.ask(["2"], Verdict)
    with pytest.raises(EndpointError, match=r"endpoint.max_cost: 0.0020 of 0.0025 is spent"):
        endpoint.ask(["3"], Verdict)
    assert len(fake.requests) == 2


def test_money_cannot_be_limited_where_tokens_are_not_counted(fake: FakeEndpoint, make: Make) -> None:
    fake.answer = lambda request: Does('{"choice": "tie"}', usage=None)
    assert make().ask(["1"], Verdict).parsed
    with pytest.raises(EndpointError, match=r"endpoint\.max_cost cannot be enforced"):
        make(max_cost=1.0, price_in=1.0).ask(["2"], Verdict)


@pytest.mark.parametrize("count", [1, 8], ids=["one client", "clients of one file"])
def test_threads_and_clients_never_pass_the_budget(count: int, fake: FakeEndpoint, make: Make) -> None:
    gate = threading.Barrier(8)
    clients = [make(max_calls=5) for _ in range(count)]

    def ask(number: int) -> bool:
        gate.wait()
        try:
            return clients[number % count].ask([str(number)], Verdict).parsed is not None
        except EndpointError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 5
    assert len(fake.requests) == 5
