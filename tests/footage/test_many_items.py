"""Much footage with one bad item of each kind: all that is good is in, and each bad one is said with its reason."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from rushes.config.tables import FootageSettings, LabelSettings
from rushes.store.database import Store

from ..projects import Rushes, SmallProject
from .reels import film

FRAMES, HEIGHT, WIDTH = 20, 16, 24


def raw_clip(path: Path, seed: int, frames: int = FRAMES) -> None:
    """A video without compression, quickly: a texture of its own that drifts, and no two alike."""
    texture = np.kron(np.random.default_rng(seed).integers(16, 235, (4, 6), np.uint8), np.ones((4, 4), np.uint8))
    grey = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("rawvideo", 8)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for at in range(frames):
            frame = VideoFrame.from_ndarray(np.concatenate([np.roll(texture, at, axis=1), grey]), "yuv420p")
            frame.pts = at
            container.mux(stream.encode(frame))


@dataclass
class Footage:
    """A folder, and what is wrong with what in it."""

    folder: Path
    good: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # what is said of the source -> words of the reason
    passed_over: int = 0

    def add(self, name: str, caption: bytes | None, seed: int = 0, frames: int = FRAMES) -> Path:
        path = self.folder / name
        raw_clip(path, seed, frames)
        if caption is not None:
            path.with_suffix(".txt").write_bytes(caption)
        return path

    def bad(self, name: str, content: bytes, words: str, caption: bytes = b"a dog") -> None:
        (self.folder / name).write_bytes(content)
        (self.folder / name).with_suffix(".txt").write_bytes(caption)
        self.refused[name] = words


def footage(folder: Path, count: int) -> Footage:
    items = Footage(folder, good=count)
    folder.mkdir()
    for number in range(count):
        items.add(f"{number}.avi", f"clip {number}".encode(), seed=number)
    whole = film(folder.parent / "whole.mp4").read_bytes()
    items.bad("torn.mp4", whole[: len(whole) // 2], "cut short")
    items.bad("damaged.mp4", whole[:1500] + bytes(400) + whole[1900:], "damaged|corrupt|decode|broken")
    items.bad("empty.mp4", b"", "0 bytes")
    items.bad("text.mp4", b"not a video " * 99, "cannot be opened as a video")
    items.bad("short.avi", b"", "frames at 8 fps")
    raw_clip(folder / "short.avi", 10**6, frames=5)
    items.bad("still.avi", b"", "single frame")
    raw_clip(folder / "still.avi", 10**6 + 1, frames=1)
    for number, (name, caption, words) in enumerate((
        ("escape.avi", b"a \x1b[2J dog", "control character U\\+001B"),
        ("zero.avi", b"a \x00 dog", "control character U\\+0000"),
        ("latin.avi", b"caf\xe9 noir", "not UTF-8"),
        ("long.avi", b"dog " * 5000, "shorten it"),
        ("blank.avi", "\u200b".encode(), "no caption"),
        ("bare.avi", None, "no caption"),
    )):  # fmt: skip
        items.add(name, caption, seed=10**6 + 2 + number)
        items.refused[name] = words
    items.add("twice.avi", b"clip 0", seed=0)  # a duplicate
    items.add("other words.avi", b"the first clip in other words", seed=0)
    raw_clip(folder.parent / "outside.avi", 10**6 + 20)
    (folder / "link.avi").symlink_to(folder.parent / "outside.avi")
    (folder / "dangling.avi").symlink_to(folder / "gone.avi")
    items.refused |= {"link.avi": "a link", "dangling.avi": "a link"}
    odd = os.fsencode(folder) + b"/caf\xe9.avi"
    with open(odd, "wb") as file:
        file.write((folder / "1.avi").read_bytes())
    items.refused["caf\\xe9.avi"] = "not Unicode"
    (folder / "orphan.txt").write_text("whose is it")
    (folder / "notes.pdf").write_bytes(b"%PDF")
    (folder / ".DS_Store").write_bytes(b"\0")
    items.passed_over = 2
    return items


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=[pytest.mark.whole, pytest.mark.timeout(3600)])])
def test_each_bad_item_costs_itself_alone(
    count: int,
    tmp_path: Path,
    small: SmallProject,
    rushes: Rushes,
    record_property: Callable[[str, object], None],
) -> None:
    items = footage(tmp_path / "films", count)
    table = FootageSettings(kind="folder", path=str(items.folder), on_refused="skip", eval_fraction=0.1)
    project = small.new_project(
        tmp_path / "project", small.settings.model_copy(update={"footage": table, "label": LabelSettings(by="human")})
    )
    before, began_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    code, out, err = rushes("import", project, "--json")
    assert code == 0, err
    seconds = time.monotonic() - began_s
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    record_property("seconds", round(seconds, 1))
    record_property("grown_mib", round(grown_mib))
    result = json.loads(out)
    assert result["clips"] == items.good and result["refused"] == len(items.refused)
    assert result["duplicates"] == 1 and result["alternatives"] == 1
    assert result["passed_over"] == items.passed_over
    assert round(0.1 * count) - 1 <= result["held_out"] <= round(0.1 * count)
    with Store.open(project) as store:
        assert {clip.caption for clip in store.clips()} == {f"clip {number}" for number in range(count)}
    lines = err.split("\n")
    for name, words in items.refused.items():
        (line,) = [line for line in lines if line.startswith("left out: ") and f"/{name}: " in line]
        assert any(word.replace("\\", "") in line for word in words.split("|")), line
    assert all(line.isprintable() for line in lines)
    assert grown_mib < 500, f"{grown_mib:.0f} MiB for {count} clips"
