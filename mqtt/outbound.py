"""The sending half of a session (MQTT 5.0 §4.1): what is under way, what waits. Pure: it is given packets and the time, and appends
the bytes to be sent to `out`, which the shell drains once per turn of its loop.

An outgoing message of QoS 1 or 2 is in one of these places, and moves only along the arrows; what inflight waits for is
in the tables of `mqtt/qos2.py`:

    deliver ──► inflight (has a packet id, sent) ──PUBACK, PUBCOMP, refused──► done
       │                 ▲            └──connection lost──► inflight, sent again with DUP on resume [MQTT-4.4.0-1]
       └──window full──► queue ──────┘
                           └──queue full, expired, too large──► dropped (counted)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mqtt.aliases import SentAliases
from mqtt.encode import encode
from mqtt.journal import Journal
from mqtt.messages import Message
from mqtt.outgoing import Outcome, Outgoing
from mqtt.packets import PubRel
from mqtt.qos2 import Awaits, Heard, after
from mqtt.reasons import Reason
from mqtt.writing import Writing

MAX_PACKET_ID = 0xFFFF

_SENT, _QUEUED, _AWAITS_PUBACK, _HEARD_PUBACK = Outcome.SENT, Outcome.QUEUED, Awaits.PUBACK, Heard.PUBACK
# They are asked for per message: a global takes 6 ns, a member of an enum 50.

CLOSED = MAX_PACKET_ID + 1
"""What a held session's window is smaller by: no room is left, whatever is under way."""


