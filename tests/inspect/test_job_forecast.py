"""The forecast of a whole job: its passes are those that a run takes, and its hours what they cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from rushes.backbones.base import BackboneSpec, LoadOptions
from rushes.backbones.folders import Folder
from rushes.backbones.model_defaults import released
from rushes.backbones.tiny import TinyBackbone
from rushes.cli import main
from rushes.config.clip_shapes import ClipShape
from rushes.config.tables import LabelSettings, Settings
from rushes.inspect import part_costs as partcosts
from rushes.inspect.dry_run import find_family
from rushes.inspect.job_forecast import (
    CODEC_SHARE,
    HalfSize,
    Machine,
    ModelCosts,
    forecast_job,
    in_words,
    model_of,
    options_of,
)
from rushes.inspect.part_costs import CodecCost, ReaderCost, codec_cost, reader_cost
from rushes.inspect.planning import PlanRequest, forecast, numbers_of, settings_of
from rushes.inspect.step_forecast import GIB
from rushes.inspect.workload import SHARES, JobSize, StageWork, clip_comparisons, held_out_of, workload
from rushes.project import jobs
from rushes.project.eta import LEVELS
from rushes.training import loop
from rushes.training.comparison import Comparison
from rushes.training.loop import split
from rushes.training.monitor import RunMonitor
from rushes.training.reference_cache import fill

from ..backbones.tiny_pipelines import write
from ..projects import SmallProject
from .test_step_forecast import COST

PLAIN: tuple[str, ...] = ()
GUIDED = ("generate.guidance_scale=2", "train.gradients=two_pass", "train.sample_every=2", "train.samples=1")
CACHED = ("train.reference_cache=2", "train.options.losers=1", "train.checkpoint_every=3", "evaluate.seeds=2")


class Passes:
    """Clips that went through the network, by stage."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.stage = ""

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        before, self.stage = self.stage, stage
        yield
        self.stage = before


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Counts while the commands run in this process."""
    passes, predict, probe = Passes(), TinyBackbone.predict, loop._probe

    def counted(self: TinyBackbone, noised_BCFHW: torch.Tensor, *more: Any) -> torch.Tensor:
        passes.count[passes.stage] += len(noised_BCFHW)
        return predict(self, noised_BCFHW, *more)

    def within(stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            with passes.of(stage):
                return call(*arguments, **named)

        return wrapped

    monkeypatch.setattr(TinyBackbone, "predict", counted)
    monkeypatch.setattr(loop, "_probe", within("probes", probe))
    monkeypatch.setattr(RunMonitor, "samples", within("samples", RunMonitor.samples))
    monkeypatch.setattr(jobs, "fill", within("reference_cache", fill))
    return passes


@pytest.mark.parametrize("changes", [PLAIN, GUIDED, pytest.param(CACHED, marks=pytest.mark.slow)])
def test_forwards_are_those_of_a_real_run(
    changes: tuple[str, ...], project: Path, passes: Passes, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word for change in changes for word in ("--set", change)]
    main(["import", str(project), *given])
    capsys.readouterr()
    main(["plan", str(project), *given, "--gpu", "h100", "--json"])
    facts = json.loads(capsys.readouterr().out)
    passes.count.clear()
    for stage in ("generate", "train", "evaluate"):
        with passes.of(stage):
            main([stage, str(project), *given])
    forecast = {name: rows[0] for name, rows in facts["forwards"].items()}
    counted = dict(passes.count)
    if "reference_cache" in forecast:  # the look at memory that comes before the cache is filled is part of it
        counted["reference_cache"], counted["train"] = counted["reference_cache"] + 1, counted["train"] - 1
    assert forecast == counted
    assert set(facts["hours"]) == set(facts["gib"]) >= set(forecast) and facts["total_hours"] >= 0


@pytest.mark.slow
def test_guided_takes_and_their_sweep_are_counted(
    project: Path, passes: Passes, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("generate.kind=guided", "generate.eta=[0.7,0.701]", "generate.steps=5", "generate.guidance_scale=3",
               "label.segment_s=0.5", "footage.clips=3")  # fmt: skip
    given = [word for change in changes for word in ("--set", change)]
    main(["import", str(project), *given])
    capsys.readouterr()
    main(["plan", str(project), *given, "--json"])
    facts = json.loads(capsys.readouterr().out)
    passes.count.clear()
    for stage in ("generate", "eta"):
        with passes.of(stage):
            main([stage, str(project), *given])
    assert {stage: facts["forwards"][stage][0] for stage in ("generate", "eta")} == dict(passes.count)


def test_of_two_experts_each_has_a_guidance_of_its_own() -> None:
    """An expert whose scale is 1 is asked once a step."""
    settings, folder = settings_of(PlanRequest("wan2.2-t2v-a14b"), 1)
    spec = blank(folder).spec
    changes = (
        {"guidance_scale": 4.0, "guidance_scale_2": 3.0},
        {"guidance_scale": 4.0, "guidance_scale_2": 1.0},
        {"guidance_scale": 1.0},
    )
    counted = []
    for change in changes:
        ask = settings.generate.model_copy(update={"guidance_scale_2": 0.0, **change})
        job = settings.model_copy(update={"generate": ask})
        counted.append(work(job, JobSize(1, 0), spec)["generate"].forward[0] / ask.takes)
    both, high, neither = counted
    assert (both, neither) == (80, 40) and 40 < high < 80
    levels = spec.solver(40, settings.generate.shift, 1.0, COST.latents[1:]).levels if spec.solver else torch.ones(0)
    assert high == 40 + int((levels >= 0.875).sum())


def test_several_gpus_share_every_stage() -> None:
    """By hand, for Wan 14B, 400 clips and eight H100s, from the settings that `rushes init --model` writes.

    A fifth of the clips is held out, of which 64 prompts are evaluated. Takes: 320 clips x 2 x 50 steps x 2 passes =
    64,000, in batches of one. Training: 400 steps of eight comparisons of three views, each seen by the reference and
    then by the policy with a backward pass. Probes: before the first step and at eight checkpoints, 32 comparisons x 4
    draws x 3 views = 384, and 8 drifts x 2 captions, of the policy and of a reference that follows it; one that is
    frozen is asked once. Evaluation: 64 prompts x 100 passes by the base and by what was trained. At 3.7 s a pass, and
    four of them for one with a backward pass, that is 8.2 + 6.2 + 0.9 + 1.6 h, where one GPU makes takes for 66 h.
    """
    settings, folder = settings_of(PlanRequest("wan2.1-t2v-14b", takes=2), 8)
    assert (settings.generate.batch, settings.train.batch, settings.train.checkpoint_every) == (1, 8, 50)
    seconds = replace(COST, forward=37 * 10**11, both=4 * 37 * 10**11)  # at 10^12 operations a second
    facts = forecast_job(replace(blank(folder), cost=seconds), settings, numbers_of(settings, 400), Machine(80, 1, 8))
    look = 1  # one view shows what memory a step takes
    assert facts.forwards == {
        "generate": (640 // 8 * 100,) * 8,
        "train": (400 * 3 + 400 * 3 + look,) * 8,
        "probes": ((9 + 9) * (384 + 16) // 8,) * 8,
        "evaluate": (2 * 64 // 8 * 100,) * 8,
    }
    assert facts.backwards == {"train": (400 * 3,) * 8}
    assert facts.total_hours == pytest.approx((8000 + 1200 * 5 + 900 + 1600) * 3.7 / 3600, abs=0.02)
    assert facts.total_hours <= 17
    frozen = settings.model_copy(update={"train": settings.train.model_copy(update={"reference": "frozen"})})
    stages = work(frozen, replace(numbers_of(frozen, 400), gpus=8), blank(folder).spec)
    assert stages["probes"].forward == ((9 + 1) * (384 + 16) // 8,) * 8
    alone = forecast_job(replace(blank(folder), cost=seconds), settings, numbers_of(settings, 400), Machine(80, 1, 1))
    assert sum(facts.hours.values()) * 8 == pytest.approx(sum(alone.hours.values()), rel=0.001)


def test_takes_are_dealt_out_in_whole_batches_and_sharded_weights_are_probed_by_all() -> None:
    settings, folder = settings_of(PlanRequest("wan2.1-t2v-1.3b"), 3)
    ask = settings.generate.model_copy(update={"takes": 1, "batch": 4, "steps": 1, "guidance_scale": 1.0})
    train = settings.train.model_copy(update={"parallel": "shard", "probe_every": 200})
    settings = settings.model_copy(update={"generate": ask, "train": train})
    one, three = (work(settings, JobSize(10, 4, n), blank(folder).spec) for n in (1, 3))
    assert three["generate"].forward == (4, 4, 2)
    assert three["probes"].forward == one["probes"].forward * 3
    few = settings.model_copy(update={"train": train.model_copy(update={"probe_every": 0})})
    often = work(few, JobSize(10, 4), blank(folder).spec)["probes"].forward[0]
    assert one["probes"].forward[0] * 9 == often * 3


def test_the_adapter_is_of_the_models_own_rank_unless_another_is_asked_for() -> None:
    """As `rushes init --model` writes it."""
    ranks = {PlanRequest("cogvideox-5b"): 128, PlanRequest("hunyuanvideo-1.5-480p-t2v"): 8,
             PlanRequest("cogvideox-5b", lora_rank=16): 16}  # fmt: skip
    assert [settings_of(asked, 1)[0].train.lora_rank for asked in ranks] == [*ranks.values()]
    with pytest.raises(ValueError, match="and --lora-rank must be 1 or more"):
        settings_of(PlanRequest("cogvideox-5b", lora_rank=-1), 1)


def work(settings: Settings, numbers: JobSize, spec: BackboneSpec) -> dict[str, StageWork]:
    return workload(settings, clip_comparisons(settings), numbers, spec, COST.latents)


def blank(folder: Folder) -> ModelCosts:
    """A model's facts, with costs that are not its own."""
    return ModelCosts(find_family(folder.pipeline).spec(folder, LoadOptions()), COST, CodecCost(), ReaderCost())


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("clips", [1, 4, 9, 40])
@pytest.mark.parametrize("wanted", [0, 2, 32])
def test_held_out_comparisons_are_those_that_training_holds_out(each: int, clips: int, wanted: int) -> None:
    settings = Settings().model_copy(update={"train": Settings().train.model_copy(update={"held_out": wanted})})
    rows = [Comparison(f"{clip} {k}", str(clip), (), ()) for clip in range(clips) for k in range(each)]
    assert held_out_of(settings, clips, each) == len(split(rows, wanted)[1])


