"""What concerns sign-ins and credentials stands in the audit log, and nobody can fill it. On memory and MongoDB."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from adapters.signing_keys import rotate
from adapters.totp import STEP_SECONDS, code_at
from api import events
from api.testing import PASSWORD, Harness
from chat.audit import AuditRecord, AuditSearch
from chat.errors import Unavailable
from chat.models import User as Account
from tests.contract.api.test_every_creation import csr

OTHER = "말은 달리고 또 달린다"


async def records(api: Harness, action: str) -> list[AuditRecord]:
    await api.parts.events.write_refused()
    return list(reversed(await api.stores.audit.search(AuditSearch(action=action), limit=500)))


async def token(api: Harness, **form: str) -> Any:
    return await api.client.post("/v1/auth/token", data={"grant_type": "password", **form})


async def test_signing_in_and_out(api: Harness) -> None:
    haneul = await api.user("haneul")
    spent = haneul.tokens["refresh_token"]
    fresh = (await token(api, grant_type="refresh_token", refresh_token=spent)).json()
    assert (await token(api, grant_type="refresh_token", refresh_token=spent)).status_code == 401
    second = await api.sign_in("haneul")
    assert (await second.call("DELETE", "/v1/me/sessions/current")).status_code == 204
    third = await api.sign_in("haneul")
    assert (await api.client.post("/v1/auth/revoke", data={"token": third.tokens["refresh_token"]})).status_code == 200
    assert (await api.client.post("/v1/auth/revoke", data={"token": third.tokens["refresh_token"]})).status_code == 200
    found = [(record.action, record.by, record.target) for record in await records(api, "auth.")]
    assert found == [
        ("auth.signed_in", "haneul", ""),
        ("auth.refresh_reused", "", "haneul"),
        ("auth.signed_in", "haneul", ""),
        ("auth.signed_out", "haneul", ""),
        ("auth.signed_in", "haneul", ""),
        ("auth.signed_out", "haneul", ""),
    ]
    kept = str(await api.stores.audit.after(0, 500))
    assert not any(secret in kept for secret in (PASSWORD, spent, fresh["access_token"], fresh["refresh_token"]))
    assert all(record.address == "192.0.2.1" and record.request for record in await records(api, "auth."))


async def test_a_flood_of_failures_is_a_few_records(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted, per account and address; a name that is no account (a password, perhaps) is written nowhere."""
    await api.user("haneul")
    names = ["haneul"] * 3 + ["my-password-123"] * 2 + ["하늘의 비밀"]
    for name in names:
        assert (await token(api, username=name, password="틀린 말")).status_code in {401, 429}
    found = await records(api, "auth.refused")
    assert sum(int(record.details["times"]) for record in found) == len(names)
    assert ("haneul", "password", "3") in {(r.target, r.details["cause"], r.details["times"]) for r in found}
    assert {record.target for record in found} == {"haneul", ""}
    assert "my-password-123" not in str(found)
    monkeypatch.setattr(events, "MAX_REFUSED", 3)
    for number in range(50):
        api.parts.events.refused("auth.refused", address=f"192.0.2.{number}", cause="password", named=f"user{number}")
    flood = (await records(api, "auth.refused"))[len(found) :]
    assert len(flood) == 4
    assert [record.details for record in flood if record.details["cause"] == "others"] == [
        {"cause": "others", "times": "47"}
    ]


async def test_a_lock_is_told(api: Harness) -> None:
    await api.user("haneul")
    answers = [(await token(api, username="haneul", password="틀린 말")).status_code for _ in range(40)]
    assert answers[-1] == 429
    told = {record.details["cause"]: record for record in await records(api, "auth.refused")}
    assert told["locked"].target == "haneul"


async def test_what_waits_is_bounded_and_what_was_lost_is_told(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_WAITING", 2)
    for _ in range(5):
        api.parts.events.happened("auth.signed_in", by="haneul")

    async def away(_: Any) -> None:
        raise Unavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(api.stores.audit), "record_all", lambda self, _: away(self))
        with pytest.raises(Unavailable):
            await api.parts.events.write()
    await api.parts.events.write()
    api.parts.events.happened("auth.signed_in", by="haneul")
    await api.parts.events.write()
    assert len(await records(api, "auth.signed_in")) == 3


