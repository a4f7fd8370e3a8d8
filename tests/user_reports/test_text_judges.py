"""Public reports by users of other tools about models that judge, tried here against a real server on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stamina

from rushes.cli import main
from rushes.sidefile import SideFile
from rushes.store.database import Store

from ..fake_endpoint import Does, FakeEndpoint, serve
from ..projects import Rushes

FIRST = '{"reason": "r", "choice": "first"}'
WORLD = ("footage.clips=6", "footage.eval_prompts=2", "generate.steps=1", "backbone.frames=9")
Label = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with six pairs of takes: twelve questions. Do not write to it."""
    folder = tmp_path_factory.mktemp("judges") / "project"
    main(["init", str(folder)])
    for command in ("import", "generate"):
        main([command, str(folder), *(part for text in WORLD for part in ("--set", text))])
    return folder


@pytest.fixture(autouse=True)
def power(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power that is never lost here: what is paid for need not wait for the disk, which takes most of the time."""
    opened = SideFile.__init__
    monkeypatch.setattr(SideFile, "__init__", lambda self, path, tables, paid=False: opened(self, path, tables))


@pytest.fixture
def project(takes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(takes, tmp_path / "project"))


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serve(FakeEndpoint()) as running:
        yield running


@pytest.fixture
def label(project: Path, fake: FakeEndpoint, rushes: Rushes) -> Label:
    """Label whole takes by the model: code, the result by name, and what was said."""

    def run(*settings: str) -> tuple[int, dict[str, str], str]:
        fake.requests.clear()
        ours = (f"endpoint.url={fake.url}", "endpoint.model=m", "label.whole=true", "endpoint.parallel=1", *settings)
        given = (part for text in ours for part in ("--set", text))
        code, out, err = rushes("label", project, "--by", "vlm", *given, "--json")
        assert "Traceback" not in err and "stamina" not in err
        return code, {name: str(value) for name, value in json.loads(out or "{}").items() if value is not None}, err

    return run


def message(content: object, **more: object) -> Does:
    body = {"choices": [{"message": {"role": "assistant", "content": content, **more}, "finish_reason": "stop"}]}
    return Does(body=json.dumps(body))


def stored(project: Path) -> int:
    with Store(project) as store:
        return len(store.preferences(current=False))


def test_what_a_model_thinks_or_says_beside_its_answer_is_passed_over(fake: FakeEndpoint, label: Label) -> None:
    """gbrain#4640, vllm#50938, langchain#35530. Was: "tie: 6 ... not JSON: 12", exit 0."""
    thinking = message(f'<think>the second? {{"choice": "second"}} no</think>\n{FIRST}')
    fenced, parts = message(f"Here you go:\n```json\n{FIRST}\n```"), message([{"type": "text", "text": FIRST}])
    fake.script.extend([thinking, fenced, parts] * 4)
    code, result, err = label()
    assert code == 0, err
    assert (result["tie"], result["answered"]) == ("6", "12")  # "first" in both orders is a tie


def test_answers_that_cannot_be_read_end_it_and_are_asked_again(
    fake: FakeEndpoint, project: Path, label: Label
) -> None:
    """gbrain#4640. Was: "tie: 6", exit 0, all of it paid; after the server was mended 0 requests and "tie: 6"."""
    fake.answer = lambda request: message(None, reasoning_content="long")
    code, _, err = label()
    assert code == 2 and len(fake.requests) == 10 and stored(project) == 0
    assert "10 answers in a row of m" in err and "the first (empty) is ''" in err and "endpoint.max_tokens" in err
    fake.answer = lambda request: Does(FIRST)
    code, result, _ = label()
    assert (code, result["tie"], len(fake.requests), stored(project)) == (0, "6", 12, 6)
    assert label()[0] == 0 and not fake.requests


def test_more_tokens_help_as_the_docs_say(fake: FakeEndpoint, label: Label) -> None:
    """vllm#50938. Was: the same command with a larger `max_tokens` sent nothing."""
    fake.answer = lambda request: Does(FIRST[:9], finish="length") if request["max_tokens"] < 777 else Does(FIRST)
    code, _, err = label()
    assert code == 2 and "the first (cut off)" in err and "raise endpoint.max_tokens" in err
    code, result, _ = label("endpoint.max_tokens=777")
    assert code == 0 and result["answered"] == "12"


def test_a_few_unread_answers_are_no_ties(fake: FakeEndpoint, project: Path, label: Label) -> None:
    """langchain#35530. Was: an answer that could not be read was one more tie, for good."""
    fake.script.extend([Does("I cannot say."), *[Does(FIRST)] * 11])
    code, result, _ = label()
    assert (code, result["tie"], result["unjudged"], stored(project)) == (0, "5", "1", 5)
    fake.answer = lambda request: Does(FIRST)
    code, result, _ = label()
    assert (code, result["tie"], len(fake.requests), stored(project)) == (0, "6", 1, 6) and "unjudged" not in result


def test_the_unread_part_of_a_pair_is_judged_later(fake: FakeEndpoint, project: Path, label: Label) -> None:
    """gbrain#4640 and its kind: of a pair in segments what was read is stored, the rest judged later."""
    fake.script.append(Does("hm"))
    fake.answer = lambda request: Does('{"reason": "r", "choice": "tie"}')
    _, result, _ = label("label.whole=false", "label.segment_s=0.25")
    first = stored(project)
    assert result["unjudged"] == "1" and first == 6
    _, result, _ = label("label.whole=false", "label.segment_s=0.25")
    assert "unjudged" not in result and len(fake.requests) == 1
    with Store(project) as store:
        assert len(store.preferences()) == 6 and not any(row.unjudged for row in store.preferences())


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (Does(body="<html><body>Sign in</body></html>"), "the answer is a web page"),
        (Does(status=400, body='{"error": "At most 1 image(s) may be provided"}'), "At most 1 image"),
    ],
    ids=["page", "400"],
)
def test_what_cannot_pass_is_sent_once(does: Does, words: str, fake: FakeEndpoint, label: Label) -> None:
    """vllm#50938 and its kind: a sign-in page was asked for six times."""
    fake.answer = lambda request: does
    code, _, err = label()
    assert code == 2 and words in err
    assert len(set(map(json.dumps, fake.requests))) == len(fake.requests) <= 2  # the second was on its way


