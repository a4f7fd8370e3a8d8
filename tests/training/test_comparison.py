from __future__ import annotations

from dataclasses import asdict

import pytest

from rushes.objectives.terms import Term
from rushes.training.comparison import OWN, Comparison, LatentGrid, View, hashed_comparisons, mirrored


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


def test_identities_have_the_first_names_of_loss_type_and_sigmoid() -> None:
    """As `dataclasses.asdict` gave it when the link was called logistic: runs of that time go on."""
    terms = (Term("clip", (1.0, -1.0), (1,), 2.0), Term("supervised", (1.0, 0.0), (1,), loss_type="error"))
    (row,) = hashed_comparisons([Comparison("a", "g", (View("m", "a ball"),), terms)])
    assert [term["link"] for term in row["terms"]] == ["logistic", "error"]
    assert row["views"] == ({"media": "m", "caption": "a ball", "first_frame": "", "source": "", "edit": ""},)
    stored = row["terms"][0]
    assert stored.pop("link") == "logistic" and {**stored, "loss_type": "sigmoid"} == asdict(terms[0])


def pair(*captions: str, edit: str = "", first: str = "") -> Comparison:
    views = tuple(View(media, captions[0], first, edit=edit) for media in ("real", "take"))
    return Comparison("a", "g", views, (Term("clip", (1.0, -1.0), (1,), 2.0),), captions if len(captions) > 1 else ())


def test_a_mirrored_comparison_has_all_clips_and_the_first_frame_in_the_mirror() -> None:
    turned = mirrored(pair("a ball falls", first="real"))
    assert turned is not None and (turned.group, turned.terms) == ("g", pair("").terms) and turned.id != "a"
    assert [view.key for view in turned.views] == ["real|mirror", "take|mirror"]
    assert {str(view.first) for view in turned.views} == {"real|mirror/first"}
    edited = mirrored(pair("a ball falls", edit="reverse", first=OWN))
    assert edited is not None and edited.views[0].key == "real|mirror+reverse" and edited.views[0].first is None


@pytest.mark.parametrize(
    "comparison",
    [
        pair("a ball rolls to the left"),
        pair("une balle roule vers la gauche"),
        pair("ein Ball rollt nach links"),
        pair("una pelota rueda a la derecha"),
        pair("мяч катится налево и вправо, в левую сторону"),
        pair("The rightmost of two cups"),
        pair("a wheel turns clockwise"),
        pair("杯子在左边"),
        pair("a ball rolls", "it rolls left"),
        pair("a ball", edit="flow:take"),
        pair("a ball", edit="codec"),
    ],
)
def test_what_would_be_wrong_in_a_mirror_is_not_mirrored(comparison: Comparison) -> None:
    """Also under another caption of its clip, and where an edit shows another clip or the codec."""
    assert mirrored(comparison) is None


def test_a_bright_upright_cup_may_be_mirrored() -> None:
    assert mirrored(pair("a bright cup stands upright")) is not None
