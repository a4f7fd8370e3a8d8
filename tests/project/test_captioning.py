"""Footage without captions, from the refusal to a set that has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.media.write import write_video
from rushes.project.captioning import words_of
from rushes.store.database import Store
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

from ..fake_endpoint import Does, FakeEndpoint, serve
from ..projects import Rushes

NAMES = ("Flipping_a-pancake_02", "IMG_0042", "aDogRuns")


@pytest.fixture
def project(tmp_path: Path, rushes: Rushes) -> Path:
    """A project of three videos without captions, one of them too short as well."""
    (tmp_path / "clips").mkdir()
    for seed, name in enumerate((*NAMES, "short")):
        frames = render(draw_scenes(seed, 1)[0]).repeat(2, 1).repeat(2, 2)
        write_video(tmp_path / "clips" / f"{name}.mp4", frames[: 4 if name == "short" else 17], 8.0)
    assert rushes("init", tmp_path / "p", "--footage", tmp_path / "clips")[0] == 0
    return tmp_path / "p"


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serve(FakeEndpoint()) as running:
        yield running


def captions(project: Path) -> dict[str, str]:
    with Store.open(project) as store:
        return {Path(clip.source).stem: clip.caption for clip in store.clips()}


def test_a_refusal_names_the_way_out_and_all_that_is_wrong(project: Path, rushes: Rushes) -> None:
    code, _, err = rushes("import", project)
    assert code == 2 and err.endswith(f"\nnext: rushes captions {project} --by names\n")
    assert err.count("rushes captions") == 1 and "aDogRuns.mp4: no caption\n" in err
    assert "short.mp4: no caption, and 0.50 s long, 4 frames at 8 fps" in err
    code, out, _ = rushes("preflight", project)
    assert code == 1 and "no caption, too short" in out and "no caption: no caption" not in out
    code, _, err = rushes("caption", project)
    assert code == 2 and "is now `rushes wrong-captions" in err and "rushes captions" in err


def test_file_names_become_captions_and_stay(project: Path, rushes: Rushes) -> None:
    skip = ("--set", "footage.on_refused=skip")
    code, out, err = rushes("captions", project, "--by", "names", *skip)
    assert code == 0, err
    assert "2 captions written now (names); 1 of 3 clips have none" in out and f"next: rushes review {project}" in out
    wanted = {"Flipping_a-pancake_02": "Flipping a pancake", "IMG_0042": "", "aDogRuns": "a Dog Runs"}
    assert captions(project) == wanted
    assert "0 captions written now" in rushes("captions", project, "--by", "names", *skip)[1]
    assert rushes("import", project, *skip)[0] == 0 and captions(project) == wanted
    assert "allow_empty_captions = true" in (project / "rushes.toml").read_text(encoding="utf-8")


def test_a_damaged_file_is_left_for_the_end(project: Path, rushes: Rushes) -> None:
    (project.parent / "clips" / "torn.mp4").write_bytes(b"no video")
    code, out, err = rushes("captions", project, "--by", "names")
    assert code == 1, err
    assert "2 captions written now (names); 1 of 3 clips have none" in out
    assert "nothing was imported" not in err and "clips/torn.mp4: cannot" in err and "clips/short.mp4: 0.50 s" in err
    assert f"next: rushes set {project} footage.on_refused=skip" in out
    assert captions(project)["aDogRuns"] == "a Dog Runs"
    assert rushes("import", project)[0] == 2  # the file still says that nothing is left out unasked


def test_a_model_writes_what_is_missing(project: Path, rushes: Rushes, fake: FakeEndpoint) -> None:
    text = "A ball of one colour moves over a plain ground, from one side to the other, and then it stops."
    fake.answer = lambda request: Does(json.dumps({"caption": text}))
    more = ("--set", "footage.on_refused=skip", "--set", f"endpoint.url={fake.url}", "--set", "endpoint.model=m")
    (project.parent / "clips" / "aDogRuns.txt").write_text("a dog", encoding="utf-8")
    code, out, err = rushes("captions", project, "--by", "vlm", *more)
    assert code == 0, err
    assert "2 captions written now (vlm); every clip has one" in out
    assert out.splitlines()[-1] == rushes("status", project)[1].splitlines()[-1] == f"next: rushes generate {project}"
    texts = captions(project)
    assert texts.pop("aDogRuns") == "a dog" and all(text.startswith("A ball of one") for text in texts.values())


def test_what_does_not_go_together_is_refused(tmp_path: Path, rushes: Rushes) -> None:
    assert rushes("init", tmp_path / "p")[0] == 0
    code, _, err = rushes("captions", tmp_path / "p", "--by", "names")
    assert code == 2 and "whose scenes have captions" in err
    code, _, err = rushes("captions", tmp_path / "p", "--by", "names", "--port", 1)
    assert code == 2 and "--port: only for --by human" in err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("clips/Flipping_a-pancake_02.mp4", "Flipping a pancake"),
        ("aDogRuns.mp4", "a Dog Runs"),
        ("DSC00123.mov", ""),
        ("video (7).mp4", ""),
        ("20240101_120000.mp4", ""),
        ("x.mp4", ""),
    ],
)
def test_words_of_a_file_name(source: str, words: str) -> None:
    assert words_of(source) == words
