"""The broker's counters as Prometheus metrics, read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from broker.core import Core


class BrokerCollector(Collector):
    """Shows `broker.stats` and the sizes of what the broker holds."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """One sample of everything."""
        core, stats = self._core, self._core.stats
        yield GaugeMetricFamily("pabal_broker_connections", "Clients connected.", value=len(core.connections))
        yield GaugeMetricFamily("pabal_broker_sessions", "Sessions, connected or not.", value=len(core.sessions))
        yield GaugeMetricFamily("pabal_broker_subscriptions", "Subscriptions of all sessions.", value=core.index.size)
        yield GaugeMetricFamily("pabal_broker_retained", "Retained messages.", value=core.retained.count)
        waiting = sum(len(session.queue) for session in core.sessions.values())
        yield GaugeMetricFamily("pabal_broker_queued_messages", "Messages waiting for their session.", value=waiting)
        yield CounterMetricFamily("pabal_broker_messages_in", "Publishes taken.", value=stats.published)
        yield CounterMetricFamily("pabal_broker_messages_out", "Deliveries sent.", value=stats.delivered)
        yield CounterMetricFamily("pabal_broker_bytes_in", "Bytes read.", value=stats.bytes_in)
        yield CounterMetricFamily("pabal_broker_bytes_out", "Bytes written.", value=stats.bytes_out)
        for name, text, label, counter in (
            ("pabal_broker_connects", "Connection attempts by outcome.", "outcome", stats.connects),
            ("pabal_broker_dropped", "Messages not delivered, by reason.", "reason", stats.dropped),
            ("pabal_broker_refused", "Publishes and subscriptions refused, by reason.", "reason", stats.refused),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in counter.items():
                family.add_metric([value], count)
            yield family


def registry(core: Core) -> CollectorRegistry:
    """A registry with the broker's metrics."""
    made = CollectorRegistry()
    made.register(BrokerCollector(core))
    return made
