"""Bytes that the broker has written and the system has not taken: a bound for all connections together (promise P8).

Each connection may leave `limits.write_buffer` unread before it is treated as stalled, and what it is owed of QoS 1 and 2 comes
on top: times the number of connections that is more than any machine has. So their sum has a limit of its own, and when it is
passed, those who owe the most reading are cut, without more ado: what they were sent is given up, a session of theirs stays.

What is unsent can't grow by more than what is written. So it is looked at each time a quarter of the limit has been written,
which is once in many thousand writes, and it is never more than the limit and that quarter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from broker.connection import Connection
    from broker.core import Core

log = structlog.get_logger("broker")


class Unsent:
    """Keeps the sum below `limits.write_buffer_total`.

    Args:
        core: its connections, limits and counters.

    Attributes:
        look_at: how many bytes must have been written, of `stats.bytes_out`, for the next look.
        leaving: connections that have ended, and whose last bytes still wait for the other side to read them.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.leaving: set[Connection] = set()
        self.look_at = self._step()

    def total(self) -> int:
        """Bytes of all connections together."""
        return sum(connection.unsent for connection in self._holders())

    def look(self) -> None:
        """Cut whoever has the most unread, until the rest fits."""
        self.look_at = self._core.stats.bytes_out + self._step()
        limit, held = self._core.limits.write_buffer_total, self.total()
        if held <= limit:
            return
        log.warning("unsent.full", bytes=held, limit=limit)
        for connection in sorted(self._holders(), key=lambda each: each.unsent, reverse=True):
            held -= connection.unsent
            self._core.stats.dropped["slow_consumer_cut"] += 1
            connection.cut()
            if held <= limit:
                return

    def _holders(self) -> list[Connection]:
        return [*self._core.open, *self.leaving]

    def _step(self) -> int:
        return self._core.limits.write_buffer_total // 4
