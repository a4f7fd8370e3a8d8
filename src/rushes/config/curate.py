"""Settings of curation: which stages a clip must pass, and the threshold of each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rushes.config.base import Address, Folder, KeyVariable, SettingsTable
from rushes.config.ranges import Batch, Factor, Few, Looks, Money, Rows, Tokens

StageName = Literal[
    "technical", "motion", "duplicates", "reality", "captions", "dynamics", "fidelity", "diversity", "balance"
]


class TechnicalSettings(SettingsTable):
    """How a clip was recorded and what was done to it since, seen on eight frames spread over it."""

    max_enlarged: Factor = Field(
        1.25, gt=0, description="how many times a frame may be enlarged to reach the backbone's size"
    )
    max_blur: float = Field(0.7, gt=0, le=1, description="0 sharp to 1 nothing to lose (Crete et al. 2007), at 256 px")
    max_blockiness: Factor = Field(
        1.6, ge=1, description="steps at the edges of 8-pixel coding blocks, as a multiple of all others"
    )
    max_bars: float = Field(0.02, ge=0, le=1, description="share of the picture under black or white bars")
    max_text: float = Field(0.002, ge=0, le=1, description="share of the picture under text that stands still")
    min_brightness: float = Field(0.05, ge=0, le=1, description="mean brightness of the picture, white is 1")
    max_brightness: float = Field(0.92, ge=0, le=1, description="mean brightness of the picture, white is 1")
    max_blown: float = Field(0.3, ge=0, le=1, description="share of pixels that are blown out to white")


class MotionSettings(SettingsTable):
    """What moves in a clip and how, seen on all its frames at 128 px."""

    min_speed: Factor = Field(
        0.03, ge=0, description="speed of the fastest twentieth of the picture, short sides per second"
    )
    max_speed: Factor = Field(4.0, gt=0, description="the same; above it lie time lapses and whip pans")
    max_still: float = Field(0.4, ge=0, le=1, description="share of frames in which nothing moves")
    max_repeated: float = Field(
        0.25, ge=0, le=1, description="share of frames that repeat the one before while the clip moves: slowed footage"
    )
    max_unexplained: float = Field(
        0.6, ge=0, le=1, description="share of all change that following the motion does not explain: time lapse"
    )
    max_camera: Factor = Field(1.0, gt=0, description="speed of the camera, short sides per second")
    min_subject: Factor = Field(
        0.0, ge=0, description="speed of the fastest twentieth beside the camera's, short sides per second; 0 = any"
    )
    max_cuts: Few = Field(0, ge=0, description="cuts inside the clip")
    dynamic: bool = Field(False, description="keep only what moves enough by VBench's rule (dynamic degree)")


class DuplicatesSettings(SettingsTable):
    """The best of the clips that show the same stays."""

    max_distance: float = Field(
        0.2, gt=0, lt=1, description="difference of two clips, relative to what is in them, up to which they are copies"
    )
    mirrored: bool = Field(True, description="copies that are mirrored left to right count")
    reversed: bool = Field(True, description="copies that run backwards count")


class ModelSettings(SettingsTable):
    """Another model than that of `[endpoint]`; what is not said here is as there, the budget included."""

    url: Address = Field("", description="address, up to and with /v1; empty = that of [endpoint]")
    model: str = Field("", description="name of the model, as its server knows it")
    key_env: KeyVariable = Field("", description="environment variable with the key, where url is given; empty = none")
    price_in: Money = Field(0.0, ge=0, description="price of a million tokens that are sent; 0 = as in [endpoint]")
    price_out: Money = Field(0.0, ge=0, description="price of a million tokens that are answered; 0 = as in [endpoint]")


class TextModelSettings(ModelSettings):
    """The language model that reads captions (dynamics, fidelity); without a name here, the one of `[endpoint]`."""


class SecondJudgeSettings(ModelSettings):
    """The vision-language model that looks again at what the one of `[endpoint]` took to be real."""


class EmbeddingModelSettings(ModelSettings):
    """A model behind an OpenAI-style address that embeds captions (by endpoint)."""


Unreadable = Literal["drop", "keep"]
_UNREADABLE = "a clip about which a model's answer is refused, cut off or of another form goes out by name, or stays"


class RealitySettings(SettingsTable):
    """Two vision-language models must both say that a clip was filmed; the second sees what passed the first."""

    double_check: bool = Field(True, description="a second model must agree; without it more that is not real stays")
    frames: Looks = Field(8, ge=1, description="frames of a clip that a model sees, evenly spaced")
    unreadable: Unreadable = Field("drop", description=_UNREADABLE)
    second: SecondJudgeSettings = SecondJudgeSettings()


class CaptionsSettings(SettingsTable):
    """Captions by the vision-language model of `[endpoint]`, which also says whether those that are there are true."""

    write: Literal["missing", "all", "never"] = Field(
        "missing", description="dense captions for clips without a caption, for all, or for none; old ones are kept"
    )
    check: bool = Field(False, description="ask whether a clip shows what its caption says, before one is written")
    untrue: Literal["drop", "write"] = Field(
        "drop", description="a clip with an untrue caption goes out, or gets a new caption (check)"
    )
    frames: Looks = Field(8, ge=1, description="frames of a clip that the model sees, evenly spaced")
    min_words: Few = Field(15, ge=0, description="a clip whose new caption is shorter goes out")
    unreadable: Unreadable = Field("drop", description=_UNREADABLE)


class DynamicsSettings(SettingsTable):
    """Does the caption tell of a scene with hard foreground motion? (DenseDPO's filter)."""

    by: Literal["model", "rules"] = Field(
        "model", description="a language model, or lists of words, which is weaker: it knows no context"
    )
    unreadable: Unreadable = Field("drop", description=_UNREADABLE)


class FidelitySettings(SettingsTable):
    """How well captions show 17 physical phenomena (PhysHPO's selection): three questions a clip, best first."""

    keep: Literal["share", "top_k", "min_score"] = Field(
        "share", description="what is kept: the best share, the best top_k clips, or those of min_score and more"
    )
    share: float = Field(0.2213, gt=0, le=1, description="share that is kept; PhysHPO kept 59,076 of 266,931 (keep)")
    top_k: Rows = Field(1000, ge=1, description="clips that are kept (keep)")
    min_score: float = Field(8.0, ge=1, le=125, description="lowest product of the groups' means, 1 to 125 (keep)")
    max_tokens: Tokens = Field(2048, ge=1, description="longest answer; six captions are written in one")


class EmbeddingsSettings(SettingsTable):
    """What captions are compared by."""

    by: Literal["hashing", "endpoint", "folder"] = Field(
        "hashing",
        description="hashed words and letters (no synonyms), a model behind an address, or one from a folder",
    )
    size: int = Field(512, ge=64, le=65536, description="numbers in an embedding (by hashing)")
    path: Folder = Field("", description="folder of a text encoder, as transformers saves it (by folder)")
    batch: Batch = Field(32, ge=1, description="captions that are embedded at once (by endpoint or folder)")
    endpoint: EmbeddingModelSettings = EmbeddingModelSettings()


_ORDER = "value by which clips are better, the higher the better; empty = fidelity where it was measured, else as given"


class DiversitySettings(SettingsTable):
    """From the best clip to the worst: one stays if its caption is unlike all that stay (Deita, PhysHPO)."""

    tau: float = Field(0.9, gt=-1, le=1, description="cosine similarity from which on captions are too much alike")
    repeats: Few = Field(1, ge=1, description="clips that may share one caption word for word")
    order: str = Field("", description=_ORDER)


class BalanceSettings(SettingsTable):
    """No topic may crowd out the others: the best clips of each stay."""

    by: Literal["keywords", "clusters", "scenario"] = Field(
        "keywords",
        description="topics as listed, found in the embeddings, or those of footage.scenario_column",
    )
    topics: dict[str, list[str]] = Field(
        default_factory=dict,
        description='topic -> words that tell of it, such as cooking = ["cook*", "chop", "frying pan"] (by keywords)',
    )
    wanted: dict[str, Annotated[Rows, Field(ge=1)]] = Field(
        default_factory=dict,
        description="topic -> clips of it that are wanted; as many stay, in place of `most` (by keywords, scenario)",
    )
    others: Literal["keep", "drop"] = Field(
        "keep", description="clips of no listed topic stay, or go out (by keywords; by scenario, of none in `wanted`)"
    )
    clusters: Few = Field(10, ge=2, description="topics that are looked for by k-means (by clusters)")
    most: Rows = Field(0, ge=0, description="clips of one topic that stay, at most; 0 = no limit")
    largest_share: float = Field(0.0, ge=0, le=1, description="largest share of one topic in what stays; 0 = no limit")
    order: str = Field("", description=_ORDER)


class CurateSettings(SettingsTable):
    """The funnel."""

    stages: tuple[StageName, ...] = Field(
        ("technical", "motion", "duplicates"),
        strict=False,
        description="what a clip must pass, in this order",
    )
    when_down: Literal["stop", "skip"] = Field(
        "stop", description="a model that does not answer ends the run, or its stage is skipped and the card says so"
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
