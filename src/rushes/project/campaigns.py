"""A campaign of labels by several people: what each is asked, and how long it takes."""

from __future__ import annotations

import itertools
import math
import shlex
from dataclasses import dataclass
from pathlib import Path

from rushes.config.tables import Settings
from rushes.project.labeling_page import open_labeling_session
from rushes.text_reader import counted
from rushes.web.labeling.campaign import ASSUMED_S, hours, planned, read_campaign, write_campaign
from rushes.web.labeling.labeling_progress import typical_seconds
from rushes.web.labeling.vote_table import NONE

KEY_BY, PRACTICE, KEY_PAIRS = "lead", 5, 15  # where label.gold_by names nobody: who makes the key; pairs; how many do


@dataclass(frozen=True)
class CampaignPlan:
    """What a campaign asks of people."""

    people: tuple[str, ...]
    pairs: int  # pairs to label
    pairs_each: int  # different ones, those that another labels too and those of the key included
    overlap: int  # people who label a pair that several label
    overlap_share: float  # fraction of a person's pairs that several people label
    hours_each: float
    hours: float  # hours of all people together
    seconds: float | None  # a pair, as measured here; null = nobody's were taken yet, and 20 are assumed
    key: str  # person whose labels are the key
    key_pairs: int  # pairs that this person labelled
    practice: int  # pairs of the key that everybody else first practises on

    def lines(self) -> list[str]:
        """The same in words."""
        asked = f"{counted(len(self.people), 'person', 'people')}: {counted(self.pairs, 'pair')} with a label, "
        shared = f"{self.overlap_share:.0%} of a person's pairs are labelled by {self.overlap}"
        from_what = (
            f"{ASSUMED_S:.0f} s per pair, an assumption" if self.seconds is None else f"{self.seconds:.0f} s per pair"
        )
        return [
            f"{asked}{self.pairs_each} each; {shared if self.overlap_share else 'no pair is labelled twice'}",
            f"about {_time(self.hours_each)} each, {_time(self.hours)} in all ({from_what})",
            self._key(),
        ]

    def _key(self) -> str:
        practice = f"; the others first practise on {self.practice} of them, explained" if self.practice else ""
        if self.key_pairs >= max(1, self.practice):
            return f"the key: {counted(self.key_pairs, 'pair')} by {self.key}{practice}"
        todo = f"enter the name {self.key} on the page and label about {KEY_PAIRS} pairs, with reasons"
        return f"before you send links, make the key: {todo}{practice}"


def _time(hours_long: float) -> str:
    return f"{hours_long:.1f} h" if hours_long >= 1 else f"{max(1, round(60 * hours_long))} min"


def _more_pairs(project: Path, settings: Settings, pairs: int, clips: int) -> str:
    """What makes so many pairs: more takes of each clip, as any two of them are a pair."""
    if settings.footage.kind == "pairs" or not clips:
        return "ask for as many at most"
    takes = next(count for count in itertools.count(2) if clips * math.comb(count, 2) >= pairs)
    place = shlex.quote(str(project))
    commands = f"`rushes set {place} generate.takes={takes}`, then `rushes generate {place}`"
    return f"{takes} takes of each of {counted(clips, 'clip')} make {clips * math.comb(takes, 2)}: {commands}"


def begin_campaign(project: Path, settings: Settings, people: tuple[str, ...], pairs: int) -> CampaignPlan:
    """Store who labels how much; without names or a number those of the campaign before hold.

    Raises:
        ValueError: label.by is a program, no people, more pairs than there are, or nothing to label yet.
    """
    if settings.label.by not in ("human", "none"):
        raise ValueError(f"label.by is {settings.label.by}, but people label in a campaign; add --set label.by=human")
    label, before = settings.label, read_campaign(project)
    with open_labeling_session(project, settings) as session:
        there, seconds = session.votes.pairs, typical_seconds(session)
        key = label.gold_by or KEY_BY
        key_pairs = int((session.votes.of(key) != NONE).sum())
        clips = len(session.store.clips("train"))
    if pairs > there:
        raise ValueError(
            f"--pairs {pairs}: there are only {there} pairs; {_more_pairs(project, settings, pairs, clips)}"
        )
    wanted = pairs or (min(before.pairs, there) if before else there)
    campaign = planned(
        people or (before.people if before else ()),
        wanted,
        overlap=label.overlap,
        overlap_share=label.overlap_share,
        repeat_share=label.repeat_share,
        gold_share=label.gold_share,
        key=key,
        practice=label.practice if label.gold_by else 0 if label.form == "ranks" else PRACTICE,
    )
    write_campaign(project, campaign)
    answers = campaign.each / (1 - label.repeat_share)
    each = hours(answers, seconds)
    return CampaignPlan(
        campaign.people,
        wanted,
        campaign.each,
        overlap=campaign.overlap,
        overlap_share=campaign.overlap_share,
        hours_each=each,
        hours=each * len(campaign.people),
        seconds=seconds,
        key=campaign.key,
        key_pairs=key_pairs,
        practice=campaign.practice,
    )
