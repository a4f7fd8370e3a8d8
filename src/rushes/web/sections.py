"""What sections are made from, and all of them: modules of these rooms that have a function `sections`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from rushes.plugins import modules_of
from rushes.web.site import SiteSection

if TYPE_CHECKING:
    from rushes.evaluate.votes import VoteStanding
    from rushes.web.labeling.labeling_session import LabelingSession
    from rushes.web.review.review_session import ReviewSession

_ROOMS = ("studio", "review", "labeling")


@dataclass(frozen=True)
class StudioProject:
    """A project, as its pages see it; nothing of it is read before it is asked for."""

    folder: Path
    title: str
    facts: Callable[[], object]  # all that the first page shows; ValueError where it cannot be read, with what to do
    review: ReviewSession
    labeling: LabelingSession
    vote: LabelingSession
    standing: Callable[[], VoteStanding | None]  # of the vote; None where there is nothing to vote on

    def named_in(self, text: str) -> str:
        """A text whose commands name the project in place of {project}."""
        return text.format(project=quote(str(self.folder)))


def all_sections(project: StudioProject) -> list[SiteSection]:
    """Those of every module, in their order in the navigation."""
    modules = [import_module(f"rushes.web.{room}.{name}") for room in _ROOMS for name in modules_of(f"web/{room}")]
    sections = [each for module in modules if hasattr(module, "sections") for each in module.sections(project)]
    return sorted(sections, key=lambda section: section.place)
