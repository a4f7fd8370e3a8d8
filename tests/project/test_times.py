"""Training times by the command line: shifted as takes are sampled, shared out over experts, within a range."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rushes.backbones import ltx
from rushes.backbones.adapters import LORA_FILE
from rushes.backbones.base import LoadOptions
from rushes.backbones.loading import load_backbone
from rushes.backbones.model_defaults import released
from rushes.cli import main
from rushes.config.tables import (
    BackboneSettings,
    CaptionSettings,
    GenerateSettings,
    LabelSettings,
    Settings,
    TrainSettings,
)
from rushes.noise.draws import TimeDraw
from rushes.project import intake
from rushes.project.project import open_project
from rushes.project.times import expert_shares, times_in_words, training_times
from rushes.training.batches import time_of
from rushes.training.comparison import Comparison, View
from rushes.training.history import read_history

from ..backbones.tiny_pipelines import BACKBONE, write
from ..projects import SmallProject

Shell = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory, small: SmallProject) -> Path:
    """A project of a tiny Wan with two experts, its clips imported."""
    folder = tmp_path_factory.mktemp("experts")
    with torch.random.fork_rng():
        path = write("wan_experts", folder / "model")
    train = {
        "recipe": "sft",
        "trainable": "lora",
        "lora_rank": 2,
        "lora_alpha": 4.0,
        "learning_rate": 1e-2,
        "options": {},
        "shortcut_probe": 0,
        "steps": 3,
    }
    changes = {"backbone": {"name": "wan", "path": str(path), "first_frame": False}, "train": train}
    settings = small.settings.model_copy(
        update={table: getattr(small.settings, table).model_copy(update=values) for table, values in changes.items()}
    )
    project = open_project(small.new_project(folder / "project", settings), settings)
    intake.import_footage(project)
    project.store.close()
    return folder / "project"


@pytest.fixture
def shell(experts: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """`rushes train` on that project with some settings -> its facts, what it said, and its first row."""

    def run(name: str, *changes: str, command: str = "train") -> dict[str, Any]:
        sets = [part for text in (f"train.name={name}", *changes) for part in ("--set", text)]
        try:
            main([command, str(experts), "--json", *sets])
            code: object = 0
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        facts = json.loads(out) if out else {}
        path = experts / "runs" / name / "metrics.jsonl"
        return {"code": code, "err": err, **facts, "row": read_history(path)[0] if path.is_file() else {}}

    yield run
    torch.use_deterministic_algorithms(False)


def changed(weights: dict[str, torch.Tensor], expert: str) -> bool:
    """Whether an expert's adapter does anything: its second factors start at zero."""
    return any(bool(p.any()) for name, p in weights.items() if name.startswith(f"{expert}.") and ".lora_B." in name)


def test_shares_of_experts_are_said_before_training_and_kept(shell: Shell) -> None:
    """The folder's own shift is 3, so of logit-normal draws a fifth are at or above the boundary of 0.875."""
    told = shell("own", "train.steps=1")
    high = told["experts"]["high_noise"]
    assert high == pytest.approx(0.1984, abs=1e-4) and told["experts"]["low_noise"] == pytest.approx(1 - high)
    assert told["times"] == {"kind": "logit_normal", "low": 0.0, "high": 1.0, "shift": 3.0}
    assert (told["row"]["expert/high_noise/share"], told["row"]["expert/low_noise/share"]) == (high, 1 - high)
    assert "train: high-noise expert 19.8 % of draws, low-noise 80.2 %" in told["err"]
    assert told["err"].index("of draws") < told["err"].index("train: own") and "warning" not in told["err"]


def test_an_expert_with_hardly_a_draw_is_warned_of(shell: Shell) -> None:
    told = shell("unshifted", "train.steps=1", "train.shift=1")
    assert told["experts"]["high_noise"] == pytest.approx(0.0258, abs=1e-4)
    assert "warning: the high-noise expert gets 2.6 % of draws" in told["err"]
    assert 'set train.shift to 0, which is 3 here, as takes are sampled, or train.expert to "low"' in told["err"]


def test_a_shift_that_takes_are_made_with_is_that_of_training(shell: Shell) -> None:
    told = shell("wan", "train.steps=1", "generate.shift=12", "train.times=uniform")
    assert told["times"]["shift"] == 12.0 and told["experts"]["high_noise"] == pytest.approx(12 / 19, abs=1e-5)
    again = shell("wan", "train.steps=1", "generate.shift=5", "train.times=uniform")
    assert again["code"] == 2 and "holds a run with other settings or data" in again["err"]


