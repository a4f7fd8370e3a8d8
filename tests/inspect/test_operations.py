"""Operations of released networks at released sizes, against closed forms that share nothing with the meter.

A forward pass takes 2 P_v N + 2 P_t M + 4 N^2 d L + 4 N M d L: P_v weights of linear layers meet N video tokens and
P_t meet M tokens of text; d is the width that attention works at, L the number of layers. Where attention is joint, N
counts the text too. A layer that every token goes through once (patches, times of each token) stands among P_v.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rushes.backbones.base import LoadOptions, Precision
from rushes.backbones.model_defaults import Released, released
from rushes.config.clip_shapes import ClipShape as Clip
from rushes.inspect.blank import condition_of, no_values
from rushes.inspect.dry_run import Cost, _StepAsk, blank_network, dry_run, latent_size, open_blank

from .by_hand import by_hand

BF16 = LoadOptions("bfloat16")


def wan(
    clip: Clip, d: int, ffn: int, layers: int, channels: tuple[int, int] = (16, 16), space: int = 8, image: int = 0,
    times: bool = False
) -> float:  # fmt: skip
    """Self-attention 4 d^2, cross-attention 2 d^2 on video and 2 d^2 on text, feed-forward 2 d ffn."""
    n = ((clip.frames - 1) // 4 + 1) * (clip.height_px // space // 2) * (clip.width_px // space // 2)
    p_v = layers * (6 * d * d + 2 * d * ffn) + 4 * d * sum(channels)
    p_v += (256 * d + 7 * d * d) * times  # TI2V: a time for each token
    out = 2.0 * p_v * n + 4.0 * n * n * d * layers
    for m, width in ((512, 4096), (image, 1280)):
        if m:
            out += 2.0 * layers * 2 * d * d * m + 2.0 * m * (width * d + d * d) + 4.0 * n * m * d * layers
    return out


def cogvideox(clip: Clip, d: int, layers: int, patch: int = 4, channels: int = 16, group: int = 1) -> float:
    """Joint: attention 4 d^2 and feed-forward 8 d^2 on video and text."""
    frames = (clip.frames - 1) // 4 + 1
    n = -(-frames // group) * (clip.height_px // 16) * (clip.width_px // 16)
    joint = n + 226
    embedded = 2.0 * n * d * patch * group * (channels + 16) + 2.0 * 226 * 4096 * d
    return 2.0 * layers * 12 * d * d * joint + 4.0 * joint * joint * d * layers + embedded


def ltx(clip: Clip, d: int, layers: int, m: int) -> float:
    """As Wan, with a feed-forward of 8 d^2; times of each token, 7 d^2; captions are projected once."""
    n = ((clip.frames - 1) // 8 + 1) * (clip.height_px // 32) * (clip.width_px // 32)
    p_v = layers * 14 * d * d + 2 * 128 * d + 256 * d + 7 * d * d
    text = 2.0 * m * (layers * 2 * d * d + 4096 * d + d * d)
    return 2.0 * p_v * n + text + 4.0 * n * n * d * layers + 4.0 * n * m * d * layers


def hunyuan(clip: Clip, m: int, channels: int = 16, d: int = 3072) -> float:
    """20 double and 40 single blocks, 12 d^2 on video and on text; two refiners of the text, 12 d^2."""
    n = ((clip.frames - 1) // 4 + 1) * (clip.height_px // 16) * (clip.width_px // 16)
    joint = n + m
    text = 2.0 * m * (4096 * d + 2 * 12 * d * d) + 2 * 4.0 * m * m * d
    return 2.0 * 60 * 12 * d * d * joint + 60 * 4.0 * joint * joint * d + text + 2.0 * n * 4 * d * (channels + 16)


def hunyuan15(clip: Clip, d: int = 2048, layers: int = 54) -> float:
    """Double blocks, 12 d^2 on 256 tokens of glyphs, 1000 of text, and on video in patches of one."""
    n = ((clip.frames - 1) // 4 + 1) * (clip.height_px // 16) * (clip.width_px // 16)
    joint = n + 256 + 1000
    text = 2.0 * 1000 * (3584 * d + 2 * 12 * d * d) + 2 * 4.0 * 1000**2 * d
    return 2.0 * layers * 12 * d * d * joint + layers * 4.0 * joint**2 * d + text


def mochi(clip: Clip, d: int = 3072, narrow: int = 1536, layers: int = 48, m: int = 256) -> float:
    """Joint: on video attention 4 d^2 and a gated feed-forward of 8 d^2; on text, narrower, likewise but in the last
    block, which only asks it.
    """
    n = ((clip.frames - 1) // 6 + 1) * (clip.height_px // 16) * (clip.width_px // 16)
    text = layers * 3 * narrow * d + (layers - 1) * (narrow * d + 8 * narrow**2) + 4096 * (narrow + 2 * 4096)
    return 2.0 * layers * 12 * d * d * n + 2.0 * m * text + 4.0 * (n + m) ** 2 * d * layers + 2.0 * n * 2 * 48 * d


SMALL, LARGE, SKY = Clip(480, 832, 81), Clip(720, 1280, 81), Clip(544, 960, 97)
CASES: list[tuple[str, Clip, float]] = [
    ("wan2.1-t2v-1.3b", SMALL, wan(SMALL, 1536, 8960, 30)),
    ("wan2.1-t2v-14b", SMALL, wan(SMALL, 5120, 13824, 40)),
    ("wan2.1-i2v-14b-480p", SMALL, wan(SMALL, 5120, 13824, 40, (36, 16), image=257)),
    ("wan2.1-i2v-14b-720p", LARGE, wan(LARGE, 5120, 13824, 40, (36, 16), image=257)),
    ("wan2.2-t2v-a14b", SMALL, wan(SMALL, 5120, 13824, 40)),
    ("wan2.2-i2v-a14b", SMALL, wan(SMALL, 5120, 13824, 40, (36, 16))),
    ("wan2.2-ti2v-5b", Clip(704, 1280, 121), wan(Clip(704, 1280, 121), 3072, 14336, 30, (48, 48), 16, times=True)),
    ("skyreels-v2-df-1.3b-540p", SKY, wan(SKY, 1536, 8960, 30)),
    ("skyreels-v2-t2v-14b-540p", SKY, wan(SKY, 5120, 13824, 40)),
    ("skyreels-v2-i2v-1.3b-540p", SKY, wan(SKY, 1536, 8960, 30, (36, 16), image=257)),
    ("cogvideox-2b", Clip(480, 720, 49), cogvideox(Clip(480, 720, 49), 1920, 30)),
    ("cogvideox-5b", Clip(480, 720, 49), cogvideox(Clip(480, 720, 49), 3072, 42)),
    ("cogvideox-5b-i2v", Clip(480, 720, 49), cogvideox(Clip(480, 720, 49), 3072, 42, channels=32)),
    ("cogvideox-1.5-5b", Clip(768, 1360, 81), cogvideox(Clip(768, 1360, 81), 3072, 42, group=2)),
    ("ltx-video-0.9", Clip(512, 704, 121), ltx(Clip(512, 704, 121), 2048, 28, 128)),
    ("ltx-video-0.9.7-13b", Clip(512, 704, 121), ltx(Clip(512, 704, 121), 4096, 48, 256)),
    ("mochi-1", Clip(480, 848, 163), mochi(Clip(480, 848, 163))),
    ("hunyuanvideo", Clip(544, 960, 129), hunyuan(Clip(544, 960, 129), 256)),
    ("hunyuanvideo-i2v", Clip(544, 960, 129), hunyuan(Clip(544, 960, 129), 256 + 144)),
    ("hunyuanvideo-i2v-33ch", Clip(544, 960, 129), hunyuan(Clip(544, 960, 129), 256 + 288, 33)),
    ("hunyuanvideo-1.5-480p-t2v", Clip(480, 848, 121), hunyuan15(Clip(480, 848, 121))),
]  # fmt: skip
# Those that differ from another case in numbers alone: width, layers, size of clip.
ALIKE = {
    "wan2.1-i2v-14b-720p", "wan2.2-i2v-a14b", "skyreels-v2-t2v-14b-540p", "cogvideox-5b", "ltx-video-0.9.7-13b",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "clip", "closed"),
    [
        pytest.param(
            *case, marks=() if not at else pytest.mark.whole if case[0] in ALIKE else pytest.mark.slow, id=case[0]
        )
        for at, case in enumerate(CASES)
    ],
)
def test_a_forward_pass_is_its_closed_form(name: str, clip: Clip, closed: float) -> None:
    """A network without an adapter; released models have no attention that the counter does not see."""
    cost = dry_run(released(name), BF16, clip, "full", 1)
    assert cost.forward == pytest.approx(closed, rel=0.01)
    told = {"wan2.1-t2v-1.3b": (283, 1_232), "wan2.1-t2v-14b": (1_678, 7_160)}
    if name in told:
        assert (cost.forward / 1e12, cost.both / 1e12) == pytest.approx(told[name], rel=0.001)


@pytest.mark.slow
def test_a_step_of_an_adapter_leaves_out_the_gradients_of_what_is_frozen() -> None:
    """Forward, forward again, and backward: of two products a frozen linear layer needs one; attention takes 2.5."""
    cost = dry_run(released("wan2.1-t2v-1.3b"), BF16, SMALL, "lora", 32)
    n, layers, d = 32_760, 30, 1536
    attention = 4.0 * n * n * d * layers + 4.0 * n * 512 * d * layers
    linear = wan(SMALL, d, 8960, layers) - attention
    frozen = 2 * (linear + attention) + linear + 2.5 * attention
    assert cost.both == pytest.approx(frozen, rel=0.02)  # the adapter itself is the rest
    assert cost.both / 1e12 == pytest.approx(1_150, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("ltx-2", Clip(512, 768, 121)),
        ("animatediff-sd1.5", Clip(512, 512, 16)),
        ("stable-diffusion-1.5", Clip(320, 512, 16)),
    ],
)
def test_networks_without_a_short_closed_form(name: str, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the shapes that each layer and each attention of the whole network meets, counted by hand."""
    cost = dry_run(released(name), BF16, clip, "full", 1)
    backbone = open_blank(released(name), BF16)
    ask = _StepAsk(backbone, latent_size(backbone, clip), "full", 1, False)
    with no_values(backbone.dtype, blank_network(ask, {})) as network:
        backbone.__dict__["network"] = network
        given = (torch.empty(1, *ask.size), torch.full((1, ask.size[1]), 0.5), condition_of(backbone, ask.size, False))
        with by_hand(network, monkeypatch) as count:
            backbone.predict(*given)
    assert cost.forward == pytest.approx(count.forward, rel=0.001)


