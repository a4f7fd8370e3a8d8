"""Which of several shapes a clip is brought to."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rushes.config.clip_shapes import ClipShape, available, best_shape, crop_shares, lost_share, segment_of_frames
from rushes.config.settings_files import hashed_form
from rushes.config.tables import BackboneSettings, Settings

SIZES = [[480, 832], [832, 480], [640, 640]]
RATE = 16.0


@dataclass(frozen=True)
class Video:
    width_px: int
    height_px: int
    frames: int
    fps: float


pixels = st.integers(1, 4000)
videos = st.builds(Video, pixels, pixels, st.integers(1, 400), st.sampled_from([8.0, 23.976, 25.0, 30.0, 59.94]))
shapes = st.lists(st.builds(ClipShape, pixels, pixels, st.integers(1, 161)), min_size=1, max_size=6, unique=True)
together = st.lists(videos, min_size=1, max_size=3)


def cropped(many: list[Video], shape: ClipShape) -> Fraction:
    return sum((lost_share(each, shape.height_px, shape.width_px) for each in many), Fraction())


@given(together, shapes)
def test_no_other_shape_loses_less(many: list[Video], choice: list[ClipShape]) -> None:
    """The longest that all fill, and of these the least cropped; always one of those that there are."""
    best = best_shape(many, choice, RATE, choice[0].frames)
    assert best in choice
    moving = [each for each in many if each.frames > 1]
    have = min((available(each.frames, each.fps, RATE) for each in moving), default=choice[0].frames)
    filled = [shape.frames for shape in choice if shape.frames <= have]
    assert best.frames == (max(filled) if filled else min(shape.frames for shape in choice))
    assert all(cropped(many, best) <= cropped(many, other) for other in choice if other.frames == best.frames)


@given(together, shapes, st.randoms())
def test_the_order_of_shapes_and_videos_does_not_count(
    many: list[Video], choice: list[ClipShape], rng: random.Random
) -> None:
    before = best_shape(many, choice, RATE, 1)
    assert before == best_shape(rng.sample(many, len(many)), rng.sample(choice, len(choice)), RATE, 1)


@given(videos, st.integers(1, 8))
def test_what_is_lost_is_what_a_crop_takes(video: Video, times: int) -> None:
    """A clip of a shape's own aspect loses nothing, at any scale; turned, it loses as much of the turned shape."""
    assert lost_share(video, video.height_px * times, video.width_px * times) == 0
    turned = Video(video.height_px, video.width_px, video.frames, video.fps)
    assert lost_share(video, 3, 7) == lost_share(turned, 7, 3)
    across, down = crop_shares(video, 3, 7)
    assert max(across, down) == 1 and video.width_px * across / (video.height_px * down) == Fraction(7, 3)


@pytest.mark.parametrize(
    ("size_px", "seconds", "wanted"),
    [
        ((1920, 1080), 6.0, "81x480x832"),
        ((1080, 1920), 2.1, "33x832x480"),
        ((1000, 1000), 5.1, "81x640x640"),
        ((1440, 1080), 4.0, "33x480x832"),  # 23 % are cropped from 4:3, to a square 25 %
        ((720, 404), 1.0, "33x480x832"),  # too short for all: the shortest, which reading it refuses
    ],
)
def test_a_clip_goes_where_one_would_put_it(size_px: tuple[int, int], seconds: float, wanted: str) -> None:
    size = BackboneSettings.model_validate({"sizes": SIZES, "frames": [33, 81], "fps": 16.0})
    assert str(size.shape_of(Video(*size_px, round(30 * seconds), 30.0))) == wanted


