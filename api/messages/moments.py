"""History by time: which `seq` a moment is.

Times rise with `seq` in a chat (`bridge/order.py`), and an index on them would cost every insert 12 to 18 %. So the moment is looked for among
the slots, some at a time: a chat of a million events takes five questions along the index that is there.
"""

from __future__ import annotations

from datetime import datetime

from chat.ports import MessageStore

PROBES = 16


async def first_from(messages: MessageStore, chat: str, moment: datetime, *, last: int) -> int:
    """The lowest `seq` whose event was stored at `moment` or later; one behind `last` when there is none.

    Args:
        last: the chat's newest `seq`.
    """
    oldest = await messages.after(chat, 0, 1)
    if not oldest or oldest[0].at >= moment:
        return oldest[0].seq if oldest else last + 1
    low, high = oldest[0].seq, last + 1  # before the moment; at or after it
    while high - low > 1:
        step = max(1, (high - low) // (PROBES + 1))
        times = await messages.times(chat, [*range(low + step, high, step)][: PROBES + 1])
        if not times:
            break  # holes only
        low = max((seq for seq, at in times.items() if at < moment), default=low)
        high = min((seq for seq, at in times.items() if at >= moment and seq > low), default=high)
    return high
