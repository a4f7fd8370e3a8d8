"""The first stage: real clips into the store, from a folder or from the embedded world.

Files are checked before anything is stored, all of them. A clip is known by its content and caption, so footage that
moved is not taken twice, and a clip never changes between training and evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rushes.config.files import settings_hash
from rushes.config.tables import Backbone, Footage
from rushes.media.files import MediaError, content_hash
from rushes.media.images import read_image
from rushes.media.read import probe
from rushes.media.write import encode_bytes
from rushes.records import Candidate, Clip, Row, Split, stable_hash
from rushes.store.database import Store
from rushes.store.layouts import Bench, detect_layout, read_bench, read_folder, read_realdpo
from rushes.store.layouts import Footage as Found
from rushes.world.render import render
from rushes.world.scenes import FPS, KINDS, SIZE_PX, draw_scenes

WORLD_SCALE = 4  # 32-px clips are stored at 128 px: a video file halves the resolution of colour
REALDPO_DATA = "the paper's own are in the folder finetune/data of github.com/Vchitect/RealDPO"
Tick = Callable[[], None]


@dataclass(frozen=True)
class Video:
    """A file that can be used, newly probed or stored before."""

    media: str  # content hash
    width_px: int
    height_px: int
    frames: int
    fps: float

    @property
    def shape(self) -> tuple[int, int, int, float]:
        """What a row says of it."""
        return self.width_px, self.height_px, self.frames, self.fps


@dataclass(frozen=True)
class Length:
    """How long clips must be: `frames` at `fps`; `largest(n)` is the largest usable count of at most n frames."""

    frames: int
    fps: float
    largest: Callable[[int], int]

    def available(self, video: Video) -> int:
        """Frames at `fps` that a video has, to a hundredth of a frame: containers round their times."""
        return math.ceil(video.frames / video.fps * self.fps - 0.01)


@dataclass(frozen=True)
class Imported:
    """What of some footage is in the project now."""

    clips: int
    held_out: int
    takes: int = 0
    takes_left_out: int = 0  # takes of held-out clips, which nothing may be trained on
    duplicates: int = 0  # files of one content, caption and first frame as another


def import_world(store: Store, footage: Footage, backbone: Backbone, seed: int, tick: Tick = lambda: None) -> Imported:
    """Render scenes of the embedded world as clips; held-out prompts come from another stream of the seed.

    Each clip has a seed of its own, so more clips later are the same ones and some more.

    Raises:
        ValueError: an unknown scene.
    """
    kinds = footage.scenes or tuple(KINDS)
    known = {clip.id for clip in store.clips(dropped=True)}
    made_from = settings_hash(footage)
    streams: tuple[tuple[Split, int], ...] = (("train", footage.clips), ("eval", footage.eval_prompts))
    for stream, (split, count) in enumerate(streams):
        for index in range(count):
            kind = kinds[index % len(kinds)]
            id = stable_hash(["world", seed, stream, index, kind, backbone.frames])
            if id not in known:
                (scene,) = draw_scenes([seed, stream, index], 1, (kind,), frames=backbone.frames)
                media = store.put_media_bytes(encode_bytes(render(scene), FPS, scale=WORLD_SCALE), ".mp4")
                side, source = SIZE_PX * WORLD_SCALE, f"world:{seed}/{stream}/{index}"
                shape = (side, side, backbone.frames, FPS)
                clip = Clip(id, media, scene.caption, *shape, source, split, "", "world", made_from)
                store.add([clip])
            tick()
    return Imported(footage.clips + footage.eval_prompts, footage.eval_prompts)


def find_footage(footage: Footage) -> tuple[Found, ...]:
    """Videos of the folder that the settings name.

    Raises:
        ValueError: no such folder, nothing in it, captions that do not fit.
    """
    folder = Path(footage.path)
    if not folder.is_dir():
        origin = f"; {REALDPO_DATA}" if footage.layout == "realdpo" else ""
        raise ValueError(f"footage.path: {folder} is not a folder; name the folder of your videos{origin}")
    layout = detect_layout(folder) if footage.layout == "auto" else footage.layout
    if layout == "realdpo":
        return read_realdpo(folder, allow_empty_captions=footage.allow_empty_captions)
    if layout == "folder":
        return read_folder(folder, footage.allow_empty_captions)
    raise ValueError(f"footage.path: {folder} holds videos of several systems, not footage; name it as footage.bench")


def find_bench(folder: Path) -> Bench:
    """Held-out prompts, their first frames, and the videos of other systems.

    Raises:
        ValueError: not such a folder, or without first frames.
    """
    if not folder.is_dir():
        raise ValueError(
            f"footage.bench: {folder} is not a folder; name one with prompts.txt, first_frames/ and a folder of "
            "videos for each system, or leave it empty and hold out clips with footage.eval_fraction"
        )
    bench = read_bench(folder)
    if not bench.first_frames:
        raise ValueError(f"footage.bench: {folder} has no folder first_frames; held-out prompts need one still each")
    return bench


def check_files(
    store: Store, found: Sequence[Found], bench: Bench | None, length: Length, tick: Tick = lambda: None
) -> dict[Path, Video]:
    """Facts of every video of some footage and of a bench; `tick` is called for each.

    Raises:
        ValueError: files that cannot be used, a line for each that says why.
    """
    stills = [item.first_frame for item in found if item.first_frame] + list(bench.first_frames if bench else ())
    checked: dict[Path, Video] = {}
    problems: list[str] = []
    stored = {row.media: row for row in _stored(store)}
    for path in all_videos(found, bench):
        try:
            media = content_hash(path)
            known = stored.get(media) or probe(path)  # what is stored was decoded then
            checked[path] = Video(media, known.width_px, known.height_px, known.frames, known.fps)
        except MediaError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror}); check the path and its permissions")
        tick()
    for still in stills:
        try:
            read_image(still)
        except MediaError as error:
            problems.append(str(error))
    problems += _too_short(checked, length)
    if problems:
        raise ValueError("\n".join(["nothing was imported, as some files cannot be used:", *problems]))
    return checked


def all_videos(found: Sequence[Found], bench: Bench | None) -> list[Path]:
    """Every video file once."""
    systems = bench.systems.values() if bench else ()
    of_footage = [path for item in found for path in (item.path, *item.takes)]
    return list(dict.fromkeys([*of_footage, *(path for paths in systems for path in paths)]))


def import_folder(store: Store, found: Sequence[Found], footage: Footage, checked: Mapping[Path, Video]) -> Imported:
    """Take videos, and takes that a model made of them, into the store.

    Raises:
        ValueError: more clips are to be held out than there are new ones.
    """
    ids = [_clip_id(item, checked[item.path].media) for item in found]
    held_out = _held_out(store, set(ids), footage.eval_fraction)
    known = {row.id for row in _stored(store)}
    takes = left_out = 0
    for id, item in zip(ids, found, strict=True):
        split: Split = "eval" if id in held_out else "train"
        clip = _clip(store, id, item, checked[item.path], split, settings_hash(footage))
        if id not in known:
            store.add([clip])
            known.add(id)
        if split == "eval":
            left_out += len(item.takes)
            continue
        for seed, path in enumerate(item.takes):
            take = _take(store, id, item.caption, split, path, checked[path], seed, item.takes_system)
            if take.id not in known:
                store.add([take])
            takes += 1
    distinct = len(set(ids))
    return Imported(distinct, len(held_out & set(ids)), takes, left_out, len(ids) - distinct)


def import_bench(store: Store, bench: Bench, checked: Mapping[Path, Video], fps: float) -> Imported:
    """Held-out prompts as clips of one frame at `fps`, and what other systems made of them as candidates."""
    known = {row.id for row in _stored(store)}
    for index, (prompt, still) in enumerate(zip(bench.prompts, bench.first_frames, strict=True)):
        height, width, _ = read_image(still).shape
        media = store.put_media(still)
        id = stable_hash(["bench", media, prompt])
        clip = Clip(id, media, prompt, width, height, 1, fps, str(still), "eval", media, made_by="import")
        # A run may have the same name as a system of the bench.
        made = [
            _take(store, id, prompt, "eval", paths[index], checked[paths[index]], 0, f"{system} (imported)")
            for system, paths in bench.systems.items()
        ]
        rows: list[Row] = [clip, *made]
        store.add(row for row in rows if row.id not in known)
    return Imported(len(bench.prompts), len(bench.prompts), len(bench.prompts) * len(bench.systems))


def _stored(store: Store) -> list[Clip | Candidate]:
    """Everything that was imported before."""
    return [*store.clips(dropped=True), *store.candidates(kind="imported", dropped=True)]


def _too_short(checked: Mapping[Path, Video], length: Length) -> list[str]:
    """A line for each video that is too short, and one that says what to do about it."""
    have = {path: length.available(video) for path, video in checked.items()}
    short = {path: frames for path, frames in have.items() if frames < length.frames}
    if not short:
        return []
    return [
        f"{path}: {checked[path].frames / checked[path].fps:.2f} s long, {frames} frames at {length.fps:g} fps"
        for path, frames in short.items()
    ] + [
        f"too short for backbone.frames = {length.frames}: leave them out, lower backbone.fps, or set backbone.frames "
        f"to {length.largest(min(short.values()))}, which the shortest of them has"
    ]


def _clip_id(item: Found, media: str) -> str:
    return stable_hash([media, item.caption, content_hash(item.first_frame) if item.first_frame else ""])


def _held_out(store: Store, ids: set[str], fraction: float) -> set[str]:
    """Ids of held-out clips: those that are held out already, and of the new ones those that sort first.

    Ids are hashes, so that their order is a draw, the same in a stage that was stopped and runs again.
    """
    held_out = {clip.id for clip in store.clips("eval", dropped=True)}
    fresh = sorted(ids - {clip.id for clip in store.clips(dropped=True)})
    wanted = min(max(1, round(fraction * len(ids))), len(ids) - 1) if fraction else 0
    missing = max(0, wanted - len(held_out & ids))
    if missing > len(fresh):
        raise ValueError(
            f"footage.eval_fraction: {wanted} of {len(ids)} clips are to be held out, but {len(held_out & ids)} are "
            "and those that may have been trained on stay on their side; start a new project, or add clips"
        )
    return held_out | set(fresh[:missing])


def _clip(store: Store, id: str, item: Found, video: Video, split: Split, made_from: str) -> Clip:
    media = store.put_media(item.path)
    still = store.put_media(item.first_frame) if item.first_frame else ""
    return Clip(id, media, item.caption, *video.shape, item.source, split, still, "import", made_from)


def _take(
    store: Store, clip_id: str, caption: str, split: Split, path: Path, video: Video, seed: int, system: str
) -> Candidate:
    media = store.put_media(path)
    id = stable_hash([clip_id, media, seed, system])
    made = (clip_id, clip_id, system, system, seed)
    return Candidate(id, media, caption, "imported", *made, *video.shape, split=split)
