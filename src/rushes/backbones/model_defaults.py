"""Released models: what the folder of each says, what it is sampled and trained with, and which one a folder holds.

All of it stands in `models.toml`, each number with its source; this reads them, and the configurations in a model's
folder. No weights are read and nothing heavy is imported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rushes.backbones.folders import HUB, Folder, read_folder, repository_of
from rushes.config.settings_files import load_settings

FILE = Path(__file__).with_name("models.toml")
OWN = "rushes.toml"  # in a model's folder: settings of its own, as in a project's file
SettingValue = str | float | bool | Sequence[str] | Sequence[float] | Sequence[Sequence[int]] | None
# Names of earlier versions -> those that took their place.
RENAMED = {
    "wan2.1-i2v-14b": ("wan2.1-i2v-14b-480p", "wan2.1-i2v-14b-720p"),
    "ltx-video-2b": ("ltx-video-0.9", "ltx-video-0.9.1", "ltx-video-0.9.5"),
    "ltx-video-13b": ("ltx-video-0.9.7-13b", "ltx-video-0.9.8-13b"),
}
IDENTITY = ("like", "pipelines", "variant", "sizes", "difference")  # keys of a row that are no settings


@dataclass(frozen=True)
class Sourced:
    """A setting's value, and where it comes from."""

    value: SettingValue  # whichever the setting has, see settings.md
    source: str  # repository and file, model card, or what decided it

    @property
    def whole(self) -> int:
        """The value of a setting that is a whole number."""
        assert isinstance(self.value, int), self
        return self.value


@dataclass(frozen=True)
class ModelResult:
    """A released model."""

    name: str
    family: str  # backbone
    repository: str  # repository on the Hugging Face hub
    note: str  # how it was recognised, where that left a choice; "" = without
    difference: str  # what its pipeline does by default and is not done here, and why; "" = nothing
    settings: Mapping[str, Sourced]  # by their dotted paths


@dataclass(frozen=True, kw_only=True)
class Released(Folder):
    """A released model: what its folder says, without the folder, and its settings by their dotted paths.

    `path` is the repository's name, for messages.
    """

    name: str  # such as wan2.1-t2v-1.3b
    family: str  # the backbone that reads it
    repository: str  # repository on the Hugging Face hub
    sources: Mapping[str, str]  # where each part's configuration, and under "" the index, was read
    pipelines: tuple[str, ...]  # classes that its model_index.json may name
    kind: Mapping[str, Any]  # configurations ("part.key" or "index.key") that every model of this kind has
    sizes: Mapping[str, Any]  # those that this release has
    settings: Mapping[str, Sourced]  # such as "generate.guidance_scale"; `evaluate.steps` is that of `generate`
    difference: str = ""  # what its pipeline does by default and is not done here, and why; "" = nothing

    def is_at(self, model: str) -> bool:
        """Whether `hub:OWNER/NAME` is its repository, in any case and by a former name of its owner."""
        owner, _, name = repository_of(model)[0].casefold().partition("/")
        owner = _owners("renamed").get(owner, owner)
        return model.startswith(HUB) and f"{owner}/{name}" == self.repository.casefold()


@dataclass(frozen=True)
class ModelMatch:
    """The row of the table for a model, and what a user should know of the choice; "" where there was none."""

    model: Released
    note: str = ""

    def with_settings(self, own: Mapping[str, Sourced]) -> ModelMatch:
        """The match with settings in place of the table's."""
        return replace(self, model=replace(self.model, settings=MappingProxyType({**self.model.settings, **own})))


@cache
def all_models() -> Mapping[str, Released]:
    """The released models by name, in the table's order."""
    rows: dict[str, Released] = {}
    for name, row in _data()["settings"].items():
        about = _data()["models"][name]
        parts = {part: _data()["parts"][which] for part, which in about["parts"].items()}
        settings = dict(rows[row["like"]].settings) if "like" in row else {}
        settings |= _leaves({key: value for key, value in row.items() if key not in IDENTITY})
        settings["evaluate.steps"] = settings["generate.steps"]  # the model is judged as it is sampled
        classes = {part: [its["library"], its["class"]] for part, its in parts.items()}
        rows[name] = Released(
            path=Path(about["repository"]),
            index={"_class_name": about["pipeline"], **classes, **about.get("index", {})},
            configs={part: its.get("config", {}) for part, its in parts.items()},
            name=name,
            family=about["family"],
            repository=about["repository"],
            sources={"": about["source"], **{part: its["source"] for part, its in parts.items()}},
            pipelines=tuple(row["pipelines"]),
            kind=row["variant"],
            sizes=row["sizes"],
            settings=MappingProxyType(settings),
            difference=row.get("difference", ""),
        )
    return MappingProxyType(rows)


