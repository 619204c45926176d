"""Answers: msgspec structs, encoded as on the topics, so that an event looks the same over REST and MQTT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import Response

_encoder = msgspec.json.Encoder()


def answer(struct: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The JSON of `struct`, UTF-8, times as RFC 3339 in UTC."""
    return Response(_encoder.encode(struct), status, headers=headers, media_type="application/json")


def returns(kind: type[msgspec.Struct], description: str, *, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The `responses` entry of a route that answers `kind`, for OpenAPI (`api.openapi` adds its schema and example)."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {status: {"description": description, "content": {"application/json": {"schema": schema}}}}