class Outbound(Writing):
    """What one client is sent.

    Args:
        queue_limit: how many messages may wait; the next one is dropped and counted.
        dropped: is told of each message that is dropped after it was taken.

    Attributes:
        attached: how often a connection has taken the session over: a timer set at the end of one compares it.
        journal: notes what has to survive the process; None for a session that ends with its connection.
        key: of its record there.
        held: whether nothing of QoS 1 and 2 is sent for now; see `hold`.
        window: how many messages may be under way: the client's receive maximum, less what it still counts of what was
            purged.
    """

    __slots__ = (
        "_behind",
        "_dropped",
        "_next_id",
        "_queue",
        "_withdrawn",
        "attached",
        "held",
        "inflight",
        "journal",
        "key",
        "queue_limit",
        "window",
    )

    def __init__(self, queue_limit: int, dropped: Callable[[Outcome], None]) -> None:
        super().__init__()
        self.queue_limit = queue_limit
        self.attached = 0
        self.held = False
        self.window = MAX_PACKET_ID
        self.inflight: dict[int, Outgoing] = {}
        self._queue: deque[Outgoing] | None = None
        self.journal: Journal | None = None
        self.key = 0
        self._dropped = dropped
        self._next_id = 0
        self._behind: deque[int] | tuple[()] = ()
        """Packet ids under way from an earlier connection that were not sent on this one yet."""
        self._withdrawn: dict[int, Outgoing] = {}
        """Purged messages whose packet ids the client may still use."""

    @property
    def queue(self) -> deque[Outgoing]:
        """What waits; who only counts asks `queued`."""
        if self._queue is None:
            self._queue = deque()
        return self._queue

    @queue.setter
    def queue(self, outgoing: deque[Outgoing]) -> None:
        self._queue = outgoing or None

    @property
    def queued(self) -> int:
        """How many messages wait."""
        return len(self._queue) if self._queue is not None else 0

    # ---- connection

    def attach(self, *, version: int, window: int, max_packet: int, aliases: int = 0) -> None:
        """A connection takes the session over.

        Args:
            version: protocol level 4 or 5.
            window: how many QoS 1 and 2 messages the client takes at once (receive maximum).
            max_packet: largest packet that the client takes, 0 for no limit.
            aliases: how many topic aliases the client takes.
        """
        self.version = version
        self.window = window - CLOSED * self.held
        self.max_packet = max_packet
        self._aliases = SentAliases(aliases) if aliases else None
        self.attached += 1
        self.connected = True
        self.stalled = False
        self.out = []

    def detach(self) -> None:
        """The connection is gone; what it had not been sent goes with it, what was under way stays."""
        self.connected = False
        self.out = []

    def resume(self, now: float) -> None:
        """Send again, with DUP and the same packet ids in the same order, what was under way [MQTT-4.4.0-1, 4.6.0-1]: all
        PUBRELs, of the messages as many as the client takes now; the others, and what waits, when it has answered.
        """
        withdrawn, self._withdrawn = self._withdrawn, {}
        for packet_id, outgoing in withdrawn.items():
            if outgoing.awaits is not Awaits.PUBACK:
                self._let_go(packet_id, outgoing)
        self._behind = (
            deque(key for key, each in self.inflight.items() if each.awaits not in (Awaits.PUBCOMP, Awaits.COMMIT))
            or ()
        )
        for packet_id, outgoing in list(self.inflight.items()):
            if outgoing.awaits is Awaits.PUBCOMP:  # [MQTT-4.3.3-6]
                self._release(packet_id, outgoing)
            elif outgoing.awaits is not Awaits.COMMIT and self._exceeds(outgoing.message, outgoing.identifiers, now):
                self._dropped(Outcome.TOO_LARGE)  # the client takes less than before [MQTT-3.1.2-25]
                self._withdraw(packet_id)
        self.refill(now)

    # ---- messages

    def hold(self) -> None:
        """Send no message of QoS 1 or 2, new or again, until `release`: they wait in the queue."""
        if not self.held:
            self.held = True
            self.window -= CLOSED

    def release(self, now: float) -> None:
        """Send on."""
        if self.held:
            self.held = False
            self.window += CLOSED
            for packet_id, outgoing in self.inflight.items():
                if outgoing.awaits is Awaits.COMMIT and self.journal is not None:
                    self.journal.after(partial(self._committed, self.journal, packet_id, outgoing))
            self.refill(now)

    def deliver(  # the hot path: QoS 0 and QoS 1 to a connected client are the first lines
        self,
        message: Message,
        qos: int,
        now: float,
        *,
        retain: bool = False,
        identifiers: tuple[int, ...] = (),
        origin: Any = None,
        share: Any = None,
    ) -> Outcome:
        """Send or queue a message.

        Args:
            message: what to deliver.
            qos: the lower of the message's and the subscription's.
            now: the broker's clock, seconds.
            retain: the RETAIN flag of the delivery.
            identifiers: subscription identifiers of the matching subscriptions.
            origin: see `Outgoing`; with one, the queue's limit does not count (the origin is slowed down instead).
            share: see `Outgoing`.
        """
        if message.expires_at is not None and message.expired(now):
            return Outcome.EXPIRED
        if not qos:
            return self._deliver_qos0(message, now, retain=retain, identifiers=identifiers)
        if self.max_packet and self.connected and self._exceeds(message, identifiers, now):
            return Outcome.TOO_LARGE
        outgoing = Outgoing(message, qos, retain, identifiers, origin, share)
        if self.connected and len(self.inflight) < self.window and not self._queue:
            packet_id = self._take_id()
            self.inflight[packet_id] = outgoing
            if self.journal is None or self._noted(packet_id, outgoing):
                self._send(packet_id, outgoing, now)
            return _SENT
        if self.queued >= self.queue_limit and origin is None:
            return Outcome.QUEUE_FULL
        self.keep(outgoing)
        return _QUEUED

    def keep(self, outgoing: Outgoing) -> None:
        """Let a message wait, behind the others."""
        self.queue.append(outgoing)
        if self.journal is not None and outgoing.origin is None:
            self.journal.waits(self, 0, outgoing)

    def acknowledge(self, packet_id: int, now: float, heard: Heard = _HEARD_PUBACK) -> Outgoing | None:
        """The client's answer: what it was for (None if for nothing), and the next ones are sent.

        Raises:
            ProtocolViolation: an answer that does not belong to a message of that QoS.
        """
        outgoing = self.inflight.get(packet_id)
        if outgoing is None:
            self._answered_withdrawn(packet_id, heard, now)
            return None
        qos1 = heard is _HEARD_PUBACK and outgoing.awaits is _AWAITS_PUBACK
        awaits = None if qos1 else after(outgoing.awaits, heard)  # its table needs to hash two enum members
        if awaits is None:
            del self.inflight[packet_id]
            if self.journal is not None:
                self.journal.done(outgoing)
        else:
            if outgoing.awaits is Awaits.PUBREC:  # PUBRELs come again in the order of the PUBRECs
                self.inflight[packet_id] = self.inflight.pop(packet_id)
                if self.journal is not None:
                    self.journal.put_last(self, packet_id, outgoing)
            outgoing.awaits = awaits
            self._release(packet_id, outgoing)
        if self._behind and packet_id in self._behind:
            self._behind.remove(packet_id)  # the client remembers the message from an earlier connection
        if self._queue or self._behind:
            self.refill(now)
        return outgoing

    def refill(self, now: float) -> None:
        """Send from the queue while the window has room; before it what is still to be sent again."""
        queue, inflight, behind = self._queue, self.inflight, self._behind
        while behind and self.connected and len(inflight) - len(behind) < self.window:
            packet_id = behind.popleft()
            self._send(packet_id, inflight[packet_id], now, dup=True)
        while queue and self.connected and len(inflight) < self.window:
            outgoing = queue.popleft()
            expired = outgoing.message.expired(now)
            if expired or self._exceeds(outgoing.message, outgoing.identifiers, now):
                self._dropped(Outcome.EXPIRED if expired else Outcome.TOO_LARGE)
                self._done(outgoing)
                continue
            packet_id = self._take_id()
            inflight[packet_id] = outgoing
            if self.journal is None or self._noted(packet_id, outgoing):
                self._send(packet_id, outgoing, now)

    def purge(self, unwanted: Callable[[Message], bool]) -> int:
        """Forget queued and unacknowledged messages, so that they are never sent (again); how many.

        Those that the client has been sent count towards its receive maximum until it answers them.
        """
        queue, self.queue = self.queue, deque()
        for outgoing in queue:
            if unwanted(outgoing.message):
                self._done(outgoing)
            else:
                self.queue.append(outgoing)
        gone = [
            packet_id
            for packet_id, outgoing in self.inflight.items()
            if outgoing.awaits is not Awaits.PUBCOMP and unwanted(outgoing.message)
        ]
        for packet_id in gone:
            self._withdraw(packet_id)
        return len(queue) - len(self.queue) + len(gone)

    def _withdraw(self, packet_id: int) -> None:
        """Forget one message under way; its packet id stays taken while the client may know it."""
        outgoing = self.inflight.pop(packet_id)
        awaits = outgoing.awaits
        sent = self.connected and packet_id not in self._behind and awaits is not Awaits.COMMIT
        if self._behind and packet_id in self._behind:
            self._behind.remove(packet_id)
        if self.journal is not None and awaits is Awaits.PUBREC:
            self.journal.withdrawn(self, packet_id, outgoing)
        else:
            self._done(outgoing)
        if sent or (awaits is Awaits.PUBREC and not self.connected):
            self._withdrawn[packet_id] = outgoing
            self.window -= 1
        elif awaits is Awaits.PUBREC:
            self._let_go(packet_id, outgoing)

    def _let_go(self, packet_id: int, outgoing: Outgoing) -> None:
        """Of a QoS 2 message that won't be sent again the client may still hold the packet id: PUBREL ends that."""
        outgoing.awaits = Awaits.PUBCOMP
        self._withdrawn[packet_id] = outgoing
        self.window -= 1
        self._release(packet_id, outgoing)

    def _answered_withdrawn(self, packet_id: int, heard: Heard, now: float) -> None:
        outgoing = self._withdrawn.get(packet_id)
        if outgoing is None:
            if heard is Heard.RECEIVED:
                self.out.append(encode(PubRel(packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND), self.version))
            return
        then = after(outgoing.awaits, heard)
        if then is not None:
            outgoing.awaits = then
            self._release(packet_id, outgoing)
            return
        del self._withdrawn[packet_id]
        self._done(outgoing)
        self.window += 1
        self.refill(now)

    def _release(self, packet_id: int, outgoing: Outgoing) -> None:
        """PUBREL: with it the client forgets the packet id, so ours must know first that it is not to be sent again."""
        if not outgoing.key or self.journal is None:
            self.out.append(encode(PubRel(packet_id), self.version))
        else:
            self.journal.waits(self, packet_id, outgoing)
            self.journal.after(partial(self._release_now, self.journal, self.attached, packet_id))

    def _release_now(self, journal: Journal, attached: int, packet_id: int) -> None:
        if self.connected and self.attached == attached:
            self.out.append(encode(PubRel(packet_id), self.version))
            self.wake(journal)

    # ---- the disk

    def _noted(self, packet_id: int, outgoing: Outgoing) -> bool:
        """Note a message that is under way; whether it may be sent before that is on disk."""
        if self.journal is None or outgoing.origin is not None:  # who waits for the answer sends again
            return True
        if outgoing.awaits is Awaits.PUBREC:
            outgoing.awaits = Awaits.COMMIT
        self.journal.waits(self, packet_id, outgoing)
        if outgoing.awaits is Awaits.PUBACK:
            return True
        self.journal.after(partial(self._committed, self.journal, packet_id, outgoing))
        return False

    def _committed(self, journal: Journal, packet_id: int, outgoing: Outgoing) -> None:
        """The packet id of a QoS 2 message is on disk, or the session has since said that it need not be."""
        if self.inflight.get(packet_id) is outgoing and outgoing.awaits is Awaits.COMMIT and not self.held:
            outgoing.awaits = Awaits.PUBREC
            if self.connected:
                self._send(packet_id, outgoing, journal.clock())
                self.wake(journal)

    def _done(self, outgoing: Outgoing) -> None:
        if self.journal is not None:
            self.journal.done(outgoing)

    def outgoing(self) -> Iterator[Outgoing]:
        """Everything that is for this client."""
        yield from self.inflight.values()
        yield from self._withdrawn.values()
        yield from self.queue

    def restore(self, packet_id: int, outgoing: Outgoing) -> None:
        """Take back what an earlier process had noted, in its order."""
        if not packet_id:
            self.queue.append(outgoing)
        elif outgoing.withdrawn:
            self._withdrawn[packet_id] = outgoing
        else:
            self.inflight[packet_id] = outgoing
        self._next_id = packet_id or self._next_id

    def take_origins(self) -> Iterator[Outgoing]:
        """Take out everything that somebody waits for: this client won't acknowledge it any more."""
        waiting = [packet_id for packet_id, outgoing in self.inflight.items() if outgoing.origin is not None]
        for packet_id in waiting:
            outgoing = self.inflight[packet_id]
            self._withdraw(packet_id)
            yield outgoing
        queued, self.queue = self.queue, deque(o for o in self.queue if o.origin is None)
        yield from (outgoing for outgoing in queued if outgoing.origin is not None)

    def take_shared(self) -> Iterator[Outgoing]:
        """Take out what came by a shared subscription and another member may have: all but what the client may know as
        QoS 2, which is its own, whatever happens [MQTT-4.8.2-4, -5].
        """
        sent = [key for key, each in self.inflight.items() if each.share is not None and each.awaits is Awaits.PUBACK]
        for packet_id in sent:
            outgoing = self.inflight[packet_id]
            self._withdraw(packet_id)
            yield outgoing
        queued, self.queue = self.queue, deque(each for each in self.queue if each.share is None)
        for outgoing in queued:
            if outgoing.share is not None:
                self._done(outgoing)
                yield outgoing

    def _take_id(self) -> int:
        """A packet id that is not in use [MQTT-2.2.1-4]; there is one, as the window is at most their number."""
        packet_id = self._next_id % MAX_PACKET_ID + 1
        while packet_id in self.inflight or packet_id in self._withdrawn:
            packet_id = packet_id % MAX_PACKET_ID + 1
        self._next_id = packet_id
        return packet_id

    def wake(self, journal: Journal) -> None:
        """There is something in `out` outside of the client's own turn: the shell has to be told."""
        raise NotImplementedError
