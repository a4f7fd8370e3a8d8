from __future__ import annotations

from typing import Any

from rushes.objectives.terms import Term
from rushes.recipes.sft import Options, comparisons
from rushes.training.comparison import View


def test_every_training_clip_alone(corner: Any) -> None:
    found = comparisons(corner.store, Options(), corner.grid)
    assert [c.id for c in found] == [clip.id for clip in corner.store.clips("train")]
    caption = corner.store.get("clip 2").caption
    assert found[2].views == (View("clip 2", caption, "clip 2", "real"),)
    assert found[2].terms == (Term("supervised", (1.0,), (0, 1, 1, 1, 1), link="error"),)


def test_a_text_model_is_scored_on_its_first_frame_too(corner: Any, text_only: Any) -> None:
    (first, *_) = comparisons(corner.store, Options(), text_only)
    assert first.views[0].first_frame == "" and first.terms[0].labels == (1, 1, 1, 1, 1)
