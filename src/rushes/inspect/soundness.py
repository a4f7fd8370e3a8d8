"""`rushes verify`: everything that a project has stored, compared with what it should be. Nothing is changed.

What has a hash is compared with it: videos with their names, tensors and checkpoints with the checksums beside them,
rows, curves and results with those in them. SQLite's files are checked by SQLite, other small files by reading them.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

from rushes.backbones.texts import TextCache
from rushes.config.uses import nothing
from rushes.project.project import SECONDS, TEXTS
from rushes.project.settings import SETTINGS_FILE, check_database, read_settings
from rushes.records import Candidate, Clip
from rushes.sidefile import RESTORE, connect, plainly
from rushes.store.database import Store
from rushes.store.latents import LatentStore
from rushes.text_reader import checked_text, parse_json
from rushes.training import checkpoint
from rushes.training.history import CURVES, MEASURE_AGAIN, SHORTCUTS, WEIGHTS, read_history

_BY_FILE = {
    SECONDS: "any stage begins it anew",
    "preflight.json": "`rushes preflight` writes it again",
    "curation.json": "`rushes curate` writes it again",
    "compare.json": "`rushes compare` writes it again",
    SHORTCUTS: MEASURE_AGAIN,
}
BY_COMMAND = {"guided": " --set generate.kind=guided", "gap": " --set generate.kind=gap"}


@dataclass(frozen=True)
class VerifyResult:
    """What of a project was looked at, and what is wrong with it."""

    checked: Mapping[str, int]  # by kind: rows, media, latents, reference_cache, texts, checkpoints, weights, files
    compared: int | None = None  # latents that were encoded again; null = none was asked for
    texts_compared: int | None = None  # captions that were read again; null likewise
    faults: tuple[str, ...] = ()  # a sentence each, with the way out


Check = Callable[[], Iterator[str]]  # for each thing that is looked at what is wrong with it; "" = nothing


def verify_project(project: Path, tick: Callable[[int], None] = lambda count: None) -> VerifyResult:
    """Look at everything in a project's folder.

    Raises:
        ValueError: it is not a project.
    """
    if not (project / SETTINGS_FILE).exists() and not (project / "rushes.db").exists():
        raise ValueError(
            f"{project} is not a project, as it has no {SETTINGS_FILE}; make one with `rushes init "
            f"{quote(str(project))}`"
        )
    checked: dict[str, int] = {}
    faults: list[str] = []
    try:
        check_database(project)
        store = Store.open(project)
    except (ValueError, OSError) as error:  # nothing else can be said without it
        return VerifyResult({"rows": 0}, faults=(str(error),))
    with store:
        checks: dict[str, Check] = {
            "rows": partial(_rows, store),
            "media": partial(_media, store),
            "latents": partial(_tensors, project / "latents"),
            "reference_cache": partial(_tensors, project / "bank"),
            "texts": partial(_texts, project),
            "checkpoints": partial(_checkpoints, project),
            "weights": partial(_weights, store),
            "files": partial(_files, project),
        }
        for kind, check in checks.items():
            checked[kind] = 0
            try:
                for fault in check():
                    checked[kind] += 1
                    tick(1)
                    faults += [fault] if fault else []
            except (ValueError, OSError, sqlite3.Error) as error:  # most often of a row that is named already
                faults.append(
                    f"{kind}: cannot be checked ({error}); repair that, then run `rushes verify {quote(str(project))}`"
                )
    return VerifyResult(checked, faults=tuple(faults))


def _rows(store: Store) -> Iterator[str]:
    """Structure of the database, then every row by its kind."""
    if fault := store.fault():
        yield f"{store.project / 'rushes.db'}: damaged ({fault}); {RESTORE}"
        return
    yield from store.check_rows()


def _media(store: Store) -> Iterator[str]:
    """Every video and still that a row names, unless it was set aside."""
    project, aside = quote(str(store.project)), {id for id, decision in store.decisions().items() if not decision.keep}
    remedies: dict[str, str] = {}
    for take in store.stream(Candidate):
        if take.id not in aside:
            remedies.setdefault(take.media, _way_to(project, take))
    for clip in store.stream(Clip):
        for digest in (clip.media, clip.first_frame):
            if digest and clip.id not in aside:
                again = clip.made_by in ("import", "world")
                remedies[digest] = f"`rushes import {project}`" if again else f"`rushes prompts add {project}`"
    lost = store.media.lost(remedies)
    for digest, remedy in remedies.items():
        if digest in lost:
            there = store.project / "media" / digest[:2] / digest
            yield f"{there}.*: lost, or its content changed; {remedy} makes it again, or {RESTORE}"
        else:
            yield ""


def _way_to(project: str, take: Candidate) -> str:
    """The command that makes a take again; `project` as a shell reads it."""
    if take.kind == "imported":
        return f"`rushes import {project}`" if take.clip_id else f"`rushes labels import {project}`"
    if take.kind == "probe":
        return f"`rushes tune eta {project}`"
    if take.split == "eval":
        return f"`rushes evaluate {project}`"
    by = "" if take.system == "base" else f" --run {quote(take.system)}"
    return f"`rushes generate {project}{by}{BY_COMMAND.get(take.kind, '')}`"


def _tensors(folder: Path) -> Iterator[str]:
    """All shards of a folder, whatever they are of."""
    strange = dict[str, None]()  # a file of other people's is in the way of all shards: one line
    for name in sorted({path.name.split("-")[0] for path in folder.glob("[!.]*.safetensors")}):
        try:
            entries = LatentStore(folder, re.sub(r"\W", "_", name) or "_")
        except ValueError as error:
            strange[str(error)] = None
            continue
        problems = entries.verify()
        yield from problems
        yield from [""] * max(0, len(entries) - len(problems))
    yield from strange


def _texts(project: Path) -> Iterator[str]:
    for folder in sorted(path for path in (project / TEXTS).glob("*") if path.is_dir()):
        cache = TextCache.of_folder(folder)
        for path in cache.paths():
            try:
                cache.read(path)
                yield ""
            except ValueError as error:
                yield str(error)


def _checkpoints(project: Path) -> Iterator[str]:
    """Those of runs at work are left out: they come and go, and one that is being written looks torn."""
    for folder in sorted((project / "runs").glob("*/checkpoints")):
        for path in [] if checkpoint.at_work(folder.parent) else checkpoint.in_order(folder):
            if checkpoint.is_whole(path):
                yield ""
            elif path.exists() and not checkpoint.at_work(folder.parent):  # which may have begun meanwhile
                remedy = f"delete it, and the run continues from the checkpoint before; or {RESTORE}"
                yield f"{path}: incomplete or altered; {remedy}"


def _weights(store: Store) -> Iterator[str]:
    """Weights of finished runs, by the checksum that was written with them."""
    names = {run.name for run in store.runs()}
    for name in sorted(names):
        path = store.project / "runs" / name / WEIGHTS
        train = f"rushes train {quote(str(store.project))} --set train.name={quote(name)}"
        remedy = f"`{train}` writes it from the checkpoint, or {RESTORE}"
        fault = checkpoint.weights_fault(path)
        yield f"{path}: {fault}; {remedy}" if fault else ""


def _files(project: Path) -> Iterator[str]:
    """Settings, curves, results, and small databases."""
    checks = list(_small(project))
    checks += [partial(_database, path) for path in sorted(project.glob("*.db"))]
    for check in checks:
        try:
            check()
            yield ""
        except (ValueError, OSError) as error:
            yield str(error)


def _small(project: Path) -> Iterator[Callable[[], object]]:
    yield partial(read_settings, project, uses=nothing)
    for path in sorted((project / "runs").glob(f"*/{CURVES}")):
        yield partial(read_history, path, ended=(path.parent / WEIGHTS).is_file())
    results = [*project.glob("*.json"), *(project / "runs").glob("*/*.json"), *(project / "reports").glob("*.json")]
    for path in sorted(results):
        yield partial(_json, path)


def _json(path: Path) -> None:
    other = "`rushes evaluate` writes a result again" if path.parent.name == "reports" else RESTORE
    remedy = _BY_FILE.get(path.name, other)
    text = checked_text(path, remedy)
    try:
        parse_json(text, path)
    except ValueError as error:
        raise ValueError(f"{error}; incomplete or altered: {remedy}") from None


def _database(path: Path) -> None:
    if path.name == "rushes.db":  # looked at already
        return
    try:
        read_only = not all(os.access(place, os.W_OK) for place in (path, path.parent))
        with closing(connect(path, read_only)) as file:
            (words,) = file.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise plainly(error, path) from error
    if words != "ok":
        raise ValueError(f"{path}: damaged ({words}); {RESTORE}, or delete it")


def in_words(result: VerifyResult) -> list[str]:
    """What was looked at, and what is wrong."""
    lines = [f"{kind.replace('_', ' ')}: {count}" for kind, count in result.checked.items()]
    if result.compared is not None:
        lines.append(f"encoded again and compared: {result.compared} latents, {result.texts_compared or 0} captions")
    return [*lines, *(result.faults or ["all is whole"])]
