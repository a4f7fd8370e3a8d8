from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rushes.backbones.tiny import TinyBackbone
from rushes.objectives.terms import Term
from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.checks import check_latents, same_picture
from rushes.training.comparison import Comparison, View
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

GRID = "49x480x720"


def test_realdpos_own_loser_latents_are_caught(real_data: Path) -> None:
    """Their loader fed 0..255 to the codec. All four clips start from the same picture."""
    folder = real_data / "realaction" / "train" / "latents"
    winner = load_file(folder / "video_latent" / "cogvideox-i2v" / GRID / "videos_4873105.safetensors")["encoded_video"]
    losers = sorted((folder / "lose_video_latent" / "cogvideox-i2v" / GRID / "videos_4873105").glob("*.safetensors"))
    assert len(losers) == 3
    for path in losers:
        loser = load_file(path)["encoded_video"]
        problem = same_picture(winner[:, 0], loser[:, 0])
        assert re.fullmatch(r"their latents correlate at 0\.[56]\d, which should be above 0\.9", problem), problem
    assert same_picture(winner[:, 0], winner[:, 0]) == ""
    noisy = winner[:, 0].float() + 0.1 * torch.randn(winner[:, 0].shape, generator=torch.Generator().manual_seed(0))
    assert same_picture(winner[:, 0], noisy) == ""


def test_flat_and_faded_pictures() -> None:
    flat, picture = torch.zeros(4, 2, 2), torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert same_picture(flat, flat) == ""
    assert "correlate" in same_picture(picture, flat) or "spreads" in same_picture(picture, flat)
    assert same_picture(flat, picture)
    assert "by a factor of 0.50" in same_picture(picture, 0.5 * picture)
    assert same_picture(picture, 0.9 * picture) == ""


@pytest.fixture
def world(tmp_path: Path) -> tuple[LatentStore, list[Comparison]]:
    """A true clip against a copy of it with another ending, both encoded as they should be."""
    codec = TinyBackbone.load()
    frames = render(draw_scenes(3, 1)[0])
    take = frames.copy()
    take[9:] = take[9]
    latents = LatentStore(tmp_path, "world")
    encoded = codec.encode(torch.stack([torch.from_numpy(f) for f in (frames, take)]).numpy())
    latents.put({"real": encoded[0], "take": encoded[1], first_frame_key("real"): codec.encode(frames[None, :1])[0]})
    unscaled = codec.codec.encode(torch.from_numpy(take[None]).float() / 255)[0]  # 0..1 where the codec wants -1..1
    latents.put({"unscaled": unscaled, "other": encoded[0].flip(-1)})
    return latents, [compare("take")]


def compare(loser: str, first_frame: str = "real") -> Comparison:
    views = (View("real", "a ball", first_frame, "real"), View(loser, "a ball", first_frame, "take"))
    return Comparison("pair", "a ball", views, (Term("clip", (1.0, -1.0), (0, 1, 1, 1, 1), 500.0),))


def test_clips_encoded_alike_pass(world: tuple[LatentStore, list[Comparison]]) -> None:
    latents, comparisons = world
    check_latents(comparisons, latents)


@pytest.mark.parametrize("loser", ["unscaled", "other"])
def test_a_loser_encoded_otherwise_is_refused(loser: str, world: tuple[LatentStore, list[Comparison]]) -> None:
    latents, comparisons = world
    with pytest.raises(ValueError) as refused:
        check_latents([*comparisons, compare(loser)], latents)
    text = str(refused.value)
    assert text.startswith(f"comparison pair: the take clip {loser} does not start from its given first frame (their ")
    assert "without normalising pixels" in text and "encode both through `rushes train`" in text


def test_without_a_first_frame_there_is_nothing_to_compare(world: tuple[LatentStore, list[Comparison]]) -> None:
    latents, _ = world
    check_latents([compare("unscaled", first_frame="")], latents)
