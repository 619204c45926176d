"""Sync: cursors up, pages down (P7). One page or reset per cursor and request; the client asks again with `next`."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Awaitable

import structlog

from adapters.backoff import Backoff
from bridge.metrics import Metrics
from bridge.order import Order
from bridge.rejects import Refusal, Rejects
from bridge.trouble import trouble
from chat import sync, topics, views
from chat.envelopes import Event, Reset, SyncDone, SyncPage, SyncRequest, encode, read_sync
from chat.errors import PabalError, Unavailable
from chat.models import Head
from chat.ports import ChatStore, Delivery, Link, MessageStore, Published

LANES = 8
"""Requests that are answered at the same time. A user's requests share a lane, so their answers are in order."""

MAX_WAITING = 10_000
"""Requests that wait, in all lanes."""

PAGE_BYTES = 128 * 1024
"""A page ends early beyond so many bytes, half of what the broker takes in a packet: 500 events of 64 KiB would be far more."""

PAGES_ON_THE_WAY = 16
"""Pages that the broker has not taken yet, per lane."""

_log = structlog.get_logger("sync")


class Syncing:
    """Answers sync requests.

    Args:
        chats: asked, each time, who is a member now (P5).
        messages: where the events are.
        order: fills holes.
        link: to the broker.
        rejects: tells whose request is refused.
    """

    def __init__(
        self, *, chats: ChatStore, messages: MessageStore, order: Order, link: Link, rejects: Rejects, metrics: Metrics
    ) -> None:
        self._chats = chats
        self._messages = messages
        self._order = order
        self._link = link
        self._rejects = rejects
        self._metrics = metrics
        self._lanes: list[deque[tuple[str, Delivery]]] = [deque() for _ in range(LANES)]
        self._wakes = [asyncio.Event() for _ in range(LANES)]

    def offer(self, delivery: Delivery, *, user: str) -> None:
        """Take a request; it is settled when its answers are with the broker."""
        if sum(map(len, self._lanes)) >= MAX_WAITING:
            full = Unavailable("too many sync requests wait")
            delivery.settle(full.reason_code, full.reason, full.code)
            return
        lane = zlib.crc32(user.encode()) % LANES
        self._lanes[lane].append((user, delivery))
        self._wakes[lane].set()

    async def run(self) -> None:
        """Answer requests until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in range(LANES):
                group.create_task(self._run_lane(lane))

    async def _run_lane(self, lane: int) -> None:
        line, wake = self._lanes[lane], self._wakes[lane]
        while True:
            await wake.wait()
            wake.clear()
            while line:
                user, delivery = line.popleft()
                try:
                    await self._answer(user, delivery)
                except Exception as error:  # noqa: BLE001 - one request that fails unexpectedly must not end its lane
                    _log.error("sync.failed", user=user, **trouble(error))
                    later = Unavailable("the sync could not be answered now")
                    delivery.settle(later.reason_code, later.reason, later.code)

    async def _answer(self, user: str, delivery: Delivery) -> None:
        try:
            request = read_sync(delivery.payload)
        except PabalError as error:
            await self._rejects.tell([Refusal(delivery, error, user)])
            return
        backoff = Backoff(first=0.05, most=2.0)
        while True:
            try:
                await self.answer(user, request)
                delivery.settle(0, None, None)
            except Unavailable as error:
                # Held back until it works. If it was the link, the request comes again or is gone; its answers are harmless twice.
                self._metrics.retries.labels("sync").inc()
                _log.warning("sync.retried", user=user, reason=error.reason)
                await asyncio.sleep(backoff.next())
                continue
            return

    async def answer(self, user: str, request: SyncRequest) -> None:
        """Put one page or reset per cursor on the user's inbox, then `sync_done`.

        Raises:
            Unavailable: the store or the link does not answer; some answers may have been sent.
        """
        cursors = request.cursors
        present = {chat for chat, _ in await self._chats.memberships_among([(chat, user) for chat in cursors])}
        chats = [chat for chat in cursors if chat in present]
        heads, cleared = await asyncio.gather(self._messages.heads(chats), self._chats.cleared(user, chats))
        sent: deque[Awaitable[Published]] = deque()
        for chat, cursor in cursors.items():
            head = heads.get(chat, Head())
            answer = await self._one(chat, cursor, head, request, member=chat in present)
            if isinstance(answer, SyncPage):
                answer.events = [views.caught_up(event, user, cleared.get(chat, 0)) for event in answer.events]
            sent.append(self._link.publish(topics.inbox(user), encode(answer)))
            if len(sent) >= PAGES_ON_THE_WAY:
                _taken(await sent.popleft())
        sent.append(self._link.publish(topics.inbox(user), encode(SyncDone(req=request.req))))
        for answer_taken in sent:
            _taken(await answer_taken)

    async def _one(self, chat: str, cursor: int, head: Head, request: SyncRequest, *, member: bool) -> SyncPage | Reset:
        """As it is stored, for nobody yet."""
        reason = sync.reset_reason(cursor, head, member=member)
        if reason is not None:
            self._metrics.sync_resets.labels(reason).inc()
            return Reset(chat=chat, reason=reason, req=request.req)
        events: list[Event] = []
        if cursor < head.seq:
            events = await self._after(chat, cursor, request.limit)
        # A page that was cut is as long as its own limit: so it says that more is waiting.
        limit = min(request.limit, len(events)) if events else request.limit
        answer = sync.page(chat, cursor, events, head, limit=limit, req=request.req)
        if isinstance(answer, SyncPage):
            self._metrics.sync_pages.inc()
        else:
            self._metrics.sync_resets.labels(answer.reason).inc()
        return answer

    async def _after(self, chat: str, cursor: int, limit: int) -> list[Event]:
        events = await self._messages.after(chat, cursor, limit)
        if events and events[0].seq != cursor + 1:
            # A hole that a killed bridge left, and nobody has written to the chat since. Unfilled, it would look like lost history.
            await self._order.heal(chat)
            events = await self._messages.after(chat, cursor, limit)
        return _whole(events)


def _whole(events: list[Event]) -> list[Event]:
    """The events up to a hole (one that is about to be filled: nobody may step over it) or to the bytes of a page."""
    size = 0
    for place, event in enumerate(events):
        size += len(encode(event))
        if place and (event.seq != events[place - 1].seq + 1 or size > PAGE_BYTES):
            return events[:place]
    return events


def _taken(published: Published) -> None:
    if published.reason_code >= 0x80:
        raise Unavailable(f"the broker did not take a page: {published.reason or published.reason_code}")
