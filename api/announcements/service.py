"""Announcements to everybody, for those who had no session at the broker when they came."""

from __future__ import annotations

from dataclasses import dataclass

from api.admin.broadcasts.service import before, cursor
from api.announcements.schemas import AnnouncementPage, AnnouncementsQuery
from chat.broadcasts import BroadcastStore
from chat.envelopes import Announcement


@dataclass(frozen=True, slots=True)
class AnnouncementService:
    """The decisions of `/v1/announcements`."""

    broadcasts: BroadcastStore

    async def page(self, query: AnnouncementsQuery) -> AnnouncementPage:
        """One page, newest first.

        Raises:
            BadInput: `invalid_cursor`.
        """
        found = await self.broadcasts.newest(before=before(query.cursor), limit=query.limit + 1, everybody=True)
        items = [Announcement(id=one.id, text=one.text, at=one.at) for one in found[: query.limit]]
        return AnnouncementPage(items=items, next=cursor(items[-1].at) if len(found) > query.limit else None)
