"""Scenes of the embedded world as clips."""

from __future__ import annotations

from collections.abc import Callable

from rushes.config.settings_files import settings_hash
from rushes.config.tables import BackboneSettings, FootageSettings
from rushes.footage.ingest import Imported
from rushes.media.write import encode_bytes
from rushes.records import Clip, Split, stable_hash
from rushes.store.database import Store
from rushes.world.render import render
from rushes.world.scenes import FPS, KINDS, SIZE_PX, draw_scenes

WORLD_SCALE = 4  # 32-px clips are stored at 128 px: a video file halves the resolution of colour
Tick = Callable[[], None]


def import_world(
    store: Store, footage: FootageSettings, backbone: BackboneSettings, seed: int, tick: Tick = lambda: None
) -> Imported:
    """Render scenes of the embedded world as clips; held-out prompts come from another stream of the seed.

    Each clip has a seed of its own, so more clips later are the same ones and some more.

    Raises:
        ValueError: an unknown scene.
    """
    kinds = footage.scenes or tuple(KINDS)
    imported_ids = {clip.id for clip in store.clips(dropped=True)}
    made_from = settings_hash(footage)
    streams: tuple[tuple[Split, int], ...] = (("train", footage.clips), ("eval", footage.eval_prompts))
    for stream, (split, count) in enumerate(streams):
        for index in range(count):
            kind = kinds[index % len(kinds)]
            id = stable_hash(["world", seed, stream, index, kind, backbone.frames])
            if id not in imported_ids:
                (scene,) = draw_scenes([seed, stream, index], 1, (kind,), frames=backbone.frames)
                media = store.put_media_bytes(encode_bytes(render(scene), FPS, scale=WORLD_SCALE), ".mp4")
                clip = Clip(
                    id,
                    media,
                    scene.caption,
                    width_px=SIZE_PX * WORLD_SCALE,
                    height_px=SIZE_PX * WORLD_SCALE,
                    frames=backbone.frames,
                    fps=FPS,
                    source=f"world:{seed}/{stream}/{index}",
                    split=split,
                    made_by="world",
                    settings_hash=made_from,
                )
                store.add([clip])
            tick()
    return Imported(footage.clips + footage.eval_prompts, footage.eval_prompts)
