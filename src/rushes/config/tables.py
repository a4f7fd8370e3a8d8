"""Settings of every stage: one frozen table each. `rushes.config.files` reads them.

A recipe keeps its own settings in `[train.options]` and validates them with its own model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

FOLDER = "folder"  # marks a string that names a folder: relative ones are resolved when the settings are loaded
Folder = Annotated[str, FOLDER]
NoiseLevel = Annotated[float, Field(gt=0, le=1)]


class Table(BaseModel):
    """Base of every settings table: frozen, unknown names refused, no conversion between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Project(Table):
    """What concerns the project as a whole."""

    name: str = Field("", description="name shown in the report; empty = the name of the project's folder")
    seed: int = Field(0, ge=0, description="seed from which every stage derives its own")


class Backbone(Table):
    """The video model and the size it works at."""

    name: str = Field("tiny", min_length=1, description="name of a backbone, or the dotted path of your own")
    path: Folder = Field("", description="folder of the weights; empty = the base that ships with the package")
    height_px: int = Field(32, gt=0, description="height of a frame in pixels")
    width_px: int = Field(32, gt=0, description="width of a frame in pixels")
    frames: int = Field(17, gt=0, description="frames of a clip; the backbone says which counts it can carry")
    fps: float = Field(8.0, gt=0, description="frames per second to which every clip is resampled")
    first_frame: bool = Field(True, description="the model is given the first frame of each clip")


class Footage(Table):
    """Where the real clips come from."""

    kind: Literal["world", "folder"] = Field("world", description="the embedded world, or a folder of video files")
    path: Folder = Field("", validate_default=True, description="folder of the video files (kind folder)")
    layout: Literal["auto", "folder", "realdpo"] = Field("auto", description="how the folder is laid out")
    clips: int = Field(256, gt=0, description="clips to render (kind world)")
    scenes: tuple[str, ...] = Field((), strict=False, description="scenes to render (kind world); empty = all")
    eval_prompts: int = Field(64, ge=0, description="held-out prompts (kind world)")
    eval_fraction: float = Field(0.0, ge=0, lt=1, description="share of the clips held out (kind folder)")
    fit: Literal["crop", "pad", "stretch"] = Field("crop", description="how a frame is brought to the backbone's size")
    bench: Folder = Field("", description="folder of held-out prompts with first frames and other systems' videos")
    allow_empty_captions: bool = Field(False, description="take clips without a caption instead of refusing them")

    @field_validator("path")
    @classmethod
    def _folder_has_path(cls, path: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "folder" and not path:
            raise ValueError("footage of kind 'folder' needs the path of the folder")
        return path


class Generate(Table):
    """Takes that the model makes of each prompt."""

    kind: Literal["take", "guided"] = Field("take", description="from pure noise, or from a partly noised real clip")
    takes: int = Field(3, ge=1, description="takes of each prompt")
    steps: int = Field(16, ge=1, description="sampling steps of a take")
    shift: float = Field(4.0, gt=0, description="shift of the sampling schedule towards noise; 1 = none")
    guidance: float = Field(1.0, ge=0, description="classifier-free guidance; 1 = none")
    eta: tuple[NoiseLevel, NoiseLevel] = Field(
        (0.65, 0.8), strict=False, description="lowest and highest noise level to start from (kind guided), in (0, 1]"
    )
    batch: int = Field(32, ge=1, description="takes made at once")

    @field_validator("eta")
    @classmethod
    def _eta_is_a_range(cls, eta: tuple[float, float]) -> tuple[float, float]:
        if eta[0] >= eta[1]:
            raise ValueError("the lowest noise level must be below the highest")
        return eta


class Label(Table):
    """Who compares the takes, and how finely."""

    by: Literal["none", "world", "metric"] = Field(
        "none", description="nobody (the recipe needs no labels), the world's verifier, or a metric"
    )
    metric: str = Field("", validate_default=True, description="name of the metric that judges (by metric)")
    segment_s: float = Field(0.5, gt=0, description="seconds of clip that share one label")
    margin: float = Field(0.05, ge=0, description="score gap up to which two segments tie, in the judge's unit")

    @field_validator("metric")
    @classmethod
    def _metric_has_name(cls, metric: str, info: ValidationInfo) -> str:
        if info.data.get("by") == "metric" and not metric:
            raise ValueError("labels by 'metric' need the name of a metric")
        return metric


class Train(Table):
    """The training run."""

    recipe: str = Field("realdpo", min_length=1, description="name of a recipe, or the dotted path of your own")
    name: str = Field(
        "", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", description="name of the run and its folder; empty = the recipe"
    )
    steps: int = Field(200, ge=1, description="optimizer steps")
    batch: int = Field(16, ge=1, description="comparisons in a step")
    lr: float = Field(1e-5, gt=0, description="learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    warmup: int = Field(10, ge=0, description="steps over which the learning rate rises from zero")
    decay: Literal["linear", "none"] = Field("linear", description="after the warm-up the rate falls to zero, or stays")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient; a larger one is scaled down")
    tune: Literal["full", "lora"] = Field("full", description="train all weights, or a low-rank adapter")
    rank: int = Field(16, ge=1, description="rank of the adapter (tune lora)")
    alpha: float = Field(16.0, gt=0, description="scale of the adapter is alpha / rank (tune lora)")
    reference: Literal["frozen", "ema", "hard"] = Field(
        "frozen", description="the reference stays, follows as a moving average, or is replaced by the policy"
    )
    ema: float = Field(0.98, ge=0, lt=1, description="share of itself that a moving reference keeps (reference ema)")
    ema_every: int = Field(1, ge=1, description="steps between two updates of the reference (ema and hard)")
    gradients: Literal["auto", "joint", "stash", "two_pass"] = Field(
        "auto", description="how views are backpropagated; the gradient is the same, memory and time differ"
    )
    checkpoint_every: int = Field(50, ge=1, description="steps between two checkpoints")
    held_out: int = Field(32, ge=0, description="comparisons held out to watch the run")
    deterministic: bool = Field(True, description="refuse operations whose result may differ between equal runs")
    options: dict[str, Any] = Field(default_factory=dict, description="settings of the recipe itself")


class Evaluate(Table):
    """The comparison of base and trained model."""

    prompts: int = Field(64, ge=1, description="held-out prompts, at most")
    seeds: int = Field(1, ge=1, description="seeds for each prompt, the same for base and trained")
    steps: int = Field(16, ge=1, description="sampling steps of a clip")


class Report(Table):
    """The report page."""

    cases: int = Field(4, ge=0, description="side-by-side videos of each sort: best, worst, random")
    max_mb: float = Field(30.0, gt=0, description="largest size of the page in MB")


class Settings(Table):
    """Everything `rushes run` reads."""

    project: Project = Project()
    backbone: Backbone = Backbone()
    footage: Footage = Footage()
    generate: Generate = Generate()
    label: Label = Label()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
