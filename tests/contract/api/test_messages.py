"""History, status, sending, sync: on memory and MongoDB."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.testing import Harness, User
from chat.envelopes import Body, Event
from chat.ids import new_message_id

T0 = datetime(2026, 5, 4, 3, 2, 1, 123000, tzinfo=UTC)


async def pair(api: Harness) -> tuple[User, User, str]:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    return haneul, bada, chat


async def say(user: User, chat: str, text: str = "안녕하세요") -> dict[str, Any]:
    answer = await user.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": text}})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def history(user: User, chat: str, **query: Any) -> dict[str, Any]:
    answer = await user.get(f"/v1/chats/{chat}/messages", **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def seqs(page: dict[str, Any]) -> list[int]:
    return [item["seq"] for item in page["items"]]


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_what_is_sent_is_in_history(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    wish = {"id": new_message_id(), "body": {"text": "안녕"}, "mentions": ["bada"]}
    answer = await haneul.post(f"/v1/chats/{chat}/messages", wish)
    assert answer.status_code == 201
    event = answer.json()
    assert {name: event[name] for name in ("v", "type", "chat", "seq", "n", "sender", "body", "mentions")} == {
        "v": 1,
        "type": "message",
        "chat": chat,
        "seq": 1,
        "n": 1,
        "sender": "haneul",
        "body": {"text": "안녕"},
        "mentions": ["bada"],
    }
    (item,) = (await history(bada, chat))["items"]
    assert item == {**event, "status": "SENT", "delivered_at": None, "seen_at": None}


@pytest.mark.parametrize(
    "text", ["안녕", unicodedata.normalize("NFD", "안녕"), "👩🏽‍🚀🇰🇷", "nul\0inside", "\u202e", "", "﷽" * 1000]
)
async def test_texts_come_back_as_they_came(api: Harness, text: str) -> None:
    haneul, _, chat = await pair(api)
    assert (await say(haneul, chat, text))["body"] == ({"text": text})
    assert (await history(haneul, chat))["items"][0]["body"] == {"text": text}


async def test_a_repeat_answers_the_first_event(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    wish = {"id": new_message_id(), "body": {"text": "한 번"}}
    first = await haneul.post(f"/v1/chats/{chat}/messages", wish)
    again = await haneul.post(f"/v1/chats/{chat}/messages", {**wish, "body": {"text": "두 번"}})
    capitals = await haneul.post(f"/v1/chats/{chat}/messages", {**wish, "id": wish["id"].upper()})
    assert [answer.status_code for answer in (first, again, capitals)] == [201, 200, 200]
    assert first.json() == again.json() == capitals.json()
    assert seqs(await history(bada, chat)) == [1]
    assert len([topic for topic, _ in api.link.sent if "/send/" in topic]) == 3  # the bridge fans repeats out again


async def test_an_id_of_somebody_else(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    event = await say(haneul, chat)
    answer = await bada.post(f"/v1/chats/{chat}/messages", {"id": event["id"], "body": {"text": "내 것"}})
    assert problem(answer) == (409, "id_taken")
    assert "안녕" not in answer.text


async def test_status_and_times(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    for text in ("하나", "둘", "셋"):
        await say(haneul, chat, text)
    await api.move(chat, "bada", delivered=2, at=T0)
    await api.move(chat, "bada", seen=1, delivered=2, at=T0 + timedelta(seconds=5))
    await say(bada, chat, "넷")
    items = (await history(bada, chat))["items"]
    stamp, later = "2026-05-04T03:02:01.123000Z", "2026-05-04T03:02:06.123000Z"
    assert [(i["status"], i["delivered_at"], i["seen_at"]) for i in items] == [
        ("SEEN", stamp, later),
        ("DELIVERED", stamp, None),
        ("SENT", None, None),
        ("SENT", None, None),
    ]


async def test_status_of_a_group_with_a_device_and_a_late_joiner(api: Harness) -> None:
    haneul, _, _ = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    device = (await haneul.post("/v1/devices", {"name": "온도계"})).json()["id"]
    wish = {"kind": "group", "members": ["bada", device]}
    chat = (await haneul.post("/v1/chats", wish)).json()["id"]
    await say(haneul, chat)
    await haneul.post(f"/v1/chats/{chat}/members", {"members": ["cho"]})
    await say(haneul, chat)
    await api.move(chat, "bada", seen=3, at=T0)
    items = (await history(haneul, chat))["items"]
    assert [(item["type"], item["status"]) for item in items] == [
        ("message", "SEEN"),
        ("system", "SENT"),
        ("message", "SENT"),
    ]
    await api.move(chat, "cho", delivered=3, at=T0 + timedelta(hours=1))
    items = (await history(haneul, chat))["items"]
    assert [item["status"] for item in items] == ["SEEN", "SENT", "DELIVERED"]
    assert items[2]["delivered_at"] == "2026-05-04T04:02:01.123000Z"


async def test_pages(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    for number in range(1, 11):
        await say(haneul, chat, str(number))
    newest = await history(bada, chat, limit=4)
    assert (seqs(newest), newest["next"], newest["prev"]) == ([7, 8, 9, 10], None, 7)
    older = await history(bada, chat, limit=4, before=newest["prev"])
    assert (seqs(older), older["next"], older["prev"]) == ([3, 4, 5, 6], 6, 3)
    first = await history(bada, chat, limit=4, before=older["prev"])
    assert (seqs(first), first["next"], first["prev"]) == ([1, 2], 2, None)
    newer = await history(bada, chat, limit=4, after=first["next"])
    assert (seqs(newer), newer["next"], newer["prev"]) == ([3, 4, 5, 6], 6, 3)
    assert seqs(await history(bada, chat, after=3, before=6)) == [4, 5]
    assert seqs(await history(bada, chat, after=0, limit=3)) == [1, 2, 3]
    assert await history(bada, chat, after=10) == {"items": [], "next": None, "prev": None}
    assert await history(bada, chat, before=1) == {"items": [], "next": None, "prev": None}
    assert seqs(await history(bada, chat, before=2**53 - 1, limit=1)) == [10]


async def test_an_empty_chat(api: Harness) -> None:
    haneul, _, chat = await pair(api)
    assert await history(haneul, chat) == {"items": [], "next": None, "prev": None}


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 201},
        {"limit": "many"},
        {"after": -1},
        {"after": 2**53},
        {"before": "x"},
        {"after": 1.5},
        {"afer": 1},
        {"after": ""},
    ],
)
async def test_wrong_queries(api: Harness, query: dict[str, Any]) -> None:
    haneul, _, chat = await pair(api)
    answer = await haneul.get(f"/v1/chats/{chat}/messages", **query)
    assert problem(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == f"query.{next(iter(query))}"


async def sync(user: User, *cursors: str, **query: Any) -> list[dict[str, Any]]:
    answer = await user.call("GET", "/v1/sync", params={"cursor": list(cursors), **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_sync_brings_what_was_missed_and_no_more(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    other = (await haneul.post("/v1/chats", {"kind": "group", "members": ["bada"]})).json()["id"]
    events = [await say(haneul, chat, text) for text in ("하나", "둘", "셋")]
    page, current, unknown = await sync(bada, f"{chat}:1", f"{other}:0", "g-none:3")
    assert page == {"type": "sync", "chat": chat, "events": events[1:], "next": 3, "limited": False, "last": 3}
    assert current == {"type": "sync", "chat": other, "events": [], "next": 0, "limited": False, "last": 0}
    assert unknown == {"type": "reset", "chat": "g-none", "reason": "unknown_chat"}


async def test_sync_in_pages(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    events = [await say(haneul, chat, str(number)) for number in range(5)]
    got: list[dict[str, Any]] = []
    cursor = 0
    for _ in range(5):
        (page,) = await sync(bada, f"{chat}:{cursor}", limit=2)
        got += page["events"]
        cursor = page["next"]
        assert page["last"] == 5
        if not page["limited"]:
            break
    assert got == events


async def test_sync_of_another_history(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    await say(haneul, chat)
    assert await sync(bada, f"{chat}:2") == [{"type": "reset", "chat": chat, "reason": "ahead"}]
    eve = await api.user("eve")
    assert await sync(eve, f"{chat}:0", "g-none:0") == [
        {"type": "reset", "chat": chat, "reason": "unknown_chat"},
        {"type": "reset", "chat": "g-none", "reason": "unknown_chat"},
    ]


async def test_sync_is_bounded_over_all_chats(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.sync.service.MAX_EVENTS", 5)
    haneul = await api.user("haneul")
    chats = [(await haneul.post("/v1/chats", {"kind": "group"})).json()["id"] for _ in range(4)]
    for chat in chats[:3]:
        for number in range(3):
            await say(haneul, chat, str(number))
    pages = await sync(haneul, *(f"{chat}:0" for chat in chats))
    assert [(len(p["events"]), p["next"], p["limited"]) for p in pages] == [
        (3, 3, False),
        (2, 2, True),
        (0, 0, True),
        (0, 0, False),
    ]
    rest = await sync(haneul, *(f"{p['chat']}:{p['next']}" for p in pages if p["limited"]))
    assert [[event["seq"] for event in p["events"]] for p in rest] == [[3], [1, 2, 3]]


@pytest.mark.parametrize(
    "cursors", [["x"], ["x:"], [":1"], ["x:-1"], ["x:1.5"], ["x:1:2"], ["안녕:1"], ["x:" + "9" * 16], ["x:1", "x:2"]]
)
async def test_wrong_cursors(api: Harness, cursors: list[str]) -> None:
    haneul = await api.user("haneul")
    answer = await haneul.call("GET", "/v1/sync", params={"cursor": cursors})
    assert answer.status_code == 422
    assert answer.json()["code"] in {"invalid_request", "invalid_cursor"}


async def test_no_cursors_is_nothing_missed(api: Harness) -> None:
    assert await sync(await api.user("haneul")) == []


async def test_everybody_sees_what_is_for_them(api: Harness) -> None:
    """History, sync, chat list, pins and the answer to a send: what one user hid, and what is one user's own."""
    haneul, bada, chat = await pair(api)
    said = await say(haneul, chat, "비밀이 아닌 말")
    store = api.stores.messages
    shadow = Event("message", new_message_id(), chat, 2, 1, "bada", T0, body=Body(text="혼잣말"), only="bada")
    await store.insert([shadow])
    await store.hide(said["id"], "bada")
    await store.pin(said["id"], at=T0, pinned=True)
    for user, kinds, bodies in (
        (haneul, ["message", "void"], ["비밀이 아닌 말", None]),
        (bada, ["message", "message"], [None, "혼잣말"]),
    ):
        pages = [
            (await history(user, chat))["items"],
            (await user.call("GET", "/v1/sync", params={"cursor": [f"{chat}:0"]})).json()["items"][0]["events"],
        ]
        for items in pages:
            assert [item["type"] for item in items] == kinds
            assert [item.get("body", {}).get("text") for item in items] == bodies
            assert not {"only", "hidden_by"} & {name for item in items for name in item}
            assert items[0].get("hidden", False) == (user is bada)
            assert items[0]["pinned_at"] == "2026-05-04T03:02:01.123000Z"
        last = (await user.get(f"/v1/chats/{chat}")).json()["last_message"]
        (pin,) = (await user.get(f"/v1/chats/{chat}/pins")).json()["items"]
        for shown in (last, pin):
            assert (shown["id"], shown.get("body", {}).get("text")) == (said["id"], bodies[0])
    wish = {"id": shadow.id, "body": {"text": "혼잣말"}}
    again = await bada.post(f"/v1/chats/{chat}/messages", wish)
    assert (again.status_code, again.json()["type"], "only" in again.json()) == (200, "message", False)
    assert problem(await haneul.post(f"/v1/chats/{chat}/messages", wish)) == (409, "id_taken")


