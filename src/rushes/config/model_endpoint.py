"""Settings of a model behind an OpenAI-style endpoint."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rushes.config.base import Address, KeyVariable, SettingsTable
from rushes.config.ranges import Calls, Factor, Money, Seconds, SideLength, Tokens, Tries


class EndpointSettings(SettingsTable):
    """A model behind an OpenAI-compatible chat endpoint, such as vLLM, that judges takes or writes captions."""

    url: Address = Field("http://127.0.0.1:8000/v1", min_length=1, description="URL up to and including /v1")
    model: str = Field("", description="name of the model on the server")
    key_env: KeyVariable = Field("", description="environment variable that holds the API key; empty = no key")
    timeout_s: Seconds = Field(120.0, gt=0, description="timeout of one request in seconds")
    attempts: Tries = Field(6, ge=1, description="attempts at one request before it counts as failed")
    parallel: Tries = Field(4, ge=1, description="concurrent requests")
    max_tokens: Tokens = Field(512, ge=1, description="maximum tokens of an answer")
    temperature: Factor = Field(0.0, ge=0, description="sampling temperature; 0 = the most likely answer")
    max_side_px: SideLength = Field(512, ge=16, description="frames are scaled down to this long side in pixels")
    json_schema: bool = Field(
        True, description="ask the server to enforce the JSON form of the answer; some servers cannot"
    )
    max_calls: Calls = Field(
        10_000, ge=1, description="maximum number of requests of the project, earlier runs included"
    )
    max_cost: Money = Field(
        0.0,
        ge=0,
        description="maximum cost of the project, earlier runs included, in the currency of the prices; 0 = no limit",
    )
    price_in: Money = Field(0.0, ge=0, description="price of a million input tokens")
    price_out: Money = Field(0.0, ge=0, description="price of a million output tokens")

    @model_validator(mode="after")
    def _cost_has_prices(self) -> Self:
        if self.max_cost and not (self.price_in or self.price_out):
            raise ValueError("max_cost needs price_in and price_out")
        return self
