"""Settings of curation: which stages a clip must pass, and the threshold of each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rushes.config.base import Table

StageName = Literal[
    "technical", "motion", "duplicates", "reality", "captions", "dynamics", "fidelity", "diversity", "balance"
]


class Curate(Table):
    """The funnel."""

    stages: tuple[StageName, ...] = Field(
        ("technical", "motion", "duplicates", "diversity"),
        strict=False,
        description="what a clip must pass, in this order",
    )
    when_down: Literal["stop", "skip"] = Field(
        "stop", description="a model that does not answer ends the run, or its stage is skipped and the card says so"
    )
