"""What becomes of each clip: planted faults of every sort, and how rarely a file is decoded."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import av
import numpy as np
import pytest

from rushes.config.tables import FootageSettings
from rushes.footage import preflight_costs, preflight_text, probe_cache
from rushes.footage.preflight import Length, review
from rushes.footage.probe_cache import ProbeCache
from rushes.formats.listing import find_footage
from rushes.media.examine import VideoContents, examine
from rushes.media.write import write_video
from rushes.store.database import Store

from .reels import LENGTH, ask_for, film, look, scenes, take


@pytest.fixture
def planted(tmp_path: Path) -> tuple[FootageSettings, dict[str, str]]:
    """Footage with a fault of each sort, and which file has which; three of ten are good."""
    folder = tmp_path / "clips"
    reasons = {
        "good.mp4": "",
        "é ü 'quoted' \"日本\".mp4": "",
        "long, fast.mp4": "",
        "torn.mkv": "cut short",
        "damaged.mp4": "corrupt",
        "one frame.mp4": "still",
        "hdr.mp4": "high dynamic range",
        "short.mp4": "too short",
        "silent.mp4": "no caption",
        "text.mp4": "unreadable",
        "twin.mp4": "duplicate",
    }
    for k, name in enumerate(reasons):
        (film(folder / name, seed=k)).with_suffix(".txt").write_text(f"clip {k}")
    film(folder / "long, fast.mp4", frames=90, fps=30, seed=20)
    whole = film(folder / "torn.mp4", frames=40).read_bytes()
    (folder / "torn.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "torn.mp4").unlink()
    data = bytearray(film(folder / "damaged.mp4", frames=40).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    (folder / "damaged.mp4").write_bytes(data)
    film(folder / "one frame.mp4", frames=1)
    hdr(folder / "hdr.mp4")
    film(folder / "short.mp4", frames=10)
    (folder / "silent.txt").unlink()
    (folder / "text.mp4").write_text("no video")
    shutil.copy(folder / "good.mp4", folder / "twin.mp4")
    shutil.copy(folder / "good.txt", folder / "twin.txt")
    return FootageSettings(kind="folder", path=str(folder)), reasons


def hdr(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.color_trc = 16
        for k in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 8 * k, np.uint8), format="rgb24")
            frame.pts = k
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def test_every_planted_fault_is_named_and_nothing_else(
    store: Store, planted: tuple[FootageSettings, dict[str, str]]
) -> None:
    """Precision and recall of 1: each file has its own reason."""
    footage, reasons = planted
    done = look(store, footage)
    assert {Path(one.item.source).name: one.reason for one in done.checked} == reasons
    assert preflight_costs.reasons(done) == {reason: 1 for reason in sorted(set(reasons.values()) - {"", "duplicate"})}
    with pytest.raises(ValueError) as caught:
        take(store, footage)
    for name, reason in reasons.items():
        assert (f"{Path(footage.path) / name}: " in str(caught.value)) == (reason not in ("", "duplicate")), name
    assert store.clips() == ()


def test_refused_clips_are_left_out_when_asked(store: Store, planted: tuple[FootageSettings, dict[str, str]]) -> None:
    footage, reasons = planted
    done = take(store, footage.model_copy(update={"on_refused": "skip"}))
    assert (done.clips, done.duplicates, done.refused) == (3, 1, 7)
    assert {Path(clip.source).name for clip in store.clips()} == {
        name for name, reason in reasons.items() if not reason
    }


def test_the_file_of_a_preflight_has_every_clip(store: Store, planted: tuple[FootageSettings, dict[str, str]]) -> None:
    footage, reasons = planted
    done, ask = look(store, footage), ask_for(footage)
    path = preflight_text.write_review(store.project, done, ask, preflight_costs.summary(done, ask))
    written = json.loads(path.read_text(encoding="utf-8"))
    assert {Path(row["source"]).name: row["reason"] for row in written["each"]} == reasons
    assert (written["usable"], written["refused"], written["duplicates"]) == (3, 7, 1)
    fast = next(row for row in written["each"] if row["source"].endswith("long, fast.mp4"))
    assert (fast["seconds"], fast["used_s"], fast["trimmed"], fast["resampled"]) == (3.0, 2.125, True, True)
    assert fast["crop"] == pytest.approx(1 / 3, abs=1e-3) and not fast["enlarged"]


def test_the_table_says_what_becomes_of_each(store: Store, planted: tuple[FootageSettings, dict[str, str]]) -> None:
    footage, _ = planted
    done = look(store, footage)
    lines = preflight_text.table(done, ask_for(footage))
    assert len(lines) == 12 and lines[0].startswith("file")
    assert "refused" in lines[1] and "refused" not in lines[-1]  # what needs a person comes first
    (fast,) = (line for line in lines if "long, fast.mp4" in line)
    assert "trimmed to 2.12 s; resampled to 8 fps; cropped by 33%" in fast
    assert all(len(line.split("  ")[0]) <= 44 for line in lines)


@pytest.mark.parametrize(
    ("fit", "size", "share"),
    [("crop", (32, 48), 1 / 3), ("pad", (32, 48), 1 / 3), ("stretch", (32, 48), 1 / 2), ("crop", (48, 32), 1 / 3),
     ("crop", (64, 64), 0.0)],
)  # fmt: skip
def test_what_fitting_loses_of_the_picture(
    fit: str, size: tuple[int, int], share: float, store: Store, tmp_path: Path
) -> None:
    """A picture of 48x32 in a square: a third is cut off, or of the square is black, or it is 1.5 times as tall."""
    draw = np.random.default_rng(0).integers(0, 255, (20, *size, 3), np.uint8)
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", draw, 8)
    footage = FootageSettings.model_validate(
        {"kind": "folder", "path": str(tmp_path / "in"), "fit": fit, "allow_empty_captions": True}
    )
    (one,) = look(store, footage).usable()
    assert preflight_costs.loss(one, ask_for(footage)).share == pytest.approx(share)


def test_clips_at_other_lengths(store: Store, tmp_path: Path) -> None:
    """Closed form: clips of n frames at 8 fps last at f frames of rate r when n / 8 > (f - 1) / r."""
    counts = (10, 17, 20, 40, 70)
    for k, frames in enumerate(counts):
        film(tmp_path / "in" / f"{k}.mp4", frames, seed=k).with_suffix(".txt").write_text(str(k))
    footage = FootageSettings(kind="folder", path=str(tmp_path / "in"))
    done, ask = look(store, footage), ask_for(footage)
    found = preflight_costs.lengths_of(done)
    for frames in (5, 17, 33, 65, 81):
        for fps in (4.0, 8.0, 16.0):
            expected = sum(n / 8 > (frames - 1) / fps for n in counts)
            assert preflight_costs.clips_at(found, ask, frames, fps) == expected, (frames, fps)
    rows = preflight_costs.choices(done, ask, 3, lambda clips: clips // 2)
    assert preflight_costs.LengthChoice(frames=17, fps=8.0, clips=4, comparisons=6) in rows


def test_pieces_at_other_lengths(store: Store, tmp_path: Path) -> None:
    scenes(tmp_path / "in" / "a.mp4", (5.0, 3.0))
    footage = FootageSettings(kind="folder", path=str(tmp_path / "in"), cut="scenes", allow_empty_captions=True)
    done, ask = look(store, footage), ask_for(footage)
    found = preflight_costs.lengths_of(done)
    assert [preflight_costs.clips_at(found, ask, frames, 8.0) for frames in (8, 16, 24, 40, 41)] == [8, 3, 2, 1, 0]


# how often a file is decoded


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were decoded, in order."""
    seen: list[Path] = []

    def counting(path: Path, finder: object) -> VideoContents:
        seen.append(path)
        return examine(path, finder)  # type: ignore[arg-type]

    monkeypatch.setattr(probe_cache, "examine", counting)
    return seen


