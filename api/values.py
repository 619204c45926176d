"""Times and numbers in requests, as OpenAPI says them: pydantic alone takes a number for a time, and true for 1."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d")


def _written(value: object) -> object:
    """Only what is written as a date and a time: of a number nobody knows whether it is seconds or milliseconds."""
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE_TIME.match(value)):
        return value
    raise ValueError("a time is RFC 3339 with its offset, such as 2026-05-04T03:02:01Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
"""RFC 3339 with an offset."""


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")  # noqa: TRY004 - pydantic turns it into a refusal
    return value


Whole = Annotated[int, BeforeValidator(_number)]
"""A whole number; 7.0 is one too, as in JSON Schema."""
