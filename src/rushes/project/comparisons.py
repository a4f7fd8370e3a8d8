"""How many comparisons a recipe makes of one clip: it is asked, with rows as the stages would write them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rushes.config.tables import Settings
from rushes.records import HUMAN, Candidate, CandidateKind, CaptionRow, Clip, Preference, Row, Score
from rushes.store.database import Store
from rushes.training.comparison import Comparison, LatentGrid, mirrored
from rushes.training.recipe import chosen_recipe, needs_of

_RATIO = 4  # of a codec; labels are laid on its frames, and their number does not depend on it
_SHAPE: dict[str, Any] = {"width_px": 8, "height_px": 8, "frames": 17, "fps": 8.0}


def comparisons_of_a_clip(settings: Settings) -> list[Comparison]:
    """Comparisons of one clip at the most: with all its takes made, and labelled or scored without a tie, and seen in a
    mirror too where that is asked for.

    Raises:
        ValueError: a recipe that refuses these settings.
    """
    train, size = settings.train, settings.backbone
    recipe, options = chosen_recipe(train)
    grid = LatentGrid(1 + (size.frames - 1) // _RATIO, _RATIO, size.fps, size.first_frame, train.init_from)
    with TemporaryDirectory() as folder, Store.create(Path(folder) / "one") as store:
        metric, judge = (str(getattr(options, name, "")) for name in ("metric", "judge"))
        store.add(_rows(settings, needs_of(train), metric, judge))
        comparisons = recipe.comparisons(store, options, grid)
    in_mirror = [mirrored(each) for each in comparisons] if train.mirror else []
    return [*comparisons, *filter(None, in_mirror)]


def _rows(settings: Settings, needs: tuple[str, ...], metric: str, judge: str) -> list[Row]:
    """A clip, and what the stages make of it."""
    clip = Clip("clip", "m" * 64, "a clip", **_SHAPE, source="")
    wanted: list[CandidateKind] = ["guided"] if "guided" in needs else ["take"]
    takes = 2 if settings.footage.kind == "pairs" else settings.generate.takes  # a pair stands where a clip is
    candidates = [_take(clip, wanted[0], k, settings) for k in range(takes)]
    rows: list[Row] = [clip, *candidates]
    if "gaps" in needs:
        rows.append(_take(clip, "gap", 0, settings))
    if "likeness" in needs:
        rows += [Score(f"likeness {take.id}", take.id, "likeness", 0.5) for take in candidates]
    if "wrong captions" in needs and settings.caption.by != "none":
        rows.append(CaptionRow("wrong", clip.id, "another clip", "wrong"))
    if "labels" in needs:
        rows += [
            Preference(f"{left.id} {right.id}", left.id, right.id, (1,), judge or HUMAN)
            for left, right in combinations(candidates, 2)
        ]
    if "scores" in needs:
        rows += [Score(f"score {row.id}", row.id, metric, 10 * k / len(candidates)) for k, row in enumerate(candidates)]
    return rows


def _take(clip: Clip, kind: CandidateKind, seed: int, settings: Settings) -> Candidate:
    return Candidate(
        f"{kind} {seed}",
        f"{seed:064d}",
        clip.caption,
        kind=kind,
        group=clip.id,
        clip_id=clip.id,
        system=settings.train.init_from,
        made_by="",
        seed=seed,
        **_SHAPE,
    )
