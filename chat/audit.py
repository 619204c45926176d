"""The audit log: who did what, when, from where and why; a chain, so that nobody changes it unnoticed.

Each record holds the hash of the one before it, and its own hash over all of its fields. A record that was changed has another hash
than the one it shows, one that was removed leaves a number out, and one that was put in breaks the chain behind it. A chain alone does
not show that its newest records were cut off: for that its head is noted beside it, and whoever keeps the number and hash of an older
verification (`Anchor`) can hold the log to it, also against somebody who rewrites all of the database.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec

MAX_REASON = 1_000
"""Characters of a reason."""

MAX_WORD = 200
"""Characters of every other text."""

MAX_DETAILS = 20

FIRST = "0" * 64
"""What the first record shows as the hash before it."""


class AuditEntry(msgspec.Struct, frozen=True):
    """What somebody did, or was about to do: an entry is written before the change that it tells of.

    Attributes:
        action: a word such as `user.suspended`; programs search by it.
        by: the principal who did it; empty for nobody who is known (a failed sign-in).
        at: UTC, milliseconds.
        target: whom or what it was done to: an id.
        reason: why, in the words of who did it.
        address: where the request came from.
        request: its id (`X-Request-Id`).
        details: more, by name; never a secret, never a message's text.
    """

    action: str
    by: str
    at: datetime
    target: str = ""
    reason: str = ""
    address: str = ""
    request: str = ""
    details: dict[str, str] = {}


class AuditRecord(AuditEntry, frozen=True, kw_only=True):
    """An entry in its place.

    Attributes:
        seq: dense from 1.
        previous: the hash of the record before it; `FIRST` for the first.
        hash: SHA-256, hex, over all the other fields.
    """

    seq: int
    previous: str
    hash: str


class AuditSearch(msgspec.Struct, frozen=True):
    """Which records: all that is given must hold.

    Attributes:
        action: the word, or a family of words with a dot at its end (`user.`).
        since: at that time or later.
        until: before that time.
    """

    by: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def finds(self, record: AuditRecord) -> bool:
        """Whether a record is wanted."""
        if self.action is not None:
            family = self.action.endswith(".")
            if not (record.action.startswith(self.action) if family else record.action == self.action):
                return False
        return (
            self.by in (None, record.by)
            and self.target in (None, record.target)
            and (self.since is None or record.at >= self.since)
            and (self.until is None or record.at < self.until)
        )


class Anchor(msgspec.Struct, frozen=True):
    """The place up to which the log is known to be whole; `Anchor()` is its beginning."""

    seq: int = 0
    hash: str = FIRST


def seal(entry: AuditEntry, behind: Anchor) -> AuditRecord:
    """The record that `entry` is behind a place; texts are cut to their bounds and freed of what can't be stored."""
    at = entry.at.astimezone(UTC)
    details = list(entry.details.items())[:MAX_DETAILS]
    record = AuditRecord(
        action=_text(entry.action, MAX_WORD),
        by=_text(entry.by, MAX_WORD),
        at=at.replace(microsecond=at.microsecond // 1000 * 1000),
        target=_text(entry.target, MAX_WORD),
        reason=_text(entry.reason, MAX_REASON),
        address=_text(entry.address, MAX_WORD),
        request=_text(entry.request, MAX_WORD),
        details={_text(name, MAX_WORD): _text(value, MAX_WORD) for name, value in details},
        seq=behind.seq + 1,
        previous=behind.hash,
        hash="",
    )
    return msgspec.structs.replace(record, hash=digest(record))


def digest(record: AuditRecord) -> str:
    """The hash that a record must show."""
    fields = [
        record.seq,
        record.previous,
        record.at,
        record.action,
        record.by,
        record.target,
        record.reason,
        record.address,
        record.request,
        sorted(record.details.items()),
    ]
    return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()


def fault(record: AuditRecord, behind: Anchor) -> str | None:
    """What is wrong with the record that follows a place: `missing`, `changed` or `broken_chain`; None when nothing is."""
    if record.seq != behind.seq + 1:
        return "missing"
    if digest(record) != record.hash:
        return "changed"
    return None if record.previous == behind.hash else "broken_chain"


def _text(text: str, most: int) -> str:
    return text[:most].encode("utf-8", "replace").decode().replace("\0", "")
