"""What concerns sign-ins, on its way into the audit log: noted at once, written together a moment later.

The log is a chain, written one record after the other, so whoever signs in must not wait for it, and who fails must not be able to fill it. What
happened (`happened`) is kept one by one and written within a second. What was refused (`refused`) is counted, per kind, account and
address, and written once a minute with how often it was: a flood of failures is a few records. Both are bounded. What a killed process had noted
and not written is in its own log (`sign_in.refused`, `session.opened` …), and a sign-in is with its address in `GET /v1/me/sessions`.

Changes of credentials are written by `api.trail` instead, before they are made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from api.clock import now
from chat.audit import MAX_WORD, AuditEntry, AuditSearch
from chat.errors import Unavailable
from chat.ports import Audit, UserStore

EVERY = 1.0
"""Seconds between two writings of what happened."""

REFUSED_EVERY = 60.0
"""Seconds that refusals are counted before they are written."""

MAX_WAITING = 2_000
"""Events that may wait: twenty seconds of more sign-ins than two cores can check passwords for."""

MAX_REFUSED = 100
"""Kinds of refusals that are told apart within a minute: the log grows by no more than 150,000 such records a day, whatever is tried."""

KEYS = "keys.changed"

_log = structlog.get_logger("audit")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is counted together. `named`: what somebody called themselves, which may be anything, a password too."""

    action: str
    target: str = ""
    named: str = ""
    address: str = ""
    cause: str = ""


@dataclass(slots=True)
class _Count:
    first: datetime
    times: int = 0


@dataclass(slots=True)
class SecurityEvents:
    """The events of this process.

    Attributes:
        users: which names are accounts: others are written nowhere.
        kids: of the keys that verify access tokens now.
    """

    audit: Audit
    users: UserStore
    kids: Callable[[], list[str]]
    _waiting: list[AuditEntry] = field(default_factory=list)
    _refused: dict[_Kind, _Count] = field(default_factory=dict)
    _lost: int = 0

    def happened(self, action: str, *, by: str, address: str = "", target: str = "", **details: str) -> None:
        """Note something that happened. Never waits, never fails."""
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        request = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        entry = AuditEntry(
            action=action, by=by, at=now(), target=target, address=address, request=request, details=details
        )
        self._waiting.append(entry)

    def refused(self, action: str, *, address: str, cause: str, target: str = "", named: str = "") -> None:
        """Count something that was refused. Never waits, never fails.

        Args:
            cause: a word.
            target: the account, where it is known to be one.
            named: what was given as the name of an account; it is written only if it is one.
        """
        kind = _Kind(action, target, named, address, cause)
        if kind not in self._refused and len(self._refused) >= MAX_REFUSED:
            kind = _Kind(action, cause="others")
        self._refused.setdefault(kind, _Count(now())).times += 1

    async def write(self) -> None:
        """Write what has happened.

        Raises:
            Unavailable: it waits on.
        """
        entries, self._waiting = self._waiting, []
        lost, self._lost = self._lost, 0
        told = [AuditEntry(action="audit.lost", by="", at=now(), details={"times": str(lost)})] if lost else []
        try:
            written = await self.audit.record_all([*entries, *told])
        except BaseException:  # not only `Unavailable`: the writer may be cancelled
            # What was written of them before it failed is written twice: better than not at all.
            waiting = [*entries, *self._waiting]
            self._waiting = waiting[:MAX_WAITING]
            self._lost += lost + len(waiting) - len(self._waiting)
            raise
        if written:  # see `Trail.record`; the last hash holds all before it
            _log.info("audit.recorded", records=len(written), seq=written[-1].seq, hash=written[-1].hash)

    async def write_refused(self) -> None:
        """Write what was refused, and whether the keys have changed.

        Raises:
            Unavailable: it waits on.
        """
        await self._write_keys()
        kinds = list(self._refused)  # what is counted while we look is for the next time
        accounts = {kind.named for kind in kinds if kind.named and await self.users.get(kind.named)}
        for kind in kinds:
            account = kind.target or (kind.named if kind.named in accounts else "")
            self._tell(kind, self._refused.pop(kind), account)
        await self.write()

    def _tell(self, kind: _Kind, count: _Count, target: str) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._lost += count.times
            return
        details = {"cause": kind.cause, "times": str(count.times)}
        entry = AuditEntry(kind.action, "", count.first, target, address=kind.address, details=details)
        self._waiting.append(entry)

    async def _write_keys(self) -> None:
        """The keys change by a command that knows no database: what is in force now is compared with what was noted last."""
        kids = " ".join(sorted(self.kids()))[:MAX_WORD]
        last = await self.audit.search(AuditSearch(action=KEYS), limit=1)
        if not last or last[0].details.get("kids") != kids:
            self.happened(KEYS, by="", kids=kids)


async def keep_writing(events: SecurityEvents) -> None:
    """Write again and again, until cancelled; then once more."""
    due = time.monotonic()
    try:
        while True:
            await asyncio.sleep(EVERY)
            try:
                if time.monotonic() >= due:
                    due = time.monotonic() + REFUSED_EVERY
                    await events.write_refused()
                else:
                    await events.write()
            except Unavailable as error:
                _log.warning("audit.delayed", reason=error.reason)
            except Exception:  # noqa: BLE001 - what waits is bounded and counted, and this must not end as long as the process lives
                _log.exception("audit.failed")
    finally:
        try:
            await events.write_refused()
        except Unavailable as error:
            _log.error("audit.not_written", reason=error.reason)
