"""What README.md and docs/ show: each ```sh block after `<!-- run -->` runs in a folder of its own, and with --all each
after `<!-- run: --all -->`.

Commands are forked and not started, but for one block which starts `rushes` as a person does, and take fewer steps of
sampling than the model's own. The ```python blocks of a page run one after the other, as in one session.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cyclopts import App

from rushes.cli.command_groups import FORMER, app
from rushes.lab.claims.hypotheses import CLAIMS
from rushes.media.write import encode_bytes
from rushes.project.presets import FOOTAGE_FRAMES
from rushes.training.recipe import recipe_names
from rushes.world.mechanics import FPS
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from .backbones.tiny_pipelines import write as write_pipeline
from .forked import rushes_in_bash

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
TOP = ("CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
EXAMPLES = ("docs/recipes/x.md", "tests/recipes/test_NAME.py")  # files that a contributor writes
MARK, MARK_ALL = "<!-- run -->", "<!-- run: --all -->"
BLOCK, BLOCK_ALL, PYTHON = (
    re.compile(re.escape(mark) + rf"\s*\n```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    for mark, language in ((MARK, "sh"), (MARK_ALL, "sh"), (MARK, "python"))
)


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def blocks() -> list[object]:
    return [
        pytest.param(match[1], id=f"{page.name}-{'all-' * bool(marks)}{number}", marks=marks)
        for page in PAGES
        for blocks, marks in ((BLOCK, ()), (BLOCK_ALL, pytest.mark.whole))
        for number, match in enumerate(blocks.finditer(page.read_text(encoding="utf-8")), start=1)
    ]


WAN = "models/Wan2.1-T2V-1.3B-Diffusers"
STARTED = "rushes --help"
SAMPLING = re.compile("^rushes (?:run|generate|cache reference|train|evaluate) [a-z][a-z-]*", re.MULTILINE)
FEW_STEPS = r"\g<0> --set generate.steps=2 --set evaluate.steps=2"
SMALL_RUN = " --set train.steps=2 --set train.batch=2 --set train.shortcut_probe=0 --set evaluate.prompts=1"
# What a random model of the same class brings in its folder: what it takes on two cores.
SMALLER = """
[backbone]
height_px = 32
width_px = 48
frames = 9
[generate]
steps = 3
[train]
steps = 3
warmup_steps = 0
"""


def furnish(folder: Path) -> None:
    """What a person would have at hand: a model, and clips with captions."""
    write_pipeline("wan_unipc", folder / WAN)
    (folder / WAN / "rushes.toml").write_text(SMALLER)
    (folder / "footage").mkdir()
    t, y, x = np.meshgrid(np.arange(40), np.arange(48), np.arange(64), indexing="ij")
    for k in range(6):
        waves = np.sin((k + 1) * (0.1 * x + 0.05 * y + 0.3 * t)[..., None] + np.arange(3))
        clip = ((waves + 1) * 127.5).astype(np.uint8)
        (folder / "footage" / f"{k}.mp4").write_bytes(encode_bytes(clip, 16.0))
        (folder / "footage" / f"{k}.txt").write_text(f"{k + 1} waves roll by")


def furnish_pairs(folder: Path) -> None:
    """Six pairs as long as a project of pairs has them on the tiny backbone."""
    noise, clips = np.random.default_rng(0), [render(scene)[:FOOTAGE_FRAMES] for scene in draw_scenes(0, 6)]
    for side, spread in (("chosen", 0), ("rejected", 40)):
        (folder / side).mkdir()
        for k, clip in enumerate(clips):
            frames = np.clip(clip + spread * noise.normal(size=clip.shape), 0, 255).astype(np.uint8)
            (folder / side / f"{k}.mp4").write_bytes(encode_bytes(frames, FPS))
    (folder / "prompts.txt").write_text("".join(f"ball {k} falls\n" for k in range(6)))
    held = {
        column: [{"bytes": (folder / side / f"{k}.mp4").read_bytes(), "path": ""} for k in range(6)]
        for column, side in (("video_w", "chosen"), ("video_l", "rejected"))
    }
    table = pa.table({"prompt": [f"ball {k} falls" for k in range(6)], **held})
    (folder / "my-dataset" / "data").mkdir(parents=True)
    pq.write_table(table, folder / "my-dataset" / "data" / "train-00000-of-00001.parquet")
    votes = (f"ball {k} falls,chosen/{k}.mp4,rejected/{k}.mp4,{('first', 'second')[k % 2]}" for k in range(6))
    (folder / "votes.csv").write_text("\n".join(["prompt,ours,theirs,people", *votes]))


def commands_of(app: App, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every command that there is, as its words; those of a group after the group's own."""
    found = set()
    for name in app:
        if not name.startswith("-"):
            inner = commands_of(app[name], (*before, name))
            found |= inner or {(*before, name)}
    return found


