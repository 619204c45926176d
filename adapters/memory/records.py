"""What a memory store keeps of a record: a copy of its own, with the precision that MongoDB has."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def to_ms(at: datetime) -> datetime:
    """The time in UTC, cut to milliseconds."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


def copied(record: S) -> S:
    """A deep copy whose times are cut to milliseconds, so that neither side sees what the other changes."""
    copy = deepcopy(record)
    for name in copy.__struct_fields__:
        value = getattr(copy, name)
        if isinstance(value, datetime):
            setattr(copy, name, to_ms(value))
    return copy
