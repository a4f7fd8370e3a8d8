"""Pairs of videos that lie in folders, the better and the worse one under one name.

| what | better | worse |
|---|---|---|
| two folders | `CHOSEN/NAME.mp4` | `REJECTED/NAME.mp4` |
| one folder with two in it | `chosen/NAME.mp4` | `rejected/NAME.mp4` |
| one folder | `NAME_w.mp4` | `NAME_l.mp4` |

Names may have subfolders. Prompts stand beside the better videos in any way in which captions of footage do, or in a
file of their own: a line for each pair by the order of names, or a table of file and caption.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rushes.formats.caption_files import captions_in, captions_of
from rushes.formats.layouts import folder_files, require_folder
from rushes.formats.preferences import ForeignPair, ForeignPairs, UnusableEntry
from rushes.formats.sides import swapped
from rushes.text_reader import Caption

JUDGE = "folders"  # who is taken to have chosen
_WINS, _LOSES = "_w", "_l"
VideosByName = Mapping[str, Sequence[Path]]


def folder_pairs(chosen: Path, rejected: Path | None = None, prompts: Path | None = None) -> ForeignPairs:
    """All pairs of two folders, or of one; videos without a counterpart are left out and counted.

    Raises:
        ValueError: no such folder, no videos, no pair, prompts that do not fit.
    """
    pairs, top = ForeignPairs(chosen), chosen
    if rejected is None and (chosen / "chosen").is_dir() and (chosen / "rejected").is_dir():
        top, rejected = chosen / "chosen", chosen / "rejected"
    better, worse = _sides(top, rejected)
    both = {}
    for name in dict.fromkeys((*better, *worse)):
        try:
            both[name] = _only(better, name, "better"), _only(worse, name, "worse")
        except UnusableEntry as error:
            pairs.refused.append(error.at(name))
    if both:
        winners = {name: paths[0] for name, paths in better.items()}  # also without a counterpart: lists count them all
        texts = dict(zip(winners, _prompts(top, winners, prompts), strict=True))
        for name, (left, right) in both.items():
            prompt, problem = texts[name]
            if problem:
                pairs.refused.append(UnusableEntry("bad prompt", problem, "").at(name))
                continue
            pairs.pairs.append(
                ForeignPair(
                    name, left, right, prompt=prompt, answers={"overall": "left"}, judge=JUDGE,
                    names=("chosen", "rejected"), why="chosen is left",
                )
            )  # fmt: skip
    pairs.refuse_if_empty()
    return pairs


def swapped_folders(chosen: Path, rejected: Path) -> bool:
    """Whether two folders' own names say that the worse one is taken for the better one."""
    names = zip(reversed(chosen.resolve().parts), reversed(rejected.resolve().parts), strict=False)
    return swapped(*next(((ours, theirs) for ours, theirs in names if ours != theirs), ("", "")))


def _sides(chosen: Path, rejected: Path | None) -> tuple[VideosByName, VideosByName]:
    """The better and the worse videos, by name."""
    if rejected is not None:
        require_folder(rejected)
        return _by_name(chosen), _by_name(rejected)
    every = _by_name(chosen)
    better, worse = (
        {name.removesuffix(end): paths for name, paths in every.items() if name.endswith(end)}
        for end in (_WINS, _LOSES)
    )
    strange = [name for name in every if not name.endswith((_WINS, _LOSES))]
    if strange:
        raise ValueError(
            f"{chosen}: the name of {strange[0]} does not say whether it is the better video; name a pair's videos "
            f"NAME{_WINS} and NAME{_LOSES}, or give two folders"
        )
    return better, worse


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """Videos of a folder and its subfolders by their path without the suffix, sorted naturally."""
    videos = defaultdict[str, list[Path]](list)
    for path in folder_files(folder).require_videos():
        videos[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    return dict(videos)


def _only(videos: VideosByName, name: str, side: str) -> Path:
    paths = videos.get(name, ())
    if not paths:
        raise UnusableEntry(f"no {side} video of this name", name, "add it, or delete the other video")
    if len(paths) > 1:
        raise UnusableEntry(f"two {side} videos share a name", ", ".join(path.name for path in paths), "delete one")
    return paths[0]


def _prompts(folder: Path, winners: Mapping[str, Path], file: Path | None) -> Iterator[Caption]:
    """The prompt of each better video, empty where there is none."""
    videos = list(winners.values())
    if file is not None:
        return captions_in(file, folder, videos)
    own = list(captions_of(folder, videos))
    if any(caption.text or caption.problem for caption in own) or all(
        p.stem == Path(n).name for n, p in winners.items()
    ):
        return iter(own)
    both = [path.with_name(Path(name).name + path.suffix) for name, path in winners.items()]
    return captions_of(folder, both)  # NAME.txt, of NAME_w and NAME_l together
