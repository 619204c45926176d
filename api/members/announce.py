"""Telling the rest of the system that memberships have changed, after the change is stored.

No way of telling is relied upon: who missed an invalidation finds out by its own sweep, who missed an invitation sees the chat in
`GET /v1/chats`, and who is in a chat, in which role, is answered by its members, not by the system events that tell of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from chat import topics
from chat.envelopes import Invalidation, Invitation, Send, System, encode
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import Chat
from chat.ports import Invalidations, Link

TIMEOUT = 2.0
"""Seconds that a request spends at most on each of them."""

PRINCIPAL = "svc-api"
"""Who tells a chat what has changed."""

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Announcer:
    """Publishes invalidations, invitations and system events."""

    invalidations: Invalidations
    link: Link

    async def changed(self, chat: str, users: Iterable[str]) -> None:
        """Whoever has cached a decision about these members of `chat` forgets it."""
        try:
            async with asyncio.timeout(TIMEOUT):
                for user in users:
                    await self.invalidations.publish(Invalidation(kind="member", chat=chat, user=user))
        except (Unavailable, TimeoutError) as error:
            _log.warning("invalidation.lost", kind="member", chat=chat, reason=str(error))

    async def invite(self, chat: Chat, users: Iterable[str], *, by: str) -> None:
        """Put an invitation on the inbox of each of `users`."""
        payload = encode(Invitation(chat=chat.id, kind=chat.kind.value, by=by, title=chat.title))
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(
                    *(self.link.publish(topics.inbox(user), payload, content_type="application/json") for user in users)
                )
        except (Unavailable, TimeoutError) as error:
            _log.warning("invitation.lost", chat=chat.id, reason=str(error))

    async def tell(self, chat: str, system: System) -> None:
        """Put a system event into the chat, where it has its place in the order like every other event."""
        send = Send(new_message_id(), "system", system=system)
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self.link.publish(
                    topics.send(chat, PRINCIPAL), encode(send), content_type="application/json"
                )
        except (Unavailable, TimeoutError) as error:
            _log.warning("system_event.lost", chat=chat, what=system.what, reason=str(error))
            return
        if answer.reason_code >= 0x80:
            _log.warning("system_event.lost", chat=chat, what=system.what, reason=answer.reason or answer.code)
