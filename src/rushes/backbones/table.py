"""The families of video models in a table, without their modules: nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rushes.backbones.model_defaults import families

_TINY = {"modes": ["text", "first_frame"], "path": "flow", "temporal_ratio": 4, "spatial_ratio": 8, "fps": 8.0}


def backbone_names() -> list[str]:
    """Backbones that ship with the package."""
    return sorted({"tiny", *families()})


@dataclass(frozen=True)
class BackboneRow:
    """A family of video models."""

    name: str
    modes: tuple[str, ...]  # what clips are made from: `text`, `first_frame`
    path: str  # what the network predicts along
    temporal_ratio: int  # frames per latent frame
    spatial_ratio: int  # pixels per latent, each way
    fps: float  # frames a second


def backbone_table() -> list[BackboneRow]:
    """Every family that ships."""
    rows = {"tiny": _TINY, **families()}
    columns = [field.name for field in fields(BackboneRow)][1:]
    given = {name: {column: rows[name][column] for column in columns} for name in backbone_names()}
    return [BackboneRow(**{"name": name, **row, "modes": tuple(row["modes"])}) for name, row in given.items()]
