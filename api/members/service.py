"""Who is in a chat: looking, adding, removing.

Managers (`owner`, `admin`) add and remove, everybody may leave, nobody removes the owner, and a direct chat keeps its two members.
The rules are `chat.permissions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from api.access import present_member, unknown_chat
from api.clock import now
from api.members.announce import Announcer, notice
from api.members.schemas import MemberPage, MembersQuery, NewMembers, view
from chat import permissions, privacy
from chat.envelopes import System
from chat.errors import Conflict, Forbidden, NotFound
from chat.ids import is_device, is_principal, is_service
from chat.models import Chat, ChatKind, Member, Notice, Principal, Role
from chat.ports import ChatStore, DeviceStore, MessageStore, UserStore


@dataclass(frozen=True, slots=True)
class People:
    """Finds out whether ids may be brought into a chat."""

    users: UserStore
    devices: DeviceStore

    async def check(self, ids: Sequence[str], *, caller: str) -> None:
        """Every id is a user who is not disabled, or a device of the caller's.

        Raises:
            NotFound: `unknown_user`; a device of somebody else gets the same answer as one that does not exist.
        """
        people = [id_ for id_ in ids if not is_device(id_) and not is_service(id_) and is_principal(id_)]
        things = [id_ for id_ in ids if is_device(id_) and is_principal(id_)]
        known = await self.users.existing(people) if people else set()
        for device in await asyncio.gather(*(self.devices.get(thing) for thing in things)):
            if device is not None and device.owner == caller and not device.disabled:
                known.add(device.id)
        missing = [id_ for id_ in ids if id_ not in known]
        if missing:
            shown = ", ".join(repr(id_) for id_ in missing[:5])
            raise NotFound(f"no such user, or device of yours: {shown}", code="unknown_user")


def unknown_member() -> NotFound:
    """The one answer for who is not in the chat, and for who is not at all."""
    return NotFound("there is no such member", code="unknown_member")


@dataclass(frozen=True, slots=True)
class MemberService:
    """The decisions of `/v1/chats/{chat}/members`."""

    chats: ChatStore
    messages: MessageStore
    people: People
    announcer: Announcer
    max_members: int

    async def page(self, chat: str, query: MembersQuery, *, caller: Principal) -> MemberPage:
        """Members by id.

        Raises:
            NotFound: `unknown_chat`.
        """
        me = await present_member(self.chats, chat, caller)
        found = await self.chats.members(chat, after=query.after, limit=query.limit + 1)
        items = [view(member) for member in privacy.shown_to(caller.id, [me, *found[: query.limit]])[1:]]
        return MemberPage(items=items, next=items[-1].user if len(found) > query.limit else None)

    async def add(self, chat_id: str, wish: NewMembers, *, caller: Principal) -> tuple[MemberPage, bool]:
        """Bring users, and devices of the caller's, into a group. Those who are in it already stay as they are.

        Returns:
            the members that were named, and whether one of them is new.

        Raises:
            NotFound: `unknown_chat`, `unknown_user`.
            Forbidden: `fixed_members`, `not_a_manager`.
            Conflict: `too_many_members`.
        """
        actor = await present_member(self.chats, chat_id, caller)
        chat = await self._group(chat_id)
        if not permissions.may_manage_members(actor):
            raise Forbidden("only the owner and admins of a chat add members", code="not_a_manager")
        if wish.role == Role.ADMIN.value and actor.role is not Role.OWNER:
            raise Forbidden("only the owner makes admins", code="not_a_manager")
        ids = list(dict.fromkeys(wish.members))
        await self.people.check(ids, caller=caller.id)
        present = {member.user for member in await self.chats.members(chat_id, limit=self.max_members)}
        if len(present.union(ids)) > self.max_members:
            raise Conflict(f"a chat has at most {self.max_members} members", code="too_many_members")
        joined = notice(chat_id, System("joined", caller.id, role=wish.role), open_=True)
        added = [id_ for id_ in ids if id_ not in present and await self._add(chat_id, id_, Role(wish.role), joined)]
        if added:
            await self.announcer.changed(chat_id, added)
            await self.announcer.invite(chat, added, by=caller.id)
            await self.announcer.told(chat_id, joined)
        rows = [
            row for row in await asyncio.gather(*(self.chats.member(chat_id, id_) for id_ in ids)) if row is not None
        ]
        return MemberPage(
            items=[view(row) for row in privacy.shown_to(caller.id, [actor, *rows])[1:]], next=None
        ), bool(added)

    async def remove(self, chat_id: str, user: str, *, caller: Principal) -> None:
        """Take a member out, or leave.

        Raises:
            NotFound: `unknown_chat`, `unknown_member`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        actor = await present_member(self.chats, chat_id, caller)
        await self._group(chat_id)
        target = await self._present(chat_id, user)
        if not permissions.may_remove(actor, target):
            raise Forbidden(
                "only the owner and admins remove others, and nobody removes the owner", code="not_a_manager"
            )
        left = notice(chat_id, System("left", caller.id, [user]))
        await self.chats.remove_member(chat_id, user, now(), notice=left)
        await self.announcer.changed(chat_id, [user])
        await self.announcer.told(chat_id)

    async def set_role(self, chat_id: str, user: str, role: Role, *, caller: Principal) -> MemberPage:
        """Give a member another role; the one that they have already changes nothing.

        Raises:
            NotFound: `unknown_chat`, `unknown_member`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        actor = await present_member(self.chats, chat_id, caller)
        await self._group(chat_id)
        target = await self._present(chat_id, user)
        if not permissions.may_set_role(actor, target):
            raise Forbidden("only the owner gives roles, and keeps their own", code="not_a_manager")
        if target.role is not role:
            changed = notice(chat_id, System("role", caller.id, [user], role=role.value))
            if not await self.chats.set_role(chat_id, user, role, notice=changed):
                raise unknown_member()
            await self.announcer.changed(chat_id, [user])
            await self.announcer.told(chat_id)
        target.role = role
        return MemberPage(items=[view(row) for row in privacy.shown_to(caller.id, [actor, target])[1:]], next=None)

    async def _present(self, chat_id: str, user: str) -> Member:
        target = await self.chats.member(chat_id, user) if is_principal(user) else None
        if target is None or target.left_at is not None:
            raise unknown_member()
        return target

    async def _add(self, chat: str, user: str, role: Role, joined: Notice) -> bool:
        """Who joins starts with nothing unread: watermarks at the newest event, which the history before it does not change."""
        head, hiding = await asyncio.gather(self.messages.head(chat), self.people.users.hiding([user]))
        return await self.chats.add_member(
            Member(
                chat=chat,
                user=user,
                role=role,
                joined_at=now(),
                joined_seq=head.seq,
                delivered_seq=head.seq,
                seen_seq=head.seq,
                seen_n=head.n,
                hides_seen=user in hiding,
            ),
            notice=replace(joined, at=now(), system=replace(joined.system, users=[user])),
        )

    async def _group(self, chat_id: str) -> Chat:
        """The chat, if its members can change."""
        chat = await self.chats.get(chat_id)
        if chat is None:
            raise unknown_chat()
        if chat.kind is ChatKind.DIRECT:
            raise Forbidden("a direct chat keeps its two members", code="fixed_members")
        return chat
