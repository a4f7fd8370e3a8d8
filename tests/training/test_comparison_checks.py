from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rushes.backbones.tiny import TinyBackbone
from rushes.objectives.terms import Term
from rushes.store.latents import LatentKey, LatentStore, first_frame_key
from rushes.training.comparison import OWN, Comparison, View
from rushes.training.comparison_checks import (
    NEARLY,
    check_folder,
    check_latents,
    drop_degenerate_terms,
    same_picture,
    unlike,
)
from rushes.world.render import render
from rushes.world.scenes import draw_scenes

GRID = "49x480x720"


def test_a_folder_of_released_latents_is_checked_whole(real_data: Path, tmp_path: Path) -> None:
    """CogVideoX, 16 x 13 x 60 x 90. Beside the released losers one that came the winner's way."""
    released = real_data / "realaction" / "train" / "latents"
    found = check_folder(released)
    assert [Path(path).name for path in found] == ["0.safetensors", "1.safetensors", "2.safetensors"]
    assert all("should be above 0.9" in problem for problem in found.values())

    folder = Path(shutil.copytree(released, tmp_path / "latents"))
    winner = load_file(next(folder.glob("video_latent/*/*/*.safetensors")))["encoded_video"]
    losers = next(folder.glob("lose_video_latent/*/*/*/"))
    take = torch.cat([winner[:, :1], winner.flip(1)[:, 1:]], 1)  # starts from the same picture and goes on otherwise
    broken = winner.clone()
    broken[0, 5] = torch.nan
    for name, latent in {"good": take, "short": winner[:, :12], "broken": broken}.items():
        save_file({"encoded_video": latent.contiguous()}, losers / f"{name}.safetensors")
    added = {Path(path).stem: problem for path, problem in check_folder(folder).items()}
    assert added["good"] == "" and "NaN or infinite" in added["broken"] and "[16, 12, 60, 90]" in added["short"]
    assert sum(map(bool, added.values())) == 5


def test_latents_of_two_shapes_or_with_holes_did_not_come_the_same_way() -> None:
    winner = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    hole = winner.clone()
    hole[0, 2] = torch.inf
    assert unlike(winner, winner.clone()) == ""
    assert "shapes [4, 3, 2, 2] and [4, 2, 2, 2]" in unlike(winner, winner[:, :2])
    assert "NaN or infinite" in unlike(winner, hole) and "NaN or infinite" in unlike(hole, winner)


def test_what_is_no_folder_of_latents_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no lose_video_latent/MODEL/SIZE/NAME"):
        check_folder(tmp_path)
    loser = tmp_path / "lose_video_latent/m/1x8x8/a/0.safetensors"
    loser.parent.mkdir(parents=True)
    save_file({"x": torch.zeros(4, 1, 1, 1)}, loser)
    with pytest.raises(ValueError, match=r"a\.safetensors: not a file with one latent"):
        check_folder(tmp_path)
    winner = tmp_path / "video_latent/m/1x8x8/a.safetensors"
    winner.parent.mkdir(parents=True)
    save_file({"x": torch.zeros(4, 1)}, winner)
    with pytest.raises(ValueError, match=r"\[4, 1\] in place of"):
        check_folder(tmp_path)
    save_file({"x": torch.zeros(4, 1, 1, 1)}, winner)
    assert check_folder(tmp_path) == {"lose_video_latent/m/1x8x8/a/0.safetensors": ""}


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
    frames = render(draw_scenes(3, 1, frames=17)[0])
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


def many(comparison: Comparison, good: int) -> list[Comparison]:
    """It after so many that are as they should be."""
    return [*(replace(compare("take"), id=f"pair {i}") for i in range(good)), replace(comparison, id="bad")]


@pytest.mark.parametrize("loser", ["unscaled", "other"])
def test_losers_encoded_otherwise_are_refused_where_that_is_systematic(
    loser: str, world: tuple[LatentStore, list[Comparison]]
) -> None:
    latents, _ = world
    with pytest.raises(ValueError) as refused:
        check_latents(many(compare(loser), 8), latents)
    text = str(refused.value)
    assert text.startswith(f"comparison bad: the take clip {loser} does not start from its given first frame (their ")
    assert "so in 1 of 9" in text and "encode both with `rushes train`" in text


