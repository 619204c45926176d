"""What a session writes for its connection: packets in the form that its client takes. Pure: bytes are appended to `out`."""

from __future__ import annotations

from mqtt.aliases import ALIAS_BYTES, SentAliases
from mqtt.decode import V5
from mqtt.encode import with_dup
from mqtt.messages import Message
from mqtt.outgoing import Outcome, Outgoing
from mqtt.qos2 import Awaits
from mqtt.wire import PACKET_IDS

_AWAITS_PUBACK = Awaits.PUBACK  # asked for per message: a global takes 6 ns, a member of an enum 50


class Writing:
    """The writing half of a connection.

    Attributes:
        out: bytes to be sent.
        dirty: the shell's note that `out` will be drained this turn.
        connected: whether there is a connection.
        stalled: whether its client does not read.
        version: protocol level 4 or 5.
        max_packet: largest packet that the client takes, bytes; 0 for no limit.
    """

    __slots__ = ("_aliases", "connected", "dirty", "max_packet", "out", "stalled", "version")

    def __init__(self) -> None:
        self.version = V5
        self.connected = False
        self.dirty = False
        self.stalled = False
        self.max_packet = 0
        self.out: list[bytes] = []
        self._aliases: SentAliases | None = None

    def _deliver_qos0(self, message: Message, now: float, *, retain: bool, identifiers: tuple[int, ...]) -> Outcome:
        if not self.connected:
            return Outcome.OFFLINE
        if self.stalled:
            return Outcome.STALLED
        if self._exceeds(message, identifiers, now, qos=0):
            return Outcome.TOO_LARGE
        if self._aliases is None:
            self.out += message.parts_now(self.version, 0, retain=retain, now=now, identifiers=identifiers)
        else:
            self.out += self._aliased(self._aliases, message, 0, retain=retain, now=now, identifiers=identifiers)
        return Outcome.SENT

    def _send(self, packet_id: int, outgoing: Outgoing, now: float, *, dup: bool = False) -> None:
        message, identifiers, retain = outgoing.message, outgoing.identifiers, outgoing.retain
        qos = 1 if outgoing.awaits is _AWAITS_PUBACK else 2
        if self._aliases is not None:
            head, tail = self._aliased(self._aliases, message, qos, retain=retain, now=now, identifiers=identifiers)
        elif message.expires_at is None and not identifiers:
            head, tail = message.parts(self.version, qos, retain=retain)
        else:
            head, tail = message.parts_now(self.version, qos, retain=retain, now=now, identifiers=identifiers)
        self.out += (with_dup(head) if dup else head, PACKET_IDS[packet_id], tail)

    def _aliased(
        self,
        aliases: SentAliases,
        message: Message,
        qos: int,
        *,
        retain: bool,
        now: float,
        identifiers: tuple[int, ...],
    ) -> tuple[bytes, bytes]:
        plain = message.parts_now(self.version, qos, retain=retain, now=now, identifiers=identifiers)
        if self.max_packet and len(plain[0]) + len(plain[1]) + ALIAS_BYTES > self.max_packet:
            return plain
        number, known = aliases.use(message.topic)
        return message.parts_now(
            self.version, qos, retain=retain, now=now, identifiers=identifiers, alias=number, topic=not known
        )

    def _exceeds(self, message: Message, identifiers: tuple[int, ...], now: float, qos: int = 1) -> bool:
        if not self.max_packet:
            return False
        head, tail = message.parts_now(self.version, qos, retain=False, now=now, identifiers=identifiers)
        return len(head) + len(tail) + (2 if qos else 0) > self.max_packet  # the packet id is in neither part
