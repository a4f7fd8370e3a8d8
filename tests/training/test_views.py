from __future__ import annotations

from dataclasses import replace

import pytest

from rushes.records import Candidate, Clip
from rushes.training.comparison import LatentGrid, View
from rushes.training.views import candidate_view, first_frame_of, of_clip, real_view

CLIP = Clip("c", "clip hash", "a ball", 32, 32, 17, 8.0, "world")
TAKE = Candidate("t", "take hash", "a ball", "take", "c", "c", "base", "w", 0, 32, 32, 17, 8.0)
GIVEN, TEXT = (LatentGrid(5, 4, 8.0, first_frame) for first_frame in (True, False))


def test_views_of_one_clip_share_its_first_frame() -> None:
    assert real_view(CLIP, GIVEN) == View("clip hash", "a ball", "clip hash", "real")
    assert candidate_view(TAKE, CLIP, GIVEN) == View("take hash", "a ball", "clip hash", "take")
    still = replace(CLIP, first_frame="still hash")
    assert first_frame_of(still) == real_view(still, GIVEN).first_frame == "still hash"
    assert candidate_view(TAKE, still, GIVEN).first_frame == "still hash"


def test_a_text_model_is_given_none() -> None:
    assert real_view(CLIP, TEXT).first_frame == candidate_view(TAKE, None, TEXT).first_frame == ""


def test_a_clip_of_a_pair_starts_from_its_own_first_frame() -> None:
    assert candidate_view(replace(TAKE, kind="imported", clip_id=""), None, GIVEN).first_frame == TAKE.media


def test_a_take_of_a_clip_that_is_not_trained_on_has_no_first_frame() -> None:
    with pytest.raises(ValueError, match=r"candidate t belongs to a clip outside .*backbone\.first_frame"):
        candidate_view(TAKE, None, GIVEN)


def test_candidates_by_clip_keep_their_order() -> None:
    others = [replace(TAKE, id=name, clip_id=clip) for name, clip in (("b", "d"), ("a", "c"), ("n", ""))]
    assert {clip: [c.id for c in found] for clip, found in of_clip([TAKE, *others]).items()} == {
        "c": ["t", "a"],
        "d": ["b"],
    }
