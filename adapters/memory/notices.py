"""`NoticeStore` in memory."""

from __future__ import annotations

from adapters.memory.records import copied
from chat.models import Notice


class MemoryNotices:
    """Notices by (chat, id)."""

    def __init__(self) -> None:
        self._notices: dict[tuple[str, str], Notice] = {}

    async def add(self, notice: Notice) -> None:
        """See `NoticeStore.add`."""
        self.put(notice)

    def put(self, notice: Notice) -> None:
        """The same, for the twin of a transaction."""
        fresh = copied(notice)
        known = self._notices.setdefault((notice.chat, notice.id), fresh)
        known.at = fresh.at
        known.system.users = list(dict.fromkeys([*known.system.users, *fresh.system.users]))

    async def of_chat(self, chat: str, limit: int) -> list[Notice]:
        """See `NoticeStore.of_chat`."""
        keys = sorted(key for key in self._notices if key[0] == chat)
        return [copied(self._notices[key]) for key in keys[: max(0, limit)]]

    async def after(self, key: tuple[str, str], limit: int) -> list[Notice]:
        """See `NoticeStore.after`."""
        keys = sorted((one for one in self._notices if "/".join(one) > "/".join(key)), key="/".join)
        return [copied(self._notices[one]) for one in keys[: max(0, limit)]]

    async def drop(self, notice: Notice) -> None:
        """See `NoticeStore.drop`."""
        self._notices.pop((notice.chat, notice.id), None)
