"""What has to be on disk before somebody is told that it is ours. Pure: changes are collected here, the shell writes them.

    session, subscription, message … ──noted──► pending ──take──► under way ──written──► `after` calls run
                                                  └──undone before it was taken──► nothing was ever written

A message that its client acknowledges before the batch is taken is never written: under load, with readers that keep up,
nearly none is. Who waits with `after` waits for everything that was noted before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mqtt.messages import Message
from mqtt.outgoing import Outgoing
from mqtt.packets import Will
from mqtt.qos2 import Awaits
from mqtt.store import (
    Batch,
    EntryRecord,
    HeldRecord,
    Key,
    MessageRecord,
    NameRecord,
    Record,
    RetainedRecord,
    SessionRecord,
    SubscriptionRecord,
    WillRecord,
)

if TYPE_CHECKING:
    from mqtt.outbound import Outbound
    from mqtt.session import Session, Subscription

Waiting = tuple[int, int, Outgoing]
"""A session's key, the packet id (0 in the queue), and the message."""


class Journal:
    """Collects changes until they are taken as a batch.

    Args:
        starts: of the store: keys of this process begin above those of all earlier ones.
        clock: the broker's, seconds.
        wall: seconds since the epoch.
        awake: is called when the first change is noted, or somebody waits.
        touch: is called when a session has something to send that had to wait for the disk.

    Attributes:
        changes: rises with every change, so that one can see whether something was noted.
    """

    def __init__(
        self,
        *,
        starts: int,
        clock: Callable[[], float],
        wall: Callable[[], float],
        awake: Callable[[], None],
        touch: Callable[[Session], None],
    ) -> None:
        self.changes = 0
        self.clock = clock
        self._wall = wall
        self._awake = awake
        self.touch = touch
        self._last_key = starts << 40
        self.first_number = starts << 32
        """Ingest names of this process are numbered from here in sessions of an earlier one."""
        self._batch_start = self._last_key
        """Keys above were given since the last batch: what has one is not on disk, nor on its way there."""
        self._waiting: dict[int, Waiting | None] = {}
        self._bodies: dict[int, Message | None] = {}
        self._others: dict[type[Record], dict[Key, Record | None]] = {}
        self._retained: dict[str, Message] = {}
        self._calls: list[Callable[[], None]] = []
        self._under_way = False

    # ---- batches

    def after(self, call: Callable[[], None]) -> None:
        """Call when everything noted so far is on disk: at once if it is."""
        if self.idle:
            call()
        else:
            self._calls.append(call)

    @property
    def pending(self) -> int:
        """How many changes wait to be taken."""
        return len(self._waiting) + len(self._bodies) + sum(map(len, self._others.values()))

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is under way."""
        return not (self._under_way or self._calls or self.pending)

    def take(self) -> tuple[Batch, list[Callable[[], None]]]:
        """All pending changes, and whom to call when they are written."""
        batch = Batch()
        for kind, changes in self._others.items():
            self._collect(batch, kind, changes)
        bodies = {key: None if body is None else self._message(body) for key, body in self._bodies.items()}
        entries = {key: None if waiting is None else _entry(waiting) for key, waiting in self._waiting.items()}
        self._collect(batch, MessageRecord, bodies)
        self._collect(batch, EntryRecord, entries)
        calls, self._calls = self._calls, []
        self._waiting, self._bodies, self._others = {}, {}, {}
        self._batch_start = self._last_key
        self._under_way = bool(batch)
        return batch, calls

    def written(self, calls: list[Callable[[], None]]) -> None:
        """The batch that was taken is on disk."""
        self._under_way = False
        for call in calls:
            call()

    @staticmethod
    def _collect(batch: Batch, kind: type[Record], changes: Mapping[Any, Record | None]) -> None:
        saved = [record for record in changes.values() if record is not None]
        forgotten: list[Key] = [key for key, record in changes.items() if record is None]
        if saved:
            batch.saved[kind] = saved
        if forgotten:
            batch.forgotten[kind] = forgotten

    def _note(self, kind: type[Record], key: Key, record: Record | None) -> None:
        self._others.setdefault(kind, {})[key] = record
        self._changed()

    def _changed(self) -> None:
        self.changes += 1
        self._awake()

    def _new_key(self) -> int:
        self._last_key += 1
        return self._last_key

    def on_wall(self, at: float) -> float:
        """A time of the broker's clock on the wall's."""
        return at - self.clock() + self._wall()

    def from_wall(self, at: float) -> float:
        """A time of the wall's clock on the broker's."""
        return at - self._wall() + self.clock()

    # ---- messages that wait for a client

    def waits(self, session: Outbound, packet_id: int, outgoing: Outgoing) -> None:
        """A message is in the session's queue (packet id 0), or under way; also when what it waits for has changed."""
        if not outgoing.key:
            outgoing.key = self._new_key()
            self._refer(outgoing.message)
        self._waiting[outgoing.key] = (session.key, packet_id, outgoing)
        self._changed()

    def done(self, outgoing: Outgoing) -> None:
        """A message waits no longer."""
        if not outgoing.key:
            return
        if not outgoing.withdrawn:
            self._release(outgoing.message)
        if outgoing.key > self._batch_start:
            del self._waiting[outgoing.key]
        else:
            self._waiting[outgoing.key] = None
            self._changed()
        outgoing.key = 0

    def put_last(self, session: Outbound, packet_id: int, outgoing: Outgoing) -> None:
        """A message is from now on behind the others of its session: its record gets a later key."""
        if not outgoing.key:
            return
        if outgoing.key > self._batch_start:
            del self._waiting[outgoing.key]
        else:
            self._waiting[outgoing.key] = None
        outgoing.key = self._new_key()
        self.waits(session, packet_id, outgoing)

    def withdrawn(self, session: Outbound, packet_id: int, outgoing: Outgoing) -> None:
        """A message won't be sent again, but its client may still use its packet id."""
        outgoing.withdrawn = True
        if outgoing.key:
            self._release(outgoing.message)
            self.waits(session, packet_id, outgoing)

    def _refer(self, message: Message) -> None:
        if not message.references:
            message.key = self._new_key()
            self._bodies[message.key] = message
        message.references += 1

    def _release(self, message: Message) -> None:
        message.references -= 1
        if message.references:
            return
        if message.key > self._batch_start:
            del self._bodies[message.key]
        else:
            self._bodies[message.key] = None
            self._changed()

    def _message(self, message: Message) -> Record:
        ends = message.expires_at
        return MessageRecord(
            message.key,
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.properties,
            None if ends is None else self.on_wall(ends),
            message.mark,
            message.publisher,
        )

    # ---- sessions

    def opened(self, session: Session) -> None:
        """A session that outlives its connection has one."""
        self._session(session, None)

    def left(self, session: Session) -> None:
        """It has none any more."""
        self._session(session, self._wall())

    def _session(self, session: Session, left_at: float | None) -> None:
        if not session.key:
            session.key = self._new_key()
        record = SessionRecord(session.key, session.client_id, session.principal, session.uid, session.expiry, left_at)
        self._note(SessionRecord, session.key, record)

    def forget(self, session: Session) -> None:
        """A session is over, or no longer outlives its connection."""
        for outgoing in session.outgoing():
            self.done(outgoing)
        self._note(SessionRecord, session.key, None)
        session.key = 0

    def subscribed(self, session: Session, text: str, subscription: Subscription) -> None:
        """A session has a subscription, new or changed."""
        record = SubscriptionRecord(
            session.key,
            text,
            subscription.qos,
            subscription.no_local,
            subscription.retain_as_published,
            subscription.identifiers,
        )
        self._note(SubscriptionRecord, (session.key, text), record)

    def unsubscribed(self, session: Session, text: str) -> None:
        """It has it no longer."""
        self._note(SubscriptionRecord, (session.key, text), None)

    def held(self, session: Session, packet_id: int) -> None:
        """A QoS 2 packet id of the client is in use."""
        self._note(HeldRecord, (session.key, packet_id), HeldRecord(session.key, packet_id))

    def released(self, session: Session, packet_id: int) -> None:
        """It is free again."""
        self._note(HeldRecord, (session.key, packet_id), None)

    def named(self, session: Session, packet_id: int, number: int) -> None:
        """A publish of the client has an ingest name."""
        self._note(NameRecord, (session.key, packet_id), NameRecord(session.key, packet_id, number))

    def will(self, session: Session, will: Will, *, service: bool, due: float | None) -> None:
        """A client leaves a will; `due` on the broker's clock once it has gone."""
        due_at = None if due is None else self.on_wall(due)
        record = WillRecord(
            session.key, service, due_at, will.topic, will.payload, will.qos, will.retain, will.properties
        )
        self._note(WillRecord, session.key, record)

    def no_will(self, session: Session) -> None:
        """It has none (any more)."""
        self._note(WillRecord, session.key, None)

    # ---- retained

    def retained(self, message: Message) -> None:
        """A message is its topic's retained one."""
        self._refer(message)
        self._note(RetainedRecord, message.topic, RetainedRecord(message.topic, message.key))
        replaced = self._retained.get(message.topic)
        if replaced is not None:
            self._release(replaced)
        self._retained[message.topic] = message

    def was_retained(self, message: Message) -> None:
        """An earlier process had noted that a message is its topic's retained one."""
        message.references += 1
        self._retained[message.topic] = message

    def not_retained(self, topic: str) -> None:
        """A topic has none (that outlives the process)."""
        message = self._retained.pop(topic, None)
        if message is not None:
            self._release(message)
            self._note(RetainedRecord, topic, None)


def _entry(waiting: Waiting) -> Record:
    session, packet_id, outgoing = waiting
    awaits = Awaits.PUBREC if outgoing.awaits is Awaits.COMMIT else outgoing.awaits
    return EntryRecord(
        outgoing.key,
        session,
        None if outgoing.withdrawn else outgoing.message.key,
        packet_id,
        awaits.value,
        outgoing.retain,
        outgoing.identifiers,
        outgoing.share.text if outgoing.share is not None else "",
    )
