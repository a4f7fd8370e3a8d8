"""What users of other tools reported about their footage: inputs are made here, and go through the command line."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from rushes.arrays import Frames
from rushes.formats.layouts import folder_files
from rushes.formats.listing import list_footage
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
        self.rushes, self.folder, self.lines = rushes, folder, ""

    def start(self, footage: Path, *settings: str) -> None:
        given = [word for each in settings for word in ("--set", each)]
        code, _, problem = self.rushes("init", self.folder, "--footage", footage, *given)
        assert code == 0, problem

    def take(self, *words: str) -> dict[str, Any]:
        code, out, self.lines = self.rushes("import", self.folder, "--json", *words)
        assert code == 0, self.lines
        return {name: value for name, value in json.loads(out).items() if value is not None}

    def clips(self) -> tuple[Clip, ...]:
        with Store.open(self.folder) as store:
            return store.clips()

    def sides(self) -> dict[str, set[str]]:
        """Sides of each file's clips, of all that were ever imported."""
        sides = defaultdict[str, set[str]](set)
        with Store.open(self.folder) as store:
            for clip in store.clips(dropped=True):
                sides[Path(clip.source).name].add(clip.split)
        return sides


def transcode(source: Path, target: Path) -> Path:
    """The same pictures in a smaller file of other bytes."""
    with av.open(str(source)) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    return encode(target, np.stack([cv2.resize(frame, (40, 28)) for frame in frames]).astype(np.uint8))


@pytest.fixture
def work(rushes: Rushes, tmp_path: Path) -> Work:
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
    """M3D#67, its kind: a.mp4 and a.mov of one picture, of another size and codec; a copy that comes later.

    Was: five of six such couples on both sides, exit 0.
    """
    folder = captioned(tmp_path / "in", 5)
    for k in range(5):
        large = np.stack([cv2.resize(frame, (96, 64)) for frame in texture(k)])
        encode(folder / f"v{k}.mov", large, "mpeg4")
        (folder / f"v{k}.txt").unlink()
    names = sorted(path.name for path in folder.iterdir())
    (folder / "captions.csv").write_text("file,caption\n" + "\n".join(f"{name},clip {name}" for name in names))
    work.start(folder, "footage.eval_fraction=0.4")
    assert work.take()["clips"] == 10
    together = defaultdict[str, set[str]](set)
    for name, sides in work.sides().items():
        together[Path(name).stem] |= sides
    assert len(together) == 5 and all(len(sides) == 1 for sides in together.values())
    assert {"train"} in together.values()
    held = next(int(name[1]) for name, sides in together.items() if sides == {"eval"})
    later = encode(folder / "later.avi", texture(held), "mjpeg", pixels="yuvj420p")
    with (folder / "captions.csv").open("a") as file:
        file.write(f"\n{later.name},a late copy\n")
    assert work.take()["clips"] == 11 and work.sides()["later.avi"] == {"eval"}


# the set is what the last import says


def test_a_corrected_caption_replaces_and_a_deleted_clip_is_gone(work: Work, tmp_path: Path) -> None:
    """musubi-tuner#67, diffusion-pipe#497, sd-scripts#1759: two captions corrected, one file deleted.

    Was: "clips: 5" with both captions of the two, and the deleted clip, in the set.
    """
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
    for clip in other[:2]:
        assert f"caption changed: {clip.source}: {clip.caption!r} is now 'a better {clip.caption}'" in work.lines
    assert f"set aside, no longer in the footage: 1 ({gone.source})" in work.lines
    assert sorted(clip.caption for clip in work.clips()) == sorted(
        [f"a better {clip.caption}" for clip in other[:2]] + [clip.caption for clip in other[2:]]
    )
    assert all(len(sides) == 1 for sides in work.sides().values())
    code, out, _ = work.rushes("preflight", work.folder, "--json")
    assert code == 0 and json.loads(out)["clips"] == 5
    assert work.take() == {"clips": 5, "held_out": 2, "unchanged": 5}