def test_hours_and_memory_are_what_stages_ask_for() -> None:
    codec = CodecCost(2 * GIB, 10e12, 20e12, 1e12, GIB, 3 * GIB)
    settings, folder = settings_of(PlanRequest("wan2.1-t2v-1.3b", takes=2), 1)
    model = replace(blank(folder), codec=codec, cost=replace(COST, sampling=4 * GIB), reader=ReaderCost(5 * GIB, 7e12))
    facts = forecast_job(model, settings, JobSize(320, 64), Machine(80, 100))
    takes = 320 * 2
    assert facts.forwards["generate"] == (takes * 50 * 2,)
    made = takes * 100 * COST.forward + takes * codec.decode / CODEC_SHARE
    assert facts.hours["generate"] == pytest.approx(made / 1e14 / 3600, abs=0.001)
    assert facts.hours["encode"] == pytest.approx(320 * 3 * codec.encode / CODEC_SHARE / 1e14 / 3600, abs=0.001)
    assert facts.hours["read"] == pytest.approx((320 + 64 + 1) * 7 / 100 / 3600, abs=0.001)
    assert facts.total_hours == pytest.approx(sum(facts.hours.values()), abs=0.01)
    weights = COST.weights / GIB
    assert facts.gib["encode"] == 3 and facts.gib["read"] == 5
    assert facts.gib["generate"] == pytest.approx(weights + 5, abs=0.01)  # its codec takes more than a step
    assert facts.gib["evaluate"] == facts.gib["generate"]  # the base, then what was trained
    assert facts.too_large == ()
    latents = 320 * 3 * prod(COST.latents) * 4
    assert settings.train.reference != "frozen"  # so it is stored too, beside the weights and two moments
    disk = {"checkpoints": 3 * 4 * COST.trained_bytes, "weights": COST.trained_bytes, "latents": latents}
    assert facts.disk_gb == {name: round(size / GIB, 3) for name, size in disk.items()}
    small = forecast_job(model, settings, JobSize(320, 64), Machine(6, 100))
    assert small.too_large == ("generate", "train", "probes", "evaluate")


