from __future__ import annotations

import gc
from pathlib import Path

import pytest

from rushes.footage.preflight import CheckedVideo
from rushes.footage.probe_cache import VideoFacts
from rushes.formats.layouts import Part, SourceVideo
from rushes.formats.spool import Spool

ODD = 'un café «l\'été» "x",\n日本.mp4'


def rows() -> list[CheckedVideo]:
    items = (
        SourceVideo(Path("a") / ODD, ODD, ODD, Path("still.png"), (Path("1.mp4"), Path("2.mp4")), "system"),
        SourceVideo(Path("all.tar"), "", "x", part=Part("k.mp4", 2**40, 7), scenario="sea"),
    )
    facts = VideoFacts("ab" * 32, 16, 32, 3, 24000 / 1001, 1 / 3, False, False, (0.1, 0.2))
    return [CheckedVideo(item, facts, "id", "", "", ((0.0, 1 / 3),)) for item in items]


def test_rows_come_back_equal_in_order_and_as_often_as_they_are_asked_for() -> None:
    spool = Spool(CheckedVideo, rows())
    assert list(spool) == list(spool) == rows() == spool[:] and len(spool) == 2
    assert (spool[-1], spool[::-1]) == (rows()[1], rows()[::-1])
    for one, other in zip(spool, rows(), strict=True):  # added to while it is read, and read by two at once
        spool.append(one)
        assert one == other == spool[len(spool) - 1]
        if len(spool) == 4:
            break
    assert list(spool) == [*rows(), *rows()]
    with pytest.raises(IndexError):
        spool[4]


def test_no_row_stays_in_memory() -> None:
    spool = Spool(SourceVideo, (SourceVideo(Path(f"{at}.mp4"), "words " * 50, "") for at in range(500)))
    gc.collect()
    assert not any(type(each) is SourceVideo for each in gc.get_objects())
    assert spool[499].path == Path("499.mp4")


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="its name is not Unicode; rename the file"):
        Spool(SourceVideo, [SourceVideo(Path("a\udcff.mp4"), "", "a")])
