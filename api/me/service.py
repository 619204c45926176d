"""The caller's own account: what they show of themselves."""

from __future__ import annotations

from dataclasses import dataclass

from api.auth.schemas import Account
from api.auth.service import account
from api.me.schemas import Wishes
from api.members.announce import Announcer
from chat.errors import Unauthenticated
from chat.people_stores import MembershipStore
from chat.ports import UserStore


@dataclass(frozen=True, slots=True)
class MeService:
    """The decisions of `/v1/me`.

    The profile is one write of one document, `hides_seen` (which every membership has too) one transaction.
    """

    users: UserStore
    memberships: MembershipStore
    announcer: Announcer

    async def account(self, user: str) -> Account:
        """The user, as they see themselves.

        Raises:
            Unauthenticated: `signed_out`.
        """
        found = await self.users.get(user)
        if found is None:
            raise Unauthenticated("this sign-in has ended", code="signed_out")
        return account(found)

    async def change(self, wishes: Wishes, *, caller: str) -> Account:
        """Change what is named.

        Raises:
            Unauthenticated: `signed_out`.
        """
        changes = wishes.profile()
        if changes:
            await self.users.set_profile(caller, changes)
        if "hides_seen" in wishes.model_fields_set:
            for chat in await self.memberships.set_hides_seen(caller, hides=wishes.hides_seen):
                await self.announcer.changed(chat, [caller])
        return await self.account(caller)
