"""Curation of a project: which of its clips are in the set, by the stages that the settings name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import rushes
from rushes.config.curate import StageName
from rushes.config.settings_files import settings_hash
from rushes.config.tables import Settings
from rushes.curate import engines, funnel
from rushes.curate.base import Engine, Stage, make_stage
from rushes.curate.summary import CurationResult, Funnel, NamedClip, SetSize
from rushes.devices import cores
from rushes.files import write_json
from rushes.footage.ingest import Imported
from rushes.judges.build import ANSWERS
from rushes.judges.endpoint import EndpointError
from rushes.project.intake import import_footage
from rushes.project.project import OpenProject
from rushes.project.review_page import ReviewProgress, open_review, progress_of, quotas_of
from rushes.ray_workers import EngineName
from rushes.records import INLINE, Clip, now, plain, stable_hash
from rushes.report.card import CARD, RESULT, write_card
from rushes.store.database import Store
from rushes.web.review.queue import ScenarioProgress


@dataclass(frozen=True)
class CurateResult:
    """A curation, and what was imported before it."""

    curation: CurationResult = field(metadata=INLINE)
    imported: Imported | None  # null = the clips were there
    card: Path | None = None  # Markdown; null = a dry run
    scenarios: tuple[ScenarioProgress, ...] | None = None  # null = no scenario has a quota, or a dry run


def curate(
    project: OpenProject, *, dry_run: bool = False, engine: EngineName = "local", jobs: int = 0
) -> CurationResult:
    """Take all clips through the funnel, decide, and write reports/curation.json and the data card.

    In a dry run all is measured and told, nothing decided or written. `jobs` workers; 0 = one for each processor.

    Raises:
        ValueError: no clips, settings that a stage cannot work with, or no Ray. EndpointError: a model is down.
    """
    settings, store = project.settings, project.store
    stages, run = prepare(project, engine, jobs)
    if dry_run:
        _say_costs(project, stages)
    digest = settings_hash(settings.curate)
    done = funnel.run(store, stages, run, project.timed, settings=digest, dry_run=dry_run)
    result = _result(store, settings, done)
    if not dry_run:
        path = store.project / RESULT
        path.parent.mkdir(exist_ok=True)
        write_json(path, plain(result), checksum=True)
        write_card(store)
    return result


def curate_footage(
    project: OpenProject, *, again: bool = False, dry_run: bool = False, engine: EngineName = "local", jobs: int = 0
) -> tuple[CurateResult, ReviewProgress | None]:
    """Curate the clips, and before that import them where there are none.

    Args:
        project: with the settings of its footage and its stages.
        again: import also where there are clips.
        dry_run: as `curate` has it, and so have `engine` and `jobs`.

    Returns:
        The result, and how far the review of the clips is: None without quotas of scenarios, and in a dry run.

    Raises:
        ValueError: as `import_footage` and `curate` do. EndpointError: a model is down.
    """
    store, settings = project.store, project.settings
    prepare(project, engine, jobs)  # which refuses before an import
    imported = import_footage(project) if again or not store.count(Clip) else None
    done = curate(project, dry_run=dry_run, engine=engine, jobs=jobs)
    if dry_run:
        return CurateResult(done, imported), None
    card = store.project / CARD
    if not quotas_of(settings):
        return CurateResult(done, imported, card), None
    with open_review(store.project, settings) as session:
        progress = progress_of(session)
    return CurateResult(done, imported, card, progress.scenarios), progress


def prepare(
    project: OpenProject, engine: EngineName = "local", jobs: int = 0
) -> tuple[list[Stage | funnel.SkippedStage], Engine]:
    """The stages and where they run; nothing is read or asked yet, so it can go before hours of importing.

    Raises:
        ValueError: as `curate` does.
    """
    settings, answers = project.settings, project.store.project / ANSWERS
    if not settings.curate.stages:
        raise ValueError("curate.stages is empty; list the stages that a clip must pass")
    stages = [_stage(name, settings, answers) for name in settings.curate.stages]
    return stages, (engines.ray if engine == "ray" else engines.local)(jobs or cores())


def not_ready(store: Store, clips: int) -> str:
    """What a project lacks for `rushes run` once its clips are chosen, in a sentence; "" = nothing."""
    sides = Counter(clip.split for clip in store.stream_set())
    train, held_out = sides["train"], sides["eval"]
    what = "lower the thresholds in [curate], or add footage"
    if not train + held_out:
        return f"none of {clips} clips is left, see the table and {CARD}: {what}"
    if not train:
        return f"no clip is left to train on ({held_out} are left to evaluate on): {what}"
    if not held_out:
        return (
            f"{train} clip{'s are' if train > 1 else ' is'} left to train on but none to evaluate on, and no clip "
            f"changes sides: {what}, or start a new project with a larger footage.eval_fraction"
        )
    return ""


def _stage(name: StageName, settings: Settings, answers: Path) -> Stage | funnel.SkippedStage:
    try:
        return make_stage(name, settings, answers)
    except EndpointError as error:
        if settings.curate.when_down == "stop":
            raise
        return funnel.SkippedStage(name, str(error))


def _say_costs(project: OpenProject, stages: list[Stage | funnel.SkippedStage]) -> None:
    clips = project.store.count(Clip)
    for stage in stages:
        if isinstance(stage, Stage) and stage.calls:
            project.say(f"{stage.name}: at most {stage.calls(clips)} requests to its model, for all {clips} clips")


def _result(store: Store, settings: Settings, done: Funnel) -> CurationResult:
    """The funnel with the clips that it names and the set that is left."""
    named = {
        example.clip
        for each in done.passages
        for example in (*each.examples, *(e for edge in each.edges for e in (*edge.inside, *edge.outside)))
    }
    return CurationResult(
        done,
        named={id: _named(store, id) for id in sorted(named)},
        set=_set(store),
        licence=settings.curate.licence,
        stages=tuple(settings.curate.stages),
        settings_hash=settings_hash(settings.curate),
        version=rushes.__version__,
        made_at=now(),
    )


def _set(store: Store) -> SetSize:
    """How large the set is, and a digest of all its files, captions and splits."""
    sides, seconds, rows = Counter[str](), 0.0, []
    for clip in store.stream_set():
        sides[clip.split] += 1
        seconds += clip.frames / clip.fps if clip.frames > 1 else 0.0
        rows.append((clip.media, clip.caption, clip.split))
    digest = stable_hash(sorted(rows), 64)
    return SetSize(sides["train"], sides["eval"], round(seconds, 2), digest)


def _named(store: Store, id: str) -> NamedClip:
    clip = store.get(id)
    assert isinstance(clip, Clip), id
    return NamedClip(clip.source, clip.caption, clip.media, clip.split)
