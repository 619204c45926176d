"""How many jobs wait in each queue, for `/metrics`: asked of Valkey, where Celery keeps a list per queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.jobs import TRANSPORT
from adapters.valkey import Valkey
from adapters.valkey.connection import unavailable
from chat.errors import Unavailable
from chat.jobs import MAINTENANCE_QUEUE, PUSH_QUEUE

QUEUES = (PUSH_QUEUE, MAINTENANCE_QUEUE)


class QueueLengths(Collector):
    """`pabal_queue_waiting{queue}`; jobs that a worker has taken are not among them. Nothing is told while nobody knows."""

    def __init__(self) -> None:
        self._lengths: Mapping[str, int] = {}

    async def look(self, client: Valkey) -> bool:
        """Ask; whether Valkey has answered. Never raises."""
        pipeline = client.pipeline(transaction=False)
        for queue in QUEUES:
            pipeline.llen(f"{TRANSPORT['global_keyprefix']}{queue}")
        try:
            with unavailable("count jobs"):
                self._lengths = dict(zip(QUEUES, await pipeline.execute(), strict=True))
        except Unavailable:
            self._lengths = {}
            return False
        return True

    def collect(self) -> Iterator[Metric]:
        """One sample per queue."""
        family = GaugeMetricFamily("pabal_queue_waiting", "Jobs that nobody has taken yet", labels=["queue"])
        for queue, length in self._lengths.items():
            family.add_metric([queue], length)
        yield family