async def test_changes_of_credentials_are_noted_before_they_are_made(
    api: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    haneul = await api.user("haneul")
    device = (await haneul.post("/v1/devices", {"name": "온도계", "id": "dev-1"})).json()["id"]
    change = {"current_password": PASSWORD, "new_password": OTHER}
    steps: list[tuple[str, str, str, Any]] = [
        ("password.changed", "PUT", "/v1/me/password", change),
        ("device.secret", "POST", f"/v1/devices/{device}/secret", None),
        ("device.certified", "POST", f"/v1/devices/{device}/certificates", {"csr": csr()}),
        ("device.disabled", "PATCH", f"/v1/devices/{device}", {"disabled": True}),
        ("device.enabled", "PATCH", f"/v1/devices/{device}", {"disabled": False}),
    ]

    async def away(*_: Any) -> None:
        raise Unavailable("the log is away")

    for action, method, path, body in steps:
        with monkeypatch.context() as patch:
            patch.setattr(type(api.stores.audit), "record", away)
            assert (await haneul.call(method, path, json=body)).status_code == 503, action
        assert (await haneul.call(method, path, json=body)).status_code < 300, action
        (record,) = await records(api, action)
        assert (record.by, record.target) == ("haneul", device if action.startswith("device") else "haneul")
    wrong = {**change, "current_password": "틀린 말"}
    assert (await haneul.call("PUT", "/v1/me/password", json=wrong)).status_code == 403
    assert [record.target for record in await records(api, "auth.refused")] == ["haneul"]


async def test_programs_and_keys(api: Harness) -> None:
    made = await api.user("other")
    stored = await api.stores.users.get("other")
    assert stored is not None
    await api.stores.users.add(Account("root", "root", stored.password_hash, stored.created_at, admin=True))
    root = await api.sign_in("root")
    wish = {"id": "svc-shop", "name": "가게", "scopes": ["moderate", "introspect"]}
    secret = (await root.post("/v1/admin/services", wish)).json()["secret"]
    form = {"grant_type": "client_credentials", "client_id": "svc-shop", "client_secret": secret}
    assert (await api.client.post("/v1/auth/token", data=form)).status_code == 200
    assert (await api.client.post("/v1/auth/token", data=form | {"client_secret": "x"})).status_code == 401
    await root.post("/v1/admin/services/svc-shop/secret", {})
    await root.call("DELETE", "/v1/admin/services/svc-shop")
    assert (await root.call("DELETE", "/v1/admin/services/svc-shop")).status_code == 404
    assert [record.action for record in await records(api, "service_account.")] == [
        "service_account.added",
        "service_account.secret",
        "service_account.removed",
    ]
    assert [record.by for record in await records(api, "auth.client_signed_in")] == ["svc-shop"]
    assert [record.target for record in await records(api, "auth.client_refused")] == ["svc-shop"]
    assert secret not in str(await api.stores.audit.after(0, 500))
    assert made.id == "other"
    before = await records(api, events.KEYS)
    assert len(await records(api, events.KEYS)) == len(before) == 1
    settings = api.parts.settings
    rotate(settings.keys_dir, settings.jwks_file, pause=lambda _: None)
    api.parts.jwks._tried_at = None
    first, second = await records(api, events.KEYS)
    assert first.details != second.details
    assert first.details["kids"] in second.details["kids"]


async def test_the_second_factor(api: Harness) -> None:
    haneul = await api.user("haneul")
    path = "/v1/me/second-factor"
    key = base64.b32decode((await haneul.post(path, {"password": PASSWORD})).json()["secret"])
    assert (await haneul.post(f"{path}/confirm", {"code": "000000"})).status_code == 403
    code = code_at(key, int(time.time()) // STEP_SECONDS)
    codes = (await haneul.post(f"{path}/confirm", {"code": code})).raise_for_status().json()["recovery_codes"]
    assert (await token(api, username="haneul", password=PASSWORD, otp=codes[0])).status_code == 200
    assert (await token(api, username="haneul", password=PASSWORD, otp=codes[0])).status_code == 401
    assert (await haneul.post(f"{path}/remove", {"password": PASSWORD, "code": codes[1]})).status_code == 204
    found = [record.action for record in await records(api, "second_factor.")]
    assert sorted(found) == sorted(
        ["second_factor.refused", "second_factor.on", "second_factor.off", *["second_factor.recovered"] * 2]
    )
    assert [record.details["cause"] for record in await records(api, "auth.refused")] == ["code"]
    kept = str(await api.stores.audit.after(0, 500))
    assert not any(code in kept for code in codes)
