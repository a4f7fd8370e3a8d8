"""Plain folders of videos, one folder for each system, matched by name.

A video `NAME.mp4` answers prompt NAME with seed 0; `NAME-3.mp4` and `NAME/3.mp4` answer it with seed 3. Prompts come
from a text file with one prompt a line, which are called 0, 1, 2, ... and also by their own text (the naming of
VBench), or from a JSON file {"NAME": "prompt", ...}. Stills to start from are images NAME.png. What has no partner is
named and counted, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rushes.files import inside
from rushes.formats.caption_files import natural, shown
from rushes.formats.layouts import VIDEO_SUFFIXES, is_video
from rushes.media.images import STILL_SUFFIXES
from rushes.stats import Key
from rushes.text_reader import counted, parse_json, read_lines, read_text

_SEEDED = re.compile(r"(?P<prompt>.+)[-/](?P<seed>\d+)")


@dataclass(frozen=True)
class Folders:
    """What was found. `videos[system]` has the file of each (prompt, seed), in the order of the prompts."""

    videos: Mapping[str, Mapping[Key, Path]]
    captions: Mapping[str, str]  # prompt name -> text; empty without a prompts file
    stills: Mapping[str, Path]  # prompt name -> image
    notes: tuple[str, ...]  # what is missing or was left out, a sentence each

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems in the order given; the first is what the others are compared with."""
        return tuple(self.videos)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names of all prompts that some system answered, in their order."""
        names = {prompt for videos in self.videos.values() for prompt, _ in videos}
        return tuple(sorted(names, key=lambda name: natural(Path(name))))

    def caption(self, prompt: str) -> str:
        """The prompt's text, or its name where there is none."""
        return self.captions.get(prompt, prompt)


def find_folders(systems: Mapping[str, Path], prompts: Path | None = None, stills: Path | None = None) -> Folders:
    """Match the videos of two systems or more.

    Without `stills` a folder `first_frames` beside the prompts file is taken, where there is one.

    Raises ValueError: fewer than two systems, a folder or file that is not there or cannot be read, two files of one
    name, nothing in common, or a link out of its folder: whoever made the folder would choose which of this user's
    files are copied and shown.
    """
    if len(systems) < 2:
        raise ValueError(f"a comparison needs two systems or more, as NAME=FOLDER; got {len(systems)}")
    captions, names = _captions(prompts) if prompts else ({}, {})
    notes: list[str] = []
    videos = {system: _videos(system, folder, names, notes) for system, folder in systems.items()}
    notes += _missing(videos)
    if not any(
        videos[first].keys() & videos[second].keys() for first in videos for second in videos if first != second
    ):
        raise ValueError(
            f"the systems {', '.join(videos)} have no video name in common; give the videos of one prompt the same name"
        )
    asked = {prompt for of in videos.values() for prompt, _ in of}
    if unanswered := [name for name in captions if name not in asked]:
        notes.append(f"{counted(len(unanswered), 'prompt')} without a video from any system: {shown(unanswered)}.")
    if stills is None and prompts and (prompts.parent / "first_frames").is_dir():
        stills = prompts.parent / "first_frames"
    images = _stills(stills) if stills else {}
    bare = sorted((name for name in asked if name not in images), key=lambda name: natural(Path(name)))
    if images and bare:
        notes.append(f"{counted(len(bare), 'prompt')} without a first frame: {shown(bare)}.")
    return Folders(videos, captions, {name: path for name, path in images.items() if name in asked}, tuple(notes))


def _captions(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Texts by the prompt's name, and every name that a file may have for a prompt."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file of prompts; name a file with one prompt per line, or JSON {{name: prompt}}"
        )
    if path.suffix.lower() == ".json":
        data = parse_json(read_text(path), f"{path}: not JSON; write one object {{name: prompt}}")
        if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
            raise ValueError(f"{path}: the JSON is not an object; write one object {{name: prompt}}")
        texts = {Path(name).stem if Path(name).suffix.lower() in VIDEO_SUFFIXES else name: data[name] for name in data}
    else:
        texts = {str(line): text for line, text in enumerate(read_lines(path))}
    if not texts or not all(texts.values()):
        raise ValueError(f"{path}: the file or one of its prompts is empty; write one prompt per line")
    return texts, {text: name for name, text in texts.items()} | {name: name for name in texts}


def _videos(system: str, folder: Path, names: Mapping[str, str], notes: list[str]) -> dict[Key, Path]:
    if not folder.is_dir():
        raise ValueError(f"{system}={folder}: no such folder; name a folder of videos for each system")
    paths_by_key: dict[Key, Path] = {}
    strange: list[str] = []
    for path in sorted(_below(folder, is_video), key=natural):
        name = path.relative_to(folder).with_suffix("").as_posix()
        key = _key(name, names)
        if key is None:
            strange.append(name)
        elif key in paths_by_key:
            raise ValueError(
                f"{path} and {paths_by_key[key]} are both for prompt {key[0]} with seed {key[1]}; keep one"
            )
        else:
            paths_by_key[key] = path
    if strange:
        notes.append(
            f"{counted(len(strange), 'video')} of {system} left out, because no prompt has this name: {shown(strange)}."
        )
    if not paths_by_key:
        hint = f"; no prompt has the name of its videos {shown(strange)} (line 1 is prompt 0)" if strange else ""
        raise ValueError(f"{system}={folder}: no videos to compare{hint}")
    return paths_by_key


def _key(name: str, names: Mapping[str, str]) -> Key | None:
    """Prompt and seed that a file's name stands for; None where the prompts file has no such prompt."""
    seeded = _SEEDED.fullmatch(name)
    if not names:
        return (seeded["prompt"], int(seeded["seed"])) if seeded else (name, 0)
    if name in names:
        return names[name], 0
    return (names[seeded["prompt"]], int(seeded["seed"])) if seeded and seeded["prompt"] in names else None


def _missing(videos_of: Mapping[str, Mapping[Key, Path]]) -> Iterator[str]:
    every = {key for videos in videos_of.values() for key in videos}
    for system, videos in videos_of.items():
        if gone := sorted(every - videos.keys(), key=lambda key: (natural(Path(key[0])), key[1])):
            names = [prompt if not seed else f"{prompt} seed {seed}" for prompt, seed in gone]
            yield f"{counted(len(gone), 'video')} missing of {system}: {shown(names)}."


def _stills(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of first frames; name a folder with images NAME.png")
    paths_by_name = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in _below(folder, lambda path: path.suffix.lower() in STILL_SUFFIXES)
    }
    if not paths_by_name:
        raise ValueError(f"{folder}: no images ({', '.join(sorted(STILL_SUFFIXES))}) to start from")
    return paths_by_name


def _below(folder: Path, fits: Callable[[Path], bool]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and fits(path):
            yield inside(folder, path.relative_to(folder))
