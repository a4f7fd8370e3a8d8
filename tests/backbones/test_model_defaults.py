"""The settings half of the table of models, and which release a folder holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rushes.backbones.folders import Folder, read_folder
from rushes.backbones.model_defaults import (
    ModelMatch,
    all_models,
    families,
    find_model,
    identify,
    released,
    settings_of,
    start_settings,
)
from rushes.backbones.table import backbone_names
from rushes.config.tables import Settings
from rushes.project.defaults import with_values

from .tiny_pipelines import write

# tiny pipelines -> the first released model of their kind
KINDS = {
    "wan": "wan2.1-t2v-1.3b",
    "wan_unipc": "wan2.1-t2v-1.3b",
    "wan_experts": "wan2.2-t2v-a14b",
    "wan_i2v": "wan2.1-i2v-14b-480p",
    "wan_i2v_experts": "wan2.2-i2v-a14b",
    "wan_ti2v": "wan2.2-ti2v-5b",
    "skyreels": "skyreels-v2-t2v-14b-540p",
    "skyreels_i2v": "skyreels-v2-i2v-1.3b-540p",
    "skyreels_df": "skyreels-v2-df-1.3b-540p",
    "cogvideox": "cogvideox-2b",
    "cogvideox_i2v": "cogvideox-5b-i2v",
    "cogvideox_1.5": "cogvideox-1.5-5b",
    "cogvideox_1.5_i2v": "cogvideox-1.5-5b-i2v",
    "hunyuan": "hunyuanvideo",
    "hunyuan_i2v": "hunyuanvideo-i2v",
    "hunyuan_i2v_channels": "hunyuanvideo-i2v-33ch",
    "hunyuan15": "hunyuanvideo-1.5-480p-t2v",
    "hunyuan15_i2v": "hunyuanvideo-1.5-480p-i2v",
    "animatediff": "animatediff-sd1.5",
    "ltx2": "ltx-2",
    "mochi": "mochi-1",
    "ltx": "ltx-video-0.9",
    "ltx_conditions": "ltx-video-0.9.5",
}
ALL = {"height_px", "width_px", "frames", "fps", "first_frame", "dtype"}


def test_every_released_model_has_settings_and_each_has_a_source() -> None:
    assert list(all_models()) == list(all_models())
    assert {row.family for row in all_models().values()} == set(families()) == set(backbone_names()) - {"tiny"}
    assert {all_models()[name].family for name in KINDS.values()} == set(families()) - {"inflated_sd"}
    rows = [row for model in all_models().values() for row in model.settings.values()]
    assert all(len(row.source) > 15 for row in [*rows, *start_settings().values()])


@pytest.mark.parametrize("name", list(all_models()))
def test_each_model_has_what_drives_a_run_in_values_that_the_settings_take(name: str) -> None:
    settings = settings_of(all_models()[name])
    assert {f"backbone.{key}" for key in ALL} <= set(settings)
    sampling = {"steps", "guidance_scale", "negative_prompt", "shift", "batch"}
    assert {f"generate.{key}" for key in sampling} | {"evaluate.steps"} <= set(settings)
    assert {
        f"train.{key}" for key in ("trainable", "lora_rank", "lora_alpha", "learning_rate", "batch", "steps")
    } <= set(settings)
    made = with_values(Settings(), {path: row.value for path, row in settings.items()})
    assert made.evaluate.steps == made.generate.steps
    assert ("generate.guidance_scale_2" in settings) >= released(name).has("transformer_2")


@pytest.mark.parametrize("name", list(all_models()))
def test_release_is_known_by_its_configurations(name: str) -> None:
    folder = replace(released(name), path=Path("elsewhere"))
    match = identify(folder, "models/mine")
    same = [row.name for row in all_models().values() if row.name in match.note]
    assert name in (match.model.name, *same)  # releases that share all configurations are named
    assert bool(match.note) == (len(same) > 1)
    named = released(name).repository if name != "ltx-video-0.9.8-13b" else "LTX-Video-0.9.8-13B-dev"
    assert identify(folder, named).model.name == name


def test_releases_that_share_all_configurations_are_told_apart_by_the_names_in_them() -> None:
    folder = released("wan2.1-i2v-14b-720p")
    index = {**folder.index, "_name_or_path": "/cache/models--Wan-AI--Wan2.1-I2V-14B-720P-Diffusers/snapshots/8e5"}
    match = identify(replace(folder, index=index), "models/Wan2.1-I2V-14B-480P-Diffusers")
    assert match.model.name == "wan2.1-i2v-14b-720p" and "by the name in its configurations" in match.note
    match = identify(folder, "models/wan")
    assert match.model.name == "wan2.1-i2v-14b-480p" and "wan2.1-i2v-14b-480p was chosen" in match.note


def test_release_is_known_by_the_folder_that_a_link_leads_to(tmp_path: Path) -> None:
    release, model = released("wan2.1-i2v-14b-720p"), tmp_path / "Wan2.1-I2V-14B-720P-Diffusers"
    (model / "transformer").mkdir(parents=True)
    (model / "model_index.json").write_text(json.dumps(dict(release.index)), encoding="utf-8")
    (model / "transformer" / "config.json").write_text(json.dumps(release.config("transformer")), encoding="utf-8")
    (tmp_path / "mine").symlink_to(model)
    match = find_model(str(tmp_path / "mine"))
    assert match.model.name == "wan2.1-i2v-14b-720p" and "by its own name" in match.note


@pytest.mark.parametrize("name", KINDS)
def test_folder_of_other_sizes_gets_the_row_of_its_kind_and_says_so(
    name: str, tiny_folder: Callable[[str], Path]
) -> None:
    match = find_model(str(tiny_folder(name)))
    assert match.model.name == KINDS[name]
    assert "has the sizes of no released model, so it gets the settings of" in match.note


def test_model_is_found_by_its_name_or_repository_without_a_network() -> None:
    assert find_model("ltx-2").model.name == "ltx-2"
    assert find_model("hub:Wan-AI/Wan2.2-TI2V-5B-Diffusers").model.name == "wan2.2-ti2v-5b"
    assert find_model("hub:wan-ai/wan2.2-ti2v-5b-diffusers").note == ""


@pytest.mark.parametrize("owner", ["zai-org", "THUDM"])
@pytest.mark.parametrize("name", [row.name for row in all_models().values() if row.family == "cogvideox"])
def test_a_repository_is_known_by_the_former_name_of_its_owner(owner: str, name: str) -> None:
    repository = all_models()[name].repository.partition("/")[2]
    for spelt in (repository, repository.upper()):  # the hub takes any case
        assert find_model(f"hub:{owner}/{spelt}") == ModelMatch(all_models()[name])
    assert not all_models()[name].is_at(f"hub:someone/{repository}") and not all_models()[name].is_at(repository)


def test_the_former_owner_of_stable_diffusion() -> None:
    assert find_model("hub:runwayml/stable-diffusion-v1-5").model.name == "stable-diffusion-1.5"


def test_what_is_no_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for model, words in {
        "wan2.1-t2v-13b": "no released model of this name; did you mean wan2.1-t2v-",
        str(tmp_path / "none"): "no such folder",
        str(tmp_path): "has no model_index.json",
        "hub:nobody/nothing": "cannot be fetched",
        "hub:tencent/HunyuanVideo": "use hub:hunyuanvideo-community/HunyuanVideo",
        "hub:tencent/HunyuanVideo-1.5": "use hub:hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v or ",
        "hub:Wan-AI/Wan2.1-T2V-1.3B": "makers' layout, not in diffusers'; use hub:Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    }.items():
        with pytest.raises(ValueError, match=re.escape(words)) as caught:
            find_model(model)
        assert "\n" not in str(caught.value)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(ValueError, match="holds a FluxPipeline, which no family supports"):
        identify(read_folder(str(tmp_path)))


def test_what_the_folder_itself_says_comes_first(tmp_path: Path) -> None:
    model = write("wan", tmp_path / "wan")
    (model / "rushes.toml").write_text("[backbone]\nframes = 9\n[generate]\nsteps = 3\n")
    row = find_model(str(model)).model
    own = {path: settings for path, settings in row.settings.items() if "in the model's folder" in settings.source}
    assert {path: settings.value for path, settings in own.items()} == {
        "backbone.frames": 9, "generate.steps": 3, "evaluate.steps": 3,
    }  # fmt: skip
    assert (
        row.settings["generate.guidance_scale"] == all_models()["wan2.1-t2v-1.3b"].settings["generate.guidance_scale"]
    )
    recipe, code = "[train]\nrecipe = 'somebody.code'", "[backbone]\nname = 'somebody.code'"
    for text in ("frames = 9", "[backbone", "[backbone]\nframes = 'many'", recipe, code, "[project]\nseed = 1"):
        (model / "rushes.toml").write_text(text)
        with pytest.raises(ValueError, match=r"rushes\.toml: ") as caught:
            find_model(str(model))
        assert "\n" not in str(caught.value)


def test_a_folder_whose_guidance_was_distilled_keeps_it(tmp_path: Path) -> None:
    """HunyuanVideo-1.5-Diffusers-480p_t2v_distilled differs from 480p_t2v in its weights and its guider alone."""
    model = write("hunyuan15", tmp_path / "HunyuanVideo-1.5-Diffusers-480p_t2v_distilled")
    assert find_model(str(model)).model.settings["generate.guidance_scale"].value == 6.0
    guider = model / "guider" / "guider_config.json"
    guider.write_text(json.dumps({**json.loads(guider.read_text()), "guidance_scale": 1.0}))
    row = find_model(str(model)).model.settings["generate.guidance_scale"]
    assert row.value == 1.0 and "guider_config.json" in row.source
    (model / "rushes.toml").write_text("[generate]\nguidance_scale = 2.0\n")
    assert find_model(str(model)).model.settings["generate.guidance_scale"].value == 2.0


def test_first_of_the_pipeline_stands_for_a_variant_that_no_row_has() -> None:
    folder = released("hunyuanvideo-i2v")
    configs = {**folder.configs, "transformer": {**folder.config("transformer"), "image_condition_type": "other"}}
    match = identify(replace(folder, configs=configs), "x")
    assert match.model.family == "hunyuan"


def test_silent_configuration_is_the_default_of_its_class() -> None:
    folder = all_models()["hunyuanvideo-1.5-480p-t2v"]
    assert "target_size" not in folder.config("transformer") or folder.config("transformer")["target_size"] == 640
    assert isinstance(folder, Folder) and identify(folder).model.name == "hunyuanvideo-1.5-480p-t2v"
