"""The report on judges: every judge whose labels a project holds, against its people. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rushes.config.tables import Settings
from rushes.judges.audit import Audit, FrozenClipTest, audit, findings, still_test
from rushes.judges.build import judge_of
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.progress import Bar
from rushes.records import HUMAN, Candidate, Clip
from rushes.stats import Interval
from rushes.store.annotators import AGAIN, SETTLED, labels_to_train_on
from rushes.store.database import Store


@dataclass(frozen=True)
class JudgesResult:
    """How far the judges of a project can be trusted."""

    judges: tuple[Audit, ...]  # one for each judge, question and length of segments
    static: FrozenClipTest | None  # what the judge of the settings makes of frozen clips; null = not asked
    findings: tuple[str, ...]  # what stands out, a sentence each


def audit_project(folder: Path, settings: Settings, static: int, bar: Bar) -> JudgesResult:
    """Audit all judges of a project; with `static` above 0 also show the judge of the settings that many frozen clips.

    Raises:
        ValueError: no labels, or the static test was asked for and `label.by` names no program.
    """
    with Store.open(folder) as store:
        rows = [row for row in store.preferences() if not row.judge.endswith((AGAIN, SETTLED))]
        if not rows and not static:
            raise ValueError(
                f"{folder} holds no labels; run `rushes label`, or give --static to test a judge without labels"
            )
        groups = {row.id: row.group for row in store.candidates(dropped=True)}
        groups |= {row.id: row.id for row in store.clips(dropped=True)}
        audits = audit(rows, lambda judge, name: labels_to_train_on(store, HUMAN, name, without=judge), groups)
        still = None
        if static:
            segment_s = None if settings.label.whole else settings.label.segment_s
            with judge_of(settings, folder) as judge, bar("judges: frozen clips", static) as tick:
                shots = _shots(store, settings, static, judge.size_px)
                still = still_test(judge, shots, segment_s, lambda: tick(1))
    return JudgesResult(tuple(audits), still, tuple(findings(audits, still)))


def in_words(result: JudgesResult) -> list[str]:
    """A line for each judge, and what stands out."""
    still = [_still_line(result.static)] if result.static else []
    return [*_lines(result.judges), *still, "", *([f"! {line}" for line in result.findings] or ["nothing stands out"])]


def _shots(store: Store, settings: Settings, count: int, size_px: tuple[int, int] | None) -> Iterator[Shot]:
    """Real clips, which move, or candidates where there are none, as long as candidates are."""
    table = settings.backbone
    rows: Sequence[Clip | Candidate] = store.clips("train") or store.candidates(split="train")
    for row in rows[:count]:
        size = table.at(table.name_of(table.shape_of(row)))
        own = size_px or (size.height_px, size.width_px)
        video = read_video(store.media_path(row.media), fps=size.fps, frames=size.frames, size_px=own)
        yield Shot(video.frames_FHWC, video.fps, row.caption, media=row.media)


def _lines(audits: Sequence[Audit]) -> list[str]:
    lines = []
    for row in audits:
        length = "whole clips" if row.segment_s is None else f"{row.segment_s:g} s"
        shares = {
            "agrees with people": row.without_ties,
            "with ties": row.with_ties,
            "same in both orders": row.consistent,
            "first shown won": row.first_slot,
        }
        shown = [f"{name} {_words(share)}" for name, share in shares.items() if share is not None]
        counts = f"{row.segments} labels, {row.ties:.0%} ties, {row.unjudged} unjudged"
        lines.append(f"{row.judge}, {row.dimension}, {length}: {'; '.join([counts, *shown])}")
    return lines


def _still_line(still: FrozenClipTest) -> str:
    wins = _words(still.frozen_wins)
    return (
        f"{still.judge}: {still.clips} clips, each frozen at four frames: the frozen clip wins {wins}, {still.ties} "
        "ties"
    )


def _words(share: Interval) -> str:
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}] of {share.n}"
