"""What a row or a foreign table says becomes a path inside the folder that it is about, or is refused."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rushes.files import inside
from rushes.records import Run
from rushes.store.database import Store
from rushes.store.rows import KINDS, decode, encode

from ..projects import Rushes


def videos_of(project: Path) -> tuple[bytes, bytes]:
    """Two that are not held out."""
    with Store.open(project) as store:
        first, second, *_ = (store.media_path(clip.media).read_bytes() for clip in store.clips(split="train"))
    return first, second


@pytest.mark.parametrize("form", ["trl", "videoreward", "videodpo", "labelstudio"])
def test_labels_of_others_take_no_video_from_outside_their_folder(
    form: str, theirs: Path, tmp_path: Path, rushes: Rushes
) -> None:
    data, private = tmp_path / "data", tmp_path / "private"
    data.mkdir()
    private.mkdir()
    (data / "b.mp4").write_bytes(videos_of(theirs)[0])
    (private / "a.mp4").write_bytes(videos_of(theirs)[1])
    (data / "link.mp4").symlink_to(private / "a.mp4")
    outside = [str(private / "a.mp4"), "../private/a.mp4", "link.mp4"]
    if form == "labelstudio":
        outside += [f"/data/local-files/?d={private / 'a.mp4'}", "/data/local-files/?d=../private/a.mp4"]
    before = len(Store.open(theirs).preferences())
    for path in outside:
        file = written(form, data, path)
        status, out, err = rushes("labels", "import", theirs, file, "--form", form)
        assert (status, out) == (2, "") and "points outside" in err, (path, err)
    assert len(Store.open(theirs).preferences()) == before
    status, _, err = rushes("labels", "import", theirs, written(form, data, "b.mp4", "c.mp4"), "--form", form)
    assert status == 0, err


def written(form: str, folder: Path, first: str, second: str = "b.mp4") -> Path:
    """A file of labels about two videos."""
    if second == "c.mp4":  # another video of the same length
        frames = (folder / "link.mp4").read_bytes()
        (folder / second).write_bytes(frames)
    file = folder / ("labels.csv" if form == "videoreward" else "pair.json" if form == "videodpo" else "labels.json")
    if form == "videoreward":
        file.write_text(f"path_A,path_B,prompt,A_model,B_model,Overall\n{first},{second},a ball,x,y,A\n")
        return file
    rows: list[dict[str, Any]]
    if form == "videodpo":
        clips = [{"basic": {"clip_path": path}} for path in (first, second)]
        (folder / "metadata.json").write_text(json.dumps(clips))
        rows = [{"video1": 0, "video2": 1, "label": 0, "frame_caption": "a ball"}]
    elif form == "trl":
        rows = [{"prompt": "a ball", "chosen": first, "rejected": second}]
    else:
        answer = {"type": "pairwise", "from_name": "p", "to_name": "video1,video2", "value": {"selected": "left"}}
        rows = [
            {
                "data": {"video1": first, "video2": second, "prompt": "a ball"},
                "annotations": [{"completed_by": 1, "result": [answer]}],
            }
        ]
    file.write_text(json.dumps(rows))
    return file


def test_the_name_of_a_run_in_a_row_leads_nowhere(theirs: Path, tmp_path: Path, rushes: Rushes) -> None:
    name = "../../other/escape"
    with sqlite3.connect(theirs / "rushes.db") as database:
        (body,) = database.execute("SELECT body FROM rows WHERE type = 'runs'").fetchone()
        body = json.dumps(json.loads(body) | {"id": "escape", "name": name})
        database.execute("INSERT INTO rows (type, id, body, name) VALUES ('runs', 'escape', ?, ?)", (body, name))
    database.close()
    other = tmp_path / "other"
    other.mkdir()
    (other / "escape.json").write_bytes((theirs / "reports" / "realdpo.json").read_bytes())
    for words in (("report", theirs, "--run", name), ("export", theirs, "--out", tmp_path / "out", "--run", name)):
        status, out, err = rushes(*words)
        assert (status, out) == (2, "") and f"name: '{name}' would point outside" in err, err
    assert [path.name for path in other.iterdir()] == ["escape.json"]


@pytest.mark.parametrize("bad", ["../x", "/etc/passwd", "a/b", "..", ".", "a\\b", "a\0b"])
@pytest.mark.parametrize("field", ["id", "name", "system"])
def test_no_row_has_a_path_for_a_name(field: str, bad: str, finished: Path) -> None:
    with Store.open(finished) as store:
        for kind in KINDS.values():
            row = next(iter(store.stream(kind)), None)
            if row is None or not hasattr(row, field):
                assert row is None or not isinstance(row, Run) or field == "system"
                continue
            text = json.dumps(json.loads(encode(row)) | {field: bad})
            with pytest.raises(ValueError, match=f"{field}: .* would point outside"):
                decode(kind, text)


def test_inside(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "up").symlink_to(tmp_path)
    (folder / "ring").symlink_to(folder / "ring")
    (tmp_path / "by-a-link").symlink_to(folder)
    for text in ("a.mp4", "deep/a.mp4", "deep/../a.mp4", str(folder / "a.mp4"), "...", "up/folder/a.mp4"):
        assert inside(folder, text) == folder / text
    assert inside(tmp_path / "by-a-link", "a.mp4") == tmp_path / "by-a-link" / "a.mp4"
    for text in ("..", "../a.mp4", "/etc/passwd", "up/a.mp4", "deep/../../a.mp4"):
        with pytest.raises(ValueError, match=r"points outside .*; copy the file there"):
            inside(folder, text)
    for text in ("ring/a.mp4", "a\0b"):
        with pytest.raises(ValueError, match="names no file"):
            inside(folder, text)
