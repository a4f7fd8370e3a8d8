"""What holds for every family of diffusers, on tiny random pipelines written to disk and loaded back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rushes.backbones.adapters import add_lora, merge_lora
from rushes.backbones.base import Condition, LoadOptions, Precision, ReadsTogether
from rushes.backbones.caption_tokens import caption_measure
from rushes.backbones.loading import load_backbone
from rushes.backbones.pipeline import DiffusersBackbone
from rushes.backbones.sampling import sample
from rushes.backbones.table import backbone_table
from rushes.export.weights import load_lines
from rushes.noise.paths import VariancePreserving

from .references import CASES, SEED, ask, load_pipeline, pipeline_sample
from .tiny_pipelines import BACKBONE, MAKERS

Models = Callable[[str], DiffusersBackbone]
CAPTIONS = ["a red ball falls", 'the dog, running fast, jumps over a "fence"!']
NORMALISED_OVER_TIME = {"cogvideox", "hunyuan"}  # their codecs' group norms see a whole chunk of frames
every_model = pytest.mark.parametrize("name", MAKERS)
every_case = pytest.mark.parametrize(("name", "mode"), CASES)


def size_of(model: DiffusersBackbone) -> tuple[int, int]:
    multiple = model.spec.multiple_px or model.spec.spatial_ratio
    # Some pipelines know the released codec's ratio alone, which the tiny ones do not have.
    multiple = {"ltx": 32, "ltx2": 32, "animatediff": 8}.get(model.spec.name, multiple)
    side = -(-32 // multiple)
    return side * multiple, (side + 1) * multiple


def frames_of(model: DiffusersBackbone) -> int:
    return model.spec.largest({1: 3, 2: 5}.get(model.spec.temporal_ratio, 9))


def clips_for(model: DiffusersBackbone, count: int = 2) -> NDArray[np.uint8]:
    """[B, T, H, W, 3], smooth in space and time, as real ones are."""
    h, w = size_of(model)
    t, y, x = np.meshgrid(*(np.arange(n) for n in (frames_of(model), h, w)), indexing="ij")
    waves = [np.sin((b + 1) * (0.1 * x + 0.05 * y + 0.3 * t)[..., None] + np.arange(3)) for b in range(count)]
    return ((np.stack(waves) + 1) * 127.5).round().astype(np.uint8)


def noise_for(model: DiffusersBackbone, count: int = 2, seed: int = 0) -> Tensor:
    spec, (h, w) = model.spec, size_of(model)
    shape = (
        count,
        spec.channels,
        spec.latent_frames(frames_of(model)),
        h // spec.spatial_ratio,
        w // spec.spatial_ratio,
    )
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def condition_for(model: DiffusersBackbone, mode: str, captions: list[str] | None = None, rows: int = 2) -> Condition:
    captions = CAPTIONS[:rows] if captions is None else captions
    if mode == "text":
        return model.condition(captions)
    stills = clips_for(model, rows)[:, 0]
    return model.condition(captions, model.encode(stills[:, None])[:, :, 0], **model.still(stills, frames_of(model)))


def read(model: DiffusersBackbone, captions: list[str]) -> Condition:
    """Captions, under one first frame where they are read together with it."""
    if not isinstance(model, ReadsTogether):
        return model.condition(captions)
    stills = clips_for(model, 1)[[0] * len(captions), 0]
    return model.condition(captions, model.encode(stills[:, None])[:, :, 0], **model.still(stills, frames_of(model)))


def mode_of(model: DiffusersBackbone) -> str:
    return model.spec.modes[-1]


def times_for(model: DiffusersBackbone, condition: Condition, level: float, rows: int = 2) -> Tensor:
    t = torch.full((rows, noise_for(model).shape[2]), level)
    if condition.first_frame is not None:
        t[:, 0] = 0.0
    return t


def test_every_family_has_a_tiny_pipeline() -> None:
    assert {name for name, _ in CASES} == set(MAKERS)


@every_model
def test_the_table_holds_for_each_variant(name: str, tiny_model: Models) -> None:
    spec = tiny_model(name).spec
    (row,) = [row for row in backbone_table() if row.name == spec.name]
    kind = spec.path.predicts if isinstance(spec.path, VariancePreserving) else "flow"
    assert spec.name == BACKBONE[name] and set(spec.modes) <= set(row.modes) and kind == row.path


@every_case
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_sampling_equals_the_pipeline(
    name: str, mode: str, guidance: float, tiny_folder: Callable[[str], Path], tiny_model: Models
) -> None:
    model = tiny_model(name)
    noise = noise_for(model, 1)
    condition = condition_for(model, mode, CAPTIONS[1:], 1)
    unconditional = condition_for(model, mode, ["blurry"], 1)
    made = sample(model, condition, noise, steps=4, guidance=guidance, unconditional=unconditional, seeds=[SEED])
    theirs = pipeline_sample(tiny_folder(name), mode, noise, CAPTIONS[1], "blurry", clips_for(model)[0], 4, guidance)
    assert theirs.shape == made.shape
    torch.testing.assert_close(made, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize(("name", "mode"), [("wan_experts", "text"), ("wan_i2v_experts", "first_frame")])
@pytest.mark.parametrize("scale_2", [1.5, 1.0])
def test_each_expert_has_its_guidance(
    name: str, mode: str, scale_2: float, tiny_folder: Callable[[str], Path], tiny_model: Models
) -> None:
    model, noise = tiny_model(name), noise_for(tiny_model(name), 1)
    condition, away = (condition_for(model, mode, [caption], 1) for caption in (CAPTIONS[1], "blurry"))
    guided = partial(sample, model, condition, noise, steps=4, guidance=4.0, unconditional=away)
    made = guided(guidance_2=scale_2)
    said = (CAPTIONS[1], "blurry", clips_for(model)[0], 4, 4.0)
    theirs = pipeline_sample(tiny_folder(name), mode, noise, *said, guidance_scale_2=scale_2)
    torch.testing.assert_close(made, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    alike = guided()
    assert (alike - made).norm() > 0.01 * made.norm()
    assert torch.equal(alike, guided(guidance_2=4.0))


@pytest.mark.parametrize("name", ["wan", "cogvideox", "ltx", "ltx2", "mochi", "hunyuan15", "animatediff"])
def test_no_negative_caption_is_an_empty_one(name: str, tiny_folder: Callable[[str], Path], tiny_model: Models) -> None:
    model, noise = tiny_model(name), noise_for(tiny_model(name), 1)
    condition, away = (condition_for(model, "text", [caption], 1) for caption in (CAPTIONS[1], ""))
    made = sample(model, condition, noise, steps=2, guidance=3.0, unconditional=away)
    theirs = pipeline_sample(tiny_folder(name), "text", noise, CAPTIONS[1], None, clips_for(model)[0], 2, 3.0)
    torch.testing.assert_close(made, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@every_model
def test_codec_shapes(name: str, tiny_model: Models) -> None:
    model = tiny_model(name)
    clips = clips_for(model)
    latents = model.encode(clips)
    assert latents.shape == noise_for(model).shape
    assert latents.dtype == torch.float32 and not latents.requires_grad and latents.isfinite().all()
    frames = model.decode(latents)
    assert frames.shape == clips.shape and frames.dtype == np.uint8
    assert torch.equal(model.encode(clips[1:]), latents[1:])


@every_model
def test_decoding_undoes_the_normalisation(name: str, tiny_model: Models) -> None:
    model = tiny_model(name)
    latents = noise_for(model)
    back = model.family.normalise(model.codec, model.family.denormalise(model.codec, latents))
    torch.testing.assert_close(back, latents)


@every_model
def test_a_latent_frame_sees_nothing_later(name: str, tiny_model: Models) -> None:
    """So a still's latent is that of the clip's first frame, and labels per latent frame mean something."""
    model = tiny_model(name)
    clips, lead = clips_for(model, 1), model.spec.lead
    before = model.encode(clips)
    alone = model.encode(clips[:, :1])
    clips[:, -1] ^= 255
    apart = (model.encode(clips) - before).abs().amax((0, 1, 3, 4))
    assert apart[-1] > 1e-2
    if model.spec.name in NORMALISED_OVER_TIME:
        return
    assert apart[:-1].max() < 1e-4
    torch.testing.assert_close(alone[:, :, -1], before[:, :, lead], rtol=1e-4, atol=1e-4)


@every_model
def test_sizes_and_lengths_that_it_cannot_take(name: str, tiny_model: Models) -> None:
    model = tiny_model(name)
    clips = clips_for(model, 1)
    with pytest.raises(ValueError, match=r"needs heights and widths that are multiples of \d+ px, got|works only at"):
        model.encode(clips[:, :, 1:])
    if model.spec.temporal_ratio > 1:
        with pytest.raises(
            ValueError, match=r"needs 1 \+ \d+ k frames, got \d+; use \d+ or \d+|works only with \d+ frames"
        ):
            model.encode(clips[:, :-1])


@every_model
def test_a_perfect_predictor_makes_no_error(name: str, tiny_model: Models) -> None:
    """Noising and target agree with the model's own scheduler: from its prediction comes the clean clip."""
    model = tiny_model(name)
    clean, noise = noise_for(model, seed=1), noise_for(model, seed=2)
    perfect = Perfect(model, clean, noise)
    assert model.spec.solver is not None
    highest = model.spec.solver(5, None, 1.0, (3, 4, 4)).levels[0]  # Stable Diffusion's are not of pure noise
    first = model.spec.path.mix(clean, noise, highest.expand(2, clean.shape[2]))
    for eta, start, of in ((1.0, None, first), (0.6, clean, noise)):
        under = Condition(torch.zeros(2, 1), None, {"first": clean[:, :, :1]})
        made = sample(perfect, under, of, steps=5, start_BCFHW=start, eta=eta)
        # UniPC is told times that are rounded down to thousandths; DDIM at almost pure noise divides by little.
        torch.testing.assert_close(made, clean, rtol=0, atol=0.02)
    begin = model.spec.path.time_of_share(0.6)
    assert len(perfect.levels) >= 6 and float(perfect.levels[5]) == pytest.approx(begin)


