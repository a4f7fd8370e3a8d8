"""`rushes space` and `rushes clean`: what the files of a project are for, and removing those that serve nothing.

A file is *needed*, *stale* (made under settings that no finished run and no setting has now, or of use to what is
finished alone), *orphaned* (no row names it) or a *leftover* of a process that was killed; *unknown* where only a model
that is not there can say so. Two things that clean removes may not come back: a run of all weights, once finished,
cannot go on to more steps without its optimizer; and a take comes out bit for bit only where machine, PyTorch, FFmpeg
and generate.batch are what they were, and is refused otherwise.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from rushes.config.settings_files import stored_settings
from rushes.config.tables import Settings, run_name
from rushes.generate import ASIDE, GenerationContext
from rushes.inspect.caches import texts_of
from rushes.inspect.soundness import BY_COMMAND
from rushes.project.project import TEXTS, OpenProject
from rushes.project.run_evaluation import held_out_ask
from rushes.records import BASE, HUMAN, Candidate, CaptionRow, Clip, Decision, Preference, Run, Score, now, stable_hash
from rushes.store.own_files import is_own
from rushes.training.checkpoint import in_order, note_removed, read, weights_fault
from rushes.training.history import WEIGHTS

State = Literal["needed", "stale", "orphaned", "leftover", "unknown"]
YOUNG_S = 3600.0  # a file that is younger may be one that a process has yet to name, or to add a row for
ASKED_KINDS = ("take", *BY_COMMAND)  # kinds of takes that [generate] asks for
CACHE = "reference_cache"
REMADE = ("media", "latents", CACHE, TEXTS)  # what depends on settings
_SHARD = re.compile(r"\w+-[0-9a-f]{24}\.safetensors")
_OURS = {  # our own names below the folder of a kind
    "media": re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.\w+"),
    "latents": _SHARD,
    CACHE: _SHARD,
    TEXTS: re.compile(r"[0-9a-f]+/[0-9a-f]{64}\.safetensors"),
    "checkpoints": re.compile(r"[^/]+/checkpoints/step-\d{8}(\.safetensors)?"),
}
_NOTHING = re.compile(r"(?!)")
_PART = re.compile(r"\.(.+)\.(?:[0-9a-f]{8}|[0-9a-f]{20})\.part")  # of `whole_file`
_TEMPORARY = re.compile(r"\.tmp\w{6}")  # of safetensors
_SCRATCH = re.compile(r"\.(cut|pairs|still|unpacked)-\w{8}")  # folders of an import at work, beside the project's own


@dataclass(frozen=True)
class KindUse:
    """Bytes of one kind of files."""

    needed: int = 0
    stale: int = 0  # made under settings that nothing has now, or of use to what is finished alone
    orphaned: int = 0  # no row names it
    leftover: int = 0  # bytes that a killed process left
    unknown: int = 0  # needed or stale, which only a model that is not there can say


@dataclass(frozen=True)
class SpaceResult:
    """What a project takes on the disk."""

    # by kind: media, latents, reference_cache, texts, checkpoints, weights, database, other
    kinds: Mapping[str, KindUse]
    total: int  # bytes
    removable: int  # bytes that `rushes clean` would remove
    no_model: str = ""  # why the model cannot be looked at; "" = it can


@dataclass(frozen=True)
class CleanResult:
    """What `rushes clean` removes."""

    files: int
    bytes: int
    removed: bool  # false = nothing was removed yet; --yes does that
    kinds: Mapping[str, int]  # bytes by kind
    takes: int | None = None  # made with other settings, which leave the project with their files; null = none
    ended: tuple[str, ...] = ()  # runs that cannot go on to more steps afterwards
    doubted: tuple[str, ...] = ()  # finished runs that keep all checkpoints: their weights may not be whole
    stays: str = ""  # why what was made under other settings is left alone; "" = it is not


@dataclass(frozen=True)
class FileUse:
    """A file, or the folder of a checkpoint in parts."""

    path: Path
    kind: str
    state: State
    size: int  # bytes

    @property
    def run(self) -> str:
        """The finished run of which this is a checkpoint that serves nothing; "" = it is something else."""
        return self.path.parent.parent.name if (self.kind, self.state) == ("checkpoints", "stale") else ""


class _FileUses:
    """What the files of a project are for, by its rows and settings of now."""

    def __init__(self, project: OpenProject) -> None:
        self.project, self.store = project, project.store
        self.folder = project.store.project
        self.left_alone = ""  # why files made with other settings may be in use, once checked
        self.needed, self.dropped_media = set[str](), set[str]()  # content hashes
        for clip in self.store.stream(Clip):
            self.needed.update((clip.media, clip.first_frame))
        dropped = {take.id for take in self.dropped}
        for take in self.store.stream(Candidate):
            (self.dropped_media if take.id in dropped else self.needed).add(take.media)

    @cached_property
    def no_model(self) -> str:
        """Why the model, by whose weights latents, captions and takes are named, cannot be looked at; or empty."""
        try:
            _ = self.project.base
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    @cached_property
    def finished(self) -> dict[str, Run]:
        """Runs that are finished, and have not begun to go on to more steps."""
        runs = {run.name: run for run in self.store.runs()}
        return {
            name: run
            for name, run in runs.items()
            if (self.folder / "runs" / name / WEIGHTS).is_file() and self._newest(name) in (None, run.steps)
        }

    def _newest(self, run: str) -> int | None:
        paths = in_order(self.folder / "runs" / run / "checkpoints")
        return int(paths[-1].name.removeprefix("step-")[:8]) if paths else None

    @cached_property
    def unfinished(self) -> list[str]:
        """Runs that are not finished. What they were started with, by `--set` perhaps, is written nowhere in full."""
        runs = sorted(path.name for path in (self.folder / "runs").glob("*") if path.is_dir())
        return [name for name in runs if name not in self.finished]

    def stays(self, uses: Sequence[FileUse]) -> str:
        """Why files made with other settings may be in use; empty if they are not, or there are none."""
        others = [use for use in uses if use.state == "stale" and use.kind in REMADE]
        if self.unfinished and (others or self.dropped):
            name = self.unfinished[0]
            return f"run {name} is not finished (to give it up delete {self.folder / 'runs' / name})"
        if any(_young(use.path) for use in others if use.kind != CACHE):
            return "some were made less than an hour ago, and a stage may be at work"
        return ""

    @cached_property
    def dropped(self) -> list[Candidate]:
        """Takes made with settings that neither the project nor a finished run has, and that no person has judged.

        Without the model these are all that nobody spoke about, as it says what settings ask for.
        """
        settings = [self.project.settings, *(stored_settings(run.settings) for run in self.store.runs())]
        settings = [] if self.no_model else settings
        asked = {digest for each in settings for digest in self._asked(each)}
        labelled = self._labelled()
        return [
            take
            for take in self.store.stream(Candidate)
            if take.kind in ASKED_KINDS and take.settings_hash not in asked and take.id not in labelled
        ]

    def _labelled(self) -> set[str]:
        """What a person or a judge, who may have been paid, spoke about; metrics measure again what they measured."""
        ids = {id for row in self.store.stream(Preference) for id in (row.left, row.right)}
        ids |= {row.subject for row in self.store.stream(Score) if row.metric in (HUMAN, row.measured_by)}
        ids |= {row.about for row in self.store.stream(CaptionRow)}
        return ids | {row.subject for row in self.store.stream(Decision) if row.person}

    def _asked(self, settings: Settings) -> Iterator[str]:
        """Digests of what settings ask of takes, of whatever kind; and of held-out ones."""
        tables = [settings.generate.model_copy(update={"kind": kind}) for kind in ASKED_KINDS]
        for table in (*tables, held_out_ask(settings)):
            latents, base = self.project.latents, self.project.base
            size = settings.backbone
            context = GenerationContext(latents, base, size, table, store=self.store, system=BASE)
            yield from (context.at(size.name_of(shape)).settings_hash for shape in size.shapes)

    @cached_property
    def _texts(self) -> str:
        cache = texts_of(self.project)
        return cache.fingerprint if cache else ""

    def all(self) -> list[FileUse]:
        """Every file of the project."""
        uses = [FileUse(path, *self._use(path), _size(path)) for path in _files(self.folder)]
        self.left_alone = self.stays(uses)
        if not self.left_alone:
            return uses
        return [replace(use, state="needed") if use.state == "stale" and use.kind in REMADE else use for use in uses]

    def _use(self, path: Path) -> tuple[str, State]:
        top, *rest = path.relative_to(self.folder).parts
        kind = self._kind(path, top, rest)
        if _partial(top, path.name, below=bool(rest)):
            return kind, "needed" if _young(path) else "leftover"
        return kind, self._state(path, kind, rest)

    def _kind(self, path: Path, top: str, rest: list[str]) -> str:
        if top == "bank":  # the cache's folder, under its first name
            return CACHE
        if top in ("media", "latents", TEXTS):
            return top
        if top == "runs" and "checkpoints" in rest:
            return "checkpoints"
        return "weights" if path.name == WEIGHTS else "database" if ".db" in path.name else "other"

    def _state(self, path: Path, kind: str, rest: list[str]) -> State:
        if not _OURS.get(kind, _NOTHING).fullmatch("/".join(rest)):  # a user may put anything anywhere
            return "needed"
        if kind == "media" and not any(path.name[:64] in each for each in (self.needed, self.dropped_media)):
            return "needed" if _young(path) else "orphaned"
        if self.no_model and (kind in ("latents", TEXTS) or (kind == "media" and self._is_dropped(path))):
            return "unknown"
        return "stale" if self._stale(path, kind, rest) else "needed"

    def _is_dropped(self, path: Path) -> bool:
        return path.name[:64] in self.dropped_media and path.name[:64] not in self.needed

    def _stale(self, path: Path, kind: str, rest: list[str]) -> bool:
        if kind == "media":
            return self._is_dropped(path)
        if kind == "latents":
            return path.name.partition("-")[0] != self.project.latents.fingerprint
        if kind == CACHE:
            train = self.project.settings.train
            return not train.reference_cache or run_name(train) in self.finished
        if kind == TEXTS:
            return bool(self._texts) and rest[0] != self._texts
        if rest[0] not in self.finished:
            return False
        return not (path.name.startswith(f"step-{self.finished[rest[0]].steps:08d}") and self._adapter(rest[0]))

    def whole(self, run: str) -> bool:
        """Whether a finished run can do without checkpoints: what stays of it is what was written."""
        folder = self.folder / "runs" / run
        if weights_fault(folder / WEIGHTS, checksum_needed=True):
            return False
        return not self._adapter(run) or all(read(path) for path in in_order(folder / "checkpoints")[-1:])

    def _adapter(self, run: str) -> bool:
        return stored_settings(self.finished[run].settings).train.trainable == "lora"


def space(project: OpenProject) -> SpaceResult:
    """What the files of a project are for, in bytes. Nothing is changed."""
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    uses = _FileUses(project)
    for use in uses.all():
        kinds[use.kind][use.state] += use.size
    by_kind = {kind: KindUse(**sums) for kind, sums in sorted(kinds.items())}
    total = sum(sums.total() for sums in kinds.values())
    left = sum(use.needed + use.unknown for use in by_kind.values())
    return SpaceResult(by_kind, total, total - left, uses.no_model)


def clean(project: OpenProject, yes: bool = False) -> CleanResult:
    """Remove files that are not needed, or say what would be removed.

    Raises:
        ValueError: another process has the project open; nothing is removed then.
    """
    if not yes:
        return _clean(project, yes)
    with suppress(ValueError, OSError):
        _ = project.base  # which may write the commit of its weights into the project
    with project.store.in_use.alone("leave out --yes"):  # nothing is looked at before no stage can begin
        return _clean(project, yes)


def _clean(project: OpenProject, yes: bool) -> CleanResult:
    uses = _FileUses(project)
    files = [use for use in uses.all() if use.state not in ("needed", "unknown")]
    doubted = {run for run in sorted({use.run for use in files if use.run}) if not uses.whole(run)}
    files = [use for use in files if use.run not in doubted]
    aside = {id for id, decision in project.store.decisions().items() if not decision.keep}
    takes = [] if uses.left_alone or uses.no_model else [take for take in uses.dropped if take.id not in aside]
    last = {use.run: use.path.name for use in files if use.run}  # files are in order
    ended = [name for name, file in last.items() if file.startswith(f"step-{uses.finished[name].steps:08d}")]
    if yes:
        project.store.add([_aside(take) for take in takes])  # before their files go
        for name in ended:
            note_removed(uses.folder / "runs" / name / "checkpoints")
        for use in files:
            _remove(use.path)
    by_kind = {kind: sum(use.size for use in files if use.kind == kind) for kind in sorted({use.kind for use in files})}
    size = sum(by_kind.values())
    return CleanResult(
        len(files),
        size,
        yes,
        by_kind,
        takes=len(takes) or None,
        ended=tuple(ended),
        doubted=tuple(sorted(doubted)),
        stays=uses.no_model or uses.left_alone,
    )


def _aside(take: Candidate) -> Decision:
    at = now()
    return Decision(
        stable_hash([ASIDE, take.id, at]), take.id, False, "made under other settings", made_by=ASIDE, created_at=at
    )


def _files(folder: Path) -> Iterator[Path]:
    """All files; a checkpoint in parts is one, and so is what an import unpacked."""
    for at, folders, names in os.walk(folder):
        parts = [name for name in folders if name.startswith("step-") and Path(at).name == "checkpoints"]
        parts += [name for name in folders if _SCRATCH.fullmatch(name) and Path(at) == folder]
        folders[:] = sorted(name for name in folders if name not in parts)
        yield from (Path(at) / name for name in sorted((*parts, *names)))


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())
    return path.lstat().st_size


def _partial(top: str, name: str, *, below: bool) -> bool:
    """Whether a file has the name of one that a process of ours has yet to finish, and lies where one does."""
    part = _PART.fullmatch(name)
    if not below:
        return bool(_SCRATCH.fullmatch(name)) or (part is not None and is_own(part[1]))
    return is_own(top) and bool(part or _TEMPORARY.fullmatch(name))


def _young(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime < YOUNG_S


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def space_in_words(result: SpaceResult) -> list[str]:
    """A line for each kind."""
    lines = []
    for kind, use in result.kinds.items():
        parts = [f"{name} {in_bytes(size)}" for name, size in vars(use).items() if size]
        lines.append(f"{kind.replace('_', ' ')}: {', '.join(parts) or 'nothing'}")
    if result.no_model:
        lines.append(f"unknown, because the model cannot be read: {result.no_model}")
    return [*lines, f"total {in_bytes(result.total)}; `rushes clean` removes {in_bytes(result.removable)} of it"]


def clean_in_words(result: CleanResult) -> list[str]:
    """What goes, or went."""
    did = "removed" if result.removed else "would remove"
    lines = [f"{did} {kind.replace('_', ' ')}: {in_bytes(size)}" for kind, size in result.kinds.items()]
    if result.takes:
        lines.append(f"{did} {result.takes} takes made with other settings from the project")
    if result.ended:
        lines.append(f"{', '.join(result.ended)}: cannot be trained for more steps without the checkpoint")
    if result.doubted:
        lines.append(
            f"{', '.join(result.doubted)}: the checkpoints stay, because the weights or the last checkpoint are "
            "damaged or have no checksum; `rushes verify` says which"
        )
    if result.stays:
        lines.append(f"files made with other settings stay: {result.stays}")
    lines.append(f"{did} {in_bytes(result.bytes)} in {result.files} files")
    return lines if result.removed or not result.files else [*lines, "nothing was removed yet"]


def in_bytes(size: int) -> str:
    """A size as people say it."""
    for unit, power in (("TB", 4), ("GB", 3), ("MB", 2), ("kB", 1)):
        if size >= 1000**power:
            return f"{size / 1000**power:.1f} {unit}"
    return f"{size} bytes"