@pytest.mark.parametrize("copy", ["whole", "transcode"])
def test_labelled_pairs_are_on_their_side_of_the_split(copy: str, work: Work, tmp_path: Path) -> None:
    """M3D#67, its kind: a held-out video, or a copy of one, was trained on as a side of a pair."""
    work.start(captioned(tmp_path / "footage", 3))
    work.take()
    with Store.open(work.folder) as store:
        held_out = next(Path(clip.source) for clip in store.clips() if clip.split == "eval")
        trained = next(Path(clip.source) for clip in store.clips() if clip.split == "train")
    pairs = tmp_path / "pairs"
    for name, source in (("out.mp4", held_out), ("in.mp4", trained)):
        target = encode(pairs / name, texture(90))
        if copy == "whole":
            shutil.copy(source, target)
        else:
            transcode(source, target)
    for number in (7, 8):
        encode(pairs / f"{number}.mp4", texture(number, 17))
    rows = [{"prompt": "p", "chosen": name, "rejected": "7.mp4"} for name in ("out.mp4", "in.mp4", "8.mp4")]
    (pairs / "pairs.json").write_text(json.dumps(rows))
    command = ("labels", "import", work.folder, pairs / "pairs.json", "--form", "trl", "--window", "first", "--json")
    results = {}
    for split in ("eval", "train"):
        with_dry_run = ("--dry-run",) if split == "eval" else ()
        code, out, lines = work.rushes(*command, "--split", split, *with_dry_run)
        assert code == 0, lines
        results[split] = json.loads(out)
    assert results["train"]["left out, the project already has this video, or a copy of it, as held out"] == 1
    assert results["eval"]["left out, the project already has this video, or a copy of it, as trained on"] == 1
    assert results["train"]["pairs"] == results["eval"]["pairs"] == 2
    # footage that comes later goes to the side of the pair
    for number in (7, 8):
        new = tmp_path / f"footage/new{number}.mp4"
        shutil.copy(pairs / f"{number}.mp4", new) if copy == "whole" else transcode(pairs / f"{number}.mp4", new)
        new.with_suffix(".txt").write_text(f"new {number}")
    work.rushes("import", work.folder, "--set", "footage.eval_fraction=0.4")
    sides = work.sides()
    assert sides["new7.mp4"] == sides["new8.mp4"] <= {"train"}


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
    """diffusion-pipe#497, its kind: another footage.path at the second import. Was: six in the set."""
    first, second = captioned(tmp_path / "first", 3), captioned(tmp_path / "second", 2, first=5)
    work.start(first, "footage.eval_fraction=0")
    work.take()
    taken = work.take("--add", "--set", f"footage.path={second}")
    assert (taken["clips"], taken["new"]) == (5, 2) and "gone" not in taken
    taken = work.take("--set", f"footage.path={second}")
    assert (taken["clips"], taken["unchanged"], taken["gone"]) == (2, 2, 3)
    taken = work.take()
    assert (taken["clips"], taken["returned"], taken["gone"]) == (3, 3, 2)


def test_another_column_or_cut_replaces(work: Work, tmp_path: Path) -> None:
    """diffusion-pipe#497, its kind. Was: each clip under both captions, pieces beside files."""
    folder = tmp_path / "in"
    for k in range(2):
        encode(folder / f"v{k}.mp4", texture(k, 40))
    (folder / "metadata.csv").write_text("file_name,caption,long\nv0.mp4,short 0,long 0\nv1.mp4,short 1,long 1\n")
    work.start(folder, "footage.eval_fraction=0")
    work.take()
    taken = work.take("--set", "footage.caption_column=long")
    assert taken == {"clips": 2, "captions_changed": 2}
    assert {clip.caption for clip in work.clips()} == {"long 0", "long 1"}
    taken = work.take("--set", "footage.caption_column=long", "--set", "footage.cut=scenes")
    assert (taken["new"], taken["replaced"]) == (4, 2) and all(clip.film for clip in work.clips())


def of_scenes(path: Path, seeds: Sequence[int]) -> Path:
    """A film of scenes of 24 frames, a pattern for each seed."""
    return encode(path, np.concatenate([texture(seed, 24) for seed in seeds]))


def scene_sides(work: Work, *, dropped: bool = True) -> dict[str, dict[int, set[str]]]:
    """Of each film, by the name without its suffix, the sides of the pieces of each scene."""
    sides = defaultdict[str, dict[int, set[str]]](lambda: defaultdict(set))
    with Store.open(work.folder) as store:
        for clip in store.clips(dropped=dropped):
            name, _, at = clip.source.partition("#t=")
            start_s = float(at.partition(",")[0] or 0)
            sides[Path(name).stem][round(start_s / 3)].add(clip.split)
    return sides


