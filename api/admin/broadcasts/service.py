"""Broadcasts: made, watched, cancelled. The workers tell them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api import creation
from api.admin.access import Staff
from api.admin.broadcasts.schemas import BroadcastPage, BroadcastsQuery, BroadcastView, NewBroadcast, view
from api.clock import now
from api.pagination import invalid_cursor, pack, unpack
from chat.admin import AdminStore
from chat.broadcasts import Broadcast, BroadcastState, BroadcastStore
from chat.errors import Conflict, InvalidId, NotFound
from chat.ids import check_message_id, is_chat_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BroadcastAdmin:
    """The decisions of `/v1/admin/broadcasts`."""

    broadcasts: BroadcastStore
    admin: AdminStore

    async def make(self, wish: NewBroadcast, *, staff: Staff) -> tuple[BroadcastView, bool]:
        """Store a broadcast; a worker takes it up within seconds.

        Returns:
            the broadcast, and whether it is new: the same id again is the one that is there.

        Raises:
            InvalidId: the id is no UUID, or a chat's id none of a chat.
            Conflict: `id_taken`: another broadcast has the id.
        """
        id_ = creation.uuid("broadcast") if wish.id is None else check_message_id(wish.id)
        chats = list(dict.fromkeys(wish.chats))
        if not all(map(is_chat_id, chats)):
            raise InvalidId("'chats' names chats by their ids")
        known = await self.broadcasts.get(id_)
        if known is None:
            total = len(chats) or await self.admin.population()
            broadcast = Broadcast(id=id_, text=wish.text, by=staff.id, at=now(), chats=chats, total=total)
            where = ", ".join(chats[:5]) or "everybody"
            await staff.trail.record("broadcast.made", target=id_, reason=wish.reason, to=where, total=str(total))
            if await self.broadcasts.add(broadcast):
                return view(broadcast), True
            known = await self._get(id_)
        if (known.text, known.chats) != (wish.text, chats):
            raise Conflict("another broadcast has this id", code="id_taken")
        return view(known), creation.resumed()

    async def page(self, query: BroadcastsQuery) -> BroadcastPage:
        """One page, newest first.

        Raises:
            BadInput: `invalid_cursor`.
        """
        found = await self.broadcasts.newest(before=before(query.cursor), limit=query.limit + 1)
        items = [view(broadcast) for broadcast in found[: query.limit]]
        return BroadcastPage(items=items, next=cursor(items[-1].at) if len(found) > query.limit else None)

    async def show(self, broadcast: str) -> BroadcastView:
        """One of them.

        Raises:
            NotFound: `unknown_broadcast`.
        """
        return view(await self._get(broadcast))

    async def cancel(self, broadcast: str, reason: str, *, staff: Staff) -> BroadcastView:
        """Tell nobody else. Who has been told, has been.

        Raises:
            NotFound: `unknown_broadcast`.
        """
        found = await self._get(broadcast)
        if found.state is BroadcastState.RUNNING:
            await staff.trail.record("broadcast.cancelled", target=found.id, reason=reason, told=str(found.told))
            await self.broadcasts.cancel(found.id, now())
        return await self.show(found.id)

    async def _get(self, broadcast: str) -> Broadcast:
        try:
            found = await self.broadcasts.get(check_message_id(broadcast))
        except InvalidId:
            found = None
        if found is None:
            raise NotFound("there is no such broadcast", code="unknown_broadcast")
        return found


def cursor(at: datetime) -> str:
    """Where the page ends that `at` is the last of."""
    return pack((at - _EPOCH) // timedelta(milliseconds=1))


def before(text: str | None) -> datetime | None:
    """The time that a cursor holds.

    Raises:
        BadInput: `invalid_cursor`.
    """
    if text is None:
        return None
    (milliseconds,) = unpack(text, 1)
    if not (milliseconds.isascii() and milliseconds.isdecimal() and len(milliseconds) < 14):
        raise invalid_cursor()
    return _EPOCH + timedelta(milliseconds=int(milliseconds))
