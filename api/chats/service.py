"""Chats: making them, and the list with unread counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api import creation
from api.access import present_member, unknown_chat
from api.chats.schemas import Arrangement, ChatPage, ChatsQuery, ChatView, NewChat
from api.clock import now
from api.members.announce import Announcer, notice
from api.pagination import invalid_cursor, pack, unpack
from api.users.people import People
from chat import permissions, views
from chat.envelopes import Event, System
from chat.errors import BadInput, Conflict, Forbidden
from chat.ids import direct_chat_id, new_chat_id
from chat.models import Chat, ChatKind, Head, Member, Principal, Role
from chat.people import Place
from chat.people_stores import MembershipStore
from chat.ports import ChatStore, MessageStore
from chat.upkeep import UpkeepStore
from chat.watermarks import unread


@dataclass(frozen=True, slots=True)
class ChatService:
    """The decisions of `/v1/chats`."""

    chats: ChatStore
    memberships: MembershipStore
    messages: MessageStore
    upkeep: UpkeepStore
    people: People
    announcer: Announcer
    max_members: int

    async def create(self, wish: NewChat, *, caller: Principal) -> tuple[ChatView, bool]:
        """Make a chat, or find the direct chat that the pair has already.

        Returns:
            the chat, and whether it is new.

        Raises:
            BadInput: `one_peer` or `no_title` for direct chats.
            NotFound: `unknown_user`.
            Forbidden: `not_reachable`.
            Conflict: `too_many_members`.
        """
        others = [id_ for id_ in dict.fromkeys(wish.members) if id_ != caller.id]
        if wish.kind == "direct" and len(others) != 1:
            raise BadInput("a direct chat has one other member", code="one_peer")
        if wish.kind == "direct" and wish.title is not None:
            raise BadInput("a direct chat has no title: each of the two sees the other's name", code="no_title")
        if len(others) >= self.max_members:
            raise Conflict(f"a chat has at most {self.max_members} members", code="too_many_members")
        await self.people.check(others, caller=caller.id, reach=not await self._have(wish, caller.id, others))
        hiding = await self.people.users.hiding([caller.id, *others])
        chat, members = _draft(wish, caller.id, others)
        for member in members:
            member.hides_seen = member.user in hiding
        # What an attempt that was killed has made is told of again: whether it was told then nobody knows.
        created = await self.chats.create(chat, members) or creation.resumed()
        if created:
            await self.announcer.changed(chat.id, [caller.id, *others])
            await self.announcer.invite(chat, others, by=caller.id)
        return await self.get(chat.id, caller=caller), created

    async def _have(self, wish: NewChat, caller: str, others: Sequence[str]) -> bool:
        """Whether it is a direct chat that the pair has already: to look into it, nobody has to be reached."""
        return wish.kind == "direct" and await self.chats.member(direct_chat_id(caller, others[0]), caller) is not None

    async def get(self, chat: str, *, caller: Principal) -> ChatView:
        """One chat of the caller's.

        Raises:
            NotFound: `unknown_chat`.
        """
        member = await present_member(self.chats, chat, caller)
        views = await self._views([member], await self.chats.get_many([chat]))
        if not views:
            raise unknown_chat()
        return views[0]

    async def rename(self, chat_id: str, title: str | None, *, caller: Principal) -> ChatView:
        """Give a group another title; the one that it has already changes nothing.

        Raises:
            NotFound: `unknown_chat`.
            Forbidden: `not_a_manager`.
            BadInput: `no_title` for direct chats.
        """
        actor = await present_member(self.chats, chat_id, caller)
        chat = await self.chats.get(chat_id)
        if chat is None:
            raise unknown_chat()
        if chat.kind is ChatKind.DIRECT:
            raise BadInput("a direct chat has no title: each of the two sees the other's name", code="no_title")
        if not permissions.may_rename(actor):
            raise Forbidden("only the owner and admins of a chat rename it", code="not_a_manager")
        if chat.title != title:
            renamed = notice(chat_id, System("renamed", caller.id, title=title))
            await self.chats.rename(chat_id, title, notice=renamed)
            await self.announcer.told(chat_id)
        return await self.get(chat_id, caller=caller)

    async def retain(self, chat_id: str, days: int | None, *, caller: Principal) -> ChatView:
        """Say for how many days a group keeps what is said in it; what is older is erased for good within minutes.

        Raises:
            NotFound: `unknown_chat`.
            Forbidden: `not_a_manager`; nobody manages a direct chat.
        """
        actor = await present_member(self.chats, chat_id, caller)
        if not permissions.may_set_retention(actor):
            raise Forbidden(
                "only the owner and admins of a chat say how long it keeps what is said", code="not_a_manager"
            )
        if not await self.upkeep.set_retention(chat_id, days):
            raise unknown_chat()
        return await self.get(chat_id, caller=caller)

    async def arrange(self, chat: str, wish: Arrangement, *, caller: Principal) -> ChatView:
        """Mute, pin or archive a chat, for the caller alone: one write of their membership.

        Raises:
            NotFound: `unknown_chat`.
        """
        moment, named = now(), wish.model_fields_set
        changes: dict[str, datetime | None] = {}
        if "muted_until" in named:
            past = wish.muted_until is None or wish.muted_until <= moment
            changes["muted_until"] = None if past else wish.muted_until
        if "pinned" in named:
            changes["pinned_at"] = moment if wish.pinned else None
        if "archived" in named:
            changes["archived_at"] = moment if wish.archived else None
        await present_member(self.chats, chat, caller)
        if not await self.memberships.arrange(chat, caller.id, changes):
            raise unknown_chat()
        return await self.get(chat, caller=caller)

    async def page(self, query: ChatsQuery, *, caller: Principal) -> ChatPage:
        """The caller's chats, the pinned ones first, then the most lately active.

        A chat in which something happens between two pages moves to the front: it is then on neither of the later ones, and
        first when the list is read anew.

        Raises:
            BadInput: `invalid_cursor`.
        """
        start = _position_of(query.cursor) if query.cursor is not None else None
        places = await self.memberships.places(caller.id)
        if query.archived is not None:
            places = [place for place in places if (place.archived_at is not None) == query.archived]
        order = sorted(map(_position, places), reverse=True)
        if start is not None:
            order = [position for position in order if position < start]
        shown = order[: query.limit]
        ids = [chat for _, _, chat in shown]
        rows, chats = await asyncio.gather(self.memberships.of_user(caller.id, ids), self.chats.get_many(ids))
        views = await self._views([rows[chat] for chat in ids if chat in rows], chats)
        return ChatPage(items=views, next=pack(*shown[-1]) if len(order) > query.limit else None)

    async def _views(self, members: Sequence[Member], chats: dict[str, Chat]) -> list[ChatView]:
        """What each of one user's memberships looks like, in their order; counts come from the events, never from a cache."""
        rows = [(member, chats[member.chat]) for member in members if member.chat in chats]
        ids = [chat.id for _, chat in rows]
        heads, latest, pairs = await asyncio.gather(
            self.messages.heads(ids),
            self.messages.latest(ids),
            self.memberships.pairs([chat.id for _, chat in rows if chat.kind is ChatKind.DIRECT]),
        )
        return [
            _view(member, chat, heads.get(chat.id, Head()), latest.get(chat.id), pairs.get(chat.id, ()))
            for member, chat in rows
        ]


