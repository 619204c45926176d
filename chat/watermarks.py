"""Watermarks: how far each member of a chat has received and seen its events.

Two numbers per (chat, member), both `seq` of that chat: `delivered` and `seen`. They only rise, and
`seen <= delivered <= last` (promise P6). Unread counts are differences of `n`, which counts messages only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watermark:
    """What one member has received and seen of one chat, as `seq`; 0 is nothing."""

    delivered: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seen <= self.delivered:
            raise ValueError(
                f"a watermark keeps 0 <= seen <= delivered, not seen={self.seen}, delivered={self.delivered}"
            )


def raise_to(current: Watermark, *, last: int, delivered: int = 0, seen: int = 0) -> Watermark:
    """The watermark after a claim, whatever the claim says.

    A claim never lowers, never passes `last` (the chat's newest `seq`; a client can't have what isn't there), and what
    was seen was delivered.
    """
    seen = max(current.seen, min(seen, last))
    delivered = max(current.delivered, min(delivered, last), seen)
    return Watermark(delivered=delivered, seen=seen)


def unread(*, last_n: int, seen_n: int) -> int:
    """How many messages a member has not seen: `n` counts messages, so edits and system events never inflate it."""
    return max(0, last_n - seen_n)


def slowest(watermarks: list[Watermark]) -> Watermark:
    """The watermark that every one of `watermarks` has reached: what decides a message's status for its sender."""
    if not watermarks:
        return Watermark()
    return Watermark(delivered=min(w.delivered for w in watermarks), seen=min(w.seen for w in watermarks))
