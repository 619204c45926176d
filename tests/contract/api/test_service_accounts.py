"""Programs that an administrator lets in: their tokens, what these open, and that they end at once. On memory and MongoDB."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from api.testing import Harness, User
from chat.audit import AuditSearch
from chat.models import User as Account


async def admin(api: Harness) -> User:
    await api.user("root-password")
    made = await api.stores.users.get("root-password")
    assert made is not None
    await api.stores.users.add(Account("root", "root", made.password_hash, made.created_at, admin=True))
    return await api.sign_in("root")


async def service(root: User, id_: str = "svc-shop", scopes: list[str] | None = None) -> dict[str, Any]:
    answer = await root.post("/v1/admin/services", {"id": id_, "name": "가게", "scopes": scopes or ["introspect"]})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def token(api: Harness, id_: str, secret: str, **more: str) -> httpx.Response:
    form = {"grant_type": "client_credentials", "client_id": id_, "client_secret": secret, **more}
    return await api.client.post("/v1/auth/token", data=form)


async def signed_in(api: Harness, made: dict[str, Any], **more: str) -> User:
    answer = (await token(api, made["id"], made["secret"], **more)).raise_for_status()
    return User(api.client, made["id"], answer.json())


async def introspect(who: User, shown: str) -> httpx.Response:
    return await who.call("POST", "/v1/auth/introspect", data={"token": shown})


async def test_a_program_gets_a_token_of_its_own(api: Harness) -> None:
    made = await service(await admin(api), scopes=["introspect", "admin:read"])
    answer = await token(api, made["id"], made["secret"])
    found = answer.json()
    assert (found["token_type"], found["scope"]) == ("bearer", "admin:read introspect")
    assert "refresh_token" not in found
    assert (await token(api, made["id"], made["secret"], scope="introspect")).json()["scope"] == "introspect"
    for wanted in ("admin", "user", "introspect user"):
        refused = await token(api, made["id"], made["secret"], scope=wanted)
        assert refused.json()["code"] == "invalid_scope"


async def test_http_basic(api: Harness) -> None:
    made = await service(await admin(api))

    async def ask(text: bytes, scheme: str = "Basic") -> httpx.Response:
        headers = {"Authorization": f"{scheme} {base64.b64encode(text).decode()}"}
        return await api.client.post("/v1/auth/token", data={"grant_type": "client_credentials"}, headers=headers)

    assert (await ask(f"{made['id']}:{made['secret']}".encode())).status_code == 200
    assert (await ask(f"{made['id'].replace('-', '%2D')}:{made['secret']}".encode(), "basic")).status_code == 200
    for text in (b"svc-shop", b"svc-shop:", b"\xff\xfe:x", b"", f"{made['id']}:{made['secret']}x".encode()):
        refused = await ask(text)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        assert refused.headers["www-authenticate"].startswith("Basic")


async def test_wrong_and_unknown_clients_get_one_answer(api: Harness) -> None:
    made = await service(await admin(api))
    haneul = await api.user("haneul")
    tries = [
        ("svc-shop", "x"),
        ("svc-none", made["secret"]),
        ("haneul", haneul.tokens["access_token"]),
        ("svc-api", "x"),
    ]
    answers = [await token(api, *one) for one in [*tries, ("가게", "x"), ("svc-shop", "하늘"), ("dev-none", "x")]]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


async def test_a_programs_token_opens_what_it_was_given_and_nothing_else(api: Harness) -> None:
    root = await admin(api)
    haneul = await api.user("haneul")
    reader = await signed_in(api, await service(root, "svc-read", ["admin:read"]))
    asker = await signed_in(api, await service(root, "svc-ask", ["introspect"]))
    manager = await signed_in(api, await service(root, "svc-run", ["admin"]))
    wish = {"id": "svc-more", "name": "x", "scopes": ["admin:read"]}
    for who, expected in [(reader, (200, 403, 403)), (asker, (403, 403, 200)), (manager, (200, 201, 403))]:
        listing = await who.get("/v1/admin/services")
        adding = await who.post("/v1/admin/services", wish)
        asking = await introspect(who, haneul.tokens["access_token"])
        assert (listing.status_code, adding.status_code, asking.status_code) == expected, who.id
        for answer in (listing, adding, asking):
            assert answer.status_code != 403 or answer.json()["code"] == "insufficient_scope", answer.text
        for path in ("/v1/me", "/v1/me/sessions", "/v1/chats", "/v1/devices"):  # it is nobody, and has nothing
            refused = await who.get(path)
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    for who in (haneul,):
        assert (await who.get("/v1/admin/services")).status_code == 403
        assert (await introspect(who, who.tokens["access_token"])).status_code == 403


async def test_what_a_program_does_is_its_own(api: Harness) -> None:
    """It has the rank that its scopes name, and the audit log says that it was the program."""
    root = await admin(api)
    await api.user("haneul")
    keeper = await signed_in(api, await service(root, "svc-keeper", ["moderate"]))
    why = {"reason": "신고 3건"}
    for user, expected in (("haneul", 200), ("root", 403)):
        assert (await keeper.call("PUT", f"/v1/admin/users/{user}/suspension", json=why)).status_code == expected
    (found,) = await api.stores.audit.search(AuditSearch(action="user.suspended"), limit=9)
    assert (found.by, found.target, found.reason) == ("svc-keeper", "haneul", "신고 3건")
    assert (await keeper.call("PUT", "/v1/admin/users/haneul/ban", json=why)).json()["code"] == "insufficient_scope"


async def test_nobody_gives_what_they_do_not_have(api: Harness) -> None:
    root = await admin(api)
    narrow = await signed_in(api, await service(root, "svc-run", ["admin", "introspect"]), scope="admin")
    wish = {"id": "svc-more", "name": "x", "scopes": ["admin"]}
    assert (await narrow.post("/v1/admin/services", wish)).status_code == 201
    for scopes in ([], ["user"], ["device"], ["admin", "root"]):
        assert (await root.post("/v1/admin/services", {**wish, "id": "svc-x", "scopes": scopes})).status_code == 422


@pytest.mark.parametrize("id_", ["svc-api", "svc-bridge", "svc-worker", "svc-shop"])
async def test_ids_that_are_taken(api: Harness, id_: str) -> None:
    root = await admin(api)
    await service(root)
    answer = await root.post("/v1/admin/services", {"id": id_, "name": "x", "scopes": ["introspect"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "id_taken")


async def test_a_new_secret_and_the_end_of_an_account_end_its_tokens(api: Harness) -> None:
    root = await admin(api)
    made = await service(root, scopes=["admin:read"])
    first = await signed_in(api, made)
    fresh = (await root.post(f"/v1/admin/services/{made['id']}/secret", {})).json()
    assert (await first.get("/v1/admin/services")).json()["code"] == "signed_out"
    assert (await token(api, made["id"], made["secret"])).status_code == 401
    second = await signed_in(api, fresh)
    listed = (await second.get("/v1/admin/services")).json()["items"]
    assert listed == [{name: value for name, value in fresh.items() if name != "secret"}]
    assert (await root.call("DELETE", f"/v1/admin/services/{made['id']}")).status_code == 204
    assert (await second.get("/v1/admin/services")).json()["code"] == "signed_out"
    assert (await token(api, made["id"], fresh["secret"])).status_code == 401
    for path in (f"/v1/admin/services/{made['id']}", "/v1/admin/services/x"):
        assert (await root.call("DELETE", path)).json()["code"] == "unknown_service"


async def test_an_administrator_who_is_none_any_more_is_out_at_once(api: Harness) -> None:
    await admin(api)
    haneul = await api.user("haneul")
    haneul.tokens["access_token"] = api.parts.issuer.issue("haneul", sid=await sid(api), admin=True).value
    assert (await haneul.get("/v1/admin/services")).status_code == 403


async def sid(api: Harness) -> str:
    (grant,) = await api.stores.grants.of_user("haneul", limit=9)
    return grant.sid


async def test_pages(api: Harness) -> None:
    root = await admin(api)
    for number in range(3):
        await service(root, f"svc-{number}")
    first = (await root.get("/v1/admin/services", limit=2)).json()
    second = (await root.get("/v1/admin/services", limit=2, cursor=first["next"])).json()
    assert [one["id"] for one in first["items"] + second["items"]] == ["svc-0", "svc-1", "svc-2"]
    assert second["next"] is None
    assert (await root.get("/v1/admin/services", cursor="x")).json()["code"] == "invalid_cursor"


async def test_introspection_sees_that_a_sign_in_has_ended(api: Harness) -> None:
    asker = await signed_in(api, await service(await admin(api)))
    haneul = await api.user("haneul")
    found = (await introspect(asker, haneul.tokens["access_token"])).json()
    assert (found["active"], found["sub"], found["scope"]) == (True, "haneul", "user")
    await haneul.call("DELETE", "/v1/me/sessions/current")
    for shown in (haneul.tokens["access_token"], haneul.tokens["refresh_token"], "x", "", "하늘"):
        answer = await introspect(asker, shown)
        assert answer.json() == {"active": False} or (shown == "" and answer.status_code == 422)


async def test_a_device_signs_in_over_rest_with_a_token_that_is_no_persons(api: Harness) -> None:
    haneul = await api.user("haneul")
    made = (await haneul.post("/v1/devices", {"name": "온도계", "id": "dev-1"})).json()
    device = await signed_in(api, made)
    assert device.tokens["scope"] == "device"
    assert (await device.get("/v1/me")).json()["code"] == "insufficient_scope"
    with pytest.raises(Exception, match="nothing"):
        await api.parts.authenticator.authenticate("dev-1", device.tokens["access_token"].encode())
