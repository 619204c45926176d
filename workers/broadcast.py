"""Telling everybody: batch by batch, each noted when the broker has taken it; whoever comes next goes on from there.

A batch that was told and not noted (the worker was killed, the database away) is told again: inboxes get the same id twice, which clients
know, and in a chat the event has an id that follows from the broadcast's and the chat's, so it is stored once (P4).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import structlog

from chat import topics
from chat.admin import AccountSearch, AccountState, AdminStore
from chat.broadcasts import Broadcast, BroadcastStore, position_of
from chat.envelopes import Announcement, Send, System, encode
from chat.errors import Unavailable
from chat.ids import message_id_from_ingest
from chat.ports import Link, Published
from workers import metrics

BATCH = 200
"""Users or chats between two notes; all of them are under way at once."""

PRINCIPAL = "svc-worker"
"""Who tells, as far as a chat is told."""

REFUSED_FROM = 0x80
"""MQTT 5 reason codes from here on are refusals [MQTT5 2.4]."""

OURS = frozenset({0x80, 0x87, 0x88, 0x97})
"""Refusals that say nothing about the chat but about us or the moment; with the code of a chat that is not there, 0x87 is one."""

_log = structlog.get_logger("broadcast")


class Broadcaster:
    """Works on broadcasts.

    Args:
        link: opens the link to the broker for as long as it is needed.
        budget: seconds that one run may take; the next one goes on.
        lease: seconds after which a broadcast whose worker has died is taken over.
        now: UTC.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        broadcasts: BroadcastStore,
        admin: AdminStore,
        link: Callable[[], AbstractAsyncContextManager[Link]],
        *,
        budget: float,
        lease: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broadcasts = broadcasts
        self._admin = admin
        self._link = link
        self._budget = budget
        self._lease = timedelta(seconds=lease)
        self._now = now
        self._monotonic = monotonic

    async def run(self) -> Broadcast | None:
        """Work on the broadcast that has waited longest; how far it came. None when there is none to work on.

        Raises:
            Unavailable: the broker or the database does not answer; it is gone on with when the lease is over.
        """
        deadline = self._monotonic() + self._budget
        now = self._now()
        broadcast = await self._broadcasts.claim(now=now, until=now + self._lease)
        if broadcast is None:
            return None
        async with self._link() as link:
            while broadcast.ended_at is None:
                over = self._monotonic() >= deadline
                following = await self._step(broadcast, link) if not over else await self._release(broadcast)
                if following is None:
                    _log.info("broadcast.left", id=broadcast.id)  # cancelled, or another has gone on with it
                    return broadcast
                broadcast = following
                if over:
                    break
        return broadcast

    async def _release(self, broadcast: Broadcast) -> Broadcast | None:
        """The next run, of whichever worker, may go on at once."""
        return await self._broadcasts.advance(
            broadcast, position=broadcast.position, told=0, refused=0, ended_at=None, until=self._now()
        )

    async def _step(self, broadcast: Broadcast, link: Link) -> Broadcast | None:
        """One batch, and the note that it is done."""
        if broadcast.chats:
            first = position_of(broadcast.chats, broadcast.position)
            some = broadcast.chats[first : first + BATCH]
            answers = await self._tell_chats(broadcast, some, link)
            position, last = str(first + len(some)), first + len(some) >= len(broadcast.chats)
        else:
            search = AccountSearch(state=AccountState.ACTIVE)
            found = await self._admin.accounts(search, after=broadcast.position, limit=BATCH)
            some = [account.id for account in found]
            answers = await self._tell_users(broadcast, some, link)
            position, last = some[-1] if some else broadcast.position, len(some) < BATCH
        refused = sum(answer.reason_code >= REFUSED_FROM for answer in answers)
        metrics.TOLD.inc(len(some) - refused)
        now = self._now()
        return await self._broadcasts.advance(
            broadcast,
            position=position,
            told=len(some) - refused,
            refused=refused,
            ended_at=now if last else None,
            until=now + self._lease,
        )

    async def _tell_users(self, broadcast: Broadcast, users: Sequence[str], link: Link) -> list[Published]:
        payload = encode(Announcement(id=broadcast.id, text=broadcast.text, at=broadcast.at))
        return await _all(link, [(topics.inbox(user), payload) for user in users])

    async def _tell_chats(self, broadcast: Broadcast, chats: Sequence[str], link: Link) -> list[Published]:
        system = System("announcement", PRINCIPAL, text=broadcast.text)
        rows = [
            (chat, Send(message_id_from_ingest(f"broadcast {broadcast.id} {chat}"), "system", system=system))
            for chat in chats
        ]
        return await _all(link, [(topics.send(chat, PRINCIPAL), encode(send)) for chat, send in rows])


async def _all(link: Link, messages: Sequence[tuple[str, bytes]]) -> list[Published]:
    """Publish; what fails through our fault fails the batch, which is told again."""
    answers = await asyncio.gather(
        *(link.publish(topic, payload, content_type=topics.JSON_CONTENT_TYPE) for topic, payload in messages)
    )
    for answer in answers:
        if answer.reason_code in OURS and answer.code != "unknown_chat":
            raise Unavailable(f"the broker answers {answer.reason_code:#04x} {answer.code or ''}".rstrip())
    return list(answers)