def released(name: str) -> Released:
    """The released model of this name. Raises ValueError: there is none; the sentence names the nearest."""
    models = all_models()
    if name in models:
        return models[name]
    if name in RENAMED:
        raise ValueError(f"no model {name!r} any more: use {' or '.join(RENAMED[name])}, which it stood for")
    near = get_close_matches(name, models, 1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(models)}"
    raise ValueError(f"no model {name!r}; {hint}")


class OwnSettingsError(ValueError):
    """Settings in a model's folder that cannot be used."""


def families() -> Mapping[str, Mapping[str, Any]]:
    """What must be known of each family without its module, by its name."""
    table: Mapping[str, Mapping[str, Any]] = _data()["families"]
    return table


@cache
def start_settings() -> Mapping[str, Sourced]:
    """Where preference training begins, whatever the model."""
    return MappingProxyType(dict(_leaves(_data()["start"])))


def settings_of(model: Released) -> dict[str, Sourced]:
    """All settings that the table has for a model: those of the start, and its own, which come first."""
    family = Sourced(model.family, "the family that reads the classes in model_index.json")
    return {"backbone.name": family, **start_settings(), **model.settings}


def shift_at(model: Released, size: tuple[int, int]) -> Sourced:
    """The shift of takes of a height and width: that of the release for it, where one of the same configurations is,
    and the model's folder does not set its own.
    """
    shift = model.settings["generate.shift"]
    for row in all_models().values() if shift == all_models()[model.name].settings["generate.shift"] else ():
        own = (row.settings["backbone.height_px"].whole, row.settings["backbone.width_px"].whole)
        same = (row.pipelines, row.kind, row.sizes) == (model.pipelines, model.kind, model.sizes)
        if same and sorted(own) == sorted(size):
            return row.settings["generate.shift"]
    return shift


def find_model(model: str) -> ModelMatch:
    """The row for a name of the table, a folder in diffusers' layout, or `hub:OWNER/NAME`.

    A repository of the table is known by its name; another is fetched. What a folder's own `rushes.toml` says comes
    before the table.

    Raises:
        ValueError: no such name or folder, not a model, one of no family that is read here, settings of its own that
            cannot be used, or a repository of a model's makers that is not in diffusers' layout.
    """
    rows = all_models()
    if model in rows:
        return ModelMatch(rows[model])
    if model.startswith(HUB):
        if row := next((row for row in rows.values() if row.is_at(model)), None):
            return ModelMatch(row)
        _check_layout(model)
    elif not Path(model).is_dir():
        # wan, cogvideox, ...
        first = {row.partition("-")[0].rstrip(".0123456789"): row for row in reversed(list(rows))}
        near = get_close_matches(model, list(rows), n=1)
        near = near or [first[word] for word in get_close_matches(model.casefold(), list(first), n=1)]
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(
            f"{model}: no such folder, and no released model of this name; {hint}name a folder in diffusers' layout, "
            f"{HUB}OWNER/NAME, or one of docs/models.md"
        )
    folder = read_folder(model)
    called = f"{model} {folder.path.resolve()}"  # a link, or ".", says nothing itself
    return _with_own(_with_guider(identify(folder, called), folder), folder.path / OWN)


def _with_guider(match: ModelMatch, folder: Folder) -> ModelMatch:
    """The match with the guidance that the folder names: 1 where guidance was distilled into the network, which its
    other configurations do not tell."""
    if not folder.has("guider"):
        return match
    guider = folder.config("guider")
    scale = float(guider.get("guidance_scale", 7.5)) if guider.get("enabled", True) else 1.0  # its class' default
    own = {"generate.guidance_scale": Sourced(scale, "guider_config.json in the model's folder")}
    if scale == match.model.settings["generate.guidance_scale"].value:
        return match
    return match.with_settings(own)


def _with_own(match: ModelMatch, path: Path) -> ModelMatch:
    """The match with the settings that the model's folder brings, if it does."""
    if not path.is_file():
        return match
    try:
        tables = load_settings(path, own=True).model_dump(exclude_unset=True)
    except ValueError as error:
        raise OwnSettingsError(str(error)) from None
    given = {f"{table}.{key}": value for table, values in tables.items() for key, value in values.items()}
    if refused := [key for key, value in given.items() if not _may_be_own(key, value)]:
        raise OwnSettingsError(
            f"{path}: a model's folder may set only numbers of [backbone], [generate] and [train] and the negative "
            f"prompt, not {', '.join(refused)}; set that in the project"
        )
    own = {key: Sourced(value, f"{OWN} in the model's folder") for key, value in given.items()}
    if "generate.steps" in own:
        own = {"evaluate.steps": own["generate.steps"], **own}
    return match.with_settings(own)


