"""What the routes of the audit log take and answer."""

from __future__ import annotations

from datetime import datetime

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.admin.access import Moment
from chat.audit import FIRST, AuditRecord

MAX_CHECKED = 20_000
"""Records that one request verifies: below a second."""


class AuditQuery(BaseModel):
    """`GET /v1/admin/audit`."""

    model_config = ConfigDict(extra="forbid")

    by: str | None = Field(default=None, max_length=64, description="who did it")
    action: str | None = Field(
        default=None, max_length=64, description="a word, or a family of words: `user.`", examples=["user.banned"]
    )
    target: str | None = Field(default=None, max_length=200, description="whom or what it was done to")
    since: Moment | None = None
    until: Moment | None = Field(default=None, description="before that time")
    cursor: str | None = Field(default=None, max_length=256, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)


class VerificationQuery(BaseModel):
    """`GET /v1/admin/audit/verification`."""

    model_config = ConfigDict(extra="forbid")

    seq: int = Field(default=0, ge=0, le=2**53, description="begin behind this record")
    hash: str = Field(default=FIRST, pattern=r"^[0-9a-f]{64}$", description="and this is its hash, as you know it")
    limit: int = Field(default=5_000, ge=1, le=MAX_CHECKED)


class AuditPage(msgspec.Struct):
    """Records, newest first."""

    items: list[AuditRecord]
    next: str | None = None


class AuditFault(msgspec.Struct):
    """What is wrong at a place of the chain.

    `what`: `missing` (records before it are gone), `changed`, `broken_chain` (it does not follow from the one before it), `cut_off` (the chain
    had gone further than it does now), `other_history` (the record that was noted as the newest, or that you know, is another one now).
    """

    seq: int
    what: str


class Verification(msgspec.Struct):
    """A piece of the chain. `seq`, `hash`: its last record: keep them, and begin there the next time. `complete`: whether it is the end of
    the chain. `at`: when the last record was written; null in an empty log.
    """

    checked: int
    faults: list[AuditFault]
    seq: int
    hash: str
    at: datetime | None
    complete: bool


_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
RECORD_EXAMPLE = {
    "action": "user.suspended",
    "by": "admin",
    "at": "2026-05-04T03:02:01.123000Z",
    "target": "haneul",
    "reason": "욕설 신고 3건",
    "address": "192.0.2.1",
    "request": "3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31",
    "details": {"until": "2026-06-01T00:00:00+00:00"},
    "seq": 1,
    "previous": FIRST,
    "hash": _HASH,
}
AUDIT_EXAMPLE = {"items": [RECORD_EXAMPLE], "next": None}
VERIFICATION_EXAMPLE = {
    "checked": 1,
    "faults": [],
    "seq": 1,
    "hash": _HASH,
    "at": "2026-05-04T03:02:01.123000Z",
    "complete": True,
}
