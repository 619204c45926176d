"""What the routes about push tokens take."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Installation(BaseModel):
    """`PUT /v1/push-tokens/{token}`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"platform": "android"}]})

    platform: Literal["android", "ios", "web"]
