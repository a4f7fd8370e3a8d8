"""What a recipe makes of the store: comparisons, encoded and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import ObjectiveSettings, TrainSettings
from rushes.footage.split import film_of
from rushes.likeness import LIKENESS
from rushes.objectives.safeguards import guarded
from rushes.objectives.terms import ALONE, Term
from rushes.project.generation import encode_missing
from rushes.project.negatives import measure_likeness
from rushes.project.project import OpenProject
from rushes.project.recipe_table import takes_that_came
from rushes.records import BASE, Candidate
from rushes.training.comparison import Comparison, mirrored
from rushes.training.comparison_checks import check_latents, drop_degenerate_terms
from rushes.training.recipe import chosen_recipe, needs_of
from rushes.training.views import gaps

NAMED = 3  # comparisons that are named where some are left out


class RecipeData(NamedTuple):
    """What a recipe makes of the store."""

    comparisons: list[Comparison]  # encoded and checked
    same: Counter[str]  # how many terms were dropped as both sides are the same, by level
    left_out: dict[str, str]  # why a comparison lost terms, by its id: a clip does not start from its first frame
    account: Mapping[str, int]  # the recipe's own counts


def recipe_comparisons(project: OpenProject, settings: TrainSettings) -> RecipeData:
    """What a recipe makes of the store, encoded and checked.

    Raises:
        ValueError: the store lacks what the recipe needs, with the command that makes it.
    """
    recipe, options = chosen_recipe(settings)
    if "likeness" in needs_of(settings):
        measure_likeness(project)
    comparisons = recipe.comparisons(project.store, options, project.grid)
    if not comparisons:
        raise ValueError(f"recipe {settings.recipe!r} has nothing to compare: {_lacking(project, settings)}")
    _check_shapes(project, comparisons)
    comparisons = _with_films(project, comparisons)
    if settings.mirror:
        pairs = [(each, mirrored(each)) for each in comparisons]
        comparisons = [row for pair in pairs for row in pair if row is not None]
        count = sum(other is not None for _, other in pairs)
        why = "; in the others a caption says left or right, or a view shows another clip" if count < len(pairs) else ""
        project.say(f"train.mirror: {count} of {len(pairs)} comparisons are also mirrored{why}")
    views = [view for comparison in comparisons for view in comparison.views]
    firsts = [view.first for view in views if view.first is not None]
    encode_missing(project, [view.latent for view in views], firsts, "train: encode")

    def again(latent_CFHW: Tensor) -> Tensor:
        return project.base.encode(project.base.decode(latent_CFHW[None].float()))[0]

    comparisons, left_out = check_latents(comparisons, project.latents, project.grid.clean, again)
    if left_out:
        named = "; ".join(f"{id}: {why}" for id, why in list(left_out.items())[:NAMED])
        project.say(f"{len(left_out)} comparisons, or a take in them, are left out because clips do not match: {named}")
    comparisons, dropped = drop_degenerate_terms(comparisons, project.latents)
    if not comparisons:
        raise ValueError(
            f"recipe {settings.recipe!r} compares each clip with itself alone: all {dropped.total()} terms have the "
            "same clip and caption on both sides; choose other edits, or clips with more motion"
        )
    comparisons = [replace(c, terms=_guarded(c.terms, settings)) for c in comparisons]
    account = getattr(recipe, "account", None)
    counts = account(project.store, options, project.grid) if account else {}
    return RecipeData(comparisons, dropped, left_out, counts)


def _check_shapes(project: OpenProject, comparisons: Sequence[Comparison]) -> None:
    """Refuse takes that were made in another shape than their clip has now; those that came from elsewhere are cut.

    Longer takes go where there is one shape, as their start is what a shorter one would show.
    """
    size = project.settings.backbone
    several = len(size.shapes) > 1
    shapes = {view.media: view.shape for comparison in comparisons for view in comparison.views}
    other = []
    for take in project.store.stream(Candidate):
        if take.media in shapes and take.kind != "imported":
            name = shapes[take.media]
            shape = ClipShape.read(name) if name else size.shape
            rate = shape.fps or size.fps
            same = take if several else replace(take, frames=shape.frames, fps=rate)
            if not shape.is_of(same, rate):
                there = ClipShape(take.height_px, take.width_px, take.frames, take.fps)
                goes = f"the clip goes to {replace(shape, fps=0.0).words} at {rate:g} fps"
                other.append(f"take {take.id} of clip {take.clip_id} ({there.words}; {goes})")
    if other:
        raise ValueError(
            f"{len(other)} takes have another shape than their clips: {'; '.join(other[:NAMED])}; run `rushes "
            "generate`, which makes takes in the clips' shapes, and label them, or restore the old sizes and lengths "
            "in [backbone]"
        )


def _with_films(project: OpenProject, comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons, those of clips that are several pieces of one film with its name."""
    films = {clip.id: film_of(clip) for clip in project.store.clips("train")}
    pieces = Counter(films[group] for group in {c.group for c in comparisons} & films.keys())
    return [replace(c, film=film) if pieces[film := films.get(c.group, "")] > 1 else c for c in comparisons]


def _guarded(terms: Sequence[Term], settings: TrainSettings) -> tuple[Term, ...]:
    """Terms under the settings' objective."""
    objective = settings.objective
    if objective != ObjectiveSettings() and all(term.loss_type in ALONE for term in terms):
        raise ValueError(
            f"train.objective: recipe {settings.recipe!r} compares nothing, so the table does not apply; remove it"
        )
    return guarded(terms, **objective.model_dump(exclude={"safe_dpo", "safe_dpo_share"}))


def _lacking(project: OpenProject, settings: TrainSettings) -> str:
    """What is in the store of what a recipe needs, and which command makes it."""
    store = project.store
    start = project.settings.train.init_from
    by = "" if start == BASE else f" --run {start}"
    takes = (*store.candidates(split="train", kind="take", system=start), *takes_that_came(store))
    guided = store.candidates(split="train", kind="guided", system=start)
    there = {
        "clips": (len(store.clips("train")), "`rushes import`"),
        "takes": (len(takes), f"`rushes generate{by}`"),
        "guided": (len(guided), f"`rushes generate{by} --set generate.kind=guided`"),
        "gaps": (len(gaps(store, project.grid)), f"`rushes generate{by} --set generate.kind=gap`"),
        "likeness": (len(store.scores(metric=LIKENESS)), "`rushes train`"),
        "wrong captions": (len(store.captions("wrong")), "`rushes wrong-captions`"),
        "labels": (len(store.preferences()), "`rushes label` or `rushes labels import`"),
        "scores": (len(store.scores()), "`rushes label --form scores` or `rushes import --scores FILE`"),
    }
    wanted = ("clips", *(need for need in needs_of(settings) if need in there))
    words = (f"{there[need][0]} {need} (made by {there[need][1]})" for need in wanted)
    return f"{store.project} has " + ", ".join(words)
