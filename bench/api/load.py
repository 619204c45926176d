"""Requests at a fixed rate over kept connections, and how long each took from the moment that it was due.

From the moment that it was *due*, not from when a connection was free for it: a server that stalls makes all who come meanwhile wait, and so
these waits are counted. A small client of our own, because a full one costs more than the server that is to be measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from bench.stats import percentile

CONNECTIONS = 64
PATIENCE = 30.0
"""Seconds after the last request in which answers may come."""

Request = bytes


def request(method: str, path: str, *, token: str = "", body: bytes = b"", headers: str = "") -> Request:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: api", "Accept: */*"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        form = body[:1] != b"{"
        lines.append(f"Content-Type: {'application/x-www-form-urlencoded' if form else 'application/json'}")
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n" + headers + "\r\n").encode() + body


@dataclass(slots=True)
class Tally:
    """What came back.

    Attributes:
        times: seconds from due to answered, of answers that are as expected.
        statuses: how many answers had which status.
        size: bytes of all answers.
    """

    times: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    size: int = 0

    def at(self, share: float) -> float:
        """Seconds that `share` of the answers took at most."""
        return percentile(self.times, share)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, done: Callable[[_Connection, int, int, bytes], None]) -> None:
        self._done = done
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # what a loop gives a stream protocol

    def send(self, data: Request, due: float) -> None:
        """Send a request that was due at a time."""
        if self._transport is None:
            raise RuntimeError("a request before the connection was there")
        self.due = due
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        start = head.find(b"content-length:")
        length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        if len(self._buffer) >= end + 4 + length:
            body = bytes(self._buffer[end + 4 :])
            self._buffer.clear()
            self._done(self, int(head[9:12]), end + 4 + length, body)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()


class Load:
    """A line of requests and the connections that serve it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: deque[_Connection] = deque()
        self._line: deque[tuple[float, Request]] = deque()
        self._tally = Tally()
        self._under_way = 0
        self._quiet = asyncio.Event()

    async def run(self, requests: Iterator[Request], *, rate: float, seconds: float, expect: int) -> Tally:
        """Send requests for some seconds, evenly spaced.

        Raises:
            RuntimeError: an answer is missing, or is another than `expect`.
        """
        loop = asyncio.get_running_loop()
        opened = [
            await loop.create_connection(lambda: _Connection(self._answered), self._host, self._port)
            for _ in range(CONNECTIONS)
        ]
        self._free.extend(protocol for _, protocol in opened)
        count, begin = int(rate * seconds), time.perf_counter() + 0.05
        for number in range(count):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._line.append((due, next(requests)))
            self._quiet.clear()
            self._serve()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), PATIENCE)
        for _, protocol in opened:
            protocol.close()
        other = {status: number for status, number in self._tally.statuses.items() if status != expect}
        if other or len(self._tally.times) != count:
            raise RuntimeError(f"of {count} requests {len(self._tally.times)} were answered {expect}; others: {other}")
        return self._tally

    def _serve(self) -> None:
        while self._line and self._free:
            due, data = self._line.popleft()
            self._under_way += 1
            self._free.popleft().send(data, due)

    def _answered(self, connection: _Connection, status: int, size: int, body: bytes) -> None:
        del body
        tally = self._tally
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        tally.times.append(time.perf_counter() - connection.due)
        tally.size += size
        self._under_way -= 1
        self._free.append(connection)
        self._serve()
        if not self._under_way:
            self._quiet.set()
