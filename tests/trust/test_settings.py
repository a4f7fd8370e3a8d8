"""A settings file is data: it chooses no code, sends nothing to a host and no key, before this user allowed that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import httpx
import pytest
from pydantic import BaseModel, Field

from rushes.config.base import FOLDER, SettingsTable
from rushes.config.settings_files import SettingsError, load_settings, mapping_to_toml
from rushes.config.tables import Settings
from rushes.project.held_settings import begin_project
from rushes.project.presets import preset
from rushes.project.settings import read_settings
from rushes.training.recipe import load_recipe, recipe_names
from rushes.trust import ADDRESS, KEY, MODULE, host_of, is_loopback

from ..fake_endpoint import Does, FakeEndpoint, serve
from ..projects import Rushes
from .conftest import change

# Settings that are free texts and lead nowhere: to no code, file, host or variable. One that does gets a mark of
# `rushes.config.base` in place of a line here.
WORDS = {
    *("project.name", "backbone.attention", "curate.licence", "curate.diversity.order", "curate.balance.order"),
    *("curate.balance.topics", "curate.balance.wanted"),
    *("footage.video_column", "footage.caption_column", "footage.scenario_column", "footage.scenes"),
    *("footage.columns", "footage.answers"),  # of tables of pairs
    *(
        "generate.negative_prompt",
        "label.metric",
        "label.dimensions",
        "label.gold_by",
        "label.proposal",
        "label.reasons",
    ),
    *("train.init_from", "train.name", "train.trainable"),  # the name of a run is a part of a path, which is tested
    "train.options",  # of the recipe, see below
    *("endpoint.model", *(f"curate.{table}.model" for table in ("text", "reality.second", "embeddings.endpoint"))),
}
OPTIONS = {
    "physhpo.likeness",
    "densedpo.judge",
    "dpo.dimension",
    "dpo.judge",
    "densedpo.dimension",
    "huvidpo.metric",
}  # names of metrics and of judges


def texts(table: type[BaseModel], where: str = "") -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Path and marks of every setting that may hold a text, in tables of tables too."""
    for name, field in table.model_fields.items():
        kind, path = field.annotation, f"{where}{name}"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from texts(kind, f"{path}.")
        elif holds_text(kind):
            yield path, tuple(field.metadata)


