"""Captions for footage that has none: by a model that looks at it, from the names of its files, or by people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Literal

from rushes.config.tables import Settings
from rushes.project import curation
from rushes.project.held_settings import set_values
from rushes.project.intake import import_footage
from rushes.project.project import OpenProject
from rushes.project.status import status_of
from rushes.records import Clip, Decision, now, of_fragment, stable_hash
from rushes.report.card import read_result
from rushes.store.database import Store
from rushes.store.decisions import histories_of
from rushes.text_reader import counted

NAMES = "file names"
STAGE = "captions"  # of curation
# What cameras and telephones call everything; the rest of such a name is a number or a date.
_CAMERAS = frozenset(
    {"img", "dsc", "dscf", "dscn", "mvi", "mov", "vid", "gopr", "pxl", "dji", "video", "clip", "movie"}
)


@dataclass(frozen=True)
class CaptionsResult:
    """Captions of clips that had none."""

    by: Literal["vlm", "names", "human"]  # human = the page was opened, and people write there
    clips: int  # clips in the set
    written: int  # captions now
    without: int  # clips of the set that still have none
    next: str  # command
    refused: int | None = None  # files that are left out, as they cannot be used

    def lines(self) -> list[str]:
        """The same in words."""
        left = (
            "every clip has one" if not self.without else f"{self.without} of {counted(self.clips, 'clip')} have none"
        )
        out = [f"{counted(self.refused, 'file')} left out, as they cannot be used"] if self.refused else []
        return [f"{counted(self.written, 'caption')} written now ({self.by}); {left}", *out, f"next: {self.next}"]


def admit_uncaptioned(settings: Settings) -> Settings:
    """Settings that take clips without a caption.

    Raises:
        ValueError: a project whose clips come with captions.
    """
    if settings.footage.kind != "folder":
        has = "whose scenes have captions" if settings.footage.kind == "world" else "which come with their prompts"
        raise ValueError(f"footage.kind is {settings.footage.kind}, {has}; this command needs a folder of videos")
    footage = settings.footage.model_copy(update={"allow_empty_captions": True})
    return settings.model_copy(update={"footage": footage})


def write_captions(project: OpenProject, by: Literal["vlm", "names", "human"]) -> CaptionsResult:
    """Import the footage, then give clips without a caption one; people give theirs on the review page.

    What cannot be used is left out, by name, and counted: it keeps no other clip from its caption. From now on the
    project's file admits clips without a caption.

    Raises:
        ValueError: as `import_footage` does where all that is refused is left out; by vlm no model is named, or the
            project was curated in other ways, which would be undone. EndpointError: the model is down.
    """
    store = project.store
    if by == "vlm":
        project = _captioning(project)
        curation.prepare(project)  # which refuses before an import
    footage = project.settings.footage.model_copy(update={"on_refused": "skip"})
    imported = import_footage(replace(project, settings=project.settings.model_copy(update={"footage": footage})))
    set_values(store.project, ["footage.allow_empty_captions=true"])
    before = len(list(uncaptioned(store)))
    if by == "vlm" and before:
        curation.curate(project)
    elif by == "names":
        store.add(list(_from_names(store)))
    clips = list(store.stream_set())
    without = sum(not clip.caption.strip() for clip in clips)
    place = quote(str(store.project))
    if imported.refused and project.settings.footage.on_refused == "fail":
        command = f"rushes set {place} footage.on_refused=skip"
    elif without:
        command = f"rushes review {place}"
    else:
        command = status_of(store.project, project.settings).next
    written = before - len(list(uncaptioned(store)))
    return CaptionsResult(by, len(clips), written, without, command, refused=imported.refused)


def uncaptioned(store: Store) -> Iterator[Clip]:
    """Clips that go by no caption, in the set or not."""
    histories = histories_of(store.stream(Decision))
    for clip in store.stream(Clip):
        history = histories.get(clip.id)
        counts = history.counts() if history else None
        if not clip.caption.strip() and not (counts and counts.caption):
            yield clip


def words_of(source: str) -> str:
    """A file's name as words: `one.zip/Flipping_a-pancake_02.mp4` is "Flipping a pancake"; "" where it says nothing."""
    stem = Path(of_fragment(source)[0]).stem
    words = [word for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)) if word]
    while words and any(sign.isdigit() for sign in words[-1]):  # a number of the file
        words.pop()
    telling = [word for word in words if word.isalpha() and len(word) > 1 and word.casefold() not in _CAMERAS]
    return " ".join(words) if telling else ""


def _from_names(store: Store) -> Iterator[Decision]:
    histories = histories_of(store.stream(Decision))
    for clip in uncaptioned(store):
        if not (text := words_of(clip.source)):
            continue
        history = histories.get(clip.id)
        last = history.program if history else None
        yield Decision(
            stable_hash([NAMES, clip.id, text, last.id if last else ""]),
            clip.id,
            keep=last.keep if last else True,
            reason=last.reason if last else "",
            caption=text,
            made_by=NAMES,
            created_at=now(),
        )


def _captioning(project: OpenProject) -> OpenProject:
    """The project with curation of one stage, which writes what is missing."""
    result = read_result(project.store.project)
    stages = result.stages if result else (STAGE,)
    if stages != (STAGE,):
        raise ValueError(
            f"{project.store.project} was already curated by {', '.join(stages)}; add captions to curate.stages and "
            "run `rushes curate`, which writes captions and keeps the choice of clips"
        )
    table = project.settings.curate
    captions = table.captions.model_copy(update={"write": "missing", "check": False})
    curate = table.model_copy(update={"stages": (STAGE,), "captions": captions})
    return replace(project, settings=project.settings.model_copy(update={"curate": curate}))
