"""`PushTokenStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.memory.records import copied, to_ms
from chat.models import PushToken


class MemoryPushTokens:
    """Push tokens by token.

    Attributes:
        all: every one.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, PushToken] = {}
        self.all = self._tokens

    async def put(self, token: PushToken) -> None:
        """See `PushTokenStore.put`."""
        fresh, known = copied(token), self._tokens.get(token.token)
        fresh.held_until, fresh.failures = (known.held_until, known.failures) if known else (None, 0)
        self._tokens[token.token] = fresh

    async def of_users(self, users: Sequence[str]) -> dict[str, list[PushToken]]:
        """See `PushTokenStore.of_users`: by token; users without one are absent."""
        found: dict[str, list[PushToken]] = {}
        wanted = set(users)
        for _, token in sorted(self._tokens.items()):
            if token.user in wanted:
                found.setdefault(token.user, []).append(copied(token))
        return found

    async def held(self, tokens: Sequence[str]) -> dict[str, datetime]:
        """See `PushTokenStore.held`."""
        known = [self._tokens[token] for token in tokens if token in self._tokens]
        return {token.token: token.held_until for token in known if token.held_until is not None}

    async def hold(self, token: str, *, until: datetime | None, failures: int) -> None:
        """See `PushTokenStore.hold`."""
        known = self._tokens.get(token)
        if known is not None:
            known.held_until = None if until is None else to_ms(until)
            known.failures = 0 if until is None else failures

    async def drop(self, token: str) -> None:
        """See `PushTokenStore.drop`."""
        self._tokens.pop(token, None)
