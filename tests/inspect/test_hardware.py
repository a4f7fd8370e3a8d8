"""docs/hardware.md: complete, and what the code forecasts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rushes.backbones.model_defaults import all_models
from rushes.inspect.hardware import CARDS, CardForecast, Costs, page, rows_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hardware.md"


def test_the_page_has_every_model() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(paragraph in text for paragraph in page({}).split("\n\n"))
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == list(all_models())
    assert "All numbers on this page are forecasts" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ltx-video-0.9", pytest.param("cogvideox-2b", marks=pytest.mark.whole)])
def test_the_page_is_what_is_forecast(name: str) -> None:
    """Where this fails, `rushes plan --table docs/hardware.md` writes the page anew."""
    rows = rows_of(name, Costs())
    made = page({name: rows})
    section = made[made.index(f"### {name}") :].strip()
    assert section in PAGE.read_text(encoding="utf-8")
    overview = [line for line in made.splitlines() if line.startswith((f"| {name} |", "|  |"))]
    assert all(line in PAGE.read_text(encoding="utf-8") for line in overview)
    check_order(rows)


def check_order(rows: list[CardForecast]) -> None:
    """A larger card fits what a smaller one does; fewer bits and shorter clips take less."""
    for row in rows:
        assert [row.fits(card) for card in CARDS] == sorted(row.fits(card) for card in CARDS)
    by = {(row.short, row.tune): row.least_gib for row in rows}
    assert by[False, "4 bits"] <= by[False, "bfloat16"] < by[False, "full"]
    assert all(by[True, tune] <= by[False, tune] for short, tune in by if short)
