"""What most tests of the wire send and expect, in the version of their connection."""

from __future__ import annotations

from mqtt.packets import Publish
from tests.corpus import packet, text
from tests.wire.conftest import Wire


def subscribe(wire: Wire, topic: str, options: int = 1, *, block: bytes = b"", granted: int | None = None) -> None:
    """SUBSCRIBE with packet id 9 and its SUBACK."""
    five = bytes((len(block),)) + block if wire.version == 5 else b""
    wire.send(packet(0x82, b"\0\x09" + five + text(topic) + bytes((options,))))
    reason = options & 3 if granted is None else granted
    wire.expect(packet(0x90, b"\0\x09" + (b"\0" if wire.version == 5 else b"") + bytes((reason,))))


def publish(
    wire: Wire, topic: str, payload: bytes = b"x", *, flags: int = 0, packet_id: int = 1, block: bytes = b""
) -> bytes:
    """The bytes of a PUBLISH in the wire's version; `flags` are those of the fixed header."""
    five = bytes((len(block),)) + block if wire.version == 5 else b""
    number = packet_id.to_bytes(2, "big") if flags & 6 else b""
    return packet(0x30 | flags, text(topic) + number + five + payload)


def received(wire: Wire) -> Publish:
    answer = wire.read()
    assert isinstance(answer, Publish)
    return answer


def puback(number: int) -> bytes:
    return b"\x40\x02" + number.to_bytes(2, "big")


QOS1, RETAIN, DUP = 2, 1, 8
