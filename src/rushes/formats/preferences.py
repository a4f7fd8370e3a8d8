"""Preferences that other programs keep, into the store: VideoReward, VideoDPO, TRL and Label Studio.

| form | file | says |
|---|---|---|
| videoreward | CSV | path_A, path_B, prompt, A_model, B_model; VQ, MQ, TA and Overall are A, B or same |
| videodpo | pair.json | video1, video2 (places in metadata.json), label 0 = the first is better, frame_caption |
| trl | JSON or JSONL | prompt, chosen, rejected; the last two are paths of videos |
| labelstudio | JSON export | two videos in `data`; results of `pairwise` or `choices`, one control per question |

Readers open no video. `import_pairs` then probes and keeps each video once, as a candidate of kind "imported"; pairs of
one prompt form a group. What a row does not say (an empty cell, a cancelled annotation) is counted, not guessed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from rushes.media.read import VideoInfo, probe
from rushes.records import INLINE, Candidate, Clip, Preference, Split, stable_hash
from rushes.store.annotators import ANNOTATOR
from rushes.store.database import Store
from rushes.text_reader import read_text, table_rows

Form = Literal["videoreward", "videodpo", "trl", "labelstudio"]
FORMS: tuple[Form, ...] = ("videoreward", "videodpo", "trl", "labelstudio")

_VIDEO = re.compile(r"\.(mp4|mov|mkv|webm|avi|m4v|gif)$", re.IGNORECASE)
_QUESTIONS = {"VQ": "visual_quality", "MQ": "motion", "TA": "text", "Overall": "overall"}
_SIDES = {"a": 1, "left": 1, "first": 1, "1": 1, "b": -1, "right": -1, "second": -1, "2": -1}
_TIES = {"same", "tie", "equal", "both", "neither", "draw", "similar"}


@dataclass(frozen=True)
class ForeignPair:
    """Two videos of one prompt and what somebody said of them: +1 left, 0 tie, -1 right, by question."""

    place: str  # where it stands, for messages
    left: Path
    right: Path
    prompt: str
    labels: Mapping[str, int]
    judge: str
    systems: tuple[str, str] = ("imported", "imported")


@dataclass
class Read:
    """What a file holds: pairs with labels, and how many entries say nothing, by reason."""

    pairs: list[ForeignPair] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def read_pairs(path: Path, form: Form) -> Read:
    """All pairs of a file; paths of videos are relative to its folder.

    Raises:
        ValueError: the file is not of this form, with the first entry that does not fit.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name the file that holds the preferences")
    readers: Mapping[Form, Callable[[Path, Read], Iterator[ForeignPair]]] = {
        "videoreward": _videoreward,
        "videodpo": _videodpo,
        "trl": _trl,
        "labelstudio": _labelstudio,
    }
    read = Read()
    read.pairs.extend(readers[form](path, read))
    return read


@dataclass(frozen=True)
class PairsImported:
    """Labelled pairs out of another program's file."""

    pairs: int  # of the file
    videos: int  # of the file
    labels: int  # of the file
    new_rows: int
    left_out: Mapping[str, int] = field(default_factory=dict, metadata=INLINE)  # `left out, REASON`: entries


@dataclass(frozen=True)
class ClipsListed:
    """A list of clips for a program that scores them."""

    clips: int
    file: Path  # JSONL: content hash, file and caption of each


def import_pairs(
    store: Store, read: Read, split: Split = "train", tick: Callable[[], None] = lambda: None
) -> PairsImported:
    """Keep videos, candidates and preferences; run again, nothing is added twice.

    Returns:
        Pairs, videos and labels in the file, new rows, and entries that were left out by reason.

    Raises:
        ValueError: a video that is missing or cannot be read; nothing of the file is then in the store but videos.
    """
    candidates: dict[tuple[Path, str, str], Candidate] = {}

    def candidate(path: Path, prompt: str, system: str, place: str) -> Candidate:
        if (path, prompt, system) not in candidates:
            try:
                info, digest = probe(path), store.put_media(path)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from error
            candidates[path, prompt, system] = _candidate(digest, info, prompt, system, split)
        return candidates[path, prompt, system]

    preferences = []
    for pair in read.pairs:
        sides = zip((pair.left, pair.right), pair.systems, strict=True)
        left, right = (candidate(path, pair.prompt, system, pair.place) for path, system in sides)
        preferences += [
            Preference(
                id=stable_hash(["imported", pair.judge, left.id, right.id, question, label]),
                left=left.id,
                right=right.id,
                labels=(label,),
                judge=pair.judge,
                dimension=question,
            )
            for question, label in pair.labels.items()
        ]
        tick()
    new = store.add([*candidates.values(), *preferences])
    left_out = {f"left out, {why}": count for why, count in read.left_out.items()}
    return PairsImported(len(read.pairs), len(candidates), len(preferences), new, left_out)


def _candidate(digest: str, info: VideoInfo, prompt: str, system: str, split: Split) -> Candidate:
    return Candidate(
        id=stable_hash(["imported pair", digest, prompt, system]),
        media=digest,
        caption=prompt,
        kind="imported",
        group=stable_hash(["prompt", prompt]),
        clip_id="",
        system=system,
        made_by="",
        seed=0,
        width_px=info.width_px,
        height_px=info.height_px,
        frames=info.frames,
        fps=info.fps,
        split=split,
    )


