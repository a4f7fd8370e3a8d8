"""The first stage: real clips into the store, from a folder or from the embedded world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rushes.config.tables import Backbone, Footage
from rushes.media.read import VideoInfo, probe, read_video
from rushes.media.write import encode_bytes
from rushes.records import Candidate, Clip, Split, stable_hash
from rushes.store.database import Store
from rushes.store.layouts import Footage as Found
from rushes.media.images import read_image
from rushes.store.layouts import Bench, detect_layout, read_bench, read_folder, read_realdpo
from rushes.world.render import render
from rushes.world.scenes import FPS, KINDS, SIZE_PX, Scene, draw_scenes

WORLD_SCALE = 4  # 32-px clips are stored at 128 px: a video file halves the resolution of colour
Tick = Callable[[], None]


@dataclass(frozen=True)
class Imported:
    """What the stage did."""

    clips: int
    takes: int


def import_world(store: Store, footage: Footage, backbone: Backbone, seed: int, tick: Tick = lambda: None) -> Imported:
    """Render scenes of the embedded world as clips; held-out prompts come from another stream of the seed.

    Raises:
        ValueError: an unknown scene.
    """
    kinds = footage.scenes or tuple(KINDS)
    for split, stream, count in (("train", 0, footage.clips), ("eval", 1, footage.eval_prompts)):
        known = {clip.id for clip in store.clips(split)}
        for index, scene in enumerate(draw_scenes([seed, stream], count, kinds, frames=backbone.frames)):
            id = stable_hash(["world", seed, stream, index, list(kinds), backbone.frames])
            if id not in known:
                store.add([_world_clip(store, scene, id, split, f"world:{seed}/{stream}/{index}")])
            tick()
    return Imported(len(store.clips()), 0)


def _world_clip(store: Store, scene: Scene, id: str, split: Split, source: str) -> Clip:
    frames = render(scene)
    media = store.put_media_bytes(encode_bytes(frames, FPS, scale=WORLD_SCALE), ".mp4")
    side = SIZE_PX * WORLD_SCALE
    return Clip(id, media, scene.caption, side, side, len(frames), FPS, source, split, made_by="world")


def find_footage(footage: Footage) -> tuple[Found, ...]:
    """Videos of the folder that the settings name.

    Raises:
        ValueError: no such folder, nothing in it, captions that do not fit.
    """
    folder = Path(footage.path)
    if not folder.is_dir():
        raise ValueError(f"footage.path: {folder} is not a folder; set it to the folder of your videos")
    layout = detect_layout(folder) if footage.layout == "auto" else footage.layout
    if layout == "realdpo":
        return read_realdpo(folder, allow_empty_captions=footage.allow_empty_captions)
    if layout == "folder":
        return read_folder(folder, footage.allow_empty_captions)
    raise ValueError(f"footage.path: {folder} holds videos of several systems, not footage; name it as footage.bench")


def import_folder(
    store: Store, found: Sequence[Found], footage: Footage, backbone: Backbone, tick: Tick = lambda: None
) -> Imported:
    """Take videos, and takes that a model made of them, into the store. Files are checked first, all of them.

    Raises:
        ValueError: one line for each file that cannot be used, and why; nothing is stored then.
    """
    checked = _check_all((path for item in found for path in (item.path, *item.takes)), backbone, tick)
    evaluated = _held_out(found, footage.eval_fraction)
    takes = 0
    for index, item in enumerate(found):
        split: Split = "eval" if index in evaluated else "train"
        clip = _clip(store, item, checked[item.path], split)
        store.add([clip])
        for seed, path in enumerate(item.takes if split == "train" else ()):
            store.add([_take(store, clip, path, checked[path], seed, item.takes_system)])
            takes += 1
    return Imported(len(found), takes)


def find_bench(folder: Path) -> Bench:
    """Held-out prompts, their first frames, and the videos of other systems.

    Raises:
        ValueError: not such a folder, or without first frames.
    """
    bench = read_bench(folder)
    if not bench.first_frames:
        raise ValueError(f"footage.bench: {folder} has no folder first_frames; held-out prompts need one still each")
    return bench


def import_bench(store: Store, bench: Bench, backbone: Backbone, tick: Tick = lambda: None) -> Imported:
    """Held-out prompts as clips of one frame, and what other systems made of them as candidates.

    Raises:
        ValueError: one line for each video that cannot be used; nothing is stored then.
    """
    checked = _check_all([path for paths in bench.systems.values() for path in paths], backbone, tick)
    for index, (prompt, still) in enumerate(zip(bench.prompts, bench.first_frames, strict=True)):
        height, width, _ = read_image(still).shape
        media = store.put_media(still)
        id = stable_hash(["bench", media, prompt])
        clip = Clip(id, media, prompt, width, height, 1, backbone.fps, str(still), "eval", media, made_by="import")
        made = [_take(store, clip, paths[index], checked[paths[index]], 0, s) for s, paths in bench.systems.items()]
        store.add([clip, *made])
    return Imported(len(bench.prompts), len(checked))


def _check_all(paths: Iterable[Path], backbone: Backbone, tick: Tick) -> dict[Path, VideoInfo]:
    """Facts of every file, or one error that names all that cannot be used."""
    problems = []
    checked: dict[Path, VideoInfo] = {}
    for path in dict.fromkeys(paths):
        try:
            info = probe(path)
            read_video(path, fps=backbone.fps, frames=backbone.frames)  # long enough at the backbone's rate
            checked[path] = info
        except ValueError as error:
            problems.append(str(error))
        tick()
    if problems:
        count = f"{len(problems)} of {len(checked) + len(problems)} files cannot be used"
        raise ValueError("\n".join([f"{count}, so nothing was imported:", *problems]))
    return checked


def _held_out(found: Sequence[Found], fraction: float) -> set[int]:
    """Indices of held-out clips: those whose names hash lowest, so that a rerun holds out the same."""
    order = sorted(range(len(found)), key=lambda i: stable_hash(found[i].source))
    return set(order[: round(fraction * len(found))])


def _clip(store: Store, item: Found, info: VideoInfo, split: Split) -> Clip:
    media = store.put_media(item.path)
    still = store.put_media(item.first_frame) if item.first_frame else ""
    return Clip(
        id=stable_hash([media, item.caption, still, split]),
        media=media,
        caption=item.caption,
        width_px=info.width_px,
        height_px=info.height_px,
        frames=info.frames,
        fps=info.fps,
        source=item.source,
        split=split,
        first_frame=still,
        made_by="import",
    )


def _take(store: Store, clip: Clip, path: Path, info: VideoInfo, seed: int, system: str) -> Candidate:
    media = store.put_media(path)
    return Candidate(
        id=stable_hash([clip.id, media, seed]),
        media=media,
        caption=clip.caption,
        kind="imported",
        group=clip.id,
        clip_id=clip.id,
        system=system,
        made_by=system,
        seed=seed,
        width_px=info.width_px,
        height_px=info.height_px,
        frames=info.frames,
        fps=info.fps,
        split=clip.split,
    )
