"""What users of other tools reported about their footage: each input is made here, and goes through the command line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from rushes.arrays import Frames
from rushes.records import Clip
from rushes.store.database import Store

from ..projects import Rushes


def texture(seed: int, frames: int = 20) -> Frames:
    """[F,32,48,3] a pattern that drifts, another for each seed."""
    base = np.kron(np.random.default_rng(seed).integers(0, 255, (4, 6, 3)), np.ones((8, 8, 1)))
    return np.stack([np.roll(base, 2 * k, axis=1) for k in range(frames)]).astype(np.uint8)


def encode(
    path: Path, frames: Frames, codec: str = "libx264", form: str | None = None, pixels: str = "yuv420p"
) -> Path:
    """Frames at 8 fps in a container that the name says, or `form`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form) as file:
        rate = 25 if codec in ("mpeg2video", "wmv2") else 8
        stream: Any = file.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        stream.bit_rate = 2_000_000
        for number, image in enumerate(np.repeat(frames, 3, axis=0) if rate == 25 else frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def captioned(folder: Path, count: int, first: int = 0) -> Path:
    """Videos v0.mp4, ... with a caption beside each."""
    for k in range(first, first + count):
        encode(folder / f"v{k}.mp4", texture(k)).with_suffix(".txt").write_text(f"caption {k}")
    return folder


class Work:
    """A project by the command line."""

    def __init__(self, rushes: Rushes, folder: Path) -> None:
        self.rushes, self.folder = rushes, folder

    def start(self, footage: Path, *settings: str) -> None:
        given = [word for each in settings for word in ("--set", each)]
        code, _, problem = self.rushes("init", self.folder, "--footage", footage, *given)
        assert code == 0, problem

    def take(self, *words: str) -> dict[str, Any]:
        code, out, problem = self.rushes("import", self.folder, "--json", *words)
        assert code == 0, problem
        return {name: value for name, value in json.loads(out).items() if value is not None}

    def clips(self) -> tuple[Clip, ...]:
        with Store.open(self.folder) as store:
            return store.clips()

    def sides(self) -> dict[str, set[str]]:
        """Sides of each file's clips, of all that were ever imported."""
        sides = defaultdict(set)
        with Store.open(self.folder) as store:
            for clip in store.clips(dropped=True):
                sides[Path(clip.source).name].add(clip.split)
        return sides


@pytest.fixture
def work(rushes: Rushes, tmp_path: Path) -> Iterator[Work]:
    return Work(rushes, tmp_path / "project")


# a video on both sides of the split


def test_several_captions_of_a_video_are_one_clip(work: Work, tmp_path: Path) -> None:
    """M3D#67, and tables like those of MSR-VTT and VATEX: six videos with three captions each."""
    folder = tmp_path / "in"
    for k in range(6):
        encode(folder / f"v{k}.mp4", texture(k))
    rows = [{"file_name": f"v{k}.mp4", "text": f"caption {which} of {k}"} for k in range(6) for which in "ABC"]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    work.start(folder, "footage.eval_fraction=0.34")
    taken = work.take()
    assert (taken["clips"], taken["held_out"], taken["alternatives"]) == (6, 2, 12)
    assert {clip.caption for clip in work.clips()} == {f"caption A of {k}" for k in range(6)}
    with Store.open(work.folder) as store:
        texts = store.alternatives()
        for clip in store.clips():
            assert texts[clip.id] == tuple(clip.caption.replace("A", which) for which in "BC")
    assert all(len(each) == 1 for each in work.sides().values())


def test_a_transcode_is_on_the_side_of_its_original(work: Work, tmp_path: Path) -> None:
    """M3D#67, its kind: a.mp4 and a.mov of one picture, of another size and codec, also where the second comes later."""
    folder = captioned(tmp_path / "in", 8)
    for k in range(8):
        large = np.stack([cv2.resize(frame, (96, 64)) for frame in texture(k)])
        encode(folder / f"v{k}.mov", large, "mpeg4")
        (folder / f"v{k}.txt").unlink()
    names = sorted(path.name for path in folder.iterdir())
    (folder / "captions.csv").write_text("file,caption\n" + "\n".join(f"{name},clip {name}" for name in names))
    work.start(folder, "footage.eval_fraction=0.4")
    assert work.take()["clips"] == 16
    together = defaultdict(set)
    for name, sides in work.sides().items():
        together[Path(name).stem] |= sides
    assert len(together) == 8 and all(len(sides) == 1 for sides in together.values())
    assert {"train"} in together.values()
    later = encode(folder / "later.avi", texture(int(next(n[1] for n, s in together.items() if s == {"eval"}))), "mjpeg",
                   pixels="yuvj420p")  # fmt: skip
    with (folder / "captions.csv").open("a") as file:
        file.write(f"\n{later.name},a late copy\n")
    assert work.take()["clips"] == 17 and work.sides()["later.avi"] == {"eval"}


# the set is what the last import says


def test_a_corrected_caption_replaces_and_a_deleted_clip_is_gone(work: Work, tmp_path: Path) -> None:
    """musubi-tuner#67, diffusion-pipe#497, sd-scripts#1759: two captions corrected, one file deleted, imported again."""
    folder = captioned(tmp_path / "in", 6)
    work.start(folder, "footage.eval_fraction=0.34")
    work.take()
    gone = next(clip for clip in work.clips() if clip.split == "train")
    other = [clip for clip in work.clips() if clip != gone]
    for clip in other[:2]:
        Path(clip.source).with_suffix(".txt").write_text(f"a better {clip.caption}")
    Path(gone.source).unlink()
    Path(gone.source).with_suffix(".txt").unlink()
    taken = work.take()
    assert {name: taken[name] for name in ("clips", "unchanged", "captions_changed", "gone")} == {
        "clips": 5, "unchanged": 3, "captions_changed": 2, "gone": 1}  # fmt: skip
    assert "new" not in taken
    assert sorted(clip.caption for clip in work.clips()) == sorted(
        [f"a better {clip.caption}" for clip in other[:2]] + [clip.caption for clip in other[2:]]
    )
    assert all(len(sides) == 1 for sides in work.sides().values())
    code, out, _ = work.rushes("preflight", work.folder, "--json")
    assert code == 0 and json.loads(out)["clips"] == 5
    assert work.take() == {"clips": 5, "held_out": 2, "unchanged": 5}


def test_what_is_gone_comes_back_with_its_takes(work: Work, tmp_path: Path) -> None:
    """sd-scripts#1759, the other way: the file and the caption are put back, and nothing has to be made again."""
    folder = captioned(tmp_path / "in", 4)
    work.start(folder, "footage.eval_fraction=0.25", "generate.steps=1", "generate.takes=1")
    work.take()
    assert work.rushes("generate", work.folder)[0] == 0
    clip = next(clip for clip in work.clips() if clip.split == "train")
    caption = Path(clip.source).with_suffix(".txt")
    caption.write_text("another caption")
    work.take()
    with Store.open(work.folder) as store:
        assert clip.id not in {row.id for row in store.clips()} and not store.candidates(group=clip.id)
    caption.write_text(clip.caption)
    taken = work.take()
    assert (taken["captions_changed"], taken["clips"]) == (1, 4)
    with Store.open(work.folder) as store:
        assert clip.id in {row.id for row in store.clips()} and len(store.candidates(group=clip.id)) == 1


def test_another_folder_replaces_unless_it_is_added(work: Work, tmp_path: Path) -> None:
    """diffusion-pipe#497, its kind: another footage.path at the second import."""
    first, second = captioned(tmp_path / "first", 3), captioned(tmp_path / "second", 2, first=5)
    work.start(first, "footage.eval_fraction=0")
    work.take()
    taken = work.take("--add", "--set", f"footage.path={second}")
    assert (taken["clips"], taken["new"]) == (5, 2) and "gone" not in taken
    taken = work.take("--set", f"footage.path={second}")
    assert (taken["clips"], taken["unchanged"], taken["gone"]) == (2, 2, 3)
    taken = work.take()
    assert (taken["clips"], taken["returned"], taken["gone"]) == (3, 3, 2)


def test_clips_of_another_length_replace(work: Work, tmp_path: Path) -> None:
    """diffusion-pipe#497, its kind: the embedded world at another backbone.frames made clips beside the old ones."""
    code, _, problem = work.rushes("init", work.folder, "--set", "footage.clips=3", "--set", "footage.eval_prompts=1")
    assert code == 0, problem
    assert work.take() == {"clips": 4, "held_out": 1}
    taken = work.take("--set", "backbone.frames=9")
    assert (taken["clips"], taken["held_out"], taken["replaced"]) == (4, 1, 4)
    assert {clip.frames for clip in work.clips()} == {9}
