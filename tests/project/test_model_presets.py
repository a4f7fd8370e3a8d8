"""What `rushes init --model` writes, and what a project takes from the table where its settings leave something out."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rushes.backbones.base import LoadOptions
from rushes.backbones.model_defaults import ModelMatch, Sourced, all_models, find_model, released
from rushes.cli import main
from rushes.config.clip_shapes import ClipShape
from rushes.config.held_defaults import GIVEN
from rushes.config.settings_files import flat, load_settings
from rushes.config.tables import (
    BackboneSettings,
    FootageSettings,
    GenerateSettings,
    ObjectiveSettings,
    Settings,
    TrainSettings,
)
from rushes.inspect import fitting
from rushes.inspect.fitting import MemorySavings, check_fits, fitted_to, reads_by_layers
from rushes.inspect.job_forecast import options_of
from rushes.inspect.part_costs import codec_cost
from rushes.inspect.step_forecast import GIB, KINDS, USABLE, Gpu
from rushes.project.defaults import left_out, with_model_defaults, with_values
from rushes.project.model_presets import (
    DEFAULT,
    MISSING,
    Preset,
    family_of,
    folder_of,
    folder_preset,
    model_preset,
    nearest_length,
    recipe_train,
    sourced,
    with_weights,
)
from rushes.project.project import open_project
from rushes.project.settings import adopt, read_settings, write_settings
from rushes.project.settings_checks import check_settings
from rushes.training.recipe import load_recipe, published, recipe_names

from ..backbones.tiny_pipelines import write

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "init_models.json"
# What the tiny backbone's defaults and presets say, none of which may reach another model.
DRIVEN = (
    *(
        f"backbone.{name}"
        for name in ("name", "path", "height_px", "width_px", "frames", "fps", "first_frame", "dtype")
    ),
    *(f"generate.{name}" for name in ("steps", "guidance_scale", "negative_prompt", "shift", "batch")),
    *(f"train.{name}" for name in ("trainable", "lora_rank", "lora_alpha", "learning_rate", "batch", "steps")),
    "evaluate.steps",
)


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("wan_unipc", tmp_path_factory.mktemp("model") / "wan")


def preset_of(name: str, recipe: str, **clip: Any) -> Preset:
    """What init makes for a released configuration."""
    match = ModelMatch(all_models()[name])
    return folder_preset(match, released(name), f"hub:{match.model.repository}", recipe, **clip)


def written(name: str, recipe: str = "realdpo", **clip: Any) -> dict[str, Sourced]:
    """The same in the form of its JSON."""
    preset = preset_of(name, recipe, **clip)
    check_settings(preset.settings)
    return sourced(preset, preset.settings, ())


def test_snapshot_of_what_is_written_for_every_released_configuration() -> None:
    rows = {
        name: {path: row.value for path, row in written(name).items() if row.source not in (DEFAULT, GIVEN, MISSING)}
        for name in list(all_models())
    }
    if os.environ.get("RUSHES_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert rows == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_has_its_papers_settings_and_the_models_adapter(name: str) -> None:
    model = "ltx-video-0.9.5"
    rows = written(model, name)
    for path, (value, source) in published(load_recipe(name)).items():
        assert rows[path] == Sourced(value, source)
    for path in DRIVEN:
        assert rows[path].source != DEFAULT, path
    adapter = [rows[f"train.{name}"].value for name in ("lora_rank", "lora_alpha", "learning_rate")]
    assert adapter == [32, 32.0, 2e-4]
    assert rows["backbone.first_frame"].value == ("first_frame" in load_recipe(name).NEEDS)
    objective = {path: row.value for path, row in rows.items() if path.startswith("train.objective.")}
    assert objective == {f"train.objective.{key}": value for key, value in ObjectiveSettings().model_dump().items()}


def test_training_times_of_a_release_come_before_a_paper_on_another_model() -> None:
    """DenseDPO trained flow models with logit-normal times; CogVideoX was trained with uniform ones."""
    for recipe in ("sft", "densedpo"):
        assert preset_of("wan2.1-t2v-1.3b", recipe).settings.train.times == "logit_normal"
        assert preset_of("cogvideox-5b", recipe).settings.train.times == "uniform"


def test_published_settings_are_none_of_the_tiny_backbones() -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        ours = published(recipe)
        assert not {"train.learning_rate", "train.lora_rank", "train.lora_alpha", "train.trainable"} & set(ours)
        if "beta" in recipe.Options.model_fields:
            assert "train.options.beta" in ours and "train.objective.sft_weight" in ours


def test_model_that_takes_no_first_frame_is_refused_for_a_recipe_that_needs_one() -> None:
    with pytest.raises(
        ValueError, match=r"huvidpo needs a first frame, but wan2\.1-t2v-1\.3b starts from captions alone"
    ):
        written("wan2.1-t2v-1.3b", "huvidpo")


@pytest.mark.parametrize(
    ("name", "clip", "words"),
    [
        ("wan2.1-t2v-1.3b", {"size": (479, 832)}, "the nearest that it supports is 480x832"),
        ("wan2.2-ti2v-5b", {"size": (720, 1280)}, "the nearest that it supports is 704x1280"),
        ("cogvideox-5b-i2v", {"size": (512, 720)}, "the nearest that it supports is 480x720"),
        ("wan2.1-t2v-1.3b", {"frames": 80}, "the nearest that it supports is 81"),
        ("ltx-video-0.9", {"frames": 50}, "the nearest that it supports is 49"),
        ("cogvideox-1.5-5b", {"frames": 85}, "the nearest that it supports is 81"),
    ],
)
def test_clip_that_the_model_cannot_take_is_refused_with_the_nearest(
    name: str, clip: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        written(name, **clip)


def test_papers_range_of_times_leaves_no_expert_untrained() -> None:
    match, folder = ModelMatch(all_models()["wan2.2-t2v-a14b"]), released("wan2.2-t2v-a14b")
    preset = folder_preset(match, folder, "hub:x/y", "realdpo")
    assert preset.settings.train.t_high == 1.0
    assert "would leave the high-noise expert untrained" in preset.notes[0]
    assert written("wan2.1-t2v-14b")["train.t_high"].value == 0.5


def test_size_and_length_may_be_given() -> None:
    rows = written("wan2.1-t2v-14b", size=(720, 1280), frames=33)
    assert [rows[f"backbone.{key}"].value for key in ("height_px", "width_px", "frames")] == [720, 1280, 33]
    assert rows["backbone.height_px"].source == rows["backbone.frames"].source == GIVEN


def test_lengths_are_rounded_to_the_nearest() -> None:
    name = "wan2.1-t2v-1.3b"
    spec = family_of(ModelMatch(all_models()[name])).spec(released(name), LoadOptions())
    assert [nearest_length(spec, frames) for frames in (0, 1, 3, 4, 81, 84)] == [1, 1, 1, 5, 81, 85]


# what settings leave out


def settings_for(model: Path, **tables: Any) -> Settings:
    return Settings(backbone=BackboneSettings(name="wan", path=str(model)), **tables)


def test_project_uses_the_models_settings_where_its_own_leave_them_out(wan: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train = TrainSettings(recipe="sft", learning_rate=3e-5)
    footage = FootageSettings(kind="folder", path=str(tmp_path))
    settings = settings_for(wan, footage=footage, generate=GenerateSettings(steps=7), train=train)
    project = open_project(tmp_path / "project", settings, say=lines.append)
    project.store.close()
    used, row = project.settings, all_models()["wan2.1-t2v-1.3b"].settings
    assert (used.generate.steps, used.train.learning_rate) == (7, 3e-5)
    assert (used.generate.guidance_scale, used.generate.batch, used.evaluate.steps) == (6.0, 1, 50)
    assert used.generate.negative_prompt == row["generate.negative_prompt"].value
    assert (used.train.trainable, used.train.lora_rank, used.train.batch, used.train.steps) == ("lora", 32, 4, 400)
    assert (used.backbone.height_px, used.backbone.width_px, used.backbone.frames) == (480, 832, 81)
    assert len(lines) == 1 and "not in the settings, so wan2.1-t2v-1.3b's values apply (docs/models.md)" in lines[0]
    assert "generate.guidance_scale 6.0" in lines[0] and "generate.steps" not in lines[0]
    assert with_model_defaults(used) == used and left_out(used) == {}


def test_other_backbones_keep_their_defaults(wan: Path, tmp_path: Path) -> None:
    for settings in (
        Settings(),
        Settings(backbone=BackboneSettings(name="my.module", path=str(wan))),
        Settings(backbone=BackboneSettings(name="ltx", path=str(wan))),  # loading it says that it is no LTX
        settings_for(tmp_path / "elsewhere"),
        Settings(backbone=BackboneSettings(name="wan", path="hub:nobody/nothing")),
    ):
        assert with_model_defaults(settings) == settings


def test_repository_of_the_table_needs_no_network_for_its_settings() -> None:
    settings = Settings(backbone=BackboneSettings(name="wan", path="hub:Wan-AI/Wan2.2-T2V-A14B-Diffusers"))
    used = with_model_defaults(settings).generate
    assert (used.shift, used.guidance_scale, used.guidance_scale_2) == (12.0, 4.0, 3.0)


def test_file_that_is_written_out_of_another_has_the_models_settings(wan: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.toml"
    source.write_text(f'[backbone]\nname = "wan"\npath = "{wan}"\n', encoding="utf-8")
    settings = load_settings(source)
    for _ in range(2):
        adopt(tmp_path / "project", settings, source)
    assert read_settings(tmp_path / "project").evaluate.steps == 50


def test_size_of_the_same_models_other_release_has_its_shift() -> None:
    """Wan 2.1 I2V is sampled at 3 at 480 x 832 and at 5 at 720 x 1280, whichever of the two weights it has."""
    small, large = "wan2.1-i2v-14b-480p", "wan2.1-i2v-14b-720p"
    shifts = [
        written(name, size=size)["generate.shift"].value
        for name, size in ((large, (480, 832)), (large, (832, 480)), (small, (720, 1280)), (large, (544, 960)))
    ]
    assert shifts == [3.0, 3.0, 5.0, 5.0]
    preset = preset_of(large, "sft", size=(480, 832))
    assert any("generate.shift: 3" in note and "480 x 832" in note for note in preset.notes)


def test_a_shift_that_settings_leave_out_is_that_of_their_size() -> None:
    hub = "hub:Wan-AI/Wan2.1-I2V-14B-720P-Diffusers"
    sizes = [(480, 832), (720, 1280), (544, 960)]
    tables = [BackboneSettings(name="wan", path=hub, height_px=height, width_px=width) for height, width in sizes]
    assert [left_out(Settings(backbone=table))["generate.shift"].value for table in tables] == [3.0, 5.0, 5.0]


def test_other_recipe_of_a_project_is_its_papers_and_not_the_tiny_backbones(wan: Path, tmp_path: Path) -> None:
    write_settings(tmp_path, settings_for(wan))
    train = recipe_train(read_settings(tmp_path), "realdpo")
    assert train.options == {"beta": 5000.0} and train.objective == ObjectiveSettings()
    assert (train.learning_rate, train.lora_alpha, train.t_high, train.reference) == (1e-4, 32.0, 0.5, "ema")
    assert recipe_train(Settings(), "realdpo").objective.sft_weight == 20.0


def test_other_recipe_is_trained_in_the_memory_that_the_project_was_fitted_to(wan: Path, tmp_path: Path) -> None:
    """`init --gpu` chooses where activations wait; without it a run of another recipe is out of memory."""
    fitted = {"train.activations": "offload", "train.gradients": "two_pass", "train.parallel": "shard"}
    write_settings(tmp_path, with_values(settings_for(wan), fitted | {"train.memory_mb": 4000}))
    train = recipe_train(read_settings(tmp_path), "sft")
    assert (train.activations, train.gradients, train.parallel) == ("offload", "two_pass", "shard")
    assert (train.memory_mb, train.steps) == (4000, 400)


def test_other_recipe_leaves_no_expert_untrained_either(tmp_path: Path) -> None:
    """RealDPO's times end at 0.5, and the high-noise expert answers from 0.875 up."""
    write_settings(tmp_path, settings_for(write("wan_experts", tmp_path / "model")))
    assert recipe_train(read_settings(tmp_path), "realdpo").t_high == 1.0


