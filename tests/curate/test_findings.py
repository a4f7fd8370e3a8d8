from __future__ import annotations

from array import array

import pytest

from rushes.curate.base import CurationFinding
from rushes.curate.findings import MeasureColumns, packed


def test_a_finding_comes_back_as_it_was() -> None:
    columns = MeasureColumns(["a", "b", "c"])
    columns.add("b", CurationFinding({"blur": 0.5, "text": 0.0}, {"print": (1.0, -2.0)}, {"dense": "a dog"}))
    columns.add("c", CurationFinding({"text": 2.0}))
    found = columns.finding("b")
    assert dict(found.values) == {"blur": 0.5, "text": 0.0} and len(found.values) == 2
    assert list(found.words["print"]) == [1.0, -2.0] and found.captions == {"dense": "a dog"}
    assert dict(columns.finding("c").values) == {"text": 2.0} and "blur" not in columns.finding("c").values
    assert columns.finding("c").values.get("blur") is None and not columns.finding("a").values
    assert (columns.caption("b", "dense"), columns.caption("a", "dense")) == ("a dog", "")
    columns.add("b", CurationFinding({"blur": 0.25}))
    columns.forget_words()
    assert columns.finding("b").values["blur"] == 0.25 and not columns.finding("b").words
    with pytest.raises(KeyError):
        columns.finding("a").values["blur"]


def test_numbers_are_packed_without_loss() -> None:
    small = packed((1.0, -32768.0, 32767.0))
    assert isinstance(small, array) and small.itemsize == 2 and list(small) == [1.0, -32768.0, 32767.0]
    for numbers in ((0.5,), (32768.0,), (1e300, 2.0), (1 / 3, -0.1)):
        assert list(packed(numbers)) == list(numbers)
    assert packed(small) is small
