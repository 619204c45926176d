from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.metrics_http import Answer, Request
from broker.admin import MAX_LIMIT, Admin, AdminSecret
from mqtt.packets import ConnAck, Disconnect, PubAck, Publish, Will
from tests.unit.broker.conftest import House

SECRET = "s" * 43


class Desk:
    """An administrator at the interface."""

    def __init__(self, house: House, path: Path) -> None:
        self.path = path
        path.write_text(SECRET + "\n")
        self.admin = Admin(house.broker, AdminSecret(path))

    def ask(self, method: str, target: str, *, header: str | None = f"Bearer {SECRET}") -> Answer:
        path, _, query = target.partition("?")
        headers = {} if header is None else {"authorization": header}
        return self.admin(Request(method, path, query, headers))

    def get(self, target: str) -> Any:
        answer = self.ask("GET", target)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def problem(self, method: str, target: str, **options: Any) -> tuple[int, str]:
        answer = self.ask(method, target, **options)
        assert answer.content_type == "application/problem+json"
        body = json.loads(answer.body)
        assert body["status"] == answer.status
        assert body["type"] == f"urn:pabal:problem:{body['code']}"
        return answer.status, body["code"]


@pytest.fixture
async def desk(house: House, tmp_path: Path) -> Desk:
    return Desk(house, tmp_path / "secret")


# ---- who may


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Basic {SECRET}", SECRET, f"Bearer {SECRET[:-1]}", f"Bearer {SECRET}é"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_nothing_without_the_secret(house: House, desk: Desk, header: str | None, method: str) -> None:
    phone = await house.client("user1")
    assert desk.problem(method, "/admin/clients/user1", header=header) == (401, "unauthenticated")
    assert desk.ask(method, "/admin/clients", header=header).headers == {"WWW-Authenticate": "Bearer"}
    assert not phone.closed


@pytest.mark.parametrize("content", [b"", b"\n", b"short", None])
async def test_a_secret_that_is_none_opens_nothing(desk: Desk, content: bytes | None) -> None:
    if content is None:
        desk.path.unlink()
    else:
        desk.path.write_bytes(content)
    word = (content or b"").decode().strip()
    assert desk.problem("GET", "/admin/clients", header=f"Bearer {word}") == (503, "unavailable")


async def test_a_new_secret_holds_at_once(desk: Desk) -> None:
    desk.path.write_text("t" * 43)
    assert desk.problem("GET", "/admin/clients") == (401, "unauthenticated")
    assert desk.ask("GET", "/admin/clients", header=f"bearer {'t' * 43}").status == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/admin/"),
        ("GET", "/admin/nothing"),
        ("POST", "/admin/clients"),
        ("DELETE", "/admin/clients"),
        ("DELETE", "/admin/subscriptions"),
        ("GET", "/admin/subscriptions/x"),
    ],
)
async def test_what_is_not_there(desk: Desk, method: str, target: str) -> None:
    assert desk.problem(method, target) == (404, "unknown_path")


@pytest.mark.parametrize(
    "query",
    ["limit=0", f"limit={MAX_LIMIT + 1}", "limit=x", "limit=-1", "limit=", "state=gone", "&".join(["a=b"] * 99)],
)
async def test_what_can_not_be_asked(desk: Desk, query: str) -> None:
    assert desk.problem("GET", f"/admin/clients?{query}") == (422, "bad_input")


@pytest.mark.parametrize("cursor", ["x", "[1,2]", "[]", "%5B" * 1000, '["a"]', "{}"])
async def test_a_cursor_that_was_not_handed_out(desk: Desk, cursor: str) -> None:
    assert desk.problem("GET", f"/admin/subscriptions?cursor={cursor}") == (422, "invalid_cursor")


# ---- clients


async def test_a_client(house: House, desk: Desk) -> None:
    will = Will("chats/g-1/typing/user1", b"secret words")
    phone = await house.client(
        "user1:phone", keep_alive=60, will=will, properties={"session_expiry_interval": 90, "receive_maximum": 7}
    )
    await phone.subscribe("chats/g-1/messages", "users/user1/inbox")
    house.clock.now += 30
    (row,) = desk.get("/admin/clients")["items"]
    at = row.pop("connected_at")
    assert at.endswith("+00:00")
    assert row == {
        "client_id": "user1:phone",
        "principal": "user1",
        "connected": True,
        "version": "5.0",
        "session_expiry": 90,
        "subscriptions": 2,
        "inflight": 0,
        "queued": 0,
        "address": "192.0.2.1:1234",
        "connected_seconds": 30.0,
        "keep_alive": 60,
    }
    one = desk.get("/admin/clients/user1%3Aphone")
    assert [each["filter"] for each in one["filters"]] == ["chats/g-1/messages", "users/user1/inbox"]
    assert one["window"] == 7
    assert one["connection"]["will_topic"] == "chats/g-1/typing/user1"
    assert one["connection"]["silent_seconds"] == 30.0
    assert "secret words" not in json.dumps(one)


async def test_windows_show_what_is_under_way_and_never_what_it_says(house: House, desk: Desk) -> None:
    bridge = await house.bridge()
    phone = await house.client("user1", properties={"receive_maximum": 2})
    await phone.subscribe("chats/g-1/messages")
    for number in range(5):
        await bridge.send(Publish("chats/g-1/messages", b"secret words", 1, packet_id=number + 1))
    one = desk.ask("GET", "/admin/clients/user1").body.decode()
    assert json.loads(one)["inflight"] == 2
    assert json.loads(one)["queued"] == 3
    assert "secret words" not in one