@pytest.mark.parametrize("recipe", ["sft", "densedpo"])
def test_other_recipe_has_the_training_times_that_init_writes(recipe: str, tmp_path: Path) -> None:
    """CogVideoX was trained at uniform times, and these papers' logit-normal ones are of other models."""
    path = str(write("cogvideox", tmp_path / "model"))
    write_settings(tmp_path, model_preset(path, "realdpo").settings)
    train = recipe_train(read_settings(tmp_path), recipe)
    assert train.times == model_preset(path, recipe).settings.train.times == "uniform"


@pytest.mark.parametrize("recipe", [name for name in recipe_names() if name != "huvidpo"])
def test_a_setting_that_is_called_a_default_is_at_its_default(recipe: str) -> None:
    defaults = dict(flat(Settings().model_dump(mode="json")))
    for path, row in written("wan2.1-t2v-1.3b", recipe).items():
        assert row.source != DEFAULT or row.value == defaults[path], path


def test_people_label_takes_of_footage_which_is_said(tmp_path: Path) -> None:
    (note,) = [note for note in preset_of("wan2.1-t2v-1.3b", "densedpo").notes if note.startswith("label.by")]
    assert "`rushes label`" in note
    assert not [note for note in preset_of("wan2.1-t2v-1.3b", "realdpo").notes if note.startswith("label.by")]


