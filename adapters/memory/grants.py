"""`GrantStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from adapters.memory.records import copied, to_ms
from chat.errors import Conflict
from chat.models import SPENT_TOKENS_KEPT, Grant


class MemoryGrants:
    """Grants by `sid`.

    Attributes:
        all: every grant.
    """

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self.all = self._grants

    async def add(self, grant: Grant) -> None:
        """See `GrantStore.add`.

        Raises:
            Conflict: the `sid` or the token is in use.
        """
        if grant.sid in self._grants or any(other.current == grant.current for other in self._grants.values()):
            raise Conflict("this sign-in exists already", code="grant_taken")
        self._grants[grant.sid] = copied(grant)

    async def by_token(self, token_hash: str) -> Grant | None:
        """See `GrantStore.by_token`."""
        for grant in self._grants.values():
            if grant.current == token_hash or token_hash in grant.previous:
                return copied(grant)
        return None

    async def get(self, sid: str) -> Grant | None:
        """See `GrantStore.get`."""
        return copied(self._grants[sid]) if sid in self._grants else None

    async def rotate(
        self, sid: str, *, spent: str, fresh: str, expires_at: datetime, at: datetime, address: str
    ) -> bool:
        """See `GrantStore.rotate`."""
        grant = self._grants.get(sid)
        if grant is None or grant.current != spent or not _alive(grant):
            return False
        grant.current = fresh
        grant.previous = [*grant.previous, spent][-SPENT_TOKENS_KEPT:]
        grant.expires_at = to_ms(expires_at)
        grant.used_at, grant.address = to_ms(at), address
        return True

    async def revoke(self, sid: str, at: datetime) -> None:
        """See `GrantStore.revoke`; a second one changes nothing."""
        grant = self._grants.get(sid)
        if grant is not None and grant.revoked_at is None:
            grant.revoked_at = to_ms(at)

    async def revoke_all(self, user: str, at: datetime, *, keep: str | None = None) -> list[str]:
        """See `GrantStore.revoke_all`."""
        ended = [grant for grant in self._grants.values() if grant.user == user and grant.sid != keep and _alive(grant)]
        for grant in ended:
            grant.revoked_at = to_ms(at)
        return [grant.sid for grant in ended]

    async def of_user(self, user: str, *, skip: int = 0, limit: int) -> list[Grant]:
        """See `GrantStore.of_user`."""
        found = [grant for grant in self._grants.values() if grant.user == user and _alive(grant)]
        found.sort(key=lambda grant: grant.used_at or datetime.min.replace(tzinfo=UTC), reverse=True)
        return [copied(grant) for grant in found[skip : skip + limit]]

    async def alive(self, sids: Sequence[str]) -> set[str]:
        """See `GrantStore.alive`."""
        return {sid for sid in sids if sid in self._grants and _alive(self._grants[sid])}


def _alive(grant: Grant) -> bool:
    return grant.revoked_at is None and grant.expires_at > datetime.now(UTC)
