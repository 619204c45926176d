"""`/v1/admin/health` and `/v1/admin/settings`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.admin.access import AdministratorLooks
from api.admin.system.schemas import SystemHealth, SystemSettings
from api.admin.system.service import SystemAdmin
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> SystemAdmin:
    return SystemAdmin(parts.settings, parts.health, parts.processes)


Service = Annotated[SystemAdmin, Depends(_service)]


@router.get(
    "/v1/admin/health",
    summary="Health of every process",
    responses={**returns(SystemHealth, "Each process with its parts"), **problems(401, 403)},
)
async def health(_staff: AdministratorLooks, service: Service) -> Response:
    """Of those that `PABAL_API_PROCESSES` names. Code: `admin_only`."""
    return answer(await service.health())


@router.get(
    "/v1/admin/settings",
    summary="Settings in force",
    responses={**returns(SystemSettings, "Each process with its settings, without secrets"), **problems(401, 403)},
)
async def in_force(_staff: AdministratorLooks, service: Service) -> Response:
    """Of those that `PABAL_API_PROCESSES` names. Code: `admin_only`."""
    return answer(await service.in_force())
