"""Options that a command would ignore are refused; the table names every command of the registry."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from rushes.cli.command_groups import app

from ..projects import Rushes

# Of each command with several modes: what is typed, and what is named as unused. P is a project, F a settings file.
UNUSED = {
    "bench curation": [("--rows 9 --clips 7", "--clips"), ("--rows 9 --footage P", "--footage")],
    "campaign": [
        ("P --people ada --plan --port 1 --host ::1", "--port, --host"),
        ("P --people ada --json", "--json"),
    ],
    "captions": [("P --by names --port 1", "--port")],
    "compare": [("T --set project.seed=1", "--set")],
    "curate": [("P --recipe sft", "--recipe"), ("P --footage P --recipe sft", "--recipe")],
    "evaluate": [
        ("P --headline jerk --judge vlm --out o --seed 3", "--out, --headline, --seed, --judge"),
        ("P --prompts x --first-frames y", "--prompts, --first-frames"),
        ("P --write-vbench x --write-videophy y", "--write-vbench, --write-videophy"),
        ("P --read-vbench A=x --read-videophy A=x,y --videophy-threshold 1", "--read-vbench, --read-videophy, --vid"),
        ("--systems A=P B=P --out o --run x --gpus 2", "--run, --gpus"),
        ("--systems A=P B=P --write-vbench o --headline x --set a=1", "--headline, --set"),
        ("--systems A=P B=P --out o --videophy-threshold 1", "--videophy-threshold"),
    ],
    "export": [("P --out o --weights comfyui", "--weights")],
    "import": [("P --rows P --add", "--add"), ("P --scores F --add", "--add"), ("P --rows P --scores F", "--rows")],
    "init": [
        ("new --size 8x8", "--size"),
        ("new --frames 5", "--frames"),
        ("new --gpu h100", "--gpu"),
        ("new --prompts F --columns a=b --answers 0=left", "--prompts, --columns, --answers"),
    ],
    "judges": [("P --by metric", "--by")],
    "label": [
        ("P --by world --port 1 --host 0.0.0.0 --annotators ada", "--port, --host, --annotators"),
        ("P --by world --probes", "--probes"),
        ("P --by world --behind-proxy --forget ada", "--behind-proxy, --forget"),
        ("P --by human --forget ada --port 1", "--port"),
        ("P --by human --pairs-each 9", "--pairs-each"),
        ("P --by world --open-link", "--open-link"),
        ("P --by human --gpus 2 --json", "--gpus, --json"),
        ("P --by human --engine ray", "--engine"),
    ],
    "plan": [("P --table o --model x --gpus 2", "PROJECT, --model, --gpus")],
    "sample-size": [("--difference 1 --sd 1 --ties 0.2", "--ties"), ("--difference 1", "--sd")],
    "review": [("P --progress --port 1 --host ::1", "--port, --host")],
    "run": [("P --out o", "--out"), ("P --old-takes", "--old-takes")],
    "studio": [("P --forget ada --port 1 --annotators bob", "--port, --annotators")],
    "vote": [("P --standing --port 1 --annotators ada", "--port, --annotators")],
    "verify": [("P --seed 3", "--seed"), ("P --all --again 0.5", "--again"), ("P --set project.seed=1", "--set")],
}
# Whatever is given is used: all of their options mean something together.
ONE_MODE = {
    "backup", "bench generate", "bench metrics", "bench step", "bench world", "cache check-folder", "cache explain",
    "cache reference", "card", "check-shortcuts", "clean", "demo", "doctor", "encode", "footage export", "generate",
    "health", "labels clips", "labels export", "labels import", "models", "preflight", "prompts add", "recipes",
    "report", "reproduce", "set", "settings", "space", "status", "stop", "train", "trust", "tune beta", "tune eta",
    "wrong-captions",
}  # fmt: skip


def commands(group: App, before: tuple[str, ...] = ()) -> Iterator[str]:
    """Names of all commands, with those of the groups that they are in."""
    for name in (name for name in group if not name.startswith("-")):
        if group[name].default_command is None:
            yield from commands(group[name], (*before, name))
        else:
            yield " ".join((*before, name))


def test_every_command_is_in_the_table_once() -> None:
    names = list(commands(app))
    assert sorted(names) == sorted([*UNUSED, *ONE_MODE]) and not UNUSED.keys() & ONE_MODE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options")


@pytest.mark.parametrize(("command", "typed", "named"), [(c, *row) for c, rows in UNUSED.items() for row in rows])
def test_what_would_do_nothing_is_refused(command: str, typed: str, named: str, place: Path, rushes: Rushes) -> None:
    project, table = place / "p", place / "table.json"
    if not project.exists():
        assert rushes("init", project)[0] == 0
        means = '{"A": {"mean": 1.0}, "B": {"mean": 1.0}}'
        table.write_text(f'{{"systems": ["A", "B"], "metrics": {{"x": {means}}}, "pairs": {{}}}}', encoding="utf-8")
    paths = {"P": project, "F": project / "rushes.toml", "T": table, "new": place / "new", "o": place / "o"}
    words = [str(paths.get(word, word)) for word in shlex.split(typed)]
    words = [word.replace("=P", f"={project}") for word in words]
    code, out, err = rushes(*command.split(), *words)
    assert (code, out) == (2, "") and named in err and err.count("\n") == 1, err
    assert not (place / "o").exists() and not (place / "new").exists()


def test_a_kind_of_takes_that_the_mode_does_not_compare_is_refused(place: Path, rushes: Rushes) -> None:
    vanilla = ("init", place / "vanilla", "--recipe", "densedpo", "--set", "train.options.mode=vanilla")
    code, _, err = rushes(*vanilla)
    assert code == 2 and "generate.kind: recipe 'densedpo' in mode 'vanilla' does not use takes of kind 'guided'" in err
    assert rushes(*vanilla, "--set", "generate.kind=take")[0] == 0
    code, _, err = rushes("run", place / "vanilla", "--set", "generate.kind=guided")
    assert code == 2 and "set it to take" in err