def test_one_expert_alone_is_trained_and_the_other_in_a_second_run(shell: Shell, experts: Path, tmp_path: Path) -> None:
    told = shell("first", "train.expert=high")
    assert told["experts"] == {"high_noise": 1.0, "low_noise": 0.0} and told["times"]["low"] == 0.875
    first = load_file(experts / "runs" / "first" / "weights.safetensors")
    assert changed(first, "high") and not changed(first, "low")
    state = load_file(experts / "runs" / "first" / "checkpoints" / "step-00000003.safetensors")
    assert {name.split("/")[1].split(".")[0] for name in state} == {"high"}
    rows = read_history(experts / "runs" / "first" / "metrics.jsonl")[1:]
    assert all(row["expert/high_noise/comparisons"] == 2 for row in rows)

    told = shell("second", "train.expert=low", "train.init_from=first")
    assert told["experts"] == {"high_noise": 0.0, "low_noise": 1.0} and told["times"]["high"] < 0.875
    second = load_file(experts / "runs" / "second" / "weights.safetensors")
    assert changed(second, "low")
    assert all(torch.equal(p, first[name]) for name, p in second.items() if name.startswith("high."))

    for run, parts in (("first", ["high_noise"]), ("second", ["high_noise", "low_noise"])):
        main(["export", str(experts), "--out", str(tmp_path), "--run", run])
        files = sorted(path.relative_to(tmp_path / run).as_posix() for path in (tmp_path / run).rglob("*.safetensors"))
        assert files == [f"{part}/{LORA_FILE}" for part in parts]


def test_all_weights_of_one_expert(shell: Shell, experts: Path) -> None:
    assert shell("whole", "train.trainable=full", "train.expert=low", "train.steps=1")["code"] == 0
    names = {name.split(".")[0] for name in load_file(experts / "runs" / "whole" / "weights.safetensors")}
    assert names == {"low"}
    assert (
        shell("both", "train.trainable=full", "train.init_from=whole", "train.expert=high", "train.steps=1")["code"]
        == 0
    )
    told = shell("both", "train.trainable=full", "train.init_from=whole", "train.expert=high", "train.steps=1")
    assert (told["code"], told["steps_now"]) == (0, 0)  # which reads its start, the other expert's weights included


def test_settings_that_leave_no_time_are_refused_before_training(shell: Shell) -> None:
    told = shell("none", "train.expert=high", "train.t_high=0.5")
    assert told["code"] == 2 and not told["row"]
    assert "no noise level at which the high-noise expert answers, 0.875 to 1, between 0 and 0.5" in told["err"]
    told = shell("none", "train.t_low=0.6", "train.t_high=0.5")
    assert "train.t_low: the lowest noise level, 0.6, must be below train.t_high, 0.5" in told["err"]


def spec_of(name: str, folder: Path) -> tuple[Any, BackboneSettings]:
    """The spec of a tiny model, and settings of a size of clip that it takes."""
    if name == "tiny":
        return load_backbone("tiny", "").spec, BackboneSettings()
    with torch.random.fork_rng():
        path = write(name, folder / name)
    spec = load_backbone(BACKBONE[name], str(path)).spec
    side = 4 * max(spec.multiple_px, spec.spatial_ratio)
    height, width = spec.only_px or (side, 2 * side)
    frames = spec.largest(40)
    return spec, BackboneSettings(name=BACKBONE[name], path=str(path), height_px=height, width_px=width, frames=frames)


@pytest.mark.parametrize("name", ["tiny", "wan", "ltx", "ltx2", "hunyuan", "cogvideox"])
def test_the_shift_is_that_of_the_levels_that_takes_are_sampled_at(name: str, tmp_path: Path) -> None:
    """Read from the levels themselves: the middle one of many says which shift they have."""
    spec, size = spec_of(name, tmp_path)
    times = training_times(Settings(backbone=size, train=TrainSettings(recipe="sft")), spec)
    if name == "cogvideox":  # variance-preserving: its levels are none of a shift
        assert times.shift == 1.0
        return
    latents = spec.latent_size(size.frames, size.height_px, size.width_px)
    if spec.solver is None:
        assert times.shift == spec.shift
        return
    levels = spec.solver(1001, None, 1.0, latents).levels.double()
    if name.startswith("ltx"):  # its levels are stretched to end at 0.1
        levels = 1 - (1 - levels) / (1 - levels[-1]) * (1 - shifted_end(times.shift))
    t = levels[500]
    assert times.shift == pytest.approx(
        float(t / (1 - t)), rel=0.02
    )  # Euler lays its grid from a last level that is shifted already


def test_clips_of_each_shape_are_trained_at_the_shift_that_their_takes_are_sampled_at(tmp_path: Path) -> None:
    """LTX' shift grows with the tokens of a clip: that of the default would be another model's for a large one."""
    spec, size = spec_of("ltx", tmp_path)
    large = (2 * size.height_px, 2 * size.width_px)
    sizes = ((size.height_px, size.width_px), (size.width_px, size.height_px), large)
    mixed = Settings(backbone=size.model_copy(update={"sizes": sizes}), train=TrainSettings(recipe="sft"))
    times = training_times(mixed, spec)
    name = f"{size.frames}x{large[0]}x{large[1]}"
    assert times.shift == spec.sampling_shift(spec.latent_size(size.frames, size.height_px, size.width_px))
    assert dict(times.shifts) == {
        name: spec.sampling_shift(spec.latent_size(size.frames, *large))
    }  # a turned one has as many tokens
    assert times.of(name).shift > times.shift and name in repr(times)  # runs and caches are named by what is shown
    assert float(time_of(in_shape(name), 0, 0, times)) > float(time_of(in_shape(""), 0, 0, times))
    own = training_times(Settings(backbone=size, train=TrainSettings(recipe="sft")), spec)
    assert own.shifts == () and "shifts" not in repr(own)
    assert training_times(mixed.model_copy(update={"train": TrainSettings(recipe="sft", shift=3.0)}), spec).shifts == ()


