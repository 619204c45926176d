"""What the routes of the statistics take and answer."""

from __future__ import annotations

from datetime import datetime

import msgspec
from pydantic import BaseModel, ConfigDict

from api.admin.access import Moment
from chat.statistics import Span

MAX_SPANS = 1_000
"""Rows of one answer: forty days of hours, or nearly three years of days."""


class StatisticsQuery(BaseModel):
    """`GET /v1/admin/statistics`."""

    model_config = ConfigDict(extra="forbid")

    by: Span = Span.HOUR
    since: Moment | None = None
    until: Moment | None = None


class SpanFigures(msgspec.Struct):
    """One hour or day (UTC). `p50_ms` and the like: within how many milliseconds that share of the deliveries came (the upper bound of a
    bucket of the histogram); null without deliveries. `complete`: it is over, and all of it has been counted.
    """

    begin: datetime
    messages: int
    active_users: int
    deliveries: int
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    complete: bool


class Statistics(msgspec.Struct):
    """Every hour or day in order, also those in which nothing happened. `counted_until`: nothing later has been counted; null when
    nothing has.
    """

    by: str
    counted_until: datetime | None
    items: list[SpanFigures]


STATISTICS_EXAMPLE = {
    "by": "hour",
    "counted_until": "2026-05-04T04:02:00Z",
    "items": [
        {
            "begin": "2026-05-04T03:00:00Z",
            "messages": 1200,
            "active_users": 40,
            "deliveries": 9800,
            "p50_ms": 200,
            "p95_ms": 500,
            "p99_ms": 10000,
            "complete": True,
        }
    ],
}
