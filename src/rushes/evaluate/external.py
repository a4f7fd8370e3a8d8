"""What VBench and VideoPhy want to read, and what they write: they run in environments of their own.

VBench (mode custom_input) takes a flat folder of videos and a JSON file {path: prompt}, and writes
{dimension: [mean, [{"video_path", "video_results"}, ...]]}. VideoPhy's judge takes a CSV file of videopath and caption,
and writes rows of videopath, caption and score, VideoPhy-1 without a header (scores 0 to 1), VideoPhy-2 with one (1 to
5). Scores become metrics of the table, paired by prompt as all others. A row belongs to the video at its path, else to
that of its file's name. Rows that fit no video, and videos without a row, are counted and named; a row of another
system's video, and a second row of one video, are refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rushes.evaluate.video_folders import Folders
from rushes.files import make_folder, whole_file, write_text
from rushes.formats.caption_files import shown
from rushes.stats import Key, Measure
from rushes.text_reader import counted, parse_json, read_text

ScoresByKey = dict[Key, float]

# The six dimensions that VBench can measure on any video.
VBENCH_DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)


@dataclass(frozen=True)
class InputsResult:
    """What other programs read, by system; null = not asked."""

    vbench: Mapping[str, str] | None = None  # command that measures the system
    videophy: Mapping[str, str] | None = None  # CSV file

    def lines(self) -> list[str]:
        """One for each program and system."""
        wrote = (("vbench", self.vbench or {}), ("videophy", self.videophy or {}))
        return [f"{program}, {system}: {what}" for program, of in wrote for system, what in of.items()]


@dataclass(frozen=True)
class ExternalScores:
    """Result files of other programs by system; `videophy` has the file of SA and the file of PC."""

    vbench: Mapping[str, Path] = field(default_factory=dict)
    videophy: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    threshold: float = 0.5  # from which a VideoPhy score counts as yes: 0.5, and 4 for VideoPhy-2

    def measures(self, folders: Folders, notes: list[str]) -> list[Measure]:
        """Every score as a metric, higher being better; what does not fit is added to `notes`.

        Raises ValueError: a file that cannot be read, for a system that is not compared, of another system's videos,
        given for two systems, with two rows of one video, or scores beyond 1 with a threshold within it.
        """
        if strange := {*self.vbench, *self.videophy} - set(folders.systems):
            raise ValueError(f"results for {shown(sorted(strange))}, but the systems are {', '.join(folders.systems)}")
        _refuse_given_twice([*self.vbench.values()])
        _refuse_given_twice([path for pair in self.videophy.values() for path in pair])
        by_metric: dict[str, dict[str, ScoresByKey]] = {}
        for system, path in self.vbench.items():
            for dimension, scores in read_vbench(path, Finder(folders, system), notes).items():
                by_metric.setdefault(f"vbench_{dimension}", {})[system] = scores
        for system, (sa_path, pc_path) in self.videophy.items():
            sa, pc = (read_videophy(path, Finder(folders, system), notes) for path in (sa_path, pc_path))
            joint = both(sa, pc, self.threshold)
            for name, scores in (("videophy_sa", sa), ("videophy_pc", pc), ("videophy_joint", joint)):
                by_metric.setdefault(name, {})[system] = scores
        for name, of in by_metric.items():
            if missing := [system for system in folders.systems if system not in of]:
                notes.append(f"{name} has no results for {shown(missing)}, so nothing is compared with {shown(of)}.")
            for system, scores in of.items():
                if gone := [path.name for key, path in folders.videos[system].items() if key not in scores]:
                    notes.append(f"{name} has no score for {counted(len(gone), 'video')} of {system}: {shown(gone)}.")
        units = {"vbench_imaging_quality": "0 to 100", "videophy_joint": "share of videos"}
        return [Measure(name, "higher", of, units.get(name, "score")) for name, of in by_metric.items()]


def both(sa: Mapping[Key, float], pc: Mapping[Key, float], threshold: float) -> ScoresByKey:
    """1 where a video follows its text (SA) and everyday physics (PC), else 0; VideoPhy's headline is its mean.

    Raises ValueError when scores go beyond 1 and the threshold does not: they are on VideoPhy-2's scale of 1 to 5.
    """
    if threshold <= 1 and any(score > 1 for score in (*sa.values(), *pc.values())):
        raise ValueError("scores beyond 1 are VideoPhy-2's, where 4 counts as yes: give --videophy-threshold 4")
    return {key: float(sa[key] >= threshold and pc[key] >= threshold) for key in sa if key in pc}


def write_vbench(folders: Folders, out: Path) -> dict[str, str]:
    """Flat copies of all videos and a prompt file for each system; the command that measures each.

    Raises ValueError: no prompts were given, which some of VBench's dimensions compare with.
    """
    _require_captions(folders)
    commands = {}
    for system, videos in folders.videos.items():
        folder, listed = out / system / "videos", {}
        folder.mkdir(parents=True, exist_ok=True)
        for key, path in videos.items():
            name = _flat(key, path)
            with whole_file(folder / name) as part:
                shutil.copyfile(path, part)
            listed[str(folder / name)] = folders.captions[key[0]]
        prompts = out / system / "prompts.json"
        write_text(prompts, json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
        commands[system] = (
            f"python evaluate.py --mode custom_input --videos_path {folder} --prompt_file {prompts} "
            f"--dimension {' '.join(VBENCH_DIMENSIONS)} --output_path {out / system / 'results'}"
        )
    return commands


def write_videophy(folders: Folders, out: Path) -> dict[str, str]:
    """A CSV file of videopath and caption for each system, as utils/prepare_data.py of VideoPhy reads it; their paths.

    Raises ValueError: no prompts were given.
    """
    _require_captions(folders)
    make_folder(out)
    written = {}
    for system, videos in folders.videos.items():
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["videopath", "caption"])
        rows.writerows([str(path.resolve()), folders.captions[prompt]] for (prompt, _), path in videos.items())
        write_text(out / f"{system}.csv", text.getvalue())
        written[system] = str(out / f"{system}.csv")
    return written


class Finder:
    """From a path in a result file to the video of a system that it means."""

    def __init__(self, folders: Folders, system: str) -> None:
        self.system = system
        self._by_path = {
            str(path.resolve()): (name, key) for name, of in folders.videos.items() for key, path in of.items()
        }
        # A file that is in the folders of several systems, through links, is this one's.
        self._by_path |= {str(path.resolve()): (system, key) for key, path in folders.videos[system].items()}
        self._by_name = {_flat(key, path): key for key, path in folders.videos[system].items()}
        parents = {name: [path.resolve().parent for path in of.values()] for name, of in folders.videos.items()}
        names_of = {name: {name, Path(os.path.commonpath(paths)).name} for name, paths in parents.items()}
        self._own = names_of.pop(system)
        self._others = {part: name for name, parts in names_of.items() for part in parts - self._own}

    def key(self, named: str) -> tuple[Key | None, bool]:
        """Prompt and seed, None where no video has that path or name, and whether only the file's name says so."""
        path = Path(named)
        owner, key = self._by_path.get(str(path.resolve()), ("", None))
        if owner == self.system:
            return key, False
        key = self._by_name.get(path.name)
        return key, key is not None

    def owner(self, named: str) -> str:
        """The other system whose video a row is of: by its path, else by the names of its folders; "" = none."""
        path = Path(named)
        owner, _ = self._by_path.get(str(path.resolve()), ("", None))
        if owner:
            return owner if owner != self.system else ""
        folders = path.parts[-3:-1]  # .../SYSTEM/videos/NAME.mp4 is what `write_vbench` makes
        if self._own & set(folders):
            return ""
        return next((self._others[part] for part in reversed(folders) if part in self._others), "")


