"""Settings read from TOML and validated once, with every error named.

`load_settings` reads the file, applies `key=value` overrides to what it read, and validates the whole. A recipe keeps
its own settings in `[train.options]`; it validates them with its own model through `validate_table`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import logging
import os
import re
import textwrap
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rushes import trust
from rushes.config.base import FOLDER, SecretError, may_be_key
from rushes.config.held_defaults import HELD_FILE, INPUTS, KEY, HeldDefaults, at, merged, read_held
from rushes.config.ranges import RangeReason
from rushes.config.renamed import UNTIL, with_first_names, with_names_of_today
from rushes.config.tables import Settings
from rushes.config.uses import Uses, everything
from rushes.records import stable_hash
from rushes.text_reader import read_toml, without_password


class SettingsError(ValueError):
    """Settings that cannot be used; the text has one line for each error."""


TableT = TypeVar("TableT", bound=BaseModel)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draft:
    """A settings file that is not written yet, and what is to be held beside it."""

    text: str
    held: HeldDefaults | None


def load_settings(
    path: Path,
    overrides: Sequence[str] = (),
    own: bool = False,
    uses: Uses = everything,
    draft: Draft | None = None,
) -> Settings:
    """Read a TOML file, apply overrides such as `train.learning_rate=1e-6`, and validate the whole once.

    An override's value is read as TOML (number, boolean, quoted string, list), else taken as a plain string. Relative
    folders in the file start at the file's folder, those in an override at the current one.

    Names that settings had before are read, and a warning says which. A file that says `defaults = "VERSION"` is read
    over what is held beside it (`held_defaults`).

    Args:
        path: the file.
        overrides: what the user typed.
        own: the caller answers for what the file names, as it wrote the file or takes little of it.
        uses: which tables' code is run and hosts are asked; what the file names in others is not asked about.
        draft: what is read in place of the file.

    Raises:
        SettingsError: with every error, one a line, as `file: dotted.path: message (got value)`; code, a host or a key
            that the user allows no file to name is one (`rushes.trust`).
    """
    data = _read_toml(path) if draft is None else tomllib.loads(draft.text)
    version = data.pop(KEY, None)
    changes, lines = parsed(overrides)
    recipe = _recipe(changes) or _recipe(data)
    data, both = _renamed(data, recipe, str(path))
    changes, twice = _renamed(changes, recipe, "override")
    lines += [*both, *twice]
    changed = [f"{key}." for key in _leaves(changes)]
    resolve_folders(data, path.parent)
    resolve_folders(changes, Path.cwd())
    if version is not None:
        data = _over_held(data, version, path, draft)
    data = merged(data, changes)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        for where, message in _problems(Settings, error):
            ours = any(f"{where}.".startswith(key) or key.startswith(f"{where}.") for key in changed)
            lines.append(f"{'override' if ours else path}: {where}: {message}")
    else:
        if not own:
            lines += not_allowed(settings, uses(settings), str(path), {key.removesuffix(".") for key in changed})
    if lines:
        raise SettingsError("\n".join(lines))
    return settings


def parsed(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Overrides as nested tables, and a line for each that is none."""
    changes: dict[str, Any] = {}
    lines = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            lines.append(f"override: write KEY=VALUE with a dotted key, got {override!r:.80}")
            continue
        value = _parse_value(text.strip())
        for part in reversed(parts):
            value = {part: value}
        changes = merged(changes, value)
    return changes, lines


def _over_held(data: Mapping[str, Any], version: object, path: Path, draft: Draft | None) -> dict[str, Any]:
    """A file's settings over those that are held beside it, which must be of its version, recipe and model."""
    try:
        held = draft.held if draft is not None and draft.held is not None else read_held(path.parent)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if version != held.version:
        raise SettingsError(
            f"{path}: {KEY} is {version!r}, but {path.parent / HELD_FILE} has {held.version!r}; restore the old value, "
            f"or use today's defaults with `rushes set {quote(str(path.parent))} --upgrade`"
        )
    for name in INPUTS:
        now, before = at(data, name), at(held.settings, name)
        if now is not None and now != before:
            raise SettingsError(
                f"{path}: {name} is {now!r}, but the defaults beside the file are those of {before!r}; "
                f"run `rushes set {quote(str(path.parent))} {name}={now}` to use the defaults of the new value"
            )
    return merged(with_names_of_today(held.settings)[0], data)


def not_allowed(settings: Settings, tables: Collection[str], source: str, typed: Collection[str]) -> Iterator[str]:
    """What of a file's settings only the user chooses, and neither typed nor allowed before."""
    for each in trust.refused(settings):
        where = ".".join(each.where)
        if where not in typed and each.where[0] in tables:
            yield (
                f"{source}: {where}: {each.what}, which a settings file may do only once you allow it; if you trust "
                f"it, {trust.way_to_allow(each.word)}"
            )


