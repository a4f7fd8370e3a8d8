from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rushes.config.curate import DuplicatesSettings
from rushes.config.tables import Settings
from rushes.curate.base import CurationEntry, CurationFinding
from rushes.curate.duplicates import Duplicate, copies, make
from rushes.curate.fingerprint import MOMENTS, SIZE, Index, backwards, fingerprint, mirrored, scales
from rushes.lab.curation_bench import synthetic_prints


def moments(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (MOMENTS, 32, 48, 3), dtype=np.uint8))


def test_mirrors_and_reversals_are_those_of_the_frames() -> None:
    frames = moments()
    own = fingerprint(frames)
    assert own.shape == (SIZE,)
    flipped, back = fingerprint([frame[:, ::-1] for frame in frames]), fingerprint(frames[::-1])
    assert np.abs(mirrored(own[None])[0] - flipped).max() <= 1
    assert np.array_equal(backwards(own[None])[0], back)
    assert np.abs(own - flipped).max() > 50


def test_brightness_size_and_aspect_ratio_do_not_count() -> None:
    frames = [frame // 2 + 40 for frame in moments()]
    own = fingerprint(frames)
    assert np.abs(fingerprint([frame + 30 for frame in frames]) - own).max() <= 2
    assert np.abs(fingerprint([frame.repeat(2, 0) for frame in frames]) - own).max() <= 2


def test_a_clip_of_one_colour_has_a_fingerprint_and_a_scale() -> None:
    flat = fingerprint([np.full((32, 32, 3), 70, np.uint8)] * MOMENTS)
    assert not flat.any() and scales(flat[None])[0] > 0


TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda prints: prints,
    "reversed ": backwards,
    "mirrored ": mirrored,
    "mirrored reversed ": lambda prints: backwards(mirrored(prints)),
}


def test_an_index_loses_nothing_whichever_way_round_a_clip_is() -> None:
    prints = synthetic_prints(400, 3).astype(np.float64)
    prints[::5] = backwards(mirrored(prints[1::5])) + np.random.default_rng(0).integers(-40, 40, (80, SIZE))
    index, reach = Index(prints.astype(np.int16)), 0.4 * scales(prints)
    places = index.places(prints)
    counts = index.counts(places, reach)
    few = 0
    for at in range(0, 400, 7):
        among = index.candidates(places[at], reach[at])
        assert counts[at] == len(among) and not (np.diff(among) <= 0).any()
        few += len(among)
        for turn in TURNS.values():
            own = turn(prints[at : at + 1])[0]
            apart = np.linalg.norm(prints - own, axis=1)
            assert set(np.flatnonzero(apart <= reach[at])) <= set(among)
            assert np.array_equal(index.apart(own, among), apart[among])
    assert few < 400 * 58 / 4  # and passes most over


def plainly(whole: np.ndarray, inner: np.ndarray, order: list[int], table: DuplicatesSettings) -> list[Duplicate]:
    """All copies, by comparing all with all in each of the twelve ways."""
    found, taken, scale = [], set(), scales(whole)
    for at in order:
        if at in taken:
            continue
        taken.add(at)
        for turn in TURNS:
            if ("mirrored" in turn and not table.mirrored) or ("reversed" in turn and not table.reversed):
                continue
            for crop, asked, others in (("", whole, whole), ("cropped ", inner, whole), ("cropped ", whole, inner)):
                apart = np.linalg.norm(others - TURNS[turn](asked[at : at + 1])[0], axis=1)
                for place in map(int, np.flatnonzero(apart <= table.max_distance * scale[at])):
                    if place not in taken:
                        taken.add(place)
                        found.append(Duplicate(place, at, float(apart[place] / scale[at]), f"{crop}{turn}"))
    return found


@pytest.mark.parametrize(("most", "turned"), [(0.2, True), (0.4, True), (0.3, False)])
def test_copies_are_those_of_all_pairs(most: float, turned: bool) -> None:
    rng = np.random.default_rng(4)
    whole = synthetic_prints(500, 1).astype(np.float64)
    inner = np.rint(whole + rng.normal(0, 10, whole.shape))
    whole[:40], whole[40:80], whole[80:120] = mirrored(whole[120:160]), backwards(whole[160:200]), inner[200:240]
    order = list(rng.permutation(500))
    table = DuplicatesSettings(max_distance=most, mirrored=turned, reversed=turned)
    expected = plainly(whole, inner, order, table)
    assert list(copies(whole, inner, order, table)) == expected
    assert list(copies(whole.astype(np.int16), inner.astype(np.int16), order, table)) == expected
    assert len(expected) >= (125 if turned else 80)  # 50 were planted, and 120 more that are turned or cropped
    assert len({copy.turn for copy in expected}) >= (4 if turned else 2)


def entry(id: str, seed: int, pixels: float = 100.0, size: float = 1.0, person: bool = False) -> CurationEntry:
    frames = moments(seed)
    words = {"whole": tuple(fingerprint(frames)), "inner": tuple(fingerprint(frames, 0.05))}
    return CurationEntry(id, "", CurationFinding({"pixels": pixels, "bytes": size}, words), person)


def dropped(*entries: CurationEntry) -> dict[str, str]:
    return dict(make(Settings(), Path("unused")).choose(entries))


def test_the_best_of_a_group_stays_and_the_others_say_of_which_they_are_copies() -> None:
    found = dropped(entry("small", 1), entry("other", 2), entry("large", 1, 400.0), entry("poor", 1, 400.0, 0.5))
    assert set(found) == {"small", "poor"}
    assert found["small"].startswith("copy of large: difference 0.000")
    assert dropped(entry("first", 1), entry("second", 1)).keys() == {"second"}


def test_what_a_person_kept_is_the_original() -> None:
    found = dropped(entry("large", 1, 400.0), entry("chosen", 1, person=True), entry("also", 1, person=True))
    assert found.keys() == {"large"} and "copy of chosen" in found["large"]
    assert dropped() == dropped(entry("alone", 1)) == {}


def test_a_copy_need_not_be_the_right_way_round() -> None:
    frames = moments(1)
    turned = [frame[:, ::-1] for frame in frames[::-1]]
    words = {"whole": tuple(fingerprint(turned)), "inner": tuple(fingerprint(turned, 0.05))}
    copy = CurationEntry("turned", "", CurationFinding({"pixels": 50.0, "bytes": 1.0}, words))
    assert dropped(entry("own", 1), copy)["turned"].startswith("mirrored reversed copy of own")
    own_way = Settings.model_validate({"curate": {"duplicates": {"mirrored": False, "reversed": False}}})
    assert make(own_way, Path("unused")).choose([entry("own", 1), copy]) == {}


@pytest.mark.slow
def test_choosing_grows_about_as_the_number_of_clips() -> None:
    from rushes.lab.curation_bench import growth
    from rushes.progress import no_bar

    small, large = growth([1000, 8000], 0, no_bar)
    assert large.duplicates_s < 8 * 4 * max(small.duplicates_s, 0.05)
    assert large.duplicates_found >= 0.95 * large.duplicates_planted
