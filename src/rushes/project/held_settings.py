"""What a project is made with: a short `rushes.toml` over what is held beside it, how that is changed and renewed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import tomlkit
from pydantic import BaseModel, ValidationError
from tomlkit.items import Table

from rushes import trust
from rushes.backbones.folders import at_commit
from rushes.backbones.model_defaults import ModelMatch, Sourced, settings_of
from rushes.config.held_defaults import (
    DEFAULT,
    GIVEN,
    HELD_FILE,
    INPUTS,
    KEY,
    VERSION,
    HeldDefaults,
    at,
    merged,
    put,
    read_held,
    write_held,
)
from rushes.config.renamed import with_names_of_today
from rushes.config.settings_files import (
    Draft,
    SettingsError,
    describe,
    flat,
    load_settings,
    not_allowed,
    parsed,
    resolve_folders,
    toml_key,
    toml_value,
)
from rushes.config.tables import Settings, TrainSettings
from rushes.config.uses import code, nothing
from rushes.files import write_text
from rushes.project.defaults import left_out, model_of, with_values
from rushes.project.model_presets import check_model, given
from rushes.project.presets import source_of, tiny_settings, with_stages
from rushes.project.settings import LAST, SETTINGS_FILE, SHORT_FIRST, check_new, read_settings, remember, whole_text
from rushes.project.settings_checks import backbone_problems, check_kind, check_settings
from rushes.store.database import Store
from rushes.text_reader import read_toml
from rushes.training.recipe import load_recipe, published

RECIPE, MODEL = "recipe: ", "model: "
_ALWAYS = (  # what a person looks at, of each kind of footage and of labels what applies
    *("backbone.name", "backbone.path", "backbone.height_px", "backbone.width_px", "backbone.frames"),
    *("footage.kind", "footage.path", "footage.rejected", "footage.prompts", "footage.eval_fraction"),
    *("footage.clips", "footage.eval_prompts"),
    *("label.by", "label.metric", "train.recipe", "train.steps", "train.batch", "train.learning_rate"),
    "evaluate.prompts",
)
_CHOSEN = ("train.recipe", "footage.kind", "footage.path", "footage.rejected", "footage.prompts")  # by whoever makes it
_OTHER = {  # by footage.kind, what of these concerns the other kind
    "world": {"backbone.path", "footage.path", "footage.eval_fraction", "footage.rejected", "footage.prompts"},
    "folder": {"footage.clips", "footage.eval_prompts", "footage.rejected", "footage.prompts"},
    "pairs": {"footage.clips", "footage.eval_prompts", "label.by"},
}


def of_today(settings: Settings) -> dict[str, Sourced]:
    """All settings as this package's defaults, recipe and model have them, with where each is from.

    `settings` say which recipe, model and footage; nothing else of them counts.

    Raises:
        ValueError: no such recipe, or a model that is not at hand.
    """
    name, match, size = settings.train.recipe, model_of(settings), settings.backbone
    if match is None and size.name != "tiny" and "." not in size.name:
        raise ValueError(
            f"backbone.path: {size.path or 'empty'} holds no {size.name}, so its settings cannot be looked up; set "
            "backbone.path to the model's folder"
        )
    recipe = load_recipe(name)
    footage = source_of(settings.footage)
    if match is None:
        base, rows = tiny_settings(name, recipe, footage), dict[str, Sourced]()
    else:
        rows = _model_rows(match, published(recipe))
        base = with_stages(name, recipe, footage, TrainSettings(recipe=name))
        base = with_values(base, {path: row.value for path, row in rows.items()})
    plain = dict(flat(Settings().model_dump(mode="json")))
    where = f"{RECIPE}{recipe.PAPER}" + (", on the tiny model" if match is None else "")

    def source(path: str, value: object) -> str:
        own = DEFAULT if plain.get(path) == value else GIVEN if path in _CHOSEN else where
        return rows[path].source if path in rows else own

    return {path: Sourced(value, source(path, value)) for path, value in flat(base.model_dump(mode="json"))}


def _model_rows(match: ModelMatch, recipe: Mapping[str, tuple[Any, str]]) -> dict[str, Sourced]:
    """Settings of a released model, and in their place those of a recipe's published run."""
    rows = {path: Sourced(row.value, f"{MODEL}{row.source}") for path, row in settings_of(match.model).items()}
    own = {"train.times"} if "train.times" in match.model.settings else set()
    return rows | {path: Sourced(v, f"{RECIPE}{source}") for path, (v, source) in recipe.items() if path not in own}