NAMED = re.compile(r"(?:`|^|\| )rushes ([a-z][a-z-]*)(?: ([a-z][a-z-]*)(?![\w./-]))?", re.MULTILINE)


@pytest.mark.parametrize(
    "page", [*PAGES, REPOSITORY / "CHANGELOG.md", REPOSITORY / "LOG.md"], ids=lambda page: page.name
)
def test_every_command_that_is_named_exists(page: Path) -> None:
    commands = commands_of(app) | ({(old,) for old in FORMER} if page.name in ("LOG.md", "commands.md") else set())
    groups = {words[0] for words in commands if len(words) == 2}
    for first, second in NAMED.findall(page.read_text(encoding="utf-8")):
        if first in groups and second:
            assert (first, second) in commands, f"{page.name}: rushes {first} {second}"
        else:
            assert first in {words[0] for words in commands}, f"{page.name}: rushes {first}"


TYPED = re.compile(r"(?:^|`)rushes ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?([^`\n#|;&]*)", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)(--[a-z][a-z-]*)(?:[ =]([a-z0-9]+)(?!\S))?")


def values_of(kind: object) -> set[str]:
    """The texts that an option of this type takes; none where it takes any."""
    if get_origin(kind) is Literal:
        return {value for value in get_args(kind) if isinstance(value, str)}
    return set[str]().union(*map(values_of, get_args(kind)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_is_named_exists_and_takes_its_value(page: Path) -> None:
    groups = {words[0] for words in commands_of(app) if len(words) == 2}
    for first, second, rest in TYPED.findall(page.read_text(encoding="utf-8")):
        if first in FORMER or (first in groups and not second):
            continue
        command = app[first][second] if first in groups else app[first]
        options = {name: argument for argument in command.assemble_argument_collection() for name in argument.names}
        for option, value in OPTION.findall(rest):
            if option not in ("--help", "--version"):
                assert option in options, f"{page.name}: rushes {first} {second}: {option}"
                values = values_of(options[option].hint)
                assert not value or not values or value in values, f"{page.name}: rushes {first} {option} {value}"


@pytest.mark.slow
@pytest.mark.parametrize("commands", blocks())
def test_commands_of_the_documents_run(commands: str, tmp_path: Path) -> None:
    if "--footage footage" in commands:
        furnish(tmp_path)
    if "--pairs" in commands:
        furnish_pairs(tmp_path)
    if commands.startswith(STARTED):
        result = run(commands, tmp_path)
    else:
        few = FEW_STEPS + SMALL_RUN * ("--pairs" in commands)
        with rushes_in_bash() as forked:
            result = run(forked + (commands if WAN in commands else SAMPLING.sub(few, commands)), tmp_path)
    assert result.returncode == 0, f"{commands}\n{result.stdout}{result.stderr}"
    if "rushes export my-wan" in commands:
        check_adapter(tmp_path)


def check_adapter(folder: Path) -> None:
    """What the README says after those commands: diffusers' own pipeline loads the adapter, which then acts."""
    from diffusers import WanPipeline

    line = 'pipeline.load_lora_weights("export/realdpo")'
    assert line in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    pipeline = WanPipeline.from_pretrained(folder / WAN, local_files_only=True)
    asked = (torch.ones(1, 4, 3, 4, 6), torch.tensor([700.0]), torch.ones(1, 5, 16))
    with torch.no_grad():
        before = pipeline.transformer(*asked, return_dict=False)[0]
        exec(line.replace("export/", f"{folder}/export/"), {"pipeline": pipeline})
        assert not torch.equal(pipeline.transformer(*asked, return_dict=False)[0], before)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mark_is_followed_by_a_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) + len(PYTHON.findall(text)) == text.count(MARK)
    assert len(BLOCK_ALL.findall(text)) == text.count(MARK_ALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if PYTHON.search(page.read_text(encoding="utf-8"))], ids=lambda page: page.name
)
def test_python_of_the_documents_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, block in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")), start=1):
        exec(compile(block, f"{page.name}-{number}", "exec"), names)
    assert number >= 4


