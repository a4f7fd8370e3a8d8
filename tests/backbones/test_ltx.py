"""What is special about LTX-Video: decoders that finish the denoising, noise on first frames, models of few steps."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rushes.backbones.base import LoadOptions
from rushes.backbones.decoders import noise_of
from rushes.backbones.loading import load_backbone
from rushes.backbones.ltx import OWN_NOISE
from rushes.backbones.model_defaults import ModelMatch, all_models, released
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.sampling import sample
from rushes.noise.paths import Flow
from rushes.project.model_presets import family_of

from .references import CASES, SEED, ask, load_pipeline, patched
from .test_pipelines import CAPTIONS, Models, clips_for, condition_for, noise_for
from .tiny_pipelines import BACKBONE

Folders = Callable[[str], Path]


def with_decoder(folder: Path, **how: float) -> DiffusersBackbone:
    model = load_backbone("ltx", str(folder), LoadOptions(**how))  # type: ignore[arg-type]
    assert isinstance(model, DiffusersBackbone)
    return model


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({}, {}),
        ({"decode_timestep": 0.3}, {"decode_timestep": 0.3}),
        (
            {"decode_timestep": 0.05, "decode_noise_scale": 0.025},
            {"decode_timestep": 0.05, "decode_noise_scale": 0.025},
        ),
    ],
)
def test_frames_are_those_of_the_pipeline(how: dict[str, float], asked: dict[str, float], tiny_folder: Folders) -> None:
    """Its defaults, the noise that follows the time, and what the releases from 0.9.1 on advise."""
    from diffusers.pipelines.ltx import pipeline_ltx_condition as module

    model, pipeline = with_decoder(tiny_folder("ltx_conditions"), **how), load_pipeline(tiny_folder("ltx_conditions"))
    noise = noise_for(model, 1)
    latents = sample(model, condition_for(model, "text", CAPTIONS[:1], 1), noise, steps=2)
    drawn = noise_of(model.family.denormalise(model.codec, latents)[0])[None]
    given = iter([noise, drawn])
    with patched(module, "randn_tensor", lambda *_, **__: next(given).clone()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        theirs = pipeline(
            prompt=CAPTIONS[0],
            height=noise.shape[3] * model.spec.spatial_ratio,
            width=noise.shape[4] * model.spec.spatial_ratio,
            num_frames=clips_for(model).shape[1],
            frame_rate=25,
            num_inference_steps=2,
            guidance_scale=1.0,
            output_type="np",
            **asked,
        ).frames[0]
    assert next(given, None) is None
    ours = model.decode(latents)[0] / 255
    assert np.abs(ours - theirs).max() < 1.5 / 255
    if how:
        assert np.abs(with_decoder(tiny_folder("ltx_conditions")).decode(latents)[0] / 255 - theirs).max() > 3 / 255


def test_a_clip_is_decoded_alike_in_any_batch_and_clips_getnoise_of_their_own(tiny_folder: Folders) -> None:
    model = with_decoder(tiny_folder("ltx_conditions"), decode_timestep=0.5)
    latents = noise_for(model, 2)
    assert (model.decode(latents) == np.concatenate([model.decode(latents[:1]), model.decode(latents[1:])])).all()
    one, other = noise_of(latents[0]), noise_of(latents[1])
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])) < 0.2
    assert 0.8 < float(one.std()) < 1.2


def test_latents_are_the_same_whatever_the_decoder_is_told(tiny_folder: Folders) -> None:
    told, untold = (with_decoder(tiny_folder("ltx_conditions"), decode_timestep=t) for t in (0.05, 0.0))
    assert told.codec_fingerprint == untold.codec_fingerprint
    assert torch.equal(told.encode(clips_for(told)), untold.encode(clips_for(told)))


@pytest.mark.parametrize("name", ["wan", "ltx", "cogvideox", "animatediff"])
def test_decoders_that_are_told_no_time(name: str, tiny_folder: Folders) -> None:
    for how in (LoadOptions(decode_timestep=0.05), LoadOptions(decode_noise_scale=0.025)):
        with pytest.raises(ValueError, match=r"backbone\.decode_timestep, decode_noise_scale: the decoder of this"):
            load_backbone(BACKBONE[name], str(tiny_folder(name)), how)


def test_first_frames_are_noisy_while_a_clip_is_sampled(tiny_model: Models) -> None:
    """By scale * t^2, by a seed for each clip, with time 0 told; the clip starts clean."""
    model = tiny_model("ltx_conditions")
    assert model.spec.image_cond_noise_scale == OWN_NOISE
    condition, noise = condition_for(model, "first_frame"), noise_for(model)
    first = condition.first_frame
    assert first is not None
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watched(DiffusersBackbone):
        def predict(self, noised_BCFHW, t_BF, condition):  # type: ignore[no-untyped-def]
            asked.append((noised_BCFHW[:, :, :1] - first, t_BF))
            return model.predict(noised_BCFHW, t_BF, condition)

    watched = Watched(model.folder, model.family, model.options)
    made = sample(watched, condition, noise, steps=6, seeds=[4, 5])
    assert torch.equal(made[:, :, :1], first)
    for off, t in asked:
        assert bool((t[:, 0] == 0).all())
        assert float(off.std()) == pytest.approx(OWN_NOISE * float(t[0, -1]) ** 2, rel=0.35)
    fresh = torch.stack([(off / float(t[0, -1]) ** 2).flatten() for off, t in asked])
    assert (torch.corrcoef(fresh) - torch.eye(len(fresh))).abs().max() < 0.5  # of its own in each step
    alone = sample(model, condition[1:], noise[1:], steps=6, seeds=[5])
    torch.testing.assert_close(alone, made[1:], rtol=1e-3, atol=1e-4)
    asked.clear()
    still = sample(watched, condition, noise, steps=6, image_cond_noise_scale=0.0)
    assert all(bool((off == 0).all()) for off, _ in asked)
    assert (still - made).abs().max() > 1e-3


def test_what_the_network_is_given_is_the_pipelines(
    tiny_folder: Folders, tiny_model: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step, noise on the first frame and times among it; the pipeline runs with its defaults."""
    model, pipeline = tiny_model("ltx_conditions"), load_pipeline(tiny_folder("ltx_conditions"))
    noise, clips = noise_for(model, 1), clips_for(model, 1)
    given: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"ours": [], "theirs": []}

    def watch(network: Any, who: str) -> None:
        forward = network.forward

        def watched(*args: Any, **named: Any) -> Any:
            names = ("hidden_states", "encoder_hidden_states", "timestep", "encoder_attention_mask")
            named |= dict(zip(names, args, strict=False))
            given[who].append((named["hidden_states"].clone(), named["timestep"].clone()))
            return forward(**named)

        monkeypatch.setattr(network, "forward", watched)

    watch(model.network, "ours")
    watch(pipeline.transformer, "theirs")
    sample(model, condition_for(model, "first_frame", CAPTIONS[:1], 1), noise, steps=4, seeds=[SEED])
    ask(pipeline, "first_frame", noise, CAPTIONS[0], "", clips[0], 4, 1.0)
    assert len(given["ours"]) == len(given["theirs"]) == 4
    first = noise.shape[3] * noise.shape[4]
    for (ours, our_times), (theirs, their_times) in zip(*given.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(our_times, their_times)
        assert not our_times[:, :first].any()
    spreads = [float((ours - given["ours"][-1][0])[:, :first].std()) for ours, _ in given["ours"]]
    assert spreads[0] > 0.1  # which is the noise of the first step


@pytest.mark.parametrize(("name", "mode"), [case for case in CASES if case[1] == "first_frame"])
def test_no_other_model_has_such_noise(name: str, mode: str, tiny_model: Models) -> None:
    model = tiny_model(name)
    if name == "ltx_conditions":
        return
    assert model.spec.image_cond_noise_scale is None
    with pytest.raises(
        ValueError, match=r"generate\.image_cond_noise_scale: this \w+ is not sampled with noise on its"
    ):
        sample(
            model, condition_for(model, mode, CAPTIONS[:1], 1), noise_for(model, 1), steps=1, image_cond_noise_scale=0.1
        )


@pytest.mark.parametrize(
    ("of", "name", "why"),
    [
        ("ltx", "LTX-Video-0.9.8-13B-distilled", "its name"),
        ("ltx2", "LTX-2-19b-distilled", "its name"),
        ("wan", "FastWan2.1-T2V-1.3B-Diffusers", "its name"),
        ("wan", "Wan2.1-T2V-14B-StepDistill-CfgDistill-Lightx2v", "its name"),
        ("hunyuan", "FastHunyuan-diffusers", "its name"),
        ("animatediff", "AnimateDiff-Lightning", "its name"),
    ],
)
def test_models_of_few_steps_are_refused_by_name(
    of: str, name: str, why: str, tiny_folder: Folders, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.symlink_to(tiny_folder(of))
    with pytest.raises(ValueError) as caught:
        load_backbone(of, str(folder))
    assert f"{folder}: a model distilled to few steps, according to {why} ({name})," in str(caught.value)


@pytest.mark.parametrize(
    ("of", "file", "key", "value", "why"),
    [
        (
            "ltx_conditions",
            "model_index.json",
            "_name_or_path",
            "Lightricks/LTX-Video-0.9.7-distilled",
            "0.9.7-distilled",
        ),
        ("wan", "transformer/config.json", "_name_or_path", "/tmp/turbo/Wan-CausVid", "Wan-CausVid"),
        ("hunyuan15", "transformer/config.json", "use_meanflow", True, "use_meanflow"),
        ("animatediff", "model_index.json", "scheduler", ["diffusers", "LCMScheduler"], "LCMScheduler"),
    ],
)
def test_models_of_few_steps_are_refused_by_what_the_folder_says(
    of: str, file: str, key: str, value: object, why: str, tiny_folder: Folders, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder(of), tmp_path / "model"))
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**config, key: value}))
    with pytest.raises(ValueError) as caught:
        load_backbone(BACKBONE[of], str(folder))
    assert f"distilled to few steps, according to {file} (" in str(caught.value) and why in str(caught.value)