def in_shape(shape: str) -> Comparison:
    return Comparison("c", "g", (View("m", "a clip", shape=shape),), ())


def shifted_end(shift: float, t: float = 1 / 1001) -> float:
    return shift * t / (1 + (shift - 1) * t)


def test_times_of_the_settings_come_before_those_of_the_recipe() -> None:
    """RealDPO's released code draws uniformly in the low-noise half, of a model without a shift."""
    spec = load_backbone("tiny", "").spec
    for train, expected in (
        (TrainSettings(recipe="realdpo", shift=1.0, t_high=0.5), TimeDraw("uniform", high=0.5)),
        (TrainSettings(recipe="sft", times="uniform", t_low=0.1), TimeDraw("uniform", low=0.1, shift=4.0)),
        (TrainSettings(recipe="densedpo", shift=2.5), TimeDraw("logit_normal", shift=2.5)),
    ):
        assert training_times(Settings(train=train), spec) == expected
    assert training_times(Settings(train=TrainSettings(), generate=GenerateSettings(shift=2.0)), spec).shift == 2.0


def test_ltx_for_conditions_is_trained_at_the_shift_of_its_makers_trainer(tmp_path: Path) -> None:
    """3072 more tokens than 1024 raise its logarithm from 0.95 to 2.05."""
    spec, _ = spec_of("ltx_conditions", tmp_path)
    assert spec.sampling_shift((16, 8, 8)) == pytest.approx(2.71828**0.95, rel=1e-4)
    assert spec.sampling_shift((16, 16, 16)) == pytest.approx(2.71828**2.05, rel=1e-4)
    assert spec.sampling_shift((16, 22, 38)) == spec.sampling_shift((16, 16, 16))  # 704 x 1216 x 121, not 215


def test_released_ltx_without_a_shift_by_length_is_trained_as_its_makers_train_it() -> None:
    for name in ("ltx-video-0.9.5", "ltx-video-0.9.7-13b"):
        assert ltx.spec(released(name), LoadOptions()).sampling_shift((16, 16, 22)) == pytest.approx(
            2.71828**2.05, rel=1e-4
        )


def test_a_range_below_the_high_noise_expert_is_said_with_what_mends_it(tmp_path: Path) -> None:
    spec, size = spec_of("wan_experts", tmp_path)
    settings = Settings(backbone=size, train=TrainSettings(recipe="realdpo", t_high=0.5))
    warning = times_in_words(settings, spec, training_times(settings, spec))[1]
    assert "train.t_high is 0.5" in warning and warning.endswith("set train.t_high to 1")


def test_what_a_model_cannot_do_is_refused_in_a_sentence(tmp_path: Path) -> None:
    spec, size = spec_of("cogvideox", tmp_path)
    for where, change in (
        ("train.shift", {"train": TrainSettings(shift=3.0)}),
        ("generate.shift", {"generate": {"shift": 3.0}}),
    ):
        settings = Settings.model_validate({"backbone": size.model_dump(), **change})
        with pytest.raises(ValueError, match=rf"^{where}: cogvideox has a variance-preserving schedule"):
            training_times(settings, spec)
    training_times(Settings(backbone=size, train=TrainSettings(shift=1.0)), spec)
    with pytest.raises(ValueError, match=r"^train\.expert: tiny has one network and no high-noise expert"):
        training_times(Settings(train=TrainSettings(expert="high")), load_backbone("tiny", "").spec)


def test_a_cache_is_found_again_by_another_process(tmp_path: Path) -> None:
    """Its name holds what is shown of the model, which must be the same text wherever it is read."""
    spec, _ = spec_of("wan_experts", tmp_path)
    assert " at 0x" not in repr(spec)


def test_captions_are_not_dropped_where_they_are_compared(
    tmp_path: Path, small: SmallProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """PhysHPO's semantic level is a clip under its caption against the same under a wrong one."""
    changes = {"caption": CaptionSettings(by="rules"), "label": LabelSettings()}
    folder = small.new_project(tmp_path / "project", small.settings.model_copy(update=changes))
    sets = ["--set", "train.recipe=physhpo", "--set", "generate.takes=1", "--set", "train.caption_dropout=0.1"]
    levels = {"instance": 0, "state": 0, "motion": 0}
    sets += [part for name, weight in levels.items() for part in ("--set", f"train.options.{name}_weight={weight}")]
    with pytest.raises(SystemExit):
        main(["run", str(folder), *sets])
    said = capsys.readouterr().err
    assert re.search(r"train\.caption_dropout: \d+ of \d+ comparisons of recipe 'physhpo' contrast captions", said)


def test_shares_of_a_single_network_are_nothing() -> None:
    assert expert_shares(TimeDraw(), load_backbone("tiny", "").spec) == {}
