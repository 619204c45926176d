"""`MembershipStore` in memory: what it changes is in `MemoryChats`, `MemoryInvitations` and `MemoryUsers`, and nothing happens in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.memory.chats import MemoryChats
from adapters.memory.invitations import MemoryInvitations
from adapters.memory.notices import MemoryNotices
from adapters.memory.records import copied, to_ms
from adapters.memory.users import MemoryUsers
from chat.errors import Conflict
from chat.ids import is_device
from chat.models import Member, Notice, Role
from chat.people import Place, naming


class MemoryMemberships:
    """Shares the rows of the other stores."""

    def __init__(
        self, chats: MemoryChats, invitations: MemoryInvitations, users: MemoryUsers, notices: MemoryNotices
    ) -> None:
        self._notices = notices
        self._store = chats
        self._users = users
        self._invitations = invitations

    async def join(self, members: Sequence[Member], *, most: int, notice: Notice | None = None) -> list[str]:
        """See `MembershipStore.join`."""
        new = [member for member in members if self._store.present(member.chat, member.user) is None]
        if new and len(self._store.rows(new[0].chat)) + len(new) > most:
            raise Conflict(f"a chat has at most {most} members", code="too_many_members")
        for member in new:
            await self._store.add_member(member)
        joined = [member.user for member in new]
        if joined:
            self._note(naming(notice, *joined))
        return joined

    def _note(self, notice: Notice | None) -> None:
        if notice is not None:
            self._notices.put(notice)

    async def accept(
        self, link: str, member: Member, *, now: datetime, most: int, notice: Notice | None = None
    ) -> bool:
        """See `MembershipStore.accept`."""
        if self._store.present(member.chat, member.user) is not None:
            return False
        self._invitations.check(link, now)
        await self.join([member], most=most, notice=notice)
        self._invitations.used(link)
        return True

    async def approve(self, member: Member, *, most: int, notice: Notice | None = None) -> bool:
        """See `MembershipStore.approve`."""
        if await self._invitations.request(member.chat, member.user) is None:
            return False
        await self.join([member], most=most, notice=notice)
        return await self._invitations.withdraw(member.chat, member.user)

    async def remove(self, chat: str, user: str, at: datetime, *, by: str, notice: Notice | None = None) -> bool:
        """See `MembershipStore.remove`."""
        row = self._store.present(chat, user)
        if row is None or row.role is Role.OWNER:
            return False
        row.left_at, row.removed_by = to_ms(at), by
        self._note(notice)
        return True

    async def leave(
        self, chat: str, user: str, at: datetime, *, notice: Notice | None = None, inherits: Notice | None = None
    ) -> tuple[bool, str | None]:
        """See `MembershipStore.leave`."""
        row = self._store.present(chat, user)
        if row is None:
            return False, None
        heir = self._heir(chat, user) if row.role is Role.OWNER else None
        row.left_at = to_ms(at)
        self._note(notice)
        if heir is not None:
            heir.role = Role.OWNER
            self._note(naming(inherits, heir.user))
        elif row.role is Role.OWNER:
            self._invitations.close(chat, at)
        return True, None if heir is None else heir.user

    def _heir(self, chat: str, owner: str) -> Member | None:
        people = [row for row in self._store.rows(chat) if row.user != owner and not is_device(row.user)]
        for role in (Role.ADMIN, Role.MEMBER):
            if fit := [row for row in people if row.role is role]:
                return min(fit, key=lambda row: row.joined_at)
        if people:
            raise Conflict("only readers would stay: make one of them the owner first", code="no_successor")
        return None

    async def hand_over(self, chat: str, owner: str, heir: str, *, notices: Sequence[Notice] = ()) -> bool:
        """See `MembershipStore.hand_over`."""
        first, second = self._store.present(chat, owner), self._store.present(chat, heir)
        if first is None or first.role is not Role.OWNER or second is None:
            return False
        first.role, second.role = Role.ADMIN, Role.OWNER
        for notice in notices:
            self._note(notice)
        return True

    async def arrange(self, chat: str, user: str, changes: dict[str, datetime | None]) -> bool:
        """See `MembershipStore.arrange`."""
        row = self._store.present(chat, user)
        if row is None:
            return False
        for name, value in changes.items():
            setattr(row, name, None if value is None else to_ms(value))
        return True

    async def set_hides_seen(self, user: str, *, hides: bool) -> list[str]:
        """See `MembershipStore.set_hides_seen`."""
        await self._users.set_hides_seen(user, hides=hides)
        return await self._store.set_hides_seen(user, hides=hides)

    async def places(self, user: str) -> list[Place]:
        """See `MembershipStore.places`."""
        rows = await self._store.memberships(user)
        chats = await self._store.get_many([row.chat for row in rows])
        return [
            Place(row.chat, chat.last_at or chat.created_at, row.pinned_at, row.archived_at)
            for row in rows
            if (chat := chats.get(row.chat)) is not None
        ]

    async def of_user(self, user: str, chats: Sequence[str]) -> dict[str, Member]:
        """See `MembershipStore.of_user`."""
        found = {chat: self._store.present(chat, user) for chat in chats}
        return {chat: copied(row) for chat, row in found.items() if row is not None}

    async def among(self, chat: str, users: Sequence[str]) -> dict[str, Member]:
        """See `MembershipStore.among`."""
        return {row.user: copied(row) for row in self._store.rows(chat) if row.user in users}

    async def pairs(self, chats: Sequence[str]) -> dict[str, list[str]]:
        """See `MembershipStore.pairs`."""
        found = {chat: sorted(row.user for row in self._store.rows(chat)) for chat in chats}
        return {chat: users for chat, users in found.items() if users}

    async def count(self, chat: str) -> int:
        """See `MembershipStore.count`."""
        return len(self._store.rows(chat))
