"""Statistics, read from roll-ups only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.admin.statistics.schemas import MAX_SPANS, SpanFigures, Statistics, StatisticsQuery
from api.clock import now
from chat.errors import BadInput
from chat.statistics import Figures, Span, StatisticsStore

USUAL = {Span.HOUR: timedelta(hours=23), Span.DAY: timedelta(days=29)}
"""How far back it goes when nobody says: a day, a month."""


@dataclass(frozen=True, slots=True)
class StatisticsAdmin:
    """The decisions of `/v1/admin/statistics`."""

    statistics: StatisticsStore

    async def show(self, query: StatisticsQuery) -> Statistics:
        """The hours or days of a time.

        Raises:
            BadInput: `bad_span`: it ends before it begins, or is too long.
        """
        span = query.by
        until = query.until or now()
        first = span.begin(query.since or until - USUAL[span])
        begins = list(_begins(span, first, until))
        counted = await self.statistics.counted_until()
        end = begins[-1] + span.length
        found = {row.begin: row for row in await self.statistics.figures(span, since=first, until=end)}
        items = [
            _view(found.get(begin) or Figures(begin), complete=counted is not None and begin + span.length <= counted)
            for begin in begins
        ]
        return Statistics(span.value, counted, items)


def _begins(span: Span, first: datetime, until: datetime) -> Iterator[datetime]:
    if first >= until:
        raise BadInput("it ends before it begins", code="bad_span")
    if (until - first) / span.length > MAX_SPANS:
        raise BadInput(f"at most {MAX_SPANS} of them at once", code="bad_span")
    begin = first
    while begin < until:
        yield begin
        begin += span.length


def _view(figures: Figures, *, complete: bool) -> SpanFigures:
    return SpanFigures(
        figures.begin,
        figures.messages,
        figures.active_users,
        figures.deliveries,
        figures.percentile(0.5),
        figures.percentile(0.95),
        figures.percentile(0.99),
        complete,
    )
