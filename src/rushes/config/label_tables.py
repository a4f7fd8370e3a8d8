"""Settings of labelling: who compares or scores takes, and what people see."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from rushes.config.base import FolderPath, SettingsTable
from rushes.config.ranges import Factor, Few, FrameRate, Seconds, Segment, Share
from rushes.records import VOTE


class LabelSettings(SettingsTable):
    """Labels: who compares or scores the takes, and at what granularity."""

    form: Literal["pairs", "ranks", "scores"] = Field(
        "pairs",
        description="pairs = compare two takes, ranks = rank up to six takes on one screen (people only), scores "
        "= score each take from 0 to 10",
    )
    by: Literal["none", "human", "world", "metric", "vlm", "reward"] = Field(
        "none", description="who labels: nobody yet (none), people in the browser (human), or a program"
    )
    metric: str = Field("", validate_default=True, description="name of the metric that judges (by metric)")
    segment_s: Segment = Field(0.5, description="length of a labelled segment in seconds")
    whole: bool = Field(False, description="label the whole clip instead of each segment")
    margin: Factor = Field(0.05, ge=0, description="largest score difference that counts as a tie, in the judge's unit")
    prompt: Literal["artefacts", "realdpo", "physics"] = Field(
        "artefacts",
        description="question to the model: which clip has fewer artefacts, RealDPO's questions, or which "
        "follows physics (by vlm)",
    )
    frames_per_s: FrameRate = Field(8.0, description="frames per second that the model sees (by vlm)")
    reward: FolderPath = Field("", description="folder of a reward model, or of the scores that one gave (by reward)")
    dimensions: tuple[str, ...] = Field(
        ("overall",),
        strict=False,
        min_length=1,
        description="questions that people answer for each pair; recipes train on overall unless "
        "train.options.dimension names another",
    )
    scores: bool = Field(False, description="people also score each clip from 0 to 10")
    reasons: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_ -]{0,30}$")], ...] = Field(
        ("hand", "vanishes", "flicker", "physics", "text", "other"),
        strict=False,
        max_length=9,
        description="faults that people can select, at most nine; the keys are 1 to 9 in this order",
    )
    play_first: bool = Field(
        False, description="accept an answer of a person only after both clips were played to the end"
    )
    overlap: Few = Field(2, ge=1, description="number of people who label each shared pair (overlap_share)")
    overlap_share: Share = Field(
        0.1, ge=0, le=1, description="fraction of a person's pairs that other people label too"
    )
    repeat_share: Share = Field(
        0.05,
        ge=0,
        lt=1,
        description="fraction of a person's pairs that are shown to the same person again with sides swapped",
    )
    gold_by: str = Field(
        "", description="annotator whose labels are the answer key; empty = nobody, lead in a campaign"
    )
    gold_share: Share = Field(
        0.05, ge=0, lt=1, description="fraction of a person's pairs that come from the answer key"
    )
    practice: Few = Field(
        0,
        ge=0,
        description="pairs of the answer key that each person practises on first, with explanations; 0 = no practice",
    )
    pass_mark: Share = Field(
        0.6, ge=0, le=1, description="fraction of the practice answers that must agree with the answer key"
    )
    proposal: str = Field("", description="judge whose answer people see after giving their own; empty = none")
    votes: Few = Field(
        1, ge=1, description="people who vote on each held-out pair of base and trained model (rushes vote)"
    )
    lease_s: Seconds = Field(
        600.0,
        ge=10,
        description="seconds after which a pair that was handed out and not labelled goes to somebody else",
    )

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
