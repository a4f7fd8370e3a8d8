"""Which clips are in the set: what programs and people decided, applied to what was imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from rushes.records import Clip, Decision

IMPORT = "import"  # who sets clips aside that the footage no longer has


class DecisionHistory:
    """What was said about one clip so far: the last of the programs, of the import, and of each person.

    An import that sets the clip aside goes before all that was said until then, as the clip is no longer there to
    choose; a person who keeps it later puts it back.
    """

    __slots__ = ("imported", "people", "program", "put_back")

    def __init__(self) -> None:
        self.program: Decision | None = None
        self.imported: Decision | None = None
        self.people: dict[str, Decision] = {}  # by name; who spoke last comes last
        self.put_back = False  # a person kept it after an import had set it aside

    @property
    def aside(self) -> bool:
        """Whether an import set the clip aside and nobody put it back."""
        return self.imported is not None and not self.imported.keep and not self.put_back

    def add(self, decision: Decision) -> None:
        """Take in what was said next. A person who withdraws has said nothing."""
        if not decision.person and decision.made_by == IMPORT:
            self.imported, self.put_back = decision, False
            return
        if not decision.person:
            self.program = decision
            return
        if self.imported and not self.imported.keep:
            self.put_back = decision.keep and not decision.withdrawn
        self.people.pop(decision.made_by, None)
        if not decision.withdrawn:
            self.people[decision.made_by] = decision

    def person(self) -> Decision | None:
        """The person's decision that counts, as it was written; None where no person says anything."""
        return next(reversed(self.people.values()), None)

    def counts(self) -> Decision | None:
        """The decision that counts, None where nobody says anything.

        A person who wrote no caption leaves the clip the one that a program gave it.
        """
        if self.aside:
            return self.imported
        last = self.person()
        if last is None:
            return self.program
        return replace(last, caption=last.caption or (self.program.caption if self.program else ""))


def histories_of(decisions: Iterable[Decision]) -> dict[str, DecisionHistory]:
    """Clip id -> what was said about it."""
    histories: dict[str, DecisionHistory] = {}
    for decision in decisions:
        histories.setdefault(decision.subject, DecisionHistory()).add(decision)
    return histories


def standing(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """Clip id -> the decision that counts: the import's, a person's or a program's, and of these the last."""
    histories = histories_of(decisions)
    return {subject: current for subject, history in histories.items() if (current := history.counts())}


def decided(clips: Iterable[Clip], decisions: Mapping[str, Decision]) -> Iterator[Clip]:
    """Clips that are in the set, each with the caption it goes by; a clip that nobody decided about is in."""
    given = ((clip, decisions.get(clip.id)) for clip in clips)
    return (_captioned(clip, decision) for clip, decision in given if decision is None or decision.keep)


def _captioned(clip: Clip, decision: Decision | None) -> Clip:
    return replace(clip, caption=decision.caption) if decision and decision.caption else clip
