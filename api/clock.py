"""The time, as it is stored."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """UTC in whole milliseconds: what the stores keep, so that an answer shows the same before and after it is stored."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
