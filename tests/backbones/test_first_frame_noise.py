"""Noise on a first frame that is shown as channels: CogVideoX' trainer has it, and sampling has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rushes.backbones.adapters import add_lora
from rushes.backbones.model_defaults import all_models
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.config.tables import TrainSettings
from rushes.noise.draws import TimeDraw
from rushes.objectives.terms import Term
from rushes.training.batches import Batch, NoiseSampler, make_batch
from rushes.training.comparison import Comparison, View
from rushes.training.gradients import plain_errors
from rushes.training.history import read_history
from rushes.training.loop import TrainingData, train
from rushes.training.memory import GradientStrategy
from rushes.training.reference_cache import fill, open_cache

from .test_pipelines import CAPTIONS
from .test_pipelines_train import stored

Models = Callable[[str], DiffusersBackbone]
TIMES = TimeDraw("uniform", 0.5, 0.9)
PUBLISHED = (-3.0, 0.5)
SHOWN = {
    "wan_i2v": "start",
    "skyreels_i2v": "start",
    "cogvideox_i2v": "first",
    "hunyuan_i2v_channels": "first",
    "hunyuan15_i2v": "first",
}


def comparison(frames: int, id: str = "c") -> Comparison:
    views = tuple(View(media, CAPTIONS[0], "real") for media in ("real", "take"))
    return Comparison(id, "g", views, (Term("clip", (1.0, -1.0), (1,) * frames, beta=20.0),))


def noise_of(of: Comparison, shape: tuple[int, ...]) -> Tensor:
    noise = NoiseSampler(0, TIMES, first_frame_noise=PUBLISHED).of(of, 0, shape).shown_noise_CHW
    assert noise is not None
    return noise


@pytest.mark.parametrize("name", SHOWN)
def test_it_is_on_the_shown_frame_alone_and_the_same_for_all_views(
    name: str, tiny_model: Models, tmp_path: Path
) -> None:
    model = tiny_model(name)
    latents = stored(model, tmp_path)
    frames = latents.get("real").shape[1]  # type: ignore[union-attr]
    one = comparison(frames)

    def batch(visit: int, noise: tuple[float, ...]) -> Batch:
        return make_batch([(one, visit)], latents, model, NoiseSampler(0, TIMES, first_frame_noise=noise))

    clean, noisy = batch(0, ()), batch(0, PUBLISHED)
    assert torch.equal(clean.noise_RCFHW, noisy.noise_RCFHW) and torch.equal(clean.t_RF, noisy.t_RF)
    assert torch.equal(clean.clean_RCFHW, noisy.clean_RCFHW)
    assert model.spec.shown == SHOWN[name]
    added = {key: noisy.condition.more[key].float() - value for key, value in clean.condition.more.items()}
    for key, difference in added.items():
        if key != SHOWN[name]:
            assert not difference.any(), key
    shown = added[SHOWN[name]]
    assert bool(shown[:, :, 0].any()) and not shown[:, :, 1:].any()
    torch.testing.assert_close(shown[0], shown[1])  # both views
    torch.testing.assert_close(shown[0, :, 0], noise_of(one, shown[0].shape), rtol=0, atol=1e-6)
    again = batch(1, PUBLISHED).condition.more[SHOWN[name]] - clean.condition.more[SHOWN[name]]
    assert not torch.allclose(again, shown)
    with torch.no_grad():  # and the network sees it
        wide = batch(0, (0.0, 0.0))
        assert (plain_errors(model, wide) - plain_errors(model, clean)).abs().max() > 1e-6


def test_its_scale_is_log_normal() -> None:
    drawn = [noise_of(comparison(1, str(at)), (8, 1, 8, 8)).std().log() for at in range(400)]
    logs = torch.stack(drawn)
    assert float(logs.mean()) == pytest.approx(-3.0, abs=0.1)
    assert float(logs.std()) == pytest.approx(0.5, abs=0.06)


def test_a_cache_has_the_errors_of_the_noisy_frame(tiny_model: Models, tmp_path: Path) -> None:
    model = tiny_model("cogvideox_i2v")
    latents = stored(model, tmp_path / "latents")
    one = comparison(3)
    drawn = {noise: NoiseSampler(0, TIMES, first_frame_noise=noise) for noise in ((), PUBLISHED)}
    caches = {
        noise: open_cache(tmp_path / "bank", 2, weights="w", latents=latents, backbone=model, draws=draws)
        for noise, draws in drawn.items()
    }
    assert caches[()].entries.fingerprint != caches[PUBLISHED].entries.fingerprint
    found = {}
    for noise, cache in caches.items():
        strategy = GradientStrategy("two_pass")
        fill(cache, [one], model, latents, draws=drawn[noise], strategy=strategy)
        for draw in (0, 1):
            fresh = plain_errors(model, make_batch([(one, draw)], latents, model, drawn[noise]), strategy)
            assert torch.equal(cache.errors([(one, draw)], 2), fresh)
        found[noise] = cache.errors([(one, 0)], 2)
    assert not torch.equal(found[()], found[PUBLISHED])


def test_a_run_trains_under_what_its_settings_say(tiny_model: Models, tmp_path: Path) -> None:
    losses = []
    for noise in ((), PUBLISHED):
        model, folder = tiny_model("cogvideox_i2v"), tmp_path / f"{len(noise)}"
        torch.manual_seed(0)
        add_lora(model.network, model.spec.lora_targets, 2, 2)
        term = Term("supervised", (1.0,), (1, 1, 1), loss_type="error")
        data = TrainingData(
            [Comparison("c", "g", (View("real", CAPTIONS[0], "real"),), (term,))], [], stored(model, folder), TIMES
        )
        settings = TrainSettings(steps=1, batch=1, first_frame_noise=noise)
        train(model, data, settings, folder / "run", seed=0, identity="")
        losses.append(read_history(folder / "run" / "metrics.jsonl")[1]["loss"])
    assert abs(losses[1] - losses[0]) > 1e-4 * losses[0]


def test_the_table_says_that_the_published_noise_is_on_pixels_and_ours_on_latents() -> None:
    rows = {name: row for name, model in all_models().items() if (row := model.settings.get("train.first_frame_noise"))}
    assert set(rows) == {"cogvideox-5b-i2v", "cogvideox-1.5-5b-i2v"}
    for row in rows.values():
        assert row.value == [*PUBLISHED] and "to pixels before the codec and we to the latent" in row.source