def _may_be_own(key: str, value: object) -> bool:
    """A folder comes from strangers: it chooses numbers, and never what is run, read or written."""
    return key == "generate.negative_prompt" or (
        key.startswith(("backbone.", "generate.", "train.")) and isinstance(value, int | float)
    )


def _check_layout(model: str) -> None:
    owner, _, name = repository_of(model)[0].casefold().partition("/")
    theirs = f"{_owners('makers').get(owner, '')}/{name}"
    same = [
        f"{HUB}{row.repository}"
        for row in all_models().values()
        if row.repository.casefold() == theirs or row.repository.casefold().startswith(f"{theirs}-diffusers")
    ]
    if same:
        raise ValueError(f"{model} is in its makers' layout, not in diffusers'; use {' or '.join(same)}")


def identify(folder: Folder, called: str = "") -> ModelMatch:
    """Which released model a folder holds, by its index and its parts' configurations.

    Where releases share all of these, names decide: those that the index and the configurations carry, then what the
    folder is `called`. A folder of a known kind whose sizes no release has gets the first row of its kind.

    Raises:
        ValueError: a pipeline of no family that is read here, or a configuration that is missing.
    """
    read = [row for row in all_models().values() if folder.pipeline in row.pipelines]
    rows = [row for row in read if all(_agrees(folder, *fact, strict=True) for fact in row.kind.items())] or read
    if not rows:
        raise ValueError(
            f"{folder.path} holds a {folder.pipeline}, which no family supports; `rushes models` lists the families, "
            "docs/models.md the models"
        )
    same = [row for row in rows if all(_agrees(folder, *fact) for fact in row.sizes.items())]
    if not same:
        return ModelMatch(
            rows[0],
            f"{folder.path} has the sizes of no released model, so it gets the settings of {rows[0].name}, the first "
            f"of its kind ({rows[0].family})",
        )
    if len(same) == 1:
        return ModelMatch(same[0])
    others = " and ".join(row.name for row in same)
    for names, where in ((_names(folder), "the name in its configurations"), ([called], "its own name")):
        if row := _named(same, names):
            return ModelMatch(
                row, f"the configurations of {folder.path} fit {others}; {row.name} was chosen by {where}"
            )
    return ModelMatch(same[0], f"the configurations of {folder.path} fit {others}; {same[0].name} was chosen")


def _agrees(folder: Folder, key: str, expected: Any, strict: bool = False) -> bool:
    """Whether a configuration says what is expected. Where it is silent its class's default holds, which may be it."""
    part, _, name = key.partition(".")
    if part != "index" and not folder.has(part):
        return expected is False
    value = folder.index.get(name) if part == "index" else folder.config(part).get(name)
    if isinstance(expected, bool):
        there = bool(value) and not (isinstance(value, list) and value[0] is None)
        return there is expected
    if value is None:
        return not strict
    return bool((list(value) if isinstance(value, tuple) else value) == expected)


def _names(folder: Folder) -> list[str]:
    """Names of repositories that the index and the networks' configurations carry."""
    configs = [folder.config(part) for part in ("transformer", "unet") if folder.has(part)]
    return [str(each["_name_or_path"]) for each in (folder.index, *configs) if each.get("_name_or_path")]


def _named(rows: list[Released], names: list[str]) -> Released | None:
    """The row whose repository or name stands in one of the names; of several the one of the longest."""
    hits = [
        (len(own), -rank)
        for rank, row in enumerate(rows)
        for own in {_plain(row.repository.rpartition("/")[2]), _plain(row.name)} - {""}
        if any(own in _plain(name) for name in names)
    ]
    return rows[-max(hits)[1]] if hits else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.casefold())


def _leaves(tables: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Sourced]]:
    for key, value in tables.items():
        if set(value) == {"value", "source"}:
            yield before + key, Sourced(**value)
        else:
            yield from _leaves(value, f"{before}{key}.")


def _owners(which: str) -> dict[str, str]:
    """Other owners on the hub by owner, both in small letters."""
    return {owner.casefold(): other.casefold() for owner, other in _data()["owners"][which].items()}


@cache
def _data() -> dict[str, Any]:
    with FILE.open("rb") as file:
        return tomllib.load(file)