def held_of(settings: Settings, sources: Mapping[str, str], overrides: Sequence[str]) -> HeldDefaults:
    """What is held beside a new project's file: all its settings.

    Args:
        settings: those of the project.
        sources: of settings for which no table decided, by their dotted paths.
        overrides: what the user typed.
    """
    today, values = of_today(settings), settings.model_dump(mode="json")
    where = {
        path: GIVEN
        if given(overrides, path)
        else today[path].source
        if path in today and today[path].value == value
        else sources.get(path, GIVEN)
        for path, value in flat(values)
    }
    return HeldDefaults(VERSION, values, where)


def begin_project(
    project: Path, settings: Settings, sources: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> Path:
    """Make a project's folder with its database, a short `rushes.toml` and what that leaves out; the file's path.

    Raises:
        ValueError: the folder has settings already, or no stage could work with these.
    """
    check_new(project)
    remember(settings)
    Store.create(project).close()
    held = held_of(settings, sources or {}, overrides)
    write_held(project, held)
    write_text(project / SETTINGS_FILE, short_text(held))
    return project / SETTINGS_FILE


def short_text(held: HeldDefaults) -> str:
    """The file that a person looks at: model, footage, recipe, labels, training and evaluation, and what was given."""
    other = _OTHER[held.settings["footage"]["kind"]]
    lines = [
        SHORT_FIRST,
        f'{KEY} = "{held.version}"  # of what is left out here; `rushes set` changes a line or adds it',
    ]
    for name in Settings.model_fields:
        rows = [
            (path, value)
            for path, value in _leaves(held.settings[name], (name,))
            if held.sources.get(".".join(path)) == GIVEN
            or (".".join(path) in _ALWAYS and ".".join(path) not in other and (value != "" or path[0] == "footage"))
        ]
        lines += [f"[{name}]", *(_line(path, value) for path, value in rows)] if rows else []
    return "\n".join([*lines, LAST]) + "\n"


def _leaves(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _line(path: tuple[str, ...], value: Any) -> str:
    model: Any = Settings
    for name in path[:-1]:
        field = model.model_fields.get(name) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = field.annotation if field else None
    fields = getattr(model, "model_fields", {})
    words = f"  # {describe(fields[path[-1]])}" if path[-1] in fields else ""
    return f"{'.'.join(map(toml_key, path[1:]))} = {toml_value(value)}{words}"


def changed_since(folder: Path, settings: Settings) -> dict[str, tuple[Any, Any]]:
    """Defaults, and settings of recipe and model, that this package has otherwise than the project holds: both values.

    What the user set is none of them. Empty for a project whose file has all settings.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file() or KEY not in read_toml(file) or "." in f"{settings.train.recipe}{settings.backbone.name}":
        return {}  # what lies outside of the package has no table here
    held = read_held(folder)
    try:
        today = of_today(_inputs(held.settings))
    except ValueError:  # a model that is elsewhere is missed by what needs it
        return {}
    before = dict(flat(held.settings))
    ours = dict(flat(settings.model_dump(mode="json")))
    return {
        path: (before[path], today[path].value)
        for path, source in held.sources.items()
        if _of_a_table(source) and path in today and today[path].value != before[path] == ours.get(path)
    }


def _of_a_table(source: str) -> bool:
    return source == DEFAULT or source.startswith((RECIPE, MODEL))


def changed_in_words(folder: Path, changes: Mapping[str, tuple[Any, Any]]) -> str:
    """One line on defaults that changed."""
    listed = ", ".join(f"{path} {before!r} (now {now!r})" for path, (before, now) in changes.items())
    return (
        f"defaults that changed since this project was made, where the old value holds: {listed}; "
        f"`rushes set {quote(str(folder))} --upgrade` takes the new"
    )


def _inputs(data: Mapping[str, Any]) -> Settings:
    """What decides other settings: model, footage and recipe.

    Raises:
        SettingsError: one of them is wrong.
    """
    footage = dict(data.get("footage", {}))
    if footage.get("kind") == "folder" and not footage.get("path"):  # still to be given
        footage["path"] = "."
    recipe = at(data, "train.recipe") or Settings().train.recipe
    tables = {"backbone": data.get("backbone", {}), "footage": footage, "train": {"recipe": recipe}}
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SettingsError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']} (got {first['input']!r:.80})"
        ) from None


def renewed(held: HeldDefaults, data: Mapping[str, Any], upgrade: bool) -> HeldDefaults:
    """What is held, for another recipe or model, or of this package's tables.

    Args:
        held: before.
        data: nested tables of the project's settings with what changes.
        upgrade: take today's defaults too, and not only what recipe and model decide.
    """
    today = of_today(_inputs(data))
    values: dict[str, Any] = {}
    sources = {}
    for path, row in today.items():
        before, source = at(held.settings, path), held.sources.get(path, DEFAULT)
        stays = not _of_a_table(source) or (not upgrade and row.source == source == DEFAULT)
        value, sources[path] = (before, source) if stays and before is not None else (row.value, row.source)
        put(values, path, value)
    for path in INPUTS:
        put(values, path, at(data, path))
    return HeldDefaults(VERSION if upgrade else held.version, values, sources)


@dataclass(frozen=True)
class SettingsResult:
    """All settings of a project."""

    project: Path | None  # null = of none: the defaults
    settings: Mapping[str, Sourced]  # by their dotted paths


def all_settings(project: Path | None) -> dict[str, Sourced]:
    """Each setting of a project with its value and source; without one, the defaults.

    Raises:
        ValueError: no project, or settings that are wrong.
    """
    if project is None:
        return {path: Sourced(v, DEFAULT) for path, v in flat(Settings().model_dump(mode="json"))}
    settings = read_settings(project, uses=nothing)
    text = whole_text(project / SETTINGS_FILE)
    held = read_held(project) if KEY in tomlkit.parse(text) else None
    model = {path: Sourced(row.value, MODEL + row.source) for path, row in left_out(settings).items()}
    return sources_of(settings, text, held) | model


@dataclass(frozen=True)
class SetResult:
    """What `rushes set` wrote."""

    file: Path
    changed: Mapping[str, Sourced]  # settings whose value is another now, by their dotted paths


def _check_written(settings: Settings, names: Collection[str]) -> None:
    check_settings(settings)
    if not {"generate.kind", "train.recipe", "train.options.mode"}.isdisjoint(names):
        check_kind(settings)


def set_values(project: Path, overrides: Sequence[str], upgrade: bool = False) -> SetResult:
    """Write settings into a project's file, with its comments, after the whole was validated.

    With another recipe or model, what belongs to the old and was not changed by hand becomes what belongs to the new.

    Args:
        overrides: `table.name=value`, as on the command line.
        upgrade: take the defaults of this package in place of those that are held.

    Raises:
        ValueError: settings that are wrong, all of them named; nothing is written then.
    """
    path = project / SETTINGS_FILE
    text = whole_text(path)
    document = tomlkit.parse(text.removesuffix(LAST))
    data = document.unwrap()
    typed, lines = parsed(overrides)
    if lines:
        raise SettingsError("\n".join(lines))
    typed = with_names_of_today(typed)[0]
    resolve_folders(typed, Path.cwd())
    if upgrade and KEY not in data:
        raise ValueError(f"{path} has all settings, so --upgrade changes nothing; set those that you want to change")
    names = {".".join(where) for where, _ in _leaves(typed, ())}
    file = {name: table for name, table in data.items() if name != KEY}
    held = read_held(project) if KEY in data and not (upgrade and not (project / HELD_FILE).is_file()) else None
    wanted = merged(merged(held.settings if held else {}, file), typed)
    _check_inputs(wanted, names, path)
    if KEY in data and held is None:  # it is lost, and the user takes today's
        rows = of_today(_inputs(wanted))
        held = renewed(HeldDefaults("", {}, {path: row.source for path, row in rows.items()}), wanted, upgrade=True)
    new = held
    if held is not None and (upgrade or any(at(wanted, name) != at(held.settings, name) for name in INPUTS)):
        new = renewed(held, wanted, upgrade)
        document[KEY] = new.version
        for where, value in _leaves(file, ()):
            own, after = ".".join(where), at(new.settings, ".".join(where))
            if value == at(held.settings, own) and after is not None and at(typed, own) is None:
                _put(document, where, after)
    for where, value in _leaves(typed, ()):
        _put(document, where, value)
    before = dict(flat(merged(Settings().model_dump(mode="json"), merged(held.settings if held else {}, file))))
    body = tomlkit.dumps(document)
    written = body + "\n" * (not body.endswith("\n")) + (f"{LAST}\n" if text.endswith(LAST) else "")
    settings = load_settings(path, overrides, uses=code, draft=Draft(written, new))
    _check_written(settings, names)
    if new != held or "backbone" in typed:
        check_model(settings)
    words = [each.word for each in trust.refused(settings) if ".".join(each.where) in names]
    if words:
        trust.allow(words)
    if new is not None and (new != held or not (project / HELD_FILE).is_file()):
        write_held(project, new)
    write_text(path, written)
    rows = sources_of(settings, written, new)
    changed = {p: row for p, row in rows.items() if p not in before or before[p] != row.value}
    for name in changed.keys() & names:
        if isinstance(changed[name].value, int | float) and isinstance(value := at(typed, name), str | list):
            changed[name] = replace(changed[name], value=value)  # several, or "own": the number stands for one of them
    return SetResult(path, changed)


def keep_commit(project: Path, path: str, fetched: Path) -> str:
    """Write into a project's file which commit `hub:OWNER/NAME` was when it was fetched; `backbone.path` as it is then.

    Nothing is written where the file names another model, as when the command line chose this one.
    """
    file, pinned = project / SETTINGS_FILE, at_commit(path, fetched)
    if pinned == path or not file.is_file():
        return path
    text = whole_text(file)
    document = tomlkit.parse(text.removesuffix(LAST))
    if at(document.unwrap(), "backbone.path") != path:
        return path
    _put(document, ("backbone", "path"), pinned)
    write_text(file, tomlkit.dumps(document) + (f"{LAST}\n" if text.endswith(LAST) else ""))
    return pinned


def _check_inputs(wanted: Mapping[str, Any], typed: Collection[str], path: Path) -> None:
    """Refuse a model that there is not, and code that a file from elsewhere names, before it would be run."""
    inputs = _inputs(wanted)
    problems = [*not_allowed(inputs, ("backbone", "train"), str(path), typed), *backbone_problems(inputs)]
    if problems:
        raise SettingsError("\n".join(problems))


def _put(document: tomlkit.TOMLDocument, path: Sequence[str], value: Any) -> None:
    """A value in place of what is there, whose comment stays, or at the end of its table."""
    table: Any = document
    for name in path[:-1]:
        if name not in table:
            table[name] = tomlkit.table()
        table = table[name]
    if isinstance(table, Table) and path[-1] not in table:
        table.append(path[-1], value)
    else:
        table[path[-1]] = value


def sources_of(settings: Settings, text: str, held: HeldDefaults | None) -> dict[str, Sourced]:
    """Each setting with its value and source: the file, or what is held beside it."""
    data = with_names_of_today(tomlkit.parse(text).unwrap())[0]
    there = {".".join(path) for path, _ in _leaves({k: v for k, v in data.items() if k != KEY}, ())}
    where = held.sources if held else {}
    return {
        path: Sourced(value, SETTINGS_FILE if path in there else where.get(path, DEFAULT))
        for path, value in flat(settings.model_dump(mode="json"))
    }
