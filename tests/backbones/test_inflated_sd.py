"""An image model as a video model: the same at the start, causal in time, trained, adapted, saved and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rushes.backbones.adapters import add_lora, merge_lora
from rushes.backbones.inflated_sd import InflatedSD, load
from rushes.backbones.inflation import Clips, GatedTemporalConv, OverTime, SparseCausal, is_added
from rushes.backbones.sampling import sample
from rushes.noise.paths import VariancePreserving

from .. import tiny_sd

SHAPE = (2, 4, 5, 4, 4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd.write(tmp_path_factory.mktemp("sd") / "model")


@pytest.fixture
def model(folder: Path) -> InflatedSD:
    return load(str(folder))


def moved(model: InflatedSD, by: float = 0.1) -> InflatedSD:
    """With all weights that are new away from their start."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.network.named_parameters():
            if is_added(name):
                p.add_(by * torch.randn(p.shape, generator=generator))
    return model


def image_unet(folder: Path) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder / "unet").eval()


@torch.no_grad()
def ask(model: InflatedSD, x: Tensor, t: float = 0.5, words: str = "a ball", first: Tensor | None = None) -> Tensor:
    t_BF = torch.full((x.shape[0], x.shape[2]), t)
    if first is not None:
        t_BF[:, 0] = 0.0
    return model.predict(x, t_BF, model.condition([words] * len(x), first))


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_equal_frames_get_what_the_image_model_gives(model: InflatedSD, folder: Path, frames: int) -> None:
    """Each of them, at every time: all that is new is zero, and attention to equal frames is attention to one."""
    x = draw(2, 4, 1, 4, 4)
    text = model.condition(["a ball"] * 2).text
    for step in (0, 3, 500, 999):
        with torch.no_grad():
            image = image_unet(folder)(x[:, :, 0], torch.tensor([step, step]), text).sample
        video = ask(model, x.expand(2, 4, frames, 4, 4), step / 999)
        torch.testing.assert_close(video, image[:, :, None].expand_as(video), rtol=0, atol=1e-5)
    changed = ask(moved(model), x.expand(2, 4, frames, 4, 4), step / 999)
    assert (changed - video).abs().max() > 1e-2


def test_other_frames_are_seen_from_the_start(model: InflatedSD) -> None:
    """Frame f sees frame 0 and frame f - 1, through layers also those before; none sees a later one."""
    x = draw(*SHAPE)
    before = ask(model, x)
    for frame in range(5):
        changed = x.clone()
        changed[:, :, frame] += 1
        apart = (ask(model, changed) - before).abs().amax((0, 1, 3, 4)) > 1e-5
        assert not apart[:frame].any() and apart[frame:].all(), frame


def test_temporal_convolution_by_hand() -> None:
    """out = u + sigmoid(gate(u)) * (w0 u[f - 2] + w1 u[f - 1] + w2 u[f] + b), u the image convolution."""
    conv = GatedTemporalConv(torch.nn.Conv2d(2, 3, 3, padding=1), Clips(4))
    x = draw(8, 2, 5, 5)
    torch.testing.assert_close(conv(x), conv.spatial(x), rtol=0, atol=0)
    for p in (*conv.temporal.parameters(), *conv.gate.parameters()):
        p.data = draw(*p.shape, seed=2)
    u = conv.spatial(x).view(2, 4, 3, 5, 5)
    weight, bias = conv.temporal.weight, conv.temporal.bias
    assert bias is not None
    for clip in range(2):
        for f in range(4):
            s = bias[:, None, None] + sum(
                torch.einsum("oi,ihw->ohw", weight[:, :, k], u[clip, f - 2 + k]) for k in range(3) if f - 2 + k >= 0
            )
            gate = torch.sigmoid(conv.gate(u[clip, f][None]))[0]
            torch.testing.assert_close(conv(x).view(2, 4, 3, 5, 5)[clip, f], u[clip, f] + gate * s)


def test_a_later_frame_changes_no_earlier_convolution() -> None:
    conv = GatedTemporalConv(torch.nn.Conv2d(2, 3, 1), Clips(5))
    for p in conv.parameters():
        p.data = draw(*p.shape, seed=3)
    x = draw(5, 2, 3, 3)
    before = conv(x)
    for frame in range(5):
        changed = x.clone()
        changed[frame] += 1
        apart = (conv(changed) - before).abs().amax((1, 2, 3)) > 0
        assert apart.tolist() == [frame <= f <= frame + 2 for f in range(5)]