@pytest.mark.parametrize("noted", [True, False])
def test_films_that_were_encoded_again_stay_on_their_side(noted: bool, work: Work, tmp_path: Path) -> None:
    """M3D#67, its kind: a film is cut, goes, and comes back in another encoding. Was: half of them on both sides.

    Its looks are noted when it is cut, also where nothing is held out yet.
    """
    for number in range(6):
        film = of_scenes(tmp_path / f"first/f{number}.mp4", (20 * number, 20 * number + 1))
        again = transcode(film, tmp_path / f"second/f{number}.mov")
        for path in (film, again):
            path.with_suffix(".txt").write_text(f"film {number}")
    encode(tmp_path / "second/new.mp4", texture(400, 24)).with_suffix(".txt").write_text("new")
    encode(tmp_path / "second/newer.mp4", texture(401, 24)).with_suffix(".txt").write_text("newer")
    work.start(tmp_path / "first", "footage.cut=scenes", f"footage.eval_fraction={0.34 if noted else 0}")
    assert work.take()["clips"] == 12
    shutil.rmtree(tmp_path / "first")
    work.take("--set", f"footage.path={tmp_path / 'second'}", "--set", "footage.eval_fraction=0.14")
    sides = scene_sides(work)
    assert {len(set().union(*scenes.values())) for scenes in sides.values()} == {1}, sides
    assert {"new", "f0"} <= sides.keys() and (noted or {*sides["f0"][0]} == {"train"})


def test_scenes_of_a_film_that_was_encoded_again_stay_on_their_side(work: Work, tmp_path: Path) -> None:
    """The same where there is one film, whose scenes are the groups."""
    film = of_scenes(tmp_path / "first/film.mp4", range(6))
    again = transcode(film, tmp_path / "second/film.mov")
    for path in (film, again):
        path.with_suffix(".txt").write_text("a film")
    work.start(film.parent, "footage.cut=scenes", "footage.eval_fraction=0.34")
    assert (taken := work.take())["clips"] == 6 and taken["held_out"] == 2
    first = scene_sides(work)["film"]
    work.take("--set", f"footage.path={again.parent}")
    assert scene_sides(work, dropped=False)["film"] == first and len(first) == 6


@pytest.mark.parametrize("split", ["train", "eval"])
def test_the_window_of_a_pair_keeps_its_film_on_its_side(split: str, work: Work, tmp_path: Path) -> None:
    """M3D#67 and OpenRLHF#1311: pairs were cut to a window, and their films came as footage in another encoding."""
    pairs, footage = tmp_path / "pairs", captioned(tmp_path / "footage", 2)
    for number in range(50, 54):
        film = encode(pairs / f"{number}.mp4", texture(number, 48))
        transcode(film, footage / f"{number}.mov").with_suffix(".txt").write_text(f"film {number}")
    rows = [{"prompt": "p", "chosen": f"{k}.mp4", "rejected": f"{k + 1}.mp4"} for k in (50, 52)]
    (pairs / "pairs.json").write_text(json.dumps(rows))
    work.start(footage, "footage.eval_fraction=0.34")
    command = ("labels", "import", work.folder, pairs / "pairs.json", "--form", "trl", "--window", "last")
    code, _, lines = work.rushes(*command, "--split", split)
    assert code == 0, lines
    shutil.rmtree(pairs)
    work.take()
    sides = work.sides()
    assert [sides[f"{number}.mov"] for number in range(50, 54)] == [{split}] * 4, sides