def test_a_repository_of_the_table_is_known_in_any_case() -> None:
    settings = Settings(backbone=BackboneSettings(name="wan", path="hub:wan-ai/wan2.2-t2v-a14b-diffusers"))
    assert with_model_defaults(settings).generate.guidance_scale == 4.0


def test_init_says_once_what_is_not_done_as_the_models_pipeline_does_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(write("ltx2", tmp_path / "ltx2"))
    capsys.readouterr()  # what writing it printed
    for command in (("init", tmp_path / "p", "--model", model), ("models", model)):
        main([str(text) for text in command])
        printed = capsys.readouterr().out
        assert printed.count("guidance_rescale 0.7") == printed.count("stg_scale 1") == 1


# the GPU


def fits(gpu: str, frames: int, quantize: str = "none") -> MemorySavings:
    """With one of its blocks, as what that keeps while it is computed again decides."""
    match, folder = ModelMatch(all_models()["cogvideox-1.5-5b"]), released("cogvideox-1.5-5b")
    network = {**folder.config("transformer"), "num_layers": 1}
    folder = replace(folder, configs={**folder.configs, "transformer": network})
    settings = folder_preset(match, folder, "hub:x/y", "sft", frames=frames).settings
    settings = with_values(settings, {"backbone.quantize": quantize})
    return check_fits(folder, settings, gpu)


