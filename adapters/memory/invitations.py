"""`InvitationStore` in memory."""

from __future__ import annotations

from datetime import datetime

from adapters.memory.records import copied
from chat.errors import Conflict, NotFound
from chat.people import InvitationLink, JoinRequest, good


class MemoryInvitations:
    """Links by id, requests by (chat, user)."""

    def __init__(self) -> None:
        self._links: dict[str, InvitationLink] = {}
        self._requests: dict[tuple[str, str], JoinRequest] = {}

    async def add(self, link: InvitationLink) -> None:
        """See `InvitationStore.add`."""
        self._links[link.id] = copied(link)

    async def by_token(self, token_hash: str) -> InvitationLink | None:
        """See `InvitationStore.by_token`."""
        return next((copied(link) for link in self._links.values() if link.token_hash == token_hash), None)

    async def of_chat(self, chat: str, *, now: datetime, limit: int) -> list[InvitationLink]:
        """See `InvitationStore.of_chat`."""
        found = [
            copied(link)
            for link in self._links.values()
            if link.chat == chat and link.revoked_at is None and link.expires_at > now
        ]
        return sorted(found, key=lambda link: link.created_at, reverse=True)[: max(0, limit)]

    async def revoke(self, chat: str, link: str, at: datetime) -> bool:
        """See `InvitationStore.revoke`."""
        found = self._links.get(link)
        if found is None or found.chat != chat:
            return False
        found.revoked_at = found.revoked_at or at
        return True

    async def requests(self, chat: str, *, after: str = "", limit: int) -> list[JoinRequest]:
        """See `InvitationStore.requests`."""
        rows = [row for (where, user), row in sorted(self._requests.items()) if where == chat and user > after]
        return [copied(row) for row in rows[: max(0, limit)]]

    async def request(self, chat: str, user: str) -> JoinRequest | None:
        """See `InvitationStore.request`."""
        found = self._requests.get((chat, user))
        return None if found is None else copied(found)

    async def requests_of(self, user: str, *, limit: int) -> list[JoinRequest]:
        """See `InvitationStore.requests_of`."""
        rows = [copied(row) for (_, who), row in sorted(self._requests.items()) if who == user]
        return rows[: max(0, limit)]

    async def withdraw(self, chat: str, user: str) -> bool:
        """See `InvitationStore.withdraw`."""
        return self._requests.pop((chat, user), None) is not None

    async def ask(self, request: JoinRequest, *, now: datetime, most: int) -> bool:
        """See `InvitationStore.ask`."""
        if (request.chat, request.user) in self._requests:
            return False
        self.check(request.link, now)
        if sum(chat == request.chat for chat, _ in self._requests) >= most:
            raise Conflict("too many wait to be let in already", code="too_many_requests")
        self._links[request.link].uses += 1
        self._requests[request.chat, request.user] = copied(request)
        return True

    def check(self, link: str, now: datetime) -> None:
        """That somebody may come by the link.

        Raises:
            NotFound: `unknown_invitation`.
        """
        if link not in self._links or not good(self._links[link], now):
            raise NotFound("this invitation is not valid (any more)", code="unknown_invitation")

    def used(self, link: str) -> None:
        """Somebody came by it."""
        self._links[link].uses += 1

    def close(self, chat: str, at: datetime) -> None:
        """Nobody is left in the chat: nobody comes any more."""
        for link in self._links.values():
            if link.chat == chat:
                link.revoked_at = link.revoked_at or at
        self._requests = {key: row for key, row in self._requests.items() if key[0] != chat}
