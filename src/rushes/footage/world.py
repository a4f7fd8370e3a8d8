"""Scenes of the embedded world as clips."""

from __future__ import annotations

from collections.abc import Iterator

from rushes.config.clip_shapes import ClipShape
from rushes.config.settings_files import settings_hash
from rushes.config.tables import BackboneSettings, FootageSettings
from rushes.files import content_hash
from rushes.footage.ingest import Imported, check_again
from rushes.media.write import encode_bytes
from rushes.progress import Bar, no_bar
from rushes.records import Clip, Split, stable_hash
from rushes.store.database import Store
from rushes.world.mechanics import FPS, FRAMES, SIZE_PX
from rushes.world.render import render
from rushes.world.scenes import KINDS, draw_scenes

WORLD_SCALE = ClipShape(SIZE_PX, SIZE_PX, FRAMES).stored_scale  # clips are stored as takes are
_SPLITS: tuple[Split, ...] = ("train", "eval")  # of the two streams


def world_scenes(
    footage: FootageSettings, backbone: BackboneSettings, seed: int
) -> Iterator[tuple[str, int, int, str]]:
    """Id of the clip, stream, place in it and kind, for each scene that the settings ask for."""
    kinds = footage.scenes or KINDS
    for stream, count in enumerate((footage.clips, footage.eval_prompts)):
        for index in range(count):
            kind = kinds[index % len(kinds)]
            yield stable_hash(["world", seed, stream, index, kind, backbone.frames]), stream, index, kind


def import_world(
    store: Store, footage: FootageSettings, backbone: BackboneSettings, seed: int, bar: Bar = no_bar
) -> tuple[Imported, set[str]]:
    """Render scenes of the embedded world as clips; held-out prompts come from another stream of the seed.

    Each clip has a seed of its own, so more clips later are the same ones and some more.

    Returns:
        What was imported, and the ids of its clips.

    Raises:
        ValueError: an unknown scene.
    """
    made_from, scenes = settings_hash(footage), list(world_scenes(footage, backbone, seed))
    with bar("import", len(scenes)) as tick:
        for id, stream, index, kind in scenes:
            stored = store.find(id)
            if not isinstance(stored, Clip) or not store.media.sound(stored.media):
                (scene,) = draw_scenes([seed, stream, index], 1, (kind,), frames=backbone.frames)
                video = encode_bytes(render(scene), FPS, scale=WORLD_SCALE)
                check_again(stored, content_hash(video), f"scene {seed}/{stream}/{index}")
                media = store.put_media_bytes(video, ".mp4")
                clip = Clip(
                    id,
                    media,
                    scene.caption,
                    width_px=SIZE_PX * WORLD_SCALE,
                    height_px=SIZE_PX * WORLD_SCALE,
                    frames=backbone.frames,
                    fps=FPS,
                    source=f"world:{seed}/{stream}/{index}",
                    split=_SPLITS[stream],
                    made_by="world",
                    settings_hash=made_from,
                )
                store.add([clip])
            tick(1)
    return Imported(footage.clips + footage.eval_prompts, footage.eval_prompts), {id for id, *_ in scenes}
