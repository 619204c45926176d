"""`PushTokenStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
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
        self._tokens[token.token] = copied(token)

    async def of_users(self, users: Sequence[str]) -> dict[str, list[PushToken]]:
        """See `PushTokenStore.of_users`: by token; users without one are absent."""
        found: dict[str, list[PushToken]] = {}
        wanted = set(users)
        for _, token in sorted(self._tokens.items()):
            if token.user in wanted:
                found.setdefault(token.user, []).append(copied(token))
        return found

    async def drop(self, token: str) -> None:
        """See `PushTokenStore.drop`."""
        self._tokens.pop(token, None)