def test_a_folder_is_planned_as_init_writes_it(tmp_path: Path) -> None:
    model = write("wan_unipc", tmp_path / "model")
    (model / "rushes.toml").write_text("[backbone]\nframes = 9\n[generate]\nsteps = 3\n")
    settings, _ = settings_of(PlanRequest(str(model)), 1)
    assert (settings.backbone.frames, settings.generate.steps, settings.evaluate.steps) == (9, 3, 3)


def test_the_job_at_half_the_size_stands_beside(tmp_path: Path) -> None:
    model = str(write("wan_unipc", tmp_path / "model"))
    whole, half, small = (
        forecast(None, PlanRequest(model, size=size, frames=5, clips=10), Machine(24, 1e-6), ())
        for size in ("64x96", "32x48", "16x16")
    )
    assert whole.half == HalfSize(32, 48, half.total_hours, max(half.gib.values()))
    assert whole.total_hours > half.total_hours > 0 and small.half is None, "a model takes no size below its least"
    assert f"half size, 32 x 48 px: {half.total_hours:.2f} h for all stages" in "\n".join(in_words(whole))


def test_text_encoders_take_what_the_settings_make_of_them() -> None:
    """UMT5 has 5.68 billion weights, 1.05 of them its table of words; it reads in bfloat16 whatever is trained."""
    settings, folder = settings_of(PlanRequest("wan2.1-t2v-1.3b"), 1)

    def gib(**changes: object) -> float:
        size = settings.backbone.model_copy(update=changes)
        return reader_cost(folder, options_of(settings.model_copy(update={"backbone": size}))).weights / GIB

    assert gib(dtype="mixed") == gib() == pytest.approx(10.58, abs=0.01)
    words, outputs = 256384 * 4096 * 2 / GIB, 24 * 10240 * 4096 * 2 / GIB  # neither is rounded
    assert gib(text_offload=True) == words
    rest = 10.58 - words - outputs
    assert gib(text_quantize="8bit") == pytest.approx(10.58 - rest / 2, abs=0.02)
    assert gib(text_quantize="4bit") == pytest.approx(10.58 - rest * (1 - 4.13 / 16), abs=0.02)
    assert gib(dtype="float32") == 2 * gib()


