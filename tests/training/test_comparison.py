from __future__ import annotations

from dataclasses import asdict

import pytest

from rushes.objectives.terms import Term
from rushes.training.comparison import Comparison, LatentGrid, View, hashed_comparisons


def test_segment_labels_fall_on_latent_frames() -> None:
    """17 frames at 8 fps are two full seconds and a frame: latent frames 1, 2 lie in the first, 3, 4 in the second."""
    grid = LatentGrid(frames=5, temporal_ratio=4, fps=8.0, first_frame=False)
    assert grid.labels((1, -1), 1.0) == (1, 1, 1, -1, -1)
    assert grid.labels((-1,)) == (-1,) * 5


def test_a_given_first_frame_is_not_scored() -> None:
    grid = LatentGrid(frames=5, temporal_ratio=4, fps=8.0, first_frame=True)
    assert grid.labels((1, -1), 1.0) == (0, 1, 1, -1, -1)
    assert grid.labels((1,)) == (0, 1, 1, 1, 1)


def test_labels_that_do_not_fit_are_refused() -> None:
    grid = LatentGrid(frames=5, temporal_ratio=4, fps=8.0, first_frame=True)
    with pytest.raises(ValueError, match=r"5 labels of 1\.0 s do not fit a clip of 17 frames"):
        grid.labels((1, 1, 1, 1, 1), 1.0)


def test_identities_have_the_first_name_of_the_sigmoid_link() -> None:
    """As `dataclasses.asdict` gave it when the link was called logistic: runs of that time go on."""
    terms = (Term("clip", (1.0, -1.0), (1,), 2.0), Term("supervised", (1.0, 0.0), (1,), link="error"))
    (row,) = hashed_comparisons([Comparison("a", "g", (View("m", "a ball"),), terms)])
    assert [term["link"] for term in row["terms"]] == ["logistic", "error"]
    assert row["views"] == ({"media": "m", "caption": "a ball", "first_frame": "", "source": "", "edit": ""},)
    assert {**row["terms"][0], "link": "sigmoid"} == asdict(terms[0])
