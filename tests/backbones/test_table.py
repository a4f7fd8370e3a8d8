"""Sizes of one area for the aspects that footage has."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rushes.backbones.table import sizes_of_one_area
from rushes.config.tables import Settings
from rushes.project.defaults import with_sizes


@pytest.mark.parametrize(
    ("name", "own", "multiple"),
    [("wan", (480, 832), 32), ("ltx", (512, 704), 32), ("hunyuan", (720, 1280), 32), ("animatediff", (512, 512), 64)],
)
def test_sizes_are_of_about_the_area_of_the_models_own(name: str, own: tuple[int, int], multiple: int) -> None:
    """The own size first; landscape, portrait and about square, no two nearly alike, in steps that the family takes."""
    sizes = sizes_of_one_area(name, *own)
    assert sizes[0] == own and own[::-1] in sizes and len(sizes) >= 5
    for height, width in sizes:
        assert 0.85 < height * width / (own[0] * own[1]) < 1.15
        assert (height, width) in (own, own[::-1]) or height % multiple == width % multiple == 0
    aspects = sorted(width / height for height, width in sizes)
    assert aspects[0] < 0.7 and aspects[-1] > 1.4 and any(0.9 < each < 1.1 for each in aspects)
    assert all(after / before > 1.1 for before, after in pairwise(aspects))


def test_auto_is_replaced_by_these_sizes() -> None:
    settings = Settings.model_validate({"backbone": {"sizes": "auto", "height_px": 64, "width_px": 96}})
    assert settings.backbone.largest == settings.backbone.shape
    with pytest.raises(ValueError, match=r"backbone\.sizes: auto"):
        _ = settings.backbone.shapes
    shapes = with_sizes(settings).backbone.shapes
    assert shapes[0] == settings.backbone.shape and len(shapes) == 5
