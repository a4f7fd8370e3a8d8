"""The settings of a project's folder; free of torch, so that reports work without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rushes import trust
from rushes.config.settings_files import flat, load_settings, to_toml
from rushes.config.tables import Settings, TrainSettings
from rushes.config.uses import Uses, code, everything, nothing
from rushes.files import make_folder, write_text
from rushes.project.defaults import with_model_defaults
from rushes.store.database import Store
from rushes.text_reader import read_text

FILE = "rushes.toml"
_FIRST, _LAST = "# All settings, down to a last line that says so: a file that was cut is not read.", "# The end."


def read_settings(project: Path, overrides: Sequence[str] = (), uses: Uses = everything) -> Settings:
    """The settings of a project, to be used so.

    Raises:
        ValueError: no project, one of a newer Rushes, or settings that are wrong, all of them named.
    """
    path = project / FILE
    if not path.is_file():
        raise ValueError(f"{project} is not a project: it has no {FILE}; make one with `rushes init {project}`")
    _check_whole(path)
    if (project / "rushes.db").is_file():
        Store.open(project).close()  # a newer Rushes has settings that this one would call unknown
    return load_settings(path, overrides, uses=uses)


def write_settings(project: Path, settings: Settings) -> Path:
    """Write settings, each with its description, into a project's folder."""
    path = project / FILE
    write_text(path, f"{_FIRST}\n\n{to_toml(settings)}\n{_LAST}\n")
    return path


def _check_whole(path: Path) -> None:
    """Refuse a file of which a part was lost: what it lacks would be read as defaults.

    Raises:
        ValueError: it is empty, or its end is missing.
    """
    text = read_text(path).strip()
    if text and (_FIRST not in text or _LAST in text):
        return
    what = "was cut, as its last line is missing" if text else "is empty"
    mend = f"; if nothing else is, put {_LAST!r} back at its end" if text else ""
    raise ValueError(
        f"{path}: {what}; copy it back from a backup, or from the report of a run, which shows its settings{mend}"
    )


def check_database(folder: Path) -> None:
    """Refuse to begin an empty database beside what another listed.

    Raises:
        ValueError: there is none, and the folder has videos or runs.
    """
    if (folder / "rushes.db").exists():
        return
    left = [name for name, files in (("media", "*/*"), ("runs", "*/*.safetensors")) if any((folder / name).glob(files))]
    if left:
        raise ValueError(
            f"{folder / 'rushes.db'} is missing, and {' and '.join(f'{name}/' for name in left)} hold what it lists; "
            "copy it back from a backup (`rushes backup` makes one), or take the rows of a `rushes export` with "
            f"`rushes import {folder} --rows FOLDER`; to begin anew, choose another folder"
        )


def check_new(project: Path) -> None:
    """Raise ValueError where the folder has settings already."""
    if (project / FILE).exists():
        raise ValueError(
            f"{project / FILE} is there already; edit it, open it with Project.open, or choose another folder"
        )


def create_project(project: Path, settings: Settings) -> Path:
    """Make a project's folder with its database and settings; the path of these. Raises as `check_new` does."""
    check_new(project)
    remember(settings)
    Store.create(project).close()
    return write_settings(project, settings)


def remember(settings: Settings) -> None:
    """Allow what the user chose for a project whose settings are about to be written, so that its file may name it."""
    words = [each.word for each in trust.refused(settings)]
    if words:
        trust.allow(words)


def adopt(project: Path, settings: Settings, source: Path | str) -> None:
    """Write the settings that `source` (a file, or a name in words) gave into the project, which may be new.

    They are allowed from now on, so that `everything` in a file of somebody's must have been allowed before.

    Raises:
        ValueError: the project has settings that differ; the text names each.
    """
    settings = with_model_defaults(settings)  # a file that is written has all settings
    if not (project / FILE).is_file():
        remember(settings)
        make_folder(project)
        write_settings(project, settings)
        return
    there, ours = (
        dict(flat(each.model_dump())) for each in (with_model_defaults(read_settings(project, uses=nothing)), settings)
    )
    names = [name for name in {**there, **ours} if there.get(name) != ours.get(name)]
    if names:
        differences = "; ".join(f"{name} is {there.get(name)!r}, not {ours.get(name)!r}" for name in names)
        raise ValueError(
            f"{project / FILE} differs from {source} and what was given with it: {differences}. "
            f"`rushes run {project}` goes on with the project's own; for the others, choose another --out"
        )


def overridden(settings: Settings, overrides: Sequence[str]) -> Settings:
    """Settings with some of them changed.

    Raises:
        ValueError: an override that is wrong.
    """
    with TemporaryDirectory() as folder:
        return load_settings(write_settings(Path(folder), settings), overrides, own=True)


def with_train(project: Path, train: TrainSettings, overrides: Sequence[str]) -> Settings:
    """The settings of a project with another [train] table in place of its own, then overridden.

    Raises:
        ValueError: as `read_settings` does.
    """
    ours = [text for text in overrides if text.startswith("train.")]
    settings = with_model_defaults(read_settings(project, [text for text in overrides if text not in ours], code))
    with TemporaryDirectory() as folder:
        return load_settings(write_settings(Path(folder), settings.model_copy(update={"train": train})), ours, own=True)
