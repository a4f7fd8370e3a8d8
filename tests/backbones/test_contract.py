"""What holds for every backbone that ships: each is found by its name, loaded with its bundled weights, and asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rushes.backbones.adapters import add_lora, merge_lora
from rushes.backbones.base import Backbone, Condition
from rushes.backbones.loading import load_backbone
from rushes.backbones.sampling import sample
from rushes.backbones.table import backbone_names
from rushes.noise.paths import sampling_times
from rushes.world.render import render
from rushes.world.scenes import KINDS, draw_scenes

CLIPS = 6
# Families of diffusers ship no weights: tests/backbones/test_pipelines.py has what holds for them.
every_backbone = pytest.mark.parametrize("name", ["tiny"])


@pytest.fixture
def loaded() -> Callable[[str], Backbone]:
    return load_backbone


@pytest.fixture(scope="module")
def shared() -> Callable[[str], Backbone]:
    """Read only."""
    known: dict[str, Backbone] = {}
    return lambda name: known[name] if name in known else known.setdefault(name, load_backbone(name))


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """[B, T, H, W, 3], one of each scene."""
    return np.stack([render(scene) for scene in draw_scenes(11, CLIPS)])


def captions() -> list[str]:
    return [scene.caption for scene in draw_scenes(11, CLIPS)]


def noise_like(latents: Tensor, seed: int = 0) -> Tensor:
    return torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))


def takes(backbone: Backbone, latents: Tensor, words: Sequence[str], **more: Any) -> Tensor:
    """Four-step samples from noise under the clips' first frames where the model takes any."""
    first = latents[:, :, 0] if "first_frame" in backbone.spec.modes else None
    condition = backbone.condition(words, first)
    return sample(backbone, condition, noise_like(latents), steps=4, shift=backbone.spec.shift, **more)


def test_every_backbone_is_collected() -> None:
    assert "tiny" in backbone_names()


@every_backbone
def test_spec_says_what_the_model_is(name: str, shared: Callable[[str], Backbone]) -> None:
    spec = shared(name).spec
    assert spec.name == name and "text" in spec.modes and set(spec.modes) <= {"text", "first_frame"}
    assert spec.fps > 0 and spec.shift > 0
    r = spec.temporal_ratio
    assert [spec.latent_frames(1 + k * r) for k in range(4)] == [1, 2, 3, 4]
    layers = {path.rsplit(".", 1)[-1] for path, _ in shared(name).network.named_modules()}
    assert set(spec.lora_targets) <= layers


@every_backbone
@pytest.mark.parametrize("frames", [0, -3, 2, 16])
def test_frames_that_the_codec_cannot_take(name: str, frames: int, shared: Callable[[str], Backbone]) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs 1 \+ \d+ k frames, got {frames}; use \d+ or \d+"):
        shared(name).spec.latent_frames(frames)


@every_backbone
def test_clips_that_the_codec_cannot_take(name: str, clips: np.ndarray, shared: Callable[[str], Backbone]) -> None:
    backbone = shared(name)
    with pytest.raises(ValueError, match=rf"{name} needs 1 \+ \d+ k frames, got 16; use 13 or 17"):
        backbone.encode(clips[:, :16])
    for cut in (clips[:, :, :30], clips[:, :, :, :31]):
        with pytest.raises(ValueError, match=rf"{name} needs heights and widths that are multiples of \d+ px, got"):
            backbone.encode(cut)


