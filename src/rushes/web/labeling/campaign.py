"""A campaign: who labels, how many pairs, and what its owner sees of how far and how well it goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rushes.files import write_json
from rushes.records import now
from rushes.stats import wilson
from rushes.store.own_files import own_path
from rushes.text_reader import counted, parse_json, read_text
from rushes.web.accounts import CROWD, OpenLink, check_name
from rushes.web.labeling.labeling_progress import person_facts

FILE = "campaign.json"
LEAN_PAIRS = 10  # decided ones from which a lean is said: everybody is looked at again and again, from the first pair
ASSUMED_S = 20.0  # seconds a pair where nobody's were taken yet


@dataclass(frozen=True)
class Campaign:
    """What was asked of whom. `each` is the number of different pairs that a person labels, those of others and of the
    key included."""

    people: tuple[str, ...]
    pairs: int  # pairs to label
    each: int
    overlap: int  # people who label a pair that several label
    overlap_share: float
    created_at: str = ""
    key: str = ""  # whose labels are the key where the settings name nobody
    practice: int = 0  # pairs of it that a person first practises on

    def quotas(self) -> dict[str, int]:
        """Name -> pairs."""
        return dict.fromkeys(self.people, self.each)


def planned(
    people: Sequence[str], pairs: int, *, overlap: int, overlap_share: float, repeat_share: float, gold_share: float,
    key: str = "", practice: int = 0,
) -> Campaign:  # fmt: skip
    """A campaign in which so many pairs get a label, each person as many as another.

    Repeats, pairs of the key and pairs that another has labelled bring no new one; a repeat is no pair of its own.

    Raises:
        ValueError: no people, a name that is none or is given twice, or shares that leave nothing for new pairs.
    """
    if not people or len(set(people)) < len(people):
        raise ValueError(f"--people: give each name once, such as --people ada,bob, got {','.join(people) or 'none'}")
    for name in people:
        check_name(name)
    shared = overlap_share if overlap > 1 and len(people) > 1 else 0.0
    new = 1 - shared - repeat_share - gold_share
    if new <= 0:
        raise ValueError(
            "label.overlap_share, repeat_share and gold_share leave no new pairs; together they must be less than 1"
        )
    each = math.ceil(pairs / len(people) * (1 - repeat_share) / new - 1e-9)
    return Campaign(tuple(people), pairs, each, overlap=overlap, overlap_share=shared, created_at=now(),
                    key=key, practice=practice)  # fmt: skip


def write_campaign(project: Path, campaign: Campaign) -> None:
    """Store it in the project, in place of one before."""
    write_json(own_path(project, FILE), asdict(campaign))


def read_campaign(project: Path) -> Campaign | None:
    """The project's campaign; None where there is none. Raises ValueError: the file is damaged."""
    path = own_path(project, FILE)
    if not path.is_file():
        return None
    remedy = f"{path}: not what `rushes campaign` writes; delete it, or run the command again"
    data = parse_json(read_text(path), remedy)
    try:
        return Campaign(**{**data, "people": tuple(map(str, data["people"]))})
    except (TypeError, KeyError) as error:
        raise ValueError(remedy) from error


def enough(labelled: int, wanted: int) -> str:
    """Whether so many labelled pairs are what the campaign is for, in words."""
    return "enough to train" if labelled >= wanted else f"{counted(wanted - labelled, 'more pair')} to label"


def hours(answers: float, seconds: float | None) -> float:
    """Hours that so many answers take."""
    return answers * (ASSUMED_S if seconds is None else seconds) / 3600


def dashboard(facts: Mapping[str, Any], campaign: Campaign | None, crowd: OpenLink | None = None) -> dict[str, Any]:
    """What the owner sees: the facts of *Progress* with, for each person, pairs an hour, what is left, and a lean to
    one side where it is more than chance."""
    measured = [row["seconds"] for row in facts["people"] if row["seconds"] is not None]
    typical = sorted(measured)[len(measured) // 2] if measured else None
    quotas = campaign.quotas() if campaign else {}
    if crowd:
        quotas |= {row["name"]: crowd.pairs_each for row in facts["people"] if row["name"].startswith(CROWD)}
    there = {row["name"]: row for row in facts["people"]}
    people = [_person(there.get(name) or person_facts(name), quotas.get(name), typical)
              for name in dict.fromkeys([*quotas, *there])]  # fmt: skip
    labelled = facts["pairs"] - facts["open"]
    wanted = min(campaign.pairs, facts["pairs"]) if campaign else facts["pairs"]
    left = [row["left_s"] for row in people if row["left_s"] is not None]
    return {
        **{name: facts[name] for name in ("pairs", "open", "several", "dimensions", "judges", "reasons")},
        "people": people,
        "labelled": labelled,
        "wanted": wanted,
        "enough": enough(labelled, wanted),
        "seconds": typical,
        "left_s": sum(left) if left else None,
        "code": crowd.code if crowd else "",
        "campaign": asdict(campaign) if campaign else None,
    }


def lean(first: int, decided: int) -> str:
    """The side that somebody chooses in more of the decided pairs than chance would: "A", "B", or "" where the 95 %
    interval of the share holds one half or the pairs are few."""
    if decided < LEAN_PAIRS:
        return ""
    share = wilson(first, decided)
    return "A" if share.low > 0.5 else "B" if share.high < 0.5 else ""


def _person(row: Mapping[str, Any], quota: int | None, typical: float | None) -> dict[str, Any]:
    seconds = row["seconds"] if row["seconds"] is not None else typical
    left = None if quota is None else max(0, quota - row["pairs"])
    return {
        **row,
        "quota": quota,
        "left_s": None if left is None else 3600 * hours(left, seconds),
        "per_hour": 3600 / row["seconds"] if row["seconds"] else None,
        "lean": lean(row["first_by_pair"]["first"], row["first_by_pair"]["of"]),
    }
