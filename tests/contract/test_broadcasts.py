"""Broadcasts, on memory and MongoDB: everybody is told, whoever dies on the way; and the routes that make them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.stores import Stores
from api.testing import PASSWORD, running_api
from chat import topics
from chat.admin import Exclusion, ExclusionKind
from chat.broadcasts import Broadcast, BroadcastState
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import User
from chat.ports import Published
from workers import broadcast as job
from workers.broadcast import Broadcaster

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
TEXT = "오늘 밤 02시부터 점검합니다"


class Broker:
    """The link's other end: what came, and when it stops answering."""

    def __init__(self) -> None:
        self.came: list[tuple[str, dict[str, Any]]] = []
        self.dies_after: int | None = None
        self.unknown: set[str] = set()

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Broker]:
        yield self

    async def publish(
        self, topic: str, payload: bytes, *, content_type: str | None = None, **_: Mapping[str, Any]
    ) -> Published:
        assert content_type == topics.JSON_CONTENT_TYPE
        if self.dies_after is not None and len(self.came) >= self.dies_after:
            raise Unavailable("the connection is down")
        self.came.append((topic, json.loads(payload)))
        chat = topic.split("/")[1]
        return Published(0x87, "there is no such chat", "unknown_chat") if chat in self.unknown else Published(0)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


def worker(stores: Stores, broker: Broker, clock: Clock, *, budget: float = 60.0) -> Broadcaster:
    link: Any = broker.link
    return Broadcaster(
        stores.broadcasts, stores.admin, link, budget=budget, lease=60.0, now=clock, monotonic=lambda: 0.0
    )


async def people(stores: Stores, count: int) -> list[str]:
    names = [f"user{number:02}" for number in range(count)]
    for name in names:
        await stores.users.add(User(name, name, "hash", AT))
    return names


async def test_every_user_who_may_come_in_is_told(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "BATCH", 3)
    names, broker, clock = await people(stores, 8), Broker(), Clock()
    await stores.admin.block("user03", Exclusion(ExclusionKind.BANNED, AT, "gwanri", "스팸"))
    id_ = new_message_id()
    assert await stores.broadcasts.add(Broadcast(id_, TEXT, "gwanri", AT, total=8))
    assert not await stores.broadcasts.add(Broadcast(id_, "또", "gwanri", AT))
    done = await worker(stores, broker, clock).run()
    assert done is not None
    assert (done.state, done.told, done.ended_at) == (BroadcastState.DONE, 7, AT)
    assert [topic for topic, _ in broker.came] == [topics.inbox(name) for name in names if name != "user03"]
    (message,) = {json.dumps(body, sort_keys=True) for _, body in broker.came}
    assert json.loads(message) == {"id": id_, "text": TEXT, "at": "2026-05-01T12:00:00.123000Z", "type": "announcement"}
    assert await worker(stores, broker, clock).run() is None
    assert await stores.broadcasts.get(id_) == done


