"""`n` made right again where a slot failed (P6: unread counts follow from `n`).

A batch is given its `n` before it is stored. When one of its messages fails in the middle (the database refuses it, its id is stored
already, another bridge has used its `seq`), those behind it in the same chat have counted it. Nobody has been told of them yet: what is
above the head that a bridge knows is acknowledged and fanned out only after the head has been read anew, and that is when
`bridge.order` comes here.

Why this may be done at any time, by several at once, and be broken off anywhere: only slots without a hole below them are counted;
what is stored in them never changes its type, so everybody who counts finds the same numbers; and a slot that was not set right
yet is found by whoever takes up the chat next, by its number alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog
from msgspec.structs import replace

from bridge.repeats import Stored, stored
from chat.envelopes import Event
from chat.models import Slot
from chat.ports import ChatStore, MessageStore

MEMBERS_PER_PAGE = 1_000

_event_of = msgspec.json.Decoder(Event)
_log = structlog.get_logger("recounting")


def counted(slots: Mapping[int, Slot]) -> dict[int, Slot]:
    """Dense slots as they should be: each has the `n` of the one before it, and one more if it counts.

    Args:
        slots: without holes. The lowest is taken as it is, unless it is the first of its chat: it is older than any batch that may
            have failed (`order.WINDOW`).
    """
    right: dict[int, Slot] = {}
    n: int | None = None
    for seq in sorted(slots):
        slot = slots[seq]
        if n is None:
            n = int(slot.counts) if seq == 1 else slot.n
        else:
            n += slot.counts
        right[seq] = slot if slot.n == n else replace(slot, n=n)
    return right


def renumbered(event: Stored, n: int) -> Stored:
    """A stored event that was given another `n`."""
    if event.n == n:
        return event
    whole = _event_of.decode(event.whole)
    return stored(replace(whole, n=n, only=event.to), repeat=event.repeat)


class Recounting:
    """Sets right what is stored.

    Args:
        messages: whose `n` it is.
        chats: whose members may have seen one that was wrong; None: nobody has.
    """

    def __init__(self, messages: MessageStore, chats: ChatStore | None) -> None:
        self._messages = messages
        self._chats = chats

    async def correct(self, chat: str, slots: Mapping[int, Slot]) -> dict[int, Slot]:
        """The slots as they are afterwards; costs nothing where they are right.

        Raises:
            Unavailable: the store does not answer; some may have been set right.
        """
        right = counted(slots)
        wrong = {seq: slot.n for seq, slot in right.items() if slot.n != slots[seq].n}
        if wrong:
            _log.warning("chat.recounted", chat=chat, first=min(wrong), slots=len(wrong))
            # The slots are what shows that there is something to do: so the members are set right before them, and once more for
            # who has read the old number meanwhile.
            await self._members(chat, right)
            await self._messages.renumber(chat, wrong)
            await self._members(chat, right)
        return right

    async def _members(self, chat: str, right: Mapping[int, Slot]) -> None:
        """Whoever has seen up to one of these slots has seen as many messages as it says; also who has left."""
        after = (chat, "")
        while self._chats is not None:
            page = [one for one in await self._chats.scan(after=after, limit=MEMBERS_PER_PAGE) if one.chat == chat]
            for member in page:
                slot = right.get(member.seen_seq)
                if slot is not None and slot.n != member.seen_n:
                    # One that has moved meanwhile has done so with a number read anew.
                    await self._chats.correct(member, replace(member, seen_n=slot.n))
            if len(page) < MEMBERS_PER_PAGE:
                return
            after = (chat, page[-1].user)
