"""Media to latents: once each, the same whatever is encoded beside it, and by one path for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rushes import encode
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import BackboneSettings
from rushes.edits.rearrange import swap_ends
from rushes.edits.renderings import flow
from rushes.edits.words import CODEC
from rushes.media.images import write_image
from rushes.media.write import write_video
from rushes.store.database import Store
from rushes.store.latents import LatentKey, LatentStore, first_frame_key

SIZE = BackboneSettings(height_px=32, width_px=48, frames=17)


@pytest.fixture(scope="module")
def backbone() -> TinyBackbone:
    return TinyBackbone.load()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "project") as made:
        yield made


@pytest.fixture
def latents(store: Store, backbone: TinyBackbone) -> LatentStore:
    return encode.open_latents(store, backbone, SIZE, "crop")


def film(store: Store, seed: int = 0, frames: int = 17, fps: float = 8) -> str:
    path = store.project / f"{seed}.mp4"
    rng = np.random.default_rng(seed)
    write_video(path, rng.integers(0, 255, (frames, 64, 96, 3), np.uint8), fps)
    return store.put_media(path)


def make(store: Store, latents: LatentStore, backbone: TinyBackbone, clips: list[str], firsts: list[str]) -> int:
    wanted = encode.jobs(latents, map(LatentKey.read, clips), [LatentKey(media, first=True) for media in firsts])
    encode.encode(store.media, latents, backbone, SIZE, "crop", wanted)
    return len(wanted)


def test_each_clip_and_first_frame_is_encoded_once(store: Store, latents: LatentStore, backbone: TinyBackbone) -> None:
    clips = [film(store, seed) for seed in range(3)]
    assert make(store, latents, backbone, [*clips, clips[0]], clips[:2]) == 5
    assert make(store, latents, backbone, clips, clips) == 1
    assert make(store, encode.open_latents(store, backbone, SIZE, "crop"), backbone, clips, clips) == 0
    whole, first = latents.get(clips[0]), latents.get(first_frame_key(clips[0]))
    assert whole is not None and whole.shape == (backbone.spec.channels, 5, 2, 3)
    assert first is not None and first.shape == (backbone.spec.channels, 1, 2, 3)
    assert torch.allclose(whole[:, :1], first, atol=1e-5)  # the codec is causal: frame 0 alone is frame 0


def test_latents_of_other_sizes_weights_and_crops_are_others(store: Store, backbone: TinyBackbone) -> None:
    other = TinyBackbone.load()
    other.codec.get_buffer("first_mean").add_(1)
    opened = [
        encode.open_latents(store, backbone, SIZE, "crop"),
        encode.open_latents(store, backbone, SIZE, "pad"),
        encode.open_latents(store, backbone, SIZE.model_copy(update={"frames": 21}), "crop"),
        encode.open_latents(store, backbone, SIZE.model_copy(update={"fps": 16.0}), "crop"),
        encode.open_latents(store, other, SIZE, "crop"),
    ]
    assert len({each.fingerprint for each in opened}) == 5


def test_memory_is_bounded_and_batches_do_not_matter(
    store: Store, backbone: TinyBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [film(store, seed) for seed in range(5)]
    sizes: list[int] = []
    inner = backbone.encode

    def counting(frames_BTHWC: np.ndarray) -> torch.Tensor:
        sizes.append(len(frames_BTHWC))
        return inner(frames_BTHWC)

    monkeypatch.setattr(backbone, "encode", counting)
    together, apart = (LatentStore(tmp_path / "project" / "latents", name) for name in ("together", "apart"))
    make(store, together, backbone, clips, [])
    monkeypatch.setattr(encode, "AT_ONCE_BYTES", 2 * 17 * 32 * 48 * 3)
    make(store, apart, backbone, clips, [])
    assert sizes == [5, 2, 2, 1]
    for key in clips:
        one, other = together.get(key), apart.get(key)
        assert one is not None and other is not None and torch.allclose(one, other, atol=1e-4)


def test_still_is_a_first_frame_too(store: Store, latents: LatentStore, backbone: TinyBackbone, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    write_image(tmp_path / "still.png", image)
    media = store.put_media(tmp_path / "still.png")
    assert np.array_equal(encode.read_first_frame(store.media_path(media), SIZE, "crop"), image[None])
    make(store, latents, backbone, [], [media])
    encoded = latents.get(first_frame_key(media))
    assert encoded is not None and torch.equal(encoded, backbone.encode(image[None, None])[0])


def test_latents_have_the_shape_that_their_names_say_and_mirrored_ones_are_mirrored(
    store: Store, latents: LatentStore, backbone: TinyBackbone, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    write_image(tmp_path / "still.png", image)
    media = store.put_media(tmp_path / "still.png")
    plain, turned = (LatentKey(media, edit, first=True) for edit in ("", "mirror"))
    tall = LatentKey(media, first=True, shape="9x48x32")
    wanted = encode.jobs(latents, [], [plain, tall, turned, plain])
    assert wanted == [plain, turned, tall]
    encode.encode(store.media, latents, backbone, SIZE, "crop", wanted)
    mirrored, upright = latents.get(str(turned)), latents.get(str(tall))
    assert mirrored is not None and torch.equal(mirrored, backbone.encode(image[None, None, :, ::-1].copy())[0])
    assert upright is not None and upright.shape[1:] == (1, 3, 2)


def test_clips_are_resampled_by_time(store: Store) -> None:
    path = store.project / "fast.mp4"
    levels = np.arange(34, dtype=np.uint8) * 7
    write_video(path, np.broadcast_to(levels[:, None, None, None], (34, 32, 48, 3)).copy(), 16)
    frames = encode.read_clip(path, SIZE, "crop")
    assert np.allclose(frames.mean((1, 2, 3)), levels[::2], atol=3)


def test_clip_that_is_too_short_is_named(store: Store, latents: LatentStore, backbone: TinyBackbone) -> None:
    media = film(store, frames=12)
    with pytest.raises(ValueError, match=rf"{media}\.mp4: 12 frames at 8 fps from 0 s on, but 17 are wanted"):
        make(store, latents, backbone, [media], [])
    assert len(latents) == 0


def test_a_trip_through_the_codec_leaves_its_traces(store: Store, latents: LatentStore, backbone: TinyBackbone) -> None:
    """encode(decode(encode(x))) under a key of its own; other clips of the batch are as they were."""
    one, other = film(store, 1), film(store, 2)
    assert make(store, latents, backbone, [str(LatentKey(one, CODEC)), other, one], []) == 3
    frames = encode.read_clip(store.media_path(one), SIZE, "crop")
    once = backbone.decode(backbone.encode(frames[None]))
    tripped, plain = latents.get(str(LatentKey(one, CODEC))), latents.get(one)
    assert tripped is not None and plain is not None
    assert torch.equal(tripped.float(), backbone.encode(once)[0]) and not torch.equal(tripped, plain)
    twice = backbone.encode(backbone.decode(backbone.encode(once)))[0]
    assert (tripped - twice).norm() < (tripped - plain).norm()  # the first trip takes the most


def test_an_edit_is_made_between_file_and_codec(store: Store, latents: LatentStore, backbone: TinyBackbone) -> None:
    one, other = film(store, 1), film(store, 2)
    keys = [
        one,
        str(LatentKey(one, "swap-ends:2")),
        str(LatentKey(one, f"flow:{other}")),
        str(LatentKey(other, f"flow:{one}")),
    ]
    assert make(store, latents, backbone, [*keys, keys[1]], []) == 4
    assert make(store, latents, backbone, keys, []) == 0
    first, second = (encode.read_clip(store.media_path(media), SIZE, "crop") for media in (one, other))
    expected = [first, swap_ends(first, 2), flow(first, second), flow(second, first)]
    for key, frames in zip(keys, expected, strict=True):
        found = latents.get(key)
        assert found is not None and torch.allclose(found, backbone.encode(frames[None])[0], atol=1e-4)


def test_a_clip_that_an_edit_cannot_take_is_named(store: Store, latents: LatentStore, backbone: TinyBackbone) -> None:
    media = film(store)
    with pytest.raises(ValueError, match=rf"clip {media[:12]} cannot be edited \(swap-ends:9\): 9 frames at each end"):
        make(store, latents, backbone, [str(LatentKey(media, "swap-ends:9"))], [])
    with pytest.raises(ValueError, match=r"unknown edit 'revers': did you mean 'reverse'"):
        make(store, latents, backbone, [str(LatentKey(media, "revers"))], [])