async def test_a_broadcast_is_gone_on_with_after_its_worker_died(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH", 3)
    names, broker, clock = await people(stores, 8), Broker(), Clock()
    await stores.broadcasts.add(Broadcast(new_message_id(), TEXT, "gwanri", AT, total=8))
    broker.dies_after = 4
    with pytest.raises(Unavailable):
        await worker(stores, broker, clock).run()
    broker.dies_after = None
    assert await worker(stores, broker, clock).run() is None  # somebody may still be at it
    clock.now += timedelta(seconds=61)
    done = await worker(stores, broker, clock).run()
    assert done is not None
    assert (done.state, done.told) == (BroadcastState.DONE, 8)
    told = [topic for topic, _ in broker.came]
    assert set(told) == {topics.inbox(name) for name in names}
    assert len(told) <= 8 + 3  # one batch at most is told again


async def test_what_takes_long_is_done_in_several_runs(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "BATCH", 3)
    await people(stores, 8)
    broker, clock, runs = Broker(), Clock(), 0
    await stores.broadcasts.add(Broadcast(new_message_id(), TEXT, "gwanri", AT))
    ticks = iter(range(1000))
    link: Any = broker.link
    while True:
        one = Broadcaster(
            stores.broadcasts, stores.admin, link, budget=2, lease=60, now=clock, monotonic=lambda: next(ticks)
        )
        found = await one.run()
        runs += 1
        assert found is not None
        if found.state is BroadcastState.DONE:
            break
        clock.now += timedelta(milliseconds=1)
    assert runs > 1
    assert len(broker.came) == 8


async def test_chats_are_told_once_and_those_that_are_gone_are_counted(stores: Stores) -> None:
    broker, clock, id_ = Broker(), Clock(), new_message_id()
    broker.unknown = {"g-2"}
    await stores.broadcasts.add(Broadcast(id_, TEXT, "gwanri", AT, chats=["g-1", "g-2", "g-3"], total=3))
    done = await worker(stores, broker, clock).run()
    assert done is not None
    assert (done.state, done.told, done.refused) == (BroadcastState.DONE, 2, 1)
    assert [topic for topic, _ in broker.came] == [f"chats/g-{number}/send/svc-worker" for number in (1, 2, 3)]
    for _, body in broker.came:
        assert (body["type"], body["system"]) == ("system", {"what": "announcement", "by": "svc-worker", "text": TEXT})
    # The same broadcast again has the same ids: a chat stores it once.
    again = Broker()
    await stores.broadcasts.add(Broadcast(new_message_id(), TEXT, "gwanri", AT, chats=["g-1"]))
    await worker(stores, again, clock).run()
    assert len({body["id"] for _, body in [*broker.came, *again.came]}) == 4


async def test_a_cancelled_broadcast_goes_no_further(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "BATCH", 3)
    await people(stores, 8)
    broker, clock, id_ = Broker(), Clock(), new_message_id()
    await stores.broadcasts.add(Broadcast(id_, TEXT, "gwanri", AT))
    published = broker.publish

    async def cancelling(*arguments: Any, **words: Any) -> Published:
        await stores.broadcasts.cancel(id_, AT)
        return await published(*arguments, **words)

    monkeypatch.setattr(broker, "publish", cancelling)
    await worker(stores, broker, clock).run()
    assert len(broker.came) == 3
    found = await stores.broadcasts.get(id_)
    assert found is not None
    assert found.state is BroadcastState.CANCELLED
    assert not await stores.broadcasts.cancel(id_, AT)
    assert await worker(stores, broker, clock).run() is None


async def test_the_routes(stores: Stores, tmp_path: Any) -> None:
    async with running_api(tmp_path, stores) as api:
        hashed = await api.parts.passwords.hash(PASSWORD)
        await stores.users.add(User("gwanri", "관리자", hashed, AT, admin=True))
        gwanri, haneul = await api.sign_in("gwanri"), await api.user("haneul")
        path, id_ = "/v1/admin/broadcasts", new_message_id()
        wish = {"id": id_, "text": TEXT, "reason": "점검"}
        made = await gwanri.post(path, wish)
        assert (made.status_code, made.json()["total"], made.json()["state"]) == (201, 2, "running")
        again = await gwanri.post(path, wish)
        assert (again.status_code, again.json()) == (200, made.json())
        other = await gwanri.post(path, {**wish, "text": "다른 말"})
        assert (other.status_code, other.json()["code"]) == (409, "id_taken")
        chats = (await gwanri.post(path, {"text": TEXT, "chats": ["g-1", "g-1"], "reason": "점검"})).json()
        assert (chats["chats"], chats["total"]) == (["g-1"], 1)
        page = (await gwanri.get(path, limit=1)).json()
        rest = (await gwanri.get(path, limit=1, cursor=page["next"])).json()
        assert [row["id"] for row in page["items"] + rest["items"]] == [chats["id"], id_]
        assert rest["next"] is None
        assert (await gwanri.get(f"{path}/{id_}")).json() == made.json()
        # Who was away reads it: what was for everybody, not what was for some chats.
        seen = (await haneul.get("/v1/announcements")).json()["items"]
        assert [(one["id"], one["text"]) for one in seen] == [(id_, TEXT)]
        stopped = await gwanri.call("DELETE", f"{path}/{id_}", params={"reason": "잘못 보냄"})
        assert stopped.json()["state"] == "cancelled"
        assert (await haneul.get("/v1/announcements")).json()["items"] == []
        records = (await gwanri.get("/v1/admin/audit", action="broadcast.")).json()["items"]
        assert [row["action"] for row in records] == ["broadcast.cancelled", "broadcast.made", "broadcast.made"]
        for wrong in (
            {"text": TEXT},
            {**wish, "text": " "},
            {**wish, "text": "x" * 4001},
            {**wish, "id": "x"},
            {"text": TEXT, "reason": "x", "chats": ["a/b"]},
            {**wish, "state": "done"},
        ):
            assert (await gwanri.post(path, wrong)).status_code == 422, wrong
        for unknown in ("x", new_message_id()):
            answer = await gwanri.get(f"{path}/{unknown}")
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_broadcast")
        for cursor in ("eA", "MQ", "!", "OTk5OTk5OTk5OTk5OTk5"):
            answer = await haneul.get("/v1/announcements", cursor=cursor)
            assert answer.status_code == (200 if cursor == "MQ" else 422), cursor