def validate_table(model: type[TableT], data: Mapping[str, Any], where: str) -> TableT:
    """Validate one table against its own model; `where` is its dotted path, such as `train.options`.

    Raises:
        SettingsError: with every error, one a line, as `where.name: message (got value)`.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        lines = [f"{where}.{name}: {message}" for name, message in _problems(model, error)]
        raise SettingsError("\n".join(lines)) from None


def stored_settings(data: Mapping[str, Any]) -> Settings:
    """Settings that a run was stored with, also under names that they had before; passwords and keys are masked.

    Raises:
        ValidationError: they are of no version that is read.
    """
    return Settings.model_validate(_masked(with_names_of_today(data)[0]))


def _masked(value: Any) -> Any:
    """Nested settings with passwords in addresses masked and without keys, as settings could hold them once."""
    if isinstance(value, dict):
        secret = {name for name, inner in value.items() if name == "key_env" and may_be_key(inner)}
        return {name: "" if name in secret else _masked(inner) for name, inner in value.items()}
    return without_password(value) if isinstance(value, str) else value


# Settings that came after digests did, and the value at which they do nothing.
_LATER: Mapping[str, Mapping[str, Any]] = {
    "footage": {"rejected": "", "prompts": "", "columns": "", "answers": [], "window": "", "windows": 1},
    "label": {
        "reasons": ["hand", "vanishes", "flicker", "physics", "text", "other"],
        "play_first": False,
        "practice": 0,
        "pass_mark": 0.6,
        "proposal": "",
        "votes": 1,
    },
    "caption": {"reasons": False},
    "train": {"mirror": False},
    "backbone": {"sizes": [], "lengths": [], "rates": []},
}


def hashed_form(table: BaseModel, **what: Any) -> dict[str, Any]:
    """A table's values as digests have them: under the names that its settings had first, so that what was made from
    them stays current when a name changes, and without those that came later and do nothing. `what` goes to pydantic's
    `model_dump`, with the names of today.
    """
    paths = {field.annotation: name for name, field in Settings.model_fields.items()}
    values = table.model_dump(mode="json", **what)
    name = paths.get(type(table))
    for of, later in _LATER.items():
        inner = values if name == of else values.get(of, {}) if isinstance(table, Settings) else {}
        for key in [key for key, unused in later.items() if inner.get(key) == unused]:
            del inner[key]
    if isinstance(table, Settings):
        return with_first_names(values)
    return values if name is None else dict(with_first_names({name: values})[name])


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings one by one, under their dotted paths."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def settings_hash(settings: BaseModel) -> str:
    """Digest of the values of a table or of all of them; equal values give equal digests on every machine."""
    return stable_hash(hashed_form(settings))


def to_toml(settings: BaseModel) -> str:
    """The settings as TOML, each with its description as a comment; `load_settings` reads it back unchanged."""
    return "\n".join(_toml_lines(settings, "")).lstrip("\n") + "\n"


def mapping_to_toml(settings: Mapping[str, Any], header: str = "") -> str:
    """Nested settings of any kind as TOML, without comments but on None, which TOML lacks."""
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    lines = [f"{toml_key(k)} = {toml_value(v)}" if v is not None else f"# {k} is not set" for k, v in plain.items()]
    for name, value in settings.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{header}{toml_key(name)}]", mapping_to_toml(value, f"{header}{toml_key(name)}.")]
    return "\n".join(lines).strip()


def describe(field: FieldInfo) -> str:
    """One line on a setting, with its choices where it has some; on a table, what its class says."""
    choices = map(choice_name, get_args(field.annotation)) if get_origin(field.annotation) is Literal else ()
    text = field.description or inspect.getdoc(field.annotation) or ""
    listed = " | ".join(choices)
    return text + (f" ({listed})" if listed else "")


def choice_name(choice: str | bool) -> str:
    """A choice as TOML has it, a word without its quotes."""
    return choice if isinstance(choice, str) else str(choice).lower()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}): `rushes init` writes a new one") from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _recipe(data: Mapping[str, Any]) -> str:
    train = data.get("train")
    return str(train.get("recipe", "")) if isinstance(train, dict) else ""


def _renamed(data: dict[str, Any], recipe: str, where: str) -> tuple[dict[str, Any], list[str]]:
    """Settings under the names of today, which is reported, and errors: a setting under both names."""
    try:
        renamed, phrases = with_names_of_today(data, recipe)
    except ValueError as error:
        return data, [f"{where}: {error}"]
    if phrases:
        names = "name is" if len(phrases) == 1 else "names are"
        _warn_once(f"{where}: {', '.join(phrases)}; the old {names} read until {UNTIL}")
    return renamed, []


@functools.cache
def _warn_once(text: str) -> None:
    """A process reads a file many times: a stage more than once, and the studio at each request."""
    _LOG.warning("%s", text)


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all values."""
    for name, value in data.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def resolve_folders(data: dict[str, Any], start: Path, model: type[BaseModel] = Settings) -> None:
    """Make relative folders in nested tables absolute, in place."""
    for name, field in model.model_fields.items():
        value, inner = data.get(name), field.annotation
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            resolve_folders(value, start, inner)
        elif isinstance(value, str) and value and FOLDER in field.metadata and not value.startswith("hub:"):
            data[name] = os.path.abspath(start / Path(value).expanduser())


