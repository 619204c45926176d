"""What the bridge counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class Metrics:
    """The bridge's metrics, each under `pabal_bridge_…`.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stored = Counter("pabal_bridge_stored", "Events stored", registry=registry)
        self.repeats = Counter("pabal_bridge_repeats", "Messages that were stored already", registry=registry)
        self.voids = Counter("pabal_bridge_voids", "Slots filled with a void event", registry=registry)
        self.seq_taken = Counter(
            "pabal_bridge_seq_taken", "Events whose slot another bridge had used", registry=registry
        )
        self.refused = Counter("pabal_bridge_refused", "Publishes refused", ["code"], registry=registry)
        self.shadowed = Counter(
            "pabal_bridge_shadowed", "Messages that only their sender gets to see", registry=registry
        )
        self.dead_letters = Counter("pabal_bridge_dead_letters", "Messages parked as dead letters", registry=registry)
        self.retries = Counter(
            "pabal_bridge_retries", "Tries that a transient fault made necessary", ["step"], registry=registry
        )
        self.fan_out_refused = Counter(
            "pabal_bridge_fan_out_refused", "Events that the broker will never take", registry=registry
        )
        self.batch_size = Histogram("pabal_bridge_batch_size", "Messages per batch", buckets=_SIZES, registry=registry)
        self.commit_seconds = Histogram(
            "pabal_bridge_commit_seconds",
            "From a batch's start until it is stored",
            buckets=_SECONDS,
            registry=registry,
        )
        self.stored_seconds = Histogram(
            "pabal_bridge_stored_seconds",
            "From the arrival of a batch's oldest message until it is stored",
            buckets=_SECONDS,
            registry=registry,
        )
        self.settled_seconds = Histogram(
            "pabal_bridge_settled_seconds",
            "From the arrival of a batch's oldest message until it is acknowledged",
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge("pabal_bridge_waiting", "Messages that wait for a batch", registry=registry)
        self.watermarks = Counter("pabal_bridge_watermarks", "Watermarks raised", registry=registry)
        self.receipt_updates = Counter("pabal_bridge_receipt_updates", "Receipt updates published", registry=registry)
        self.sync_pages = Counter("pabal_bridge_sync_pages", "Sync pages sent", registry=registry)
        self.sync_resets = Counter("pabal_bridge_sync_resets", "Sync resets sent", ["reason"], registry=registry)
        self.withdrawals_dropped = Counter(
            "pabal_bridge_withdrawals_dropped",
            "Users who have seen a chat and were not asked about for a notification of it",
            registry=registry,
        )
        self.push_marks = Counter("pabal_bridge_push_marks", "Events stored with a push mark", registry=registry)
