"""Bodies of PATCH: what is named is changed, what is left out stays."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator


def _without_defaults(schema: dict[str, Any]) -> None:
    """What is left out stays as it is, whatever value the field has here then."""
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class Changes(BaseModel):
    """At least one field is named; `model_fields_set` says which. Every field has a default, which means nothing."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one thing to change")
        return self
