"""Which clips are in the set: what programs and people decided, applied to what was imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rushes.records import Clip, Decision


def standing(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """Clip id -> the decision that counts: a person's before a program's, and of these the last.

    A person who kept a clip and wrote no caption leaves it the one that a program gave it.
    """
    found: dict[str, Decision] = {}
    by_program: dict[str, Decision] = {}
    for decision in decisions:
        if not decision.person:
            by_program[decision.subject] = decision
        if decision.person or decision.subject not in found or not found[decision.subject].person:
            found[decision.subject] = decision
    return {
        subject: replace(decision, caption=decision.caption or by_program[subject].caption)
        if decision.person and subject in by_program
        else decision
        for subject, decision in found.items()
    }


def decided(clips: tuple[Clip, ...], decisions: Mapping[str, Decision]) -> tuple[Clip, ...]:
    """Clips that are in the set, each with the caption it goes by; a clip that nobody decided about is in."""
    return tuple(_captioned(clip, decisions.get(clip.id)) for clip in clips if _kept(decisions.get(clip.id)))


def _kept(decision: Decision | None) -> bool:
    return decision is None or decision.keep


def _captioned(clip: Clip, decision: Decision | None) -> Clip:
    return replace(clip, caption=decision.caption) if decision and decision.caption else clip
