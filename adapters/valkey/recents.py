"""Copies of the newest events of chats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from adapters.valkey.connection import Valkey, unavailable
from chat.errors import Unavailable
from chat.events import Event

LIFETIME_MS = 86_400_000
"""A chat that nobody reads for a day makes room."""

PATIENCE = 0.25
"""Seconds. The copy is there to be fast: beyond that the database is."""

PAUSE = 2.0
"""Seconds for which a Valkey that has failed is not asked again, so that nobody waits for it but one reader now and then."""

_encoder = msgspec.json.Encoder()
_log = structlog.get_logger("recents")


class ValkeyRecents:
    """`chat.history.Recents` on Valkey; shapes at the head of this package.

    Args:
        kind: of the events that `get` makes: a reader that shows more than an event saves making each of them twice.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self, client: Valkey, *, kind: type[Event] = Event, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._decoder: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self._monotonic = monotonic
        self._asks_from = 0.0

    async def get(self, chat: str) -> list[Event]:
        """See `Recents.get`. What can't be read (of a newer version) is not there."""
        found = await self._ask("read a copy", "GET", _key(chat))
        try:
            return [] if found is None else self._decoder.decode(found)
        except msgspec.MsgspecError:
            return []

    async def put(self, chat: str, events: Sequence[Event]) -> None:
        """See `Recents.put`."""
        await self._ask("keep a copy", "SET", _key(chat), _encoder.encode(events), "PX", LIFETIME_MS)

    async def forget(self, chats: Sequence[str]) -> None:
        """See `Recents.forget`. Not hurried: nobody waits for it."""
        if chats:
            with unavailable("throw copies away"):
                await self._client.delete(*map(_key, chats))

    async def _ask(self, doing: str, *command: object) -> bytes | None:
        if self._monotonic() < self._asks_from:
            raise Unavailable("Valkey has failed a moment ago")
        try:
            with unavailable(doing):
                async with asyncio.timeout(PATIENCE):
                    # Bytes, as they are: the client's own methods would make text of them.
                    answer: bytes | None = await self._client.execute_command(*command, NEVER_DECODE=True)  # type: ignore[no-untyped-call]
        except Unavailable as error:
            self._asks_from = self._monotonic() + PAUSE
            _log.warning("recents.unavailable", reason=error.reason)
            raise
        return answer


def _key(chat: str) -> str:
    return f"recent:{chat}"
