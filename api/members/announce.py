"""Telling the rest of the system that memberships have changed, after the change is stored.

Invalidations and invitations may be lost: who missed an invalidation finds out by its own sweep, and who missed an invitation sees the chat
in `GET /v1/chats`. System events may not: each is noted in the same transaction as its change (`notice`, `ChatStore`), sent
afterwards, and dropped when it is in the chat; what is left is sent by a sweep. It has its id from the beginning, so sending it twice is
harmless (P4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from api.clock import now
from chat import topics
from chat.envelopes import Invalidation, Invitation, Send, System, encode
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import Chat, Notice
from chat.ports import Invalidations, Link, NoticeStore

TIMEOUT = 2.0
"""Seconds that a request spends at most on each of them."""

PER_CHAT = 100
"""System events of a chat that one request sends at most; a sweep reads so many at once."""

SWEEP_EVERY = 2.0
"""Seconds."""

LEFT_FOR = timedelta(seconds=5)
"""An event that is noted for so long is nobody's: its request has ended, or will within `TIMEOUT`."""

OPEN_FOR = timedelta(seconds=30)
"""The same for one that users are added to: each takes as long as a write to the database may take."""

_LATER = frozenset({0x80, 0x97})
"""Reason codes that are not the event's own fault: no bridge is there, or it can't store now."""

PRINCIPAL = "svc-api"
"""Who tells a chat what has changed."""

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Announcer:
    """Publishes invalidations, invitations and system events."""

    invalidations: Invalidations
    link: Link
    notices: NoticeStore

    async def changed(self, chat: str, users: Iterable[str]) -> None:
        """Whoever has cached a decision about these members of `chat` forgets it."""
        await self._news([Invalidation(kind="member", chat=chat, user=user) for user in users])

    async def related(self, user: str) -> None:
        """Whoever has cached what `user` may see of people forgets it."""
        await self._news([Invalidation(kind="relation", user=user)])

    async def _news(self, messages: Sequence[Invalidation]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                for message in messages:
                    await self.invalidations.publish(message)
        except (Unavailable, TimeoutError) as error:
            lost = messages[0]
            _log.warning("invalidation.lost", kind=lost.kind, chat=lost.chat, reason=str(error))

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
        """Put a system event into the chat, of a change that is stored already: from here on it is certain to come."""
        try:
            await self.notices.add(notice(chat, system))
        except Unavailable as error:
            _log.error("system_event.lost", chat=chat, what=system.what, reason=error.reason)
            return
        await self.told(chat)

    async def told(self, chat: str, own: Notice | None = None) -> None:
        """Put what was noted for this chat into it, in its order. What does not come through now is left to the sweep.

        Args:
            own: one that is still open is the caller's own, who adds no more to it.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                for one in await self.notices.of_chat(chat, PER_CHAT):
                    if not one.open or (own is not None and one.id == own.id):
                        await self.send(one)
        except (Unavailable, TimeoutError) as error:
            _log.warning("system_event.delayed", chat=chat, reason=str(error) or "it takes too long")

    async def send(self, one: Notice) -> None:
        """Put one system event into its chat; again is harmless, as it keeps its id.

        Raises:
            Unavailable: it is not certain that it is there; it stays noted.
        """
        answer = await self.link.publish(
            topics.send(one.chat, PRINCIPAL),
            encode(Send(one.id, "system", system=one.system)),
            content_type="application/json",
        )
        if answer.reason_code in _LATER:
            raise Unavailable(answer.reason or answer.code or "the bridge is away")
        if answer.reason_code >= 0x80:
            _log.error("system_event.refused", chat=one.chat, what=one.system.what, reason=answer.reason or answer.code)
        await self.notices.drop(one)


def notice(chat: str, system: System, *, open_: bool = False) -> Notice:
    """What is to be stored with a change, so that its chat is told of it whatever happens then."""
    return Notice(new_message_id(), chat, system, now(), open_)


async def sweep(announcer: Announcer) -> int:
    """Tell what requests have left untold: those that gave up, and those that died with their process.

    Returns:
        how many were told.

    Raises:
        Unavailable: the database, the bridge or the broker does not answer; what is left is found by the next sweep.
    """
    told = 0
    key = ("", "")
    while page := await announcer.notices.after(key, PER_CHAT):
        for one in page:
            if now() - one.at >= (OPEN_FOR if one.open else LEFT_FOR):
                await announcer.send(one)
                told += 1
        key = (page[-1].chat, page[-1].id)
    return told


async def keep_sweeping(announcer: Announcer) -> None:
    """Sweep again and again, until cancelled. Any number of processes may do it: the same event again is no new one."""
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        try:
            told = await sweep(announcer)
        except Unavailable as error:
            _log.warning("system_event.delayed", reason=error.reason)
        else:
            if told:
                _log.info("system_event.swept", events=told)
