"""`ChatStore` in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from adapters.memory.notices import MemoryNotices
from adapters.memory.records import copied, to_ms
from chat.history import Crowd
from chat.ids import is_device
from chat.models import Chat, Head, Member, Notice, Reach, Role, Watermarks

CORRECTED = ("delivered_seq", "seen_seq", "seen_n", "hides_seen")
"""Fields that `correct` compares and sets."""


class MemoryChats:
    """Chats by id, memberships by (chat, user).

    Attributes:
        all: every chat, by id.
    """

    def __init__(self, notices: MemoryNotices | None = None) -> None:
        self._notices = notices or MemoryNotices()
        self._chats: dict[str, Chat] = {}
        self.all = self._chats
        self._members: dict[tuple[str, str], Member] = {}

    async def create(self, chat: Chat, members: Sequence[Member]) -> bool:
        """See `ChatStore.create`."""
        if chat.id in self._chats:
            return False
        if len({member.user for member in members}) != len(members):
            raise ValueError(f"the members of chat {chat.id} name one user twice")
        self._chats[chat.id] = copied(chat)
        self._members.update({(member.chat, member.user): copied(member) for member in members})
        return True

    async def get(self, chat: str) -> Chat | None:
        """See `ChatStore.get`."""
        return copied(self._chats[chat]) if chat in self._chats else None

    async def get_many(self, chats: Sequence[str]) -> dict[str, Chat]:
        """See `ChatStore.get_many`."""
        return {chat: copied(self._chats[chat]) for chat in chats if chat in self._chats}

    async def touch(self, heads: Mapping[str, tuple[Head, datetime]]) -> None:
        """See `ChatStore.touch`."""
        for id_, (head, at) in heads.items():
            chat = self._chats.get(id_)
            if chat is not None:
                chat.last_seq = max(chat.last_seq, head.seq)
                chat.last_n = max(chat.last_n, head.n)
                chat.last_at = to_ms(at) if chat.last_at is None else max(chat.last_at, to_ms(at))

    async def rename(self, chat: str, title: str | None, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.rename`."""
        if chat not in self._chats:
            return False
        self._chats[chat].title = title
        return self._noted(notice)

    async def set_role(self, chat: str, user: str, role: Role, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.set_role`."""
        member = self._present(chat, user)
        if member is None or member.role is Role.OWNER:
            return False
        member.role = role
        return self._noted(notice)

    async def member(self, chat: str, user: str) -> Member | None:
        """See `ChatStore.member`."""
        member = self._members.get((chat, user))
        return None if member is None else copied(member)

    async def members(self, chat: str, *, after: str = "", limit: int | None = None) -> list[Member]:
        """See `ChatStore.members`."""
        users = sorted(
            member.user
            for member in self._members.values()
            if member.chat == chat and member.user > after and member.left_at is None
        )
        return [copied(self._members[chat, user]) for user in users[: limit if limit is None else max(0, limit)]]

    async def members_by_chat(self, chats: Sequence[str]) -> dict[str, list[Member]]:
        """See `ChatStore.members_by_chat`."""
        return {chat: members for chat in chats if (members := await self.members(chat))}

    async def memberships(self, user: str) -> list[Member]:
        """See `ChatStore.memberships`."""
        chats = sorted(m.chat for m in self._members.values() if m.user == user and m.left_at is None)
        return [copied(self._members[chat, user]) for chat in chats]

    async def memberships_among(self, pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """See `ChatStore.memberships_among`."""
        return {pair for pair in pairs if self._present(*pair) is not None}

    async def share_chat(self, one: str, other: str) -> bool:
        """See `ChatStore.share_chat`."""
        return any(
            member.user == one and member.left_at is None and self._present(member.chat, other) is not None
            for member in self._members.values()
        )

    async def add_member(self, member: Member, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.add_member`."""
        row = self._members.get((member.chat, member.user))
        if row is not None and row.left_at is None:
            return False
        fresh = copied(member)
        fresh.left_at = fresh.removed_by = None
        if row is not None:
            fresh.delivered_seq, fresh.seen_seq, fresh.seen_n = row.delivered_seq, row.seen_seq, row.seen_n
            fresh.cleared_seq = row.cleared_seq
        self._members[member.chat, member.user] = fresh
        return self._noted(notice)

    async def remove_member(self, chat: str, user: str, at: datetime, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.remove_member`."""
        member = self._present(chat, user)
        if member is None:
            return False
        member.left_at = to_ms(at)
        return self._noted(notice)

    async def set_hides_seen(self, user: str, *, hides: bool) -> list[str]:
        """See `ChatStore.set_hides_seen`."""
        mine = [member for member in self._members.values() if member.user == user]
        for member in mine:
            member.hides_seen = hides
        return sorted(member.chat for member in mine if member.left_at is None)

    async def reached(self, chat: str, seq: int) -> Reach:
        """See `ChatStore.reached`."""
        people = [
            member
            for member in self._members.values()
            if member.chat == chat and member.left_at is None and member.joined_seq < seq and not is_device(member.user)
        ]
        return Reach(
            delivered=sum(max(member.delivered_seq, member.seen_seq) >= seq for member in people),
            seen=sum(member.seen_seq >= seq and not member.hides_seen for member in people),
            all_delivered=min((min(seq, max(m.delivered_seq, m.seen_seq, m.joined_seq)) for m in people), default=0),
            all_seen=min((min(seq, max(m.seen_seq, m.joined_seq)) for m in people), default=0),
        )

    async def scan(self, *, after: tuple[str, str] = ("", ""), limit: int) -> list[Member]:
        """See `ChatStore.scan`."""
        keys = sorted(key for key in self._members if key > after)
        return [copied(self._members[key]) for key in keys[: max(0, limit)]]

    async def unread(self, users: Sequence[str], *, heads: Mapping[str, int]) -> dict[str, int]:
        """See `AudienceStore.unread`."""
        counts = dict.fromkeys(users, 0)
        for (chat, user), member in self._members.items():
            if user in counts and member.left_at is None and chat in self._chats:
                counts[user] += max(0, max(self._chats[chat].last_n, heads.get(chat, 0)) - member.seen_n)
        return counts

    async def correct(self, was: Member, now: Member) -> bool:
        """See `ChatStore.correct`."""
        row = self._members.get((was.chat, was.user))
        if row is None or any(getattr(row, name) != getattr(was, name) for name in CORRECTED):
            return False
        for name in CORRECTED:
            setattr(row, name, getattr(now, name))
        return True

    async def raise_watermarks(self, moves: Sequence[Watermarks]) -> None:
        """See `ChatStore.raise_watermarks`."""
        for move in moves:
            member = self._members.get((move.chat, move.user))
            if member is not None:
                member.delivered_seq = max(member.delivered_seq, move.delivered_seq, move.seen_seq)
                member.seen_seq = max(member.seen_seq, move.seen_seq)
                member.seen_n = max(member.seen_n, move.seen_n)

    def _noted(self, notice: Notice | None) -> bool:
        if notice is not None:
            self._notices.put(notice)
        return True

    async def clear(self, chat: str, user: str, seq: int) -> None:
        """See `AudienceStore.clear`."""
        member = self._present(chat, user)
        if member is not None:
            member.cleared_seq = max(member.cleared_seq, seq)

    async def cleared(self, user: str, chats: Sequence[str]) -> dict[str, int]:
        """See `AudienceStore.cleared`."""
        rows = [self._members.get((chat, user)) for chat in chats]
        return {row.chat: row.cleared_seq for row in rows if row is not None and row.cleared_seq}

    async def crowds(self, chat: str, first: int, last: int) -> list[Crowd]:
        """See `AudienceStore.crowds`."""
        floor = max(0, first - 1)

        def within(seq: int) -> int:
            return max(floor, min(seq, last))

        points = Counter(
            (
                within(member.joined_seq),
                within(max(member.delivered_seq, member.seen_seq)),
                floor if member.hides_seen else within(member.seen_seq),
            )
            for member in self._members.values()
            if member.chat == chat and member.left_at is None and not is_device(member.user)
        )
        return [Crowd(*point, count) for point, count in points.items()]

    def _present(self, chat: str, user: str) -> Member | None:
        member = self._members.get((chat, user))
        return member if member is not None and member.left_at is None else None

    def present(self, chat: str, user: str) -> Member | None:
        """The present membership itself, for the stores that share these rows."""
        return self._present(chat, user)

    def rows(self, chat: str) -> list[Member]:
        """All present memberships of a chat themselves."""
        return [member for member in self._members.values() if member.chat == chat and member.left_at is None]
