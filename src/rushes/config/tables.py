"""Settings of every stage: one frozen table each. `rushes.config.settings_files` reads them.

A recipe keeps its own settings in `[train.options]` and validates them with its own model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from rushes.config.backbone import BackboneSettings as BackboneSettings
from rushes.config.base import Folder, Module, SettingsTable
from rushes.config.curate import CurateSettings
from rushes.config.model_endpoint import EndpointSettings
from rushes.config.ranges import (
    Batch,
    Factor,
    Few,
    LearningRate,
    Levels,
    LogNoise,
    Looks,
    Mebibytes,
    PageSize,
    Rank,
    Rate,
    Rows,
    Seconds,
    Seed,
    Segment,
    Steps,
)
from rushes.records import VOTE

NoiseLevel = Annotated[float, Field(gt=0, le=1)]


class ProjectSettings(SettingsTable):
    """What concerns the project as a whole."""

    name: str = Field("", description="name shown in the report; empty = the name of the project's folder")
    seed: Seed = Field(0, ge=0, description="seed from which every stage derives its own")


def _as_list(value: object) -> object:
    """One text where several may stand: `rushes set P footage.answers=0=right`."""
    return (value,) if isinstance(value, str) else value


class FootageSettings(SettingsTable):
    """Where the real clips come from."""

    kind: Literal["world", "folder", "pairs"] = Field(
        "world", description="the embedded world, a folder of video files, or pairs of better and worse videos"
    )
    path: Folder = Field(
        "", validate_default=True, description="folder of the video files, or folder or table of the pairs (kind pairs)"
    )
    rejected: Folder = Field("", description="folder of the worse videos, path having the better ones (kind pairs)")
    prompts: Folder = Field(
        "", description="file with the prompts of the pairs (kind pairs); empty = beside the videos"
    )
    columns: str = Field(
        "",
        description="of a table of pairs: chosen=A,rejected=B,prompt=C, or left, right, answer; empty = by their names",
    )
    answers: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        (), strict=False, description="what answers in a table of pairs mean, as 0=left and 1=right (kind pairs)"
    )
    windows: Few = Field(1, ge=1, description="clips that each file gives, at so many places (kind folder)")
    window: Literal["", "first", "last", "best-motion"] = Field(
        "", description="part of longer pairs that their label is for (kind pairs); empty = leave them out"
    )
    layout: Literal["auto", "folder", "realdpo", "webdataset", "videofolder", "table"] = Field(
        "auto", description="how the folder is laid out"
    )
    video_column: str = Field("", description="column of a table that holds or names the videos; empty = by its name")
    caption_column: str = Field("", description="column of a table, or key of a tar's JSON; empty = by its name")
    scenario_column: str = Field(
        "", description="column of a table with the scenario of each video; empty = the one called scenario, if any"
    )
    clips: Rows = Field(256, gt=0, description="clips to render (kind world)")
    scenes: tuple[str, ...] = Field((), strict=False, description="scenes to render (kind world); empty = all")
    eval_prompts: Rows = Field(64, ge=0, description="held-out prompts (kind world)")
    eval_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of the clips, or of prompts of pairs, held out (not kind world)"
    )
    fit: Literal["crop", "pad", "stretch"] = Field("crop", description="how a frame is brought to the backbone's size")
    bench: Folder = Field("", description="folder of held-out prompts with first frames and other systems' videos")
    allow_empty_captions: bool = Field(False, description="take clips without a caption instead of refusing them")
    on_refused: Literal["fail", "skip"] = Field(
        "fail", description="clips that cannot be used end the import, or are left out by name"
    )
    cut: Literal["none", "scenes"] = Field("none", description="take files whole, or cut them where the scene changes")
    cut_detector: Literal["adaptive", "content"] = Field(
        "adaptive", description="a cut is a change far above its neighbours, which spares fast motion, or a large one"
    )
    cut_threshold: Factor = Field(0.0, ge=0, description="change that is a cut; 0 = the detector's own (3 and 27)")
    shortest_s: Seconds = Field(0.0, ge=0, description="shortest piece of a scene; 0 = the backbone's length")
    longest_s: Seconds = Field(0.0, ge=0, description="longest piece of a scene; 0 = the backbone's length")
    cut_crf: int = Field(12, ge=1, le=51, description="x264's quality of the pieces, 1 (best) to 51")

    @field_validator("path")
    @classmethod
    def _folder_has_path(cls, path: str, info: ValidationInfo) -> str:
        if info.data.get("kind") != "world" and not path:
            raise ValueError(f"footage of kind {info.data.get('kind')!r} needs the path of the folder")
        return path


class GenerateSettings(SettingsTable):
    """Takes that the model makes of each prompt."""

    kind: Literal["take", "guided", "gap"] = Field(
        "take", description="from pure noise, from a partly noised real clip, or of a prompt with words left out"
    )
    takes: Few = Field(3, ge=1, description="takes of each prompt")
    steps: Levels = Field(16, ge=1, description="sampling steps of a take")
    shift: Factor = Field(
        0.0, ge=0, description="shift of the sampling schedule towards noise; 1 = none, 0 = the model's own"
    )
    guidance_scale: Factor = Field(1.0, ge=0, description="scale of classifier-free guidance; 1 = none")
    guidance_scale_2: Factor = Field(
        0.0, ge=0, description="guidance scale of the low-noise expert, where a model has two; 0 = as guidance_scale"
    )
    negative_prompt: str = Field("", description="prompt that guidance leads away from")
    eta: tuple[NoiseLevel, NoiseLevel] = Field(
        (0.65, 0.8),
        strict=False,
        description="lowest and highest share of noise, noise / (noise + signal), to start from (kind guided)",
    )
    mask: float = Field(0.3, gt=0, le=1, description="share of a prompt's words that are left out (kind gap)")
    shared_noise: float = Field(
        0.0, ge=0, lt=1, description="share of the first latent frame's noise in that of all others; HuViDPO has 0.2"
    )
    noise: Literal["unit", "published"] = Field(
        "unit", description="spread of mixed noise: 1, as in training, or lower, as HuViDPO has it (shared_noise)"
    )
    adain_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the steps, the last, with AdaIN: frames take the first's statistics; HuViDPO has 0.38",
    )
    image_cond_noise_scale: float = Field(
        -1.0,
        ge=-1,
        le=1,
        description="noise on a clean first frame in sampling, for more motion (LTX 0.9.5 on); -1 = the model's own",
    )
    match_colours: bool = Field(False, description="bring the colours of all frames to those of the first")
    batch: Batch = Field(32, ge=1, description="takes made at once")

    @field_validator("eta")
    @classmethod
    def _eta_is_a_range(cls, eta: tuple[float, float]) -> tuple[float, float]:
        if eta[0] >= eta[1]:
            raise ValueError("the lowest noise level must be below the highest")
        return eta


class LabelSettings(SettingsTable):
    """Who compares or scores the takes, and how finely."""

    form: Literal["pairs", "ranks", "scores"] = Field(
        "pairs",
        description="compare pairs, rank up to six takes on one screen (people alone), or score each from 0 to 10",
    )
    by: Literal["none", "human", "world", "metric", "vlm", "reward"] = Field(
        "none", description="who labels: nobody, people on a page, or a program"
    )
    metric: str = Field("", validate_default=True, description="name of the metric that judges (by metric)")
    segment_s: Segment = Field(0.5, description="seconds of clip that share one label")
    whole: bool = Field(False, description="one label for the whole clip instead of one for each segment")
    margin: Factor = Field(0.05, ge=0, description="score gap up to which two segments tie, in the judge's unit")
    prompt: Literal["artefacts", "realdpo", "physics"] = Field(
        "artefacts", description="what the model is asked: fewer artefacts, RealDPO's questions, or physics (by vlm)"
    )
    frames_per_s: Rate = Field(8.0, description="frames of each second that the model sees (by vlm)")
    reward: Folder = Field("", description="folder of a reward model or of its scores (by reward)")
    dimensions: tuple[str, ...] = Field(
        ("overall",), strict=False, min_length=1, description="what people are asked; training reads overall by default"
    )
    scores: bool = Field(False, description="people also give each clip a score from 0 to 10")
    reasons: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_ -]{0,30}$")], ...] = Field(
        ("hand", "vanishes", "flicker", "physics", "text", "other"),
        strict=False,
        max_length=9,
        description="faults that people can name, the first by the digit 1, the second by 2, up to nine",
    )
    play_first: bool = Field(False, description="an answer of people counts once both clips were played to their end")
    overlap: Few = Field(2, ge=1, description="people who label a pair that several label")
    overlap_share: float = Field(0.1, ge=0, le=1, description="share of a person's pairs that another has labelled")
    repeat_share: float = Field(0.05, ge=0, lt=1, description="share of pairs that a person gets once more, swapped")
    gold_by: str = Field(
        "", description="annotator whose labels are others' key; empty = nobody, or lead in a campaign"
    )
    gold_share: float = Field(0.05, ge=0, lt=1, description="share of a person's pairs that come from the key")
    practice: Few = Field(0, ge=0, description="pairs of the key that a person first practises on, explained; 0 = none")
    pass_mark: float = Field(0.6, ge=0, le=1, description="share of those practice answers that must be the key's")
    proposal: str = Field("", description="judge whose answer people see after their own; empty = nobody's")
    votes: Few = Field(1, ge=1, description="people who vote on each held-out pair, base against trained (`vote`)")
    lease_s: Seconds = Field(600.0, ge=10, description="seconds after which an unlabelled pair goes to somebody else")

    @field_validator("metric")
    @classmethod
    def _metric_has_name(cls, metric: str, info: ValidationInfo) -> str:
        if info.data.get("by") == "metric" and not metric:
            raise ValueError("labels by 'metric' need the name of a metric")
        return metric

    @field_validator("practice")
    @classmethod
    def _practice_has_a_key(cls, practice: int, info: ValidationInfo) -> int:
        if practice and not info.data.get("gold_by"):
            raise ValueError("people practise on the key, so set label.gold_by to the person whose labels it is")
        return practice

    @field_validator("dimensions")
    @classmethod
    def _dimensions_are_names(cls, dimensions: tuple[str, ...]) -> tuple[str, ...]:
        named = all(re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) for name in dimensions)
        if not named or len(set(dimensions)) < len(dimensions):
            raise ValueError("dimensions must be different names of small letters, digits and underscores")
        if VOTE in dimensions:
            raise ValueError(f"dimensions: {VOTE!r} is what `rushes vote` stores; choose another name")
        return dimensions


class CaptionSettings(SettingsTable):
    """Captions that are wrong where a take is, for recipes that contrast them with the true ones."""

    by: Literal["none", "rules", "world", "model"] = Field(
        "none", description="nobody, one word replaced by rule, the world's verifier, or the model behind [endpoint]"
    )
    about: Literal["most_alike", "all"] = Field(
        "most_alike", description="takes that are written about: of each clip that which looks most like it, or all"
    )
    frames: Looks = Field(4, ge=1, description="frames of each clip that the model sees (by model)")
    reasons: bool = Field(False, description="the model is told what people found wrong with a take (by model)")


class ObjectiveSettings(SettingsTable):
    """How terms become a loss, and guards for the winner, whatever the recipe (docs/objectives.md)."""

    loss: Literal["sigmoid", "ipo", "hinge"] = Field("sigmoid", description="loss of a margin; sigmoid is DPO's")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="probability that a label is wrong")
    reference_free: bool = Field(False, description="margins of the model's own errors, not relative to the reference")
    sft_weight: Factor = Field(0.0, ge=0, description="weight of the winner's own error beside the preference loss")
    dpop_weight: Factor = Field(
        0.0, ge=0, description="weight of the winner's error above the reference's, DPO-positive's penalty"
    )
    safe_dpo: bool = Field(
        False,
        description="Diffusion-SDPO: scale losers' gradients so that no step raises the winners' error to first order",
    )
    safe_dpo_share: float = Field(
        0.9, ge=0, le=1, description="share of the winners' own descent that a step must keep (safe_dpo)"
    )


class TrainSettings(SettingsTable):
    """The training run."""

    recipe: Module = Field("realdpo", min_length=1, description="name of a recipe, or the dotted path of your own")
    name: str = Field(
        "", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", description="name of the run and its folder; empty = the recipe"
    )
    init_from: str = Field("base", min_length=1, description="weights that training starts from: base, or a run's name")
    steps: Steps = Field(200, ge=1, description="optimizer steps")
    batch: Batch = Field(16, ge=1, description="comparisons in a step")
    learning_rate: LearningRate = Field(1e-5, gt=0, description="learning rate of AdamW, after the warm-up")
    weight_decay: Factor = Field(0.0, ge=0, description="decoupled weight decay")
    warmup_steps: Steps = Field(10, ge=0, description="steps over which the learning rate rises from zero")
    lr_scheduler: Literal["linear", "constant"] = Field(
        "linear", description="after the warm-up the learning rate falls to zero in a line, or stays"
    )
    max_grad_norm: Factor = Field(1.0, gt=0, description="largest norm of the gradient; a larger one is scaled down")
    trainable: str = Field(
        "full",
        min_length=1,
        description="full: all weights; lora: a low-rank adapter; or a group of weights that the backbone names",
    )
    lora_rank: Rank = Field(16, ge=1, description="rank of the adapter (trainable lora)")
    lora_alpha: Factor = Field(
        16.0, gt=0, description="the adapter is scaled by lora_alpha / lora_rank (trainable lora)"
    )
    reference: Literal["frozen", "ema", "hard"] = Field(
        "frozen", description="the reference stays, follows as a moving average, or is replaced by the policy"
    )
    reference_ema: float = Field(
        0.98, ge=0, lt=1, description="share of itself that the reference keeps at an update (reference ema)"
    )
    reference_sync_steps: Steps = Field(
        1, ge=1, description="steps between two updates of the reference (reference ema or hard)"
    )
    times: Literal["", "uniform", "logit_normal"] = Field(
        "", description="distribution of the training time before its shift; empty = the recipe's own"
    )
    shift: Factor = Field(
        0.0,
        ge=0,
        description="shift of training times towards noise; 1 = none, 0 = that which these clips are sampled with",
    )
    t_low: float = Field(0.0, ge=0, lt=1, description="lowest training time, after the shift; 0 = clean")
    t_high: float = Field(1.0, gt=0, le=1, description="highest training time, after the shift; 1 = noise")
    expert: Literal["both", "high", "low"] = Field(
        "both", description="of two experts train both, or one alone, at its own noise levels"
    )
    mirror: bool = Field(
        False, description="also each comparison seen in a mirror, but where a caption says left or right"
    )
    caption_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of comparisons under the empty caption, which guidance needs if negative_prompt is empty; "
        "0 = none",
    )
    weights_ema: float = Field(
        0.0, ge=0, lt=1, description="decay of an average of the trained weights, sampled with and written; 0 = off"
    )
    gradients: Literal["auto", "joint", "stash", "two_pass"] = Field(
        "auto", description="how views are backpropagated; the gradient is the same, memory and time differ"
    )
    memory_mb: Mebibytes = Field(
        0, ge=0, description="MiB that activations may take (gradients auto); 0 = a share of the machine's memory"
    )
    activations: Literal["keep", "offload"] = Field(
        "keep", description="where activations wait for the backward pass: on the GPU, or in main memory"
    )
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        "adamw", description="AdamW with moments as the weights, or in 8 bits in blocks of 256 (needs bitsandbytes)"
    )
    reference_cache: Few = Field(
        0,
        ge=0,
        description="draws of noise per comparison whose reference errors are computed once; 0 = computed in each step",
    )
    first_frame_noise: tuple[LogNoise, ...] = Field(
        (),
        strict=False,
        description="mean and spread of log noise on the latent of a first frame that is shown as channels; CogVideoX: "
        "[-3, 0.5]; [] = none",
    )
    parallel: Literal["replicate", "shard"] = Field(
        "replicate", description="under torchrun each process has all weights, or a part of them (FSDP2)"
    )
    checkpoint_every: Steps = Field(50, ge=1, description="steps between two checkpoints")
    held_out: Rows = Field(32, ge=0, description="comparisons held out to watch the run")
    probe_every: Steps = Field(
        0, ge=0, description="steps between two measures of the held-out comparisons; 0 = at each checkpoint"
    )
    sample_every: Steps = Field(
        0, ge=0, description="steps between two sets of sampled clips in runs/NAME/samples; 0 = none"
    )
    samples: Few = Field(4, ge=1, description="clips in such a set, of the first held-out prompts, at fixed seeds")
    shortcut_probe: Rows = Field(
        64,
        ge=0,
        description="comparisons probed for shortcuts, such as codec, grain or brightness, before training; 0 = none",
    )
    auto_beta: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="adapt beta so that the mean of sigmoid(-logit) stays near this, such as 0.2; 0 = beta is fixed",
    )
    trackers: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = Field(
        (),
        strict=False,
        description="programs that get a copy of metrics.jsonl; wandb offline unless WANDB_MODE is set",
    )
    deterministic: bool = Field(True, description="refuse operations whose result may differ between equal runs")
    objective: ObjectiveSettings = ObjectiveSettings()

    @field_validator("first_frame_noise")
    @classmethod
    def _first_frame_noise_is_a_pair(cls, noise: tuple[float, ...]) -> tuple[float, ...]:
        if noise and (len(noise) != 2 or noise[1] < 0):
            raise ValueError("needs a mean and a spread of at least 0, such as [-3, 0.5], or nothing, []")
        return noise

    options: dict[str, Any] = Field(default_factory=dict, description="settings of the recipe itself")

    def needs(self, usual: tuple[str, ...], where: Mapping[tuple[str, Any], tuple[str, ...]]) -> tuple[str, ...]:
        """What a recipe needs under its options here: that of `where` whose option has its value, else the usual."""
        return next((needs for (name, value), needs in where.items() if self.options.get(name) == value), usual)


class EvaluateSettings(SettingsTable):
    """The comparison of base and trained model."""

    prompts: Rows = Field(64, ge=1, description="held-out prompts, at most")
    seeds: Few = Field(1, ge=1, description="seeds for each prompt, the same for base and trained")
    steps: Levels = Field(16, ge=1, description="sampling steps of a clip")


class ReportSettings(SettingsTable):
    """The report page."""

    cases: Few = Field(4, ge=0, description="side-by-side videos of each sort: best, worst, random")
    max_mb: PageSize = Field(30.0, gt=0, description="largest size of the page in MB")


class Settings(SettingsTable):
    """Everything `rushes run` reads."""

    project: ProjectSettings = ProjectSettings()
    backbone: BackboneSettings = BackboneSettings()
    footage: FootageSettings = FootageSettings()
    curate: CurateSettings = CurateSettings()
    generate: GenerateSettings = GenerateSettings()
    label: LabelSettings = LabelSettings()
    caption: CaptionSettings = CaptionSettings()
    endpoint: EndpointSettings = EndpointSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()


def run_name(settings: TrainSettings) -> str:
    """Name of a run and its folder."""
    return settings.name or settings.recipe.rsplit(".", 1)[-1]


def toy_note(backbone: str, footage: str) -> str:
    """What to say of a project that shows footage to the tiny backbone, which knows the embedded world alone.

    Args:
        backbone: `backbone.name`.
        footage: `footage.kind`.

    Returns:
        A sentence, "" where there is nothing to say.
    """
    if backbone != "tiny" or footage not in ("folder", "pairs"):
        return ""
    return "toy model: shows the path; real results need a GPU and --model"