def three(folder: Path) -> FootageSettings:
    for k in range(3):
        film(folder / f"{k}.mp4", seed=k)
    return FootageSettings(kind="folder", path=str(folder), allow_empty_captions=True)


def test_a_file_is_decoded_once(store: Store, tmp_path: Path, decoded: list[Path]) -> None:
    footage = three(tmp_path / "in")
    first = look(store, footage)
    shutil.copy(tmp_path / "in" / "0.mp4", tmp_path / "in" / "copy.mp4")
    take(store, footage)
    assert len(decoded) == 3
    shutil.move(tmp_path / "in", tmp_path / "moved")
    moved = look(store, footage.model_copy(update={"path": str(tmp_path / "moved")}))
    assert len(decoded) == 3 and [one.facts for one in moved.checked][:3] == [one.facts for one in first.checked]
    film(tmp_path / "moved" / "1.mp4", seed=9)
    changed = look(store, footage.model_copy(update={"path": str(tmp_path / "moved")}))
    assert len(decoded) == 4 and changed.checked[1].id != first.checked[1].id
    look(store, footage.model_copy(update={"path": str(tmp_path / "moved"), "cut": "scenes"}))
    assert len(decoded) == 8 - 1  # cuts are looked for once in each content


def test_a_stopped_preflight_goes_on(
    store: Store, tmp_path: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    footage, ticks = three(tmp_path / "in"), 0.0

    def tick(count: float, facts: str = "") -> None:
        nonlocal ticks
        ticks += count
        if ticks == 2:
            raise KeyboardInterrupt

    with ProbeCache(store.project) as kept, pytest.raises(KeyboardInterrupt):
        review(kept, find_footage(footage), None, ask_for(footage), lambda name, total: nullcontext(tick))
    look(store, footage)
    assert [path.name for path in decoded] == ["0.mp4", "1.mp4", "2.mp4"]


def test_without_its_facts_a_project_is_the_same(store: Store, tmp_path: Path) -> None:
    footage = three(tmp_path / "in")
    take(store, footage)
    before = store.clips()
    for path in store.project.glob("footage.db*"):
        path.unlink()
    take(store, footage)
    assert store.clips() == before


def test_a_file_that_changes_during_the_import(store: Store, tmp_path: Path) -> None:
    from rushes.footage.ingest import import_reviewed

    footage = three(tmp_path / "in")
    with ProbeCache(store.project) as kept:
        done = review(kept, find_footage(footage), None, ask_for(footage))
        film(tmp_path / "in" / "1.mp4", seed=5)
        with pytest.raises(ValueError, match=r"1\.mp4: changed while it was imported"):
            import_reviewed(store, kept, done, ask_for(footage))


def test_too_many_refusals_are_not_all_printed(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(30):
        (folder / f"{k}.mp4").write_bytes(b"no video")
    footage = FootageSettings(kind="folder", path=str(folder), allow_empty_captions=True)
    text = preflight_text.refusal(look(store, footage), ask_for(footage), tmp_path)
    assert len(text.splitlines()) < 25 and "and 10 more: unreadable (preflight.json" in text


def test_one_clip_and_none(store: Store, tmp_path: Path) -> None:
    film(tmp_path / "one" / "a.mp4").with_suffix(".txt").write_text("a")
    assert take(store, FootageSettings(kind="folder", path=str(tmp_path / "one"))).clips == 1
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no videos"):
        take(store, FootageSettings(kind="folder", path=str(tmp_path / "none")))


def test_a_caption_file_of_another_folder(store: Store, tmp_path: Path) -> None:
    film(tmp_path / "in" / "a.mp4")
    (tmp_path / "in" / "captions.csv").write_text("file,caption\nelse.mp4,of another folder\n")
    with pytest.raises(ValueError, match=r"captions\.csv, line 2: 'else\.mp4' names no video in the folder"):
        take(store, FootageSettings(kind="folder", path=str(tmp_path / "in")))
    (tmp_path / "in" / "captions.csv").rename(tmp_path / "in" / "list.csv")
    with pytest.raises(ValueError, match=r"else\.mp4: no such file"):
        take(store, FootageSettings(kind="folder", path=str(tmp_path / "in")))


def test_lengths_of_real_files(store: Store, real_data: Path) -> None:
    footage = FootageSettings(kind="folder", path=str(real_data / "media"), allow_empty_captions=True)
    done = look(store, footage, Length(33, 8.0, LENGTH.largest))
    assert {Path(one.item.source).name: one.reason for one in done.checked} == {
        "av1_video.mkv": "",
        "cockatoo.mp4": "",
        "corrupted.mp4": "corrupt",
        "flipping_a_pancake.mkv": "",
        "h265_10bits.mp4": "too short",
        "nasa_13013.mp4": "",
        "unordered.mov": "too short",
        "video_90.mov": "too short",
    }
