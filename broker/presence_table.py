"""Keeps the presence table in Valkey: changes in batches, a heartbeat, and everything anew after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from chat.errors import Unavailable
from chat.ports import Presence

log = structlog.get_logger("broker")

FLUSH_SECONDS = 0.1
"""Changes are collected for so long: a storm of reconnects is a few writes."""

HEARTBEAT_SECONDS = 2.0
"""Between two heartbeats. A failed one is also how the broker notices that it hears no invalidations."""


class PresenceTable:
    """Writes who is connected.

    Args:
        presence: the table.
        name: this broker's name in it.
        online: the broker's own, live count of connections per principal.

    Attributes:
        well: whether the last write came through.
    """

    def __init__(self, presence: Presence, name: str, online: Mapping[str, int]) -> None:
        self._presence = presence
        self._name = name
        self._online = online
        self._changed: dict[str, int] = {}
        self.well = False

    def changed(self, principal: str, online: int) -> None:
        """Note a change; it is written soon."""
        self._changed[principal] = online

    async def run(self) -> None:
        """Write until cancelled."""
        beat = 0.0
        while True:
            try:
                if not self.well:
                    self._changed.clear()
                    await self._presence.replace(self._name, dict(self._online))
                    self.well = True
                if self._changed:
                    changes, self._changed = self._changed, {}
                    await self._presence.update(self._name, changes)
                beat += FLUSH_SECONDS
                if beat >= HEARTBEAT_SECONDS:
                    beat = 0.0
                    self.well = await self._presence.heartbeat(self._name)
            except Unavailable as error:
                if self.well:
                    log.warning("presence.unavailable", reason=error.reason)
                self.well = False
                await asyncio.sleep(HEARTBEAT_SECONDS)
            await asyncio.sleep(FLUSH_SECONDS)

    async def forget(self) -> None:
        """The broker goes: nobody is connected to it."""
        try:
            await self._presence.replace(self._name, {})
        except Unavailable:
            log.info("presence.not_cleared")  # the table's lifetime does it