def test_a_single_one_is_left_out_and_named(world: tuple[LatentStore, list[Comparison]]) -> None:
    latents, _ = world
    kept, left_out = check_latents(many(compare("other"), 9), latents)
    assert [c.id for c in kept] == [f"pair {i}" for i in range(9)] and list(left_out) == ["bad"]
    assert left_out["bad"].startswith("the take clip other does not start from its given first frame (their latents c")


def test_of_many_losers_the_others_stay(world: tuple[LatentStore, list[Comparison]]) -> None:
    latents, _ = world
    views = (*compare("take").views, compare("other").views[1])
    terms = tuple(Term("clip", a, (0, 1, 1, 1, 1), 500.0) for a in ((1.0, -1.0, 0.0), (1.0, 0.0, -1.0)))
    kept, left_out = check_latents(many(replace(compare("take"), views=views, terms=terms), 9), latents)
    assert [view.key for view in kept[-1].views] == ["real", "take"] and len(kept[-1].terms) == 1
    assert kept[-1].terms[0].coefficients == (1.0, -1.0) and list(left_out) == ["bad"]


def noisy(latent: torch.Tensor, correlation: float, seed: int = 0) -> torch.Tensor:
    """A latent of the same mean and spread that correlates with it by so much."""
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed)) * latent.std() + latent.mean()
    mixed: torch.Tensor = (
        latent.mean() + correlation * (latent - latent.mean()) + (1 - correlation**2) ** 0.5 * (noise - noise.mean())
    )
    return mixed


@pytest.mark.parametrize(
    ("codec", "take", "passes"), [(0.92, 0.86, True), (0.99, 0.86, False), (0.8, 0.72, True), (0.75, 0.6, False)]
)
def test_a_take_need_not_be_more_like_its_frame_than_the_codec_can_make_it(
    codec: float, take: float, passes: bool, tmp_path: Path
) -> None:
    """A codec that compresses strongly loses some of a frame each time; RealDPO's losers (0.59) never pass."""
    latents = LatentStore(tmp_path, "strong")
    frame = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    latents.put({first_frame_key("real"): frame, "real": frame.repeat(1, 2, 1, 1)})
    latents.put({"take": noisy(frame, take, 1).repeat(1, 2, 1, 1)})
    asked = []

    def again(latent: torch.Tensor) -> torch.Tensor:
        asked.append(latent)
        return noisy(latent, codec, 2)

    if passes:
        kept, left_out = check_latents([compare("take")], latents, again=again)
        assert len(kept) == 1 and not left_out
    else:
        with pytest.raises(ValueError, match="does not start from its given first frame"):
            check_latents([compare("take")], latents, again=again)
    assert len(asked) == 1