def _draft(wish: NewChat, creator: str, others: Sequence[str]) -> tuple[Chat, list[Member]]:
    """The records of a new chat. In a direct chat both are plain members: neither manages the other."""
    moment = now()
    kind = ChatKind(wish.kind)
    direct = kind is ChatKind.DIRECT
    chat = Chat(
        id=direct_chat_id(creator, others[0]) if direct else new_chat_id(creation.chosen("chat", 16)),
        kind=kind,
        created_at=moment,
        created_by=creator,
        title=wish.title,
    )
    first = Member(chat=chat.id, user=creator, role=Role.MEMBER if direct else Role.OWNER, joined_at=moment)
    return chat, [
        first,
        *(Member(chat=chat.id, user=other, role=permissions.default_role(kind), joined_at=moment) for other in others),
    ]


def _position(place: Place) -> tuple[int, int, str]:
    """Where a chat stands in the list: pinned or not, its last activity in Unix milliseconds; the id decides between equals."""
    return int(place.pinned_at is not None), int(place.active_at.timestamp() * 1000), place.chat


def _position_of(cursor: str) -> tuple[int, int, str]:
    pinned, stamp, chat = unpack(cursor, 3)
    if not (pinned in ("0", "1") and stamp.isdecimal()):
        raise invalid_cursor()
    return int(pinned), int(stamp), chat


def _view(member: Member, chat: Chat, head: Head, last: Event | None, pair: Sequence[str]) -> ChatView:
    seen = Head(member.seen_seq, member.seen_n)
    if last is not None and last.sender == member.user and last.seq > seen.seq:
        seen = Head(
            last.seq, last.n
        )  # who sends has seen everything up to it; the bridge raises the watermark a moment later
    return ChatView(
        id=chat.id,
        kind=chat.kind.value,
        title=chat.title,
        created_at=chat.created_at,
        created_by=chat.created_by,
        role=member.role.value,
        peer=next((user for user in pair if user != member.user), None),
        last_seq=head.seq,
        delivered_seq=max(member.delivered_seq, seen.seq),
        seen_seq=seen.seq,
        unread=unread(last_n=head.n, seen_n=seen.n),
        last_message=None if last is None or last.seq <= member.cleared_seq else views.seen_by(last, member.user),
        muted_until=member.muted_until if member.muted_until is not None and member.muted_until > now() else None,
        pinned=member.pinned_at is not None,
        archived=member.archived_at is not None,
        retention_days=chat.retention_days,
    )
