"""The settings of a project's folder; free of torch, so that reports work without it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from rushes import trust
from rushes.config.held_defaults import at
from rushes.config.renamed import with_names_of_today
from rushes.config.settings_files import SettingsError, flat, load_settings, to_toml, toml_value
from rushes.config.tables import Settings, TrainSettings
from rushes.config.uses import Uses, code, everything, nothing
from rushes.files import make_folder, write_text
from rushes.project.defaults import with_model_defaults
from rushes.store.database import Store
from rushes.text_reader import read_text, read_toml

SETTINGS_FILE = "rushes.toml"
DETACHED = "RUSHES_DETACHED"  # in the environment of what `run --detach` starts
_LOG = logging.getLogger(__name__)
# What more than one stage reads; labels of several judges stand beside each other.
_SHARED = ("project.seed", "backbone.", "footage.", "generate.", "train.recipe", "train.init_from")
_LIST_OF = {"backbone.frames": "backbone.lengths", "backbone.fps": "backbone.rates"}  # where a list of several goes
_FIRST = "# All settings, down to a last line that says so: a file that was cut is not read."
SHORT_FIRST = "# What this project sets, down to a last line that says so; `rushes settings` prints all settings."
LAST = "# The end."


def read_settings(project: Path, overrides: Sequence[str] = (), uses: Uses = everything, warn: bool = True) -> Settings:
    """The settings of a project, to be used so.

    With `warn`, overrides that other stages will not see are reported in a line of the log.

    Raises:
        ValueError: no project, one of a newer Rushes, or settings that are wrong, all of them named.
    """
    path = project / SETTINGS_FILE
    if not path.is_file():
        raise ValueError(f"{project} is not a project: it has no {SETTINGS_FILE}; {_other_project(project)}")
    whole_text(path)
    if (project / "rushes.db").is_file():
        Store.open(project).close()  # a newer Rushes has settings that this one would call unknown
    settings = load_settings(path, overrides, uses=uses)
    if warn and "RANK" not in os.environ:  # of several processes the one that starts the others
        _say_two_minds(project, settings, overrides)
    return settings


def _other_project(missing: Path) -> str:
    """What to do about a folder that is no project: a project of a like name beside it, or the command."""
    beside = [path.parent.name for path in missing.absolute().parent.glob(f"*/{SETTINGS_FILE}")]
    near = get_close_matches(missing.name, beside, n=1)
    make = f"make one with `rushes init {quote(str(missing))}`"
    return f"did you mean {missing.parent / near[0]}? Or {make}" if near else make


def _say_two_minds(project: Path, settings: Settings, overrides: Sequence[str]) -> None:
    """What other stages read too and have otherwise, so that their work would not fit this one's."""
    typed = {text.partition("=")[0].strip(): text for text in overrides}
    shared = _SHARED if "train.name" in typed else (*_SHARED, "train.")  # a run with a name is found by it
    typed = {name: text for name, text in typed.items() if name.startswith(shared)}
    if not typed:
        return
    with suppress(SettingsError):  # of a file that is none without the overrides
        ours, file = (
            dict(flat(each.model_dump())) for each in (settings, load_settings(project / SETTINGS_FILE, uses=nothing))
        )
        read = {name: (name, _LIST_OF[name]) if name in _LIST_OF else (name,) for name in typed if name in file}
        apart = [name for name, places in read.items() if any(ours[place] != file[place] for place in places)]
        if apart:
            values = {name: typed[name].partition("=")[2].strip() for name in apart}
            written = with_names_of_today(read_toml(project / SETTINGS_FILE))[0]
            words = ", ".join(
                f"{name} is {values[name]} here and {toml_value(file[name])} "
                + ("by default" if at(written, name) is None else f"in {SETTINGS_FILE}")
                for name in apart
            )
            keep = " ".join(quote(f"{name}={values[name]}") for name in apart)
            note = "%s, but other stages use the project's value; to store yours run `rushes set %s %s`"
            _LOG.warning(note, words, project, keep)


def write_settings(project: Path, settings: Settings) -> Path:
    """Write all settings, each with its description, into a project's folder."""
    path = project / SETTINGS_FILE
    write_text(path, f"{_FIRST}\n\n{to_toml(settings)}\n{LAST}\n")
    return path


def whole_text(path: Path) -> str:
    """The text of a settings file, of which no part was lost: what it lacks would be read as defaults.

    Raises:
        ValueError: it is empty, or its end is missing.
    """
    text = read_text(path).strip()
    if text and (LAST in text or not any(first in text for first in (_FIRST, SHORT_FIRST))):
        return text
    what = "incomplete: its last line is missing" if text else "is empty"
    mend = f"; if nothing else is missing, add {LAST!r} at its end" if text else ""
    raise ValueError(
        f"{path}: {what}; copy it from a backup, or from the report of a run, which shows its settings{mend}"
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
            f"{folder / 'rushes.db'} is missing, but {' and '.join(f'{name}/' for name in left)} hold the files that "
            "it lists; copy it from a backup (made by `rushes backup`), or import the rows of a `rushes export` with "
            f"`rushes import {quote(str(folder))} --rows FOLDER`; to start anew, choose another folder"
        )


def check_new(project: Path) -> None:
    """Raise ValueError where the folder has settings already."""
    if (project / SETTINGS_FILE).exists():
        raise ValueError(
            f"{project / SETTINGS_FILE} already exists; edit it, open it with Project.open, or choose another folder"
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
    if not (project / SETTINGS_FILE).is_file():
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
            f"{project / SETTINGS_FILE} differs from {source} and the options given with it: {differences}; run "
            f"`rushes run {quote(str(project))}` to continue with the project's settings, or choose another --out for "
            "the new ones"
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