def holds_text(kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return False
    return kind in (str, Any, Path) or any(holds_text(inner) for inner in get_args(kind))


def marked(mark: str) -> list[str]:
    return [path for path, marks in texts(Settings) if mark in marks]


def test_every_setting_with_a_text_is_marked_or_listed_as_a_word() -> None:
    marks = {MODULE, ADDRESS, KEY, FOLDER}
    unmarked = {path for path, given in texts(Settings) if not marks & set(given)}
    assert unmarked == WORDS, "give the setting a mark of rushes.config.base, or list it here as a word"
    options = {f"{name}.{path}": given for name in recipe_names() for path, given in texts(load_recipe(name).Options)}
    assert {path for path, given in options.items() if not marks & set(given)} == OPTIONS
    assert not [path for path, given in options.items() if {MODULE, ADDRESS, KEY} & set(given)], "not checked there"


def test_the_walk_finds_texts_wherever_they_stand() -> None:
    class Inner(SettingsTable):
        words: tuple[str, ...] = ()

    class Outer(SettingsTable):
        inner: Inner = Inner()
        many: dict[str, list[str]] = Field(default_factory=dict)
        choice: Literal["a", "b"] = "a"
        number: int = 3

    assert [path for path, _ in texts(Outer)] == ["inner.words", "many"]


VALUES = {MODULE: "stranger.recipe", ADDRESS: "http://models.example.com/v1", KEY: "MY_SECRET"}


@pytest.mark.parametrize("mark", VALUES)
def test_each_marked_setting_is_refused_in_a_file_and_taken_from_the_command_line(
    mark: str, tmp_path: Path, nobody: Path
) -> None:
    paths = marked(mark)
    assert paths
    file = tmp_path / "rushes.toml"
    for path in paths:
        table, _, name = path.rpartition(".")
        values = {name: VALUES[mark]} | ({"url": "http://127.0.0.1:1/v1"} if mark == KEY else {})
        file.write_text(nested(table, values))
        with pytest.raises(SettingsError) as caught:
            load_settings(file)
        assert f"{path}: " in str(caught.value) and "rushes trust " in str(caught.value)
        load_settings(file, [f"{path}={VALUES[mark]}"])
    assert not nobody.exists(), "what is typed for a command is kept nowhere"


def nested(table: str, values: dict[str, Any]) -> str:
    for part in reversed(table.split(".")):
        values = {part: values}
    return mapping_to_toml(values)


# Commands that load the model or the recipe, as checking settings does; and those that read what is stored.
LOADS = (
    *("import", "generate", "label", "train", "encode", "cache reference", "evaluate", "run", "curate", "preflight"),
    *("plan", "check-shortcuts", "tune eta", "tune beta", "wrong-captions", "space", "clean", "train --recipe sft"),
    "verify --all",
    "export --run realdpo --out OUT",
)
READS = ("report", "health", "verify", "review --progress", "export --out OUT", "footage export --out OUT")


def words(line: str, project: Path, out: Path) -> list[str | Path]:
    """A line of the lists above as the words of a command."""
    first, *rest = line.split()
    start: list[str | Path] = [first, *([rest.pop(0)] if first in ("footage", "tune", "cache") else []), project]
    return [*start, *(out if word == "OUT" else word for word in rest)]


def test_no_command_runs_code_that_a_settings_file_names(
    theirs: Path, code: Path, nobody: Path, rushes: Rushes, tmp_path: Path
) -> None:
    before = (theirs / "rushes.toml").read_text()
    for table, name in (("train", "recipe"), ("backbone", "name")):
        changes: dict[str, dict[str, Any]] = {"train": {"name": "realdpo"}}
        changes.setdefault(table, {})[name] = "stranger.recipe"
        change(theirs, **changes)
        for line in LOADS:
            status, out, err = rushes(*words(line, theirs, tmp_path / "out"))
            assert (status, out) == (2, ""), (line, err)
            assert f"{table}.{name}: runs code" in err and "`rushes trust module:stranger.recipe`" in err, line
            assert "RUSHES_TRUST" in err and not code.exists(), line
        for number, line in enumerate(READS):
            status, _, err = rushes(*words(line, theirs, tmp_path / f"{table}-{number}"))
            assert status == 0 and "rushes trust" not in err and not code.exists(), (line, err)
        status, _, err = rushes("run", theirs / "rushes.toml", "--out", tmp_path / "copy")
        assert status == 2 and "rushes trust" in err and not (tmp_path / "copy").exists()
        (theirs / "rushes.toml").write_text(before)
    assert not code.exists() and not nobody.exists()


def test_a_host_is_asked_about_where_something_would_be_sent_to_it(
    theirs: Path, nobody: Path, rushes: Rushes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a project that was labelled by a server goes on where no word for the server is kept."""
    monkeypatch.setenv("MY_SECRET", "s3cr3t")
    with serve(FakeEndpoint()) as fake:
        there = fake.url.removeprefix("http://").removesuffix("/v1").replace("127.0.0.1", "0.0.0.0")
        asks: dict[str, Any] = {"model": "m", "url": f"http://{there}/v1", "key_env": "MY_SECRET"}
        change(theirs, endpoint=asks, label={"by": "vlm"}, caption={"by": "model"})
        for line in ("label", "run", "tune eta", "judges --static 2", "wrong-captions", "curate"):
            status, out, err = rushes(*words(line, theirs, tmp_path / "out"))
            assert (status, out) == (2, "") and f"`rushes trust host:{there}`" in err, (line, err)
            assert f"`rushes trust key:MY_SECRET@{there}`" in err, line
        others = ("preflight", "plan", "judges")  # for other models, footage and labels than this project's
        for number, line in enumerate((*READS, "space", "clean", "train", *others)):
            status, _, err = rushes(*words(line, theirs, tmp_path / str(number)))
            assert "rushes trust" not in err and (status == 0 or line in others), (line, err)

        change(theirs, endpoint=asks, label={"by": "none"}, caption={"by": "none"})
        for line in (
            "label --by vlm",
            "tune eta --set label.by=vlm",
            "judges --static 2 --by vlm",
            "wrong-captions --by model",
        ):
            status, out, err = rushes(*words(line, theirs, tmp_path / "out"))
            assert (status, out) == (2, "") and f"`rushes trust host:{there}`" in err, (line, err)
        status, _, err = rushes("run", theirs / "rushes.toml", "--out", tmp_path / "copy")
        assert status == 2 and "rushes trust" in err, "its settings become a file that this user wrote"
        assert not (tmp_path / "copy").exists() and not nobody.exists() and not fake.requests


FEW = ("--set", "footage.clips=2", "--set", "footage.eval_prompts=1")


def test_what_the_user_types_runs_and_init_remembers_it(
    tmp_path: Path, code: Path, nobody: Path, rushes: Rushes
) -> None:
    typed, mine = tmp_path / "typed", tmp_path / "mine"
    assert rushes("init", typed, "--recipe", "sft", *FEW)[0] == 0
    assert not nobody.exists()
    assert rushes("import", typed, "--set", "train.recipe=stranger.recipe")[0] == 0
    assert code.exists() and not nobody.exists()
    assert rushes("init", mine, "--recipe", "stranger.recipe", *FEW)[0] == 0
    assert (nobody / "rushes" / "trusted").read_text() == "module:stranger.recipe\n"
    assert rushes("import", mine)[0] == 0


def test_three_ways_to_allow_a_name(
    tmp_path: Path, code: Path, nobody: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    rushes("init", project, "--recipe", "sft", *FEW)
    change(project, train={"recipe": "stranger.recipe"})
    command = ("import", project)
    assert rushes(*command)[0] == 2

    monkeypatch.setenv("RUSHES_TRUST", "host:a.example module:stranger.recipe")
    assert rushes(*command)[0] == 0
    monkeypatch.delenv("RUSHES_TRUST")
    assert rushes(*command)[0] == 2

    offered = tmp_path / "library" / "stranger-1.dist-info"
    offered.mkdir()
    (offered / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1\n")
    (offered / "entry_points.txt").write_text("[rushes]\nmine = stranger.recipe\n")
    assert rushes(*command)[0] == 0
    (offered / "entry_points.txt").unlink()
    assert rushes(*command)[0] == 2

    status, out, _ = rushes("trust", "module:stranger.recipe", "host:b.example:8000", "--json")
    file = nobody / "rushes" / "trusted"
    assert status == 0
    assert json.loads(out) == {"file": str(file), "allowed": ["host:b.example:8000", "module:stranger.recipe"]}
    assert rushes(*command)[0] == 0
    file.write_text("host:b.example:8000\n")
    assert rushes(*command)[0] == 2


def test_words_of_the_environment_hold_where_there_is_no_home(
    tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    url, word = "endpoint.url=http://models.example.com/v1", "host:models.example.com:80"
    init = ("init", tmp_path / "p", "--recipe", "sft", "--set", url, *FEW)
    status, out, err = rushes(*init)
    assert (status, out) == (2, "") and "no home folder" in err and f"set RUSHES_TRUST to '{word}'" in err
    assert not (tmp_path / "p" / "rushes.toml").exists()
    assert json.loads(rushes("trust", "--json")[1]) == {"file": None, "allowed": []}
    monkeypatch.setenv("RUSHES_TRUST", word)
    assert rushes(*init)[0] == 0 and rushes("import", tmp_path / "p")[0] == 0


def test_a_folder_that_cannot_be_written_keeps_no_word_and_says_the_other_way(
    tmp_path: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("a file, so that no folder can be made: a superuser may write everywhere else")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    status, _, err = rushes("trust", "host:a.example")
    assert status == 2 and str(tmp_path / "config" / "rushes" / "trusted") in err
    assert "set RUSHES_TRUST to 'host:a.example'" in err


@pytest.mark.parametrize("word", ["stranger.recipe", "module:stranger", "host:http://a/v1", "key:K", "host:", "path:x"])
def test_a_word_that_allows_nothing_is_refused(word: str, nobody: Path, rushes: Rushes) -> None:
    status, out, err = rushes("trust", word)
    assert (status, out) == (2, "") and "host:HOST" in err and not nobody.exists()


def test_a_strangers_file_sends_neither_frames_nor_keys(
    theirs: Path, nobody: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "s3cr3t")
    with serve(FakeEndpoint()) as fake:
        here = fake.url.removeprefix("http://").removesuffix("/v1")
        there = here.replace("127.0.0.1", "0.0.0.0")  # the same server, by an address that is not loopback's
        asks: dict[str, Any] = {"model": "m", "url": f"http://{there}/v1", "key_env": "MY_SECRET"}
        change(theirs, endpoint=asks, label={"by": "vlm"})
        host, key = f"host:{there}", f"key:MY_SECRET@{there}"
        for allowed in ((), (host,), (key,), (host, f"key:OTHER@{there}"), (host, f"key:MY_SECRET@{here}")):
            monkeypatch.setenv("RUSHES_TRUST", " ".join(allowed))
            for command in ("label", "run"):
                status, out, err = rushes(command, theirs)
                assert (status, out) == (2, ""), err
                assert host in allowed or (
                    f"captions and frames of clips to {there}" in err and f"`rushes trust {host}`" in err
                )
                assert key in allowed or f"`rushes trust {key}`" in err
        assert not fake.requests

        monkeypatch.setenv("RUSHES_TRUST", f"{host} {key}")
        change(theirs, endpoint={**asks, "url": fake.url})  # this machine's own server gets no key either
        status, _, err = rushes("label", theirs)
        assert status == 2 and f"`rushes trust key:MY_SECRET@{here}`" in err and not fake.requests


def test_what_goes_where_is_said_before_the_first_request(
    theirs: Path, nobody: Path, rushes: Rushes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_SECRET", "s3cr3t")
    with serve(FakeEndpoint()) as fake:
        there = fake.url.removeprefix("http://").removesuffix("/v1").replace("127.0.0.1", "0.0.0.0")
        change(theirs, endpoint={"model": "m", "url": f"http://{there}/v1", "key_env": "MY_SECRET", "attempts": 1})
        monkeypatch.setenv("RUSHES_TRUST", f"host:{there} key:MY_SECRET@{there}")
        fake.answer = lambda request: Does(status=401)
        status, _, err = rushes("label", theirs, "--by", "vlm")
        assert status == 2 and "status 401" in err
        assert fake.requests and "s3cr3t" not in err + caplog.text
        lines = [record.message for record in caplog.records if there in record.message]
        assert lines == [f"captions and frames of clips go to {there} (m), with the key in MY_SECRET"]


@pytest.mark.parametrize(
    ("url", "host", "here"),
    [
        ("https://api.example.com/v1", "api.example.com", False),
        ("https://api.example.com:443/v1", "api.example.com", False),
        ("http://api.example.com/v1", "api.example.com:80", False),
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000", True),
        ("http://LOCALHOST:8000/v1", "localhost:8000", True),
        ("http://[::1]:8000/v1", "[::1]:8000", True),
        ("http://127.0.0.1@evil.example/v1", "evil.example:80", False),
        ("http://127.0.0.1.evil.example/v1", "127.0.0.1.evil.example:80", False),
        ("http://evil.example#@127.0.0.1/v1", "evil.example:80", False),
        ("http://evil.example\\@127.0.0.1/v1", "127.0.0.1:80", True),
        ("http://0.0.0.0:8000/v1", "0.0.0.0:8000", False),
        ("localhost:8000/v1", "", False),
    ],
)
def test_the_host_of_an_address_is_the_one_that_is_asked(url: str, host: str, here: bool) -> None:
    assert host_of(url) == host
    assert is_loopback(host) == here
    if host:
        assert httpx.Request("GET", url).headers["host"] in (host, host.removesuffix(":80"))


def test_settings_in_a_models_folder_are_a_file_too(tmp_path: Path, code: Path, nobody: Path, rushes: Rushes) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    (model / "rushes.toml").write_text('[train]\nrecipe = "stranger.recipe"\n')
    (tmp_path / "a.mp4").touch()
    status, out, err = rushes("init", tmp_path / "p", "--model", model, "--footage", tmp_path)
    assert (status, out) == (2, ""), err
    assert not code.exists() and not (tmp_path / "p").exists()


def test_settings_that_are_held_beside_a_file_run_no_code_either(
    code: Path, nobody: Path, rushes: Rushes, tmp_path: Path
) -> None:
    theirs, mine = begin_project(tmp_path / "theirs", preset("sft")).parent, tmp_path / "mine"
    for name in ("rushes.toml", "defaults.json"):
        (theirs / name).write_text((theirs / name).read_text().replace('"sft"', '"stranger.recipe"'))
    for words in (("set", theirs, "train.steps=3"), ("set", theirs, "--upgrade"), ("train", theirs)):
        status, out, err = rushes(*words)
        assert (status, out) == (2, "") and "`rushes trust module:stranger.recipe`" in err, err
    assert rushes("settings", theirs)[0] == 0 and not code.exists()
    begin_project(mine, preset("sft"))
    assert rushes("set", mine, "train.recipe=stranger.recipe")[0] == 0 and code.exists()  # as it was typed
    assert read_settings(mine).train.recipe == "stranger.recipe"
