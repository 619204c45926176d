"""`HistoryStore` in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from chat import folding
from chat.events import Event
from chat.folding import Echoes


class MemoryReads:
    """Reads events in other ways than by `seq`.

    Args:
        every: all events of a chat as they are shown, in order of `seq`.
    """

    def __init__(self, every: Callable[[str], Sequence[Event]]) -> None:
        self.__every = every

    async def times(self, chat: str, seqs: Sequence[int]) -> dict[int, datetime]:
        """See `HistoryStore.times`."""
        wanted = set(seqs)
        return {event.seq: event.at for event in self.__every(chat) if event.seq in wanted}

    async def typed(
        self, chat: str, types: Collection[str], viewer: str, *, above: int, below: int, limit: int, newest: bool
    ) -> list[Event]:
        """See `HistoryStore.typed`."""
        events = self.__every(chat)
        seqs = [event.seq for event in events]
        within = events[bisect_right(seqs, above) : bisect_left(seqs, below)]
        found = [event for event in within if event.type in types and event.only in (None, viewer)]
        return found[max(0, len(found) - max(0, limit)) :] if newest else found[: max(0, limit)]

    async def replies(self, chat: str, root: str, viewer: str, *, above: int, limit: int) -> list[Event]:
        """See `HistoryStore.replies`."""
        found = [
            event
            for event in self.__every(chat)
            if event.reply_to == root and event.seq > above and event.only in (None, viewer)
        ]
        return found[: max(0, limit)]

    async def echoes(self, chat: str, ids: Collection[str], viewer: str) -> Echoes:
        """See `HistoryStore.echoes`."""
        found = folding.echoes(self.__every(chat), viewer)
        return Echoes(
            {id_: rows for id_, rows in found.reactions.items() if id_ in ids},
            {id_: count for id_, count in found.replies.items() if id_ in ids},
        )
