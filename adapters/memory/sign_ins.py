"""`SignInStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from chat.ports import GrantStore, UserStore
from chat.sign_ins import SignIn


class MemorySignIns:
    """Asks the two stores."""

    def __init__(self, grants: GrantStore, users: UserStore) -> None:
        self._grants, self._users = grants, users

    async def holding(self, sign_ins: Sequence[SignIn]) -> set[SignIn]:
        """See `SignInStore.holding`."""
        alive = await self._grants.alive([sid for sid, _ in sign_ins])
        existing = await self._users.existing([user for _, user in sign_ins])
        return {(sid, user) for sid, user in sign_ins if sid in alive and user in existing}