def test_stages_have_an_owner() -> None:
    settings, folder = settings_of(PlanRequest("wan2.1-t2v-1.3b", recipe="densedpo", reference_cache=True), 1)
    stages = work(settings, JobSize(60, 12), blank(folder).spec)
    assert set(stages) <= set(SHARES) and {"eta", "reference_cache", "probes"} <= set(stages)
    assert all(isinstance(stage, StageWork) for stage in stages.values())
    assert stages["eta"].decoded == 16 * (2 * (len(LEVELS) + 1) + 1)


@pytest.mark.slow
def test_a_whole_job_of_wan() -> None:
    """2.4 s a forward pass: by hand 46 h of takes, 16 of training, 4.6 of probes, 9 of evaluation, 76 in all."""
    settings, folder = settings_of(PlanRequest("wan2.1-t2v-1.3b", takes=2), 1)
    facts = forecast_job(model_of(folder, settings), settings, numbers_of(settings, 400), Machine(24, 283 / 2.4))
    expected = {"generate": 46, "train": 16, "probes": 4.6, "evaluate": 9}
    assert {name: facts.hours[name] for name in expected} == pytest.approx(expected, rel=0.06)
    assert facts.total_hours == pytest.approx(76, rel=0.05)
    assert facts.step.mode == "stash" and facts.too_large == ()


