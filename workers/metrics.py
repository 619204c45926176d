"""What the worker counts.

Jobs run in pool processes and Prometheus asks the main one: prometheus_client's multiprocess mode adds them up through files in
PROMETHEUS_MULTIPROC_DIR, which `workers.__main__` sets before this module is imported.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

PUSHES = Counter(
    "pabal_pushes",
    "Pushes for an installation: sent, dead or parked, and how often one was put off (retry)",
    ["outcome"],
)
SUPPRESSED = Counter("pabal_pushes_suppressed", "Pushes that a rule has ended, by user and message", ["rule"])
WITHDRAWN = Counter("pabal_pushes_withdrawn", "Notifications that were taken back, by how that ended", ["outcome"])
QUOTA_WAITS = Counter("pabal_push_quota_waits", "Times that the quota of pushes was used up")
EVENTS = Counter("pabal_push_events", "Marked events looked at, by what became of them", ["ending"])
SWEPT = Counter("pabal_push_swept", "Events whose push job was lost and sent again by the sweeper")
ERASED = Counter("pabal_messages_erased", "Expired messages whose content was erased")
ROLLED_UP = Counter("pabal_statistics_rows", "Events and receipts that were counted for the statistics")
JOBS = Counter("pabal_jobs_ended", "Jobs that this worker ran, by how they ended", ["task", "ending"])
JOB_ROWS = Counter("pabal_job_rows", "What regular jobs did, in rows: what a row is depends on the job", ["task"])
REFUSED = Counter("pabal_jobs_refused", "What was in a queue and is no job, by what became of it", ["fate"])
PARKED = Counter("pabal_jobs_parked", "Jobs that became dead letters", ["kind"])
RETAINED = Counter("pabal_retention_erased", "What was older than its chat keeps, by what it was", ["what"])
COMPACTED = Counter("pabal_receipts_folded", "Receipts that were folded into a later one of the same day")
TIDIED = Counter("pabal_tokens_tidied", "What was forgotten because it is over, by what it was", ["what"])
AUDITED = Counter("pabal_unread_audited", "Memberships whose unread count was counted anew")
DIFFERENCES = Counter("pabal_unread_differences", "Memberships whose unread count was wrong: a fault of ours")
TOLD = Counter("pabal_broadcast_told", "Inboxes and chats that broadcasts were told to")
AUDIT_CHECKS = Counter("pabal_audit_log_checks", "Checks of the audit log, by what came of them", ["result"])
SEND_SECONDS = Histogram(
    "pabal_push_send_seconds",
    "Seconds that the provider took for one push",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)

# Rates and increases see only what moves: the first of something rare must not be a new time series.
for _outcome in ("sent", "dead", "parked", "retry"):
    PUSHES.labels(_outcome)
for _ending in ("done", "gone", "busy", "skipped", "wait", "retry", "parked"):
    EVENTS.labels(_ending)
for _result in ("intact", "broken", "unavailable"):
    AUDIT_CHECKS.labels(_result)
