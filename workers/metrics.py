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
AUDIT_CHECKS = Counter("pabal_audit_log_checks", "Checks of the audit log, by what came of them", ["result"])
DIFFERENCES = Counter("pabal_unread_differences", "Memberships whose unread count was wrong: a fault of ours")
SEND_SECONDS = Histogram(
    "pabal_push_send_seconds",
    "Seconds that the provider took for one push",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)

# Rates and increases see only what moves: the first of something rare must not be a new time series.
for _outcome in ("sent", "dead", "rejected", "retry"):
    PUSHES.labels(_outcome)
for _ending in ("done", "gone", "busy", "skipped", "parked"):
    EVENTS.labels(_ending)
for _result in ("intact", "broken", "unavailable"):
    AUDIT_CHECKS.labels(_result)
