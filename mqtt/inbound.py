"""What a session remembers of the publishes that its client sends: names for the bridge, and QoS 2 packet ids."""

from __future__ import annotations

from mqtt.qos2 import Answer, Event, Held, receive


class Inbound:
    """The receiving half of a session. It survives the connection.

    Args:
        uid: of the session; ingest ids begin with it.

    Attributes:
        held: QoS 2 packet ids of the client that are in use; at most 65,535, a few bytes each.
    """

    __slots__ = ("_count", "_names", "_uid", "held")

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._count = 0
        self._names: dict[int, int] = {}
        self.held: dict[int, Held] = {}

    def happens(self, packet_id: int, event: Event) -> Answer:
        """Something happens to the QoS 2 message with this packet id: what the client is sent.

        Raises:
            ProtocolViolation: not now.
        """
        after, answer = receive(self.held.get(packet_id), event)
        if after is None:
            self.held.pop(packet_id, None)
        else:
            self.held[packet_id] = after
        return answer

    def lost(self) -> None:
        """The connection is gone."""
        for packet_id in list(self.held):
            self.happens(packet_id, Event.LOST)

    def ingest_id(self, packet_id: int, *, dup: bool, keep: int) -> str:
        """A name for an incoming publish that stays the same when the client sends the packet again with DUP.

        Args:
            packet_id: of the client's PUBLISH.
            dup: its DUP flag: the client says that it has sent this packet id before without an answer.
            keep: how many packet ids to remember: as many as the client may have unanswered.
        """
        number = self._names.get(packet_id) if dup else None
        if number is None:
            self._count += 1
            number = self._count
            self._names.pop(packet_id, None)  # the newest stand last
            self._names[packet_id] = number
            if len(self._names) > keep:
                del self._names[next(iter(self._names))]
        return f"{self._uid}.{number}"

    def number_of(self, packet_id: int) -> int:
        """The number in the name that a packet id has now."""
        return self._names[packet_id]

    def began_anew(self, count: int) -> None:
        """The session comes from an earlier process: new names are unlike all that it gave."""
        self._count = count

    def was_named(self, packet_id: int, number: int) -> None:
        """An earlier process had named this packet id."""
        self._names[packet_id] = number