class Perfect(DiffusersBackbone):
    """Knows the clip and the noise: its prediction is the path's target."""

    def __init__(self, model: DiffusersBackbone, clean: Tensor, noise: Tensor) -> None:
        super().__init__(model.folder, model.family, model.options)
        self.clean, self.noise = clean, noise
        self.levels: list[Tensor] = []

    def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
        self.levels.append(t_BF[0, -1])
        return self.spec.path.target(self.clean, self.noise, t_BF)


@every_model
def test_noising_is_the_schedulers(name: str, tiny_model: Models) -> None:
    model = tiny_model(name)
    scheduler = model.folder.cls("scheduler").from_config(model.folder.config("scheduler"))
    clean, noise = noise_for(model, 1, 1), noise_for(model, 1, 2)
    path = model.spec.path
    for index in (40, 500, 960):
        if isinstance(path, VariancePreserving):
            at, level = torch.tensor([index]), index / 999
            theirs = scheduler.add_noise(clean, noise, at)
            target = scheduler.get_velocity(clean, noise, at) if path.predicts == "v" else noise
        else:
            level = index / 1000
            scheduler.sigmas, scheduler.timesteps = torch.tensor([level, 0.0]), torch.tensor([1000 * level])
            mix = getattr(scheduler, "scale_noise", None)
            at = scheduler.timesteps[:1]
            theirs = mix(clean, at, noise) if mix else scheduler.add_noise(clean, noise, at)
            target = noise - clean
        t = torch.full((1, clean.shape[2]), level)
        torch.testing.assert_close(path.mix(clean, noise, t), theirs.float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(path.target(clean, noise, t), target.float(), rtol=1e-4, atol=1e-4)


@every_case
def test_prediction_hangs_on_all_that_it_is_given(name: str, mode: str, tiny_model: Models) -> None:
    model = tiny_model(name)
    latents, condition = noise_for(model), condition_for(model, mode)
    t = times_for(model, condition, 0.7)

    def ask(x: Tensor = latents, at: Tensor = t, under: Condition = condition) -> Tensor:
        with torch.no_grad():
            return model.predict(x, at, under)

    base = ask()
    assert base.shape == latents.shape and base.isfinite().all() and base.dtype == torch.float32
    swapped = condition_for(model, mode, CAPTIONS[::-1])
    others = {"latents": ask(x=latents + 0.3), "time": ask(at=t * 0.9), "caption": ask(under=swapped)}
    for key, value in condition.more.items():
        if value.is_floating_point():
            others[key] = ask(under=condition.with_more(**{key: value.flip(0)}))
    for key, other in others.items():
        assert (other - base).abs().max() > 1e-5, key


@every_case
def test_rows_do_not_see_each_other(name: str, mode: str, tiny_model: Models) -> None:
    """Nor captions beside them; and rows of different noise levels go to the expert of each."""
    model = tiny_model(name)
    latents, condition = noise_for(model), condition_for(model, mode)
    t = times_for(model, condition, 0.95)
    t[1] *= 0.3
    with torch.no_grad():
        together = model.predict(latents, t, condition)
        for row in (0, 1):
            its = slice(row, row + 1)
            alone = model.predict(latents[its], t[its], condition[its])
            torch.testing.assert_close(alone, together[its], rtol=1e-3, atol=1e-4)


@every_case
def test_guided_sampling_starts_from_the_mix(name: str, mode: str, tiny_model: Models) -> None:
    model = tiny_model(name)
    clean, noise, condition = noise_for(model, seed=1), noise_for(model, seed=2), condition_for(model, mode)
    asked: list[tuple[Tensor, Tensor]] = []

    class Watched(DiffusersBackbone):
        def predict(self, noised_BCFHW: Tensor, t_BF: Tensor, condition: Condition) -> Tensor:
            asked.append((noised_BCFHW.clone(), t_BF.clone()))
            return model.predict(noised_BCFHW, t_BF, condition)

    watched = Watched(model.folder, model.family, model.options)
    made = sample(watched, condition, noise, steps=8, start_BCFHW=clean, eta=0.7, image_cond_noise_scale=0.0)
    assert made.isfinite().all() and 1 < len(asked) < 8
    x, t = asked[0]
    level = times_for(model, condition, model.spec.path.time_of_share(0.7))
    torch.testing.assert_close(t, level)
    expected = model.spec.path.mix(clean, noise, level)
    if condition.first_frame is not None:
        expected[:, :, :1] = condition.first_frame
        assert torch.equal(made[:, :, :1], condition.first_frame)
    torch.testing.assert_close(x, expected)
    falling = [float(at[0, -1]) for _, at in asked]
    assert falling == sorted(falling, reverse=True)


@every_model
def test_any_words_will_do(name: str, tiny_model: Models) -> None:
    words = ["", "!?", "  \n", "小球落下", "🏀 ⛹️", "\ud800", "ball " * 600]
    condition = read(tiny_model(name), words)
    assert condition.text.isfinite().all() and len(condition.text) == len(words)


@every_model
def test_captions_are_read_once(name: str, tiny_model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(name)
    first = read(model, CAPTIONS)
    monkeypatch.setattr(model, "reader", lambda: pytest.fail("reads again"))
    again = read(model, CAPTIONS[::-1])
    assert torch.equal(first.text.flip(0), again.text)


@every_model
def test_adapter_off_is_the_base_and_alpha_counts(name: str, tiny_model: Models) -> None:
    model, base = tiny_model(name), tiny_model(name)
    latents, condition = noise_for(model), condition_for(model, mode_of(model))
    t = times_for(model, condition, 0.95)
    t[1] *= 0.5
    with torch.no_grad():
        before = base.predict(latents, t, condition)
        add_lora(model.network, model.spec.lora_targets, rank=4, alpha=8)
        trained = [p for p in model.network.parameters() if p.requires_grad]
        assert trained and all(p.dtype == torch.float32 for p in trained)
        assert torch.equal(model.predict(latents, t, condition), before)
        generator = torch.Generator().manual_seed(0)
        for p in trained:
            p.copy_(0.1 * torch.randn(p.shape, generator=generator))
        adapted = model.predict(latents, t, condition)
        assert ((adapted - before).abs().amax((1, 2, 3, 4)) > 1e-4).all()
        merge_lora(model.network)
        torch.testing.assert_close(model.predict(latents, t, condition), adapted, rtol=1e-3, atol=1e-4)


@every_model
def test_checkpointing_changes_no_gradient(name: str, tiny_folder: Callable[[str], Path]) -> None:
    gradients = []
    for checkpointing in (True, False):
        options = LoadOptions(checkpointing=checkpointing)
        model: Any = load_backbone(BACKBONE[name], str(tiny_folder(name)), options)
        torch.manual_seed(0)
        add_lora(model.network, model.spec.lora_targets, rank=2, alpha=2)
        trained = [p for p in model.network.parameters() if p.requires_grad]
        for p in trained:
            torch.nn.init.normal_(p, 0, 0.1)
        condition = condition_for(model, mode_of(model))
        t = times_for(model, condition, 0.95)
        model.predict(noise_for(model), t, condition).pow(2).mean().backward()
        gradients.append([p.grad for p in trained])
    assert sum(g is not None for g in gradients[0]) > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@every_model
@pytest.mark.parametrize("dtype", ["bfloat16", "mixed"])
def test_half_precision_answers_as_whole(name: str, dtype: Precision, tiny_folder: Callable[[str], Path]) -> None:
    whole: Any = load_backbone(BACKBONE[name], str(tiny_folder(name)))
    half: Any = load_backbone(BACKBONE[name], str(tiny_folder(name)), LoadOptions(dtype=dtype))
    condition = condition_for(whole, mode_of(whole))
    t = times_for(whole, condition, 0.7)
    with torch.no_grad():
        expected = whole.predict(noise_for(whole), t, condition)
        made = half.predict(noise_for(whole), t, condition)
    assert made.dtype == torch.float32 and not torch.equal(made, expected)
    assert (made - expected).norm() < 0.1 * expected.norm()
    wide = torch.float32 if dtype == "mixed" else torch.bfloat16
    assert {p.dtype for p in half.network.parameters()} <= {wide, torch.float32}


@every_model
def test_what_is_saved_is_loaded(name: str, tmp_path: Path, tiny_model: Models) -> None:
    model = tiny_model(name)
    with torch.no_grad():
        next(iter(model.network.parameters())).add_(0.1)
    model.save(tmp_path / "saved")
    other: Any = load_backbone(BACKBONE[name], str(tmp_path / "saved"))
    assert (model.fingerprint, model.codec_fingerprint) == (other.fingerprint, other.codec_fingerprint)
    assert other.fingerprint != tiny_model(name).fingerprint
    with pytest.raises(ValueError, match="already exists"):
        model.save(tmp_path / "saved")


@every_model
def test_diffusers_loads_the_adapter(
    name: str, tmp_path: Path, tiny_folder: Callable[[str], Path], tiny_model: Models
) -> None:
    """With alpha other than the rank: lost on the way, the adapter would act with another strength."""
    model, mode = tiny_model(name), mode_of(tiny_model(name))
    condition, noise = condition_for(model, mode, CAPTIONS[1:], 1), noise_for(model, 1)
    untrained = sample(model, condition, noise, steps=2, seeds=[SEED])
    add_lora(model.network, model.spec.lora_targets, rank=4, alpha=10)
    generator = torch.Generator().manual_seed(0)
    for p in model.network.parameters():
        if p.requires_grad:
            p.data = 0.1 * torch.randn(p.shape, generator=generator)
    model.save_lora(tmp_path / "lora")
    made = sample(model, condition, noise, steps=2, seeds=[SEED])
    assert (made - untrained).abs().max() > 1e-3
    pipeline = load_pipeline(tiny_folder(name))
    exec(load_lines(model, tmp_path / "lora"), {"pipeline": pipeline})  # as `rushes export` prints them
    theirs = ask(pipeline, mode, noise, CAPTIONS[1], "", clips_for(model)[0], 2, 1.0)
    torch.testing.assert_close(made, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("wan", {"tokenizer": 511}),
        ("ltx", {"tokenizer": 127}),
        ("mochi", {"tokenizer": 255}),
        ("animatediff", {"tokenizer": 75}),
        ("cogvideox", {"tokenizer": 225}),
        ("hunyuan", {"tokenizer": 256, "tokenizer_2": 75}),
        ("hunyuan15", {"tokenizer": 1000, "tokenizer_2": 255}),
    ],
)
def test_a_caption_is_measured_by_each_tokenizer_of_a_model(
    name: str, most: dict[str, int], tiny_folder: Callable[[str], Path]
) -> None:
    measure = caption_measure(name, str(tiny_folder(name)))
    short, long = measure('"abc"'), measure(f'"{"ab " * 1100}"')
    assert {each.tokenizer: each.most for each in short} == most and not any(each.seen for each in short)
    assert all(each.tokens > each.most and each.seen for each in long)
    if name == "hunyuan15":  # it reads by its letters what is in quotes
        assert [bool(each.seen) for each in measure("ab " * 1100)] == [True, False]


def test_a_model_of_the_hub_is_measured_where_its_tokenizers_are_in_the_cache(
    tiny_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"hub:a/b is not in this machine's cache; fetch its tokenizers: `hf download"):
        caption_measure("wan", "hub:a/b")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0"
    shutil.copytree(tiny_folder("wan") / "tokenizer", snapshot / "tokenizer")
    shutil.copy(tiny_folder("wan") / "model_index.json", snapshot)
    (tmp_path / "models--a--b/refs").mkdir()
    (tmp_path / "models--a--b/refs/main").write_text("0")
    assert [each.most for each in caption_measure("wan", "hub:a/b")("a dog")] == [511]