@pytest.mark.slow
def test_what_does_not_fit_a_gpu_is_refused_with_what_does() -> None:
    with pytest.raises(ValueError, match=r"needs \d+ GiB, but the GPU has 24; it fits with --") as caught:
        fits("rtx4090", 1601)
    assert "768 x 1360 px x 1601 frames" in str(caught.value)
    flags = str(caught.value).rpartition("it fits with ")[2].split()
    assert "--size" not in flags  # the least change: bits, then length, then size
    frames = int(flags[flags.index("--frames") + 1])
    assert 1 < frames < 1601
    fits("rtx4090", frames, "4bit" if "backbone.quantize=4bit" in flags else "none")


def test_text_encoders_that_are_larger_than_a_gpu_come_layer_by_layer() -> None:
    """LTX-2 reads captions with Gemma 3 12B, 22.7 GiB, and connectors of 2.7."""
    settings, folder = preset_of("ltx-2", "sft").settings, released("ltx-2")
    assert reads_by_layers(folder, settings, "rtx4090")
    assert not reads_by_layers(folder, settings, "rtx5090")
    assert not reads_by_layers(folder, with_values(settings, {"backbone.text_quantize": "4bit"}), "rtx4090")
    eight_bits = with_values(settings, {"backbone.text_quantize": "8bit"})
    with pytest.raises(ValueError, match="the text encoders need 15 GiB, but the GPU has 12"):
        reads_by_layers(folder, eight_bits, "rtx4070")


