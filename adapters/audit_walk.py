"""Walking along the audit log's chain: who verifies it, the api on demand or the worker by the clock, does it by this."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from chat.audit import Anchor, fault
from chat.ports import Audit

BATCH = 1_000
"""Records that are held at once."""


@dataclass(slots=True)
class Walk:
    """A piece of the chain that was computed anew.

    Attributes:
        checked: how many records that were.
        faults: number of a record and what is wrong there: a word of `chat.audit.fault`, or `cut_off` or `other_history`.
        end: its last record; the next walk begins there.
        at: when that was written; None when there was none.
        complete: whether that is the end of the chain.
    """

    end: Anchor
    checked: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)
    at: datetime | None = None
    complete: bool = False


async def walk(audit: Audit, known: Anchor, limit: int) -> Walk:
    """Compute up to `limit` records behind a known place anew and compare them with what is stored; at the end of the chain, with where
    it had been.

    Raises:
        Unavailable: the store does not answer.
    """
    head = await audit.head()  # before the records: what is written meanwhile is beyond it
    found = Walk(known, faults=await _held(audit, known))
    while found.checked < limit and not found.complete:
        wanted = min(BATCH, limit - found.checked)
        records = await audit.after(found.end.seq, wanted)
        found.complete = len(records) < wanted
        for record in records:
            wrong = fault(record, found.end)
            if wrong is None and record.seq == head.seq and record.hash != head.hash:
                wrong = "other_history"
            if wrong is not None:
                found.faults.append((record.seq, wrong))
            found.end, found.at = Anchor(record.seq, record.hash), record.at
        found.checked += len(records)
    if found.complete and found.end.seq < head.seq:
        found.faults.append((found.end.seq + 1, "cut_off"))
    return found


async def _held(audit: Audit, known: Anchor) -> list[tuple[int, str]]:
    """What is wrong with the place where it begins: the record that somebody knows must be there, and be that one."""
    if not known.seq:
        return []
    found = await audit.after(known.seq - 1, 1)
    if not found or found[0].seq != known.seq:
        return [(known.seq, "missing" if found else "cut_off")]
    return [] if found[0].hash == known.hash else [(known.seq, "other_history")]