def test_of_equal_aspects_the_largest_that_enlarges_nothing_is_taken() -> None:
    choice = [ClipShape(120, 160, 9), ClipShape(240, 320, 9), ClipShape(480, 640, 9)]
    for width, wanted in ((640, 480), (639, 240), (100, 480)):
        assert best_shape([Video(width, width * 3 // 4, 30, 16.0)], choice, RATE, 9).height_px == wanted


def test_a_still_has_the_default_length() -> None:
    size = BackboneSettings.model_validate({"sizes": SIZES, "frames": [33, 81], "fps": 16.0})
    assert str(size.shape_of(Video(400, 800, 1, 25.0))) == "33x832x480"


def test_settings_of_several_shapes_read_as_they_are_written() -> None:
    size = BackboneSettings.model_validate({"sizes": SIZES, "frames": [33, 81]})
    assert (size.height_px, size.width_px, size.frames, size.lengths) == (480, 832, 33, (33, 81))
    assert size.shapes[0] == size.shape and len(size.shapes) == 6 and size.largest == ClipShape(640, 640, 81)
    assert BackboneSettings.model_validate(size.model_dump(mode="json")) == size
    portrait = size.at("81x832x480")
    assert (portrait.shape, portrait.shapes) == (ClipShape(832, 480, 81), (ClipShape(832, 480, 81),))
    assert [size.name_of(shape) for shape in size.shapes[:2]] == ["", "81x480x832"]
    assert all(size.at(size.name_of(shape)).shape == shape for shape in size.shapes)


def test_one_shape_has_the_digests_that_it_had() -> None:
    """Settings that came later do nothing at their defaults, so what was made from older ones stays current."""
    assert not {"sizes", "lengths"} & hashed_form(BackboneSettings()).keys()
    assert not {"sizes", "lengths"} & hashed_form(Settings())["backbone"].keys()
    several = BackboneSettings.model_validate({"sizes": SIZES})
    assert hashed_form(several)["sizes"] == SIZES and BackboneSettings().at("") == BackboneSettings()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sizes": [[480, 832]], "height_px": 32, "width_px": 48}, "sizes: does not contain 32 x 48"),
        ({"sizes": [[480, 832], [0, 832]]}, "above 0"),
        ({"lengths": [33, 81], "frames": 17}, r"frames \(17\) must be one of them"),
        ({"sizes": "square"}, "auto"),
        ({"sizes": [[480]]}, "Field required"),
    ],
)
def test_settings_that_contradict_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BackboneSettings.model_validate(values)


def test_clips_keep_their_rates_where_they_may() -> None:
    """A clip's own rate, or the nearest that there is; the length is counted at it, and a still has the project's."""
    size = BackboneSettings.model_validate({"frames": [49, 97], "fps": "own"} | {"height_px": 32, "width_px": 32})
    assert size.fps == 8.0 and 23.976 in size.rates and hashed_form(size)["rates"]
    wanted = {(97, 24.0): "97x32x32@24", (60, 23.976): "49x32x32@23.976", (100, 31.0): "97x32x32@30", (1, 30.0): ""}
    for (frames, fps), name in wanted.items():
        assert size.name_of(size.shape_of(Video(64, 64, frames, fps))) == name
    own = size.at("97x32x32@24")
    assert (own.fps, own.frames, own.rates, len(own.shapes)) == (24.0, 97, (), 1)
    given = BackboneSettings.model_validate({"fps": 25.0, "rates": [24.0, 25.0]})
    assert [str(shape) for shape in given.shapes] == ["33x64x64", "33x64x64@24"]


@pytest.mark.parametrize(
    ("frames", "fps", "segment_s", "sizes"),
    [
        (17, 8, 1.0, [8, 9]),
        (17, 8, 0.5, [4, 4, 4, 5]),
        (17, 8, 5.0, [17]),
        (16, 8, 1.0, [8, 8]),
        (121, 24, 1.0, [24, 24, 24, 24, 25]),
        (31, 30, 0.1, [3] * 9 + [4]),
        (1, 8, 1.0, [1]),
    ],
)
def test_segments_of_frames(frames: int, fps: float, segment_s: float, sizes: list[int]) -> None:
    segments = segment_of_frames(frames, fps, segment_s)
    assert [segments.count(at) for at in range(segments[-1] + 1)] == sizes
    assert segments == sorted(segments)
