"""Who is in a chat: looking, adding, removing, and who owns it.

Managers (`owner`, `admin`) add and remove, everybody may leave, nobody removes the owner, and a direct chat keeps its two members.
An owner who leaves is inherited from. The rules are `chat.permissions`; each change is one write, or one transaction of the store.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from msgspec.structs import replace

from api import creation
from api.access import present_member, unknown_chat
from api.clock import now
from api.members.announce import Announcer, notice
from api.members.schemas import MemberPage, MembersQuery, NewMembers, view
from api.users.people import People
from chat import permissions, privacy
from chat.envelopes import System
from chat.errors import Forbidden, NotFound
from chat.ids import is_principal
from chat.models import Chat, ChatKind, Member, Notice, Principal, Role
from chat.people_stores import MembershipStore
from chat.ports import ChatStore, MessageStore


def unknown_member() -> NotFound:
    """The one answer for who is not in the chat, and for who is not at all."""
    return NotFound("there is no such member", code="unknown_member")


@dataclass(frozen=True, slots=True)
class MemberService:
    """The decisions of `/v1/chats/{chat}/members`."""

    chats: ChatStore
    memberships: MembershipStore
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
            Forbidden: `fixed_members`, `not_a_manager`, `not_reachable`.
            Conflict: `too_many_members`.
        """
        actor = await present_member(self.chats, chat_id, caller)
        chat = await self.group(chat_id)
        if not permissions.may_manage_members(actor):
            raise Forbidden("only the owner and admins of a chat add members", code="not_a_manager")
        role = permissions.default_role(chat.kind) if wish.role is None else Role(wish.role)
        if role is Role.ADMIN and actor.role is not Role.OWNER:
            raise Forbidden("only the owner makes admins", code="not_a_manager")
        ids = list(dict.fromkeys(wish.members))
        rows = await self.memberships.among(chat_id, [id_ for id_ in ids if is_principal(id_)])
        others = [id_ for id_ in ids if id_ not in rows]
        await self.people.check(others, caller=caller.id)
        added: list[str] = []
        if others:
            fresh = await self.newcomers(chat_id, others, role)
            joined = notice(chat_id, System("joined", caller.id, role=role.value))
            added = await self.memberships.join(fresh, most=self.max_members, notice=joined)
            rows = await self.memberships.among(chat_id, ids)
        if creation.resumed():  # whether an attempt that was killed has told of them nobody knows
            added = [id_ for id_ in ids if id_ in rows]
        if added:
            await self.told_joined(chat, added, by=caller.id)
        shown = privacy.shown_to(caller.id, [actor, *(rows[id_] for id_ in ids if id_ in rows)])[1:]
        return MemberPage(items=[view(row) for row in shown], next=None), bool(added)

    async def newcomers(self, chat: str, users: list[str], role: Role) -> list[Member]:
        """The rows of those who join: nothing is unread to them, and the history before changes no watermark of theirs."""
        head, hiding = await asyncio.gather(self.messages.head(chat), self.people.users.hiding(users))
        first = Member(chat, "", role, now(), head.seq, None, head.seq, head.seq, head.n)
        return [replace(first, user=user, hides_seen=user in hiding) for user in users]

    async def told_joined(self, chat: Chat, users: list[str], *, by: str) -> None:
        """Tell everybody whom it concerns that these are in the chat now; the chat, what was noted with the change."""
        await self.announcer.changed(chat.id, users)
        await self.announcer.invite(chat, [user for user in users if user != by], by=by)
        await self.announcer.told(chat.id)

    async def remove(self, chat_id: str, user: str, *, caller: Principal) -> None:
        """Take a member out, or leave.

        Raises:
            NotFound: `unknown_chat`, `unknown_member`.
            Forbidden: `fixed_members`, `not_a_manager`.
            Conflict: `no_successor`.
        """
        actor = await present_member(self.chats, chat_id, caller)
        await self.group(chat_id)
        if user == caller.id:
            await self._leave(chat_id, user)
            return
        target = await self._present(chat_id, user)
        left = notice(chat_id, System("left", caller.id, [user]))
        removed = permissions.may_remove(actor, target) and await self.memberships.remove(
            chat_id, user, now(), by=caller.id, notice=left
        )
        if not removed:
            raise Forbidden(
                "only the owner and admins remove others, and nobody removes the owner", code="not_a_manager"
            )
        await self.announcer.changed(chat_id, [user])
        await self.announcer.told(chat_id)

    async def _leave(self, chat_id: str, user: str) -> None:
        first, second = _in_order(
            notice(chat_id, System("left", user, [user])), notice(chat_id, System("role", user, role=Role.OWNER.value))
        )
        left, heir = await self.memberships.leave(chat_id, user, now(), notice=first, inherits=second)
        if not left:
            raise unknown_chat()
        await self.announcer.changed(chat_id, [user] if heir is None else [user, heir])
        await self.announcer.told(chat_id)

    async def hand_over(self, chat_id: str, user: str, *, caller: Principal) -> MemberPage:
        """Make another member the owner; the caller is an admin from then on.

        Raises:
            NotFound: `unknown_chat`, `unknown_member`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        actor = await present_member(self.chats, chat_id, caller)
        await self.group(chat_id)
        target = await self._present(chat_id, user)
        allowed = permissions.may_hand_over(actor, target)
        notices = _in_order(
            notice(chat_id, System("role", caller.id, [user], role=Role.OWNER.value)),
            notice(chat_id, System("role", caller.id, [caller.id], role=Role.ADMIN.value)),
        )
        if not (allowed and await self.memberships.hand_over(chat_id, caller.id, user, notices=notices)):
            raise Forbidden("only the owner makes another person the owner", code="not_a_manager")
        await self.announcer.changed(chat_id, [caller.id, user])
        await self.announcer.told(chat_id)
        actor.role, target.role = Role.ADMIN, Role.OWNER
        return MemberPage(items=[view(row) for row in privacy.shown_to(caller.id, [actor, target])], next=None)

    async def set_role(self, chat_id: str, user: str, role: Role, *, caller: Principal) -> MemberPage:
        """Give a member another role; the one that they have already changes nothing.

        Raises:
            NotFound: `unknown_chat`, `unknown_member`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        actor = await present_member(self.chats, chat_id, caller)
        await self.group(chat_id)
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

    async def group(self, chat_id: str) -> Chat:
        """The chat, if its members can change."""
        chat = await self.chats.get(chat_id)
        if chat is None:
            raise unknown_chat()
        if chat.kind is ChatKind.DIRECT:
            raise Forbidden("a direct chat keeps its two members", code="fixed_members")
        return chat


def _in_order(*notices: Notice) -> list[Notice]:
    """Notices are told by id, and ids of the same millisecond have no order: they are given theirs."""
    return [replace(one, id=id_) for one, id_ in zip(notices, sorted(one.id for one in notices), strict=True)]