def read_vbench(path: Path, finder: Finder, notes: list[str]) -> dict[str, ScoresByKey]:
    """Scores by dimension, in VBench's own unit: imaging_quality is 0 to 100 per video, all others 0 to 1.

    Raises ValueError: not a results file of VBench, or as `_placed` does.
    """
    try:
        data = parse_json(_text(path), "JSON")
        rows = {
            dimension: [(str(row["video_path"]), float(row["video_results"])) for row in entry[1]]
            for dimension, entry in data.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: not results of VBench ({error}); name the file that ends in _eval_results.json"
        ) from error
    for dimension, scores in rows.items():
        _check_scale(path, dimension, [value for _, value in scores])
    return {dimension: _placed(path, scores, finder, notes) for dimension, scores in rows.items()}


def _check_scale(path: Path, dimension: str, values: Sequence[float]) -> None:
    """Refuse a dimension on another scale than VBench's own: beside one on that it would be far better or worse."""
    limit, most = 100 if dimension == "imaging_quality" else 1, max(map(abs, values), default=0.0)
    if most > limit * 1.001 or (limit == 100 and 0 < most <= 1):
        raise ValueError(
            f"{path}: {dimension} reaches {most:g}, but VBench scores a video from 0 to {limit}; give the file that "
            "VBench wrote"
        )


