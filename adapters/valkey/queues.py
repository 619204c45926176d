"""How full the job queues are: a look at what Celery keeps in Valkey."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.valkey.connection import Valkey, unavailable

PREFIX = "jobs:"
"""Of Celery's keys (`adapters.jobs.TRANSPORT`)."""

_TAKEN = f"{PREFIX}unacked_index"


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue.

    Attributes:
        waiting: jobs that nobody has taken.
        oldest_at: Unix time at which the one that is next was sent; None when nobody waits, or it does not say.
    """

    waiting: int
    oldest_at: float | None


async def look(client: Valkey, queues: Sequence[str]) -> tuple[dict[str, QueueState], int]:
    """Every queue by name, and how many jobs are taken and not acknowledged (those that wait for their next try among them).

    Raises:
        Unavailable: Valkey does not answer.
    """
    with unavailable("show its queues"):
        async with client.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.llen(PREFIX + queue)
                pipe.lindex(PREFIX + queue, -1)  # jobs come in at the left and are taken from the right
            pipe.zcard(_TAKEN)
            answers = await pipe.execute()
    pairs = zip(answers[0:-1:2], answers[1:-1:2], strict=True)
    found = {
        queue: QueueState(int(length), _sent_at(oldest)) for queue, (length, oldest) in zip(queues, pairs, strict=True)
    }
    return found, int(answers[-1])


def _sent_at(item: str | None) -> float | None:
    """When a job says that it was sent (`adapters.jobs` notes it in its headers)."""
    try:
        return float(json.loads(item or "")["headers"]["sent_at"])
    except (ValueError, LookupError, TypeError):
        return None
