"""Refused requests are told in the log: what, where and to whom, but not what was sent; and not more than so many."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from api import refusals
from api.refusals import Refusals
from api.testing import Harness


def told(logs: list[Any]) -> list[dict[str, Any]]:
    return [dict(entry) for entry in logs if entry["event"] == "request.refused"]


async def test_who_was_refused_what(api: Harness) -> None:
    haneul = await api.user("haneul")
    with capture_logs() as logs:
        await haneul.get("/v1/chats/g-0123/messages")
        await haneul.get("/v1/admin/users")
        await api.client.get("/v1/me")
        await haneul.post("/v1/devices", {"name": "비밀" * 500})
        await api.client.post(
            "/v1/auth/token", data={"grant_type": "password", "username": "haneul", "password": "비밀"}
        )
        await api.client.delete("/v1/nothing/비밀")
        await haneul.get("/v1/me")
    found = [(one["status"], one["code"], one["method"], one["route"], one["principal"]) for one in told(logs)]
    assert found == [
        (404, "unknown_chat", "GET", "/v1/chats/{chat}/messages", "haneul"),
        (403, "admin_only", "GET", "/v1/admin/users", "haneul"),
        (401, "unauthenticated", "GET", "/v1/me", None),
        (422, "invalid_request", "POST", "/v1/devices", "haneul"),
        (401, "invalid_grant", "POST", "/v1/auth/token", None),
        (404, "unknown_path", "DELETE", "unmatched", None),
    ]
    assert all(one["address"] == "192.0.2.1" for one in told(logs))
    assert "비밀" not in str(logs)


def test_a_flood_is_counted() -> None:
    clock = [0.0]
    log = Refusals(monotonic=lambda: clock[0])
    scope = {"type": "http", "method": "GET", "path": "/x"}
    with capture_logs() as logs:
        for _ in range(1_000):
            log.tell(scope, status=401, code="unauthenticated")
        assert len(told(logs)) == refusals.BURST
        clock[0] = 1.0
        for _ in range(1_000):
            log.tell(scope, status=401, code="unauthenticated")
    found = told(logs)
    assert len(found) == refusals.BURST + refusals.RATE
    assert [one["left_out"] for one in found if one["left_out"]] == [1_000 - refusals.BURST]
