"""Invalidation messages on a Valkey channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog

from adapters.backoff import Backoff
from adapters.valkey.connection import Valkey, unavailable
from chat.envelopes import Invalidation, decode, encode
from chat.errors import InvalidEnvelope, Unavailable

CHANNEL = "pabal:invalidate"

_QUIET_SECONDS = 10.0
"""After so long without a message the connection is pinged; after twice as long it counts as dead (a half-open TCP connection
would be silent for ever, and a listener that hears nothing keeps decisions that are no longer true)."""

_log = structlog.get_logger("invalidations")


class ValkeyInvalidations:
    """`chat.ports.Invalidations` on Valkey."""

    def __init__(self, client: Valkey, *, quiet_seconds: float = _QUIET_SECONDS) -> None:
        self._client = client
        self._quiet_seconds = quiet_seconds

    async def publish(self, message: Invalidation) -> None:
        """Tell every listener that is connected now."""
        with unavailable("pass on an invalidation"):
            await self._client.publish(CHANNEL, encode(message))

    async def listen(self) -> AsyncIterator[Invalidation | None]:
        """Messages as they come, and None after each (re)connect; runs until it is closed or cancelled.

        A message that can't be read (of a newer version) is a None too: something was invalidated, so check everything.
        """
        backoff = Backoff(first=0.1, most=5.0)
        while True:
            try:
                async for message in self._connected():
                    backoff.reset()
                    yield message
            except Unavailable as error:
                _log.warning("invalidations.lost", reason=error.reason)
            await asyncio.sleep(backoff.next())

    async def _connected(self) -> AsyncIterator[Invalidation | None]:
        """One connection's messages; raises `Unavailable` when it ends."""
        async with self._client.pubsub() as channel:
            with unavailable("take a subscription"):
                await channel.subscribe(CHANNEL)
            pinged = False
            while True:
                with unavailable("keep a subscription"):
                    raw: dict[str, Any] | None = await channel.get_message(timeout=self._quiet_seconds)
                    if raw is None:
                        if pinged:
                            raise TimeoutError
                        await channel.ping()
                pinged = raw is None
                # The client resubscribes by itself after some faults; that confirmation is a reconnect like any other.
                if raw is not None and raw["type"] == "subscribe":
                    yield None
                elif raw is not None and raw["type"] == "message":
                    yield _read(raw["data"])


def _read(data: str) -> Invalidation | None:
    try:
        return decode(data.encode(), Invalidation)
    except InvalidEnvelope as error:
        _log.warning("invalidations.unreadable", reason=error.reason)
        return None
