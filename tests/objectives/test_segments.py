from __future__ import annotations

import pytest

from rushes.objectives.segments import frame_labels, latent_labels, of_latent_frames

FIVE = (1, -1, 0, 1, -1)


def runs(labels: tuple[int, ...], latents: tuple[int, ...]) -> list[int]:
    """One label per latent from the last latent of each segment."""
    return [next(label for label, last in zip(labels, latents, strict=True) if k <= last) for k in range(31)]


def test_the_paper_s_clip() -> None:
    """121 frames at 24 fps, ratio 4: latents 0-6, 7-12, 13-18, 19-24, 25-30."""
    made = latent_labels(FIVE, 1.0, latent_frames=31, temporal_ratio=4, fps=24)
    assert list(made) == runs(FIVE, (6, 12, 18, 24, 30))


def test_a_label_for_a_last_part_of_a_segment_is_not_used() -> None:
    """Rounding 121 / 24 up gives six segments, of which the sixth holds one frame."""
    for last in (1, 0, -1):
        made = latent_labels((*FIVE, last), 1.0, latent_frames=31, temporal_ratio=4, fps=24)
        assert made == latent_labels(FIVE, 1.0, latent_frames=31, temporal_ratio=4, fps=24)


def test_ratio_8() -> None:
    """121 frames are 16 latents; latent k >= 1 holds frames 8k - 7 .. 8k, and 24 belongs to the second second."""
    made = latent_labels((1, -1, 1, -1, 1), 1.0, latent_frames=16, temporal_ratio=8, fps=24)
    assert made == (1, 1, 1, 1, -1, -1, -1, 1, 1, 1, -1, -1, -1, 1, 1, 1)


def test_the_embedded_backbone_by_seconds() -> None:
    """17 frames at 8 fps: frames 0..7 | 8..16; latents hold 0, 1-4, 5-8, 9-12, 13-16."""
    made = latent_labels((1, -1), 1.0, latent_frames=5, temporal_ratio=4, fps=8)
    assert made == (1, 1, 1, -1, -1)


def test_the_embedded_backbone_by_half_seconds() -> None:
    """Frames 0-3 | 4-7 | 8-11 | 12-16: each latent has three frames of one segment and the first of the next."""
    made = latent_labels((1, -1, 0, 1), 0.5, latent_frames=5, temporal_ratio=4, fps=8)
    assert made == (1, 1, -1, 0, 1)


def test_an_even_split_is_a_tie() -> None:
    """At 6 fps, half a second is 3 frames: latent 1 holds frames 1-4, two of each side."""
    made = latent_labels((1, -1, 1), 0.5, latent_frames=3, temporal_ratio=4, fps=6)
    assert made == (1, 0, 1)
    made = latent_labels((1, 1, 1), 0.5, latent_frames=3, temporal_ratio=4, fps=6)
    assert made == (1, 1, 1)


def test_one_label_holds_for_the_whole_clip() -> None:
    for label in (1, 0, -1):
        assert latent_labels((label,), None, latent_frames=4, temporal_ratio=4, fps=24) == (label,) * 4


def test_a_clip_shorter_than_a_segment_is_one_segment() -> None:
    assert latent_labels((-1,), 5.0, latent_frames=3, temporal_ratio=4, fps=8) == (-1, -1, -1)


def test_rates_that_are_no_round_number_do_not_shift_segments() -> None:
    """0.1 s at 30 fps is 3 frames, though 0.1 * 30 is not 3 in binary."""
    labels = tuple((-1) ** k for k in range(10))
    made = latent_labels(labels, 0.1, latent_frames=31, temporal_ratio=1, fps=30)
    assert made[:-1] == tuple(labels[p // 3] for p in range(30))


@pytest.mark.parametrize(
    ("labels", "segment_s", "latent_frames"),
    [((1,) * 4, 1.0, 31), ((1,) * 7, 1.0, 31), ((1, 1), 5.0, 3), ((1,), 1.0, 5), ((1,) * 4, 1.0, 5)],
)
def test_labels_that_do_not_fit_are_refused(labels: tuple[int, ...], segment_s: float, latent_frames: int) -> None:
    fps = 24 if latent_frames == 31 else 8
    with pytest.raises(ValueError, match=f"{len(labels)} labels of {segment_s} s do not fit a clip of .* frames"):
        latent_labels(labels, segment_s, latent_frames=latent_frames, temporal_ratio=4, fps=fps)


def test_a_last_label_is_accepted_only_where_there_is_a_last_part() -> None:
    """25 frames at 25 fps are one second to the frame: a second label would be dropped unseen."""
    with pytest.raises(ValueError, match="1 full segments"):
        latent_labels((1, -1), 1.0, latent_frames=7, temporal_ratio=4, fps=25)


def test_several_labels_need_the_length_of_their_segments() -> None:
    with pytest.raises(ValueError, match="2 labels need segment_s"):
        latent_labels((1, -1), None, latent_frames=5, temporal_ratio=4, fps=8)


@pytest.mark.parametrize(
    ("from_spans", "frames", "latents"),
    [
        ((), (1,) * 4 + (-1,) * 13, (1, 1, -1, -1, -1)),
        ((0,), (0,) * 4 + (-1,) * 13, (0, 0, -1, -1, -1)),
        ((0, 1), (0,) * 4 + (-1,) * 4 + (0,) * 9, (0, 0, -1, 0, 0)),
    ],
)
def test_a_span_holds_for_its_own_seconds(
    from_spans: tuple[int, ...], frames: tuple[int, ...], latents: tuple[int, ...]
) -> None:
    """17 frames at 8 fps, and a span over frames 4 to 7 of the first of two seconds."""
    spans = [(0.5, 1.0, -1)]
    labels = frame_labels((1, -1), 1.0, frames=17, fps=8, spans=spans, from_spans=from_spans)
    assert labels == frames and of_latent_frames(labels, 4) == latents
    assert latent_labels((1, -1), 1.0, latent_frames=5, temporal_ratio=4, fps=8) == (1, 1, 1, -1, -1)


def test_a_frame_goes_with_the_span_over_its_middle_and_spans_that_differ_make_a_tie() -> None:
    """At 4 fps the middles of frames lie at 0.125, 0.375, 0.625, 0.875 s."""
    spans = [(0.0, 0.37, 1), (0.4, 0.9, 1), (0.6, 0.7, -1)]
    assert frame_labels((-1,), None, frames=5, fps=4, spans=spans) == (1, -1, 0, 1, -1)


@pytest.mark.parametrize(("segment_s", "fps"), [(1.0, 24.0), (0.5, 16.0), (0.1, 30.0)])
def test_labels_per_frame_are_segments_as_long_as_a_frame(segment_s: float, fps: float) -> None:
    labels = tuple((-1) ** k for k in range(int(61 / fps / segment_s)))
    by_frame = frame_labels(labels, segment_s, frames=61, fps=fps)
    expected = latent_labels(labels, segment_s, latent_frames=16, temporal_ratio=4, fps=fps)
    assert latent_labels(by_frame, 1 / fps, latent_frames=16, temporal_ratio=4, fps=fps) == expected
