"""Ports to the stores of sign-ins and credentials. `chat.ports` has them too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from chat.models import Grant, SecondFactor, ServiceAccount


class GrantStore(Protocol):
    """Sign-ins."""

    async def add(self, grant: Grant) -> None:
        """Store a new sign-in."""
        ...

    async def by_token(self, token_hash: str) -> Grant | None:
        """The grant that has, or had, this refresh token (SHA-256, hex)."""
        ...

    async def get(self, sid: str) -> Grant | None:
        """The grant of that id, also one that has ended."""
        ...

    async def rotate(
        self, sid: str, *, spent: str, fresh: str, expires_at: datetime, at: datetime, address: str
    ) -> bool:
        """Make `fresh` the valid token if `spent` is the valid one now and the grant is not revoked; else False."""
        ...

    async def revoke(self, sid: str, at: datetime) -> None:
        """End a sign-in."""
        ...

    async def revoke_all(self, user: str, at: datetime, *, keep: str | None = None) -> list[str]:
        """End every sign-in of a user that lives, but for `keep`; their ids."""
        ...

    async def of_user(self, user: str, *, skip: int = 0, limit: int) -> list[Grant]:
        """Sign-ins of a user that live, the last used first."""
        ...

    async def alive(self, sids: Sequence[str]) -> set[str]:
        """Those that are neither revoked nor expired: the broker's sweep, in one query."""
        ...


class ServiceAccountStore(Protocol):
    """Programs that administrators have let in."""

    async def add(self, account: ServiceAccount) -> bool:
        """False if the id is taken."""
        ...

    async def get(self, account: str) -> ServiceAccount | None:
        """The account, or None."""
        ...

    async def page(self, *, after: str = "", limit: int = 50) -> list[ServiceAccount]:
        """Accounts by id, from behind `after`."""
        ...

    async def set_secret(self, account: str, secret_hash: str) -> bool:
        """Another secret; the old one and its tokens end with that. False if there is no such account."""
        ...

    async def remove(self, account: str) -> bool:
        """End it. False if there is no such account."""
        ...


class SecondFactorStore(Protocol):
    """Second factors, one per user. What may happen once happens once, however many ask at the same time."""

    async def get(self, user: str) -> SecondFactor | None:
        """The user's, or None."""
        ...

    async def begin(self, factor: SecondFactor) -> bool:
        """Store one that is not confirmed, in place of another that is not. False if a confirmed one is there."""
        ...

    async def confirm(self, user: str, *, step: int, recovery: Sequence[str]) -> bool:
        """Make an unconfirmed one count, with its recovery codes. False if there is none."""
        ...

    async def use_step(self, user: str, step: int) -> bool:
        """Use a time step of a confirmed one. False if it, or a later one, was used."""
        ...

    async def use_recovery(self, user: str, code_hash: str) -> bool:
        """Use a recovery code. False if there is no such one (any more)."""
        ...

    async def remove(self, user: str) -> bool:
        """Take it away. False if there is none."""
        ...
