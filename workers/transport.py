"""Kombu's transport for Redis, with a guard: what is in a queue and is no job at all is thrown away and counted.

Without it a single such item ends the connection of the worker that takes it: kombu reads it outside of anything that could be told of it.
An item that can be read, and is no job of ours, gets as far as `workers.consumer`, which parks it.
"""

from __future__ import annotations

from typing import Any

import structlog
from kombu.transport import redis

from workers import metrics

_log = structlog.get_logger("jobs")


def well_formed(item: object) -> bool:
    """Whether kombu can make a message of something that was in a queue: it looks at these fields without asking."""
    if not isinstance(item, dict) or not isinstance(item.get("body"), str):
        return False
    properties, headers = item.get("properties"), item.get("headers")
    if not isinstance(properties, dict) or not isinstance(headers, dict):
        return False
    info = properties.get("delivery_info")
    return (
        isinstance(properties.get("delivery_tag"), str)
        and properties.get("body_encoding") in (None, "base64")
        and isinstance(info, dict)
        and isinstance(info.get("routing_key"), str)
        and isinstance(info.get("exchange"), str)
    )


class Channel(redis.Channel):
    """Reads queues."""

    def _brpop_read(self, **options: Any) -> Any:
        """Read one item. JSON and UTF-8 are read here and nowhere behind it: what is not, is no item."""
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # it is no part of the stubs
        except ValueError:
            _dropped("no JSON")
            return None


class Transport(redis.Transport):
    """As `redis://`, which is what its URL looks like."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        if well_formed(message):
            super()._deliver(message, queue)
        else:
            _dropped("no envelope")


def _dropped(why: str) -> None:
    metrics.REFUSED.labels("dropped").inc()
    _log.error("job.dropped", why=why)
