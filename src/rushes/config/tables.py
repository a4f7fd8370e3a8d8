"""Settings of every stage: one frozen table each. `rushes.config.settings_files` reads them.

A recipe keeps its own settings in `[train.options]` and validates them with its own model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rushes.config.backbone import BackboneSettings as BackboneSettings
from rushes.config.base import Module, SettingsTable
from rushes.config.curate import CurateSettings
from rushes.config.footage import FootageSettings as FootageSettings
from rushes.config.label_tables import LabelSettings as LabelSettings
from rushes.config.model_endpoint import EndpointSettings
from rushes.config.ranges import (
    BatchSize,
    Decay,
    Doubt,
    Factor,
    Few,
    GradientWeight,
    LearningRate,
    LogNoise,
    Looks,
    Mebibytes,
    Noise,
    PageSize,
    Rank,
    RowCount,
    SamplingSteps,
    Seed,
    Share,
    StepCount,
)

NoiseLevel = Annotated[Noise, Field(gt=0, le=1)]


class ProjectSettings(SettingsTable):
    """The project as a whole."""

    name: str = Field("", description="name in the report; empty = the name of the project's folder")
    seed: Seed = Field(0, ge=0, description="random seed of the project; every stage derives its own from it")


class GenerateSettings(SettingsTable):
    """Sampling of takes: clips that the model makes of each prompt."""

    kind: Literal["take", "guided", "gap"] = Field(
        "take",
        description="take = from pure noise, guided = from a partly noised real clip, gap = from a prompt with "
        "words left out",
    )
    takes: Few = Field(3, ge=1, description="number of takes for each prompt")
    steps: SamplingSteps = Field(16, ge=1, description="sampling steps for each take")
    shift: Factor = Field(
        0.0, ge=0, description="shift of the sampling schedule towards noise; 1 = no shift, 0 = the model's own"
    )
    guidance_scale: Factor = Field(1.0, ge=0, description="classifier-free guidance scale; 1 = no guidance")
    guidance_scale_2: Factor = Field(
        0.0,
        ge=0,
        description="guidance scale of the low-noise expert in models with two experts; 0 = same as guidance_scale",
    )
    negative_prompt: str = Field("", description="negative prompt of classifier-free guidance")
    eta: tuple[NoiseLevel, NoiseLevel] = Field(
        (0.65, 0.8),
        strict=False,
        description="range of the noise level at the start, noise / (noise + signal): lowest and highest (kind guided)",
    )
    mask: Share = Field(0.3, gt=0, le=1, description="fraction of a prompt's words that is left out (kind gap)")
    shared_noise: Share = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the first latent frame's noise mixed into all other frames; 0 = independent "
        "noise, HuViDPO uses 0.2",
    )
    noise: Literal["unit", "published"] = Field(
        "unit",
        description="standard deviation of the mixed noise: unit = 1, as in training; published = lower, as in "
        "HuViDPO (shared_noise)",
    )
    adain_share: Share = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of the steps, at the end, that match every frame's statistics to the first's "
        "(AdaIN); HuViDPO uses 0.38",
    )
    image_cond_noise_scale: Noise = Field(
        -1.0,
        ge=-1,
        le=1,
        description="noise on the given first frame while sampling; more noise gives more motion (LTX 0.9.5 and "
        "later); -1 = the model's own",
    )
    match_colours: bool = Field(False, description="match the colours of all frames to the first frame")
    batch: BatchSize = Field(32, ge=1, description="takes sampled at once; more need more memory")

    @field_validator("eta")
    @classmethod
    def _eta_is_a_range(cls, eta: tuple[float, float]) -> tuple[float, float]:
        if eta[0] >= eta[1]:
            raise ValueError("the lowest noise level must be below the highest")
        return eta


class CaptionSettings(SettingsTable):
    """Wrong captions, for recipes that contrast them with the true caption."""

    by: Literal["none", "rules", "world", "model"] = Field(
        "none",
        description="who writes them: nobody, a rule that replaces one word, the embedded world's verifier, or "
        "the model of [endpoint]",
    )
    about: Literal["most_alike", "all"] = Field(
        "most_alike",
        description="takes that get a wrong caption: most_alike = the take most like the real clip, all = every take",
    )
    frames: Looks = Field(4, ge=1, description="frames of each clip that the model sees (by model)")
    reasons: bool = Field(False, description="tell the model which faults people found in the take (by model)")


class ObjectiveSettings(SettingsTable):
    """The loss, and terms that protect the winner, for every recipe (docs/objectives.md)."""

    loss: Literal["sigmoid", "ipo", "hinge"] = Field(
        "sigmoid", description="loss of the preference margin; sigmoid = DPO's"
    )
    label_smoothing: Doubt = Field(
        0.0, ge=0, lt=0.5, description="assumed probability that a label is wrong; 0 = labels are trusted"
    )
    reference_free: bool = Field(
        False, description="margins use the model's own errors, without subtracting the reference's"
    )
    sft_weight: Factor = Field(
        0.0,
        ge=0,
        description="weight of the SFT term, the winner's own error, beside the preference loss; 0 = no SFT term",
    )
    dpop_weight: Factor = Field(
        0.0,
        ge=0,
        description="weight of DPO-positive's penalty, the winner's error above the reference's; 0 = no penalty",
    )
    safe_dpo: bool = Field(
        False,
        description="Diffusion-SDPO: scale the losers' gradients so that no step raises the winners' error, to "
        "first order",
    )
    safe_dpo_share: Share = Field(
        0.9, ge=0, le=1, description="fraction of the winners' own descent that each step keeps (safe_dpo)"
    )


class TrainSettings(SettingsTable):
    """The training run."""

    recipe: Module = Field("realdpo", min_length=1, description="name of a recipe, or the dotted path of your own")
    name: str = Field(
        "",
        max_length=100,
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$",
        description="name of the run and of its folder; empty = the recipe's name",
    )
    init_from: str = Field("base", min_length=1, description="initial weights: base, or the name of a run")
    steps: StepCount = Field(200, ge=1, description="optimizer steps")
    batch: BatchSize = Field(16, ge=1, description="batch size: comparisons per optimizer step")
    learning_rate: LearningRate = Field(1e-5, gt=0, description="peak learning rate of AdamW, after warm-up")
    weight_decay: Factor = Field(0.0, ge=0, description="decoupled weight decay of AdamW")
    warmup_steps: StepCount = Field(10, ge=0, description="steps over which the learning rate rises from zero")
    lr_scheduler: Literal["linear", "constant"] = Field(
        "linear", description="learning rate after warm-up: linear decay to zero, or constant"
    )
    max_grad_norm: Factor = Field(1.0, gt=0, description="gradient norm above which gradients are scaled down")
    trainable: str = Field(
        "full",
        min_length=1,
        description="full = all weights, lora = a LoRA adapter, or a group of weights that the model defines",
    )
    lora_rank: Rank = Field(16, ge=1, description="LoRA rank (trainable lora)")
    lora_alpha: Factor = Field(
        16.0, gt=0, description="LoRA alpha; the adapter is scaled by lora_alpha / lora_rank (trainable lora)"
    )
    reference: Literal["frozen", "ema", "hard"] = Field(
        "frozen",
        description="reference model: frozen, an exponential moving average of the policy (ema), or replaced by "
        "the policy (hard)",
    )
    reference_ema: Decay = Field(
        0.98, ge=0, lt=1, description="decay of the reference's moving average (reference ema)"
    )
    reference_sync_steps: StepCount = Field(
        1, ge=1, description="steps between updates of the reference (reference ema or hard)"
    )
    times: Literal["", "uniform", "logit_normal"] = Field(
        "", description="distribution of training timesteps, before the shift; empty = the recipe's own"
    )
    shift: Factor = Field(
        0.0,
        ge=0,
        description="shift of the training timesteps towards noise; 1 = no shift, 0 = the shift that these clips "
        "are sampled with",
    )
    t_low: Noise = Field(0.0, ge=0, lt=1, description="lowest training timestep, after the shift; 0 = clean")
    t_high: Noise = Field(1.0, gt=0, le=1, description="highest training timestep, after the shift; 1 = pure noise")
    expert: Literal["both", "high", "low"] = Field(
        "both", description="experts to train in models with two: both, or one of them at its own noise levels"
    )
    mirror: bool = Field(
        False, description="augmentation: also train on each comparison mirrored, unless its caption says left or right"
    )
    caption_dropout: Share = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of comparisons trained with the empty caption, for guidance without a "
        "negative_prompt; 0 = none",
    )
    weights_ema: Decay = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of an EMA of the trained weights, which is what is sampled and saved; 0 = no EMA",
    )
    gradients: Literal["auto", "joint", "stash", "two_pass"] = Field(
        "auto",
        description="how views are backpropagated: same gradient, different memory and time; auto = the fastest "
        "that fits",
    )
    memory_mb: Mebibytes = Field(
        0,
        ge=0,
        description="MiB for activations (gradients auto); 0 = a share of the GPU's free memory, or of main "
        "memory without a GPU",
    )
    activations: Literal["keep", "offload"] = Field(
        "keep", description="where activations wait for the backward pass: keep = on the GPU, offload = in main memory"
    )
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        "adamw", description="AdamW, or AdamW with 8-bit moments in blocks of 256 (adamw_8bit, needs bitsandbytes)"
    )
    reference_cache: Few = Field(
        0,
        ge=0,
        description="noise draws per comparison whose reference errors are computed once and stored; 0 = "
        "computed at each step",
    )
    first_frame_noise: tuple[LogNoise, ...] = Field(
        (),
        strict=False,
        description="mean and standard deviation of the log-normal noise on a first frame given as channels, "
        "[-3, 0.5] for CogVideoX; [] = no noise",
    )
    parallel: Literal["replicate", "shard"] = Field(
        "replicate",
        description="under torchrun: each process holds all weights (replicate), or a shard of them (shard, FSDP2)",
    )
    checkpoint_every: StepCount = Field(50, ge=1, description="steps between checkpoints")
    held_out: RowCount = Field(32, ge=0, description="comparisons held out to monitor the run")
    probe_every: StepCount = Field(
        0, ge=0, description="steps between evaluations of the held-out comparisons; 0 = at each checkpoint"
    )
    sample_every: StepCount = Field(
        0, ge=0, description="steps between sets of sample clips, in runs/NAME/samples; 0 = no samples"
    )
    samples: Few = Field(
        4, ge=1, description="clips per set: the first held-out prompts, with fixed seeds (sample_every)"
    )
    shortcut_probe: RowCount = Field(
        64,
        ge=0,
        description="comparisons checked for shortcuts, such as codec, grain or brightness, before training; 0 = "
        "no check",
    )
    auto_beta: GradientWeight = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="adapt beta so that the mean DPO gradient weight, sigmoid(-logit), stays near this value, "
        "such as 0.2; 0 = beta is fixed",
    )
    trackers: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = Field(
        (),
        strict=False,
        description="experiment trackers that get a copy of metrics.jsonl; wandb runs offline unless WANDB_MODE is set",
    )
    deterministic: bool = Field(True, description="refuse operations that can give different results in equal runs")
    objective: ObjectiveSettings = ObjectiveSettings()

    @field_validator("first_frame_noise")
    @classmethod
    def _first_frame_noise_is_a_pair(cls, noise: tuple[float, ...]) -> tuple[float, ...]:
        if noise and (len(noise) != 2 or noise[1] < 0):
            raise ValueError("needs a mean and a spread of at least 0, such as [-3, 0.5], or nothing, []")
        return noise

    options: dict[str, Any] = Field(default_factory=dict, description="settings of the recipe, see its page")


class EvaluateSettings(SettingsTable):
    """The comparison of the trained model with the base."""

    prompts: RowCount = Field(64, ge=1, description="maximum number of held-out prompts")
    seeds: Few = Field(1, ge=1, description="seeds per prompt, the same for base and trained model")
    steps: SamplingSteps = Field(16, ge=1, description="sampling steps for each clip")


class ReportSettings(SettingsTable):
    """The report page."""

    cases: Few = Field(4, ge=0, description="side-by-side videos in each group: best, worst, random")
    max_mb: PageSize = Field(30.0, gt=0, description="maximum size of the page in MB")


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
