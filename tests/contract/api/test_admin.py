"""`/v1/admin` beside users: chats, devices, connections, messages, the audit log, the system; and who gets none of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from adapters.memory import memory_stores
from adapters.mongo import connect, open_stores
from adapters.mongo.audit import COLLECTION
from api.testing import PASSWORD, Harness, User, running_api
from chat.admin import LiveConnectionDetail
from chat.audit import FIRST, AuditEntry, AuditSearch
from chat.envelopes import read_system
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import User as Account
from chat.ports import Published

AT = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
WHY = {"reason": "신고 3건"}


async def staff(api: Harness, handle: str = "gwanri", *, admin: bool = True) -> User:
    hashed = await api.parts.passwords.hash(PASSWORD)
    await api.stores.users.add(Account(handle, "관리자", hashed, AT, admin=admin))
    await api.stores.admin.set_rank(handle, admin=admin, moderator=not admin)
    return await api.sign_in(handle)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def recorded(api: Harness, action: str) -> list[tuple[str, str, str]]:
    found = await api.stores.audit.search(AuditSearch(action=action), limit=100)
    return [(record.by, record.target, record.reason) for record in reversed(found)]


def live(client: str, principal: str) -> LiveConnectionDetail:
    return LiveConnectionDetail(
        client,
        principal,
        True,
        "5.0",
        "192.0.2.1:5",
        "2026-05-01T12:00:00+00:00",
        60,
        0.0,
        1,
        0,
        0,
        1000,
        1000,
        ["a/b"],
    )


FILLED = {
    "user": "haneul",
    "chat": "g-1",
    "device": "dev-1",
    "client": "haneul",
    "letter": "l",
    "message": "m",
    "broadcast": "b",
    "service_id": "svc-q",
}


async def test_everybody_else_is_refused_alike_by_every_route(tmp_path: Any) -> None:
    """What is there and what is not, what is well-formed and what is not: the same words for all, and nothing is done."""
    async with running_api(tmp_path, memory_stores()) as api:
        haneul, jiki = await api.user("haneul"), await staff(api, "jiki", admin=False)
        api.connections.rows["haneul"] = live("haneul", "haneul")
        document = (await api.client.get("/openapi.json")).json()
        routes = [
            (method, path)
            for path, methods in document["paths"].items()
            if path.startswith("/v1/admin/")
            for method in methods
        ]
        assert len(routes) > 20
        bodies = set()
        refused_moderators = set()
        for method, path in routes:
            for names in (FILLED, dict.fromkeys(FILLED, "nobody")):
                for request in ({}, {"params": {"reason": "x", "odd": "1"}}, {"json": {"reason": "x"}}):
                    answer = await haneul.call(method.upper(), path.format_map(names), **request)
                    body = answer.json()
                    assert body.pop("instance") == path.format_map(names)
                    bodies.add((answer.status_code, json.dumps(body)))
                    anonymous = await api.client.request(method.upper(), path.format_map(names), **request)
                    assert problem(anonymous) == (401, "unauthenticated")
            answer = await jiki.call(method.upper(), path.format_map(dict.fromkeys(FILLED, "nobody")))
            if answer.status_code == 403:
                body = answer.json()
                del body["instance"]
                bodies.add((answer.status_code, json.dumps(body)))
                refused_moderators.add((method, path))
        assert len(bodies) == 1, bodies
        assert next(iter(bodies))[0] == 403
        assert {
            ("put", "/v1/admin/users/{user}/ban"),
            ("put", "/v1/admin/users/{user}/rank"),
            ("get", "/v1/admin/audit"),
            ("get", "/v1/admin/settings"),
            ("get", "/v1/admin/dead-letters/{letter}"),
        } <= refused_moderators
        assert ("delete", "/v1/admin/messages/{message}") not in refused_moderators
        assert await recorded(api, "user.") == []
        assert api.connections.rows["haneul"].connected


async def test_chats_and_devices(api: Harness) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")
    await api.user("bada")
    wish = {"kind": "group", "title": "주말 등산", "members": ["bada"]}
    chat = (await haneul.post("/v1/chats", wish)).json()["id"]
    await haneul.post("/v1/devices", {"name": "거실 온도계", "id": "dev-1"})
    assert [row["id"] for row in (await gwanri.get("/v1/admin/chats", text="등산")).json()["items"]] == [chat]
    assert [row["id"] for row in (await gwanri.get("/v1/admin/chats", member="bada")).json()["items"]] == [chat]
    shown = (await gwanri.get(f"/v1/admin/chats/{chat}")).json()
    assert (shown["kind"], shown["title"], shown["created_by"], shown["members"]) == ("group", "주말 등산", "haneul", 2)
    page = (await gwanri.get(f"/v1/admin/chats/{chat}/members", limit=1)).json()
    rest = (await gwanri.get(f"/v1/admin/chats/{chat}/members", limit=1, cursor=page["next"])).json()
    assert [(row["user"], row["role"]) for row in page["items"] + rest["items"]] == [
        ("bada", "member"),
        ("haneul", "owner"),
    ]
    assert rest["next"] is None
    (row,) = (await gwanri.get("/v1/admin/devices", owner="haneul", text="온도")).json()["items"]
    assert row == (await gwanri.get("/v1/admin/devices/dev-1")).json()
    assert (row["id"], row["owner"], row["disabled"]) == ("dev-1", "haneul", False)
    assert "secret" not in row
    assert problem(await gwanri.get("/v1/admin/chats/none")) == (404, "unknown_chat")
    assert problem(await gwanri.get("/v1/admin/chats/none/members")) == (404, "unknown_chat")
    for name in ("dev-2", "haneul", "안녕"):
        assert problem(await gwanri.get(f"/v1/admin/devices/{name}")) == (404, "unknown_device")


async def test_connections(api: Harness) -> None:
    gwanri, jiki = await staff(api), await staff(api, "jiki", admin=False)
    for client, principal in [("haneul:phone", "haneul"), ("haneul:web", "haneul"), ("svc-bridge", "svc-bridge")]:
        api.connections.rows[client] = live(client, principal)
    first = (await gwanri.get("/v1/admin/connections", limit=2)).json()
    assert [row["client_id"] for row in first["items"]] == ["haneul:phone", "haneul:web"]
    rest = (await gwanri.get("/v1/admin/connections", limit=2, cursor=first["next"])).json()
    assert ([row["client_id"] for row in rest["items"]], rest["next"]) == (["svc-bridge"], None)
    assert (await gwanri.get("/v1/admin/connections/haneul:phone")).json()["filters"] == ["a/b"]
    path = "/v1/admin/connections/haneul:phone"
    assert (await jiki.call("DELETE", path)).status_code == 422  # no reason
    done = await jiki.call("DELETE", path, params=WHY)
    assert done.json() == {"client_id": "haneul:phone", "disconnected": True, "session_kept": True}
    done = await jiki.call("DELETE", path, params={**WHY, "session": "drop"})
    assert done.json() == {"client_id": "haneul:phone", "disconnected": False, "session_kept": False}
    assert problem(await jiki.call("DELETE", path, params=WHY)) == (404, "unknown_connection")
    assert await recorded(api, "connection.cut") == [("jiki", "haneul:phone", WHY["reason"])] * 2
    # Neither our own services nor who stands above.
    api.connections.rows["gwanri"] = live("gwanri", "gwanri")
    for client in ("svc-bridge", "gwanri"):
        answer = await jiki.call("DELETE", f"/v1/admin/connections/{client}", params=WHY)
        assert problem(answer) == (403, "admin_only")
    assert (await gwanri.call("DELETE", "/v1/admin/connections/svc-bridge", params=WHY)).status_code == 200


async def test_a_moderator_deletes_any_message_once(api: Harness) -> None:
    jiki, haneul = await staff(api, "jiki", admin=False), await api.user("haneul")
    chat = (await haneul.post("/v1/chats", {"kind": "group", "title": "산", "members": []})).json()["id"]
    message = new_message_id()
    await haneul.post(f"/v1/chats/{chat}/messages", {"id": message, "body": {"text": "욕설"}})
    path = f"/v1/admin/messages/{message}"
    first = await jiki.call("DELETE", path, params=WHY)
    assert first.json() == {"message": message, "chat": chat, "seq": 2}
    assert (await jiki.call("DELETE", f"/v1/admin/messages/{message.upper()}", params=WHY)).json() == first.json()
    (topic, payload), *_ = [one for one in api.link.sent if one[0].endswith("/send/svc-api") and b'"delete"' in one[1]]
    assert read_system(payload).target == message
    assert topic == f"chats/{chat}/send/svc-api"
    items = (await haneul.get(f"/v1/chats/{chat}/messages")).json()["items"]
    assert [item["type"] for item in items] == ["message", "delete"]
    assert "욕설" not in json.dumps(items, ensure_ascii=False)
    assert await recorded(api, "message.deleted") == [("jiki", message, WHY["reason"])] * 2
    for wrong in (new_message_id(), "x", items[1]["id"]):
        answer = await jiki.call("DELETE", f"/v1/admin/messages/{wrong}", params=WHY)
        assert problem(answer) == (404, "unknown_message")
    api.link.answer = Published(0x97)
    assert problem(await jiki.call("DELETE", path, params=WHY)) == (503, "unavailable")
    assert await recorded(api, "message.deleted.failed") == [("jiki", message, "")]


async def test_search_in_the_audit_log(api: Harness) -> None:
    gwanri = await staff(api)
    for number in range(5):
        action = "user.banned" if number % 2 else "user.suspended"
        await api.stores.audit.record(AuditEntry(action, "gwanri", AT, target=f"u{number}", reason="이유"))
    first = (await gwanri.get("/v1/admin/audit", action="user.", limit=3)).json()
    rest = (await gwanri.get("/v1/admin/audit", action="user.", limit=3, cursor=first["next"])).json()
    assert [row["seq"] for row in first["items"] + rest["items"]] == [5, 4, 3, 2, 1]
    assert rest["next"] is None
    assert [row["seq"] for row in (await gwanri.get("/v1/admin/audit", target="u3")).json()["items"]] == [4]
    later = (await gwanri.get("/v1/admin/audit", since="2026-05-01T12:00:01Z")).json()["items"]
    assert later == []
    for wrong in ({"cursor": "eA"}, {"since": "2026-05-01"}, {"limit": 0}, {"odd": "x"}):
        assert (await gwanri.get("/v1/admin/audit", **wrong)).status_code == 422, wrong
    # What is done over REST says from where, and by which request.
    await api.user("haneul")
    headers = {"X-Request-Id": "r-1"}
    await gwanri.call("PUT", "/v1/admin/users/haneul/shadow", json=WHY, headers=headers)
    (row,) = (await gwanri.get("/v1/admin/audit", action="user.shadowed")).json()["items"]
    assert (row["by"], row["target"], row["reason"]) == ("gwanri", "haneul", WHY["reason"])
    assert (row["address"], row["request"]) == ("192.0.2.1", "r-1")


async def test_verification_piece_by_piece(api: Harness) -> None:
    gwanri = await staff(api)
    path = "/v1/admin/audit/verification"
    empty = {"checked": 0, "faults": [], "seq": 0, "hash": FIRST, "at": None, "complete": True}
    assert (await gwanri.get(path)).json() == empty
    records = [await api.stores.audit.record(AuditEntry("user.banned", "gwanri", AT, target=f"u{n}")) for n in range(5)]
    piece = (await gwanri.get(path, limit=3)).json()
    assert (piece["checked"], piece["faults"], piece["seq"], piece["complete"]) == (3, [], 3, False)
    rest = (await gwanri.get(path, limit=3, seq=3, hash=piece["hash"])).json()
    assert (rest["checked"], rest["faults"], rest["seq"], rest["complete"]) == (2, [], 5, True)
    assert rest["hash"] == records[-1].hash
    # Who knows another history than the one that is there is told so.
    other = (await gwanri.get(path, seq=3, hash="f" * 64)).json()
    assert other["faults"] == [{"seq": 3, "what": "other_history"}, {"seq": 4, "what": "broken_chain"}]
    gone = (await gwanri.get(path, seq=9, hash="f" * 64)).json()
    assert gone["faults"] == [{"seq": 9, "what": "cut_off"}]
    beyond = (await gwanri.get(path, seq=5, hash=records[-1].hash)).json()
    assert (beyond["checked"], beyond["faults"], beyond["complete"]) == (0, [], True)


async def test_an_altered_log_does_not_pass(tmp_path: Any, mongo_url: str, mongo_database: str) -> None:
    stores, db = await open_stores(mongo_url, mongo_database), connect(mongo_url, mongo_database)
    async with running_api(tmp_path, stores) as api:
        gwanri = await staff(api)
        for number in range(6):
            await stores.audit.record(AuditEntry("user.banned", "gwanri", AT, target=f"u{number}"))

        async def faults() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await gwanri.get("/v1/admin/audit/verification")).json()["faults"]
            return found

        assert await faults() == []
        await db[COLLECTION].update_one({"_id": 2}, {"$set": {"by": "somebody"}})
        assert await faults() == [{"seq": 2, "what": "changed"}]
        await db[COLLECTION].update_one({"_id": 2}, {"$set": {"by": "gwanri"}})
        await db[COLLECTION].delete_one({"_id": 4})
        assert await faults() == [{"seq": 5, "what": "missing"}]
        await db[COLLECTION].delete_many({"_id": {"$gt": 3}})
        assert await faults() == [{"seq": 4, "what": "cut_off"}]
        # What is written from then on does not heal it.
        for _ in range(4):
            await stores.audit.record(AuditEntry("user.banned", "gwanri", AT))
        assert await faults() == [{"seq": 7, "what": "missing"}]
    await stores.close()
    await db.client.close()


async def test_health_and_settings_of_every_process(api: Harness) -> None:
    gwanri = await staff(api)
    api.processes.parts = {"broker": {"mongo": True}, "bridge": None}
    api.processes.values = {"broker": {"PABAL_BROKER_NAME": "broker1"}, "bridge": None}
    found = (await gwanri.get("/v1/admin/health")).json()
    assert not found["well"]
    assert {row["name"]: (row["well"], row["answers"]) for row in found["processes"]} == {
        "api": (True, True),
        "broker": (True, True),
        "bridge": (False, False),
    }
    api.processes.parts = {"broker": {"mongo": True}}
    assert (await gwanri.get("/v1/admin/health")).json()["well"]
    rows = {row["name"]: row for row in (await gwanri.get("/v1/admin/settings")).json()["processes"]}
    assert rows["broker"]["settings"] == {"PABAL_BROKER_NAME": "broker1"}
    assert not rows["bridge"]["answers"]
    assert rows["api"]["settings"]["PABAL_API_MAX_MEMBERS"] == str(api.parts.settings.api_max_members)


async def test_reading_a_dead_letter_leaves_a_record(api: Harness) -> None:
    gwanri = await staff(api)
    assert problem(await gwanri.get("/v1/admin/dead-letters/none")) == (404, "unknown_dead_letter")
    assert await recorded(api, "dead_letter.") == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_without_a_broker_connections_are_unavailable(
    api: Harness, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    gwanri = await staff(api)

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("the broker does not answer")

    monkeypatch.setattr(api.connections, "get", away)
    answer = await gwanri.call(method, "/v1/admin/connections/x", params=WHY if method == "DELETE" else {})
    assert problem(answer) == (503, "unavailable")


async def test_statistics_from_roll_ups_only(api: Harness) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")
    chat = (await haneul.post("/v1/chats", {"kind": "group", "title": "산", "members": []})).json()["id"]
    for _ in range(3):
        await haneul.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": "안녕"}})
    await api.stores.chats.touch({chat: (await api.stores.messages.head(chat), datetime.now(UTC))})
    before = (await gwanri.get("/v1/admin/statistics")).json()
    assert (before["by"], before["counted_until"]) == ("hour", None)
    assert sum(row["messages"] for row in before["items"]) == 0
    await api.stores.statistics.roll_up(now=datetime.now(UTC), limit=1000)
    for by, count in [("hour", 24), ("day", 30)]:
        found = (await gwanri.get("/v1/admin/statistics", by=by)).json()
        assert len(found["items"]) == count
        assert sum(row["messages"] for row in found["items"]) == 3
        assert max(row["active_users"] for row in found["items"]) == 1
        assert not found["items"][-1]["complete"]
        assert found["items"][0]["complete"]
        assert found["items"][0]["p50_ms"] is None
    past = await gwanri.get(
        "/v1/admin/statistics", by="day", since="2020-01-01T00:00:00Z", until="2020-01-03T00:00:00Z"
    )
    assert [row["begin"] for row in past.json()["items"]] == ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"]
    for wrong in (
        {"since": "2020-01-03T00:00:00Z", "until": "2020-01-01T00:00:00Z"},
        {"since": "1970-01-01T00:00:00Z"},
        {"since": "0001-01-01T00:00:00+23:59"},
        {"by": "year"},
    ):
        assert (await gwanri.get("/v1/admin/statistics", **wrong)).status_code == 422, wrong
