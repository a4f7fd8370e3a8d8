"""The families of video models in a table, without their modules: nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rushes.backbones.model_defaults import families

_TINY = {"modes": ["text", "first_frame"], "path": "flow", "temporal_ratio": 4, "spatial_ratio": 16, "fps": 8.0}


def backbone_names() -> list[str]:
    """Backbones that ship with the package."""
    return sorted({"tiny", *families()})


_ASPECTS = ((16, 9), (4, 3), (1, 1), (3, 4), (9, 16))  # width to height, beside a size's own
_MULTIPLES = {"tiny": 16, "animatediff": 64, "inflated_sd": 64}  # of heights and widths; of all others 32 will do


def sizes_of_one_area(name: str, height_px: int, width_px: int) -> list[tuple[int, int]]:
    """Heights and widths of about the area of a size, which is the first, for the aspects that footage has.

    Sides are multiples that the family takes; an aspect that comes out nearly as another is left out.
    """
    multiple, area = _MULTIPLES.get(name, 32), height_px * width_px

    def nearest(wide: int, high: int) -> tuple[int, int]:
        width = (area * wide / high) ** 0.5
        sides = [multiple * max(1, round(side / multiple)) for side in (area / width, width)]
        return sides[0], sides[1]

    sizes = [(height_px, width_px), (width_px, height_px)]
    for height, width in (nearest(*aspect) for aspect in _ASPECTS):
        if all(
            abs(height / width / (h / w) - 1) > _ALIKE and abs(width * h / height / w - 1) > _ALIKE for h, w in sizes
        ):
            sizes.append((height, width))
    return list(dict.fromkeys(sizes))


_ALIKE = 0.1  # relative difference of aspects up to which they are one


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
