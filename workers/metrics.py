"""What the worker counts.

Jobs run in pool processes and Prometheus asks the main one: prometheus_client's multiprocess mode adds them up through files in
PROMETHEUS_MULTIPROC_DIR, which `workers.__main__` sets before this module is imported.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

PUSHES = Counter("pabal_pushes", "Pushes handed to the provider, by how they ended", ["outcome"])
EVENTS = Counter("pabal_push_events", "Push jobs, by how they ended", ["ending"])
SWEPT = Counter("pabal_push_swept", "Events whose push job was lost and sent again by the sweeper")
ERASED = Counter("pabal_messages_erased", "Expired messages whose content was erased")
ROLLED_UP = Counter("pabal_statistics_rows", "Events and receipts that were counted for the statistics")
TOLD = Counter("pabal_broadcast_told", "Inboxes and chats that broadcasts were told to")
SEND_SECONDS = Histogram(
    "pabal_push_send_seconds",
    "Seconds that the provider took for one push",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