def deeper(name: str, **changes: Any) -> Released:
    """A released model whose network is narrow and has more blocks than are looked at."""
    model = released(name)
    config = {**model.config("transformer"), **changes}
    return replace(model, configs={**model.configs, "transformer": config, "transformer_2": config})


NARROW: list[tuple[str, dict[str, int], Clip]] = [
    ("wan2.1-t2v-1.3b", {"num_attention_heads": 2, "ffn_dim": 512, "num_layers": 6}, Clip(64, 96, 9)),
    ("wan2.2-ti2v-5b", {"num_attention_heads": 2, "ffn_dim": 512, "num_layers": 6}, Clip(64, 96, 9)),
    ("hunyuanvideo", {"num_attention_heads": 2, "num_layers": 5, "num_single_layers": 7}, Clip(64, 96, 9)),
    ("cogvideox-5b", {"num_attention_heads": 2, "num_layers": 6}, Clip(64, 96, 9)),
    ("ltx-video-0.9", {"num_attention_heads": 2, "cross_attention_dim": 128, "num_layers": 6}, Clip(64, 96, 9)),
    ("hunyuanvideo-1.5-480p-t2v", {"num_attention_heads": 2, "num_layers": 6}, Clip(64, 96, 9)),
]


@pytest.mark.parametrize(
    ("name", "changes", "clip"),
    [pytest.param(*case, marks=() if not at else pytest.mark.slow, id=case[0]) for at, case in enumerate(NARROW)],
)
@pytest.mark.parametrize(
    ("tune", "dtype"),
    [("lora", "bfloat16"), pytest.param("full", "mixed", marks=[pytest.mark.slow, pytest.mark.whole])],
)
def test_two_and_three_blocks_say_what_all_take(
    name: str, changes: dict[str, int], clip: Clip, tune: str, dtype: Precision
) -> None:
    """Operations and weights exactly; a peak may be said too high, where it moves from one block to another."""
    model = deeper(name, **changes)
    few, all_of_it = (dry_run(model, LoadOptions(dtype), clip, tune, 4, whole=whole) for whole in (False, True))
    exact = (
        "parameters",
        "trained",
        "trained_bytes",
        "weights",
        "weights_4bit",
        "resident",
        "forward",
        "both",
        "saved",
    )
    assert parts(few, exact) == parts(all_of_it, exact)
    assert all_of_it.peak <= few.peak <= 1.05 * all_of_it.peak
    assert few.sampling == pytest.approx(all_of_it.sampling, rel=0.05)


@pytest.mark.slow
def test_a_smaller_last_block_is_counted_once() -> None:
    """Mochi's has no feed-forward of the text. Of three blocks, the two on the GPU are the larger ones."""
    model = deeper("mochi-1", num_attention_heads=2, pooled_projection_dim=128, text_embed_dim=128, num_layers=6)
    few, all_of_it = (dry_run(model, BF16, Clip(64, 96, 13), "lora", 4, whole=whole) for whole in (False, True))
    exact = ("parameters", "trained_bytes", "weights", "weights_4bit", "resident", "forward", "both", "saved")
    assert parts(few, exact) == parts(all_of_it, exact)


def parts(cost: Cost, names: tuple[str, ...]) -> dict[str, float]:
    return {name: getattr(cost, name) for name in names}
