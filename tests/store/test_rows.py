"""Rows as JSON text."""

import json

import pytest

from rushes.records import Annotation, Clip, Preference, Run, Score
from rushes.store.rows import decode, encode, kind_of, same

from .conftest import RowMaker

MAKERS = ["clip", "candidate", "preference", "score", "caption", "decision", "run"]


def test_every_reason_is_given_at_once() -> None:
    with pytest.raises(ValueError, match=r"left: Input should be a valid string.*labels: .*required.*size"):
        decode(Preference, '{"id":"p","left":1,"right":"b","judge":"me","size":2}')


@pytest.mark.parametrize(("text", "reason"), [("{", "Invalid JSON"), ("[]", "an object"), ("", "Invalid JSON")])
def test_what_is_not_a_json_object_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(Clip, text)


def test_the_record_s_own_checks_count() -> None:
    with pytest.raises(ValueError, match=r"^preference p: 2 labels need segment_s"):
        decode(Preference, '{"id":"p","left":"a","right":"b","judge":"me","labels":[1,0]}')


def test_a_number_is_not_taken_for_text_nor_a_truth_for_a_number(make: RowMaker) -> None:
    for changes in ({"caption": 5}, {"frames": True}, {"fps": "8"}):
        with pytest.raises(ValueError, match="Input should be"):
            decode(Clip, encode(make.clip(**changes)))


def test_same_looks_at_all_fields_but_the_date(make: RowMaker) -> None:
    old, new = (make.preference(created_at=day) for day in ("2025-01-01", "2025-01-02"))
    assert same(Preference, encode(old), encode(new))
    assert not same(Preference, encode(old), encode(make.preference(dimension="motion")))
    assert same(Clip, encode(make.clip(fps=8)), encode(make.clip(fps=8.0)))


def test_errors_call_each_row_by_its_kind(make: RowMaker) -> None:
    assert [kind_of(getattr(make, name)()) for name in MAKERS] == MAKERS


def test_no_text_of_any_row_fills_memory_or_the_screen(make: RowMaker) -> None:
    """A run's name of megabytes went to the terminal with each command."""
    for row in (*(getattr(make, name)() for name in MAKERS), Annotation("a", "p", "human:ada")):
        texts = [name for name, kind in type(row).__annotations__.items() if kind == "str"]
        assert {"id", "settings_hash"} <= set(texts)
        for name in texts:
            longer = json.dumps(vars(row) | {name: "w" * 100_001})
            with pytest.raises(ValueError, match=rf"^{name}: 100,001 characters; (255|100,000) are the most"):
                decode(type(row), longer)
    for text in (json.dumps({"settings": ["w"] * 10**6}), json.dumps(dict.fromkeys(map(str, range(9**5)), 1))):
        with pytest.raises(ValueError) as refusal:
            decode(Run, text)
        assert len(str(refusal.value)) <= 2000


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    """A project from elsewhere held infinity: `verify` called it whole, and `report` warned in NumPy's words."""
    for field in (f'"value":{number}', f'"value":1.0,"per_segment":[0.5,{number}]'):
        with pytest.raises(ValueError, match="NaN or infinite, which no row may hold"):
            decode(Score, f'{{"id":"a","subject":"b","metric":"c",{field}}}')


@pytest.mark.parametrize(
    ("field", "number"),
    [("fps", 0.0), ("fps", 1e-300), ("frames", 0), ("frames", -5), ("width_px", 0), ("height_px", 10**12)],
)
def test_a_number_that_no_video_has_is_refused(make: RowMaker, field: str, number: float) -> None:
    """A project from elsewhere with 0 fps ended `curate` in a traceback."""
    text = json.dumps({**json.loads(encode(make.clip())), field: number})
    with pytest.raises(ValueError, match=f"^{field}: .* no video has less than"):
        decode(Clip, text)