def test_stages_that_do_not_fit_a_gpu_are_said_with_what_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "small", Gpu(0.15, 100.0, source=""))
    settings = model_preset(str(write("ltx", tmp_path / "model")), "realdpo", None, (256, 256), 33).settings
    (line,) = fitting.too_large(settings, fitted_to(settings, "small"), "small")
    stages, flags = line.split(" by forecast, but small has 0.15; all stages fit with ")
    assert [words.split()[0] for words in stages.split(", ")] == ["encode", "generate", "evaluate"]
    assert flags == "--frames 13"  # and no fewer bits, which leave the codec as it is
    room, model = 0.15 * USABLE, folder_of(settings.backbone.path, find_model(settings.backbone.path))
    for frames, all_fit in ((33, False), (13, True)):
        shorter = with_values(settings, {"backbone.frames": frames})
        codec = codec_cost(model, options_of(shorter), ClipShape(256, 256, frames))
        assert (codec.weights + codec.encode_bytes < room * GIB) is all_fit


@pytest.mark.slow
def test_stages_of_a_released_model_that_a_gpu_has_no_memory_for_are_said() -> None:
    """The codec of HunyuanVideo 1.5 takes more than its network, whose blocks come one by one."""
    size = BackboneSettings(name="hunyuan15", path="hub:hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
                            height_px=480, width_px=848, frames=121, offload=True)  # fmt: skip
    train = TrainSettings(recipe="sft", trainable="lora", activations="offload")
    settings = Settings(backbone=size, generate=GenerateSettings(batch=1), train=train)
    (line,) = fitting.too_large(settings, MemorySavings(), "rtx4090")
    assert line.startswith("encode needs 27 GiB, evaluate needs ") and "rtx4090 has 24; all stages fit with" in line
    (flag, frames) = line.rpartition("fit with ")[2].split()
    assert flag == "--frames" and 61 <= int(frames) < 121
    shorter = with_values(settings, {"backbone.frames": int(frames)})
    assert not fitting.too_large(shorter, MemorySavings(), "rtx4090")
    assert not fitting.too_large(settings, MemorySavings(), "l40s")


def test_init_says_what_it_chose_for_a_gpu(
    wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fitting, "fitted_to", lambda settings, gpu: MemorySavings(text_offload=True))
    monkeypatch.setattr(fitting, "too_large", lambda settings, savings, gpu: [])
    (tmp_path / "a.mp4").touch()
    main(["init", str(tmp_path / "p"), "--model", str(wan), "--footage", str(tmp_path), "--gpu", "rtx4090"])
    assert "note: backbone.text_offload: True, so that it fits rtx4090\n" in capsys.readouterr().out
    assert read_settings(tmp_path / "p").backbone.text_offload


def test_unknown_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="--gpu: no GPU 'h1000'; did you mean h100"):
        fits("h1000", 81)


# the command line


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        main([str(text) for text in arguments])
    out, err = capsys.readouterr()
    assert end.value.code == 2 and not out and err.count("\n") == 1, err
    return err


