from __future__ import annotations

from fractions import Fraction

from rushes.media.video_reader import VideoReader

from .conftest import Counting, MakeVideo


def test_late_start_skips_most_of_the_file(make_video: MakeVideo, counting: Counting) -> None:
    for name in ("a.mp4", "a.mkv"):
        with VideoReader(make_video(name, counting(60), 4, gop=6)) as footage:
            shown = footage.shown(Fraction(12))
            first = next(shown)
            assert 10 <= first.start_s <= 12  # the key frame before, not the first of the file
            assert len(list(shown)) < 20


def test_times_run_on_without_gaps(make_video: MakeVideo, counting: Counting) -> None:
    path = make_video("a.mp4", counting(5), times=[7, 9, 10, 14, 15])
    with VideoReader(path) as footage:
        spans = [(shown.start_s * 30, shown.end_s * 30) for shown in footage.shown()]
    assert [start for start, _ in spans] == [0, 2, 3, 7, 8]
    assert [end for _, end in spans[:-1]] == [2, 3, 7, 8]
