"""People as they are to each other, and the ways into a chat: plain records, as in `chat.models`."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec.structs import replace

from chat.models import Notice, Role


class Contact(msgspec.Struct):
    """`owner` knows `user`. Nobody else is told.

    Attributes:
        name: what the owner calls them; None: as they call themselves.
    """

    owner: str
    user: str
    added_at: datetime
    name: str | None = None


class Block(msgspec.Struct):
    """`owner` wants to hear nothing more from `user`."""

    owner: str
    user: str
    at: datetime


class InvitationLink(msgspec.Struct):
    """A way into a group or channel for whoever has its token.

    Attributes:
        token_hash: SHA-256 (hex) of the token: 256 random bits, so that there is nothing to stretch.
        role: what those who come by it become.
        approval: whoever shows the token asks to join, and a manager decides.
        max_uses: how many may come, or ask, by it; None for any number.
        uses: how many have.
    """

    id: str
    chat: str
    token_hash: str
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime
    approval: bool = False
    max_uses: int | None = None
    uses: int = 0
    revoked_at: datetime | None = None


class JoinRequest(msgspec.Struct):
    """`user` has asked to join `chat` by `link`, and waits.

    Attributes:
        role: what they become when they are let in.
    """

    chat: str
    user: str
    link: str
    role: Role
    at: datetime


class Place(msgspec.Struct, frozen=True):
    """Where a chat stands in the list of one member.

    Attributes:
        active_at: its newest event, or its beginning.
    """

    chat: str
    active_at: datetime
    pinned_at: datetime | None = None
    archived_at: datetime | None = None


def good(link: InvitationLink, now: datetime) -> bool:
    """Whether somebody may still come by this link."""
    return link.revoked_at is None and link.expires_at > now and (link.max_uses is None or link.uses < link.max_uses)


def naming(notice: Notice | None, *users: str) -> Notice | None:
    """The same notice about these users: whom it is about is known only when the change is made."""
    return None if notice is None else replace(notice, system=replace(notice.system, users=list(users)))
