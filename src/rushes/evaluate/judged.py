"""Plain folders before a judge: who wins, how often the two orders disagree, who is strongest; or a questionnaire."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from math import comb
from pathlib import Path

from rushes.config.settings_files import load_settings
from rushes.config.tables import Settings
from rushes.evaluate.external import both
from rushes.evaluate.prompt_clusters import clusters_of_folders
from rushes.evaluate.video_folders import Folders
from rushes.judges.base import Judge
from rushes.judges.build import ANSWERS, judge_of
from rushes.judges.endpoint import ChatEndpoint
from rushes.judges.protocols import QUESTIONS, Duel, adherence, by_endpoint, duel, questionnaire
from rushes.media.images import read_image
from rushes.media.read import read_video
from rushes.metrics.base import Shot
from rushes.progress import Bar
from rushes.report.model import Judged
from rushes.stats import Interval, Key, Match, Measure, rank_systems, wilson, win_rate

ShotRater = Callable[[Shot], Mapping[str, float | None]]


@dataclass
class Verdicts:
    """What all judges said: per judge its count on each pair, strengths of the systems, and scores of single clips."""

    rows: list[Judged] = field(default_factory=list)
    strengths: dict[str, Interval] = field(default_factory=dict)
    measures: list[Measure] = field(default_factory=list)


def duels_of(
    judge: Judge, folders: Folders, first: str, second: str, tick: Callable[[int], None] = lambda n: None
) -> dict[Key, Duel | None]:
    """Every prompt and seed that both systems answered, judged in both orders; +1 where the second won."""
    duels = {}
    for key in sorted(folders.videos[first].keys() & folders.videos[second].keys()):
        base, trained = (read_shot(folders, system, key, judge.size_px) for system in (first, second))
        duels[key] = duel(judge, trained, base)
        tick(1)
    return duels


def head_to_head(
    judge: str, first: str, second: str, duels: Mapping[Key, Duel | None], cluster_of: Mapping[str, str]
) -> Judged | None:
    """Counts and the win rate, its interval over clusters of prompts; None where no pair could be judged."""
    answered = {key: duel for key, duel in duels.items() if duel is not None}
    if not answered:
        return None
    outcomes = [float(duel.outcome) for duel in answered.values()]
    wins = win_rate([0.0] * len(outcomes), outcomes, "higher", clusters=[cluster_of.get(p, p) for p, _ in answered])
    decided = sum(duel.decided for duel in answered.values())
    slot = wilson(sum(duel.first_slot for duel in answered.values()), decided) if decided else None
    disagreed = sum(not duel.agreed for duel in answered.values())
    return Judged(
        judge, first, second, wins=wins, disagreed=disagreed, unreadable=len(duels) - len(answered), first_slot=slot
    )


def judge_all(
    judge: Judge, folders: Folders, notes: list[str], tick: Callable[[int], None] = lambda n: None
) -> Verdicts:
    """Every pair of systems, and the systems' strengths by Bradley and Terry; why there are none goes to `notes`."""
    verdicts, matches, cluster_of = Verdicts(), [], clusters_of_folders(folders)
    for first, second in combinations(folders.systems, 2):
        duels = duels_of(judge, folders, first, second, tick)
        result = head_to_head(judge.name, first, second, duels, cluster_of)
        if result is None:
            notes.append(f"{judge.name} could not judge any pair of {first} and {second}.")
            continue
        verdicts.rows.append(result)
        matches += [
            Match(second, first, duel.outcome, cluster_of.get(prompt, prompt))
            for (prompt, _), duel in duels.items()
            if duel
        ]
    try:
        verdicts.strengths |= rank_systems(matches)
    except ValueError as error:
        notes.append(f"{judge.name} cannot rank the systems: {error}.")
    return verdicts


