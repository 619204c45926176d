"""Users: found, suspended, banned, shadow-banned, signed out, promoted.

Every change is noted in the audit log first, then stored, then told to everybody who has cached a decision. What is stored is what
counts: REST asks the store with every request, and a broker that was not told finds out by its own sweep.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from api.admin.access import Staff, admin_only
from api.admin.users.schemas import (
    MAX_DEVICES,
    AdminUser,
    AdminUserDetail,
    AdminUserPage,
    NewRank,
    OwnedDevice,
    Sanction,
    UsersQuery,
    facts,
)
from api.clock import now
from api.pagination import pack, unpack
from chat import permissions
from chat.admin import Account, AccountSearch, AdminStore, DeviceSearch, Exclusion, ExclusionKind
from chat.envelopes import Invalidation
from chat.errors import BadInput, NotFound, Unavailable
from chat.ids import is_principal
from chat.ports import ChatStore, GrantStore, Invalidations

TELL_SECONDS = 2.0
"""How long a request spends at most on telling others."""

TOLD_AT_ONCE = 500
"""Devices per page of those whose connections are to be cut."""

_log = structlog.get_logger("admin")


@dataclass(frozen=True, slots=True)
class UserAdmin:
    """The decisions of `/v1/admin/users`."""

    admin: AdminStore
    chats: ChatStore
    grants: GrantStore
    invalidations: Invalidations

    async def page(self, query: UsersQuery) -> AdminUserPage:
        """One page, by id.

        Raises:
            BadInput: `invalid_cursor`.
        """
        after = unpack(query.cursor, 1)[0] if query.cursor else ""
        search = AccountSearch(query.text, query.state, query.staff, query.shadowed)
        found = await self.admin.accounts(search, after=after, limit=query.limit + 1)
        items = [AdminUser(**facts(account)) for account in found[: query.limit]]
        return AdminUserPage(items=items, next=pack(items[-1].id) if len(found) > query.limit else None)

    async def show(self, user: str) -> AdminUserDetail:
        """One user.

        Raises:
            NotFound: `unknown_user`.
        """
        account = await self._get(user)
        chats, devices = await asyncio.gather(
            self.chats.memberships(user), self.admin.devices(DeviceSearch(owner=user), limit=MAX_DEVICES)
        )
        owned = [OwnedDevice(device.id, device.name, device.disabled) for device in devices]
        return AdminUserDetail(**facts(account), chats=len(chats), devices=owned)

    async def block(self, user: str, kind: ExclusionKind, wish: Sanction, *, staff: Staff) -> AdminUserDetail:
        """Keep somebody out, everywhere and at once: no sign-in of theirs lives on, and no connection, theirs or of their devices.

        Raises:
            NotFound: `unknown_user`.
            Forbidden: `admin_only`.
            BadInput: `already_over`: the end has passed.
        """
        account = await self._get(user)
        self._check(account, staff, ban=kind is ExclusionKind.BANNED or _is_banned(account))
        end, moment = wish.end(), now()
        if end is not None and end <= moment:
            raise BadInput("the end of it has passed", code="already_over")
        until = end.isoformat() if end else None
        await staff.trail.record(f"user.{kind.value}", target=user, reason=wish.reason, until=until)
        await self.admin.block(user, Exclusion(kind, moment, staff.id, wish.reason, end))
        await self._end_sign_ins(user)
        await self._tell(user)
        _log.warning("user.blocked", user=user, kind=kind.value, by=staff.id)
        return await self.show(user)

    async def lift(self, user: str, reason: str, *, staff: Staff) -> AdminUserDetail:
        """Let somebody in again; they have to sign in.

        Raises:
            NotFound: `unknown_user`.
            Forbidden: `admin_only`.
        """
        account = await self._get(user)
        self._check(account, staff, ban=_is_banned(account))
        await staff.trail.record("user.let_in", target=user, reason=reason)
        await self.admin.block(user, None)
        await self._tell(user)
        _log.info("user.let_in", user=user, by=staff.id)
        return await self.show(user)

    async def shadow(self, user: str, reason: str, *, shadowed: bool, staff: Staff) -> AdminUserDetail:
        """Shadow-ban somebody, or end it; bridges go by it within two seconds.

        Raises:
            NotFound: `unknown_user`.
            Forbidden: `admin_only`.
        """
        self._check(await self._get(user), staff)
        await staff.trail.record("user.shadowed" if shadowed else "user.unshadowed", target=user, reason=reason)
        await self.admin.set_shadowed(user, shadowed=shadowed)
        return await self.show(user)

    async def sign_out(self, user: str, reason: str, *, staff: Staff) -> AdminUserDetail:
        """End every sign-in of somebody; they may sign in again.

        Raises:
            NotFound: `unknown_user`.
            Forbidden: `admin_only`.
        """
        self._check(await self._get(user), staff)
        await staff.trail.record("user.signed_out", target=user, reason=reason)
        await self._end_sign_ins(user)
        return await self.show(user)

    async def set_rank(self, user: str, wish: NewRank, *, staff: Staff) -> AdminUserDetail:
        """Make somebody a moderator or administrator, or neither. Their sign-ins end: tokens tell of the rank that they had.

        Raises:
            NotFound: `unknown_user`.
            Forbidden: `admin_only`.
        """
        self._check(await self._get(user), staff)
        await staff.trail.record("user.ranked", target=user, reason=wish.reason, rank=wish.rank)
        await self.admin.set_rank(user, admin=wish.rank == "admin", moderator=wish.rank == "moderator")
        await self._end_sign_ins(user)
        _log.warning("user.ranked", user=user, rank=wish.rank, by=staff.id)
        return await self.show(user)

    @staticmethod
    def _check(account: Account, staff: Staff, *, ban: bool = False) -> None:
        target = permissions.rank(admin=account.admin, moderator=account.moderator)
        allowed = permissions.may_ban if ban else permissions.may_sanction
        if not allowed(staff.rank, target, oneself=account.id == staff.id):
            raise admin_only()

    async def _get(self, user: str) -> Account:
        account = await self.admin.account(user) if is_principal(user) else None
        if account is None:
            raise NotFound("there is no such user", code="unknown_user")
        return account

    async def _end_sign_ins(self, user: str) -> None:
        """Refresh tokens, access tokens and connections of all of them; the connections are the broker's, which is told."""
        ended = await self.grants.revoke_all(user, now())
        await self._publish([Invalidation(kind="grant", sid=sid, user=user) for sid in ended])

    async def _tell(self, user: str) -> None:
        """The user's own connections first, then those of their devices."""
        await self._publish([Invalidation(kind="principal", user=user)])
        after = ""
        while rows := await self.admin.devices(DeviceSearch(owner=user), after=after, limit=TOLD_AT_ONCE):
            await self._publish([Invalidation(kind="principal", user=row.id) for row in rows])
            after = rows[-1].id

    async def _publish(self, messages: list[Invalidation]) -> None:
        try:
            async with asyncio.timeout(TELL_SECONDS):
                for message in messages:
                    await self.invalidations.publish(message)
        except (
            Unavailable,
            TimeoutError,
        ) as error:  # brokers sweep: within 2 s while Valkey is away, else within a minute
            _log.warning("invalidation.lost", kind="principal", reason=str(error))


def _is_banned(account: Account) -> bool:
    return account.block is not None and account.block.kind is ExclusionKind.BANNED and account.block.holds(now())
