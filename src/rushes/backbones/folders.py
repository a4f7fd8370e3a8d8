"""A model in diffusers' layout: a folder with `model_index.json` and one folder for each part.

Weights are looked at before anything is loaded: a missing or torn shard is reported by name, in a second.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from rushes.files import follow_umask, write_json

if TYPE_CHECKING:  # settings are looked up in a folder without torch
    import torch
    from torch import nn

HERE = {"local_files_only": True, "use_safetensors": True}  # how anything is loaded
HUB = "hub:"  # before a name on the Hugging Face hub, in `backbone.path`; after it may stand @ and a revision


@dataclass(frozen=True)
class Folder:
    """A model's folder and what its index says: part -> (library, class)."""

    path: Path
    index: Mapping[str, Any]
    configs: dict[str, Any] = field(default_factory=dict, compare=False)  # by part, those that were read so far

    def __post_init__(self) -> None:
        """Refuse an index that chooses code: diffusers imports whatever one names.

        Raises:
            ValueError: a class that is not a public one of diffusers or transformers.
        """
        if not isinstance(self.index.get("_class_name", ""), str):
            raise ValueError(
                f"its pipeline is {self.index['_class_name']}, which is the model's own code, and Rushes "
                "never runs that"
            )
        for part in filter(self.has, self.index):
            library, name = self.index[part]
            if not (_may_name(library) and isinstance(name, str) and re.fullmatch(r"[A-Za-z]\w*", name)):
                raise ValueError(
                    f"{part} is a {library}.{name}, but Rushes loads only classes of diffusers and transformers, never "
                    "a model's own code"
                )

    @property
    def pipeline(self) -> str:
        """Name of the pipeline's class."""
        return str(self.index["_class_name"])

    def has(self, part: str) -> bool:
        """Whether the model has this part."""
        value = self.index.get(part)
        return isinstance(value, list) and len(value) == 2 and value[0] is not None

    def variant(self, part: str) -> str | None:
        """The variant that a part's weights are there in, such as "fp16", where they are not there without one."""
        return _variant(path.name for path in (self.path / part).glob("*.safetensors"))

    def config(self, part: str) -> dict[str, Any]:
        """What a part's configuration says, beside the defaults of its class.

        Raises:
            ValueError: the index names no such part, or its configuration is missing or torn.
        """
        self._check_named(part)
        if part not in self.configs:
            self.configs[part] = _read_config(self.path / part)
        return deepcopy(dict(self.configs[part]))

    def cls(self, part: str) -> Any:
        """The class of a part.

        Raises:
            ValueError: the index names no such part, or a class that is not installed.
        """
        self._check_named(part)
        library, name = self.index[part]
        # An index names a class that belongs to one pipeline by that pipeline's module alone.
        module = f"diffusers.pipelines.{library}" if library in _OF_PIPELINES else library
        try:
            cls = getattr(importlib.import_module(module), name)
            if not isinstance(cls, type):
                raise TypeError(name)
            return cls
        except (ImportError, AttributeError, TypeError, ValueError):
            raise ValueError(
                f"{self.path / 'model_index.json'}: {part} is a {library}.{name}, which the installed version does not "
                f"have; upgrade {library}, or use a release of the model for this version"
            ) from None

    def _check_named(self, part: str) -> None:
        if not self.has(part):
            raise ValueError(f"{self.path / 'model_index.json'}: names no {part}, so the model is incomplete; {_AGAIN}")

    def load(self, part: str, dtype: torch.dtype) -> nn.Module:
        """A part with its weights, in main memory. Modules that its class keeps in float32 are in float32."""
        loaded: nn.Module = self.cls(part).from_pretrained(
            self.path / part, dtype=dtype, variant=self.variant(part), **HERE, **self._no_code(part)
        )
        return loaded

    def _no_code(self, part: str) -> dict[str, bool]:
        """For classes of transformers, which else ask at the terminal whether code of the folder is to run."""
        return {"trust_remote_code": False} if self.index[part][0] == "transformers" else {}

    def processor(self, part: str) -> Any:
        """A part without weights that prepares what encoders read: a tokenizer or an image processor."""
        return self.cls(part).from_pretrained(self.path / part, local_files_only=True, **self._no_code(part))

    def open_pipeline(self, dtype: torch.dtype, without: Iterable[str], **options: Any) -> Any:
        """The pipeline of diffusers over this model but for the parts named, in main memory."""
        import diffusers

        idle = dict.fromkeys(without)
        variants = self.parts_in_variants(dtype, idle)
        return getattr(diffusers, self.pipeline).from_pretrained(
            self.path, dtype=dtype, trust_remote_code=False, **HERE, **idle, **variants, **options
        )

    def parts_in_variants(self, dtype: torch.dtype, idle: Collection[str] = ()) -> dict[str, nn.Module]:
        """Parts that are not idle and whose weights are there in a variant alone, which a pipeline would not find."""
        parts = [part for part in self.index if part not in idle and self.has(part)]
        return {part: self.load(part, dtype) for part in parts if self.variant(part)}


