"""All stages, one after the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from rushes.config.tables import toy_note
from rushes.evaluate.result import EvaluateResult
from rushes.footage.ingest import Imported
from rushes.project import generation, intake, labels, negatives, reports, run_evaluation, training
from rushes.project.project import OpenProject
from rushes.project.recipe_table import takes_that_came
from rushes.project.settings_checks import check_kind
from rushes.records import INLINE
from rushes.training.recipe import needs_of


@dataclass(frozen=True)
class RunResult:
    """What each stage did; a stage that the recipe does not need is null."""

    import_: Imported
    generate: generation.GenerateResult | None
    gaps: generation.GenerateResult | None  # takes that continue a clip across a gap
    caption: negatives.CaptionResult | None
    label: labels.LabelResult | None
    train: training.TrainResult
    evaluation: EvaluateResult = field(metadata=INLINE)
    report: Path  # the page, one HTML file

    def lines(self) -> list[str]:
        """A line for each stage that was needed; what is wrong with the run comes with the verdict."""
        takes = {"import": self.import_, "generate": self.generate, "gaps": self.gaps}
        stages = {**takes, "caption": self.caption, "label": self.label, "train": replace(self.train, remedies=())}
        return [f"{name}: {'; '.join(stage.lines())}" for name, stage in stages.items() if stage is not None]


def run_all(project: OpenProject, own_takes: bool = False) -> RunResult:
    """From footage to report: what each stage did, and the summary.

    `own_takes`: make takes by what training starts from, also where some came with the footage.

    Raises:
        ValueError: as the stages do; what a late stage would lack is reported before the first long one.
    """
    if toy := toy_note(project.settings.backbone.name, project.settings.footage.kind):
        project.say(toy)
    check_kind(project.settings)
    _ = project.base  # a size that the codec cannot take is reported before any footage is read
    training.check_run(project)
    imported = intake.import_footage(project)
    run_evaluation.held_out_clips(project)
    settings = project.settings
    needs = needs_of(settings.train)
    _check_needs(project, needs)
    # Takes that came with the footage are what the recipe needs; the model then makes none of its own. What people or
    # programs are to label is made where the recipe alone would take labels from anywhere.
    labelled = "labels" in needs and "guided" not in needs and settings.label.by != "none"
    takes = ("takes" in needs or (labelled and settings.footage.kind != "pairs")) and (
        own_takes or not takes_that_came(project.store)
    )
    gaps = settings.generate.model_copy(update={"kind": "gap", "takes": 1})
    wrong = "wrong captions" in needs and settings.caption.by != "none"
    if wrong and settings.caption.by == "rules":  # which look at no take: whether they can is seen before one is made
        _written(project)
    return RunResult(
        import_=imported,
        generate=generation.generate_takes(project) if takes or "guided" in needs else None,
        gaps=generation.generate_takes(project, gaps) if "gaps" in needs else None,
        caption=_written(project) if wrong else None,
        label=labels.label_takes(project) if settings.label.by != "none" else None,
        train=training.train_run(project),
        evaluation=reports.write_summary(
            project.store, run_evaluation.evaluate_run(project), project.seconds, settings.project.seed
        ),
        report=reports.write_report(project.store, settings).report,
    )


def _check_needs(project: OpenProject, needs: Collection[str]) -> None:
    """Refuse a run whose recipe needs labels, scores or captions where `label.by` or `caption.by` is none."""
    settings, store = project.settings, project.store
    recipe, place = settings.train.recipe, quote(str(store.project))
    if "labels" in needs and settings.label.by == "none" and not store.preferences():
        raise ValueError(
            f"label.by: recipe {recipe!r} needs labels; run `rushes set {place} label.by=human` (or vlm, reward, "
            "world), or import pairs that you have (`rushes labels import`, or `rushes init --pairs`)"
        )
    if "scores" in needs and settings.label.by == "none" and not store.scores():
        raise ValueError(
            f"label.by: recipe {recipe!r} needs scores; run `rushes set {place} label.by=human` (or vlm, reward, world)"
        )
    if "wrong captions" in needs and settings.caption.by == "none" and not store.captions("wrong"):
        raise ValueError(
            f"caption.by: recipe {recipe!r} needs wrong captions; run `rushes set {place} caption.by=rules` "
            f"(or model), or `rushes set {place} train.options.semantic_weight=0`, which does not need them"
        )


def _written(project: OpenProject) -> negatives.CaptionResult:
    """Wrong captions; ValueError where there are none."""
    result = negatives.wrong_captions(project)
    if not result.any:
        raise ValueError(result.lines()[-1])
    return result