@pytest.mark.parametrize("name", ["animatediff-sd1.5", pytest.param("wan2.1-t2v-1.3b", marks=pytest.mark.slow),
                                  pytest.param("cogvideox-2b", marks=pytest.mark.slow)])  # fmt: skip
def test_a_codec_that_works_in_tiles_is_counted_as_if_each_tile_ran(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = ClipShape(320, 448, 9) if name != "animatediff-sd1.5" else ClipShape(64, 64, 4)
    kept = codec_cost(released(name), LoadOptions(), clip)
    monkeypatch.setattr(partcosts, "_Remembered", lambda forward, meter: forward)
    monkeypatch.setattr(partcosts, "BLENDS", ())
    each = codec_cost(released(name), LoadOptions(), clip)
    assert (kept.encode, kept.decode, kept.encode_first) == (each.encode, each.decode, each.encode_first)
    for said, real in ((kept.encode_bytes, each.encode_bytes), (kept.decode_bytes, each.decode_bytes)):
        assert 0.99 * real <= said <= 1.2 * real


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quantize", "4bit", "--set", "backbone.offload=true"], "blocks in 4bit cannot be offloaded"),
        (["--trainable", "full", "--set", "backbone.offload=true"], "trained weights stay on the GPU"),
        (["--set", "backbone.offload=true", "--set", "train.parallel=shard"], "sharded weights cannot be offloaded"),
    ],
)
def test_a_model_is_not_forecast_with_what_training_refuses(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["plan", "--model", "wan2.1-t2v-1.3b", "--gpu", "h100", *options])
    assert end.value.code == 2 and words in capsys.readouterr().err


def test_a_step_of_sharded_weights_holds_its_share() -> None:
    asked = PlanRequest(model="wan2.1-t2v-1.3b", trainable="full")
    alone, spread = (
        forecast(None, asked, Machine(141.0, 300.0, 8), (f"train.parallel={way}",)).step
        for way in ("replicate", "shard")
    )
    for name in ("weights", "gradients", "optimiser"):
        assert spread.memory_gb[name] == pytest.approx(alone.memory_gb[name] / 8, abs=0.001)
    assert spread.memory_gb["activations of a view"] == alone.memory_gb["activations of a view"]


def test_what_a_project_lacks(tmp_path: Path, small: SmallProject, capsys: pytest.CaptureFixture[str]) -> None:
    footage = small.settings.footage.model_copy(update={"kind": "folder", "path": str(tmp_path)})
    changed = {"footage": footage.model_copy(update={"cut": "scenes"}), "label": LabelSettings()}
    folder = small.new_project(tmp_path / "p", small.settings.model_copy(update=changed))

    def said(*arguments: object) -> str:
        with pytest.raises(SystemExit) as end:
            main(["plan", *map(str, arguments)])
        assert end.value.code == 2
        return capsys.readouterr().err

    assert f"{folder} has no clips yet; run `rushes import {folder}` first, or give --clips" in said(folder)
    assert "give either a project's folder, or --model" in said()
    assert "give either a project's folder, or --model" in said(folder, "--model", "wan2.1-t2v-1.3b")
    assert "--gpus must be 1 or more, got 0" in said(folder, "--gpus", 0)
