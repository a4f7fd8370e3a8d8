"""The clips that are in the set, written as others read them: a videofolder of Hugging Face `datasets`, or WebDataset.

    datasets.load_dataset(FOLDER)                  rows with the video, its caption and what is known of it
    datasets.load_dataset("webdataset", data_files="FOLDER/*.tar")

`rushes import` reads both back as the same clips.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from rushes.files import make_folder, whole_file
from rushes.formats.archives import ALTERNATIVES
from rushes.formats.outgoing import Outgoing
from rushes.records import Clip
from rushes.store.database import Store
from rushes.text_reader import counted

ClipSetFormat = Literal["parquet", "webdataset"]
VIDEOS, STILLS, TABLE = "videos", "first_frames", "metadata.parquet"
_BLOCK = 512
_END = 20 * _BLOCK  # what tarfile fills a tar up to
_FACTS = ("caption", "id", "source", "split", "width_px", "height_px", "frames", "fps")
_SCHEMA = pa.schema(
    [
        ("file_name", pa.string()),
        ("caption", pa.string()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
        ("width_px", pa.int64()),
        ("height_px", pa.int64()),
        ("frames", pa.int64()),
        ("fps", pa.float64()),
        ("first_frame", pa.string()),
        ("scenario", pa.string()),
    ]
)


@dataclass(frozen=True)
class SetExported:
    """The set as a folder for other programs."""

    clips: int
    stills_left_out: int  # prompts with a first frame alone, which are no footage
    personal_data: Mapping[str, int]  # videos with tags that name `places`, `devices`, `persons`, `dates`, ...
    videos: int | None = None  # files; null = tars
    table: Path | None = None  # Parquet beside the videos; null = tars
    shards: int | None = None  # tars; null = a table

    def lines(self) -> list[str]:
        """The same in words; what is zero is not said."""
        files = counted(self.shards, "tar") if self.shards is not None else f"{self.table}"
        lines = [f"{counted(self.clips, 'clip')} exported: {files}"]
        if self.stills_left_out:
            lines += [f"{counted(self.stills_left_out, 'prompt')} with a first frame and no clip left out"]
        personal = ", ".join(f"{kind} {count}" for kind, count in self.personal_data.items() if count)
        return [*lines, *([f"personal data in the videos' tags: {personal}; --strip removes it"] if personal else [])]


def export_set(
    store: Store, out: Path, form: ClipSetFormat = "parquet", shard_mb: float = 1000.0, outgoing: Outgoing | None = None
) -> SetExported:
    """Write the set to the folder `out`; equal sets give equal bytes, and what a stopped export wrote is taken up.

    Stills that stand for prompts alone are no footage and stay out, counted.

    Args:
        store: the project.
        out: a folder that is new, empty, or the start of the same export.
        form: a table beside videos, each content once; or tars.
        shard_mb: largest size of a tar, of 10^6 bytes, unless one clip is larger.
        outgoing: how rows and videos leave.

    Returns:
        How many clips were written, and how many stills were not.

    Raises:
        ValueError: no clips; a folder that holds something else; tars of clips that have first frames of their own, or
            without their videos' tags.
    """
    everything = store.clips()
    clips = [clip for clip in everything if clip.frames > 1]
    if not clips:
        raise ValueError(
            f"{store.project}: the training set has no clips; run `rushes import`, or see `rushes curate` "
            "for clips that were filtered out"
        )
    outgoing = outgoing or Outgoing()
    clips = [outgoing.row(clip) for clip in clips]
    if form == "parquet":
        written = _write_folder(store, out, clips, outgoing)
    else:
        written = _write_tars(store, out, clips, shard_mb, outgoing)
    return replace(written, stills_left_out=len(everything) - len(clips), personal_data=outgoing.personal)


def _write_folder(store: Store, out: Path, clips: Sequence[Clip], outgoing: Outgoing) -> SetExported:
    names = {clip.media: f"{VIDEOS}/{clip.media}{store.media_path(clip.media).suffix}" for clip in clips}
    stills = {
        still: f"{STILLS}/{still}{'.png' if outgoing.strip else store.media_path(still).suffix}"
        for still in (c.first_frame for c in clips)
        if still
    }
    _prepare(out, {*names.values(), *stills.values(), TABLE})
    for folder in (VIDEOS, *([STILLS] if stills else [])):
        (out / folder).mkdir(exist_ok=True)
    for copy, files in ((outgoing.copy, names), (outgoing.copy_still, stills)):
        for media, name in files.items():
            copy(store.media_path(media), out / name)
    scenarios, alternatives = store.scenarios(), store.alternatives()
    rows = [
        {
            **_facts(clip),
            "caption": caption,
            "file_name": names[clip.media],
            "first_frame": stills.get(clip.first_frame, ""),
            "scenario": scenarios.get(clip.id, ""),
        }
        for clip in clips
        for caption in (clip.caption, *alternatives.get(clip.id, ()))
    ]
    with whole_file(out / TABLE) as part:
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), part)
    return SetExported(len(clips), 0, {}, videos=len(names), table=out / TABLE)


def _facts(clip: Clip) -> dict[str, Any]:
    """What a row or a sample says of a clip."""
    return {name: getattr(clip, name) for name in _FACTS}


def shards(sizes: Sequence[int], limit: int) -> list[range]:
    """Consecutive runs of items whose sizes add up to at most `limit`, or that hold one larger item."""
    ranges, start, total = [], 0, 0
    for k, size in enumerate(sizes):
        if k > start and total + size > limit:
            ranges.append(range(start, k))
            start, total = k, 0
        total += size
    return [*ranges, range(start, len(sizes))] if sizes else []


def _write_tars(store: Store, out: Path, clips: Sequence[Clip], shard_mb: float, outgoing: Outgoing) -> SetExported:
    own = [clip.id for clip in clips if clip.first_frame]
    if own:
        raise ValueError(f"{len(own)} clips have their own first frame, which tars cannot store; use --form parquet")
    if outgoing.strip:
        raise ValueError("--strip: tars store videos unchanged, with their tags; use --form parquet")
    if shard_mb <= 0:
        raise ValueError(f"--shard-mb must be above 0, got {shard_mb:g}")
    alternatives = store.alternatives()
    samples = [(clip, alternatives.get(clip.id, ())) for clip in clips]
    sizes = [sum(_padded(size) for _, size, _ in _members(store, *sample)) for sample in samples]
    parts = shards(sizes, max(1, round(shard_mb * 1e6) - _END))
    names = [f"shard-{number:06d}.tar" for number in range(len(parts))]
    _prepare(out, set(names))
    for media in {clip.media: None for clip in clips}:
        outgoing.look(store.media_path(media))
    for name, part in zip(names, parts, strict=True):
        with whole_file(out / name) as path, tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for k in part:
                for member, size, content in _members(store, *samples[k]):
                    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
                        tar.addfile(_header(member, size), file)
    return SetExported(len(clips), 0, {}, shards=len(names))


def _padded(size: int) -> int:
    """Bytes that a member takes up in a tar: a header, and content in whole blocks."""
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def _members(store: Store, clip: Clip, alternatives: Sequence[str]) -> Iterator[tuple[str, int, Path | bytes]]:
    """Names, sizes and contents of what a clip's sample holds."""
    path = store.media_path(clip.media)
    yield f"{clip.id}{path.suffix}", path.stat().st_size, path
    facts = _facts(clip) | ({ALTERNATIVES: alternatives} if alternatives else {})
    for suffix, text in ((".txt", clip.caption), (".json", json.dumps(facts, ensure_ascii=False))):
        data = text.encode()
        yield f"{clip.id}{suffix}", len(data), data


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Without owner and time, so that equal sets give equal bytes."""
    header = tarfile.TarInfo(name)
    header.size = size
    return header


def _prepare(out: Path, expected: set[str]) -> None:
    """Make the folder. Raises ValueError where it holds something that this export would not write."""
    make_folder(out)
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.suffix != ".part"}
    others = sorted(there - expected)
    if others:
        raise ValueError(
            f"--out: {out} holds {others[0]}, which is not from an interrupted run of this export; choose "
            "a new or empty folder"
        )
