"""Catching up: what a cursor gets, for MQTT and REST alike (promise P7)."""

from __future__ import annotations

from chat.envelopes import Event, Reset, SyncPage
from chat.models import Head


def reset_reason(cursor: int, head: Head, *, member: bool) -> str | None:
    """Why a cursor can't be used; None when it can.

    `unknown_chat` hides whether the chat exists from somebody who is no member. `ahead` is a cursor past the chat's newest
    event: it belongs to another history.
    """
    if not member:
        return "unknown_chat"
    if cursor > head.seq:
        return "ahead"
    return None


def page(
    chat: str, cursor: int, events: list[Event], head: Head, *, limit: int, req: str | None = None
) -> SyncPage | Reset:
    """One page behind `cursor`.

    Args:
        events: stored events with `seq > cursor`, rising; at most `limit` of them.
        head: the newest `seq` when the events were read.

    Returns:
        the page, or a reset `too_old` when the first events behind the cursor are no longer stored (retention).
    """
    if events and events[0].seq != cursor + 1:
        return Reset(chat=chat, reason="too_old", req=req)
    if not events and cursor < head.seq:
        return Reset(chat=chat, reason="too_old", req=req)
    last = events[-1].seq if events else cursor
    return SyncPage(
        chat=chat,
        events=events,
        next=last,
        limited=len(events) == limit and last < head.seq,
        last=max(head.seq, last),
        req=req,
    )
