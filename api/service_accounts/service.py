"""Service accounts: programs of others that an administrator lets in over REST, with scopes, until the account is removed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import structlog

from api import creation
from api.admin.access import Staff
from api.clock import now
from api.pagination import pack, unpack
from api.service_accounts.schemas import (
    NewServiceAccount,
    ServiceAccountCredentials,
    ServiceAccountPage,
    ServiceAccountView,
)
from chat.errors import Conflict, NotFound
from chat.ids import is_principal
from chat.models import ServiceAccount
from chat.ports import ServiceAccountStore

OWN = frozenset({"svc-api", "svc-bridge", "svc-worker"})
"""Our own processes: they have a secret each in a file, and all rights on the broker."""

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class ServiceAccounts:
    """The decisions of `/v1/admin/services`."""

    accounts: ServiceAccountStore

    async def add(self, wish: NewServiceAccount, *, staff: Staff) -> ServiceAccountCredentials:
        """Let a program in.

        Raises:
            Conflict: `id_taken`, also for our own processes.
        """
        if wish.id in OWN or not is_principal(wish.id):
            raise Conflict("this id is taken", code="id_taken")
        secret = creation.secret("service secret")
        account = ServiceAccount(
            id=wish.id,
            name=wish.name,
            scopes=sorted(set(wish.scopes)),
            secret_hash=_hash(secret),
            created_at=now(),
            created_by=staff.id,
        )
        await staff.trail.record("service_account.added", target=account.id, scopes=" ".join(account.scopes))
        made = account if await self.accounts.add(account) else await self._made_before(account)
        if made is None:
            taken = Conflict("this id is taken", code="id_taken")
            await staff.trail.failed("service_account.added", taken, target=account.id)
            raise taken
        _log.info("service_account.added", service=made.id, scopes=made.scopes, by=staff.id)
        return _credentials(made, secret)

    async def _made_before(self, account: ServiceAccount) -> ServiceAccount | None:
        """What an attempt that was killed has made: only that one had this secret."""
        found = await self.accounts.get(account.id) if creation.resumed() else None
        return found if found is not None and found.secret_hash == account.secret_hash else None

    async def page(self, *, cursor: str | None, limit: int) -> ServiceAccountPage:
        """Accounts by id.

        Raises:
            BadInput: `invalid_cursor`.
        """
        after = "" if cursor is None else unpack(cursor, 1)[0]
        found = await self.accounts.page(after=after, limit=limit + 1)
        items = [_view(account) for account in found[:limit]]
        return ServiceAccountPage(items=items, next=pack(items[-1].id) if len(found) > limit else None)

    async def new_secret(self, account: str, *, staff: Staff) -> ServiceAccountCredentials:
        """Another secret; the old one and its tokens end at once.

        Raises:
            NotFound: `unknown_service`.
        """
        secret = creation.secret("service secret")
        found = await self.accounts.get(account) if is_principal(account) else None
        if found is None:
            raise _unknown()
        await staff.trail.record("service_account.secret", target=account)
        if not await self.accounts.set_secret(account, _hash(secret)):
            raise _unknown()
        _log.info("service_account.secret", service=account, by=staff.id)
        return _credentials(found, secret)

    async def remove(self, account: str, *, staff: Staff) -> None:
        """End it, with its tokens.

        Raises:
            NotFound: `unknown_service`.
        """
        if not is_principal(account) or await self.accounts.get(account) is None:
            raise _unknown()
        await staff.trail.record("service_account.removed", target=account)
        if not await self.accounts.remove(account):
            raise _unknown()
        _log.info("service_account.removed", service=account, by=staff.id)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _unknown() -> NotFound:
    return NotFound("there is no such service account", code="unknown_service")


def _view(account: ServiceAccount) -> ServiceAccountView:
    return ServiceAccountView(
        id=account.id,
        name=account.name,
        scopes=account.scopes,
        created_at=account.created_at,
        created_by=account.created_by,
    )


def _credentials(account: ServiceAccount, secret: str) -> ServiceAccountCredentials:
    return ServiceAccountCredentials(
        id=account.id,
        name=account.name,
        scopes=account.scopes,
        created_at=account.created_at,
        created_by=account.created_by,
        secret=secret,
    )
