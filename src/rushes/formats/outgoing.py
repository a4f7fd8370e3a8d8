"""Rows and videos as others get them: no folder of this machine, where asked no person's name and no camera's tags.

What of people and devices goes out all the same is counted, so that an export can say it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rushes.config.base import may_be_key
from rushes.files import MediaError, whole_file
from rushes.media.images import read_image, write_image
from rushes.media.tags import tags_of, write_untagged
from rushes.records import Annotation, Clip, Decision, Preference, Score, of_fragment
from rushes.store.annotators import ANNOTATOR
from rushes.store.database import Store
from rushes.store.rows import R
from rushes.text_reader import without_password

PERSONAL = (Clip, Preference, Annotation, Score, Decision)  # kinds of rows with names of people, or of their files
_ELSEWHERE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|\.\.([/\\]|$)|file:")  # how a path begins that is of this machine
_FILE = re.compile(r"\.\w{2,5}$")  # ends the name of one


@dataclass
class Outgoing:
    """What leaves a project, row by row, and what of people and devices has left."""

    footage: str = ""  # the folder of the footage, from which sources are named; "" = by their last part alone
    pseudonyms: Mapping[str, str] = field(default_factory=dict)  # by name; empty = names stay
    strip: bool = False  # videos lose what their files say of place, device, person and date
    _counts: Counter[str] = field(default_factory=Counter)
    _people: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, store: Store, footage: str = "", anonymous: bool = False, strip: bool = False) -> Outgoing:
        """What leaves this project; the same person has the same pseudonym in all of its exports."""
        return cls(footage, pseudonyms_of(store) if anonymous else {}, strip)

    @property
    def personal(self) -> dict[str, int]:
        """How much of what has left is of people and devices; `places` and so on are of videos."""
        return ({"people": len(self._people)} if self._people else {}) | dict(sorted(self._counts.items()))

    def row(self, row: R) -> R:
        """A row as it leaves."""
        changes: dict[str, Any] = {}
        if isinstance(row, Clip):
            changes["source"] = self.source(row.source)
            self._counts["file_names"] += bool(_FILE.search(row.video))
        elif isinstance(row, Preference | Annotation):
            changes["judge"] = self.judge(row.judge)
            self._counts["times"] += bool(row.judge.startswith(ANNOTATOR) and row.created_at)
            self._counts["notes"] += isinstance(row, Annotation) and bool(row.note)
        elif isinstance(row, Score):
            changes["measured_by"] = self.judge(row.measured_by)
        elif isinstance(row, Decision) and row.person:
            changes["made_by"] = self._name(row.made_by)
            self._counts["times"] += bool(row.created_at)
        self._counts = +self._counts
        return replace(row, **changes) if any(getattr(row, name) != new for name, new in changes.items()) else row

    def source(self, text: str) -> str:
        """Where a clip came from, without the folders of this machine."""
        path = of_fragment(text)[0]
        end = text.removeprefix(path)
        if self.footage and path.startswith(f"{self.footage}{os.sep}"):
            path = path.removeprefix(f"{self.footage}{os.sep}")
        elif _ELSEWHERE.match(path):
            path = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
        return without_password(path) + end

    def judge(self, text: str) -> str:
        """The judge of a label: a person's name after `human:` and before what else is said of the label."""
        if not text.startswith(ANNOTATOR):
            return text
        name, mark, more = text.removeprefix(ANNOTATOR).partition("#")
        return f"{ANNOTATOR}{self._name(name)}{mark}{more}"

    def _name(self, name: str) -> str:
        self._people.add(name)
        return self.pseudonyms.get(name, name)

    def value(self, value: Any) -> Any:
        """A setting, or settings in tables, without folders of this machine, passwords and, where asked, names."""
        if isinstance(value, Mapping):
            secret = {key for key, inner in value.items() if key == "key_env" and may_be_key(inner)}
            return {key: "***" if key in secret else self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        if not isinstance(value, str):
            return value
        if _ELSEWHERE.match(value):
            return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
        return without_password(self.judge(self.pseudonyms.get(value, value)))

    def copy(self, source: Path, target: Path) -> None:
        """Write a video where it is not there yet, and count what its file says beside its pictures.

        With `strip` each is written anew: a file may hold what FFmpeg does not read, so that it has no tags to see.
        """
        self.look(source)
        if self.strip or not (target.is_file() and target.stat().st_size == source.stat().st_size):
            with whole_file(target) as part:
                write_untagged(source, part) if self.strip else shutil.copyfile(source, part)

    def look(self, source: Path) -> None:
        """Count what a video's file says beside its pictures, unless that is taken out."""
        self._counts.update(() if self.strip else _tags(source))

    def copy_still(self, source: Path, target: Path) -> None:
        """Write a still where it is not there yet; `target` ends in .png where tags are taken out."""
        if self.strip:
            write_image(target, read_image(source))
        elif not (target.is_file() and target.stat().st_size == source.stat().st_size):
            with whole_file(target) as part:
                shutil.copyfile(source, part)


def _tags(path: Path) -> frozenset[str]:
    """Kinds of tags; none of what is no video, which older projects may have among theirs."""
    try:
        return tags_of(path)
    except MediaError:
        return frozenset()


def pseudonyms_of(store: Store) -> dict[str, str]:
    """`person-1` for who labelled or reviewed first, and so on: rows are only ever added, so nobody's changes."""
    first: dict[str, int] = {}
    for kind in PERSONAL:
        for seq, row in store.tail(kind):
            for name in _names(row):
                first[name] = min(seq, first.get(name, seq))
    return {name: f"person-{number}" for number, name in enumerate(sorted(first, key=first.__getitem__), start=1)}


def _names(row: object) -> Iterator[str]:
    if isinstance(row, Decision):
        if row.person:
            yield row.made_by
        return
    judge = row.measured_by if isinstance(row, Score) else getattr(row, "judge", "")
    if judge.startswith(ANNOTATOR):
        yield judge.removeprefix(ANNOTATOR).partition("#")[0]