@every_backbone
def test_codec_shapes_and_round_trip(name: str, clips: np.ndarray, shared: Callable[[str], Backbone]) -> None:
    backbone = shared(name)
    spec = backbone.spec
    latents = backbone.encode(clips)
    b, t, h, w, _ = clips.shape
    assert latents.shape == (b, spec.channels, spec.latent_frames(t), h // spec.spatial_ratio, w // spec.spatial_ratio)
    assert latents.dtype == torch.float32 and not latents.requires_grad
    back = backbone.decode(latents)
    assert back.shape == clips.shape and back.dtype == np.uint8
    error = ((back.astype(float) - clips) ** 2).mean((1, 2, 3, 4))
    assert (10 * np.log10(255**2 / error)).min() > 30


@every_backbone
def test_a_still_is_a_clip_of_one_frame(name: str, clips: np.ndarray, shared: Callable[[str], Backbone]) -> None:
    """So the latent of a given first frame is that of the clip it was taken from."""
    backbone = shared(name)
    alone = backbone.encode(clips[:, :1])
    torch.testing.assert_close(alone, backbone.encode(clips)[:, :, :1], rtol=1e-4, atol=1e-4)


@every_backbone
def test_each_latent_frame_sees_its_own_pixel_frames(
    name: str, clips: np.ndarray, shared: Callable[[str], Backbone]
) -> None:
    """Frame 0 sees pixel frame 0 alone; frame k at least its own r frames and nothing that comes after them."""
    backbone = shared(name)
    r = backbone.spec.temporal_ratio
    clip = clips[:1]
    before = backbone.encode(clip)
    for pixel in range(clip.shape[1]):
        changed = clip.copy()
        changed[:, pixel, 10:20, 10:20] ^= 255
        apart = (backbone.encode(changed) - before).abs().amax((0, 1, 3, 4)) > 1e-3
        own = 0 if pixel == 0 else 1 + (pixel - 1) // r
        assert apart[own] and not apart[:own].any(), pixel


def test_tinys_latent_frames_see_no_other_frames(clips: np.ndarray, shared: Callable[[str], Backbone]) -> None:
    """Its codec has no memory, so labels per latent frame are labels of those four pixel frames alone."""
    backbone = shared("tiny")
    before = backbone.encode(clips[:1])
    for pixel in (0, 1, 4, 5, 16):
        changed = clips[:1].copy()
        changed[:, pixel] ^= 255
        apart = (backbone.encode(changed) - before).abs().amax((0, 1, 3, 4)) > 0
        assert apart.nonzero().flatten().tolist() == [0 if pixel == 0 else 1 + (pixel - 1) // 4]


@every_backbone
def test_prediction_hangs_on_noise_time_words_and_first_frame(
    name: str, clips: np.ndarray, shared: Callable[[str], Backbone]
) -> None:
    backbone = shared(name)
    latents = backbone.encode(clips[:2])
    words = captions()[:2]
    given = "first_frame" in backbone.spec.modes
    first = latents[:, :, 0] if given else None
    t = torch.full((2, latents.shape[2]), 0.7)

    def ask(x: Tensor = latents, at: Tensor = t, condition: Condition | None = None) -> Tensor:
        return backbone.predict(x, at, condition or backbone.condition(words, first)).detach()

    base = ask()
    assert base.shape == latents.shape and torch.isfinite(base).all()
    others = [ask(x=latents + 0.3), ask(at=t / 2), ask(condition=backbone.condition(words[::-1], first))]
    if first is not None:
        others += [
            ask(condition=backbone.condition(words, first + 0.3)),
            ask(condition=backbone.condition(words, None)),
        ]
    for other in others:
        assert (other - base).abs().max() > 1e-4


@every_backbone
def test_a_given_first_frame_stays(name: str, clips: np.ndarray, shared: Callable[[str], Backbone]) -> None:
    backbone = shared(name)
    if "first_frame" not in backbone.spec.modes:
        pytest.skip(f"{name} cannot start from a first frame")
    latents = backbone.encode(clips)
    made = takes(backbone, latents, captions())
    assert torch.equal(made[:, :, 0], latents[:, :, 0])
    assert not torch.equal(made[:, :, 1:], latents[:, :, 1:])


@every_backbone
def test_the_same_noise_gives_the_same_take(name: str, clips: np.ndarray, shared: Callable[[str], Backbone]) -> None:
    backbone = shared(name)
    latents = backbone.encode(clips)
    assert torch.equal(takes(backbone, latents, captions()), takes(backbone, latents, captions()))


@every_backbone
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_take_does_not_depend_on_its_batch(
    name: str, guidance: float, clips: np.ndarray, shared: Callable[[str], Backbone]
) -> None:
    """Nor on how long the captions beside it are."""
    backbone = shared(name)
    latents, words = backbone.encode(clips), captions()
    words[1] = "a ball " * 30
    first = latents[:, :, 0] if "first_frame" in backbone.spec.modes else None
    noise = noise_like(latents)

    def make(rows: slice) -> Tensor:
        its = None if first is None else first[rows]
        return sample(
            backbone,
            backbone.condition(words[rows], its),
            noise[rows],
            steps=4,
            shift=backbone.spec.shift,
            guidance=guidance,
            unconditional=backbone.condition([""] * len(words[rows]), its),
        )

    together = make(slice(None))
    for row in (0, 3):
        torch.testing.assert_close(make(slice(row, row + 1)), together[row : row + 1], rtol=0, atol=5e-4)


class Watched:
    """A backbone that keeps what it was asked."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.spec = backbone, backbone.spec
        self.asked: list[tuple[Tensor, Tensor]] = []

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        self.asked.append((noised_BCFHW.clone(), t_BF.clone()))
        return self.backbone.predict(noised_BCFHW, t_BF, condition)


@every_backbone
@pytest.mark.parametrize("given", [True, False])
def test_guided_sampling_starts_from_the_mix(
    name: str, given: bool, clips: np.ndarray, shared: Callable[[str], Backbone]
) -> None:
    backbone = shared(name)
    if given and "first_frame" not in backbone.spec.modes:
        pytest.skip(f"{name} cannot start from a first frame")
    latents, eta = backbone.encode(clips[:2]), 0.7
    noise = noise_like(latents)
    watched: Any = Watched(backbone)
    condition = backbone.condition(captions()[:2], latents[:, :, 0] if given else None)
    sample(watched, condition, noise, steps=8, shift=4.0, start_BCFHW=latents, eta=eta)
    x, t = watched.asked[0]
    level = torch.full((2, latents.shape[2]), eta)
    level[:, 0] = 0.0 if given else eta
    assert torch.equal(t, level)
    assert torch.equal(x, backbone.spec.path.mix(latents, noise, level))
    assert len(watched.asked) == len(sampling_times(8, 4.0, eta)) - 1 < 8
    falling = [float(at[0, -1]) for _, at in watched.asked]
    assert falling == sorted(falling, reverse=True) and falling[-1] > 0


@every_backbone
def test_any_words_will_do(name: str, clips: np.ndarray, shared: Callable[[str], Backbone]) -> None:
    backbone = shared(name)
    latents = backbone.encode(clips[:1])
    for words in (
        "",
        "!?",
        "  \n",
        "xyzzy frobnicates",
        "小球落下",
        "🏀 ⛹️",
        "e\u0301",
        "\ud800",
        "ball " * 5000,
        "\x00",
    ):
        made = backbone.predict(latents, torch.full((1, latents.shape[2]), 0.5), backbone.condition([words]))
        assert torch.isfinite(made).all(), words


@every_backbone
def test_what_is_saved_is_loaded(name: str, clips: np.ndarray, tmp_path: Path, loaded: Callable[..., Backbone]) -> None:
    one = loaded(name)
    with torch.no_grad():
        next(iter(one.network.parameters())).add_(0.1)
    one.save(tmp_path / "weights.safetensors")
    other = load_backbone(name, str(tmp_path / "weights.safetensors"))
    assert (one.fingerprint, one.codec_fingerprint) == (other.fingerprint, other.codec_fingerprint)
    assert one.fingerprint != loaded(name).fingerprint
    latents = one.encode(clips[:1])
    assert torch.equal(latents, other.encode(clips[:1]))
    t, condition = torch.full((1, latents.shape[2]), 0.5), one.condition(captions()[:1])
    assert torch.equal(one.predict(latents, t, condition), other.predict(latents, t, condition))


@every_backbone
def test_files_that_are_no_weights_of_it(name: str, tmp_path: Path, loaded: Callable[..., Backbone]) -> None:
    missing, folder, text = tmp_path / "none.safetensors", tmp_path / "folder", tmp_path / "text.safetensors"
    folder.mkdir()
    text.write_text("not tensors")
    torn = tmp_path / "torn.safetensors"
    loaded(name).save(torn)
    torn.write_bytes(torn.read_bytes()[:-1000])
    for path in (missing, folder, text, torn):
        with pytest.raises(
            ValueError, match=rf"{path.name}: (no such weights file; leave|not the weights of a {name})"
        ):
            load_backbone(name, str(path))


@every_backbone
def test_merged_adapters_answer_as_before(
    name: str, clips: np.ndarray, loaded: Callable[..., Backbone], shared: Callable[[str], Backbone]
) -> None:
    backbone = loaded(name)
    names = set(backbone.network.state_dict())
    add_lora(backbone.network, backbone.spec.lora_targets, rank=4, alpha=8)
    generator = torch.Generator().manual_seed(0)
    for p in backbone.network.parameters():
        if p.requires_grad:
            p.data = 0.05 * torch.randn(p.shape, generator=generator)
    latents = backbone.encode(clips[:2])
    t, condition = torch.full((2, latents.shape[2]), 0.5), backbone.condition(captions()[:2])
    with torch.no_grad():
        base = shared(name).predict(latents, t, condition)
        adapted = backbone.predict(latents, t, condition)
        merge_lora(backbone.network)
        merged = backbone.predict(latents, t, condition)
    assert (adapted - base).abs().max() > 1e-2
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    assert set(backbone.network.state_dict()) == names


@every_backbone
def test_the_fingerprint_changes_with_any_weight(name: str, loaded: Callable[..., Backbone]) -> None:
    backbone: Any = loaded(name)
    whole, codec = backbone.fingerprint, backbone.codec_fingerprint
    parts = {"network": backbone.network.state_dict(), "codec": backbone.codec.state_dict()}
    for part, state in parts.items():
        for key, tensor in list(state.items())[:: max(1, len(state) // 12)]:
            last = tensor.view(-1)[-1:]
            kept = last.clone()
            last += 0.5
            assert backbone.fingerprint != whole, key
            assert (backbone.codec_fingerprint != codec) is (part == "codec"), key
            last.copy_(kept)
    assert (backbone.fingerprint, backbone.codec_fingerprint) == (whole, codec)


@every_backbone
def test_bundled_weights_are_loaded_by_an_empty_path(name: str, shared: Callable[[str], Backbone]) -> None:
    assert load_backbone(name, "").fingerprint == shared(name).fingerprint


@every_backbone
def test_only_the_network_is_trainable(name: str, shared: Callable[[str], Backbone]) -> None:
    backbone: Any = shared(name)
    assert all(p.dtype == torch.float32 for p in backbone.network.parameters())
    assert not list(backbone.codec.parameters())
    assert not backbone.network.training
    assert len(KINDS) <= CLIPS  # the clips above have every scene
