"""Stages that end, or cannot write, at any of their writes: they go on, and end as if nothing had been."""

from __future__ import annotations

import pytest

from .crash_points import HOWS, WORKS, Bench, How, Work, differences
from .flips import KINDS, Stored, flipped


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def of(name: str) -> Work:
    return next(work for work in WORKS if work.name == name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("import", "kill"),
        ("generate", "kill"),
        ("label", "kill"),
        ("train", "kill"),
        ("train", "ENOSPC"),
        ("evaluate", "EIO"),
        ("report", "kill"),
        ("label page", "kill"),
        ("reproduce", "kill"),
    ],
)
def test_a_few_points_of_each_stage(name: str, how: How, bench: Bench) -> None:
    tried, bad = differences(bench, of(name), [how], most=2)
    assert tried >= 2 and bad == []


@pytest.mark.whole
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", [work.name for work in WORKS])
def test_every_point(name: str, how: How, bench: Bench) -> None:
    tried, bad = differences(bench, of(name), [how])
    assert tried > 5 and bad == []


def test_a_stage_that_leaves_half_a_file_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: a write that is not whole, and a file that is left over."""
    torn = Work(
        "torn",
        0,
        lambda folder: [folder],
        "exec(before)\nfrom pathlib import Path\nfolder = Path(arguments[0])\n"
        "(folder / '.half.part').write_text('x')\n(folder / 'x.json').write_text('{}')\n",
    )
    tried, bad = differences(bench, torn, ["kill"])
    assert tried == 2 and {each.what for each in bad} == {"left over: project/.half.part"}


@pytest.mark.slow
def test_a_flipped_bit_is_named_and_the_file_made_whole(bench: Bench) -> None:
    latents = next(kind for kind in KINDS if kind.name == "latents")
    result = flipped(bench, latents, [0.5])
    assert (result.named, result.healed, result.refused, result.bad) == (1, 1, 0, ())


@pytest.mark.whole
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_flip(kind: Stored, bench: Bench) -> None:
    result = flipped(bench, kind)
    assert result.bad == () and (not kind.checked or result.named == result.flips == result.healed + result.refused)