@pytest.mark.parametrize("copy", ["whole", "transcode"])
def test_a_take_that_is_a_held_out_video_is_not_trained_on(copy: str, work: Work, tmp_path: Path) -> None:
    """M3D#67, its kind: a loser in `negative_samples/` that is the video of another prompt, which is held out."""
    folder = tmp_path / "in"
    for k in range(4):
        encode(folder / f"videos/v{k}.mp4", texture(k))
        encode(folder / f"negative_samples/v{k}/0.mp4", texture(10 + k))
    (folder / "prompt.txt").write_text("zero\none\ntwo\nthree\n")
    work.start(folder, "footage.eval_fraction=0.25")
    taken = work.take()
    assert (taken["takes"], taken["takes_left_out"]) == (3, 1)
    (held,) = (Path(clip.source) for clip in work.clips() if clip.split == "eval")
    trained = [Path(clip.source) for clip in work.clips() if clip.split == "train"]
    for source, name in ((held, "1"), (trained[1], "2")):  # that of another prompt that is trained on may stay
        target = folder / f"negative_samples/{trained[0].stem}/{name}.mp4"
        shutil.copy(source, target) if copy == "whole" else transcode(source, target)
    taken = work.take()
    assert (taken["takes"], taken["takes_left_out"]) == (4, 2)
    # one that was trained on leaves the set when its video comes to be held out
    with Store.open(work.folder) as store:
        assert len(store.candidates(kind="imported")) == 4
    for path in folder.glob("negative_samples/*/[12].mp4"):
        path.unlink()
    late = folder / f"negative_samples/{trained[0].stem}/3.mp4"
    encode(late, texture(77))
    assert work.take()["takes"] == 4
    shutil.copy(late, folder / "videos/v4.mp4") if copy == "whole" else transcode(late, folder / "videos/v4.mp4")
    (folder / "prompt.txt").write_text("zero\none\ntwo\nthree\nfour\n")
    taken = work.take("--set", "footage.eval_fraction=0.4")
    assert work.sides()["v4.mp4"] == {"eval"}
    assert (taken["takes"], taken["takes_left_out"], taken["takes_gone"]) == (3, 2, 1)


