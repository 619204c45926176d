"""Regular upkeep: `UpkeepStore` and the jobs on it, in memory and on MongoDB."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adapters.memory.recents import MemoryRecents
from adapters.stores import Stores
from chat import sync
from chat.envelopes import Body, Event, SyncPage, System
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.jobs import AUDIT_UNREAD, RETAIN
from chat.models import Chat, ChatKind, Grant, Head, Member, PushToken, Receipt, Role, Watermarks
from chat.upkeep import Keeping
from workers.retention import Retention
from workers.unread_audit import UnreadAudit
from workers.upkeep import Compaction, Hygiene

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


async def chat(stores: Stores, id_: str, ages: Sequence[float], **fields: Any) -> list[str]:
    """A chat whose messages are so many days old, each with a reaction right behind it; the ids of the messages."""
    members = [Member(id_, user, Role.MEMBER, NOW) for user in ("user1", "user2")]
    await stores.chats.create(Chat(id_, ChatKind.GROUP, NOW, "user1", **fields), members)
    events, ids, seq = [], [], 0
    for n, age in enumerate(ages, 1):
        ids.append(new_message_id())
        at = NOW - age * DAY
        body = Body(text=f"비밀 {n}")
        message = Event("message", ids[-1], id_, seq + 1, n, "user1", at, body=body, mentions=["user2"], trace_id="t")
        reaction = Event(
            "reaction", new_message_id(), id_, seq + 2, n, "user2", at, body=Body(emoji="👍"), target=ids[-1]
        )
        events += [message, reaction]
        seq += 2
    await stores.messages.insert(events, push=frozenset(ids))
    return ids


def retention(stores: Stores, recents: MemoryRecents | None = None, *, days: int, **named: Any) -> Retention:
    chosen = {"budget": 60.0, "now": lambda: NOW} | named
    return Retention(stores.upkeep, stores.job_runs, recents or MemoryRecents(), days=days, **chosen)


async def words(stores: Stores, id_: str) -> list[str | None]:
    """What the messages of a chat say."""
    events = await stores.messages.after(id_, 0, 100)
    return [event.body.text if event.body else None for event in events if event.type == "message"]


async def test_what_is_older_is_emptied_and_every_slot_stays(stores: Stores) -> None:
    old, _, young = await chat(stores, "g-1", [40, 31, 29])
    system = Event("system", new_message_id(), "g-1", 7, 3, "svc-api", NOW, system=System("joined", "user1"))
    await stores.messages.insert([system])
    assert await retention(stores, days=30).run() == 4
    events = await stores.messages.after("g-1", 0, 100)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6, 7], "P3"
    assert [event.n for event in events] == [1, 1, 2, 2, 3, 3, 3], "unread counts stay"
    assert [event.type for event in events] == ["message", "void", "message", "void", "message", "reaction", "system"]
    assert events[0].deleted_at == NOW
    assert await words(stores, "g-1") == [None, None, "비밀 3"]
    assert "비밀 1".encode() not in msgspec.json.encode(events)
    assert all(event.target is None and not event.mentions and event.trace_id is None for event in events[:4])
    assert (events[1].sender, events[1].id) == ("svc-bridge", events[1].id)
    assert await stores.messages.push_claim(old) is None
    assert await stores.messages.push_claim(young) is not None
    page = sync.page("g-1", 0, events, Head(7, 3), limit=100)
    assert isinstance(page, SyncPage), "P7: who was away catches up over the erased slots; nothing is missing"
    assert page.next == 7


async def test_a_message_that_was_deleted_before_keeps_its_time(stores: Stores) -> None:
    (message,) = await chat(stores, "g-1", [40])
    deleted = NOW - 35 * DAY
    await stores.messages.rewrite(message, body=None, edited_at=None, deleted_at=deleted)
    await retention(stores, days=30).run()
    assert (await stores.messages.after("g-1", 0, 1))[0].deleted_at == deleted


async def test_a_chat_may_keep_less_and_never_more(stores: Stores) -> None:
    for id_ in ("g-1", "g-2", "g-3"):
        await chat(stores, id_, [20, 5])
    assert await stores.upkeep.set_retention("g-2", 10)
    assert await stores.upkeep.set_retention("g-3", 100)
    assert not await stores.upkeep.set_retention("g-0", 1)
    assert await stores.upkeep.keepings(after="", limit=10, own=True) == [Keeping("g-2", 10), Keeping("g-3", 100)]
    await retention(stores, days=0).run()
    assert [await words(stores, id_) for id_ in ("g-1", "g-2", "g-3")] == [
        ["비밀 1", "비밀 2"],
        [None, "비밀 2"],
        ["비밀 1", "비밀 2"],
    ]
    await retention(stores, days=15).run()
    assert [await words(stores, id_) for id_ in ("g-1", "g-2", "g-3")] == [[None, "비밀 2"]] * 3
    assert await stores.upkeep.set_retention("g-2", None)
    found = await stores.chats.get("g-2")
    assert found is not None
    assert found.retention_days is None
    assert [one.erased_seq for one in await stores.upkeep.keepings(after="g-1", limit=10, own=False)] == [2, 2]


async def test_receipts_and_copies_go_with_what_they_are_about(stores: Stores) -> None:
    await chat(stores, "g-1", [40, 1])
    recents = MemoryRecents()
    rows = [Receipt("g-1", "user2", "delivered", seq, NOW) for seq in (1, 2, 3)]
    await stores.receipts.append(rows)
    copy = await stores.messages.after("g-1", 0, 100)
    await recents.put("g-1", copy)
    job = retention(stores, recents, days=30)
    await job.run()
    assert [row.seq for row in await stores.receipts.reached("g-1", 0, 100)] == [3]
    assert await recents.get("g-1") == []
    await recents.put("g-1", copy)  # by a reader that had read just before
    await job.run()
    assert await recents.get("g-1") == [], "the next run throws it away once more"


async def test_a_run_that_is_out_of_time_goes_on_where_it_was(stores: Stores) -> None:
    for number in range(5):
        await chat(stores, f"g-{number}", [40])
    clock = iter(range(1000))
    job = retention(stores, days=30, budget=4.0, monotonic=lambda: float(next(clock)))
    runs = [await job.run() for _ in range(6)]
    assert sum(runs) == 10
    assert max(runs) < 10
    assert [await words(stores, f"g-{number}") for number in range(5)] == [[None]] * 5


async def test_when_valkey_is_away_it_is_done_again(stores: Stores) -> None:
    await chat(stores, "g-1", [40])

    class Away(MemoryRecents):
        async def forget(self, chats: Sequence[str]) -> None:
            if chats:
                raise Unavailable("away")

    with pytest.raises(Unavailable):
        await retention(stores, Away(), days=30).run()
    assert [one.erased_seq for one in await stores.upkeep.keepings(after="", limit=9, own=False)] == [0]
    assert await retention(stores, days=30).run() == 2


async def test_a_position_that_can_not_be_read_is_the_beginning(stores: Stores) -> None:
    await chat(stores, "g-1", [40])
    await stores.job_runs.move(RETAIN, "[of a version to come]")
    assert await retention(stores, days=30).run() == 2


async def test_what_is_over_is_forgotten(stores: Stores) -> None:
    def grant(sid: str, *, expires: float, revoked: float | None = None) -> Grant:
        at = None if revoked is None else NOW + revoked * DAY
        return Grant(sid, "user1", f"hash of {sid}", NOW - 99 * DAY, NOW + expires * DAY, revoked_at=at)

    for found in (grant("alive", expires=1), grant("ended", expires=-8), grant("just", expires=-6)):
        await stores.grants.add(found)
    await stores.grants.add(grant("revoked", expires=1, revoked=-8))
    for token, age in (("used", 1), ("stale", 271)):
        await stores.push_tokens.put(PushToken(token, "user1", "android", NOW - age * DAY))
    for key, age in (("k1", 1), ("k2", -1)):
        until = NOW - age * DAY
        await stores.idempotency.begin(key, fingerprint="f", seed=b"s", now=NOW, lease=NOW, expires_at=until)
    assert await Hygiene(stores.upkeep, push_token_days=270, now=lambda: NOW).run() == 4
    assert [sid for sid in ("alive", "ended", "just", "revoked") if await stores.grants.get(sid)] == ["alive", "just"]
    assert [token.token for token in (await stores.push_tokens.of_users(["user1"]))["user1"]] == ["used"]
    assert await Hygiene(stores.upkeep, push_token_days=270, now=lambda: NOW).run() == 0


async def test_old_receipts_are_folded_day_by_day_and_young_ones_stay(stores: Stores) -> None:
    midnight = datetime.combine(NOW.date(), datetime.min.time(), UTC)

    def rows(days: int, seqs: Sequence[int], user: str = "user2", kind: str = "delivered") -> list[Receipt]:
        return [Receipt("g-1", user, kind, seq, midnight - days * DAY + timedelta(minutes=seq)) for seq in seqs]

    await stores.receipts.append([*rows(40, [1, 2, 5]), *rows(40, [2, 3], "user3"), *rows(40, [4], kind="seen")])
    await stores.receipts.append([*rows(35, [6, 7]), *rows(3, [8, 9])])
    job = Compaction(stores.upkeep, stores.job_runs, days=30, budget=60.0, now=lambda: NOW)
    assert await job.run() == 4
    left = await stores.receipts.reached("g-1", 0, 100)
    assert [(row.user, row.kind, row.seq) for row in left] == [
        ("user3", "delivered", 3),
        ("user2", "seen", 4),
        ("user2", "delivered", 5),
        ("user2", "delivered", 7),
        ("user2", "delivered", 8),
        ("user2", "delivered", 9),
    ]
    assert all(row in left for row in rows(3, [8, 9])), "what is young is true to the millisecond"
    assert left[2].at == midnight - 40 * DAY + timedelta(minutes=5), "what is old is never too early"
    assert await job.run() == 0


async def test_without_receipts_nothing_is_folded(stores: Stores) -> None:
    assert await Compaction(stores.upkeep, stores.job_runs, days=30, budget=60.0).run() == 0


async def test_the_audit_finds_a_wrong_count_wherever_it_is(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        await chat(stores, f"g-{number}", [1, 1])
    await stores.chats.raise_watermarks([Watermarks("g-1", "user2", 3, 3, 1)])  # it is 2
    audit = UnreadAudit(stores, most=2, repair=False, budget=60.0)
    runs = [await audit.run() for _ in range(4)]
    assert runs == [2, 2, 2, 0], "all of them, and then it begins anew"
    assert capsys.readouterr().out.count("unread.differs") == 1
    repairing = UnreadAudit(stores, most=100, repair=True, budget=60.0)
    assert await repairing.run() == 6
    assert (await stores.job_runs.get(AUDIT_UNREAD)).position == ""
    assert capsys.readouterr().out.count("unread.differs") == 1
    await repairing.run()
    assert "unread.differs" not in capsys.readouterr().out
    member = await stores.chats.member("g-1", "user2")
    assert member is not None
    assert (member.seen_seq, member.seen_n) == (3, 2)