def read_videophy(path: Path, finder: Finder, notes: list[str]) -> ScoresByKey:
    """Scores of a VideoPhy judge, with or without a header.

    Raises ValueError: no rows of videopath, caption and score, a row with more or fewer cells, or as `_placed` does.
    """
    reader = csv.reader(io.StringIO(_text(path)))
    rows = [(reader.line_num, row) for row in reader if row]
    places, cells = (0, 2), 3
    if rows and {"videopath", "score"} <= set(header := rows[0][1]):
        places, cells = (header.index("videopath"), header.index("score")), len(header)
        rows = rows[1:]
    for line, row in rows:
        if len(row) != cells:
            raise ValueError(
                f"{path}, line {line}: {len(row)} cells, expected {cells} (videopath, caption and "
                'score); write a caption with a comma in quotes, as "a dog, running"'
            )
    try:
        scores = [(row[places[0]], float(row[places[1]])) for _, row in rows]
    except ValueError as error:
        raise ValueError(
            f"{path}: rows must be videopath, caption and score ({error}); name VideoPhy's output"
        ) from error
    if not scores:
        raise ValueError(f"{path}: the file has no scores; name the CSV file that VideoPhy's judge wrote")
    return _placed(path, scores, finder, notes)


def _refuse_given_twice(paths: Sequence[Path]) -> None:
    """One file's rows cannot be of two systems, or of text and of physics."""
    for path, count in Counter(path.resolve() for path in paths).items():
        if count > 1:
            raise ValueError(f"{path}: given {count} times; give each system its own file, one for SA and one for PC")


def _placed(path: Path, scores: Sequence[tuple[str, float]], finder: Finder, notes: list[str]) -> ScoresByKey:
    """Scores by prompt and seed. Raises ValueError: rows of another system's videos, or two rows of one video."""
    owners = {name: owner for name, _ in scores if (owner := finder.owner(name))}
    if owners:
        name, owner = next(iter(owners.items()))
        raise ValueError(
            f"{path}, given for {finder.system}: {len(owners)} of its rows are about videos of {owner}, such as "
            f"{name}; give it as {owner}={path.name}, and for {finder.system} give the file about its own videos"
        )
    names: dict[Key, str] = {}
    placed: ScoresByKey = {}
    lists: dict[str, list[str]] = {"that fit no video": [], "without a number": [], "placed by the file's name": []}
    for name, score in scores:
        key, by_name = finder.key(name)
        if key is not None and key in names:
            raise ValueError(f"{path}: two rows are about one video, {names[key]} and {name}; delete the older one")
        if key is None:
            lists["that fit no video"].append(name)
            continue
        names[key] = name
        if by_name:
            lists["placed by the file's name"].append(name)
        if math.isfinite(score):
            placed[key] = score
        else:
            lists["without a number"].append(name)
    notes += [f"{path.name} has {len(of)} rows {what}: {shown(of)}." for what, of in lists.items() if of]
    return placed


def _flat(key: Key, path: Path) -> str:
    prompt = key[0].replace("/", "_")
    return f"{prompt}{f'-{key[1]}' if key[1] else ''}{path.suffix.lower()}"


def _require_captions(folders: Folders) -> None:
    if not folders.captions:
        raise ValueError("other programs need the prompts as text; give --prompts FILE")


def _text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such file of results; check the path")
    return read_text(path)