def test_failing_python_is_noticed() -> None:
    (block,) = PYTHON.findall(f"{MARK}\n\n```python\nassert 1 == 2\n```\n```python\npass\n```\n")
    with pytest.raises(AssertionError):
        exec(block)


def test_failing_commands_are_noticed(tmp_path: Path) -> None:
    (commands,) = BLOCK.findall(
        f"text\n\n{MARK}\n\n```sh\ntouch a\nfalse | true\ntouch b\n```\nmore\n```sh\ntouch c\n```\n"
    )
    assert run(commands, tmp_path).returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, *map(REPOSITORY.joinpath, TOP)], ids=lambda page: page.name)
def test_files_of_the_repository_that_a_page_names_are_there(page: Path) -> None:
    folders = "src|tests|scripts|docs|examples|benchmarks"
    names = re.findall(rf"[` ]((?:{folders})/(?:[\w-]+/)*(?:[\w-]+\.\w+)?)[` ]", page.read_text(encoding="utf-8"))
    assert [name for name in names if not (REPOSITORY / name).exists() and name not in EXAMPLES] == []


NAMED_IN_CODE = re.compile(r"`rushes ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")


def test_every_command_that_the_source_names_exists() -> None:
    """In messages, docstrings and pages of the studio."""
    commands = commands_of(app)
    single, groups = ({words[0] for words in commands if len(words) == n} for n in (1, 2))
    source = REPOSITORY / "src" / "rushes"
    for path in sorted([*source.rglob("*.py"), *source.rglob("*.js"), *source.rglob("*.html"), *source.rglob("*.md")]):
        for first, second in NAMED_IN_CODE.findall(path.read_text(encoding="utf-8")):
            assert first in single | groups, f"{path}: rushes {first}"
            assert first not in groups or not second or (first, second) in commands, f"{path}: rushes {first} {second}"


def test_the_site_has_every_page() -> None:
    listed = re.findall(r"[\w/-]+\.md", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2])
    top = {"index.md", "api.md", "LOG.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    pages = {str(page.relative_to(REPOSITORY / "docs")) for page in PAGES[1:]}
    assert sorted(listed) == sorted(pages | top)


def test_contributing_lists_the_rooms_that_there_are() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = page.split("\nsrc/rushes/\n")[1].split("\ntests/")[0]
    listed = re.findall(r"(\w+)/", " ".join(line[:34] for line in lines.splitlines()))
    rooms = {path.parent.name for path in (REPOSITORY / "src" / "rushes").glob("*/__init__.py")}
    assert sorted(listed) == sorted(rooms)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_a_placeholder(page: Path) -> None:
    if page.name == "models.md":  # written by a program, and names constants of trainers
        return
    prose = re.sub(r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*\)", "", page.read_text(encoding="utf-8"), flags=re.S)
    assert re.findall(r"\b[A-Z]{8,}\b|TODO|FIXME", prose) == []


@pytest.mark.parametrize("name", recipe_names())
def test_each_recipe_has_a_page_which_names_the_table_where_the_recipe_was_checked(name: str) -> None:
    page = (REPOSITORY / "docs" / "recipes" / f"{name}.md").read_text(encoding="utf-8")
    checked = any(arm.recipe == name for claim in CLAIMS.values() for arm in claim.arms)
    assert f"rushes init --recipe {name}` writes" in page and ("](../evidence/table.md)" in page) == checked