def rate_all(
    rate: ShotRater, folders: Folders, notes: list[str], tick: Callable[[int], None] = lambda n: None
) -> list[Measure]:
    """What a model says of every clip alone, one metric a question; unreadable answers are counted in `notes`."""
    scores: dict[str, dict[str, dict[Key, float]]] = {}
    unread: dict[str, int] = {}
    for system, videos in folders.videos.items():
        for key in videos:
            for name, score in rate(read_shot(folders, system, key, None)).items():
                if score is None:
                    unread[name] = unread.get(name, 0) + 1
                else:
                    scores.setdefault(name, {}).setdefault(system, {})[key] = score
            tick(1)
    notes += [f"{count} answers on {name} could not be read and are left out." for name, count in unread.items()]
    if {"sa", "pc"} <= scores.keys():
        sides = scores["sa"], scores["pc"]
        scores["both"] = {s: both(sides[0][s], sides[1].get(s, {}), 0.5) for s in sides[0]}
    units = dict.fromkeys(("sa", "pc", "both"), "share of videos")
    return [Measure(f"judged_{name}", "higher", of, units.get(name, "0 to 100")) for name, of in scores.items()]


def read_shot(folders: Folders, system: str, key: Key, size_px: tuple[int, int] | None) -> Shot:
    """One clip with its prompt and first frame. Raises ValueError for a file that cannot be read."""
    video = read_video(folders.videos[system][key], size_px=size_px)
    still: Path | None = folders.stills.get(key[0])
    return Shot(video.frames_FHWC, video.fps, folders.caption(key[0]), read_image(still) if still else None)


QUESTIONNAIRES = {"realdpo": tuple(QUESTIONS), "videophy": ("sa", "pc", "both")}  # and what each asks of a clip


def judge_folders(
    names: Sequence[str], overrides: Sequence[str], out: Path, bar: Bar, folders: Folders, notes: list[str]
) -> Verdicts:
    """Ask every named judge: `metric:NAME`, `vlm`, `reward` (set up by --set), or a questionnaire.

    A questionnaire (`realdpo`, `videophy`) scores each clip alone and becomes metrics; what the model answered is kept
    in `out`.

    Raises ValueError: no such judge, or what it needs is not there.
    """
    verdicts = Verdicts()
    for name in names:
        by = name.partition(":")[0]
        if by in QUESTIONNAIRES:
            settings = _settings(overrides)
            with ChatEndpoint(settings.endpoint, out / ANSWERS) as endpoint:
                ask, affirm = by_endpoint(endpoint, settings.label.frames_per_s)
                rate = partial(questionnaire, ask) if by == "realdpo" else partial(adherence, affirm)
                with bar(f"evaluate: {name}", sum(len(of) for of in folders.videos.values())) as tick:
                    verdicts.measures += rate_all(rate, folders, notes, tick)
            continue
        pairs = comb(len(folders.systems), 2) * len(folders.prompts)
        with judge_of(_settings_of(name, overrides), out) as judge, bar(f"evaluate: {name}", pairs) as tick:
            answers = judge_all(judge, folders, notes, tick)
        verdicts.rows += answers.rows
        verdicts.strengths |= {
            (s if len(names) == 1 else f"{name}: {s}"): value for s, value in answers.strengths.items()
        }
    return verdicts


def check_judges(names: Sequence[str], overrides: Sequence[str], out: Path) -> tuple[str, ...]:
    """Make every judge once, before hours of measuring; no model behind an endpoint is asked.

    Returns the metrics that questionnaires give. Raises ValueError for a judge that is none, or lacks what it needs.
    """
    asked = list[str]()
    for name in names:
        if questions := QUESTIONNAIRES.get(name):
            ChatEndpoint(_settings(overrides).endpoint, out / ANSWERS).close()
            asked += [f"judged_{question}" for question in questions]
        else:
            with judge_of(_settings_of(name, overrides), out):
                pass
    return tuple(asked)


def _settings_of(name: str, overrides: Sequence[str]) -> Settings:
    by, _, metric = name.partition(":")
    return _settings((*overrides, f"label.by={by}", *((f"label.metric={metric}",) if metric else ())))


def _settings(overrides: Sequence[str]) -> Settings:
    return load_settings(Path(os.devnull), overrides)