def test_a_codec_is_not_measured_where_nothing_fails(world: tuple[LatentStore, list[Comparison]]) -> None:
    latents, comparisons = world

    def never(latent: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    assert check_latents(comparisons, latents, again=never) == (comparisons, {})


def test_without_a_first_frame_there_is_nothing_to_compare(world: tuple[LatentStore, list[Comparison]]) -> None:
    latents, _ = world
    check_latents([compare("unscaled", first_frame="")], latents)


LABELS = (0, 1, 1, 1, 1)
CLIP = View("clip", "a ball", "clip", "real")
TAKE = View("take", "a ball", "clip", "take")


def edited(name: str) -> View:
    return replace(CLIP, edit=name, source="edited")


@pytest.fixture
def latents(tmp_path: Path) -> LatentStore:
    """A clip and copies of it that differ nowhere, in the given first frame alone, hardly, or in one frame."""
    clean = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    first, last, hardly = clean.clone(), clean.clone(), clean.clone()
    first[:, 0] += 1
    last[:, 4] += 2 * NEARLY * clean.std()
    hardly[:, 4] += 0.9 * NEARLY * clean.std()
    many = {"nothing": clean, "first": first, "last": last, "hardly": hardly}
    store = LatentStore(tmp_path, "same")
    store.put({str(LatentKey("clip", name)): latent for name, latent in many.items()})
    store.put({"clip": clean.clone(), "take": clean + 1, first_frame_key("clip"): clean[:, :1].clone()})
    return store


def pair(loser: View, winner: View = CLIP, **changes: object) -> Comparison:
    term = replace(Term("clip", (1.0, -1.0), LABELS, 500.0), **changes)  # type: ignore[arg-type]
    return Comparison("pair", "prompt", (winner, loser), (term,))


@pytest.mark.parametrize(
    ("loser", "same"),
    [
        (edited("nothing"), True),
        (edited("hardly"), True),
        (edited("first"), True),  # what is given and not scored is the real clip's for both
        (replace(edited("first"), first_frame=OWN), False),  # here it is the copy's own
        (edited("last"), False),
        (replace(CLIP, caption="a cube"), False),
        (CLIP, True),  # a wrong caption that is the true one
        (TAKE, False),
        (replace(edited("nothing"), caption="a cube"), False),
    ],
    ids=str,
)
def test_what_counts_as_the_same(loser: View, same: bool, latents: LatentStore) -> None:
    kept, dropped = drop_degenerate_terms([pair(loser)], latents)
    assert (not kept, dict(dropped)) == (same, {"clip": 1} if same else {})
    if kept:
        assert kept == [pair(loser)]


def test_a_text_model_is_scored_on_its_first_frame_too(latents: LatentStore) -> None:
    winner = replace(CLIP, first_frame="")
    loser = replace(edited("first"), first_frame="")
    assert drop_degenerate_terms([pair(loser, winner, labels=(1,) * 5)], latents)[0]
    assert not drop_degenerate_terms([pair(loser, winner, labels=LABELS)], latents)[0]


def test_other_clips_are_not_read(latents: LatentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = latents.get

    def counted(key: str) -> torch.Tensor | None:
        read.append(key)
        return get(key)

    monkeypatch.setattr(latents, "get", counted)
    assert drop_degenerate_terms([pair(TAKE)], latents)[0] and not read


def test_the_rest_of_a_comparison_stays_without_views_that_nobody_needs(latents: LatentStore) -> None:
    views = (CLIP, edited("nothing"), TAKE, edited("last"))
    terms = (
        Term("state", (1.0, -1.0, 0.0, 0.0), LABELS, 500.0, weight=0.4),
        Term("instance", (1.0, 0.0, -0.7, -0.3), LABELS, 500.0),
    )
    (only,), dropped = drop_degenerate_terms([Comparison("id", "group", views, terms)], latents)
    assert dropped == {"state": 1}
    assert only.views == (CLIP, TAKE, edited("last"))
    assert only.terms == (Term("instance", (1.0, -0.7, -0.3), LABELS, 500.0),)


def test_a_clip_by_itself_is_compared_with_nothing_and_stays(latents: LatentStore) -> None:
    own = Term("supervised", (1.0, 0.0), LABELS, weight=0.1, loss_type="error")
    beside = pair(edited("nothing"))
    alone = Comparison("alone", "prompt", (CLIP,), (replace(own, coefficients=(1.0,)),))
    kept, dropped = drop_degenerate_terms([replace(beside, terms=(own, *beside.terms)), alone], latents)
    assert [(c.views, c.terms) for c in kept] == [((CLIP,), alone.terms)] * 2 and dropped == {"clip": 1}


def test_a_mixture_is_the_same_only_where_all_of_it_is(latents: LatentStore) -> None:
    mixed = Term("instance", (1.0, -0.7, -0.3), LABELS, 500.0)
    for others, same in (((edited("nothing"), edited("hardly")), True), ((edited("nothing"), edited("last")), False)):
        kept, _ = drop_degenerate_terms([Comparison("id", "group", (CLIP, *others), (mixed,))], latents)
        assert (not kept) == same
