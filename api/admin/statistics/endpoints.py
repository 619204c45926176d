"""`/v1/admin/statistics`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import AdministratorLooks
from api.admin.statistics.schemas import Statistics, StatisticsQuery
from api.admin.statistics.service import StatisticsAdmin
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> StatisticsAdmin:
    return StatisticsAdmin(parts.stores.statistics)


Service = Annotated[StatisticsAdmin, Depends(_service)]


@router.get(
    "/v1/admin/statistics",
    summary="Statistics per hour or day",
    responses={**returns(Statistics, "Every hour or day of the time that was asked for"), **problems(401, 403)},
)
async def statistics(
    query: Annotated[StatisticsQuery, Query()], _staff: AdministratorLooks, service: Service
) -> Response:
    """Messages, active users, deliveries and latencies; the last day by hour or the last month by day when nothing else is asked.
    They are counted every few minutes by the workers. Codes: `admin_only`, `bad_span`.
    """
    return answer(await service.show(query))
