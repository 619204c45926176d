"""Who is in a chat, cached: the roster of each chat that has been in use lately, with the watermarks of its members.

Rosters are cut by invalidation messages, all of them when messages may have been missed, and each after a minute in any case.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from chat.envelopes import Invalidation
from chat.ids import is_device, is_direct_chat
from chat.models import Member, Role
from chat.people_stores import BlockStore
from chat.permissions import WRITERS, may_send
from chat.ports import ChatStore, Invalidations
from chat.watermarks import Watermark

MAX_CHATS = 10_000
MAX_MEMBERS = 500_000
"""Rosters kept, and members in all of them: about 300 MB at most. The ones longest unused go first."""

LIFETIME = 60.0
"""Seconds: an invalidation may be lost, and then this is how long somebody who left can look present."""

_TOGETHER = 100
"""Chats whose members are loaded in one query: small ones cost next to nothing then, and of large ones not too much comes at once."""


class Roster:
    """The present members of one chat.

    Args:
        members: as stored.
        loaded_at: seconds of the cache's clock.
        blocked: of a direct chat: one of the two has blocked the other.

    Attributes:
        people: those who are not devices: they read, so they count for receipts and pushes.
    """

    __slots__ = ("_members", "_writers", "blocked", "loaded_at", "people")

    def __init__(self, members: Iterable[Member], loaded_at: float, *, blocked: bool = False) -> None:
        self._members = {member.user: member for member in members}
        self._writers = {user for user, member in self._members.items() if member.role in WRITERS}
        self.people = [user for user in self._members if not is_device(user)]
        self.loaded_at = loaded_at
        self.blocked = blocked

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, user: str) -> bool:
        return user in self._members

    def may_send(self, user: str, type_: str) -> bool:
        """Whether `user` is present in a role that sends such events."""
        return user in self._writers or may_send(self.role(user), type_)

    def role(self, user: str) -> Role | None:
        """The role of a present member; None for others."""
        member = self._members.get(user)
        return None if member is None else member.role

    def seen(self, user: str) -> int:
        """The `seen` watermark of a present member."""
        return self._members[user].seen_seq

    def watermark(self, user: str) -> Watermark:
        """How far a present member has come, as far as this bridge knows (never further than is stored)."""
        member = self._members[user]
        return Watermark(delivered=max(member.delivered_seq, member.seen_seq), seen=member.seen_seq)

    def raised(self, user: str, *, delivered: int, seen: int) -> None:
        """A watermark has been stored."""
        member = self._members.get(user)
        if member is not None:
            member.delivered_seq = max(member.delivered_seq, delivered)
            member.seen_seq = max(member.seen_seq, seen)

    def hides_seen(self, user: str) -> bool:
        """Whether a present member hides what they have seen."""
        return self._members[user].hides_seen


class Members:
    """Rosters by chat.

    Args:
        chats: where they are loaded from.
        blocks: who has blocked whom, for direct chats.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        chats: ChatStore,
        blocks: BlockStore,
        *,
        max_chats: int = MAX_CHATS,
        max_members: int = MAX_MEMBERS,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chats = chats
        self._blocks = blocks
        self._max_chats = max_chats
        self._max_members = max_members
        self._lifetime = lifetime
        self._clock = clock
        self._rosters: OrderedDict[str, Roster] = OrderedDict()
        self._total = 0
        self._loading: dict[str, object] = {}

    async def rosters(self, chats: Iterable[str]) -> dict[str, Roster]:
        """The rosters of the chats that exist; a chat that does not is absent.

        Raises:
            Unavailable: the store does not answer.
        """
        found: dict[str, Roster] = {}
        missing: list[str] = []
        oldest = self._clock() - self._lifetime
        for chat in chats:
            roster = self._rosters.get(chat)
            if roster is None or roster.loaded_at < oldest:
                missing.append(chat)
            else:
                self._rosters.move_to_end(chat)
                found[chat] = roster
        if missing:
            found |= await self._load(missing)
        return found

    async def reload(self, chats: Iterable[str]) -> dict[str, Roster]:
        """The same, from the store: for somebody who is not in the roster but may have joined a moment ago."""
        return await self._load(list(chats))

    def invalidate(self, chat: str | None) -> None:
        """Forget one roster, or all of them; also those that are just being loaded, which may have been read before the change."""
        if chat is None:
            self._rosters.clear()
            self._loading.clear()
            self._total = 0
        else:
            self._loading.pop(chat, None)
            self._forget(chat)

    async def listen(self, invalidations: Invalidations) -> None:
        """Follow the invalidation messages until cancelled."""
        async for message in invalidations.listen():
            self.apply(message)

    def apply(self, message: Invalidation | None) -> None:
        """One invalidation message; None: some may have been missed."""
        if message is None:
            self.invalidate(None)
        elif message.kind == "member":
            self.invalidate(message.chat)

    async def _load(self, chats: Sequence[str]) -> dict[str, Roster]:
        token = object()
        self._loading.update(dict.fromkeys(chats, token))
        now = self._clock()
        found: dict[str, Roster] = {}
        try:
            existing = list(await self._chats.get_many(chats))
            for start in range(0, len(existing), _TOGETHER):
                some = existing[start : start + _TOGETHER]
                members = await self._chats.members_by_chat(some)
                blocked = await self._blocked(members)
                found.update({chat: Roster(members.get(chat, ()), now, blocked=chat in blocked) for chat in some})
            for chat, roster in found.items():
                if self._loading.get(chat) is token:
                    self._keep(chat, roster)
        finally:
            for chat in chats:
                if self._loading.get(chat) is token:
                    del self._loading[chat]
        return found

    async def _blocked(self, chats: Mapping[str, Sequence[Member]]) -> set[str]:
        """The direct chats in which one has blocked the other: one query for all of them, none where there is no direct chat."""
        pairs = {
            (one.user, other.user): chat
            for chat, members in chats.items()
            if is_direct_chat(chat)
            for one in members
            for other in members
            if one is not other
        }
        return {pairs[pair] for pair in await self._blocks.among(list(pairs))} if pairs else set()

    def _keep(self, chat: str, roster: Roster) -> None:
        self._forget(chat)
        self._rosters[chat] = roster
        self._total += len(roster)
        while len(self._rosters) > self._max_chats or (self._total > self._max_members and len(self._rosters) > 1):
            self._forget(next(iter(self._rosters)))

    def _forget(self, chat: str) -> None:
        roster = self._rosters.pop(chat, None)
        if roster is not None:
            self._total -= len(roster)
