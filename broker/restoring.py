"""Sessions, retained messages and wills that an earlier process has left on disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from adapters import garbage
from mqtt.journal import Journal
from mqtt.messages import Message
from mqtt.outgoing import Outgoing
from mqtt.packets import Will
from mqtt.qos2 import Awaits, Held
from mqtt.session import Session, Subscription
from mqtt.store import (
    EntryRecord,
    HeldRecord,
    MessageRecord,
    NameRecord,
    Record,
    RetainedRecord,
    SessionRecord,
    SessionStore,
    StoreUnusable,
    SubscriptionRecord,
    WillRecord,
)

if TYPE_CHECKING:
    from broker.broker import Broker

log = structlog.get_logger("broker")

PROGRESS_SECONDS = 1.0
"""Between two lines about how far it is."""

CHUNK = 2_000
"""Records between looks at the clock and at other work."""

_WITHDRAWN = Message("", b"")
"""Stands for the body of a message of which only the packet id is left."""


async def restore(broker: Broker, store: SessionStore, journal: Journal) -> None:
    """Bring back what the store holds. Before the first connection.

    Raises:
        StoreUnusable: the records contradict each other, or can't be read.
    """
    total = sum(store.counts().values())
    loop = asyncio.get_running_loop()
    began = said = loop.time()
    restoring = _Restoring(broker, journal)
    with garbage.none():  # to look through all that stays, again and again, takes longer than all else
        for number, record in enumerate(store.load(), 1):
            restoring.take(record)
            if not number % CHUNK:
                await asyncio.sleep(0)
                if loop.time() - said >= PROGRESS_SECONDS:
                    said = loop.time()
                    log.info("sessions.restoring", records=number, of=total)
        restoring.finish()
    log.info(
        "sessions.restored",
        sessions=len(broker.core.sessions),
        retained=broker.core.retained.count,
        messages=restoring.messages,
        seconds=round(loop.time() - began, 2),
    )


class _Restoring:
    """One restoration: records by their keys, until all are in place."""

    def __init__(self, broker: Broker, journal: Journal) -> None:
        self._broker = broker
        self._core = broker.core
        self._journal = journal
        self._sessions: dict[int, Session] = {}
        self._left: dict[int, float | None] = {}
        self._bodies: dict[int, Message] = {}
        self._wills: list[tuple[Session, WillRecord]] = []
        self._refused: list[str] = []
        self.messages = 0
        """Messages that wait for their clients."""

    def take(self, record: Record) -> None:
        """Put a record in its place.

        Raises:
            StoreUnusable: it belongs to nothing.
        """
        try:
            self._take(record)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise StoreUnusable(f"the session store contradicts itself: {type(record).__name__}, {error}") from error

    def _take(self, record: Record) -> None:
        match record:
            case SessionRecord():
                self._session(record)
            case SubscriptionRecord():
                self._subscription(record)
            case MessageRecord():
                self._message(record)
            case EntryRecord():
                self._entry(record)
            case HeldRecord():
                self._sessions[record.session].inbound.held[record.packet_id] = Held.RECEIVED
            case NameRecord():
                self._sessions[record.session].inbound.was_named(record.packet_id, record.number)
            case WillRecord():
                self._wills.append((self._sessions[record.session], record))
            case RetainedRecord():
                self._retained(record)

    def _session(self, record: SessionRecord) -> None:
        if record.client_id in self._core.sessions:
            raise ValueError("two sessions of one client id")
        session = self._core.new_session(record.client_id, record.principal, uid=record.uid)
        session.key, session.expiry = record.key, record.expiry
        session.inbound.began_anew(self._journal.first_number)
        self._sessions[record.key] = session
        self._left[record.key] = record.left_at

    def _subscription(self, record: SubscriptionRecord) -> None:
        topic_filter = record.text.split("/", 2)[2] if record.text.startswith("$share/") else record.text
        subscription = Subscription(
            topic_filter, record.qos, record.no_local, record.retain_as_published, record.identifiers
        )
        self._core.subscribe(self._sessions[record.session], record.text, subscription)

    def _message(self, record: MessageRecord) -> None:
        message = Message(
            record.topic,
            record.payload,
            qos=record.qos,
            retain=record.retain,
            properties=record.properties,
            expires_at=None if record.expires_at is None else self._journal.from_wall(record.expires_at),
            mark=record.mark,
            publisher=record.publisher,
        )
        message.key = record.key
        self._bodies[record.key] = message

    def _entry(self, record: EntryRecord) -> None:
        awaits = Awaits(record.awaits)
        body = _WITHDRAWN if record.message is None else self._bodies[record.message]
        share = self._core.index.group(record.share) if record.share else None
        outgoing = Outgoing(body, 1 if awaits is Awaits.PUBACK else 2, record.retain, record.identifiers, None, share)
        outgoing.awaits, outgoing.key, outgoing.withdrawn = awaits, record.key, record.message is None
        body.references += not outgoing.withdrawn
        self._sessions[record.session].restore(record.packet_id, outgoing)
        self.messages += not outgoing.withdrawn

    def _retained(self, record: RetainedRecord) -> None:
        message = self._bodies[record.message]
        self._journal.was_retained(message)
        if not self._core.retained.put(message):  # the limit was lowered
            self._core.stats.dropped["retained_full"] += 1
            self._refused.append(message.topic)

    def finish(self) -> None:
        """All is read: from here on the sessions are noted as any other, and what has to happen to them does."""
        for key, session in self._sessions.items():
            session.journal = self._journal
            self._core.policy.absent(session.principal, session.client_id, service=False)
            left_at = self._left[key]
            if left_at is None:  # its client was connected until the process ended: just now, as far as we know
                self._journal.left(session)
            away = 0.0 if left_at is None else self._core.clock() - self._journal.from_wall(left_at)
            self._broker.expire_later(session, max(0.0, session.expiry - max(0.0, away)))
        for topic in self._refused:
            self._journal.not_retained(topic)
        for session, record in self._wills:
            self._will(session, record)

    def _will(self, session: Session, record: WillRecord) -> None:
        identity = self._core.policy.absent(session.principal, session.client_id, service=record.service)
        will = Will(record.topic, record.payload, record.qos, record.retain, record.properties)
        if record.due_at is None:  # the connection ended with the process, and without a word
            self._broker.wills.leave(session, identity, will)
        else:
            seconds = max(0.0, self._journal.from_wall(record.due_at) - self._core.clock())
            self._broker.wills.wait(session, identity, will, seconds)
