"""The first stage: footage is looked at, all of it, before any is taken into the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from shlex import quote

from rushes.backbones.caption_tokens import caption_measure
from rushes.backbones.loading import load_model
from rushes.backbones.stills import StillMaker
from rushes.config.tables import BackboneSettings
from rushes.footage import preflight_costs, preflight_text
from rushes.footage.changes import apply_changes
from rushes.footage.ingest import Imported, add_prompt, import_bench, import_reviewed, lost_prompts
from rushes.footage.preflight import (
    NO_CAPTION,
    CaptionMeasure,
    Length,
    Preflight,
    PreflightOptions,
    review,
)
from rushes.footage.probe_cache import ProbeCache
from rushes.footage.split import share_held_out
from rushes.footage.world import import_world
from rushes.formats.layouts import Bench
from rushes.formats.listing import find_bench, find_footage
from rushes.project.comparisons import comparisons_of_a_clip
from rushes.project.look_alikes import look_alikes
from rushes.project.pair_intake import import_own_pairs
from rushes.project.project import OpenProject
from rushes.records import INLINE, Clip, stable_hash


@dataclass(frozen=True)
class PreflightResult:
    """What an import would take, and what each choice of length costs."""

    summary: preflight_costs.PreflightSummary = field(metadata=INLINE)
    recipe: str
    takes: int  # takes of each clip
    comparisons_per_clip: int
    held_out: int  # clips
    comparisons: int  # to train on
    comparisons_lost: Mapping[str, int]  # comparisons that the refused files would have added at most, by reason
    choices: tuple[preflight_costs.LengthChoice, ...]
    on_refused: str  # footage.on_refused
    file: Path  # file with a row for each clip
    fatal: tuple[str, ...]  # what would stop an import whatever the settings, a sentence each


def import_footage(project: OpenProject, *, add: bool = False) -> Imported:
    """Real clips into the store, after a preflight; what earlier imports took and the footage lacks is set aside.

    Args:
        project: with the settings of its footage.
        add: leave in what earlier imports took, so that the set is the union.

    Raises:
        ValueError: what the footage or the settings lack; clips that cannot be used, each named, unless
            footage.on_refused is skip.
    """
    store = project.store
    if project.settings.footage.kind == "pairs":
        with store.media.remembering():
            return import_own_pairs(project, _ask(project))
    before = {clip.id for clip in store.stream(Clip)}
    table, size, seed = project.settings.footage, project.settings.backbone, project.settings.project.seed
    with store.media.remembering():
        if table.kind == "world":
            imported, ids = import_world(store, table, size, seed, project.timed)
        else:
            imported, ids = _import_files(project)
    changes = apply_changes(store, ids, before, add=add, say=project.say)
    sides = Counter(clip.split for clip in store.stream_set() if clip.frames > 1)  # a still is a prompt and no clip
    return replace(imported, clips=sides.total(), held_out=sides["eval"] or None, changes=changes)


def _import_files(project: OpenProject) -> tuple[Imported, set[str]]:
    """What an import took, and the ids of its clips and of the takes that came with them."""
    size, ask = project.settings.backbone, _ask(project)
    with _reviewed(project, ask) as (facts, done, bench):
        summary = preflight_costs.summary(done, ask)
        preflight_text.write_review(project.store.project, done, ask, summary)
        if text := preflight_text.import_refusal(done, ask, project.store.project):
            raise ValueError(text)
        for line in (*preflight_text.shape_lines(summary), *preflight_text.advice_lines(summary)):
            project.say(line)
        for refused in done.failures():
            project.say(f"left out: {refused.source}: {refused.words}")
        for line in preflight_text.passed_over_lines(done.listing):
            project.say(line)
        with project.timed("import", done.clips) as tick:
            taken, ids = import_reviewed(project.store, facts, done, ask, lambda: tick(1), partial(look_alikes, facts))
            if bench:
                prompts, takes, of_bench = import_bench(project.store, bench, done.bench, size.fps)
                taken, ids = replace(taken, prompts=prompts, imported_of_systems=takes), ids | of_bench
    return taken, ids


def refused_footage(project: OpenProject) -> tuple[str, str]:
    """What `import_footage` would stop for, and the command that solves it; both empty where it goes through.

    Raises:
        ValueError: no footage to look at, or settings that contradict.
    """
    if project.settings.footage.kind != "folder":
        return "", ""
    ask, place = _ask(project), quote(str(project.store.project))
    with _reviewed(project, ask) as (_, done, _bench):
        text, causes = preflight_text.import_refusal(done, ask, project.store.project), preflight_costs.reasons(done)
        if any(cause.startswith(NO_CAPTION) for cause in causes):
            return text, f"rushes captions {place} --by names"
        leave_out = done.clips and not done.fatal
        return text, (f"rushes set {place} footage.on_refused=skip" if leave_out else f"rushes preflight {place}")


def preflight(project: OpenProject) -> tuple[PreflightResult, list[str]]:
    """What an import would take, trim, resample, crop and refuse, and what each choice of length costs.

    Returns:
        The result, which is also written as preflight.json with a row for each clip, and the same as lines.

    Raises:
        ValueError: no footage to look at, or settings that contradict.
    """
    settings = project.settings
    table = settings.footage
    if table.kind == "world":
        raise ValueError("footage.kind is world, which needs no check; name a folder of videos with --footage")
    if table.kind == "pairs":
        raise ValueError(
            "footage.kind is pairs, which this command does not check; run `rushes import`, which says "
            "what it leaves out and why"
        )
    ask = _ask(project)
    each = len(comparisons_of_a_clip(settings))
    with _reviewed(project, ask) as (_, done, _bench):

        def held_out(clips: int) -> int:
            return share_held_out(table.eval_fraction, clips)

        def comparisons(clips: int) -> int:
            return each * (clips - held_out(clips))

        summary = preflight_costs.summary(done, ask)
        lost = {
            reason: comparisons(summary.clips + count) - comparisons(summary.clips)
            for reason, count in summary.reasons.items()
        }
        result = PreflightResult(
            summary,
            recipe=settings.train.recipe,
            takes=settings.generate.takes,
            comparisons_per_clip=each,
            held_out=held_out(summary.clips),
            comparisons=comparisons(summary.clips),
            comparisons_lost=lost,
            choices=tuple(preflight_costs.choices(done, ask, each, held_out)),
            on_refused=table.on_refused,
            file=project.store.project / preflight_text.FILE,
            fatal=tuple(done.fatal),
        )
        preflight_text.write_review(project.store.project, done, ask, result)
        return result, _lines(done, ask, result)


def _lines(done: Preflight, ask: PreflightOptions, result: PreflightResult) -> list[str]:
    each, size, clips = result.comparisons_per_clip, ask.length, result.summary.clips
    lines = [*preflight_text.table(done, ask), "", *preflight_text.summary_lines(result.summary)]
    lines += preflight_text.shape_lines(result.summary)
    lines += preflight_text.passed_over_lines(done.listing)
    lines += [f"  {refused.source}: {refused.words}" for refused in done.refused[: preflight_text.MOST_ROWS]]
    lines += [f"  {line}" for line in done.fatal]
    lines += [
        "",
        f"{result.comparisons} comparisons: {clips - result.held_out} clips to train on, {each} each "
        f"(recipe {result.recipe}, {result.takes} takes), {result.held_out} held out",
    ]
    lost = result.comparisons_lost
    if lost:
        reasons = ", ".join(f"{count} {reason}" for reason, count in lost.items())
        lines.append(f"refused files would have given at most {sum(lost.values())} more: {reasons}")
    lines += ["", "clips and comparisons at other lengths (backbone.frames) and frame rates (backbone.fps); "
              "* = your settings. Files refused for other reasons are not counted."]  # fmt: skip
    return [*lines, *preflight_text.choice_lines(result.choices, (size.frames, size.fps))]


def _ask(project: OpenProject) -> PreflightOptions:
    size = project.settings.backbone
    length = Length(size.frames, size.fps, lambda frames: load_model(size).spec.largest(frames))
    table, (measure, unmeasured) = project.settings.footage, _caption_measure(size)
    return PreflightOptions(
        length, size.width_px, size.height_px, table, caption_lengths=measure, unmeasured=unmeasured, size=size
    )


def _caption_measure(size: BackboneSettings) -> tuple[CaptionMeasure | None, str]:
    """How the model measures captions; or why it cannot, as a look at captions is no reason to fetch a model."""
    try:
        return lru_cache(2**14)(caption_measure(size.name, size.path)), ""
    except ValueError as error:
        return None, str(error)


@contextmanager
def _reviewed(project: OpenProject, ask: PreflightOptions) -> Iterator[tuple[ProbeCache, Preflight, Bench | None]]:
    """A review of the footage and the bench that the settings name."""
    table = ask.table
    listing = find_footage(table)
    if most := project.most_files:
        listing = replace(listing, footage=listing.footage[:: max(1, len(listing.footage) // most)][:most])
    bench = find_bench(Path(table.bench)) if table.bench else None
    with ProbeCache(project.store.project) as facts:
        yield facts, review(facts, listing, bench, ask, project.timed), bench


@dataclass(frozen=True)
class StillsResult:
    """First frames of held-out prompts."""

    stills: int  # first frames that were asked for; all of them exist now
    new: int  # drawn now


def make_stills(
    project: OpenProject, pipeline: Path, prompts: Sequence[str], *, steps: int, guidance: float
) -> StillsResult:
    """A first frame for each prompt by the image pipeline in a folder, as held-out prompts; what is there stays.

    Raises:
        ValueError: a project of the embedded world, no prompts, or a folder that holds no image pipeline.
    """
    if project.settings.footage.kind == "world":
        raise ValueError(
            "footage.kind: the embedded world draws its own first frames; run this on a project with footage"
        )
    if not prompts or "" in prompts:
        raise ValueError("one prompt is empty, but every still needs one; write one prompt per line")
    size, seed = project.settings.backbone, project.settings.project.seed
    name = pipeline.resolve().name
    made_from = [name, size.height_px, size.width_px, steps, guidance, seed]
    wanted = {stable_hash(["still", prompt, *made_from]): prompt for prompt in prompts}
    missing = lost_prompts(project.store, wanted)
    origin = {"source": f"still by {name}", "made_by": name, "made_from": stable_hash(made_from)}
    with project.timed("still", len(missing)) as tick:
        maker = StillMaker(pipeline) if missing else None
        for id in (id for id in wanted if id in missing):
            assert maker is not None
            image = maker.make(wanted[id], size.height_px, size.width_px, steps=steps, guidance=guidance, seed=seed)
            add_prompt(project.store, id, wanted[id], image, fps=size.fps, **origin)
            tick(1)
    return StillsResult(len(wanted), len(missing))
