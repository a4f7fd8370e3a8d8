from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rushes.backbones.tiny import LONGEST, WORDS, PatchCodec, TinyBackbone, TinyConfig, grid_features, word_ids

SMALL = TinyConfig(channels=4, width=24, depth=2, heads=2)


def test_patches_and_back() -> None:
    frames = torch.rand(2, 8, 32, 48, 3)
    patches = PatchCodec(1).patches(frames, 4)
    assert patches.shape == (2, 2, 2, 3, 4 * 16 * 16 * 3)
    assert torch.equal(PatchCodec(1).unpatched(patches, 4), frames)
    block = patches[1, 1, 0, 2].view(4, 16, 16, 3)
    assert torch.equal(block, frames[1, 4:8, 0:16, 32:48])


def test_a_complete_basis_loses_nothing() -> None:
    """With as many channels as a first-frame patch has values, the first frame comes back to the last level."""
    backbone = TinyBackbone(TinyConfig(channels=768, width=24, depth=1, heads=2))
    basis = torch.linalg.qr(torch.randn(768, 768, generator=torch.Generator().manual_seed(0)))[0]
    backbone.codec.get_buffer("first_basis").copy_(basis)
    backbone.codec.get_buffer("first_scale").uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(1))
    backbone.codec.get_buffer("first_mean").fill_(0.1)
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 16, 3), dtype=np.uint8)
    assert np.array_equal(backbone.decode(backbone.encode(frames)), frames)


def test_decoding_stays_within_a_byte() -> None:
    backbone = TinyBackbone(SMALL)
    backbone.codec.get_buffer("first_mean").fill_(5.0)
    backbone.codec.get_buffer("block_mean").fill_(-5.0)
    frames = backbone.decode(torch.zeros(1, 4, 2, 1, 1))
    assert (frames[:, 0] == 255).all() and (frames[:, 1:] == 0).all()


def test_words_are_hashed_alike_everywhere() -> None:
    """The numbers are those that the bundled weights were trained with."""
    assert word_ids("A red ball, a RED ball!") == [706, 913, 51, 706, 913, 51]
    assert word_ids("red") == word_ids("RED!") and word_ids("") == []
    assert len(word_ids("ball " * 500)) == LONGEST
    ids = {i for n in range(20_000) for i in word_ids(f"word{n}")}
    assert min(ids) == 1 and max(ids) == WORDS - 1  # 0 is padding


def test_captions_are_padded_with_nothing() -> None:
    backbone = TinyBackbone(SMALL)
    text = backbone.condition(["one two three", "", "one"]).text
    assert text.shape == (3, 3) and text.dtype == torch.long
    assert (text > 0).sum(1).tolist() == [3, 0, 1]
    assert backbone.condition([""]).text.tolist() == [[0]]


def test_word_order_counts() -> None:
    backbone = TinyBackbone(SMALL)
    for p in backbone.network.parameters():
        p.data = 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    x, t = torch.randn(1, 4, 2, 1, 1, generator=torch.Generator().manual_seed(0)), torch.full((1, 2), 0.5)
    one, other = (backbone.predict(x, t, backbone.condition([c])) for c in ("red left of blue", "blue left of red"))
    assert (one - other).abs().max() > 1e-3


def test_positions_tell_all_places_apart_and_fit_any_grid() -> None:
    for grid in ((5, 4, 4), (2, 3, 7)):
        features = grid_features(*grid, 128)
        assert features.shape == (np.prod(grid), 128)
        apart = torch.cdist(features, features) + 10 * torch.eye(len(features))
        assert apart.min() > 0.5


def test_a_fresh_network_predicts_zero() -> None:
    """Its last layer starts at zero, as usual for a diffusion transformer."""
    backbone = TinyBackbone(SMALL)
    x = torch.randn(1, 4, 2, 2, 2)
    assert not backbone.predict(x, torch.full((1, 2), 0.5), backbone.condition(["a"])).any()


@pytest.mark.parametrize("changes", [{"width": 48}, {"channels": 8}, {"depth": 3}])
def test_sizes_are_read_from_the_file(changes: dict[str, int], tmp_path: Path) -> None:
    config = TinyConfig(**{**vars(SMALL), **changes})
    path = tmp_path / "weights.safetensors"
    TinyBackbone(config).save(path)
    assert TinyBackbone.load(path).config == config


def test_a_first_frame_at_time_zero_is_seen_by_the_rest() -> None:
    """Only latent frame 0 is changed, and the prediction of the last frame with it."""
    backbone = TinyBackbone(SMALL)
    for p in backbone.network.parameters():
        p.data = 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    x = torch.randn(1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([[0.0, 0.6, 0.6]])
    other = x.clone()
    other[:, :, 0] += 1.0
    condition = backbone.condition(["a ball"])
    apart = backbone.predict(x, t, condition) - backbone.predict(other, t, condition)
    assert apart[:, :, 2].abs().max() > 1e-3