def test_init_writes_the_models_settings_and_prints_their_sources(
    wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").touch()
    main(
        [
            "init",
            str(tmp_path / "p"),
            "--model",
            str(wan),
            "--footage",
            str(clips),
            "--set",
            "train.learning_rate=5e-5",
            "--json",
        ]
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts["model"] == "wan2.1-t2v-1.3b" and "the sizes of no released model" in facts["notes"][0]
    assert facts["settings"]["train.learning_rate"] == {"value": 5e-5, "source": "given"}
    assert facts["settings"]["train.options.beta"]["value"] == 5000.0
    assert "RealDPO" in facts["settings"]["train.options.beta"]["source"]
    assert all(facts["settings"][path]["source"] != DEFAULT for path in DRIVEN)
    settings = read_settings(tmp_path / "p")
    assert settings.footage.path == str(clips) and settings.footage.eval_fraction > 0
    assert (
        settings.train.objective == ObjectiveSettings() and settings.train.lora_alpha == settings.train.lora_rank == 32
    )
    assert facts["next"] == f"rushes preflight {tmp_path / 'p'}"


def test_init_without_footage_says_where_it_goes(wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path / "p"), "--model", str(wan)])
    assert f"next: rushes set {tmp_path / 'p'} footage.path=CLIPS" in capsys.readouterr().out
    assert "footage.path: footage of kind 'folder' needs the path" in refused(capsys, "import", tmp_path / "p")
    main(["set", str(tmp_path / "p"), f"footage.path={tmp_path}"])
    assert read_settings(tmp_path / "p").footage.path == str(tmp_path)


def test_init_without_a_project_prints_and_writes_nothing(
    wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["init", "--model", str(wan), "--recipe", "densedpo", "--json"])
    rows = json.loads(capsys.readouterr().out)["settings"]
    assert rows["generate.eta"]["value"] == [0.65, 0.8] and rows["label.segment_s"]["value"] == 1.0
    assert list(tmp_path.iterdir()) == []


def test_what_init_cannot_do_is_said_in_one_sentence(
    wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    p, few = tmp_path / "p", write("wan_unipc", tmp_path / "wan-causvid")
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    capsys.readouterr()  # what writing it printed
    for arguments, words in {
        ("init", p, "--model", tmp_path): "has no model_index.json",
        ("init", p, "--model", tmp_path / "part"): "so the model is incomplete",
        ("init", p, "--model", ""): "an argument is empty (after --model)",
        ("init", p, "--model", tmp_path / "no"): "no such folder, and no released model of this name",
        ("init", p, "--model", "wan2.1-t2v-14b"): "or hub:Wan-AI/Wan2.1-T2V-14B-Diffusers",
        ("init", p, "--model", few): "distilled to few steps, according to its name",
        (
            "init",
            p,
            "--model",
            f"hub:{all_models()['animatediff-sd1.5'].repository}",
        ): "is an adapter, not a whole model",
        ("init", p, "--model", wan, "--size", "480"): "--size must be HEIGHTxWIDTH",
        ("init", p, "--model", wan, "--size", "484x832"): "the nearest that it supports is",
        ("init", p, "--model", wan, "--recipe", "realdop"): "did you mean realdpo",
        ("init", p, "--model", wan, "--gpu", "h1000"): "did you mean h100",
        ("init", p, "--size", "32x32"): "only for a model of yours",
        ("init",): "name the project's folder",
    }.items():
        assert words in refused(capsys, *arguments)
        assert not p.exists()


def test_backbones_prints_a_models_row_with_its_sources(wan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "wan2.2-t2v-a14b"])
    out = capsys.readouterr().out
    assert "generate.shift = 12.0  # Wan-Video/Wan2.2, wan/configs/wan_t2v_A14B.py: sample_shift" in out
    main(["models", str(wan), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "wan2.1-t2v-1.3b" and facts["settings"]["train.lora_rank"]["value"] == 32
    assert "no released model of this name" in refused(capsys, "models", "wan-3")


def test_the_name_of_a_released_model_leads_to_its_repository() -> None:
    where = with_weights("wan2.1-t2v-1.3b")
    assert find_model(where).model.name == "wan2.1-t2v-1.3b" and with_weights(where) == where
