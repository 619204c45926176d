"""Rejects: what is told to somebody whose publish was refused, on their inbox and in the PUBACK.

MQTT 3.1.1 has no negative PUBACK, so the inbox must have the reject before the publish is settled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

import structlog

from bridge.metrics import Metrics
from chat import topics
from chat.envelopes import Reject, encode
from chat.errors import PabalError, Unavailable
from chat.ports import Delivery, Link, Published

_log = structlog.get_logger("rejects")


@dataclass(slots=True)
class Refusal:
    """One publish that was refused.

    Attributes:
        user: whose inbox is told.
        message_id: None when none could be read.
    """

    delivery: Delivery
    error: PabalError
    user: str
    chat: str | None = None
    message_id: str | None = None


class Rejects:
    """Refuses publishes.

    Args:
        link: to the broker.
    """

    def __init__(self, link: Link, metrics: Metrics) -> None:
        self._link = link
        self._metrics = metrics

    async def tell(self, refusals: Sequence[Refusal]) -> None:
        """Put a `reject` on each inbox, then settle. Faults of ours are settled only: the sender is to try again, not to give up."""
        answers = [None if refusal.error.ours else self._publish(refusal) for refusal in refusals]
        for refusal, answer in zip(refusals, answers, strict=True):
            if answer is not None:
                try:
                    await answer
                except Unavailable:
                    # The link went down, and the delivery with it: it comes again and is refused again.
                    continue
            error = refusal.error
            self._metrics.refused.labels(error.code).inc()
            _log.debug("publish.refused", user=refusal.user, chat=refusal.chat, id=refusal.message_id, code=error.code)
            refusal.delivery.settle(error.reason_code, error.reason, error.code)

    def _publish(self, refusal: Refusal) -> Awaitable[Published]:
        error = refusal.error
        reject = Reject(code=error.code, reason=error.reason, id=refusal.message_id, chat=refusal.chat)
        return self._link.publish(topics.inbox(refusal.user), encode(reject))
