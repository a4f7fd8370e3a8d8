"""What some recipes contrast beside takes: how alike takes are to real clips, and captions that are wrong."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from rushes import likeness
from rushes.caption import writers
from rushes.caption.wrong import wanted, write_wrong
from rushes.config.settings_files import settings_hash
from rushes.judges.build import ANSWERS
from rushes.judges.endpoint import ChatEndpoint
from rushes.project.project import OpenProject
from rushes.records import Candidate, lines_of
from rushes.store.complaints import faults_by_take
from rushes.text_reader import counted
from rushes.training.views import of_clip, takes

NOTHING_CHANGED = (
    "caption.by: {by} found nothing to change in {unchanged} captions; write captions that mention movement, colour or "
    "number, set caption.by to model, or set train.options.semantic_weight to 0"
)


@dataclass(frozen=True)
class CaptionResult:
    """Captions that are wrong, of training clips."""

    by: str  # writer
    written: int  # captions written now
    there: int  # captions that were there already
    unchanged: int  # texts in which the writer found nothing to change, which are not stored
    clips_without_takes: int | None = None  # clips left out, as the writer looks at takes; null = none

    def lines(self) -> list[str]:
        """The same in a sentence, and below it what was left alone."""
        sentence = f"{counted(self.written, 'caption')} written by {self.by}, {self.there} already existed"
        lines = [sentence, *lines_of(self, "by", "written", "there")]
        return lines if self.any else [*lines, NOTHING_CHANGED.format(by=self.by, unchanged=self.unchanged)]

    @property
    def any(self) -> bool:
        """Whether there is one to compare with."""
        return bool(self.written or self.there)


def measure_likeness(project: OpenProject) -> None:
    """Score the takes of training clips that have no score; cheap beside encoding them, and done when it is needed."""
    clips = {clip.id: clip for clip in project.store.clips("train")}
    missing = likeness.unmeasured(project.store, takes(project.store, project.grid), clips)
    with project.timed("likeness", len(missing)) as tick:
        likeness.measure(project.store, missing, clips, project.settings.footage.fit, lambda: tick(1))


def wrong_captions(project: OpenProject) -> CaptionResult:
    """Captions that are wrong, or wrong where a take is, for every training clip.

    Raises:
        ValueError: `caption.by` is none, or there is nothing to write about.
    """
    settings, store = project.settings.caption, project.store
    if settings.by == "none":
        raise ValueError(
            "caption.by is 'none', so nobody writes captions; set it to rules, world or model, or give --by"
        )
    clips = store.clips("train")
    if not clips:
        raise ValueError("the project has no clips to write captions for; run `rushes import` first")
    with ExitStack() as stack:
        writer = writers.by_rules() if settings.by == "rules" else writers.by_world()
        if settings.by == "model":
            endpoint = stack.enter_context(ChatEndpoint(project.settings.endpoint, store.project / ANSWERS))
            writer = writers.by_model(endpoint, settings.frames)
        chosen = _chosen(project) if writer.sees else {}
        pairs = wanted(clips, chosen, writer)
        if not pairs:
            raise ValueError("there are no takes to write wrong captions for; run `rushes generate` first")
        with project.timed("caption", len(pairs)) as tick:
            made_from = settings_hash(
                settings.model_copy(update={"about": "all", "reasons": False})
            )  # a text is the same, however many
            faults = faults_by_take(store) if settings.reasons and settings.by == "model" else {}
            counts = write_wrong(store, writer, pairs, settings_hash=made_from, faults=faults, tick=lambda: tick(1))
    without = len(clips) - len({clip.id for clip, _ in pairs})
    return CaptionResult(writer.name, counts["written"], counts["there"], counts["unchanged"], without or None)


def _chosen(project: OpenProject) -> dict[str, tuple[Candidate, ...]]:
    """Takes that captions are written about, by clip."""
    by_clip = of_clip(takes(project.store, project.grid))
    if project.settings.caption.about == "all":
        return by_clip
    measure_likeness(project)
    alike = {score.subject: score.value for score in project.store.scores(metric=likeness.LIKENESS)}
    return {clip: (max(several, key=lambda take: alike[take.id]),) for clip, several in by_clip.items()}
