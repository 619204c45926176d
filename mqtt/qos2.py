"""The acknowledgement flows of MQTT 5.0 §4.3 (3.1.1 the same) as tables: what is absent is a protocol error.

we send      (on disk) ──► PUBLISH ──► PUBREC ──► (on disk) ──► PUBREL ──► PUBCOMP       (QoS 1: PUBLISH ──► PUBACK)
we receive   PUBLISH ──► taken on ──► PUBREC ──► PUBREL ──► PUBCOMP
"""

from __future__ import annotations

from enum import Enum, auto

from mqtt.reasons import protocol_error


class Awaits(Enum):
    """What a message that was sent waits for."""

    PUBACK = 1  # the numbers stand in session stores
    PUBREC = 2
    PUBCOMP = 3
    COMMIT = 4
    """QoS 2 for a session that outlives the process: sent once its packet id is on disk, or a restart might send it twice."""


class Heard(Enum):
    """What the client answers."""

    PUBACK = auto()
    RECEIVED = auto()
    """PUBREC below 0x80."""
    REFUSED = auto()
    """PUBREC of 0x80 or above: the end of the flow [MQTT-4.4.0-2]."""
    PUBCOMP = auto()


_SENT: dict[tuple[Awaits, Heard], Awaits | None] = {
    (Awaits.PUBACK, Heard.PUBACK): None,
    (Awaits.PUBREC, Heard.RECEIVED): Awaits.PUBCOMP,
    (Awaits.PUBREC, Heard.REFUSED): None,
    (Awaits.PUBCOMP, Heard.RECEIVED): Awaits.PUBCOMP,  # said twice: PUBREL again
    (Awaits.PUBCOMP, Heard.REFUSED): None,
    (Awaits.PUBCOMP, Heard.PUBCOMP): None,
}

FIRST = {1: Awaits.PUBACK, 2: Awaits.PUBREC}
"""What a PUBLISH waits for, by QoS."""


def after(awaits: Awaits, heard: Heard) -> Awaits | None:
    """What a sent message waits for next; None when it is done.

    Raises:
        ProtocolViolation: an answer of the other QoS, or out of order.
    """
    try:
        return _SENT[awaits, heard]
    except KeyError:
        raise protocol_error(f"{heard.name} for a message that waits for {awaits.name}") from None


class Held(Enum):
    """Where a QoS 2 message of the client is."""

    TAKING = auto()
    """Whoever has to store it has not answered."""
    RECEIVED = auto()
    """PUBREC was sent: it is ours, and the packet id is held until PUBREL [MQTT-4.3.3-10]."""


class Event(Enum):
    """What happens to a QoS 2 message of the client."""

    PUBLISH = auto()
    TAKEN = auto()
    REFUSED = auto()
    PUBREL = auto()
    LOST = auto()
    """The connection is gone: who was not answered sends again."""


class Answer(Enum):
    """What the client is sent."""

    NOTHING = auto()
    PUBREC = auto()
    PUBCOMP = auto()
    PUBCOMP_UNKNOWN = auto()


_RECEIVING: dict[tuple[Held | None, Event], tuple[Held | None, Answer]] = {
    (None, Event.PUBLISH): (Held.TAKING, Answer.NOTHING),
    (None, Event.TAKEN): (Held.RECEIVED, Answer.PUBREC),
    (None, Event.REFUSED): (None, Answer.PUBREC),
    (None, Event.PUBREL): (None, Answer.PUBCOMP_UNKNOWN),
    (Held.TAKING, Event.PUBLISH): (Held.TAKING, Answer.NOTHING),
    (Held.TAKING, Event.TAKEN): (Held.RECEIVED, Answer.PUBREC),
    (Held.TAKING, Event.REFUSED): (None, Answer.PUBREC),  # [MQTT-4.3.3-9]
    (Held.TAKING, Event.LOST): (None, Answer.NOTHING),
    (Held.RECEIVED, Event.PUBLISH): (Held.RECEIVED, Answer.PUBREC),  # a duplicate: nobody gets it again
    (Held.RECEIVED, Event.PUBREL): (None, Answer.PUBCOMP),
    (Held.RECEIVED, Event.LOST): (Held.RECEIVED, Answer.NOTHING),
}


def receive(held: Held | None, event: Event) -> tuple[Held | None, Answer]:
    """Where a QoS 2 message of the client is after an event, and what the client is sent.

    Raises:
        ProtocolViolation: PUBREL before PUBREC.
    """
    try:
        return _RECEIVING[held, event]
    except KeyError:
        raise protocol_error(f"{event.name} for a message that is {held.name.lower() if held else 'unknown'}") from None