def _read_config(part: Path) -> dict[str, Any]:
    names = ("config.json", "scheduler_config.json", "guider_config.json")
    file = next((part / name for name in names if (part / name).is_file()), None)
    if file is None:
        raise ValueError(f"{part}: has no {names[0]}, so the model is incomplete; {_AGAIN}")
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON ({error}); {_AGAIN}") from None


def _may_name(library: object) -> bool:
    """Whether the index of a model may take a class from there: not what it would import from anywhere else."""
    if library in ("diffusers", "transformers"):
        return True
    spec = importlib.util.find_spec("diffusers")  # which is not imported: settings are looked up without torch
    places = (spec and spec.submodule_search_locations) or ()
    plain = isinstance(library, str) and re.fullmatch(r"[a-z]\w*", library)
    return bool(plain) and any((Path(place) / "pipelines" / str(library) / "__init__.py").is_file() for place in places)


def open_folder(path: str, family: str, pipelines: tuple[str, ...]) -> Folder:
    """The model that `path` names: a folder, or `hub:OWNER/NAME`.

    Raises:
        ValueError: nothing there, not a pipeline, one of another family, or weights that are not whole.
    """
    if not path:
        raise ValueError(
            f"backbone.path is empty and {family!r} ships no weights; name a folder in diffusers' layout, "
            f"or {HUB}OWNER/NAME"
        )
    opened = read_folder(path)
    if opened.pipeline not in pipelines:
        raise ValueError(
            f"{opened.path} holds a {opened.pipeline}, but backbone {family!r} reads {', '.join(pipelines)}; set "
            "backbone.name to the family of that model"
        )
    for part in opened.index:
        if opened.has(part):
            _check_weights(opened, part)
    return opened


def read_folder(path: str) -> Folder:
    """The index of the model that `path` names, a folder or `hub:OWNER/NAME`; its weights are not looked at.

    Raises:
        ValueError: nothing there, or not a pipeline in diffusers' layout.
    """
    folder = _from_hub(path) if path.startswith(HUB) else Path(path)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; name a folder in diffusers' layout, or {HUB}OWNER/NAME")
    index = folder / "model_index.json"
    if not index.is_file():
        raise ValueError(
            f"{folder}: not a model in diffusers' layout, as it has no model_index.json; if the model has two "
            "repositories, use the one whose name ends in -Diffusers or -diffusers"
        )
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))
        if not parts["_class_name"]:
            raise ValueError("names no pipeline")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{index}: not the index of a model ({error}); {_AGAIN}") from None
    try:
        return Folder(folder, parts)
    except ValueError as error:
        raise ValueError(f"{index}: {error}; use the model's release for diffusers") from None


def cached_folder(path: str) -> Folder:
    """`read_folder` without a network: of `hub:OWNER/NAME` what the cache on this machine has, weights or not.

    Raises:
        ValueError: as `read_folder` does; the cache does not have the model's index.
    """
    if not path.startswith(HUB):
        return read_folder(path)
    from huggingface_hub import try_to_load_from_cache

    name, revision = repository_of(path)
    index = try_to_load_from_cache(name, "model_index.json", revision=revision)
    if not isinstance(index, str):
        at = f" --revision {revision}" if revision else ""
        raise ValueError(
            f"{path} is not in this machine's cache; fetch its tokenizers: `hf download {name}{at} --include "
            "model_index.json 'tokenizer*/*'`"
        )
    return read_folder(str(Path(index).parent))


def repository_of(path: str) -> tuple[str, str | None]:
    """OWNER/NAME and the revision of `hub:OWNER/NAME@REVISION`; None = the newest."""
    name, _, revision = path.removeprefix(HUB).partition("@")
    return name, revision or None


def at_commit(path: str, fetched: Path) -> str:
    """`hub:OWNER/NAME` with the commit that was fetched, so that it means the same weights for good; else the path."""
    commit = fetched.name if fetched.parent.name == "snapshots" else ""
    return f"{path}@{commit}" if commit and path.startswith(HUB) and "@" not in path else path


