from __future__ import annotations

import numpy as np
import pytest

from rushes.media.strips import contact_sheet

CLIP = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((9, 4, 6, 3), np.uint8)


def test_sheet_shows_even_steps_from_first_to_last() -> None:
    sheet = contact_sheet([CLIP, CLIP + 100], columns=3, scale=2, gap_px=1)
    assert sheet.shape == (2 * 8 + 1, 3 * 12 + 2, 3)
    assert [int(sheet[0, left, 0]) for left in (0, 13, 26)] == [0, 4, 8]
    assert [int(sheet[16, left, 2]) for left in (11, 24, 37)] == [100, 104, 108]
    assert (sheet[8] == 255).all() and (sheet[:, 12] == 255).all()


def test_short_clip_leaves_its_row_white() -> None:
    sheet = contact_sheet([CLIP, CLIP[:2]], columns=4, gap_px=0)
    assert [int(sheet[4, left, 0]) for left in (0, 6, 12, 18)] == [0, 1, 255, 255]


def test_labels_stand_above_their_rows() -> None:
    plain, labelled = (contact_sheet([CLIP], columns=9, labels=labels) for labels in (None, ["base"]))
    head = labelled.shape[0] - plain.shape[0]
    assert np.array_equal(labelled[head:], plain)
    assert labelled[:head].min() < 100


def test_what_does_not_fit_together() -> None:
    with pytest.raises(ValueError, match="no clips"):
        contact_sheet([])
    with pytest.raises(ValueError, match=r"different sizes .* same size_px"):
        contact_sheet([CLIP, CLIP[:, :2]])
    with pytest.raises(ValueError, match="1 labels for 2 clips"):
        contact_sheet([CLIP, CLIP], labels=["one"])
    with pytest.raises(ValueError, match="columns must be"):
        contact_sheet([CLIP], columns=0)
    with pytest.raises(ValueError, match="frames must be"):
        contact_sheet([CLIP.astype(float)])