def attention(width: int = 6) -> Any:
    from diffusers.models.attention_processor import Attention

    return Attention(width, heads=2, dim_head=3)


def test_sparse_causal_attention_by_hand() -> None:
    """Of frame f: softmax over the tokens of frame 0 and of frame max(f - 1, 0), side by side."""
    attn, clips = attention(), Clips(4)
    x = draw(8, 7, 6)
    found = SparseCausal(clips)(attn, x).view(2, 4, 7, 6)
    tokens = x.view(2, 4, 7, 6)
    for clip in range(2):
        for f in range(4):
            seen = torch.cat([tokens[clip, 0], tokens[clip, max(f - 1, 0)]])
            parts = (attn.to_q(tokens[clip, f]), attn.to_k(seen), attn.to_v(seen))
            q, k, v = (part.view(-1, 2, 3).transpose(0, 1) for part in parts)
            mixed = torch.softmax(q @ k.transpose(1, 2) / 3**0.5, -1) @ v
            torch.testing.assert_close(found[clip, f], attn.to_out[0](mixed.transpose(0, 1).reshape(7, 6)))


def test_attention_over_time_stays_at_its_place() -> None:
    """Each position sees itself in the other frames of its clip, and nothing else; at the start it sees nothing."""
    layer = OverTime(6, 2, Clips(3))
    x = draw(6, 4, 6)  # two clips of three frames and four positions
    assert torch.equal(layer(x), x)
    for p in layer.attn.to_out.parameters():
        p.data = draw(*p.shape, seed=4)
    before, changed = layer(x), x.clone()
    changed[1, 2] += draw(6, seed=5)  # not the same for all channels: normalisation would take that off again
    apart = (layer(changed) - before).abs().amax(-1) > 0
    assert apart.nonzero().tolist() == [[0, 2], [1, 2], [2, 2]]


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_path_is_that_of_the_scheduler(predicts: str, tmp_path: Path) -> None:
    from diffusers import DDPMScheduler

    path = load(str(tiny_sd.write(tmp_path / "sd", predicts))).spec.path
    assert isinstance(path, VariancePreserving)
    scheduler: Any = DDPMScheduler(**tiny_sd.BETAS, prediction_type=predicts)
    clean, noise = draw(3, 4, 1, 4, 4), draw(3, 4, 1, 4, 4, seed=1)
    steps = torch.tensor([1, 400, 999])
    t = steps[:, None] / 999
    torch.testing.assert_close(path.mix(clean, noise, t), scheduler.add_noise(clean, noise, steps))
    v = scheduler.get_velocity(clean, noise, steps)
    torch.testing.assert_close(path.target(clean, noise, t), noise if predicts == "epsilon" else v)


