from __future__ import annotations

from dataclasses import replace

from rushes.lab.claims import unscaled
from rushes.recipes import realdpo
from rushes.records import Candidate, Clip
from rushes.store.database import Store
from rushes.training.comparison import LatentGrid


def test_the_takes_alone_are_unscaled(tmp_path: object) -> None:
    shape = (32, 32, 17, 8.0)
    clip = Clip("one", "one", "a ball falls", *shape, "world")
    take = Candidate("take", "take", clip.caption, "take", "one", "one", "base", "w", 0, *shape)
    grid = LatentGrid(5, 4, 8.0, True)
    with Store.create(tmp_path / "project") as store:  # type: ignore[operator]
        store.add([clip, take])
        (found,) = unscaled.comparisons(store, unscaled.Options(), grid)
        (plain,) = realdpo.comparisons(store, realdpo.Options(), grid)
    assert [view.edit for view in found.views] == ["", "unscaled"]
    assert replace(found, views=plain.views) == plain