def _videoreward(path: Path, read: Read) -> Iterator[ForeignPair]:
    for number, row in table_rows(path):
        place = f"{path}, line {number}"
        left, right, prompt = (_text(row, name, place) for name in ("path_A", "path_B", "prompt"))
        labels = {}
        for column, question in _QUESTIONS.items():
            answer = str(row.get(column) or "").strip()
            if answer:
                labels[question] = _side(answer, place)
        if not labels:
            read.left_out["no label"] += 1
            continue
        systems = (str(row.get("A_model") or "imported"), str(row.get("B_model") or "imported"))
        yield ForeignPair(
            place,
            path.parent / left,
            path.parent / right,
            prompt=prompt,
            labels=labels,
            judge="videoreward",
            systems=systems,
        )


def _videodpo(path: Path, read: Read) -> Iterator[ForeignPair]:
    table = path.parent / "metadata.json"
    videos = [_clip_path(item, f"{table}, entry {at}") for at, item in enumerate(_entries(table), start=1)]
    for number, row in enumerate(_entries(path), start=1):
        place = f"{path}, entry {number}"
        places: list[Any] = [row.get("video1"), row.get("video2")]
        label: Any = row.get("label")
        if not all(isinstance(at, int) and 0 <= at < len(videos) for at in places) or label not in (0, 1):
            raise ValueError(
                f"{place}: expected video1 and video2, numbers below {len(videos)} (the videos in {table.name}), and "
                f"label 0 or 1, got {row}"
            )
        prompt = row.get("frame_caption")
        if isinstance(prompt, list):
            prompt = next(iter(prompt), "")
        left, right = (path.parent / videos[at] for at in places)
        yield ForeignPair(
            place, left, right, prompt=str(prompt or ""), labels={"overall": 1 - 2 * label}, judge="videodpo"
        )


def _clip_path(item: dict[str, Any], place: str) -> str:
    basic = item.get("basic")
    path = basic.get("clip_path") if isinstance(basic, dict) else item.get("video")
    if not isinstance(path, str):
        raise ValueError(f"{place}: neither basic.clip_path nor video names a file")
    return path


def _trl(path: Path, read: Read) -> Iterator[ForeignPair]:
    rows = enumerate(_entries(path), start=1) if path.suffix == ".json" else table_rows(path)
    for number, row in rows:
        place = f"{path}, {'entry' if path.suffix == '.json' else 'line'} {number}"
        prompt, chosen, rejected = (_text(row, name, place) for name in ("prompt", "chosen", "rejected"))
        if not _VIDEO.search(chosen) or not _VIDEO.search(rejected):
            raise ValueError(f"{place}: chosen and rejected must name video files, got {chosen!r:.60}")
        yield ForeignPair(
            place, path.parent / chosen, path.parent / rejected, prompt=prompt, labels={"overall": 1}, judge="trl"
        )


def _labelstudio(path: Path, read: Read) -> Iterator[ForeignPair]:
    for number, task in enumerate(_entries(path), start=1):
        place = f"{path}, entry {number}"
        data = task.get("data")
        texts = {name: text for name, text in data.items() if isinstance(text, str)} if isinstance(data, dict) else {}
        videos = [_local(text) for name, text in sorted(texts.items()) if _VIDEO.search(_local(text))]
        if len(videos) != 2:
            raise ValueError(f"{place}: its data name {len(videos)} videos, expected two")
        prompt = next((texts[name] for name in ("prompt", "text", "caption") if name in texts), "")
        left, right = (path.parent / video for video in videos)
        for annotation in task.get("annotations") or [{"was_cancelled": True}]:
            labels = {} if annotation.get("was_cancelled") else _results(annotation, place)
            if not labels:
                read.left_out["cancelled or empty annotation"] += 1
                continue
            who = annotation.get("completed_by") or 0
            name = re.sub(r"\W", "-", str(who.get("email") or who.get("id") if isinstance(who, dict) else who))
            yield ForeignPair(place, left, right, prompt=prompt, labels=labels, judge=f"{ANNOTATOR}labelstudio-{name}")


def _results(annotation: Mapping[str, Any], place: str) -> dict[str, int]:
    labels = {}
    for result in annotation.get("result") or ():
        value = result.get("value") or {}
        choice = value.get("selected") or next(iter(value.get("choices") or ()), None)
        if choice is not None:
            question = re.sub(r"\W+", "_", str(result.get("from_name") or "overall")).lower()
            question = "overall" if question in ("pairwise", "pw", "choice", "preference") else question
            labels[question] = _side(str(choice), place)
    return labels


def _local(text: str) -> str:
    """The path in Label Studio's addresses: /data/local-files/?d=PATH and /data/upload/PATH."""
    parts = urlsplit(text)
    inner = parse_qs(parts.query).get("d")
    return inner[0] if inner else parts.path.removeprefix("/data/").lstrip("/")


def _side(answer: str, place: str) -> int:
    words = re.findall(r"\w+", answer.lower())
    sides = {_SIDES[word] for word in words if word in _SIDES}
    if len(sides) == 1 and not _TIES.intersection(words):
        return sides.pop()
    if _TIES.intersection(words):
        return 0
    raise ValueError(f"{place}: {answer!r:.40} is no side (A, left, first, 1; B, right, second, 2) and no tie (same)")


def _text(row: Mapping[Any, object], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{place}: has no {name}; the columns are {', '.join(map(str, row))}")
    return value.strip()


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(read_text(path))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); it must lie beside the pairs") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: not a list of objects")
    return entries


def media_needed(store: Store) -> Iterator[dict[str, str]]:
    """Content hash, file and caption of every clip and candidate: what a program that scores them has to know."""
    seen: set[str] = set()
    rows: tuple[Clip | Candidate, ...] = (*store.clips(), *store.candidates())
    for row in rows:
        if row.media not in seen:
            seen.add(row.media)
            yield {"media": row.media, "file": str(store.media_path(row.media)), "caption": row.caption}
