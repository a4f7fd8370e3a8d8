"""Settings of a model behind an OpenAI-style endpoint."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from rushes.config.base import Address, KeyVariable, SettingsTable
from rushes.config.ranges import Calls, Factor, Money, Seconds, Side, Tokens, Tries


class EndpointSettings(SettingsTable):
    """A model behind an OpenAI-style chat endpoint, such as vLLM: it judges, or writes captions."""

    url: Address = Field("http://127.0.0.1:8000/v1", min_length=1, description="address, up to and with /v1")
    model: str = Field("", description="name of the model, as the server knows it")
    key_env: KeyVariable = Field(
        "", description="environment variable that holds the key; empty = the server wants none"
    )
    timeout_s: Seconds = Field(120.0, gt=0, description="longest wait for one answer")
    attempts: Tries = Field(6, ge=1, description="times that a request is sent before it counts as failed")
    parallel: Tries = Field(4, ge=1, description="requests on the way at once")
    max_tokens: Tokens = Field(512, ge=1, description="longest answer")
    temperature: Factor = Field(0.0, ge=0, description="0 = the likeliest answer")
    max_side_px: Side = Field(512, ge=16, description="frames are shrunk to this long side")
    json_schema: bool = Field(True, description="ask the server to enforce the form of the answer; not all can")
    max_calls: Calls = Field(10_000, ge=1, description="requests in all, those of earlier runs of the project included")
    max_cost: Money = Field(0.0, ge=0, description="money in all, in the unit of the prices; 0 = no limit")
    price_in: Money = Field(0.0, ge=0, description="price of a million tokens that are sent")
    price_out: Money = Field(0.0, ge=0, description="price of a million tokens that are answered")

    @model_validator(mode="after")
    def _cost_has_prices(self) -> Self:
        if self.max_cost and not (self.price_in or self.price_out):
            raise ValueError("max_cost needs price_in and price_out")
        return self
