"""Settings of curation: which stages a clip must pass, and the threshold of each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rushes.config.base import Address, FolderPath, KeyVariable, SettingsTable
from rushes.config.ranges import (
    BatchSize,
    Cosine,
    Dimensions,
    Factor,
    Few,
    Looks,
    Money,
    RowCount,
    ScoreProduct,
    Share,
    Tokens,
)

StageName = Literal[
    "technical", "motion", "duplicates", "reality", "captions", "dynamics", "fidelity", "diversity", "balance"
]


class TechnicalSettings(SettingsTable):
    """Recording quality and later processing, measured on eight frames of a clip."""

    max_enlarged: Factor = Field(
        1.25, gt=0, description="maximum factor by which a frame is enlarged to reach the model's size"
    )
    max_blur: Share = Field(
        0.7, gt=0, le=1, description="maximum blur at 256 px, from 0 = sharp to 1 = no detail (Crete et al. 2007)"
    )
    max_blockiness: Factor = Field(
        1.6, ge=1, description="maximum ratio of steps at the edges of 8-pixel coding blocks to steps elsewhere"
    )
    max_bars: Share = Field(
        0.02, ge=0, le=1, description="maximum fraction of the picture covered by black or white bars"
    )
    max_text: Share = Field(0.002, ge=0, le=1, description="maximum fraction of the picture covered by static text")
    min_brightness: Share = Field(0.05, ge=0, le=1, description="minimum mean brightness, 0 = black, 1 = white")
    max_brightness: Share = Field(0.92, ge=0, le=1, description="maximum mean brightness, 0 = black, 1 = white")
    max_blown: Share = Field(0.3, ge=0, le=1, description="maximum fraction of pixels clipped to white")


class MotionSettings(SettingsTable):
    """Motion of the clip, measured on all frames at 128 px. Speeds are in short sides of the picture per second."""

    min_speed: Factor = Field(0.03, ge=0, description="minimum speed of the fastest 5 % of the picture")
    max_speed: Factor = Field(
        4.0, gt=0, description="maximum speed of the fastest 5 % of the picture; time lapses and whip pans are above it"
    )
    max_still: Share = Field(0.4, ge=0, le=1, description="maximum fraction of frames without motion")
    max_repeated: Share = Field(
        0.25,
        ge=0,
        le=1,
        description="maximum fraction of frames that repeat the previous frame while the clip moves, as slowed "
        "footage does",
    )
    max_unexplained: Share = Field(
        0.6,
        ge=0,
        le=1,
        description="maximum fraction of the change between frames that optical flow does not explain, as in "
        "time lapses",
    )
    max_camera: Factor = Field(1.0, gt=0, description="maximum speed of the camera")
    min_subject: Factor = Field(
        0.0, ge=0, description="minimum speed of the fastest 5 % of the picture relative to the camera; 0 = no limit"
    )
    max_cuts: Few = Field(0, ge=0, description="maximum number of cuts inside the clip")
    dynamic: bool = Field(False, description="also require VBench's dynamic degree")


class DuplicatesSettings(SettingsTable):
    """Copies of the same clip: the best one is kept."""

    max_distance: Share = Field(
        0.2, gt=0, lt=1, description="maximum relative difference between two clips that count as copies, 0 = identical"
    )
    mirrored: bool = Field(True, description="clips mirrored left to right count as copies")
    reversed: bool = Field(True, description="clips played backwards count as copies")


class ModelSettings(SettingsTable):
    """A model other than that of `[endpoint]`; everything not set here is as there, the budget included."""

    url: Address = Field("", description="URL up to and including /v1; empty = that of [endpoint]")
    model: str = Field("", description="name of the model on its server")
    key_env: KeyVariable = Field(
        "", description="environment variable that holds the API key, if url is set; empty = no key"
    )
    price_in: Money = Field(0.0, ge=0, description="price of a million input tokens; 0 = as in [endpoint]")
    price_out: Money = Field(0.0, ge=0, description="price of a million output tokens; 0 = as in [endpoint]")


class TextModelSettings(ModelSettings):
    """The language model that reads captions (dynamics, fidelity). Without a name here, that of `[endpoint]`."""


class SecondJudgeSettings(ModelSettings):
    """The vision-language model that checks again what the model of `[endpoint]` accepted as real."""


class EmbeddingModelSettings(ModelSettings):
    """A model behind an OpenAI-compatible endpoint that embeds captions (by endpoint)."""


Unreadable = Literal["drop", "keep"]
_UNREADABLE = (
    "clips for which the model's answer was refused, truncated or malformed: drop = removed and listed, keep = kept"
)


class RealitySettings(SettingsTable):
    """Filmed or not: two vision-language models must both say yes. The second sees what passed the first."""

    double_check: bool = Field(True, description="require a second model to agree; without it more unreal clips pass")
    frames: Looks = Field(8, ge=1, description="frames of a clip that the model sees, evenly spaced")
    unreadable: Unreadable = Field("drop", description=_UNREADABLE)
    second: SecondJudgeSettings = SecondJudgeSettings()


class CaptionsSettings(SettingsTable):
    """Captions: the vision-language model of `[endpoint]` checks those that exist and writes new ones."""

    write: Literal["missing", "all", "never"] = Field(
        "missing",
        description="write a dense caption for clips without one, for all clips, or for none; old captions are "
        "stored too",
    )
    check: bool = Field(False, description="first ask the model whether the clip shows what its caption says")
    untrue: Literal["drop", "write"] = Field(
        "drop", description="clips whose caption is not true: drop = removed, write = they get a new caption (check)"
    )
    frames: Looks = Field(8, ge=1, description="frames of a clip that the model sees, evenly spaced")
    min_words: Few = Field(15, ge=0, description="minimum words of a new caption; clips with a shorter one are dropped")
    unreadable: Unreadable = Field("drop", description=_UNREADABLE)


class DynamicsSettings(SettingsTable):
    """Does the caption describe a scene with difficult foreground motion? (DenseDPO's filter)"""

    by: Literal["model", "rules"] = Field(
        "model", description="model = a language model, rules = word lists, which ignore context and are weaker"
    )
    unreadable: Unreadable = Field("drop", description=_UNREADABLE)


class FidelitySettings(SettingsTable):
    """How well captions show 17 physical phenomena (PhysHPO): three questions per clip, the best clips are kept."""

    keep: Literal["share", "top_k", "min_score"] = Field(
        "share",
        description="what is kept: a fraction of the clips, a number of clips, or all clips with a minimum score",
    )
    share: Share = Field(
        0.2213,
        gt=0,
        le=1,
        description="fraction of clips to keep; the default is PhysHPO's, 59,076 of 266,931 (keep share)",
    )
    top_k: RowCount = Field(1000, ge=1, description="number of clips to keep (keep top_k)")
    min_score: ScoreProduct = Field(
        8.0, ge=1, le=125, description="minimum score, the product of the three group means, 1 to 125 (keep min_score)"
    )
    max_tokens: Tokens = Field(2048, ge=1, description="maximum tokens of an answer; one answer holds six captions")


class EmbeddingsSettings(SettingsTable):
    """Embeddings that captions are compared by (stages diversity and balance)."""

    by: Literal["hashing", "endpoint", "folder"] = Field(
        "hashing",
        description="hashing = hashed words and letters, blind to synonyms; endpoint = a model behind an URL; "
        "folder = a model on disk",
    )
    size: Dimensions = Field(512, ge=64, le=65536, description="dimensions of an embedding (by hashing)")
    path: FolderPath = Field("", description="folder of a text encoder, as transformers saves it (by folder)")
    batch: BatchSize = Field(32, ge=1, description="captions embedded at once (by endpoint or folder)")
    endpoint: EmbeddingModelSettings = EmbeddingModelSettings()


_ORDER = "value that ranks clips, higher is better; empty = the fidelity score if there is one, else the given order"


class DiversitySettings(SettingsTable):
    """From the best clip to the worst: a clip is kept if its caption differs from all kept so far (Deita, PhysHPO)."""

    tau: Cosine = Field(0.9, gt=-1, le=1, description="cosine similarity from which two captions are too similar")
    repeats: Few = Field(1, ge=1, description="maximum number of clips with exactly the same caption")
    order: str = Field("", description=_ORDER)


class BalanceSettings(SettingsTable):
    """Topics: the best clips of each are kept, so that none dominates."""

    by: Literal["keywords", "clusters", "scenario"] = Field(
        "keywords",
        description="topics from word lists (topics), from clusters of embeddings, or from footage.scenario_column",
    )
    topics: dict[str, list[str]] = Field(
        default_factory=dict,
        description='topic -> words that identify it, such as cooking = ["cook*", "chop", "frying pan"] (by keywords)',
    )
    wanted: dict[str, Annotated[RowCount, Field(ge=1)]] = Field(
        default_factory=dict,
        description="topic -> number of clips to keep, in place of most (by keywords or scenario)",
    )
    others: Literal["keep", "drop"] = Field(
        "keep",
        description="clips that match no listed topic: keep or drop (by keywords; by scenario, those not in wanted)",
    )
    clusters: Few = Field(10, ge=2, description="number of k-means clusters (by clusters)")
    most: RowCount = Field(0, ge=0, description="maximum number of clips per topic; 0 = no limit")
    largest_share: Share = Field(
        0.0, ge=0, le=1, description="maximum fraction of the kept clips from one topic; 0 = no limit"
    )
    order: str = Field("", description=_ORDER)


class CurateSettings(SettingsTable):
    """Curation: the stages that a clip must pass."""

    stages: tuple[StageName, ...] = Field(
        ("technical", "motion", "duplicates"),
        strict=False,
        description="stages that a clip must pass, in this order",
    )
    when_down: Literal["stop", "skip"] = Field(
        "stop",
        description="if a model does not answer: stop = the run ends, skip = the stage is skipped and the data "
        "card says so",
    )
    licence: str = Field("", description="licence of the footage, for the data card; empty = not stated")
    technical: TechnicalSettings = TechnicalSettings()
    motion: MotionSettings = MotionSettings()
    duplicates: DuplicatesSettings = DuplicatesSettings()
    text: TextModelSettings = TextModelSettings()
    reality: RealitySettings = RealitySettings()
    captions: CaptionsSettings = CaptionsSettings()
    dynamics: DynamicsSettings = DynamicsSettings()
    fidelity: FidelitySettings = FidelitySettings()
    embeddings: EmbeddingsSettings = EmbeddingsSettings()
    diversity: DiversitySettings = DiversitySettings()
    balance: BalanceSettings = BalanceSettings()
