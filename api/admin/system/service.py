"""Health and settings of every process: this one knows its own, the others are asked over their HTTP ports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adapters.settings_view import visible
from api.admin.system.schemas import ProcessHealth, ProcessSettings, SystemHealth, SystemSettings
from api.settings import Settings
from chat.admin import Processes

OWN = "api"


@dataclass(frozen=True, slots=True)
class SystemAdmin:
    """The decisions of `/v1/admin/health` and `/v1/admin/settings`."""

    settings: Settings
    own_health: Callable[[], Awaitable[dict[str, bool]]]
    processes: Processes

    async def health(self) -> SystemHealth:
        """Every process; one that does not answer is not well."""
        found = {OWN: await self.own_health(), **await self.processes.health()}
        rows = [
            ProcessHealth(name, parts is not None and all(parts.values()), parts is not None, parts or {})
            for name, parts in found.items()
        ]
        return SystemHealth(all(row.well for row in rows), rows)

    async def in_force(self) -> SystemSettings:
        """The settings of every process that answers."""
        found = {OWN: visible(self.settings), **await self.processes.settings()}
        return SystemSettings(
            [ProcessSettings(name, values is not None, values or {}) for name, values in found.items()]
        )