def _from_hub(path: str) -> Path:
    from diffusers import DiffusionPipeline

    name, revision = repository_of(path)
    try:
        return Path(
            DiffusionPipeline.download(
                name,
                revision=revision,
                variant=_variant_on_hub(name, revision),
                use_safetensors=True,
                trust_remote_code=False,
            )
        )
    except Exception as error:  # of many kinds: no network, no such name, no permission, a full disk
        at = f" --revision {revision}" if revision else ""
        raise ValueError(
            f"{path} is not on this machine and cannot be fetched ({type(error).__name__}); on a machine with a "
            f"network run `hf download {name}{at} --local-dir FOLDER --include model_index.json '*/*'`, copy the "
            "folder here, and set backbone.path to it"
        ) from error


def _variant_on_hub(name: str, revision: str | None) -> str | None:
    """The variant that some part of a repository has weights in alone; None where nothing can be asked."""
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(name, revision=revision)
    except Exception:  # of many kinds; what was fetched before may do, and what cannot be fetched is reported later
        return None
    parts: dict[str, list[str]] = {}
    for file in files:
        part, _, inside = file.rpartition("/")
        if part and inside.endswith(".safetensors"):
            parts.setdefault(part, []).append(inside)
    variants = [variant for inside in parts.values() if (variant := _variant(inside))]
    return min(variants, key=_by_use, default=None)


def _variant(names: Iterable[str]) -> str | None:
    """The variant among files of weights, fp16 before others; None where there are weights without one, or none."""
    variants = [match[1] for name in names if (match := _WEIGHTS.fullmatch(name))]
    return min(variants, key=_by_use) if variants and None not in variants else None


def _by_use(variant: str) -> tuple[bool, str]:
    return variant != "fp16", variant


# diffusion_pytorch_model.fp16.safetensors, model.fp16-00001-of-00002.safetensors, model-00001-of-00002.fp16.safetensors
_SHARD = r"(?:-\d{5}-of-\d{5})?"
_WEIGHTS = re.compile(rf"(?:diffusion_pytorch_model|model|pytorch_model){_SHARD}(?:\.(\w+){_SHARD})?\.safetensors")
_AGAIN = "download the model again, or copy it again"
_OF_PIPELINES = ("ltx2",)  # diffusers' modules of pipelines that have parts of their own


def _check_weights(model: Folder, name: str) -> None:
    """Refuse a part whose weights are missing, torn or not safetensors, or whose configuration is not whole.

    Raises:
        ValueError: names the file.
    """
    part = model.path / name
    if not part.is_dir():
        raise ValueError(f"{part}: missing, though model_index.json names it; {_AGAIN}")
    files = sorted(part.glob("*.safetensors"))
    if not any(part.iterdir()):
        raise ValueError(f"{part}: empty, though model_index.json names it; {_AGAIN}")
    if not files and not (part / "config.json").is_file():
        return  # a tokenizer, a scheduler, an image processor
    model.config(name)
    shards = _shards(part, files)
    missing = [shard for shard in shards if not (part / shard).is_file()]
    if missing:
        raise ValueError(
            f"{part}: incomplete, {len(missing)} of its {len(shards)} files are missing, the first is {missing[0]}; "
            f"{_AGAIN}"
        )
    if not files:
        raise ValueError(f"{part}: has no weights in safetensors, the only format that Rushes reads; {_AGAIN}")
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: incomplete ({error}); {_AGAIN}") from None


def _shards(part: Path, files: Sequence[Path]) -> list[str]:
    """Files that weights in several must have, by their index, or by their own names where it is missing."""
    shards: set[str] = set()
    for index in part.glob("*.safetensors.index*.json"):
        try:
            shards |= set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{index}: not the index of weights ({error}); {_AGAIN}") from None
    for file in files:
        if numbered := re.fullmatch(r"(.+)-\d{5}-of-(\d{5})((?:\.\w+)?)\.safetensors", file.name):
            stem, count, end = numbered[1], int(numbered[2]), numbered[3]
            shards |= {f"{stem}-{at:05}-of-{count:05}{end}.safetensors" for at in range(1, count + 1)}
            name, _, variant = stem.partition(".")
            variant = variant or end.removeprefix(".")
            shards.add(f"{name}.safetensors.index{variant and '.' + variant}.json")
    return sorted(shards)


def save_part(part: Any, folder: Path) -> None:
    """Write a network as diffusers does, but for where on this machine it was read from."""
    part.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if config.pop("_name_or_path", None) is not None:
        write_json(file, config, indent=2)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Lend an empty folder beside `path`; when the block ends well, it becomes `path`.

    Raises:
        ValueError: `path` is there already.
    """
    if path.exists():
        raise ValueError(f"{path} already exists; delete it, or choose another folder")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    part.mkdir(parents=True)
    try:
        yield part
        follow_umask(part)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
