"""What the routes about push tokens take."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Installation(BaseModel):
    """`PUT /v1/push-tokens/{token}`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"platform": "android"}]})

    platform: Literal["android", "ios", "web"]
    data_only: bool = Field(
        default=False, strict=True, description="the app makes its notifications itself, of data that it is sent"
    )
