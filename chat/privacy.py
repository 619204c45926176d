"""Privacy: what one member is shown of what the others have seen.

Whoever hides what they have seen does not see it of others either. Their own unread counts need their watermark all the same, so it is
stored as ever; what is told of it is decided here and in `bridge/receipt_updates.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from chat.models import Member


def shown_to(viewer: str, members: Iterable[Member]) -> list[Member]:
    """The members as `viewer`, one of them, may know them: what is hidden looks unseen, and is delivered if it was seen."""
    rows = list(members)
    blind = any(member.user == viewer and member.hides_seen for member in rows)
    return [_unseen(member) if member.user != viewer and (blind or member.hides_seen) else member for member in rows]


def _unseen(member: Member) -> Member:
    return replace(member, delivered_seq=max(member.delivered_seq, member.seen_seq), seen_seq=0, seen_n=0)
