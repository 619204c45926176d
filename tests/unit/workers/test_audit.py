from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from unittest.mock import patch

import msgspec
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from adapters.memory.audit import MemoryAudit
from chat.audit import AuditEntry, AuditRecord
from chat.errors import Unavailable
from workers import audit
from workers.audit import AuditCheck

AT = datetime(2026, 5, 1, tzinfo=UTC)


def checks(result: str) -> float:
    return REGISTRY.get_sample_value("pabal_audit_log_checks_total", {"result": result}) or 0.0


async def log_of(records: int) -> MemoryAudit:
    made = MemoryAudit()
    for number in range(records):
        await made.record(AuditEntry(action="user.banned", by="gwanri", at=AT, target=f"u{number}", reason="욕설"))
    return made


async def test_a_whole_log_is_intact_however_often_it_is_checked() -> None:
    before = checks("intact"), checks("broken")
    check = AuditCheck(await log_of(5), budget=60)
    with capture_logs() as logs:
        assert [await check.run() for _ in range(2)] == [5, 5]
    assert (checks("intact"), checks("broken")) == (before[0] + 2, before[1])
    assert logs == []


async def test_a_record_that_was_changed_is_found_by_every_check_from_then_on() -> None:
    log = await log_of(5)
    check = AuditCheck(log, budget=60)
    await check.run()
    before = checks("broken")
    _meddle(log, 2)
    with capture_logs() as logs:
        assert [await check.run() for _ in range(2)] == [5, 5]
    assert checks("broken") == before + 2
    assert logs == 2 * [{"event": "audit.broken", "log_level": "error", "faults": 1, "seq": 3, "what": "changed"}]


async def test_with_little_time_a_run_takes_a_piece_and_the_next_one_goes_on() -> None:
    log = await log_of(5)
    clock = count()  # a second per look
    check = AuditCheck(log, budget=1, monotonic=lambda: float(next(clock)))
    _meddle(log, 3)
    with patch.object(audit, "RECORDS", 2), capture_logs() as logs:
        assert [await check.run() for _ in range(6)] == [2, 2, 1, 2, 2, 1]
    assert [entry["seq"] for entry in logs] == [4, 4]


async def test_a_database_that_is_away_is_no_verdict() -> None:
    class Away(MemoryAudit):
        async def after(self, seq: int, limit: int) -> list[AuditRecord]:
            del seq, limit
            raise Unavailable("away")

    before = checks("intact"), checks("broken"), checks("unavailable")
    with pytest.raises(Unavailable):
        await AuditCheck(Away(), budget=60).run()
    assert (checks("intact"), checks("broken"), checks("unavailable")) == (before[0], before[1], before[2] + 1)


def _meddle(log: MemoryAudit, index: int) -> None:
    log._records[index] = msgspec.structs.replace(log._records[index], reason="나는 모르는 일")