async def test_away_is_shown_when_asked_for(house: House, desk: Desk) -> None:
    gone = await house.client("user1", properties={"session_expiry_interval": 90})
    gone.vanish()
    await house.client("user2")
    assert [row["client_id"] for row in desk.get("/admin/clients")["items"]] == ["user2"]
    (row,) = desk.get("/admin/clients?state=away")["items"]
    assert (row["client_id"], row["connected"], row["address"], row["connected_at"]) == ("user1", False, None, None)
    assert len(desk.get("/admin/clients?state=all")["items"]) == 2
    assert desk.get("/admin/clients/user1")["connection"] is None


async def test_pages_hold_everybody_once(house: House, desk: Desk) -> None:
    names = sorted(f"user{number % 3}:{number}" for number in range(25))
    for name in names:
        await house.client(name)
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        page = desk.get(f"/admin/clients?limit=4&cursor={cursor}")
        assert len(page["items"]) <= 4
        seen += [row["client_id"] for row in page["items"]]
        cursor, pages = page["next"], pages + 1
    assert seen == names
    assert pages == 7
    some = desk.get("/admin/clients?prefix=user1:")["items"]
    assert [row["client_id"] for row in some] == [name for name in names if name.startswith("user1:")]


# ---- subscriptions


async def test_subscriptions_page_by_client_and_filter(house: House, desk: Desk) -> None:
    everything = []
    for user in ("user1", "user2"):
        for instance in "ab":
            filters = ["chats/g-1/messages", "chats/g-1/receipts", f"users/{user}/inbox"]
            phone = await house.client(f"{user}:{instance}")
            assert await phone.subscribe(*filters) == [1, 1, 1]
            everything += [(f"{user}:{instance}", text) for text in filters]
    for limit in range(1, 14):
        seen, cursor = [], ""
        while cursor is not None:
            page = desk.get(f"/admin/subscriptions?limit={limit}&cursor={cursor}")
            assert len(page["items"]) <= limit
            seen += [(row["client_id"], row["filter"]) for row in page["items"]]
            cursor = page["next"]
        assert seen == everything
    of_one = desk.get("/admin/subscriptions?client=user1:a")["items"]
    assert [row["filter"] for row in of_one] == ["chats/g-1/messages", "chats/g-1/receipts", "users/user1/inbox"]
    of_filter = desk.get("/admin/subscriptions?filter=users/user2/inbox")["items"]
    assert [row["client_id"] for row in of_filter] == ["user2:a", "user2:b"]
    assert desk.get("/admin/subscriptions?filter=users/user2/inbox&client=user1:a") == {"items": [], "next": None}
    assert desk.problem("GET", "/admin/subscriptions?client=nobody") == (404, "not_found")


async def test_shared_subscriptions_are_shown_as_written(house: House, desk: Desk) -> None:
    await house.bridge()
    rows = desk.get("/admin/subscriptions?client=svc-bridge")["items"]
    assert {row["filter"] for row in rows} >= {"$share/bridge/chats/+/send/+"}


# ---- out


async def test_kick(house: House, desk: Desk) -> None:
    phone = await house.client("user1", properties={"session_expiry_interval": 90})
    await phone.subscribe("users/user1/inbox")
    answer = desk.ask("DELETE", "/admin/clients/user1")
    assert json.loads(answer.body) == {"client_id": "user1", "disconnected": True, "session_kept": True}
    said = await phone.one(Disconnect)
    assert said.reason == 0x98
    assert phone.closed
    _, back = await house.dial("user1", clean=False)
    assert isinstance(back, ConnAck)
    assert back.session_present


async def test_kick_with_its_session(house: House, desk: Desk) -> None:
    phone = await house.client("user1", properties={"session_expiry_interval": 90})
    await phone.subscribe("users/user1/inbox")
    other = await house.client("user2", properties={"session_expiry_interval": 90})
    assert json.loads(desk.ask("DELETE", "/admin/clients/user1?session=drop").body)["session_kept"] is False
    assert "user1" not in house.broker.core.sessions
    assert house.broker.core.index.size == 0
    assert desk.problem("DELETE", "/admin/clients/user1") == (404, "not_found")
    _, back = await house.dial("user1", clean=False)
    assert isinstance(back, ConnAck)
    assert not back.session_present
    assert not other.closed


async def test_a_session_that_is_away_can_be_dropped(house: House, desk: Desk) -> None:
    phone = await house.client("user1", properties={"session_expiry_interval": 90})
    phone.vanish()
    assert desk.problem("DELETE", "/admin/clients/user1?session=perhaps") == (422, "bad_input")
    kept = json.loads(desk.ask("DELETE", "/admin/clients/user1").body)
    assert (kept["disconnected"], kept["session_kept"]) == (False, True)
    assert json.loads(desk.ask("DELETE", "/admin/clients/user1?session=drop").body)["session_kept"] is False
    house.tick(100)
    assert "user1" not in house.broker.core.sessions


async def test_a_kick_leaves_the_others_alone(house: House, desk: Desk) -> None:
    bridge = await house.bridge()
    await house.client("user1")
    other = await house.client("user2")
    await other.subscribe("chats/g-1/messages")
    desk.ask("DELETE", "/admin/clients/user1")
    (answer,) = await bridge.send(Publish("chats/g-1/messages", b"x", 1, packet_id=1))
    assert isinstance(answer, PubAck)
    assert await other.payloads() == [b"x"]
