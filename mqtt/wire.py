"""The data representations of MQTT (5.0 §1.5): integers, strings, binary data, variable byte integers.

`Reader` walks one packet's bytes and refuses whatever the clause named beside it refuses.
"""

from __future__ import annotations

from functools import lru_cache

from mqtt.reasons import malformed

MAX_VARINT = 268_435_455
"""The largest Remaining Length: four bytes of seven bits (5.0 §2.1.4)."""


class Reader:
    """Reads from `data` between two offsets.

    Args:
        data: bytes that hold the packet.
        pos: where its variable header starts.
        end: one behind its last byte.
    """

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int, end: int) -> None:
        self.data = data
        self.pos = pos
        self.end = end

    def byte(self) -> int:
        """One byte."""
        pos = self.pos
        if pos >= self.end:
            raise malformed("the packet ends inside a field")
        self.pos = pos + 1
        return self.data[pos]

    def u16(self) -> int:
        """Two bytes, big-endian."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Four bytes, big-endian."""
        return int.from_bytes(self.take(4), "big")

    def take(self, count: int) -> bytes:
        """So many bytes."""
        start = self.pos
        stop = start + count
        if stop > self.end:
            raise malformed("the packet ends inside a field")
        self.pos = stop
        return self.data[start:stop]

    def binary(self) -> bytes:
        """Binary data with its two-byte length."""
        return self.take(self.u16())

    def string(self) -> str:
        """A UTF-8 string: well-formed, no surrogates, no U+0000; a BOM stays [MQTT-1.5.4-1, -2, -3]."""
        return decode_string(self.binary())

    def varint(self) -> int:
        """A variable byte integer in its shortest form [MQTT-1.5.5-1]."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise malformed("a variable byte integer is not in its shortest form")
                return value
        raise malformed("a variable byte integer has more than four bytes")

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return self.end - self.pos

    def finish(self) -> None:
        """Nothing may be left."""
        if self.pos != self.end:
            raise malformed("bytes are left over at the end of the packet")


def decode_string(raw: bytes) -> str:
    """The text of a UTF-8 Encoded String [MQTT-1.5.4-1, -2]."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise malformed("a string is not well-formed UTF-8") from None
    if "\0" in text:
        raise malformed("a string holds U+0000")
    return text


@lru_cache(maxsize=16_384)
def encode_varint(value: int) -> bytes:
    """A variable byte integer, 0 to `MAX_VARINT`."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        if not value:
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def encode_string(text: str) -> bytes:
    """A UTF-8 string behind its two-byte length."""
    return encode_binary(text.encode())


def encode_binary(raw: bytes) -> bytes:
    """Binary data behind its two-byte length."""
    return len(raw).to_bytes(2, "big") + raw


PACKET_IDS = tuple(number.to_bytes(2, "big") for number in range(0x10000))
"""Every packet id as its two bytes: cheaper to look up than to make, and they are made for each delivery."""
