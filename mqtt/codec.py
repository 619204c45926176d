"""Framing: a stream of bytes to whole packets, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from mqtt.decode import V5, V311, read_packet, read_pubacks, read_publish
from mqtt.encode import encode, encode_within, publish_parts, with_dup
from mqtt.packets import Connect, Packet, PacketType, PubAcks
from mqtt.reasons import ProtocolViolation, Reason, malformed

__all__ = ["V5", "V311", "Decoder", "encode", "encode_within", "publish_parts", "with_dup"]

_PUBLISH = PacketType.PUBLISH << 4
_PUBACK = PacketType.PUBACK << 4
_PLAIN_PUBACK = bytes((_PUBACK, 2))


def _run_of_pubacks(data: bytes, pos: int) -> PubAcks | None:
    """The plain PUBACKs that stand one behind the other from `pos` on; None where the first is no such, or one is invalid."""
    end = pos + 4
    while data[end : end + 2] == _PLAIN_PUBACK:
        end += 4
    if end > len(data):
        end -= 4  # the last one is not whole yet
    return read_pubacks(data[pos:end])


class Decoder:
    """Collects bytes and gives whole packets.

    Args:
        version: protocol level of what is read; 0 on a server, until CONNECT tells. What stands behind the CONNECT in the
            same bytes is kept unread until the next `feed`, so that the limits of whoever is let in hold for it.
        max_packet: the largest Remaining Length taken, in bytes. A larger claim is refused from the header, before any
            of it is kept.

    Attributes:
        failure: what the peer did wrong; nothing is read after it. The packets before it are valid and were given.
        version: the protocol level, once known.
    """

    __slots__ = ("_need", "_rest", "failure", "max_packet", "version")

    def __init__(self, *, version: int = 0, max_packet: int = 1 << 20) -> None:
        self.version = version
        self.max_packet = max_packet
        self.failure: ProtocolViolation | None = None
        self._rest: bytes | bytearray = b""
        self._need = 0

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole with `data`; what is left over waits for more."""
        return cast("list[Packet]", self._feed(data, runs=False))

    def _feed(self, data: bytes, *, runs: bool) -> list[Packet | PubAcks]:
        if self.failure is not None:
            return []
        if self._rest:
            # A bytearray grows in place: a peer that trickles a large packet byte by byte costs no copy per byte.
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data, self._rest = bytes(self._rest), b""
        packets: list[Packet | PubAcks] = []
        try:
            used = self._read(data, packets, runs=runs)
        except ProtocolViolation as violation:
            self.failure = violation
            return packets
        if used < len(data):
            self._rest = bytearray(data[used:])
        return packets

    def hold(self, data: bytes) -> None:
        """Keep bytes for the next `feed`, without a look at them."""
        self._rest += data

    def feed_all(self, data: bytes) -> Sequence[Packet | PubAcks]:
        """As `feed`, but plain PUBACKs in a row come as one `PubAcks`."""
        if data and data[0] == _PUBACK and not (len(data) % 4 or self._rest or self.failure) and self.version:
            run = read_pubacks(data)
            if run is not None:
                return (run,)
        return self._feed(data, runs=True)

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished packet are held."""
        return len(self._rest)

    def _read(self, data: bytes, packets: list[Packet | PubAcks], *, runs: bool) -> int:
        pos, size, version = 0, len(data), self.version
        while size - pos >= 2:
            length = data[pos + 1]
            start = pos + 2
            if length > 0x7F:
                if start < size and 0 < data[start] < 0x80:  # two bytes: what most messages are long
                    length += (data[start] << 7) - 0x80
                    start += 1
                else:
                    length, start = self._long_length(data, pos, size)
                    if not start:
                        self._need = 0
                        return pos
            if length > self.max_packet:
                raise ProtocolViolation(
                    Reason.PACKET_TOO_LARGE, f"a packet of {length} bytes; {self.max_packet} is the limit"
                )
            end = start + length
            if end > size:
                self._need = end - pos
                return pos
            first = data[pos]
            if version and first & 0xF0 == _PUBLISH:
                packets.append(read_publish(first & 0x0F, data, start, end, version))
            elif (
                runs
                and first == _PUBACK
                and version
                and data[end : end + 2] == _PLAIN_PUBACK
                and (run := _run_of_pubacks(data, pos)) is not None
            ):
                packets.append(run)
                end = pos + 4 * len(run.packet_ids)
            else:
                packets.append(read_packet(first, data, start, end, version))
                if not version:
                    self._first(packets)
                    pos = end
                    break
            pos = end
        self._need = 0
        return pos

    def _first(self, packets: list[Packet | PubAcks]) -> None:
        packet = packets[-1]
        if not isinstance(packet, Connect):  # [MQTT-3.1.0-1]
            packets.clear()
            raise ProtocolViolation(Reason.PROTOCOL_ERROR, "the first packet is not CONNECT")
        self.version = packet.version

    @staticmethod
    def _long_length(data: bytes, pos: int, size: int) -> tuple[int, int]:
        """Remaining Length of two to four bytes and where the packet's body starts; (0, 0) when it isn't whole yet."""
        value = 0
        for index in range(4):
            at = pos + 1 + index
            if at >= size:
                return 0, 0
            byte = data[at]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if byte == 0:
                    raise malformed("the remaining length is not in its shortest form")
                return value, at + 1
        raise malformed("the remaining length has more than four bytes")
