"""Who is online, as far as this bridge knows: what `Presence` said when it was asked, and the broker's events since.

A wrong "away" costs a push that is not sent after all (the worker looks exactly); a wrong "online" would cost a push that is
missed. So whoever is unknown is away until the answer is there, and what is known is asked again every minute.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from chat.envelopes import Connection
from chat.errors import Unavailable
from chat.ports import Presence

MAX_USERS = 100_000
LIFETIME = 60.0
"""Seconds after which somebody is asked for again."""

_PAUSE = 0.05
"""Seconds that questions are collected."""

_AFTER_FAULT = 2.0
_ASKED_AT_ONCE = 1_000

_log = structlog.get_logger("presence")


class Online:
    """Online or away, by user.

    Args:
        presence: asked about whom nothing is known.
        clock: seconds that only rise.
    """

    def __init__(
        self, presence: Presence, *, max_users: int = MAX_USERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._presence = presence
        self._max_users = max_users
        self._clock = clock
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._questions: dict[str, None] = {}
        self._asked = asyncio.Event()

    def is_online(self, user: str) -> bool:
        """Whether `user` is connected; answers at once, and asks in the background when the answer is missing or old."""
        known = self._known.get(user)
        age = self._clock() - known[1] if known is not None else 0.0
        if known is not None and age <= LIFETIME:
            return known[0]
        if len(self._questions) < self._max_users:
            self._questions[user] = None
            self._asked.set()
        return known is not None and known[0] and age <= 2 * LIFETIME

    def changed(self, connection: Connection) -> None:
        """The broker tells that somebody came or went."""
        self._learn(connection.principal, connection.online > 0)

    def forget(self) -> None:
        """Events may have been missed: the link was down."""
        self._known.clear()

    async def run(self) -> None:
        """Answer the questions until cancelled."""
        while True:
            await self._asked.wait()
            await asyncio.sleep(_PAUSE)
            self._asked.clear()
            try:
                await self.ask()
            except Unavailable as error:
                _log.warning("presence.unavailable", reason=error.reason)
                await asyncio.sleep(_AFTER_FAULT)

    async def ask(self) -> None:
        """Ask for everybody who is in question.

        Raises:
            Unavailable: `Presence` does not answer; the questions are dropped and come up again when they matter.
        """
        while self._questions:
            users = list(self._questions)[:_ASKED_AT_ONCE]
            for user in users:
                del self._questions[user]
            since = self._clock()
            online = await self._presence.online(users)
            for user in users:
                known = self._known.get(user)
                if known is None or known[1] <= since:  # else an event came while the question was on its way
                    self._learn(user, user in online)

    def _learn(self, user: str, online: bool) -> None:
        self._known[user] = (online, self._clock())
        self._known.move_to_end(user)
        if len(self._known) > self._max_users:
            self._known.popitem(last=False)
