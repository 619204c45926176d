"""`/v1/admin/users`, on memory and MongoDB: who may do what to whom, and what it does to them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.testing import PASSWORD, Harness, User
from chat.audit import AuditSearch
from chat.envelopes import Invalidation
from chat.errors import Unauthenticated, Unavailable
from chat.models import User as Account

AT = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
WHY = {"reason": "욕설 신고 3건"}


async def staff(api: Harness, handle: str = "gwanri", *, admin: bool = True) -> User:
    """An administrator, or a moderator."""
    hashed = await api.parts.passwords.hash(PASSWORD)
    await api.stores.users.add(Account(handle, "관리자", hashed, AT, admin=admin))
    await api.stores.admin.set_rank(handle, admin=admin, moderator=not admin)
    return await api.sign_in(handle)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def trail(api: Harness) -> list[tuple[str, str, str, str]]:
    found = await api.stores.audit.search(AuditSearch(), limit=100)
    return [(record.action, record.by, record.target, record.reason) for record in reversed(found)]


async def test_a_suspension_takes_effect_everywhere_at_once(api: Harness) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")
    device = (await haneul.post("/v1/devices", {"name": "온도계", "id": "dev-1"})).json()
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    answer = await gwanri.call("PUT", "/v1/admin/users/haneul/suspension", json={**WHY, "until": until.isoformat()})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["state"], shown["block"]["by"], shown["block"]["reason"]) == ("suspended", "gwanri", WHY["reason"])
    assert datetime.fromisoformat(shown["block"]["until"]) == until
    assert shown["devices"] == [{"id": "dev-1", "name": "온도계", "disabled": True}]

    # REST, refresh, a new sign-in, MQTT with a token and with a device's secret: all of them refused.
    assert problem(await haneul.get("/v1/me")) == (401, "signed_out")
    form = {"grant_type": "refresh_token", "refresh_token": haneul.tokens["refresh_token"]}
    assert problem(await api.client.post("/v1/auth/token", data=form)) == (401, "invalid_grant")
    form = {"grant_type": "password", "username": "haneul", "password": PASSWORD}
    assert problem(await api.client.post("/v1/auth/token", data=form)) == (401, "invalid_grant")
    for name, secret in [("haneul", haneul.tokens["access_token"]), ("dev-1", device["secret"])]:
        with pytest.raises(Unauthenticated):
            await api.parts.authenticator.authenticate(name, secret.encode())
    assert await api.parts.authenticator.welcome(["haneul", "dev-1"]) == set()
    # The brokers are told about the sign-in, the user and the device.
    told = api.invalidations.published
    assert {(one.kind, one.user) for one in told} == {
        ("grant", "haneul"),
        ("principal", "haneul"),
        ("principal", "dev-1"),
    }
    assert (await trail(api))[-1] == ("user.suspended", "gwanri", "haneul", WHY["reason"])

    # Let in again: the old sign-in stays dead, a new one works.
    lifted = await gwanri.call("DELETE", "/v1/admin/users/haneul/block", params={"reason": "사과함"})
    assert (lifted.json()["state"], lifted.json()["block"]) == ("active", None)
    assert problem(await haneul.get("/v1/me")) == (401, "signed_out")
    assert (await (await api.sign_in("haneul")).get("/v1/me")).status_code == 200
    assert await api.parts.authenticator.welcome(["haneul", "dev-1"]) == {"haneul", "dev-1"}


async def test_it_ends_by_itself(api: Harness) -> None:
    gwanri = await staff(api)
    await api.user("haneul")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    wish = {**WHY, "until": end.isoformat()}
    assert (await gwanri.call("PUT", "/v1/admin/users/haneul/ban", json=wish)).json()["state"] == "banned"
    form = {"grant_type": "password", "username": "haneul", "password": PASSWORD}
    assert (await api.client.post("/v1/auth/token", data=form)).status_code == 401
    while (await gwanri.get("/v1/admin/users/haneul")).json()["state"] == "banned":
        assert datetime.now(UTC) < end + timedelta(seconds=30)
        await asyncio.sleep(0.05)
    assert datetime.now(UTC) >= end
    assert (await api.client.post("/v1/auth/token", data=form)).status_code == 200


async def test_it_holds_although_nobody_can_be_told(api: Harness) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")
    api.invalidations.fault = Unavailable("Valkey is away")
    assert (await gwanri.call("PUT", "/v1/admin/users/haneul/ban", json=WHY)).status_code == 200
    assert problem(await haneul.get("/v1/me")) == (401, "signed_out")


async def test_nothing_is_done_that_cannot_be_noted(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")

    async def away(_entry: object) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(api.stores.audit, "record", away)
    for method, path, request in [
        ("PUT", "suspension", {"json": WHY}),
        ("PUT", "ban", {"json": WHY}),
        ("PUT", "shadow", {"json": WHY}),
        ("PUT", "rank", {"json": {**WHY, "rank": "admin"}}),
        ("DELETE", "sign-ins", {"params": WHY}),
        ("DELETE", "block", {"params": WHY}),
    ]:
        answer = await gwanri.call(method, f"/v1/admin/users/haneul/{path}", **request)
        assert problem(answer) == (503, "unavailable"), path
    assert (await haneul.get("/v1/me")).status_code == 200
    shown = (await gwanri.get("/v1/admin/users/haneul")).json()
    assert (shown["state"], shown["rank"], shown["shadowed"]) == ("active", "user", False)


async def test_what_moderators_may_and_may_not(api: Harness) -> None:
    gwanri, other = await staff(api), await staff(api, "gwanri2")
    jiki, jiki2 = await staff(api, "jiki", admin=False), await staff(api, "jiki2", admin=False)
    await api.user("haneul")

    async def tries(who: User, method: str, target: str, what: str) -> int:
        body = {"params": WHY} if method == "DELETE" else {"json": WHY | ({"rank": "user"} if what == "rank" else {})}
        answer = await who.call(method, f"/v1/admin/users/{target}/{what}", **body)
        if answer.status_code == 403:
            assert problem(answer) == (403, "admin_only")
        return answer.status_code

    every = [
        ("PUT", "suspension"),
        ("PUT", "shadow"),
        ("DELETE", "shadow"),
        ("DELETE", "sign-ins"),
        ("DELETE", "block"),
    ]
    for method, what in every:
        assert await tries(jiki, method, "haneul", what) == 200, what
        for above in ("gwanri", "jiki2", "jiki"):
            assert await tries(jiki, method, above, what) == 403, (what, above)
        assert await tries(gwanri, method, "gwanri", what) == 403, what  # nobody does it to themselves
    for what in ("ban", "rank"):
        for target in ("haneul", "gwanri", "jiki"):
            assert await tries(jiki, "PUT", target, what) == 403
    assert await tries(jiki, "GET", "haneul", "block") == 405

    # A ban is not a moderator's to lift, nor to turn into a suspension that they could lift.
    assert await tries(gwanri, "PUT", "haneul", "ban") == 200
    assert await tries(jiki, "DELETE", "haneul", "block") == 403
    assert await tries(jiki, "PUT", "haneul", "suspension") == 403
    assert await tries(gwanri, "DELETE", "haneul", "block") == 200
    # An administrator may act on another one.
    assert await tries(gwanri, "PUT", "gwanri2", "suspension") == 200
    assert problem(await other.get("/v1/admin/users")) == (401, "signed_out")
    assert (await jiki2.get("/v1/admin/users/haneul")).status_code == 200


async def test_who_is_no_longer_staff_is_out_at_once(api: Harness) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")
    wish = {**WHY, "rank": "moderator"}
    assert (await gwanri.call("PUT", "/v1/admin/users/haneul/rank", json=wish)).json()["rank"] == "moderator"
    assert problem(await haneul.get("/v1/admin/users")) == (401, "signed_out")
    haneul = await api.sign_in("haneul")
    assert (await haneul.get("/v1/admin/users")).status_code == 200
    # The token still says so, the store does not.
    await api.stores.admin.set_rank("haneul", admin=False, moderator=False)
    await api.stores.admin.set_rank("gwanri", admin=False, moderator=False)
    for who in (haneul, gwanri):
        assert problem(await who.get("/v1/admin/users")) == (403, "admin_only")
    # A token without the scope is none of an administrator's, whatever the store says.
    await api.stores.admin.set_rank("haneul", admin=True, moderator=False)
    assert problem(await haneul.get("/v1/admin/users")) == (403, "admin_only")


async def test_lists_and_pages(api: Harness) -> None:
    gwanri = await staff(api)
    for handle, name in [("haneul", "김하늘"), ("haru", "하루"), ("bada", "이바다")]:
        await api.user(handle, display_name=name)
    first = (await gwanri.get("/v1/admin/users", limit=3)).json()
    assert [row["id"] for row in first["items"]] == ["bada", "gwanri", "haneul"]
    second = (await gwanri.get("/v1/admin/users", limit=3, cursor=first["next"])).json()
    assert ([row["id"] for row in second["items"]], second["next"]) == (["haru"], None)
    found = (await gwanri.get("/v1/admin/users", text="하")).json()["items"]
    assert [row["id"] for row in found] == ["haneul", "haru"]
    assert [row["id"] for row in (await gwanri.get("/v1/admin/users", staff=True)).json()["items"]] == ["gwanri"]
    shown = await gwanri.get("/v1/admin/users/haneul")
    assert "password" not in shown.text
    assert "argon2" not in shown.text
    for wrong in ({"cursor": "!"}, {"limit": 0}, {"text": ""}, {"text": "a\0"}, {"state": "x"}, {"by": "x"}):
        assert (await gwanri.get("/v1/admin/users", **wrong)).status_code == 422, wrong
    for name in ("nobody", "안녕", "x" * 200, "$gt"):
        assert problem(await gwanri.get(f"/v1/admin/users/{name}")) == (404, "unknown_user")


UNFIT: list[dict[str, Any]] = [
    {},
    {"reason": ""},
    {"reason": " \n"},
    {"reason": "x" * 1001},
    {"reason": None},
    {**WHY, "until": "tomorrow"},
    {**WHY, "until": "2026-06-01T00:00:00"},
    {**WHY, "until": "2020-01-01T00:00:00Z"},
    {**WHY, "until": "4102444800"},
    {**WHY, "until": 4102444800},
    {**WHY, "until": "9999-12-31T23:59:59-23:59"},
    {**WHY, "by": "somebody"},
    {**WHY, "kind": "banned"},
]


async def test_a_sanction_has_a_reason_and_an_end_that_is_to_come(api: Harness) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")
    for what in ("suspension", "ban"):
        for wish in UNFIT:
            answer = await gwanri.call("PUT", f"/v1/admin/users/haneul/{what}", json=wish)
            assert answer.status_code == 422, answer.text
    assert (await haneul.get("/v1/me")).status_code == 200
    assert await trail(api) == []


async def test_signing_somebody_out(api: Harness) -> None:
    gwanri, haneul = await staff(api), await api.user("haneul")
    second = await api.sign_in("haneul")
    assert (await gwanri.call("DELETE", "/v1/admin/users/haneul/sign-ins", params=WHY)).status_code == 200
    for who in (haneul, second):
        assert problem(await who.get("/v1/me")) == (401, "signed_out")
    assert [one.kind for one in api.invalidations.published] == ["grant", "grant"]
    assert all(isinstance(one, Invalidation) and one.user == "haneul" for one in api.invalidations.published)
    assert (await (await api.sign_in("haneul")).get("/v1/me")).status_code == 200