def test_two_prompts_of_one_video_in_the_layout_of_realdpo(work: Work, tmp_path: Path) -> None:
    """M3D#67, its kind: each video under two prompts, with takes of its own. Was: three of eight on both sides."""
    folder = tmp_path / "in"
    for k in range(8):
        encode(folder / f"videos/v{k}.mp4", texture(k // 2))
        encode(folder / f"negative_samples/v{k}/0.mp4", texture(20 + k))
    (folder / "prompt.txt").write_text("\n".join(f"prompt {k}" for k in range(8)))
    work.start(folder, "footage.eval_fraction=0.3")
    taken = work.take()
    assert (taken["clips"], taken["held_out"]) == (8, 2)
    sides = defaultdict[str, set[str]](set)
    for clip in work.clips():
        sides[clip.media].add(clip.split)
    assert len(sides) == 4 and all(len(each) == 1 for each in sides.values())


def test_clips_of_another_length_replace(work: Work, tmp_path: Path) -> None:
    """diffusion-pipe#497, its kind: the embedded world at another backbone.frames made clips beside the old ones."""
    code, _, problem = work.rushes("init", work.folder, "--set", "footage.clips=3", "--set", "footage.eval_prompts=1")
    assert code == 0, problem
    assert work.take() == {"clips": 4, "held_out": 1}
    taken = work.take("--set", "backbone.frames=9")
    assert (taken["clips"], taken["held_out"], taken["replaced"]) == (4, 1, 4)
    assert {clip.frames for clip in work.clips()} == {9}


def test_takes_that_leave_the_footage_leave_the_set(work: Work, tmp_path: Path) -> None:
    """diffusion-pipe#497, its kind: takes of the footage stayed, and were trained on, after they left it."""
    folder = tmp_path / "in"
    for k in range(3):
        encode(folder / f"videos/v{k}.mp4", texture(k))
        for take in range(2):
            encode(folder / f"negative_samples/v{k}/{take}.mp4", texture(10 + 2 * k + take))
    (folder / "prompt.txt").write_text("zero\none\ntwo\n")
    work.start(folder, "footage.eval_fraction=0")
    assert work.take()["takes"] == 6
    gone = folder / "negative_samples/v1/1.mp4"
    gone.rename(tmp_path / "away.mp4")
    taken = work.take()
    assert (taken["clips"], taken["takes"], taken["unchanged"], taken["takes_gone"]) == (3, 5, 3, 1)
    with Store.open(work.folder) as store:
        assert len(store.candidates()) == 5 and len(store.candidates(dropped=True)) == 6
    assert "takes_gone" not in work.take()
    (tmp_path / "away.mp4").rename(gone)
    taken = work.take()
    assert (taken["takes"], taken["takes_returned"]) == (6, 1)
    with Store.open(work.folder) as store:
        assert len(store.candidates()) == 6
    encode(folder / "negative_samples/v9/0.mp4", texture(30))
    code, _, error = work.rushes("import", work.folder)
    assert code == 2 and f"{folder}/negative_samples/v9: belongs to no video; name its folder as" in error
    taken = work.take("--set", "footage.on_refused=skip")
    assert (taken["clips"], taken["takes"], taken["refused"]) == (3, 6, 1) and "passed_over" not in taken


# nothing is passed over in silence


def test_cameras_files_are_read_whatever_their_names(work: Work, tmp_path: Path) -> None:
    """GooglePhotosTakeoutHelper#223, MediaElch#50, Player#232: names of cameras, of none, and of no videos."""
    folder = captioned(tmp_path / "in", 1)
    files = {"a.MTS": ("libx264", "mpegts"), "b.m2ts": ("mpeg2video", "mpegts"), "c.wmv": ("wmv2", "asf"),
             "i.m2v": ("mpeg2video", "mpeg2video"), "j.h264": ("libx264", "h264"),
             "d.flv": ("flv1", "flv"), "e.3gp": ("mpeg4", "mp4"), "f.vob": ("mpeg2video", "vob"),
             "clip": ("libx264", "matroska"), "g.dat": ("mpeg2video", "mpegts"), "h.mxf": ("mpeg2video", "mxf"),
             }  # fmt: skip
    for seed, (name, (codec, form)) in enumerate(files.items(), start=10):
        encode(folder / name, texture(seed), codec, form)
        (folder / name).with_suffix(".txt").write_text(f"caption of {name}")
    (folder / "manual.pdf").write_bytes(b"%PDF-1.7")
    (folder / "sound.dat").write_bytes(b"OggS" + bytes(600))
    (folder / "gone.txt").write_text("a caption of nothing")
    work.start(folder, "footage.eval_fraction=0.2")
    code, out, error = work.rushes("import", work.folder, "--json")
    taken = json.loads(out)
    assert (code, taken["clips"], taken["passed_over"]) == (0, 1 + len(files), 3), error
    assert {clip.caption for clip in work.clips()} == {"caption 0", *(f"caption of {name}" for name in files)}
    preflight = work.rushes("preflight", work.folder)[1]
    for text in (error, preflight):
        assert "ignored, neither video nor caption: 1 .dat, 1 .pdf" in text
        assert f"captions without a video: 1 ({folder / 'gone.txt'})" in text


def test_other_suffixes_are_read_wherever_videos_are(work: Work, tmp_path: Path) -> None:
    """MediaElch#50, its kind: lists of suffixes decided what exists. Was: no takes; two of four systems' videos."""
    folder, bench = tmp_path / "in", tmp_path / "bench"
    for k in range(2):
        encode(folder / f"videos/v{k}.mp4", texture(k))
        encode(folder / f"negative_samples/v{k}/0.MTS", texture(10 + k), form="mpegts")
        encode(bench / f"a/{k}.mp4", texture(20 + k))
        encode(bench / f"b/{k}.wmv", texture(30 + k), "wmv2", "asf")
        (bench / "first_frames").mkdir(exist_ok=True)
        cv2.imwrite(str(bench / f"first_frames/{k}.png"), texture(k)[0])
    for place in (folder / "prompt.txt", bench / "prompts.txt"):
        place.write_text("zero\none\n")
    work.start(folder, "footage.eval_fraction=0", f"footage.bench={bench}")
    taken = work.take()
    assert (taken["takes"], taken["prompts"], taken["imported_of_systems"]) == (2, 2, 4)


def test_import_names_videos_without_a_row(work: Work, tmp_path: Path) -> None:
    """video2dataset#117, its kind: a video that the table forgot was said by preflight alone."""
    folder = tmp_path / "in"
    for k in range(3):
        encode(folder / f"v{k}.mp4", texture(k))
    (folder / "metadata.csv").write_text("file_name,caption\nv0.mp4,zero\nv1.mp4,one\n")
    work.start(folder, "footage.eval_fraction=0")
    code, out, error = work.rushes("import", work.folder, "--json")
    assert (code, json.loads(out)["clips"], json.loads(out)["passed_over"]) == (0, 2, 1)
    assert f"videos that no row names: 1 ({folder / 'v2.mp4'})" in error


def test_a_table_beside_other_captions_is_named(work: Work, tmp_path: Path) -> None:
    """video2dataset#117, its kind: a second table of captions was counted as "neither video nor caption"."""
    footage = captioned(tmp_path / "footage", 3)
    (footage / "metadata.csv").write_text("file_name,text\nv0.mp4,other\n")
    (footage / "notes.csv").write_text("a,b\n1,2\n")
    work.start(footage)
    assert work.take()["passed_over"] == 2
    assert "neither video nor caption: 1 .csv\n" in work.lines
    assert "tables of captions, because there are captions of another kind: 1 (" in work.lines


def test_a_tar_in_capital_letters_is_one(work: Work, tmp_path: Path) -> None:
    """video2dataset#117, its kind: A.TAR was passed over, or called no tar."""
    videos = captioned(tmp_path / "videos", 3)
    footage = tmp_path / "footage"
    footage.mkdir()
    with tarfile.open(footage / "A.TAR", "w") as tar:
        for path in sorted(videos.iterdir()):
            tar.add(path, path.name)
    work.start(footage)
    assert work.take()["clips"] == 3
    assert work.take("--set", f"footage.path={footage / 'A.TAR'}")["unchanged"] == 3


def test_a_name_or_a_link_that_cannot_be_taken_costs_one_clip(work: Work, tmp_path: Path) -> None:
    """Player#232, its kind: a name in Latin-1, a link that leads out, a broken one, and a linked folder."""
    folder, outside = captioned(tmp_path / "in", 2), captioned(tmp_path / "outside", 1, first=5)
    os.link(folder / "v0.mp4", os.path.join(os.fsencode(folder), b"caf\xe9.mp4"))
    (folder / "out.mp4").symlink_to(outside / "v5.mp4")
    (folder / "broken.mp4").symlink_to("nothing.mp4")
    (folder / "films").symlink_to(outside)
    work.start(folder, "footage.eval_fraction=0")
    code, _, error = work.rushes("import", work.folder)
    for name in (r"caf\xe9.mp4: its name is not Unicode", "out.mp4: a link", "broken.mp4: a link", "films: a link"):
        assert code == 2 and f"{folder}/{name}" in error
    taken = work.take("--set", "footage.on_refused=skip")
    assert (taken["clips"], taken["refused"]) == (2, 4)


def test_a_table_may_write_letters_apart(work: Work, tmp_path: Path) -> None:
    """MediaElch#50, its kind: a table from Windows names the files that macOS named, or the other way round."""
    folder = tmp_path / "in"
    encode(folder / unicodedata.normalize("NFD", "été.mp4"), texture(1))
    encode(folder / unicodedata.normalize("NFC", "élan.mp4"), texture(2))
    rows = [f"{unicodedata.normalize('NFC', 'été.mp4')},summer", f"{unicodedata.normalize('NFD', 'élan.mp4')},an elk"]
    for table, head in (("metadata.csv", "file_name,caption"), ("captions.csv", "file,caption")):
        (folder / table).write_text("\n".join([head, *rows]))
        work.folder = tmp_path / table
        work.start(folder, "footage.eval_fraction=0")
        assert work.take()["clips"] == 2
        assert {clip.caption for clip in work.clips()} == {"summer", "an elk"}
        (folder / table).unlink()


def tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_members_of_a_tar_are_read_refused_or_counted(work: Work, tmp_path: Path) -> None:
    """webdataset, as in video2dataset#117: one key twice, two views of a sample, other suffixes, a compressed tar."""
    folder = tmp_path / "in"
    data = [encode(tmp_path / f"{k}.ts", texture(k)).read_bytes() for k in range(5)]
    folder.mkdir()
    tar(folder / "a.tar", ("0.left.mp4", data[0]), ("0.right.mp4", data[1]), ("0.txt", b"two views"),
        ("1.MTS", data[2]), ("1.txt", b"a camera's"), ("1.MTS", data[3]), ("2.dat", data[4]), ("2.txt", b"no suffix"),
        ("2.jpg", b"\xff\xd8"), ("9.txt", b"of nothing"))  # fmt: skip
    work.start(folder, "footage.eval_fraction=0.5", "footage.on_refused=skip")
    code, out, error = work.rushes("import", work.folder, "--json")
    taken = json.loads(out)
    assert (code, taken["clips"], taken["refused"], taken["passed_over"]) == (0, 4, 1, 2), error
    assert "a.tar/1.MTS: the tar has this name twice" in error
    sides = work.sides()
    assert sides["0.left.mp4"] == sides["0.right.mp4"] and len(sides) == 4
    packed = shutil.copy(folder / "a.tar", tmp_path / "a.tar.gz")
    code, _, error = work.rushes("import", work.folder, "--set", f"footage.path={packed}")
    assert code == 2 and "a.tar.gz: a compressed tar; unpack it once with gunzip" in error


# kinds of the above that were still open


def test_an_added_video_goes_by_one_caption(work: Work, tmp_path: Path) -> None:
    """diffusion-pipe#497, its kind: `--add` kept a video under the wrong caption beside the right one: "new: 1"."""
    folder = captioned(tmp_path / "in", 2)
    work.start(folder, "footage.eval_fraction=0")
    work.take()
    (folder / "v1.txt").write_text("corrected")
    taken = work.take("--add")
    assert taken == {"clips": 2, "unchanged": 1, "captions_changed": 1}
    assert "v1.mp4: 'caption 1' is now 'corrected'" in work.lines
    assert {clip.caption for clip in work.clips()} == {"caption 0", "corrected"}


def test_takes_that_are_the_video_or_there_twice_are_refused(work: Work, tmp_path: Path) -> None:
    """owl#592, its kind: a take beside itself, and one that is the video itself: "takes: 3", without a word."""
    folder = tmp_path / "in"
    encode(folder / "videos/a.mp4", texture(1))
    encode(folder / "negative_samples/a/1.mp4", texture(2))
    shutil.copy(folder / "negative_samples/a/1.mp4", folder / "negative_samples/a/2.mp4")
    shutil.copy(folder / "videos/a.mp4", folder / "negative_samples/a/3.mp4")
    (folder / "prompt.txt").write_text("a dog\n")
    work.start(folder, "footage.eval_fraction=0", "footage.on_refused=skip")
    taken = work.take()
    assert (taken["clips"], taken["takes"], taken["refused"]) == (1, 1, 2)
    assert f"a/2.mp4: the same video as {folder}/negative_samples/a/1.mp4; delete one" in work.lines
    assert f"a/3.mp4: the same video as {folder}/videos/a.mp4; delete one" in work.lines


def test_a_row_that_goes_up_and_down_is_of_the_video_there(work: Work, tmp_path: Path) -> None:
    """GooglePhotosTakeoutHelper#223, its kind: a video that was taken was "passed over"; and names of Windows."""
    folder = captioned(tmp_path / "in", 1)
    encode(folder / "sub/w.mp4", texture(5))
    (folder / "v0.txt").unlink()
    (folder / "metadata.csv").write_text("file_name,text\nsub/../v0.mp4,a dog\nsub\\w.mp4,a cat\n")
    work.start(folder, "footage.eval_fraction=0")
    assert work.take() == {"clips": 2}


@pytest.mark.parametrize("table", ["file_name|text\nv0.mp4|a dog\n", "sep=;\nfile_name;text\nv0.mp4;a\n", "v0.mp4,a\n"])
def test_a_table_of_the_folder_that_does_not_fit_is_named(rushes: Rushes, tmp_path: Path, table: str) -> None:
    """finetrainers#426, its kind: "no caption; write one" for every clip, beside a metadata.csv."""
    folder = captioned(tmp_path / "in", 1)
    (folder / "v0.txt").unlink()
    (folder / "metadata.csv").write_text(table)
    assert rushes("init", tmp_path / "p", "--footage", folder)[0] == 0
    code, _, err = rushes("import", tmp_path / "p")
    assert code == 2 and "metadata.csv: none of its columns" in err and "footage.layout to folder" in err


def test_another_cut_that_is_added_replaces_what_it_overlaps(work: Work, tmp_path: Path) -> None:
    """diffusion-pipe#497, its kind: `--add` with another cut kept a film beside its pieces, and these beside others."""
    folder = tmp_path / "in"
    of_scenes(folder / "film.mp4", (1, 2)).with_suffix(".txt").write_text("a film")
    other = captioned(tmp_path / "other", 1, first=9)
    work.start(folder, "footage.eval_fraction=0")
    assert work.take() == {"clips": 1}
    assert work.take("--add", "--set", f"footage.path={other}") == {"clips": 2, "new": 1}
    scenes = ("--set", "footage.cut=scenes")
    assert work.take("--add", *scenes) == {"clips": 3, "new": 2, "replaced": 1}
    assert f"set aside, now cut or converted differently: 1 ({folder}/film.mp4)" in work.lines
    assert work.take("--add", *scenes) == {"clips": 3, "unchanged": 2}
    shorter = work.take("--add", *scenes, "--set", "backbone.frames=9")
    spans = sorted(clip.source.partition("#t=")[2] for clip in work.clips() if clip.film)
    assert shorter["replaced"] == 2 and shorter["new"] == len(spans)
    ends = [tuple(map(float, span.split(","))) for span in spans]
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    assert work.take("--add")["replaced"] == len(spans) and len(work.clips()) == 2


def test_stray_quotation_marks_join_no_rows(work: Work, tmp_path: Path) -> None:
    """mindone#133, its kind: two stray quotes made one caption of three rows, and two videos went without a word."""
    folder = tmp_path / "in"
    for k in range(5):
        encode(folder / f"v{k}.mp4", texture(k))
    joined = 'v0.mp4,"x\nv1.mp4,y\nv2.mp4,z"\n'
    meant = 'v3.mp4,"a dog, running\nfrom b.mp4"\nv4.mp4,w\n'
    work.start(folder, "footage.eval_fraction=0", "footage.on_refused=skip")
    for table, header in (("metadata.csv", "file_name,text"), ("captions.csv", "file,caption")):
        path = folder / table
        path.write_text(f"{header}\n{joined}{meant}")
        work.take()
        assert {clip.caption for clip in work.clips()} == {"a dog, running from b.mp4", "w"}
        words = "line 4: the quotation mark on line 2 is not closed and swallows other rows, such as 'v1.mp4,y'; close"
        assert f"{path}, {words}" in work.lines
        path.write_text(f"{header}\n{joined}")
        code, _, err = work.rushes("import", work.folder, "--set", "footage.on_refused=fail")
        assert code == 2 and words in err
        path.unlink()


@pytest.mark.parametrize("names", [("train/a.mp4", "test/b.mp4"), ("train-a.mp4", "val-b.mp4")])
def test_a_set_that_was_split_before_is_said_to_be_one(
    names: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Was: clips of `test` trained on and clips of `train` held out, without a word."""
    for seed, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        encode(tmp_path / name, texture(seed))
    list_footage(folder_files(tmp_path), "folder")
    (words,) = caplog.messages
    assert "set footage.path to the first alone" in words and "footage.eval_fraction" in words
    caplog.clear()
    (tmp_path / names[1]).unlink()
    list_footage(folder_files((tmp_path / names[0]).parent), "folder")
    assert not caplog.messages


def test_an_order_of_lines_that_letters_and_numbers_give_differently_is_said(
    work: Work, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MSR-VTT's kind, an order that nobody declared: a program's sorted() has 10.mp4 before 2.mp4, and said nothing."""
    folder = tmp_path / "footage"
    for name in ("1", "2", "10"):
        encode(folder / f"{name}.mp4", texture(int(name)))
    (folder / "captions.txt").write_text("one\ntwo\nten\n")
    work.start(folder)
    work.take()
    assert "numbers in their names: line 2 to 2.mp4, not to 10.mp4" in caplog.text
    caplog.clear()
    (folder / "videos.txt").write_text("1.mp4\n10.mp4\n2.mp4\n")
    work.take()
    assert "numbers in their names" not in caplog.text
    assert {Path(clip.source).stem: clip.caption for clip in work.clips()} == {"1": "one", "10": "two", "2": "ten"}


def test_a_video_that_two_metadata_tables_name_is_asked_about(work: Work, tmp_path: Path, rushes: Rushes) -> None:
    """video2dataset#117's kind: a table corrected in one folder and not in the other. Was: both texts drawn, exit 0."""
    folder = tmp_path / "footage"
    for k in range(3):
        encode(folder / f"train/v{k}.mp4", texture(k))
    (folder / "train/metadata.csv").write_text("file_name,text\nv0.mp4,corrected\nv1.mp4,b\nv2.mp4,c\n")
    (folder / "metadata.csv").write_text("file_name,text\ntrain/v0.mp4,wrong\ntrain/v1.mp4,b\ntrain/v2.mp4,c\n")
    work.start(folder)
    code, _, err = rushes("import", work.folder)
    assert code == 2 and "both name" in err and "keep one of the tables" in err and not work.clips()