def test_a_take_is_what_diffusers_would_sample(model: InflatedSD) -> None:
    """DDIM with guidance on the scheduler's own steps, the given first frame put back at each."""
    from diffusers import DDIMScheduler

    moved(model)
    noise, first = draw(*SHAPE), draw(2, 4, 4, 4, seed=1)
    words, nothing = model.condition(["a ball", "rain"], first), model.condition(["", ""], first)
    made = sample(model, words, noise, steps=6, guidance=12.5, unconditional=nothing)
    scheduler: Any = DDIMScheduler(**tiny_sd.BETAS, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(6)
    x = noise
    for step in scheduler.timesteps:
        x = torch.cat([first[:, :, None], x[:, :, 1:]], 2)
        steps = torch.full((2,), int(step))
        with torch.no_grad():
            one, other = (model.network(x, steps, c.text) for c in (nothing, words))
        x = scheduler.step(one + 12.5 * (other - one), step, x).prev_sample
    torch.testing.assert_close(made[:, :, 1:], x[:, :, 1:], rtol=1e-3, atol=1e-3)
    assert torch.equal(made[:, :, 0], first)


def test_the_codec_works_frame_by_frame(model: InflatedSD) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, 11, 32, 40, 3), np.uint8)  # more frames than go in at once
    latents = model.encode(clip)
    assert latents.shape == (2, 4, 11, 4, 5)
    torch.testing.assert_close(latents[1:, :, 7:8], model.encode(clip[1:, 7:8]))
    pixels = torch.from_numpy(clip[1, 7]).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        mean = model.codec.encode(pixels).latent_dist.mean
        torch.testing.assert_close(latents[1, :, 7], mean[0] * model.codec.config.scaling_factor)
        image = model.codec.decode(mean).sample[0]
    shown = ((image + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy()
    assert np.abs(model.decode(latents)[1, 7].astype(int) - shown).max() <= 1
    assert model.spec.latent_frames(16) == 16


def test_words_and_times_count_and_any_words_will_do(model: InflatedSD) -> None:
    x = draw(*SHAPE)
    base = ask(model, x)
    for other in (ask(model, x, words="rain"), ask(model, x, t=0.9), ask(model, x, words="")):
        assert (other - base).abs().max() > 1e-3
    for words in ("", "  \n", "小球落下", "🏀", "\ud800", "ball " * 500, "\x00"):
        assert torch.isfinite(ask(model, x, words=words)).all(), words


def test_all_frames_share_the_time_of_the_noised_ones(model: InflatedSD) -> None:
    x = draw(*SHAPE)
    given = ask(moved(model), x, first=x[:, :, 0])
    assert torch.equal(given, ask(model, x))  # t = 0 of the first frame is not what the network is told


def test_the_same_folder_is_the_same_model(folder: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = load(str(folder)).fingerprint
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(6)
    assert load(str(folder)).fingerprint == one


def test_what_is_saved_is_loaded_and_still_an_image_model(model: InflatedSD, tmp_path: Path) -> None:
    before = model.fingerprint
    with torch.no_grad():
        for p in model.network.parameters():
            p.add_(0.01)
    model.save(tmp_path / "saved")
    other = load(str(tmp_path / "saved"))
    assert other.fingerprint == model.fingerprint != before
    x = draw(*SHAPE)
    assert torch.equal(ask(other, x), ask(model, x))
    image = image_unet(tmp_path / "saved").state_dict()
    weights = {
        name.replace(".spatial.", "."): p for name, p in model.network.get_submodule("unet").state_dict().items()
    }
    assert torch.equal(image["conv_in.weight"], weights["conv_in.weight"])
    assert not list(tmp_path.rglob("*.bin"))


def test_added_weights_of_another_unet_are_refused(model: InflatedSD, tmp_path: Path) -> None:
    model.save(tmp_path / "saved")
    other = load(str(tiny_sd.write(tmp_path / "other", block_out_channels=(8, 24))))
    other.network.save_pretrained(tmp_path / "unet")  # type: ignore[operator]
    (tmp_path / "unet" / "motion.safetensors").replace(tmp_path / "saved" / "unet" / "motion.safetensors")
    with pytest.raises(ValueError, match=r"motion\.safetensors: does not belong to the UNet beside it"):
        _ = load(str(tmp_path / "saved")).network


@pytest.mark.parametrize("changes", [{"in_channels": 9}, {"class_embed_type": "timestep"}])
def test_other_unets_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    tiny_sd.write(tmp_path / "sd")
    path = tmp_path / "sd" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=r"unet: not the UNet of a plain Stable Diffusion 1\.x model"):
        load(str(tmp_path / "sd"))


def test_an_adapter_starts_at_the_model_and_merges_into_it(model: InflatedSD, folder: Path) -> None:
    moved(model)
    x = draw(*SHAPE)
    base = ask(model, x)
    add_lora(model.network, model.spec.lora_targets, rank=4, alpha=8)
    assert torch.equal(ask(model, x), base)
    adapted = {
        name.split(".lora_")[0].split(".")[-1] for name, p in model.network.named_parameters() if p.requires_grad
    }
    assert adapted == {"to_q", "to_k", "to_v", "0"}  # to_out.0
    layers = {n for n, p in model.network.named_parameters() if p.requires_grad and "lora_B" in n}
    assert len(layers) == 4 * 3 * 4  # q, k, v, out of three attentions in each of four blocks
    with torch.no_grad():
        for name, p in model.network.named_parameters():
            if name in layers:
                p.add_(draw(*p.shape, seed=len(name)) / 10)
    after = ask(model, x)
    assert (after - base).abs().max() > 1e-3
    merge_lora(model.network)
    torch.testing.assert_close(ask(model, x), after, rtol=1e-4, atol=1e-4)


def test_gradients_are_the_same_with_checkpointing(model: InflatedSD) -> None:
    """Also for a clip of another length asked in between: what is computed again has the frames of its own clip."""
    moved(model).network.requires_grad_(True)
    found = []
    unet: Any = model.network.unet
    assert unet.is_gradient_checkpointing
    for on in (True, False):
        if not on:
            unet.disable_gradient_checkpointing()
        model.network.zero_grad(set_to_none=True)
        x = draw(*SHAPE)
        out = model.predict(x, torch.full((2, 5), 0.5), model.condition(["a ball"] * 2))
        ask(model, x[:, :, :2])
        out.square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.network.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)
