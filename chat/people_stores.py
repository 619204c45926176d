"""Ports to the stores of contacts, blocks and invitations, and of what changes several memberships at once.

As `chat.ports`: every method may raise `chat.errors.Unavailable` (transient; nothing or all of it happened). What is called
*one transaction* is done or not done: a process that is killed in the middle leaves nothing half.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from chat.models import Member, Notice
from chat.people import Block, Contact, InvitationLink, JoinRequest, Place

Pair = tuple[str, str]
"""(owner, user)."""


class ContactStore(Protocol):
    """Who knows whom. One document per pair."""

    async def put(self, contact: Contact) -> tuple[Contact, bool]:
        """Add a contact, or give one another name. What is stored now, and whether it is new."""
        ...

    async def drop(self, owner: str, user: str) -> bool:
        """Forget a contact. False if there was none."""
        ...

    async def page(self, owner: str, *, after: str = "", limit: int) -> list[Contact]:
        """The contacts of one user by user id, from behind `after`."""
        ...

    async def count(self, owner: str) -> int:
        """How many contacts a user has."""
        ...

    async def among(self, pairs: Sequence[Pair]) -> set[Pair]:
        """Those of the pairs that are contacts, in one query."""
        ...


class BlockStore(Protocol):
    """Who wants to hear nothing from whom. One document per pair."""

    async def put(self, block: Block) -> bool:
        """Block somebody. False if they were blocked already."""
        ...

    async def drop(self, owner: str, user: str) -> bool:
        """Unblock somebody. False if they were not blocked."""
        ...

    async def page(self, owner: str, *, after: str = "", limit: int) -> list[Block]:
        """Whom a user has blocked, by user id, from behind `after`."""
        ...

    async def count(self, owner: str) -> int:
        """How many a user has blocked."""
        ...

    async def among(self, pairs: Sequence[Pair]) -> set[Pair]:
        """Those of the pairs that are blocks, in one query."""
        ...


class InvitationStore(Protocol):
    """Links into chats, and those who wait at the door."""

    async def add(self, link: InvitationLink) -> None:
        """Store a new link."""
        ...

    async def by_token(self, token_hash: str) -> InvitationLink | None:
        """The link that has this token, whether or not it is still good."""
        ...

    async def of_chat(self, chat: str, *, now: datetime, limit: int) -> list[InvitationLink]:
        """The links of a chat that are neither revoked nor expired, the newest first."""
        ...

    async def revoke(self, chat: str, link: str, at: datetime) -> bool:
        """End a link; one that has ended stays so. False if the chat has no such link."""
        ...

    async def requests(self, chat: str, *, after: str = "", limit: int) -> list[JoinRequest]:
        """Who waits to be let in, by user id, from behind `after`."""
        ...

    async def request(self, chat: str, user: str) -> JoinRequest | None:
        """What one user has asked."""
        ...

    async def requests_of(self, user: str, *, limit: int) -> list[JoinRequest]:
        """What a user has asked and nobody has answered, by chat."""
        ...

    async def withdraw(self, chat: str, user: str) -> bool:
        """Take a request away. False if there was none."""
        ...

    async def ask(self, request: JoinRequest, *, now: datetime, most: int) -> bool:
        """Ask by a link, in one transaction: one more use of it, and the request. False if it was asked before: no use is counted.

        Raises:
            NotFound: `unknown_invitation`: the link is not good (any more).
            Conflict: `too_many_requests`: `most` are waiting.
        """
        ...


class MembershipStore(Protocol):
    """Changes of several memberships at once, each of them one transaction; and the lists of one member.

    What a change is told by (`notice`, `notices`, as of `ChatStore`) is stored with it: both or neither, and only if something was changed.
    """

    async def join(self, members: Sequence[Member], *, most: int, notice: Notice | None = None) -> list[str]:
        """Bring users into one chat, as `ChatStore.add_member` does: all of them or none. Those who were not in it before: `notice` names them.

        Raises:
            Conflict: `too_many_members`: the chat would have more than `most`.
        """
        ...

    async def accept(
        self, link: str, member: Member, *, now: datetime, most: int, notice: Notice | None = None
    ) -> bool:
        """Come in by a link: one more use of it, and the membership. False if already present: no use is counted.

        Raises:
            NotFound: `unknown_invitation`: the link is not good (any more).
            Conflict: `too_many_members`.
        """
        ...

    async def approve(self, member: Member, *, most: int, notice: Notice | None = None) -> bool:
        """Let in who has asked: the request goes, the membership comes. False if nobody of that name waits.

        Raises:
            Conflict: `too_many_members`.
        """
        ...

    async def remove(self, chat: str, user: str, at: datetime, *, by: str, notice: Notice | None = None) -> bool:
        """Take out a member who does not own the chat. False if there is no such one."""
        ...

    async def leave(
        self, chat: str, user: str, at: datetime, *, notice: Notice | None = None, inherits: Notice | None = None
    ) -> tuple[bool, str | None]:
        """End one's own membership. The oldest admin, else the oldest member, inherits from an owner; devices and readers don't.

        `inherits` tells of the heir, and names them. When nobody stays, the chat's links end and its requests go with the last one.

        Returns:
            whether there was a membership, and who owns the chat now if that has changed.

        Raises:
            Conflict: `no_successor`: there are only readers.
        """
        ...

    async def hand_over(self, chat: str, owner: str, heir: str, *, notices: Sequence[Notice] = ()) -> bool:
        """Make `heir` the owner and `owner` an admin. False unless the one owns it and the other is present."""
        ...

    async def arrange(self, chat: str, user: str, changes: dict[str, datetime | None]) -> bool:
        """Set or take away `muted_until`, `pinned_at`, `archived_at` of a present member (one write). False if there is none."""
        ...

    async def set_hides_seen(self, user: str, *, hides: bool) -> list[str]:
        """Note of a user, and in every membership of theirs, also in ended ones, whether they hide what they have seen; the chats they are in now."""
        ...

    async def places(self, user: str) -> list[Place]:
        """All chats of a user, by id, with what their order in a list hangs on."""
        ...

    async def of_user(self, user: str, chats: Sequence[str]) -> dict[str, Member]:
        """The present memberships of a user in these chats."""
        ...

    async def among(self, chat: str, users: Sequence[str]) -> dict[str, Member]:
        """The present memberships of these users in a chat, in one query."""
        ...

    async def pairs(self, chats: Sequence[str]) -> dict[str, list[str]]:
        """The users of each of these direct chats."""
        ...

    async def count(self, chat: str) -> int:
        """How many are present."""
        ...
