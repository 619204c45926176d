"""A load client that costs little: pre-encoded packets, one write per read, and a walk over frames instead of a parse.

It must not be the bottleneck of what it measures, so it understands only what a measurement needs: PUBLISH and PUBACK. The CPU
that it uses is reported beside each figure.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator

from mqtt.codec import V5, Decoder, encode, publish_parts
from mqtt.packets import ConnAck, Connect, Filter, SubAck, Subscribe
from mqtt.wire import PACKET_IDS


class LoadClient(asyncio.Protocol):
    """One connection that publishes with a window, subscribes, or both.

    Args:
        client_id: MQTT client id.
        version: protocol level, 4 or 5.
        username: for CONNECT.
        password: likewise.

    Attributes:
        sent: publishes.
        acked: publishes acknowledged.
        refused: of those, how many with a reason code of 0x80 and above.
        received: PUBLISH packets received.
        latencies: seconds from publish to PUBACK, if asked for.
        delays: seconds from publish to delivery, if payloads carry a stamp (see `stamp`).
    """

    def __init__(
        self, client_id: str, *, version: int = 4, username: str | None = None, password: bytes | None = None
    ) -> None:
        self._connect = Connect(client_id, version=version, username=username, password=password, keep_alive=0)
        self._version = version
        self._rest = b""
        self._end = 0
        self._setup: Decoder | None = Decoder(version=version)
        self._answer: asyncio.Future[ConnAck | SubAck] | None = None
        self._transport: asyncio.Transport | None = None
        self._next: Callable[[], tuple[bytes, bytes]] | None = None
        self._id = 0
        self._left = 0
        self._sent_at: deque[float] = deque()
        self.sent = 0
        self.acked = 0
        self.refused = 0
        self.received = 0
        self.latencies: list[float] = []
        self.delays: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_receive: Callable[[bytes, int, int], None] | None = None

    # ---- set-up

    async def open(self, host: str, port: int) -> None:
        """Connect and wait for CONNACK."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, host, port)
        connack = await self._ask(encode(self._connect, self._version))
        if not isinstance(connack, ConnAck) or connack.reason:
            raise ConnectionError(f"the broker answered {connack}")

    async def subscribe(self, *filters: str, qos: int = 1) -> None:
        """Subscribe and wait for SUBACK."""
        packet = Subscribe(1, [Filter(text, qos) for text in filters])
        answer = await self._ask(encode(packet, self._version))
        if not isinstance(answer, SubAck) or any(code >= 0x80 for code in answer.reasons):
            raise ConnectionError(f"the broker answered {answer}")

    def start(self) -> None:
        """From now on only PUBLISH and PUBACK come."""
        self._setup = None

    async def _ask(self, data: bytes) -> ConnAck | SubAck:
        assert self._transport is not None  # noqa: S101 - open() comes first
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await asyncio.wait_for(self._answer, 10)

    # ---- load

    def publish(self, count: int, window: int, make: Callable[[], tuple[bytes, bytes]]) -> None:
        """Send `count` messages, at most `window` unanswered. `make` gives each one's parts around the packet id."""
        self._left = count
        self._next = make
        self._fill(window)

    def publish_now(self, parts: tuple[bytes, bytes]) -> None:
        """Send one message, whatever is unanswered: for a fixed rate."""
        assert self._transport is not None  # noqa: S101
        self._transport.writelines(self._one(parts))

    def stop(self) -> None:
        """Send nothing more; what is unanswered is awaited still."""
        self._left = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is left to send, and all is answered."""
        return not self._left and not self._sent_at

    def check(self) -> None:
        """Look whether the connection lasts.

        Raises:
            ConnectionError: it does not.
        """
        if self.done.done():
            self.done.result()

    def _one(self, parts: tuple[bytes, bytes]) -> tuple[bytes, bytes, bytes]:
        self._id = self._id % 65_535 + 1
        self.sent += 1
        self._sent_at.append(time.perf_counter())
        return parts[0], PACKET_IDS[self._id], parts[1]

    def _fill(self, room: int) -> None:
        room = min(room, self._left)
        make = self._next
        if not room or make is None or self._transport is None:
            return
        self._left -= room
        out: list[bytes] = []
        for _ in range(room):
            out += self._one(make())
        self._transport.write(b"".join(out))

    # ---- called by the loop

    def data_received(self, data: bytes) -> None:
        """Walk over whole frames."""
        if self._setup is not None:
            for packet in self._setup.feed(data):
                if self._answer is not None and not self._answer.done() and isinstance(packet, ConnAck | SubAck):
                    self._answer.set_result(packet)
            return
        if self._rest:
            data = self._rest + data
        acks: list[bytes] = []
        answered = 0
        for pos, start, end in frames(data):
            kind = data[pos] >> 4
            if kind == 4:
                answered += 1
                self.refused += end - start > 2 and data[start + 2] >= 0x80
            elif kind == 3:
                self._take(data, pos, start, end, acks)
            self._end = end
        self._rest = data[self._end :]
        self._end = 0
        if acks and self._transport is not None:
            self._transport.write(b"".join(acks))
        if answered:
            self._answered(answered)

    def _take(self, data: bytes, pos: int, start: int, end: int, acks: list[bytes]) -> None:
        self.received += 1
        body = start + 2 + (data[start] << 8 | data[start + 1])
        if data[pos] & 6:
            acks += (b"\x40\x02", data[body : body + 2])
            body += 2
        if self.on_receive is not None:
            if self._version == V5:
                body += 1 + data[body]
            self.on_receive(data, body, end)

    def _answered(self, count: int) -> None:
        self.acked += count
        now = time.perf_counter()
        for _ in range(count):
            self.latencies.append(now - self._sent_at.popleft())
        if self._left:
            self._fill(count)
        elif not self._sent_at and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The broker hung up."""
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the broker closed the connection: {exc}"))

    def close(self) -> None:
        """Hang up."""
        if not self.done.done():
            self.done.set_result(None)
        if self._transport is not None:
            self._transport.close()


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Where whole packets are: first byte, first byte behind the fixed header, one behind the end."""
    pos, size = 0, len(data)
    while size - pos >= 2:
        length, start, shift = data[pos + 1], pos + 2, 7
        if length > 0x7F:
            length &= 0x7F
            while True:
                if start >= size:
                    return
                byte = data[start]
                length |= (byte & 0x7F) << shift
                start += 1
                shift += 7
                if byte < 0x80:
                    break
        end = start + length
        if end > size:
            return
        yield pos, start, end
        pos = end


def fixed(topic: str, payload: bytes, *, version: int) -> Callable[[], tuple[bytes, bytes]]:
    """Always the same message, encoded once."""
    parts = publish_parts(topic, payload, qos=1, retain=False, version=version)
    return lambda: parts
