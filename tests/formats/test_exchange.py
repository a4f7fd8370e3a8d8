"""Parquet and JSONL, out and in."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.formats.exchange import EXCHANGED, export_project, import_project, read_rows, write_rows
from rushes.records import Annotation, Candidate, CaptionRow, Clip, Decision, Preference, Row, Run, Score
from rushes.store.database import Store

from ..store.conftest import RowMaker

FORMS = ("parquet", "jsonl")
REAL = st.floats(allow_nan=False, allow_infinity=False)
# No row is stored under a name that is a path.
NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0")).filter(lambda name: name not in (".", ".."))
INTEGER = st.integers(-(2**63), 2**63 - 1)
SIDE = st.integers(1, 2**17)
SIZES = {"width_px": SIDE, "height_px": SIDE, "frames": st.integers(1, 10**9), "fps": st.floats(1e-4, 1e5)}


def rows_of(kind: type[Row]) -> st.SearchStrategy[Row]:
    given_values: dict[type[Row], dict[str, st.SearchStrategy[Any]]] = {
        Clip: SIZES,
        Candidate: {**SIZES, "seed": INTEGER, "eta": st.none() | REAL},
        Annotation: {
            "reasons": st.lists(st.lists(st.text(), max_size=2).map(tuple), max_size=3).map(tuple),
            "broken": st.lists(st.text(), max_size=2).map(tuple),
            "ranking": st.just(()) | st.just((("a",), ("b", "c"))),
            "seconds": st.none() | REAL,
            "plays": st.none() | INTEGER,
            **dict.fromkeys(("span_starts_s", "span_ends_s", "span_labels", "span_reasons"), st.just(())),
        },
        CaptionRow: {},
        Decision: {},
        Score: {"value": REAL, "per_segment": st.lists(REAL, max_size=4).map(tuple)},
    }
    if kind is Preference:
        labels = st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=5).map(tuple)
        lengths = st.floats(1e-6, 1e6)
        return st.builds(
            Preference, id=NAME, labels=labels, segment_s=lengths, strength=st.none() | REAL, supersedes=st.text()
        )
    names = {field: NAME for field in ("id", "system") if field in kind.__dataclass_fields__}
    return st.builds(kind, **names, **given_values[kind])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", EXCHANGED)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rows_come_back_as_they_were(kind: type[Row], form: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(rows_of(kind), max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{form}"
        assert write_rows(kind, rows, path) == len(rows)
        back = list(read_rows(kind, path))
    assert back == rows
    assert [repr(row) for row in back] == [repr(row) for row in rows]  # tells -0.0 from 0.0, and 1 from 1.0


@pytest.mark.parametrize("form", FORMS)
def test_a_project_goes_out_and_in(store: Store, make: RowMaker, tmp_path: Path, form: str) -> None:
    store.add([make.clip(caption='two\nlines, "quoted" \u2028 \0 🐕'), make.candidate(eta=0.1), make.candidate("k2")])
    store.add([make.preference("1"), make.preference("2", supersedes="1", labels=(0, -1), segment_s=0.5)])
    store.add(
        [
            make.annotation(),
            make.score(value=1 / 3, per_segment=(0.1, 0.2)),
            make.caption(),
            make.decision(),
            make.run(),
        ]
    )
    counts = export_project(store, tmp_path / "out", form)  # type: ignore[arg-type]
    assert counts == {
        "clips": 1, "candidates": 2, "preferences": 2, "annotations": 1, "scores": 1, "captions": 1, "decisions": 1,
    }  # fmt: skip
    with Store.create(tmp_path / "copy") as copy:
        assert [import_project(copy, tmp_path / "out") for _ in range(2)] == [9, 0]
        for kind in EXCHANGED:
            assert list(copy.stream(kind)) == list(store.stream(kind))
        assert copy.preferences() == store.preferences()


def test_parquet_has_plain_typed_columns(make: RowMaker, tmp_path: Path) -> None:
    write_rows(Preference, [make.preference(labels=(1, -1), segment_s=1.0)] * 3, tmp_path / "p.parquet")
    table = ds.dataset(tmp_path / "p.parquet").to_table(filter=ds.field("judge") == "me")
    assert table.num_rows == 3
    types = {name: str(table.schema.field(name).type) for name in ("id", "labels", "segment_s", "strength")}
    assert types == {"id": "string", "labels": "list<element: int64>", "segment_s": "double", "strength": "double"}
    assert table.column("strength").null_count == 3


def test_hugging_face_datasets_reads_both(make: RowMaker, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    for form in FORMS:
        path = tmp_path / f"candidates.{form}"
        write_rows(Candidate, [make.candidate(), make.candidate("k2", eta=0.5)], path)
        loader = "parquet" if form == "parquet" else "json"
        read = datasets.load_dataset(loader, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        assert read["eta"][:] == [None, 0.5] and read[0]["caption"] == "a dog"


def test_many_rows_cross_batches(make: RowMaker, tmp_path: Path) -> None:
    rows = [make.score(str(number), value=number / 7) for number in range(11_000)]
    for form in FORMS:
        assert write_rows(Score, iter(rows), tmp_path / f"s.{form}") == 11_000
        assert list(read_rows(Score, tmp_path / f"s.{form}")) == rows


def test_jsonl_as_others_write_it(make: RowMaker, tmp_path: Path) -> None:
    line = json.dumps({"id": "s", "subject": "k", "metric": "é", "value": 1})
    (tmp_path / "s.jsonl").write_bytes(b"\xef\xbb\xbf" + f"{line}\r\n\r\n{line}".encode())  # mark, CRLF, no last end
    assert list(read_rows(Score, tmp_path / "s.jsonl")) == [Score("s", "k", "é", 1.0)] * 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id":"s","subject":"k","metric":"m","val', "Invalid JSON"),
        ('{"id":"s","subject":"k","metric":"m"}', "value: Field required"),
        ('{"id":"s","subject":"k","metric":"m","value":"1"}', "value: Input should be a valid number"),
        ('{"id":"s","subject":"k","metric":"m","value":1,"colour":"red"}', "colour: Unexpected field"),
        ('{"id":"s","subject":"k","metric":"m","value":NaN}', "NaN or infinite"),
        ('{"id":"s","subject":"k","metric":"m","value":1e999}', "NaN or infinite"),
        ('{"id":"s","subject":"k","metric":"\\ud800","value":1}', "Invalid JSON"),
        ("[1, 2]", "an object"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_imported(
    store: Store, make: RowMaker, tmp_path: Path, line: str, reason: str
) -> None:
    write_rows(Score, [make.score("1"), make.score("2")], tmp_path / "scores.jsonl")
    with (tmp_path / "scores.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=f"scores.jsonl, line 3: .*{reason}"):
        import_project(store, tmp_path)
    assert store.scores() == ()


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_bytes(b'{"id":"\xff\xfe"}\n')
    with pytest.raises(ValueError, match="line 1: Invalid JSON"):
        list(read_rows(Score, tmp_path / "s.jsonl"))


def test_a_bad_parquet_row_is_named(tmp_path: Path) -> None:
    values = {"id": ["1", "2"], "subject": ["k", None], "metric": ["m", "m"], "value": [1.0, 2.0]}
    pq.write_table(pa.table(values), tmp_path / "s.parquet")
    with pytest.raises(ValueError, match="row 2: subject: Input should be a valid string"):
        list(read_rows(Score, tmp_path / "s.parquet"))
    pq.write_table(pa.table(values | {"subject": [b"x", b"y"]}), tmp_path / "s.parquet")
    with pytest.raises(ValueError, match=r"row 1: .*bytes"):
        list(read_rows(Score, tmp_path / "s.parquet"))
    pq.write_table(pa.table(values | {"subject": ["k", "k"], "value": [1.0, math.nan]}), tmp_path / "s.parquet")
    with pytest.raises(ValueError, match=r"row 2: .*NaN"):
        list(read_rows(Score, tmp_path / "s.parquet"))
    (tmp_path / "s.parquet").write_bytes(b"PAR1 and then nothing of the kind")
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        list(read_rows(Score, tmp_path / "s.parquet"))


def test_a_kind_in_the_wrong_file_is_refused(make: RowMaker, tmp_path: Path) -> None:
    write_rows(Clip, [make.clip()], tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="subject: Field required"):
        list(read_rows(Score, tmp_path / "c.parquet"))


def test_an_integer_too_wide_for_parquet_leaves_the_old_file(make: RowMaker, tmp_path: Path) -> None:
    path = tmp_path / "k.parquet"
    write_rows(Candidate, [make.candidate()], path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"does not fit its column's type .*export as JSONL"):
        write_rows(Candidate, [make.candidate(seed=2**64)], path)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["k.parquet"]
    write_rows(Candidate, [make.candidate(seed=2**64)], tmp_path / "k.jsonl")
    assert next(read_rows(Candidate, tmp_path / "k.jsonl")).seed == 2**64


def test_runs_go_to_jsonl(make: RowMaker, tmp_path: Path) -> None:
    write_rows(Run, [make.run()], tmp_path / "r.jsonl")
    assert list(read_rows(Run, tmp_path / "r.jsonl")) == [make.run()]


def test_folders_that_cannot_be_imported(store: Store, make: RowMaker, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of clips, candidates"):
        import_project(store, tmp_path)
    for form in FORMS:
        write_rows(Score, [make.score()], tmp_path / f"scores.{form}")
    with pytest.raises(ValueError, match=r"both scores.parquet and scores.jsonl; keep one"):
        import_project(store, tmp_path)
    with pytest.raises(ValueError, match=r"'.csv' is an unknown format"):
        write_rows(Score, [], tmp_path / "scores.csv")
