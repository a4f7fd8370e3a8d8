"""Prompts to candidates: what names one, what a second call makes, and what of a batch reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rushes import encode, generate
from rushes.backbones.tiny import TinyBackbone
from rushes.config.tables import BackboneSettings, FootageSettings, GenerateSettings
from rushes.footage.world import import_world
from rushes.generate import GenerationContext
from rushes.media.read import read_video
from rushes.noise.paths import Flow, NoisePath, VariancePreserving
from rushes.records import Clip, stable_hash
from rushes.store.database import Store
from rushes.store.latents import LatentKey

LATER = (
    "decode_timestep",
    "decode_noise_scale",
    "text_quantize",
    "text_offload",
    "attention",
    "compile",
    "chunk_size_feed_forward",
    "sizes",
    "lengths",
    "rates",
)  # settings of [backbone] that older projects lack
SETTINGS = GenerateSettings(takes=2, steps=2, batch=4)


@pytest.fixture(scope="module")
def backbone() -> TinyBackbone:
    return TinyBackbone.load()


@pytest.fixture
def context(tmp_path: Path, backbone: TinyBackbone) -> Iterator[GenerationContext]:
    """Four clips of the embedded world, encoded."""
    with Store.create(tmp_path / "project") as store:
        import_world(store, FootageSettings(clips=4, eval_prompts=0), BackboneSettings(), seed=0)
        latents = encode.open_latents(store, backbone, BackboneSettings(), "crop")
        media = [clip.media for clip in store.clips()]
        encode.encode(
            store.media,
            latents,
            backbone,
            BackboneSettings(),
            "crop",
            encode.jobs(latents, map(LatentKey, media), [LatentKey(each, first=True) for each in media]),
        )
        yield GenerationContext(latents, backbone, BackboneSettings(), SETTINGS, store=store, system="base")


def with_settings(context: GenerationContext, **changes: object) -> GenerationContext:
    return replace(context, settings=SETTINGS.model_copy(update=changes))


def ids(context: GenerationContext, seed: int = 0) -> list[str]:
    return [request.id for request in generate.requests(context, context.store.clips(), seed)]


def make(context: GenerationContext) -> int:
    missing = generate.missing(context, generate.requests(context, context.store.clips(), 0)).requests
    generate.generate(context, missing)
    return len(missing)


def test_takes_are_made_once_and_say_where_they_come_from(context: GenerationContext, backbone: TinyBackbone) -> None:
    assert (make(context), make(context)) == (8, 0)
    takes = context.store.candidates()
    assert [take.id for take in takes] == ids(context)
    clip = context.store.clips()[0]
    first = takes[0]
    assert (first.group, first.clip_id, first.caption, first.split) == (clip.id, clip.id, clip.caption, "train")
    assert (first.kind, first.system, first.made_by, first.eta) == ("take", "base", backbone.fingerprint, None)
    assert (first.frames, first.fps, first.width_px) == (33, 8.0, 128)
    assert len({take.media for take in takes}) == 8


def test_take_starts_from_the_first_frame_of_its_clip(context: GenerationContext) -> None:
    make(context)
    for clip in context.store.clips():
        real = read_video(context.store.media_path(clip.media), size_px=(64, 64)).frames_FHWC[0]
        for take in context.store.candidates(group=clip.id):
            frame = read_video(context.store.media_path(take.media), size_px=(64, 64)).frames_FHWC[0]
            assert np.abs(frame.astype(float) - real).mean() < 6  # codec and file


def test_name_of_a_take_tells_what_it_depends_on(context: GenerationContext) -> None:
    own = set(ids(context))
    assert len(own) == 8
    for same in ({"batch": 1}, {"eta": (0.5, 0.6)}):
        assert set(ids(with_settings(context, **same))) == own
    assert set(ids(with_settings(context, takes=3))) > own
    guided = set(ids(with_settings(context, kind="guided")))
    for other in (
        set(ids(with_settings(context, steps=3))),
        set(ids(with_settings(context, shift=2.0))),
        set(ids(with_settings(context, guidance_scale=2.0))),
        set(ids(context, seed=1)),
        set(ids(replace(context, system="run"))),
        set(ids(replace(context, size=BackboneSettings(first_frame=False)))),
        set(ids(with_settings(context, kind="guided", eta=(0.5, 0.6)))),
        guided,
    ):
        assert len(other) == 8 and not other & own
    assert (
        set(ids(replace(context, size=BackboneSettings(path="/elsewhere")))) == own
    )  # the weights' fingerprint counts, no path


def test_take_does_not_depend_on_its_batch(context: GenerationContext, backbone: TinyBackbone, tmp_path: Path) -> None:
    make(context)
    with Store.create(tmp_path / "other") as store:
        import_world(store, FootageSettings(clips=4, eval_prompts=0), BackboneSettings(), seed=0)
        alone = replace(context, store=store, settings=SETTINGS.model_copy(update={"batch": 1}))
        make(alone)
        for one, other in zip(context.store.candidates(), store.candidates(), strict=True):
            assert one.id == other.id
            frames = [
                read_video(each.media_path(row.media)).frames_FHWC.astype(float)
                for each, row in ((context.store, one), (store, other))
            ]
            assert np.abs(frames[0] - frames[1]).mean() < 0.5


def test_stopped_stage_keeps_whole_batches(context: GenerationContext, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []

    def stop(count: float, facts: str = "") -> None:
        ticks.append(count)
        if sum(ticks) >= 4:
            raise KeyboardInterrupt

    missing = generate.missing(context, generate.requests(context, context.store.clips(), 0)).requests
    with pytest.raises(KeyboardInterrupt):
        generate.generate(context, missing, stop)
    assert sum(ticks) == 4 and 0 < ticks[0] < 4, "the bar moves while a batch is made"
    assert len(context.store.candidates()) == 4
    assert make(context) == 4
    assert [take.id for take in context.store.candidates()] == ids(context)


def test_guided_takes_of_a_clip_share_one_noise_level(context: GenerationContext) -> None:
    guided = with_settings(context, kind="guided", eta=(0.3, 0.9))
    make(guided)
    levels = {clip.id: {c.eta for c in context.store.candidates(group=clip.id)} for clip in context.store.clips()}
    assert all(len(of_clip) == 1 for of_clip in levels.values())
    flat = {eta for of_clip in levels.values() for eta in of_clip}
    assert len(flat) == 4 and all(eta is not None and 0.3 <= eta <= 0.9 for eta in flat)


def test_guided_takes_stay_close_to_their_clip(context: GenerationContext) -> None:
    near = with_settings(context, kind="guided", eta=(0.05, 0.06), steps=8)
    make(near)
    for take in context.store.candidates(kind="guided"):
        real = context.store.get(take.clip_id)
        assert isinstance(real, Clip)
        videos = [
            read_video(context.store.media_path(row.media), size_px=(64, 64)).frames_FHWC.astype(float)
            for row in (take, real)
        ]
        assert np.abs(videos[0] - videos[1]).mean() < 10


def test_missing_latent_is_named(context: GenerationContext, backbone: TinyBackbone) -> None:
    elsewhere = encode.open_latents(context.store, backbone, BackboneSettings(height_px=48), "crop")
    with pytest.raises(ValueError, match="run `rushes generate`"):
        make(replace(context, latents=elsewhere))


def test_gap_takes_answer_a_prompt_with_words_left_out(context: GenerationContext) -> None:
    gaps = with_settings(context, kind="gap")
    make(gaps)
    takes = context.store.candidates(kind="gap")
    assert len(takes) == 8 and len(set(ids(gaps))) == 8
    for take in takes:
        clip = context.store.get(take.clip_id)
        assert isinstance(clip, Clip)
        words = iter(clip.caption.split())
        assert all(word in words for word in take.caption.split())  # in their order
        count = len(clip.caption.split())
        assert count - len(take.caption.split()) == round(0.3 * count)
        assert take.group == clip.id and take.eta is None


def test_the_model_is_told_the_prompt_with_gaps(context: GenerationContext, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []
    condition = context.backbone.condition

    def listening(captions: list[str], *rest: object, **more: object) -> object:
        prompts.extend(captions)
        return condition(captions, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(context.backbone, "condition", listening)
    make(with_settings(context, kind="gap"))
    assert prompts == [take.caption for take in context.store.candidates(kind="gap")]


def test_the_share_of_words_names_gap_takes_alone(context: GenerationContext) -> None:
    assert ids(with_settings(context, mask=0.5)) == ids(context)
    gaps = [set(ids(with_settings(context, kind="gap", mask=mask))) for mask in (0.3, 0.5)]
    assert not gaps[0] & gaps[1] and not gaps[0] & set(ids(context))


def with_path(context: GenerationContext, path: NoisePath) -> GenerationContext:
    class Other(TinyBackbone):
        def __init__(self) -> None:
            self.spec = replace(context.backbone.spec, path=path)

    return replace(context, backbone=Other())


def former(generate: dict[str, Any]) -> dict[str, Any]:
    """The table under the names that takes are named by."""
    first = {"guidance_scale": "guidance", "negative_prompt": "negative", "adain_share": "match"}
    return {first.get(name, name): value for name, value in generate.items()}


def test_guided_takes_of_the_older_meaning_of_eta_are_others(context: GenerationContext) -> None:
    """On a variance-preserving path eta was the share of training steps. On a flow it means what it always has."""
    schedule = VariancePreserving(torch.linspace(0.999, 0.01, 100))

    def hashed(path: NoisePath, kind: str) -> str:
        return with_path(with_settings(context, kind=kind), path).settings_hash

    def as_it_was(kind: str) -> str:
        unused = {
            "takes",
            "batch",
            *({"eta"} if kind == "take" else ()),
            "mask",
            "guidance_scale_2",
            "image_cond_noise_scale",
        }
        size = BackboneSettings().model_dump(exclude={"path", "gradient_checkpointing", *LATER})
        size["tiling"] = True
        settings = SETTINGS.model_copy(update={"kind": kind})
        return stable_hash([former(settings.model_dump(mode="json", exclude=unused)), size])

    assert hashed(Flow(), "guided") == as_it_was("guided") != hashed(schedule, "guided")
    assert hashed(Flow(), "take") == as_it_was("take") == hashed(schedule, "take")


def test_probes_are_named_by_nothing_that_does_not_concern_them(context: GenerationContext) -> None:
    probe = replace(context, kind="probe")
    others = [with_settings(probe, **change) for change in ({"eta": (0.1, 0.2)}, {"kind": "guided"}, {"takes": 9})]
    assert {each.settings_hash for each in others} == {probe.settings_hash} != {context.settings_hash}
    assert with_settings(probe, steps=3).settings_hash != probe.settings_hash


def test_a_request_at_no_noise_is_the_real_clip_after_the_codec(context: GenerationContext) -> None:
    clip = context.store.clips()[0]
    (frames,) = generate.frames_of(context, [generate.Request("", clip, clip.caption, 0, 0.0)])
    latent = context.latents.get(clip.media)
    assert latent is not None and np.array_equal(frames, context.backbone.decode(latent.float()[None])[0])


@pytest.mark.parametrize(
    ("caption", "share", "left"), [("a b c d e f g h i j", 0.3, 7), ("a b c", 0.01, 2), ("a", 0.3, 0), ("a b", 1.0, 0)]
)
def test_at_least_one_word_is_left_out(caption: str, share: float, left: int) -> None:
    texts = {generate.masked(caption, share, seed) for seed in range(30)}
    assert {len(text.split()) for text in texts} == {left}
    assert left == 0 or len(texts) > 1
    assert generate.masked(caption, share, 7) == generate.masked(caption, share, 7)


def test_nothing_can_be_left_out_of_nothing() -> None:
    with pytest.raises(ValueError, match="a clip without a caption has no words to leave out"):
        generate.masked(" ", 0.3, 0)


def test_settings_that_came_later_count_where_they_are_set(context: GenerationContext) -> None:
    """At their defaults takes are what they were, so those of older projects are not made again."""
    before = {**SETTINGS.model_dump(mode="json", exclude={"takes", "batch", "eta", "mask"})}
    size = BackboneSettings().model_dump(exclude={"path", "gradient_checkpointing"})
    for name in ("guidance_scale_2", "image_cond_noise_scale"):
        before.pop(name)
    for name in LATER:
        size.pop(name)
    assert context.settings_hash == stable_hash([former(before), size | {"tiling": True}])
    whole = replace(context, size=BackboneSettings(tiling=False))
    timed = replace(context, size=BackboneSettings(decode_timestep=0.05))
    hashes = {each.settings_hash for each in (context, whole, timed, with_settings(context, guidance_scale_2=3.0))}
    assert len(hashes) == 4
    cheaper = replace(
        context, size=BackboneSettings(text_offload=True, compile=True, offload=True, gradient_checkpointing=False)
    )
    assert (
        cheaper.settings_hash
        == context.settings_hash
        != replace(cheaper, size=BackboneSettings(attention="flash")).settings_hash
    )
    assert replace(context, size=BackboneSettings(tiling=True)).settings_hash == context.settings_hash


def test_the_models_own_noise_is_in_the_name_of_a_take(
    context: GenerationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = context.settings_hash
    spec = replace(context.backbone.spec, image_cond_noise_scale=0.15)
    monkeypatch.setattr(context.backbone, "spec", spec)
    own, same, none = (with_settings(context, image_cond_noise_scale=scale) for scale in (-1.0, 0.15, 0.0))
    assert (own.noise, same.noise, none.noise) == (0.15, 0.15, 0.0)
    assert own.settings_hash == same.settings_hash != before == none.settings_hash
    one, other = generate.requests(own, own.store.clips(), 0)[:2]
    alone = generate.frames_of(own, [other])
    beside = generate.frames_of(own, [one, other])[1:]
    assert np.abs(beside.astype(int) - alone).max() <= 1  # a batch of two rounds otherwise
    assert (generate.frames_of(none, [other]) != alone).any()


def test_sampling_is_asked_for_what_the_settings_say(
    context: GenerationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(context.backbone.spec, image_cond_noise_scale=0.15)
    monkeypatch.setattr(context.backbone, "spec", spec)
    asked: dict[str, Any] = {}

    def sample(_: object, condition: object, noise_BCFHW: torch.Tensor, **named: Any) -> torch.Tensor:
        asked.update(named)
        return noise_BCFHW

    monkeypatch.setattr(generate, "sample", sample)
    own = with_settings(context, steps=3, shift=5.0, guidance_scale=4.0, guidance_scale_2=3.0, adain_share=0.5)
    requests = generate.requests(own, own.store.clips(), 0)[:2]
    generate.frames_of(own, requests)
    assert asked.pop("unconditional") is not None and callable(asked.pop("stepped"))
    assert asked == {
        "steps": 3, "shift": 5.0, "guidance": 4.0, "guidance_2": 3.0, "match": 0.5, "start_BCFHW": None, "eta": 1.0,
        "image_cond_noise_scale": 0.15, "seeds": [request.seed for request in requests],
    }  # fmt: skip
    generate.frames_of(with_settings(own, image_cond_noise_scale=0.3), requests)
    assert (asked["image_cond_noise_scale"], asked["shift"], asked["guidance_2"]) == (0.3, None, 0.0)


def test_guidance_of_the_second_expert_alone_asks_for_a_second_pass(context: GenerationContext) -> None:
    def away(**scales: float) -> str | None:
        settings = with_settings(context, negative_prompt="blurry", **scales).settings
        return generate.negative_prompt(settings, context.backbone.spec)

    assert away(guidance_scale=1.0) is None
    assert away(guidance_scale=1.0, guidance_scale_2=3.0) == "blurry"
    assert away(guidance_scale=3.0, guidance_scale_2=1.0) == "blurry"
