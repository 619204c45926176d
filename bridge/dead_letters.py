"""Dead letters: messages that can't be processed, parked with their reason so that they can be replayed (P9)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from bridge.gather import Arrival
from bridge.metrics import Metrics
from chat.errors import PabalError
from chat.models import DeadLetter
from chat.ports import INGEST, DeadLetterStore

_log = structlog.get_logger("dead_letters")


class Parked(PabalError):
    """What the sender is told: it failed unexpectedly, was kept, and must not be sent again as it is.

    The reason code is one that is acknowledged to MQTT 3.1.1 (after the reject on the inbox): a resend would fail again.
    """

    code = "dead_letter"
    reason_code = 0x83
    ours = False


class DeadLetters:
    """Parks messages.

    Args:
        store: where they are kept.
        now: the wall clock, UTC.
    """

    def __init__(
        self, store: DeadLetterStore, metrics: Metrics, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._now = now

    async def park(self, arrival: Arrival, *, message_id: str | None, error: BaseException, tries: int) -> Parked:
        """Keep a message that failed `tries` times with `error`, and return what its sender is told.

        Raises:
            Unavailable: the store does not answer; nothing is settled.
        """
        delivery = arrival.delivery
        # The error's type only: its text may quote the message.
        reason = f"{type(error).__module__}.{type(error).__qualname__}"
        letter = DeadLetter(
            # Ids are the senders' choice: nobody's letter may replace somebody else's.
            id=f"{arrival.sender}:{message_id or _stand_in(arrival)}",
            topic=delivery.topic,
            payload=delivery.payload,
            reason=reason,
            tries=tries,
            at=self._now(),
            properties=dict(delivery.properties),
            content_type=delivery.content_type,
        )
        await self._store.add(letter)
        self._metrics.dead_letters.inc()
        _log.error("message.parked", id=letter.id, chat=arrival.chat, sender=arrival.sender, reason=reason, tries=tries)
        return Parked("the message could not be processed; it was kept for the operators")


def _stand_in(arrival: Arrival) -> str:
    """The id of a letter whose message has none that could be read: the same for a resend."""
    delivery = arrival.delivery
    ingest = delivery.properties.get(INGEST, "").encode()
    return hashlib.sha256(b"\0".join((delivery.topic.encode(), ingest, delivery.payload))).hexdigest()[:32]
