"""Names of background jobs: how the bridge and the api name work for the workers without importing them.

A job takes ids only, is idempotent, and is sent after what it is about has been stored.
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

ROLL_UP = "pabal.statistics.roll"
"""Count for the statistics what has not been counted. No arguments. Beat runs it every five minutes."""

BROADCAST = "pabal.broadcast.tell"
"""Work on a broadcast that waits. No arguments. Beat runs it every five seconds."""

VERIFY_AUDIT_LOG = "pabal.audit_log.verify"
"""Verify the chain of the audit log. No arguments. Beat runs it every hour."""

PUSH_QUEUE = "push"
MAINTENANCE_QUEUE = "maintenance"
