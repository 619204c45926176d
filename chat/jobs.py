"""Names of background jobs: how the bridge and the api name work for the workers without importing them.

A job takes ids only, is idempotent, and is sent after what it is about has been stored. Each kind of work has a queue of its own, so that
a worker can be there for one kind alone.
"""

from __future__ import annotations

PUSH_EVENT = "pabal.push.event"
"""Push stored events to the members who are away. Arguments: message ids, of any chats."""

PUSH_TOGETHER = 200
"""Events of one such job at most: about what a job is through with in some seconds."""

PUSH_WITHDRAW = "pabal.push.withdraw"
"""Take the notification of a chat from the screens of a user who has seen it elsewhere. Arguments: chat, user. Losing it loses just that."""

SWEEP_PUSHES = "pabal.push.sweep"
"""Find events whose push mark is older than 30 s and push them. No arguments. Beat runs it every 15 s."""

ERASE_EXPIRED = "pabal.messages.erase"
"""Erase the content of messages whose `expires_in` has passed. No arguments. Beat runs it every minute."""

RETAIN = "pabal.messages.retain"
"""Erase what is older than its chat keeps. No arguments. Beat runs it every ten minutes."""

COMPACT_RECEIPTS = "pabal.receipts.compact"
"""Fold the receipts of days that are long over. No arguments. Beat runs it every hour."""

TIDY_TOKENS = "pabal.tokens.tidy"
"""Forget sign-ins that have ended, push tokens that nobody uses, idempotency keys that are over. No arguments. Beat runs it every hour."""

ROLL_UP = "pabal.statistics.roll"
"""Count for the statistics what has not been counted. No arguments. Beat runs it every five minutes."""

AUDIT_UNREAD = "pabal.unread.audit"
"""Count some unread counts anew and compare. No arguments. Beat runs it every ten minutes."""

BROADCAST = "pabal.broadcast.tell"
"""Work on a broadcast that waits. No arguments. Beat runs it every five seconds."""

VERIFY_AUDIT_LOG = "pabal.audit_log.verify"
"""Verify the chain of the audit log. No arguments. Beat runs it every hour."""

PARK = "pabal.jobs.park"
"""Make a dead letter of something in a queue that is no job. Arguments: what it calls itself, why it is none, its bytes in base64."""

PUSH_QUEUE = "push"
MAINTENANCE_QUEUE = "maintenance"
RETENTION_QUEUE = "retention"
STATISTICS_QUEUE = "statistics"
BROADCAST_QUEUE = "broadcast"

QUEUES = (PUSH_QUEUE, MAINTENANCE_QUEUE, RETENTION_QUEUE, STATISTICS_QUEUE, BROADCAST_QUEUE)

QUEUE_OF = {
    PUSH_EVENT: PUSH_QUEUE,
    PUSH_WITHDRAW: PUSH_QUEUE,
    SWEEP_PUSHES: MAINTENANCE_QUEUE,
    TIDY_TOKENS: MAINTENANCE_QUEUE,
    PARK: MAINTENANCE_QUEUE,
    VERIFY_AUDIT_LOG: MAINTENANCE_QUEUE,
    ERASE_EXPIRED: RETENTION_QUEUE,
    RETAIN: RETENTION_QUEUE,
    COMPACT_RECEIPTS: RETENTION_QUEUE,
    ROLL_UP: STATISTICS_QUEUE,
    AUDIT_UNREAD: STATISTICS_QUEUE,
    BROADCAST: BROADCAST_QUEUE,
}
"""Where each job waits."""


def letter_id(job: str, args: tuple[str, ...] = ()) -> str:
    """The id of the dead letter of a job: what fails again is the same letter."""
    return ":".join(("job", job, *args))