def test_an_address_without_a_scheme_is_not_waited_for(fake: FakeEndpoint, label: Label) -> None:
    """langchain's users: `127.0.0.1:8766/v1` was tried six times and again "later"; `http://[::1/v1` a traceback."""
    for url in ("127.0.0.1:8766/v1", "http://[::1/v1"):
        code, _, err = label(f"endpoint.url={url}")
        assert code == 2 and "is not an address" in err and "http://HOST:PORT/v1" in err and "later" not in err


@pytest.mark.parametrize("key", ["sk-secret\r\nX: y", "\u201csk-secret\u201d", "sk-\u00a0secret"])
def test_a_key_that_no_header_can_carry_is_not_sent_or_shown(
    key: str, fake: FakeEndpoint, project: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """langchain's users: a key with a line end was printed whole and tried six times; quotes gave a codec error."""
    monkeypatch.setenv("JUDGE_KEY", key)
    given = (f"endpoint.url={fake.url}", "endpoint.model=m", "endpoint.key_env=JUDGE_KEY", "label.whole=true")
    code, out, err = rushes("label", project, "--by", "vlm", *(word for each in given for word in ("--set", each)))
    assert (code, out, fake.requests) == (2, "", []) and "secret" not in err
    assert "endpoint.key_env: the key in JUDGE_KEY has a line end, a typographic quote or another character" in err


def test_slow_cut_and_busy_servers_are_waited_for_in_words(
    fake: FakeEndpoint, label: Label, caplog: pytest.LogCaptureFixture
) -> None:
    """vllm's users: `stamina.retry_scheduled` on the terminal while it waits."""
    busy = Does(status=429, headers={"retry-after": "0"}, body="busy")
    fake.script.extend([busy, Does(cut=True), Does(delay_s=0.4), Does(status=503, headers={"retry-after": "0"})])
    fake.answer = lambda request: Does(FIRST)
    with stamina.set_testing(True, attempts=6, cap=True):  # without waits
        code, result, err = label("endpoint.timeout_s=0.2")
    assert code == 0 and result["answered"] == "12", err
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4 and all("; asked again in " in line for line in said)
    assert said[0] == "status 429 (busy); asked again in 0 s" and "no answer within 0.2 s" in said[2]


def test_a_curation_in_which_nothing_was_read_does_not_ask_for_footage(
    fake: FakeEndpoint, project: Path, rushes: Rushes
) -> None:
    """gbrain#4640 and its kind. Was: "lower the thresholds in [curate], or add footage", and 0 requests afterwards."""
    table = ("write=never", "check=true")
    texts = (f"endpoint.url={fake.url}", "endpoint.model=m", 'curate.stages=["captions"]', "endpoint.parallel=1")
    given = [part for text in (*texts, *(f"curate.captions.{t}" for t in table)) for part in ("--set", text)]
    fake.answer = lambda request: Does('<think>x</think>{"yes": true}')
    code, _, err = rushes("curate", project, *given)
    assert code == 2 and "no clip of 8 could be judged; the first: m gave JSON in another form" in err
    fake.requests.clear()
    fake.answer = lambda request: Does('{"reason": "seen", "true": "yes"}')
    code, _, err = rushes("curate", project, *given)
    assert code == 0 and len(fake.requests) == 8, err


def test_score_lines_that_do_not_fit_are_refused(project: Path, rushes: Rushes) -> None:
    """UnifiedReward#82, UnifiedReward#49. Was: a dimension that lacks was summed as 0, the last line of a take won.

    Each line costs one clip where that is asked for, and the first line is no measure of the others.
    """
    with Store(project) as store:
        media = [take.media for take in store.candidates()]
    rows: list[dict[str, object]] = [
        {"media": name, "scores": {"VQ": 1.0 * k, "MQ": 0.0}} for k, name in enumerate(media)
    ]
    bad = [{**rows[0], "scores": {"VQ": 3.0}}, *rows[1:], {**rows[2], "scores": {"VQ": 99.0, "MQ": 0.0}}]
    folder = project / "reward"
    folder.mkdir()
    (folder / "scores.jsonl").write_text("\n".join(map(json.dumps, bad)) + "\n{")
    command = ("label", project, "--by", "reward", "--set", f"label.reward={folder}", "--set", "label.whole=true")
    code, out, err = rushes(*command)
    assert code == 2 and not out and stored(project) == 0
    last = len(media) + 1
    for words in (
        "line 1: its scores are VQ, but most lines have MQ, VQ; give every clip the same scores, with or without MQ",
        f"line 3: {media[2]} has other scores on line {last}",
        f"line {last}: {media[2]} already has scores on line 3",
        f"line {last + 1}: ",
        "footage.on_refused = skip",
    ):
        assert words in err, (words, err)
    code, out, err = rushes(*command, "--set", "footage.on_refused=skip", "--json")
    result = json.loads(out)
    assert (code, result["refused"], result["unjudged"], result["right"]) == (0, 4, 2, result["pairs"] - 2), err
    assert err.count("left out: ") == 4 and result["strange"] is None


def test_scores_of_clips_that_the_project_lacks_are_counted(project: Path, rushes: Rushes) -> None:
    """UnifiedReward#82 and its kind. Was: lines of another project's clips were passed over, and nobody was told."""
    with Store(project) as store:
        media = [take.media for take in store.candidates()]
    folder = project / "reward"
    folder.mkdir()
    others = ("f" * 64, "e" * 64)
    rows = ({"media": name, "scores": {"VQ": 1.0 * k}} for k, name in enumerate((*media, *others)))
    (folder / "scores.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ("label", project, "--by", "reward", "--set", f"label.reward={folder}", "--set", "label.whole=true")
    code, out, err = rushes(*command, "--json")
    assert (code, json.loads(out)["strange"]) == (0, 2), err
    assert f"scores of clips that the project does not have: 2 ({others[1]}, {others[0]})" in err
    assert json.loads(rushes(*command, "--set", "label.form=scores", "--json")[1])["strange"] == 2


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ('{"VQ": 1, "VQ": -1}', "not JSON: the key 'VQ' appears twice in one object; keep one"),
        ('{"VQ": true}', "scores.VQ: Input should be a valid number"),
        ('{"Overall": 1, "overall": -1}', "two of its scores, Overall, overall, differ only in upper and lower case"),
    ],
    ids=["twice", "truth", "capitals"],
)
def test_a_score_that_has_two_values_is_none(scores: str, words: str, project: Path, rushes: Rushes) -> None:
    """UnifiedReward#49 and its kind: of a name that stands twice the last value was taken, and true was 1."""
    with Store(project) as store:
        media = [take.media for take in store.candidates()]
    folder = project / "reward"
    folder.mkdir()
    (folder / "scores.jsonl").write_text("\n".join(f'{{"media": "{name}", "scores": {scores}}}' for name in media))
    command = ("label", project, "--by", "reward", "--set", f"label.reward={folder}", "--set", "label.whole=true")
    code, out, err = rushes(*command)
    assert (code, out) == (2, "") and f"line 1: {words}" in err, err


@pytest.mark.parametrize(("model", "said"), [("some-other-7b", True), ("acme/M-2026-01-01", False), (None, False)])
def test_another_model_than_labels_are_signed_with_is_said(
    model: str | None, said: bool, fake: FakeEndpoint, label: Label, caplog: pytest.LogCaptureFixture
) -> None:
    """vllm's users: servers that take any model's name answer with the one that they have loaded. Was: no word."""
    message = {"message": {"content": FIRST}, "finish_reason": "stop"}
    body = json.dumps({"model": model, "choices": [message]})
    fake.answer = lambda request: Does(body=body)
    code, _, err = label("endpoint.model=m" + "-2026")
    assert code == 0, err
    words = [record.getMessage() for record in caplog.records if "check endpoint.model" in record.getMessage()]
    assert len(words) == said and all("some-other-7b answers there, not m-2026" in line for line in words)
