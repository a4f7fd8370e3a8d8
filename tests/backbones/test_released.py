"""The table of released models: every part can be made, and has the size that was released."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.backbones.base import DEFAULTS
from rushes.backbones.folders import Folder
from rushes.backbones.model_defaults import RENAMED, all_models, released

from .random_weights import RandomWeights
from .tiny_pipelines import write

# Billions of weights. Wan: model cards and technical report (arXiv 2503.20314; 14B with image attention 16.4);
# CogVideoX: arXiv 2408.06072 and model cards; LTX-Video: arXiv 2501.00103 (1.9), model card of 0.9.7 (13);
# LTX-2: arXiv 2601.03233 (14 of video, 5 of audio); Mochi 1: genmoai/mochi, README.md (10);
# HunyuanVideo: arXiv 2412.03603 (13), 1.5: arXiv 2511.18870 (8.3);
# SkyReels V2: as Wan, 17 million for the clip's frame rate, 146 million for the image;
# Stable Diffusion 1.5: 860 million (model card); motion modules v2: 453 million (453 MB a byte of fp32/4).
NETWORKS = {
    "wan2.1-t2v-1.3b": 1.42,
    "wan2.1-t2v-14b": 14.29,
    "wan2.1-i2v-14b-480p": 16.4,
    "wan2.1-i2v-14b-720p": 16.4,
    "wan2.2-t2v-a14b": 14.29,
    "wan2.2-i2v-a14b": 14.29,
    "wan2.2-ti2v-5b": 5.0,
    "cogvideox-2b": 1.69,
    "cogvideox-5b": 5.57,
    "cogvideox-5b-i2v": 5.6,
    "cogvideox-1.5-5b": 5.57,
    "cogvideox-1.5-5b-i2v": 5.57,
    "ltx-video-0.9": 1.92,
    "ltx-video-0.9.1": 1.92,
    "ltx-video-0.9.5": 1.92,
    "ltx-video-0.9.7-13b": 13.0,
    "ltx-video-0.9.8-13b": 13.0,
    "ltx-2": 18.9,
    "mochi-1": 10.0,
    "hunyuanvideo": 12.8,
    "hunyuanvideo-i2v": 12.8,
    "hunyuanvideo-i2v-33ch": 12.8,
    "hunyuanvideo-1.5-480p-t2v": 8.3,
    "hunyuanvideo-1.5-480p-i2v": 8.3,
    "hunyuanvideo-1.5-720p-t2v": 8.3,
    "hunyuanvideo-1.5-720p-i2v": 8.3,
    "skyreels-v2-df-1.3b-540p": 1.436,
    "skyreels-v2-df-14b-540p": 14.29,
    "skyreels-v2-df-14b-720p": 14.29,
    "skyreels-v2-t2v-14b-540p": 14.29,
    "skyreels-v2-t2v-14b-720p": 14.29,
    "skyreels-v2-i2v-1.3b-540p": 1.564,
    "skyreels-v2-i2v-14b-540p": 16.4,
    "skyreels-v2-i2v-14b-720p": 16.4,
    "animatediff-sd1.5": 0.8595 + 0.4532,
    "stable-diffusion-1.5": 0.8595,
}
# What reads and what codes, by the model and part that is looked at: google/umt5-xxl and google/t5-v1_1-xxl without
# their decoders, CLIP ViT-H's vision (632 million) and ViT-L's text model, Llama 3 8B and Qwen2.5-VL 7B without their
# heads, llava-llama-3-8b (8.36), byt5-small's encoder, SigLIP so400m (428 million), Gemma 3 12B (12.2); codecs by the
# sizes of their files: Wan 508 MB in float32, 2.2 2.8 GB, CogVideoX 431 MB in bfloat16, HunyuanVideo 493 MB in float16,
# Stable Diffusion 335 MB in float32.
OTHERS = {
    ("wan2.1-t2v-1.3b", "text_encoder"): 5.68,
    ("wan2.1-i2v-14b-480p", "image_encoder"): 0.632,
    ("wan2.1-t2v-1.3b", "vae"): 0.127,
    ("wan2.2-ti2v-5b", "vae"): 0.705,
    ("cogvideox-2b", "text_encoder"): 4.76,
    ("cogvideox-2b", "vae"): 0.2156,
    ("ltx-2", "text_encoder"): 12.19,
    ("hunyuanvideo", "text_encoder"): 7.505,
    ("hunyuanvideo", "text_encoder_2"): 0.1231,
    ("hunyuanvideo", "vae"): 0.2465,
    ("hunyuanvideo-i2v", "text_encoder"): 8.355,
    ("hunyuanvideo-1.5-480p-t2v", "text_encoder"): 7.07,
    ("hunyuanvideo-1.5-480p-t2v", "text_encoder_2"): 0.2193,
    ("hunyuanvideo-1.5-480p-i2v", "image_encoder"): 0.428,
    ("stable-diffusion-1.5", "vae"): 0.0837,
}


def network_of(name: str) -> str:
    return "unet" if released(name).has("unet") else "transformer"


CASES = [(name, network_of(name), billions) for name, billions in NETWORKS.items()]
CASES += [(name, part, billions) for (name, part), billions in OTHERS.items()]


def made(name: str, part: str) -> torch.nn.Module:
    with torch.device("meta"):
        return RandomWeights(released(name).path, released(name).index, released(name).configs).load(
            part, torch.bfloat16
        )


def test_every_model_is_counted() -> None:
    assert list(all_models()) == list(NETWORKS)


@pytest.mark.parametrize(("name", "part", "billions"), CASES)
def test_configurations_have_the_released_size(name: str, part: str, billions: float) -> None:
    """A mistyped width or depth shows in the number of weights."""
    assert sum(p.numel() for p in made(name, part).parameters()) / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize("name", list(all_models()))
def test_a_configuration_says_what_the_whole_folder_says(name: str, tmp_path: Path) -> None:
    """Its family reads the same facts out of a folder whose configurations have all defaults of their classes."""
    model = released(name)
    for part in filter(model.has, model.index):
        config = model.config(part)
        cls = model.cls(part)
        if hasattr(cls, "from_config"):  # of diffusers
            accepted = inspect.signature(cls.__init__).parameters
            assert set(config) <= set(accepted), (
                f"{part}: {set(config) - set(accepted)} are no settings of {cls.__name__}"
            )
            defaults = {key: given.default for key, given in accepted.items() if key != "self"}
            config = {
                key: value for key, value in {**defaults, **config}.items() if value is not inspect.Parameter.empty
            }
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    (tmp_path / "model_index.json").write_text(json.dumps(model.index))
    folder = Folder(tmp_path, json.loads((tmp_path / "model_index.json").read_text()))
    family: Any = importlib.import_module(f"rushes.backbones.{model.family}").FAMILY
    assert model.pipeline in family.pipelines

    def facts(of: Folder) -> str:
        found = dict(family.spec(of, DEFAULTS).__dict__)
        told = repr({key: value for key, value in found.items() if key not in ("solver", "path", "shift_of")})
        return re.sub(r" at 0x[0-9a-f]+", "", told)  # of functions

    assert facts(model) == facts(folder)


@pytest.mark.parametrize(("pipeline", "part"), [("wan", "transformer"), ("wan", "text_encoder"), ("wan", "vae")])
def test_a_part_without_its_folder_is_as_one_with_it(pipeline: str, part: str, tmp_path: Path) -> None:
    """Names, shapes, dtypes (some modules stay in float32) and buffers are those of `from_pretrained`."""
    with torch.random.fork_rng():
        path = write(pipeline, tmp_path / pipeline)
    folder = Folder(path, json.loads((path / "model_index.json").read_text()))
    alone = RandomWeights(path, folder.index, {part: folder.config(part)})
    for dtype in (torch.bfloat16, torch.float32):
        theirs, ours = folder.load(part, dtype), alone.load(part, dtype)
        facts = [{name: (p.shape, p.dtype, p.device) for name, p in of.named_parameters()} for of in (theirs, ours)]
        assert facts[0] == facts[1]
        buffers = [dict(of.named_buffers()) for of in (theirs, ours)]
        assert buffers[0].keys() == buffers[1].keys()
        assert all(torch.equal(buffers[0][name], buffers[1][name]) for name in buffers[0])


def test_every_part_has_a_source() -> None:
    for name, model in all_models().items():
        assert all(model.sources.values()) and model.sources[""], name
        assert set(model.sources) == {"", *filter(model.has, model.index)}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wan2.1-t2v-1.3", "no model 'wan2.1-t2v-1.3'; did you mean wan2.1-t2v-1.3b?"),
        ("wan2.1-i2v-14b", "use wan2.1-i2v-14b-480p or wan2.1-i2v-14b-720p, which it stood for"),
        ("zzz", "no model 'zzz'; choose one of wan2.1-t2v-1.3b, "),
    ],
)
def test_a_name_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        released(name)
    assert words in str(error.value)


def test_renamed_models_are_there() -> None:
    assert {name for names in RENAMED.values() for name in names} <= set(list(all_models()))
    assert not set(RENAMED) & set(list(all_models()))
