from __future__ import annotations

from rushes.objectives.terms import Term
from rushes.recipes.sft import Options, comparisons
from rushes.records import Clip
from rushes.training.comparison import LatentGrid, View

from .conftest import ProjectWithClips


def test_every_training_clip_alone(project_with_clips: ProjectWithClips) -> None:
    found = comparisons(project_with_clips.store, Options(), project_with_clips.grid)
    assert [c.id for c in found] == [clip.id for clip in project_with_clips.store.clips("train")]
    clip = project_with_clips.store.get("clip 2")
    assert isinstance(clip, Clip)
    assert found[2].views == (View("clip 2", clip.caption, "clip 2", "real"),)
    assert found[2].terms == (Term("supervised", (1.0,), (0, 1, 1, 1, 1), loss_type="error"),)


def test_a_text_model_is_scored_on_its_first_frame_too(
    project_with_clips: ProjectWithClips, text_only: LatentGrid
) -> None:
    (first, *_) = comparisons(project_with_clips.store, Options(), text_only)
    assert first.views[0].first_frame == "" and first.terms[0].labels == (1, 1, 1, 1, 1)
