"""`Audit`: a chain that only grows, on memory and MongoDB; and what is noticed when somebody meddles with it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from adapters.mongo import connect, open_stores
from adapters.mongo.audit import COLLECTION, HEAD, MongoAudit
from adapters.stores import Stores
from chat.audit import FIRST, Anchor, AuditEntry, AuditRecord, AuditSearch, fault, seal

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def entry(action: str = "user.suspended", **fields: Any) -> AuditEntry:
    return AuditEntry(**{"action": action, "by": "gwanri", "at": AT, **fields})


def faults(records: list[AuditRecord]) -> list[tuple[int, str]]:
    found, behind = [], Anchor()
    for record in records:
        wrong = fault(record, behind)
        if wrong is not None:
            found.append((record.seq, wrong))
        behind = Anchor(record.seq, record.hash)
    return found


async def test_a_record_comes_back_as_it_was_written(stores: Stores) -> None:
    details = {"until": "2026-06-01", "$where": "1", "a.b": "점", "": "빈 이름"}
    written = await stores.audit.record(
        entry(target="haneul", reason="욕설 😡", address="192.0.2.1", request="r-1", details=details)
    )
    assert (written.seq, written.previous, written.details) == (1, FIRST, details)
    assert await stores.audit.after(0, 10) == [written]
    assert await stores.audit.head() == Anchor(1, written.hash)


async def test_the_chain_is_dense_and_whole_whoever_writes_at_once(stores: Stores) -> None:
    await asyncio.gather(*(stores.audit.record(entry(target=f"u{number}")) for number in range(20)))
    records = await stores.audit.after(0, 100)
    assert [record.seq for record in records] == list(range(1, 21))
    assert faults(records) == []
    assert {record.target for record in records} == {f"u{number}" for number in range(20)}


async def test_many_at_once_are_one_chain(stores: Stores) -> None:
    assert await stores.audit.record_all([]) == []
    many = [entry(target=f"u{number}") for number in range(1_100)]
    single, written = await asyncio.gather(stores.audit.record(entry(target="one")), stores.audit.record_all(many))
    records = await stores.audit.after(0, 2_000)
    assert [record.seq for record in records] == list(range(1, 1_102))
    assert faults(records) == []
    assert written == [record for record in records if record != single]
    assert await stores.audit.head() == Anchor(1_101, records[-1].hash)


async def test_two_processes_write_one_chain(mongo_url: str, mongo_database: str) -> None:
    one, other = [await open_stores(mongo_url, mongo_database) for _ in range(2)]
    await asyncio.gather(*((one, other)[number % 2].audit.record(entry()) for number in range(20)))
    records = await one.audit.after(0, 100)
    assert [record.seq for record in records] == list(range(1, 21))
    assert faults(records) == []
    assert await other.audit.head() == Anchor(20, records[-1].hash)
    batches = [[entry(target=f"{who}{number}") for number in range(30)] for who in ("a", "b")]
    await asyncio.gather(one.audit.record_all(batches[0]), other.audit.record_all(batches[1]))
    records = await one.audit.after(20, 100)
    assert faults(await one.audit.after(0, 100)) == []
    for who, batch in zip("ab", batches, strict=True):
        kept = [record.target for record in records if record.target.startswith(who)]
        assert kept == [wanted.target for wanted in batch]
    await one.close()
    await other.close()


async def test_what_cannot_be_stored_is_made_storable(stores: Stores) -> None:
    written = await stores.audit.record(
        entry(reason="\ud800" + "x" * 5000, target="a\0b", details={str(n): "y" * 999 for n in range(50)})
    )
    assert len(written.reason) == 1000
    assert written.target == "ab"
    assert {len(value) for value in written.details.values()} == {200}
    assert len(written.details) == 20
    assert faults(await stores.audit.after(0, 10)) == []


SEARCHES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [5, 4, 3, 2, 1]),
    ({"by": "gwanri"}, [5, 3, 2, 1]),
    ({"target": "haneul"}, [5, 4, 1]),
    ({"action": "user.suspended"}, [2, 1]),
    ({"action": "user."}, [3, 2, 1]),
    ({"action": "use."}, []),
    ({"since": AT + timedelta(hours=2)}, [5, 4, 3]),
    ({"until": AT + timedelta(hours=2)}, [2, 1]),
    ({"target": "haneul", "by": "gwanri", "since": AT + timedelta(hours=1)}, [5]),
]


async def test_search(stores: Stores) -> None:
    rows = [
        entry(target="haneul"),
        entry(target="bada"),
        entry("user.banned", target="bada"),
        entry("sign_in.refused", by="", target="haneul"),
        entry("users.x", target="haneul"),
    ]
    for number, row in enumerate(rows):
        await stores.audit.record(msgspec.structs.replace(row, at=AT + timedelta(hours=number)))
    for search, expected in SEARCHES:
        found = await stores.audit.search(AuditSearch(**search))
        assert [record.seq for record in found] == expected
        paged: list[int] = []
        before: int | None = None
        while page := await stores.audit.search(AuditSearch(**search), before=before, limit=2):
            paged += [record.seq for record in page]
            before = page[-1].seq
        assert paged == expected


CHANGES: list[tuple[str, Any]] = [
    ("action", "user.shown"),
    ("by", "bada"),
    ("target", "bada"),
    ("reason", "다른 이유"),
    ("address", "203.0.113.9"),
    ("at", AT + timedelta(milliseconds=1)),
    ("details", [["until", "never"]]),
    ("request", "r-2"),
    ("hash", "f" * 64),
    ("previous", "f" * 64),
]


async def test_a_changed_field_is_noticed(mongo_url: str, mongo_database: str) -> None:
    db = connect(mongo_url, mongo_database)
    audit = MongoAudit(db)
    for number in range(4):
        await audit.record(entry(target=f"u{number}", details={"until": "2026-06-01"}))
    assert faults(await audit.after(0, 10)) == []
    for field, value in CHANGES:
        was = await db[COLLECTION].find_one_and_update({"_id": 2}, {"$set": {field: value}})
        assert was is not None
        assert faults(await audit.after(0, 10))[0] == (2, "changed"), field
        await db[COLLECTION].replace_one({"_id": 2}, was)
    assert faults(await audit.after(0, 10)) == []
    await db.client.close()


async def test_what_is_removed_put_in_or_cut_off_is_noticed(mongo_url: str, mongo_database: str) -> None:
    db = connect(mongo_url, mongo_database)
    audit = MongoAudit(db)
    for number in range(5):
        await audit.record(entry(target=f"u{number}"))
    await db[COLLECTION].delete_one({"_id": 3})
    assert faults(await audit.after(0, 10)) == [(4, "missing")]
    # A well-made record of somebody else's in its place: the next one does not know it.
    second = (await audit.after(1, 1))[0]
    forged = seal(entry(target="nobody"), Anchor(second.seq, second.hash))
    row = {"_id": forged.seq, **{name: getattr(forged, name) for name in forged.__struct_fields__ if name != "seq"}}
    await db[COLLECTION].insert_one({**row, "details": []})
    assert faults(await audit.after(0, 10)) == [(4, "broken_chain")]
    await db[COLLECTION].delete_many({"_id": {"$gte": 3}})
    assert faults(await audit.after(0, 10)) == []
    assert (await audit.head()).seq == 5  # the note beside the chain knows that there were more
    # What is written now follows the note, so that the gap stays.
    await audit.record(entry())
    assert (await audit.head()).seq == 6
    assert faults(await audit.after(0, 10)) == [(6, "missing")]
    await db[HEAD].delete_many({})
    assert await audit.head() == Anchor()
    await db.client.close()
