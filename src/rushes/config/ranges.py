"""How large numbers in settings may be, and why: one beyond would not fail but go on for ever, or fill the memory.

Fields take these as their types, and say themselves from where on they count; those at the end have the reason alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class RangeReason:
    """Marks a range with its reason, which follows "as" in an error."""

    reason: str


Seed = Annotated[int, Field(le=2**63 - 1), RangeReason("generators of random numbers take 63 bits")]
SideLength = Annotated[int, Field(le=16_384), RangeReason("no codec here writes longer sides")]
FrameCount = Annotated[int, Field(le=100_000), RangeReason("that is an hour at 30 a second, and models make seconds")]
Looks = Annotated[int, Field(le=1000), RangeReason("a model sees them in one question")]
FrameRate = Annotated[float, Field(ge=0.01, le=1000), RangeReason("no camera or codec here goes beyond")]
Seconds = Annotated[float, Field(le=1e7), RangeReason("that is four months")]
Segment = Annotated[
    float, Field(ge=0.001, le=86_400), RangeReason("time stamps have milliseconds, and clips last no day")
]
RowCount = Annotated[int, Field(le=10_000_000), RangeReason("each is a row of the database or more")]
Few = Annotated[int, Field(le=10_000), RangeReason("it is of each prompt, clip or person")]
SamplingSteps = Annotated[int, Field(le=1000), RangeReason("models know a thousand levels of noise")]
StepCount = Annotated[int, Field(le=100_000_000), RangeReason("a year has no more")]
BatchSize = Annotated[int, Field(le=65_536), RangeReason("all of it is in memory at once")]
Tokens = Annotated[int, Field(le=10_000_000), RangeReason("no model reads or writes more at once")]
Rank = Annotated[int, Field(le=16_384), RangeReason("no layer is wider")]
Mebibytes = Annotated[int, Field(le=100_000_000), RangeReason("no machine has more")]
PageSize = Annotated[float, Field(le=10_000), RangeReason("no browser opens more")]
Tries = Annotated[int, Field(le=1000), RangeReason("each may wait half a minute, or has a connection of its own")]
Calls = Annotated[int, Field(le=1_000_000_000), RangeReason("that is a year of thirty a second")]
Money = Annotated[float, Field(le=1e9), RangeReason("it is meant as a limit")]
Factor = Annotated[float, Field(le=1e6), RangeReason("beyond it float32 loses what it is weighed against")]
LossWeight = Annotated[float, Field(le=1e9), RangeReason("beyond it each loss is a step")]
LearningRate = Annotated[float, Field(le=10), RangeReason("a step moves each weight by about as much")]
GreyLevels = Annotated[float, Field(le=255), RangeReason("pixels have no more")]
LogNoise = Annotated[float, Field(ge=-100, le=100), RangeReason("its exponential must be a number")]
Share = Annotated[float, RangeReason("1 is all there is")]
Noise = Annotated[float, RangeReason("0 is clean and 1 is pure noise")]
Decay = Annotated[float, RangeReason("a mean that decays by 1 never moves")]
Cosine = Annotated[float, RangeReason("a cosine lies between -1 and 1")]
GradientWeight = Annotated[float, RangeReason("training starts at 0.5, the sigmoid of 0, and lowers it")]
Doubt = Annotated[float, RangeReason("from 0.5 on a label would say nothing, or the opposite")]
Crf = Annotated[int, RangeReason("x264 has no other levels")]
ScoreProduct = Annotated[float, RangeReason("three means from 1 to 5 are multiplied")]
Dimensions = Annotated[int, RangeReason("each clip has a row of them")]
