"""A folder that Hugging Face `datasets` loads: labelled pairs with their videos, and the project's rows beside them.

    datasets.load_dataset(FOLDER)                 one row per pair, judge and question
    datasets.load_dataset(FOLDER, "preferences")  the rows as the project keeps them

`pairs` also serves trainers that read prompt, chosen and rejected: these are filled where the majority of a pair's
segments decided, and empty for ties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rushes.files import whole_file, write_text
from rushes.formats.exchange import export_project
from rushes.formats.outgoing import Outgoing
from rushes.records import INLINE, Annotation, Candidate, Clip, Preference
from rushes.store.annotators import AGAIN
from rushes.store.database import Store

_PAIRS = pa.schema(
    [
        ("prompt", pa.string()),
        ("video_left", pa.string()),
        ("video_right", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("judge", pa.string()),
        ("dimension", pa.string()),
        ("segment_s", pa.float64()),
        ("labels", pa.list_(pa.int64())),
        ("unjudged", pa.list_(pa.int64())),
        ("reasons", pa.list_(pa.list_(pa.string()))),
        ("strength", pa.string()),
        ("note", pa.string()),
        ("seconds", pa.float64()),
        ("preference", pa.string()),
    ]
)


@dataclass(frozen=True)
class PairsExported:
    """Labelled pairs as a folder that Hugging Face datasets loads."""

    pairs: int
    videos: int
    rows: Mapping[str, int] = field(metadata=INLINE)  # by kind: `clips`, `candidates`, `preferences`, ...
    personal_data: Mapping[str, int]  # personal data: `people`, `times`, `notes`; of videos `places`, `devices`, ...


def export_datasets(store: Store, folder: Path, outgoing: Outgoing | None = None) -> PairsExported:
    """Write `folder`: README.md with the configurations, pairs.parquet, a file per kind of row, and videos/.

    Returns:
        The number of rows of each, and of videos.

    Raises:
        ValueError: a video of a labelled pair is missing from the project.
    """
    outgoing = outgoing or Outgoing()
    counts = export_project(store, folder, outgoing=outgoing)
    (folder / "videos").mkdir(exist_ok=True)
    beside = {row.subject: row for row in store.annotations()}
    rows = [
        _pair(store, row, beside.get(row.id), outgoing.judge(row.judge))
        for row in store.preferences()
        if not row.judge.endswith(AGAIN)
    ]
    videos = {name: digest for _, files in rows for name, digest in files.items()}
    for name, digest in videos.items():
        outgoing.copy(store.media_path(digest), folder / name)
    with whole_file(folder / "pairs.parquet") as part:
        pq.write_table(pa.Table.from_pylist([row for row, _ in rows], _PAIRS), part)
    filled = [name for name, count in counts.items() if count]
    write_text(folder / "README.md", _card(filled))
    return PairsExported(len(rows), len(videos), counts, outgoing.personal)


def _pair(
    store: Store, row: Preference, remarks: Annotation | None, judge: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """One row of the table, and the videos it names with their content hashes."""
    left, right = (store.get(id) for id in (row.left, row.right))
    assert isinstance(left, Candidate | Clip) and isinstance(right, Candidate | Clip), row.id
    names = [f"videos/{side.media}{store.media_path(side.media).suffix}" for side in (left, right)]
    total = sum(row.labels)
    chosen, rejected = names if total > 0 else names[::-1] if total < 0 else ("", "")
    table = {
        "prompt": left.caption,
        "video_left": names[0],
        "video_right": names[1],
        "chosen": chosen,
        "rejected": rejected,
        "judge": judge,
        "dimension": row.dimension,
        "segment_s": row.segment_s,
        "labels": list(row.labels),
        "unjudged": list(row.unjudged),
        "reasons": [list(words) for words in remarks.reasons] if remarks and not remarks.ranking else [],
        "strength": remarks.strength if remarks else "",
        "note": remarks.note if remarks else "",
        "seconds": remarks.seconds if remarks else None,
        "preference": row.id,
    }
    return table, {names[0]: left.media, names[1]: right.media}


def _card(kinds: list[str]) -> str:
    lines = ["---", "configs:", "- config_name: pairs", "  data_files: pairs.parquet", "  default: true"]
    for kind in kinds:
        lines += [f"- config_name: {kind}", f"  data_files: {kind}.parquet"]
    return "\n".join([*lines, "---", "", "Preferences on video clips, written by `rushes labels export`.", ""])