def _problems(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Each error as its dotted path and `message (got value)`."""
    problems = []
    for details in error.errors(include_url=False):
        where, names = _locate(model, details["loc"])
        message = re.sub(r"^(Value error|Assertion failed), ", "", details["msg"])
        if details["type"] == "model_type":
            message = f"must be a table, written as [{'.'.join(where)}]"
        near = []
        if details["type"] == "extra_forbidden":
            message = "unknown setting"
            near = difflib.get_close_matches(where[-1], names, n=1)
            if len(where) == 1 and model is Settings and not near:  # the name of a setting without its table
                settings = flat(Settings().model_dump())
                near = [path for path, _ in settings if path.rpartition(".")[2] == where[0]]
        ends = details.get("ctx", {})
        low = ends.get("ge", ends.get("gt", 0))
        beyond = details["type"].startswith("less_than") or low < 0 or 0 < low < 1
        if beyond and (why := _reason(model, where)):
            message += f", as {why}"
        value = details["input"]
        secret = isinstance(details.get("ctx", {}).get("error"), SecretError)
        got = "" if secret or isinstance(value, dict | BaseModel) else f" (got {_shown(value)})"
        unknown = details["type"] == "extra_forbidden"
        hint = f"; did you mean: {', '.join(near)}" if near else "; delete it" if unknown else ""
        problems.append((".".join(where), f"{message}{got}{hint}"))
    return problems


def _shown(value: object) -> str:
    """The beginning of a value; Python writes no number of thousands of digits."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return "a number of over 4,300 digits"


def _reason(model: type[BaseModel], where: Sequence[str]) -> str:
    """Why the range of a number ends where it does, in a list or a table too; "" where it is no number."""
    for name in where:
        field = model.model_fields.get(name)
        if field is None:
            return ""
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
            continue
        return next((reason for kind in (*field.metadata, field.annotation) for reason in _reasons(kind)), "")
    return ""


def _reasons(kind: Any) -> Iterator[str]:
    """The same in a mark of a type, or in the marks within a type."""
    if isinstance(kind, RangeReason):
        yield kind.reason
    for inner in get_args(kind):
        yield from _reasons(inner)


def _locate(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """Place of an error as the user wrote it, without pydantic's union tags, and the names known at that place."""
    where: list[str] = []
    names: list[str] = []
    kind: Any = model
    for part in loc:
        models = _models_in(kind)
        if isinstance(part, int):
            where.append(str(part))
        elif len(models) > 1:  # pydantic puts the tag of a union here
            kind = next((member for member in models if part in _tags(member)), None)
        elif models or get_origin(kind) not in (Union, UnionType):
            fields = models[0].model_fields if models else {}
            names = list(fields)
            kind = fields[part].annotation if part in fields else None
            where.append(part)
    return where, names


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for inner in get_args(kind) for model in _models_in(inner)]


def _tags(model: type[BaseModel]) -> set[str]:
    literals = (field.annotation for field in model.model_fields.values() if get_origin(field.annotation) is Literal)
    return {model.__name__, *(choice for literal in literals for choice in get_args(literal))}


def _toml_lines(table: BaseModel, header: str) -> list[str]:
    plain: list[str] = []
    nested: list[str] = []
    dumped = table.model_dump(mode="json")
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, BaseModel | dict):
            nested += ["", *_comment(field), f"[{header}{name}]"]
            if isinstance(value, BaseModel):
                nested += _toml_lines(value, f"{header}{name}.")
            else:
                nested += [f"{toml_key(key)} = {toml_value(item)}" for key, item in dumped[name].items()]
        else:
            plain += [*_comment(field), f"{name} = {toml_value(dumped[name])}"]
    return plain + nested


def _comment(field: FieldInfo) -> list[str]:
    """What a setting is, in lines that fit a terminal."""
    return textwrap.wrap(f"# {describe(field)}", 120, subsequent_indent="# ", break_on_hyphens=False)


def toml_key(key: str) -> str:
    """A key, quoted where it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: Any) -> str:
    """A value of JSON as TOML has it, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    # JSON's strings, numbers and booleans are TOML's too, but for one character that TOML wants escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
