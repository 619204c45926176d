"""Which sockets are let in at all, before a byte of theirs is read: how many there are, and how fast they come.

Over a limit a socket is closed without a word: a CONNACK with 0x97 or 0x9F would answer a CONNECT that would have to be
read first, and over TLS decrypted: the very work that the limit is to save. Clients take it for a lost connection and
come back with their own back-off. Each refusal is counted (`Stats.connects`: `too_many`, `address_rate`).
"""

from __future__ import annotations

from broker.core import Core

_ADDRESSES = 20_000
"""Addresses that are remembered, about 200 bytes each. One that is forgotten starts with a full bucket."""


class Admission:
    """A token bucket per address, and a bound for all.

    Args:
        core: its limits are read each time, as they may be replaced; so is its clock.

    Attributes:
        shaking: sockets in the middle of a TLS or WebSocket handshake, which have no connection yet.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._buckets: dict[str, tuple[float, float]] = {}
        """By address: tokens left, and when that was so; who came last stands last."""
        self.shaking = 0

    def admits(self, address: str) -> bool:
        """Whether one more socket from this address is let in; it is counted either way."""
        core = self._core
        if len(core.open) + self.shaking >= core.limits.connections:
            core.stats.connects["too_many"] += 1
            return False
        if not self._take(address):
            core.stats.connects["address_rate"] += 1
            return False
        return True

    def _take(self, address: str) -> bool:
        limits, now = self._core.limits, self._core.clock()
        if not limits.address_rate:
            return True
        tokens, since = self._buckets.pop(address, (float(limits.address_burst), now))
        tokens = min(float(limits.address_burst), tokens + (now - since) * limits.address_rate)
        allowed = tokens >= 1.0
        self._buckets[address] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > _ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return allowed
