"""The composition root: the only place that constructs the bridge's parts."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from adapters.stores import Stores
from bridge.admission import Admission
from bridge.commit import Commit
from bridge.counts import Counts
from bridge.dead_letters import DeadLetters
from bridge.fanout import FanOut
from bridge.filters.assembly import Filters
from bridge.forwards import Forwards
from bridge.ingest import Ingest, Limits
from bridge.members import Members
from bridge.metrics import Metrics
from bridge.order import Order
from bridge.presence import Online
from bridge.pushes import Pushes
from bridge.receipt_updates import ReceiptUpdates
from bridge.receipts import Receipts
from bridge.rejects import Rejects
from bridge.repeats import Recent
from bridge.screening import Screen
from bridge.settings import Settings
from bridge.syncing import Syncing
from bridge.touches import Touches
from bridge.tracing import Tracing
from bridge.withdrawals import SeenElsewhere
from chat import topics
from chat.envelopes import Connection, decode
from chat.errors import BadInput, InvalidEnvelope
from chat.models import Slot
from chat.permissions import Ages
from chat.ports import Delivery, Invalidations, JobQueue, Link, Presence, RateLimiter
from chat.pushes import PushProgress
from chat.topics import Kind, Topic
from chat.tracing import Tracer

FILTERS = (
    *(topics.shared(filter_) for filter_ in topics.INGEST_FILTERS),
    topics.shared(topics.event("delivered")),
    # Not shared: every bridge tracks presence.
    topics.event("connected"),
    topics.event("disconnected"),
)

PROBE_EVERY = 2.0
"""Seconds between looks at the store, for `/healthz`."""

_parse = functools.lru_cache(maxsize=65_536)(topics.parse)
_log = structlog.get_logger("bridge")


class Bridge:
    """Everything between the link and the stores.

    Args:
        link: to the broker.
        stores: the database.
        presence: asked who is online.
        invalidations: tell of changed memberships.
        jobs: take push jobs.
        limiter: rate limits that bridges share.
        progress: of pushes: what is on screens.
        tracer: records spans; None: nothing is recorded.

    Raises:
        ListBroken: a list that the settings name can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        link: Link,
        stores: Stores,
        presence: Presence,
        invalidations: Invalidations,
        jobs: JobQueue,
        limiter: RateLimiter,
        progress: PushProgress,
        registry: CollectorRegistry,
        tracer: Tracer | None = None,
    ) -> None:
        self._link = link
        self._stores = stores
        self._invalidations = invalidations
        self._patience = settings.bridge_drain
        self._store_well = True
        messages, chats = stores.messages, stores.chats
        metrics = Metrics(registry)
        self.members = Members(chats, stores.blocks)
        self._recent = Recent()
        order = Order(messages, chats, taken_up=self._taken_up)
        rejects = Rejects(link, metrics)
        self.online = Online(presence)
        self.touches = Touches(chats)
        self.pushes = Pushes(self.online, jobs, metrics)
        self.seen_elsewhere = SeenElsewhere(progress, jobs, metrics)
        self.receipts = Receipts(
            chats=chats,
            log=stores.receipts,
            messages=messages,
            members=self.members,
            order=order,
            updates=ReceiptUpdates(
                link,
                self.members,
                metrics,
                counts=Counts(chats, stores.receipts),
                named=settings.bridge_receipts_named,
            ),
            rejects=rejects,
            metrics=metrics,
            seen=self.seen_elsewhere.add,
            every=settings.bridge_receipts_every,
            hold=settings.bridge_receipts_hold,
        )
        self.syncing = Syncing(chats=chats, messages=messages, order=order, link=link, rejects=rejects, metrics=metrics)
        self.filters = Filters(settings, limiter, metrics, stores.admin)
        tracing = None if tracer is None else Tracing(tracer, database=settings.mongo_database)
        self.ingest = Ingest(
            screen=Screen(self.filters.chain, messages),
            forwards=Forwards(messages, self.members),
            admission=Admission(self.members),
            commit=Commit(
                messages,
                order=order,
                recent=self._recent,
                pushes=self.pushes,
                metrics=metrics,
                touched=self.touches.add,
                ages=_ages(settings),
                tracing=tracing,
            ),
            fan_out=FanOut(link, metrics),
            receipts=self.receipts,
            rejects=rejects,
            pushes=self.pushes,
            dead_letters=DeadLetters(stores.dead_letters, metrics),
            metrics=metrics,
            limits=_limits(settings),
            tracing=tracing,
        )

    def _taken_up(self, chat: str, slots: Mapping[int, Slot]) -> None:
        self.receipts.taken_up(chat, slots)

    def receive(self, deliveries: list[Delivery]) -> None:
        """Hand each delivery of one read to the part that it is for."""
        for delivery in deliveries:
            topic = _parse(delivery.topic)
            try:
                self._route(delivery, topic)
            except BadInput as error:
                _log.warning("delivery.unreadable", kind=topic.kind if topic else None, reason=error.reason)
                delivery.settle(error.reason_code, error.reason, error.code)
        self.ingest.start()

    def _route(self, delivery: Delivery, topic: Topic | None) -> None:
        if topic is None:
            raise InvalidEnvelope("no topic that the bridge serves", code="unknown_topic")
        user = topic.user or ""
        match topic.kind:
            case Kind.SEND:
                self.ingest.offer(delivery, chat=topic.scope, sender=user)
            case Kind.ACK:
                self.receipts.offer_ack(delivery, chat=topic.scope, user=user)
            case Kind.SYNC:
                self.syncing.offer(delivery, user=topic.scope)
            case Kind.EVENTS if topic.scope == "delivered":
                self.receipts.offer_delivered(delivery)
            case Kind.EVENTS:
                self.online.changed(decode(delivery.payload, Connection))
                delivery.settle(0, None, None)
            case _:
                raise InvalidEnvelope("no topic that the bridge serves", code="unknown_topic")

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then let what is under way come through.

        Raises:
            ExceptionGroup: a part failed that must not; the process is to be started anew.
        """
        async with asyncio.TaskGroup() as group:
            parts: list[Coroutine[Any, Any, None]] = [
                self._link.run(FILTERS, self.receive),
                self.members.listen(self._invalidations),
                self.online.run(),
                self.receipts.run(),
                self.syncing.run(),
                self.touches.run(),
                self.filters.run(),
                self.pushes.run(),
                self.seen_elsewhere.run(),
                self._probe(),
            ]
            tasks = [group.create_task(part) for part in parts]
            await stop.wait()
            await self._drain()
            for task in tasks:
                task.cancel()

    async def _drain(self) -> None:
        _log.info("bridge.draining")
        try:
            async with asyncio.timeout(self._patience):
                await self.ingest.close(patience=self._patience)
                await self.receipts.close()
                await self.touches.flush()
                await self.pushes.flush()
        except TimeoutError:
            # Unsettled messages go to another bridge, or back to their senders.
            _log.warning("bridge.drain_incomplete")

    async def _probe(self) -> None:
        while True:
            self._store_well = await self._stores.healthy()
            await asyncio.sleep(PROBE_EVERY)

    def link_up(self) -> None:
        """The link is up (again): events may have been missed before, and another bridge may have stored for our chats."""
        self.online.forget()
        self._recent.start_anew()

    def health(self) -> dict[str, bool]:
        """The parts that must be well, for `/healthz`."""
        return {"link": self._link.connected, "store": self._store_well}


def _limits(settings: Settings) -> Limits:
    return Limits(
        batch=settings.bridge_batch,
        batches=settings.bridge_batches,
        waiting=2 * settings.bridge_receive_maximum,
        max_bytes=settings.bridge_max_send_bytes,
        tries=settings.bridge_tries,
    )


def _ages(settings: Settings) -> Ages:
    def bound(seconds: int) -> timedelta | None:
        return timedelta(seconds=seconds) if seconds else None

    return Ages(edit=bound(settings.bridge_edit_within), delete=bound(settings.bridge_delete_within))
