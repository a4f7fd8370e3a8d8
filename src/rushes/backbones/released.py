"""Configurations of released models, for all that can be said or checked without their weights.

They stand in `models.toml` beside this file, each with the place that it was read from.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rushes.backbones.folders import Folder

TABLE = Path(__file__).with_name("models.toml")
SPREAD = 0.02  # of weights that mean nothing
# Where classes name what stays in float32 beside bfloat16.
_WIDE = {"diffusers": "_keep_in_fp32_modules", "transformers": "_keep_in_fp32_modules_strict"}
# Names of earlier versions -> those that took their place.
RENAMED = {
    "wan2.1-i2v-14b": ("wan2.1-i2v-14b-480p", "wan2.1-i2v-14b-720p"),
    "ltx-video-2b": ("ltx-video-0.9", "ltx-video-0.9.1", "ltx-video-0.9.5"),
    "ltx-video-13b": ("ltx-video-0.9.7-13b", "ltx-video-0.9.8-13b"),
}


@dataclass(frozen=True)
class Released(Folder):
    """What a released model's folder says, without the folder. `path` is the repository's name, for messages."""

    name: str  # of the table's row, such as "wan2.1-t2v-1.3b"
    family: str  # the backbone's module that reads it
    repository: str  # its name on the Hugging Face hub
    # configuration by part; parts that have files alone, such as tokenizers, are not among them
    configs: Mapping[str, Mapping[str, Any]]
    sources: Mapping[str, str]  # where each part's configuration, and under "" the index, was read

    def config(self, part: str) -> dict[str, Any]:
        """What a part's configuration says, beside the defaults of its class."""
        assert self.has(part), f"{self.name} has no {part}"
        return deepcopy(dict(self.configs.get(part, {})))

    def load(self, part: str, dtype: torch.dtype) -> nn.Module:
        """A part at its released size with weights that mean nothing, on torch's default device.

        Modules that its class keeps in float32 are in float32, as they are when a folder is loaded.
        """
        from transformers.initialization import no_init_weights

        cls, config = self.cls(part), self.config(part)
        reads = self.index[part][0] == "transformers"
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with no_init_weights(), _without_memory():
                part_module: nn.Module = cls(cls.config_class(**config)) if reads else cls.from_config(config)
        finally:
            torch.set_default_dtype(before)
        if reads:
            part_module.tie_weights()  # type: ignore[operator]  # which is part of the initialisation that was left out
        wide = {*(getattr(part_module, _WIDE["transformers" if reads else "diffusers"], None) or ())}
        filled: dict[int, nn.Parameter] = {}  # weights that two modules share stay one
        for path, module in part_module.named_modules():
            for name, weight in module._parameters.items():
                if weight is not None and id(weight) not in filled:
                    its = torch.float32 if wide & {*path.split("."), name} else weight.dtype
                    filled[id(weight)] = nn.Parameter(torch.empty(weight.shape, dtype=its).normal_(0, SPREAD))
        for module in part_module.modules():
            module._parameters.update({k: filled[id(p)] for k, p in module._parameters.items() if p is not None})
        return part_module


def released(name: str) -> Released:
    """The released model of this name. Raises ValueError: there is none; the sentence names the nearest."""
    models = released_models()
    if name in models:
        return models[name]
    if name in RENAMED:
        raise ValueError(f"no model {name!r} any more: use {' or '.join(RENAMED[name])}, which it stood for")
    near = get_close_matches(name, models, 1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(models)}"
    raise ValueError(f"no model {name!r}; {hint}")


def released_names() -> list[str]:
    """Names of the released models, in the table's order."""
    return list(released_models())


@cache
def released_models() -> Mapping[str, Released]:
    """The released models by name."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {name: _model(name, row, table["parts"]) for name, row in table["models"].items()}


@contextmanager
def _without_memory() -> Iterator[None]:
    """Within it modules are made with weights that take no memory, and buffers as they are."""
    register = nn.Module.register_parameter

    def put(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        if weight is not None and weight.device.type != "meta":  # else it is another module's, too
            weight = nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device="meta"), weight.requires_grad)
        register(module, name, weight)

    nn.Module.register_parameter = put  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _model(name: str, row: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> Released:
    rows = {part: parts[which] for part, which in row["parts"].items()}
    index = {part: [about["library"], about["class"]] for part, about in rows.items()}
    return Released(
        path=Path(row["repository"]),
        index={"_class_name": row["pipeline"], **index, **row.get("index", {})},
        name=name,
        family=row["family"],
        repository=row["repository"],
        configs={part: about["config"] for part, about in rows.items() if "config" in about},
        sources={"": row["source"], **{part: about["source"] for part, about in rows.items()}},
    )