@pytest.mark.parametrize("name", ["480p_t2v_distilled", "undistilled", "Wan2.1-T2V-1.3B-Diffusers"])
def test_guidance_that_was_distilled_is_no_reason(name: str, tiny_folder: Folders, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tiny_folder("hunyuan15"))
    assert load_backbone("hunyuan15", str(tmp_path / name)).spec.name == "hunyuan15"


@pytest.mark.parametrize("name", list(all_models()))
@pytest.mark.parametrize("shift", [None, 3.0])
def test_network_is_told_the_noise_that_the_latents_have(shift: float | None, name: str) -> None:
    """At the released schedules and at another shift. UniPC rounds to whole steps of 1000."""
    row = all_models()[name]
    spec = family_of(ModelMatch(row)).spec(released(name), LoadOptions())
    if isinstance(spec.path, Flow):
        assert spec.solver is not None
        solver: Any = spec.solver(6, shift, 1.0, (16, 16, 22))
        assert (solver.levels - solver.scheduler.sigmas[:-1]).abs().max() < 1.1e-3


def test_a_schedule_that_needs_two_steps_says_so(tiny_model: Models) -> None:
    """Levels that are stretched to an end cannot be one level alone. Was: latents that are no numbers, in silence."""
    model = tiny_model("ltx")
    words = "generate.steps 1: too few for the schedule of this ltx; set it to 2 or more"
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=words):
        sample(model, condition_for(model, "text"), noise_for(model), steps=1)
