"""The broker's counters as Prometheus metrics, read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from broker.core import Core


class BrokerCollector(Collector):
    """Shows `broker.stats` and the sizes of what the broker holds."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """One sample of everything."""
        yield from self._sizes()
        yield from self._counters()
        yield from self._times()

    def _sizes(self) -> Iterator[Metric]:
        core = self._core
        connected = len(core.connections)
        yield GaugeMetricFamily("pabal_broker_connections", "Clients connected.", value=connected)
        services = sum(connection.identity.service for connection in core.connections.values())
        yield GaugeMetricFamily(
            "pabal_broker_service_connections", "Of those connected: bridges, APIs and workers.", value=services
        )
        sessions = GaugeMetricFamily("pabal_broker_sessions", "Sessions by state.", labels=["state"])
        sessions.add_metric(["connected"], connected)
        sessions.add_metric(["away"], len(core.sessions) - connected)
        yield sessions
        yield GaugeMetricFamily("pabal_broker_subscriptions", "Subscriptions of all sessions.", value=core.index.size)
        yield GaugeMetricFamily("pabal_broker_retained", "Retained messages.", value=core.retained.count)
        yield GaugeMetricFamily(
            "pabal_broker_unsent_bytes", "Bytes that clients have left unread.", value=core.unsent.total()
        )
        depths = [session.queued for session in core.sessions.values()]
        inflight = sum(len(session.inflight) for session in core.sessions.values())
        yield GaugeMetricFamily(
            "pabal_broker_queued_messages", "Messages waiting for their session.", value=sum(depths)
        )
        yield GaugeMetricFamily(
            "pabal_broker_queue_depth_max", "Messages in the longest queue of a session.", value=max(depths, default=0)
        )
        yield GaugeMetricFamily(
            "pabal_broker_inflight_messages", "Messages sent and not acknowledged by their receivers.", value=inflight
        )

        pending = core.journal.pending if core.journal is not None else 0
        yield GaugeMetricFamily("pabal_broker_store_pending", "Changes that wait for the next commit.", value=pending)

    def _counters(self) -> Iterator[Metric]:
        stats = self._core.stats
        yield CounterMetricFamily("pabal_broker_messages_in", "Publishes taken.", value=stats.published)
        yield CounterMetricFamily("pabal_broker_messages_out", "Deliveries sent.", value=stats.delivered)
        yield CounterMetricFamily("pabal_broker_bytes_in", "Bytes read.", value=stats.bytes_in)
        yield CounterMetricFamily("pabal_broker_bytes_out", "Bytes written.", value=stats.bytes_out)
        yield CounterMetricFamily(
            "pabal_broker_store_batches", "Commits of sessions to disk.", value=stats.store_batches
        )
        yield CounterMetricFamily(
            "pabal_broker_store_changes", "Records saved or forgotten on disk.", value=stats.store_changes
        )
        yield CounterMetricFamily("pabal_broker_store_failures", "Commits that failed.", value=stats.store_failures)
        for name, text, label, counter in (
            ("pabal_broker_connects", "Connection attempts by outcome.", "outcome", stats.connects),
            ("pabal_broker_dropped", "Messages not delivered, by reason.", "reason", stats.dropped),
            ("pabal_broker_refused", "Publishes and subscriptions refused, by reason.", "reason", stats.refused),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in counter.items():
                family.add_metric([value], count)
            yield family

    def _times(self) -> Iterator[Metric]:
        stats = self._core.stats
        for name, text, histogram in (
            ("pabal_broker_publish_ack_seconds", "From PUBLISH to its acknowledgement, sampled.", stats.to_ack),
            ("pabal_broker_publish_deliver_seconds", "From PUBLISH to its receivers, sampled.", stats.to_deliver),
            (
                "pabal_broker_delivered_seconds",
                "From a stored event to a receiver's PUBACK, sampled.",
                stats.to_receiver,
            ),
            ("pabal_broker_loop_lag_seconds", "By how much the event loop was late.", stats.loop_lag),
        ):
            yield HistogramMetricFamily(name, text, buckets=histogram.cumulative(), sum_value=histogram.total)


def registry(core: Core) -> CollectorRegistry:
    """A registry with the broker's metrics."""
    made = CollectorRegistry()
    made.register(BrokerCollector(core))
    return made