async def test_who_hides_what_they_have_seen_neither_shows_nor_sees_it(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    await say(haneul, chat)
    await say(bada, chat)
    for user in ("haneul", "bada"):
        await api.move(chat, user, seen=2, at=T0)

    async def shown(user: User) -> tuple[list[str], dict[str, int]]:
        items = (await history(user, chat))["items"]
        members = (await user.get(f"/v1/chats/{chat}/members")).json()["items"]
        return [item["status"] for item in items], {member["user"]: member["seen_seq"] for member in members}

    assert await shown(haneul) == (["SEEN", "SEEN"], {"bada": 2, "haneul": 2})
    api.invalidations.published.clear()
    answer = await bada.call("PATCH", "/v1/me", json={"hides_seen": True})
    assert (answer.status_code, answer.json()["hides_seen"]) == (200, True)
    assert [(one.kind, one.chat, one.user) for one in api.invalidations.published] == [("member", chat, "bada")]
    for user, mine in ((haneul, {"bada": 0, "haneul": 2}), (bada, {"bada": 2, "haneul": 0})):
        states, members = await shown(user)
        assert members == mine
        own = 0 if user is haneul else 1
        assert states[own] == "DELIVERED", "whoever said it does not learn that it was seen"
        assert (await history(user, chat))["items"][own]["seen_at"] is None
    assert (await bada.get(f"/v1/chats/{chat}")).json()["unread"] == 0
    group = (await haneul.post("/v1/chats", {"kind": "group", "title": "새 방", "members": ["bada"]})).json()["id"]
    later = (await haneul.post("/v1/chats", {"kind": "group", "title": "방", "members": []})).json()["id"]
    await haneul.post(f"/v1/chats/{later}/members", {"members": ["bada"]})
    for new in (group, later):
        row = await api.stores.chats.member(new, "bada")
        assert row is not None
        assert row.hides_seen
    await bada.call("PATCH", "/v1/me", json={"hides_seen": False})
    assert await shown(haneul) == (["SEEN", "SEEN"], {"bada": 2, "haneul": 2})
    for wrong in ({}, {"hides_seen": None}, {"hides_seen": True, "admin": True}):
        assert (await bada.call("PATCH", "/v1/me", json=wrong)).status_code == 422
