"""All routes at once: who may call them, and whether OpenAPI tells the truth about them."""

from __future__ import annotations

import base64
import inspect
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from jsonschema import Draft202012Validator

from adapters.tokens import TokenIssuer
from api.testing import Harness, User
from chat.ids import new_message_id

WITHOUT_TOKEN = {
    ("post", "/v1/auth/register"),
    ("post", "/v1/auth/token"),
    ("post", "/v1/auth/revoke"),
    ("get", "/v1/auth/oidc"),
    ("post", "/v1/auth/oidc/{provider}/start"),
    ("post", "/v1/auth/oidc/{provider}/finish"),
    ("get", "/healthz"),
    ("get", "/metrics"),
    ("get", "/.well-known/jwks.json"),
}

# The contract of the issue: these paths and methods stay.
PROMISED = {
    ("post", "/v1/auth/register"),
    ("post", "/v1/auth/token"),
    ("post", "/v1/auth/revoke"),
    ("get", "/v1/me/sessions"),
    ("delete", "/v1/me/sessions"),
    ("delete", "/v1/me/sessions/{session}"),
    ("get", "/v1/me"),
    ("patch", "/v1/me"),
    ("post", "/v1/chats"),
    ("get", "/v1/chats"),
    ("patch", "/v1/chats/{chat}"),
    ("get", "/v1/chats/{chat}/pins"),
    ("patch", "/v1/chats/{chat}/members/{user}"),
    ("get", "/v1/chats/{chat}/members"),
    ("post", "/v1/chats/{chat}/members"),
    ("delete", "/v1/chats/{chat}/members/{user}"),
    ("get", "/v1/chats/{chat}/messages"),
    ("post", "/v1/chats/{chat}/messages"),
    ("get", "/v1/sync"),
    ("put", "/v1/chats/{chat}/owner"),
    ("patch", "/v1/chats/{chat}/arrangement"),
    ("put", "/v1/chats/{chat}/retention"),
    ("post", "/v1/chats/{chat}/invitations"),
    ("get", "/v1/chats/{chat}/invitations"),
    ("delete", "/v1/chats/{chat}/invitations/{link}"),
    ("get", "/v1/chats/{chat}/requests"),
    ("put", "/v1/chats/{chat}/requests/{user}"),
    ("delete", "/v1/chats/{chat}/requests/{user}"),
    ("get", "/v1/me/requests"),
    ("post", "/v1/invitations/preview"),
    ("post", "/v1/invitations/accept"),
    ("get", "/v1/users"),
    ("get", "/v1/contacts"),
    ("put", "/v1/contacts/{user}"),
    ("delete", "/v1/contacts/{user}"),
    ("get", "/v1/blocks"),
    ("put", "/v1/blocks/{user}"),
    ("delete", "/v1/blocks/{user}"),
    ("post", "/v1/devices"),
    ("get", "/v1/devices"),
    ("put", "/v1/push-tokens/{token}"),
    ("delete", "/v1/push-tokens/{token}"),
    ("get", "/healthz"),
    ("get", "/metrics"),
    ("get", "/.well-known/jwks.json"),
}


async def document(api: Harness) -> dict[str, Any]:
    found: dict[str, Any] = (await api.client.get("/openapi.json")).json()
    return found


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def validator(found: dict[str, Any], name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": found["components"]}
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


async def test_the_promised_routes_are_there(api: Harness) -> None:
    assert {(method, path) for method, path, _ in operations(await document(api))} >= PROMISED


def forged(api: Harness) -> list[str]:
    good = api.parts.issuer.issue("haneul", sid="s").value
    head, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    tampered = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "root"}).encode()).rstrip(b"=").decode()
    expired = TokenIssuer(api.parts.settings.keys_dir, clock=lambda: time.time() - 3600).issue("haneul", sid="s").value
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return ["", "x", good, f"{head}.{tampered}.{signature}", expired, f"{none}.{payload}.", good[:-4]]


async def test_every_route_needs_a_token_unless_it_is_on_the_list(api: Harness) -> None:
    seen = set()
    for method, path, operation in operations(await document(api)):
        where = path.format_map(defaultdict(lambda: "u"))
        seen.add((method, path))
        if (method, path) in WITHOUT_TOKEN:
            assert "security" not in operation
            assert (await api.client.request(method, where)).status_code != 401
            continue
        assert operation["security"]
        # A well-formed body: whether the caller is known is decided before what they say is looked at, or after; never not.
        body = {
            "/v1/chats": {"kind": "group"},
            "/v1/chats/{chat}": {"title": "x"},
            "/v1/chats/{chat}/members/{user}": {"role": "member"},
            "/v1/me": {"hides_seen": True},
            "/v1/devices/{device}/certificates": {"csr": "q"},
            "/v1/me/second-factor": {"password": "q"},
            "/v1/me/second-factor/confirm": {"code": "q"},
            "/v1/me/second-factor/remove": {"password": "q", "code": "q"},
            "/v1/admin/services": {"id": "svc-x", "name": "x", "scopes": ["introspect"]},
            "/v1/me/password": {"current_password": "x", "new_password": "12345678"},
            "/v1/devices": {"name": "x"},
            "/v1/chats/{chat}/members": {"members": ["u"]},
            "/v1/push-tokens/{token}": {"platform": "web"},
            "/v1/chats/{chat}/owner": {"user": "u"},
            "/v1/chats/{chat}/arrangement": {"pinned": True},
            "/v1/chats/{chat}/retention": {"days": 30},
            "/v1/invitations/preview": {"token": "t"},
            "/v1/invitations/accept": {"token": "t"},
        }.get(path, {})
        for token in [None, *forged(api)]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = await api.client.request(method, where, headers=headers, json=body if method != "get" else None)
            assert answer.status_code == 401, (method, path, token)
            assert answer.headers["content-type"] == "application/problem+json"
            assert not token or token not in answer.text
    assert len(seen) >= len(PROMISED)


async def test_no_dependency_is_called_in_a_thread(api: Harness) -> None:
    """FastAPI calls plain functions in one, which costs more than any of ours does."""

    def calls(dependant: Dependant) -> Iterator[Any]:
        for each in dependant.dependencies:
            yield each.call
            yield from calls(each)

    found = {call for route in api.app.state.known_routes for call in calls(route.dependant)}
    plain = {
        call
        for call in found
        if not inspect.iscoroutinefunction(call) and not inspect.iscoroutinefunction(type(call).__call__)
    }
    assert len(found) > 20
    assert plain == set()


async def test_every_route_is_described(api: Harness) -> None:
    found = await document(api)
    for method, path, operation in operations(found):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        good = {status: answer for status, answer in operation["responses"].items() if status < "300"}
        assert good, where
        for status, answer in good.items():
            if status != "204" and path != "/v1/auth/revoke":  # RFC 7009 §2.2: 200, and nothing to say
                (content,) = answer["content"].values()
                assert content["schema"], where
        if path.startswith("/v1/"):
            problems = {status for status in operation["responses"] if status >= "400"}
            assert {"422", "429", "503"} <= problems, where
            assert ("401" in problems) or (method, path) in WITHOUT_TOKEN, where
            for status in problems:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"], where


async def test_every_reference_resolves_and_every_schema_is_one(api: Harness) -> None:
    found = await document(api)
    schemas = found["components"]["schemas"]
    for reference in references(found):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", []):
            validator(found, name).validate(example)
    assert "HTTPValidationError" not in schemas


async def test_answers_are_as_described(api: Harness) -> None:
    """A walk through all routes: each answer fits the schema that OpenAPI promises for it."""
    found = await document(api)
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = (await haneul.post("/v1/chats", {"kind": "group", "title": "산", "members": ["bada"]})).json()["id"]
    wish = {"id": new_message_id(), "body": {"text": "안녕"}}
    await haneul.post(f"/v1/chats/{chat}/messages", wish)
    await api.move(chat, "bada", seen=1)
    form = {"grant_type": "refresh_token", "refresh_token": bada.tokens["refresh_token"]}
    walk = [
        ("Account", await haneul.get("/v1/me")),
        ("Tokens", await api.client.post("/v1/auth/token", data=form)),
        ("Profile", await haneul.get("/v1/users/bada")),
        ("ProfileList", await haneul.get("/v1/users", id="bada")),
        ("ChatView", await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})),
        ("ChatView", await haneul.get(f"/v1/chats/{chat}")),
        ("ChatPage", await haneul.get("/v1/chats")),
        ("MemberPage", await haneul.get(f"/v1/chats/{chat}/members")),
        ("MemberPage", await haneul.post(f"/v1/chats/{chat}/members", {"members": ["bada"]})),
        ("MemberPage", await haneul.call("PATCH", f"/v1/chats/{chat}/members/bada", json={"role": "admin"})),
        ("ChatView", await haneul.call("PATCH", f"/v1/chats/{chat}", json={"title": "바다"})),
        ("Pins", await haneul.get(f"/v1/chats/{chat}/pins")),
        ("HistoryPage", await haneul.get(f"/v1/chats/{chat}/messages")),
        ("Event", await haneul.post(f"/v1/chats/{chat}/messages", wish)),
        ("SyncAnswer", await haneul.call("GET", "/v1/sync", params={"cursor": [f"{chat}:0", "none:0"]})),
        ("DeviceCredentials", await haneul.post("/v1/devices", {"name": "온도계"})),
        ("DeviceList", await haneul.get("/v1/devices")),
        ("ContactView", await haneul.call("PUT", "/v1/contacts/bada", json={"name": "바다님"})),
        ("ContactPage", await haneul.get("/v1/contacts")),
        ("ChatView", await haneul.call("PATCH", f"/v1/chats/{chat}/arrangement", json={"pinned": True})),
        ("ChatView", await haneul.call("PUT", f"/v1/chats/{chat}/retention", json={"days": 30})),
        ("MemberPage", await haneul.call("PUT", f"/v1/chats/{chat}/owner", json={"user": "bada"})),
        *await the_way_in(api, bada, chat),
        ("BlockPage", await haneul.get("/v1/blocks")),
        ("Problem", await haneul.get("/v1/chats/none")),
        ("Problem", await haneul.post("/v1/chats", {"kind": "x"})),
    ]
    for name, answer in walk:
        assert (answer.status_code >= 400) == (name == "Problem"), answer.text
        validator(found, name).validate(answer.json())
        assert set(answer.json()) <= set(found["components"]["schemas"][name]["properties"])


async def the_way_in(api: Harness, owner: User, chat: str) -> list[tuple[str, httpx.Response]]:
    """A link that asks for approval, and who comes by it."""
    byeol = await api.user("byeol")
    await owner.call("PUT", "/v1/blocks/byeol")
    made = await owner.post(f"/v1/chats/{chat}/invitations", {"approval": True})
    token = {"token": made.json()["token"]}
    return [
        ("NewLinkView", made),
        ("LinkList", await owner.get(f"/v1/chats/{chat}/invitations")),
        ("Preview", await byeol.post("/v1/invitations/preview", token)),
        ("Waiting", await byeol.post("/v1/invitations/accept", token)),
        ("WaitingList", await byeol.get("/v1/me/requests")),
        ("RequestPage", await owner.get(f"/v1/chats/{chat}/requests")),
        ("MemberPage", await owner.call("PUT", f"/v1/chats/{chat}/requests/byeol")),
        ("ChatView", await byeol.post("/v1/invitations/accept", token)),
        ("BlockPage", await owner.get("/v1/blocks")),
    ]


async def test_request_ids(api: Harness) -> None:
    given = await api.client.get("/healthz", headers={"X-Request-Id": "phone-7.1"})
    assert given.headers["x-request-id"] == "phone-7.1"
    for bad in ("", "a b", "x" * 65, "안녕".encode(), "<script>"):
        made = (await api.client.get("/healthz", headers={"X-Request-Id": bad})).headers["x-request-id"]
        assert len(made) == 32
    one, other = [(await api.client.get("/nothing")).headers["x-request-id"] for _ in range(2)]
    assert one != other


async def test_health(api: Harness) -> None:
    answer = await api.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"mongo": True, "link": True})
    api.link.connected = False
    answer = await api.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"mongo": True, "link": False})
    shown = (await api.client.get("/metrics")).text
    assert 'pabal_part_up{part="mongo"} 1.0' in shown
    assert 'pabal_part_up{part="link"} 0.0' in shown


async def test_metrics_count_by_pattern_and_never_by_id(api: Harness) -> None:
    haneul = await api.user("haneul")
    await haneul.get("/v1/chats/g-secret/messages")
    await haneul.call("PUT", "/v1/push-tokens/a-token-of-a-phone", json={"platform": "android"})
    await api.client.get("/some/where/else")
    await api.client.request("INVENTED", "/healthz")
    text = (await api.client.get("/metrics")).text
    assert 'pabal_api_requests_total{method="GET",route="/v1/chats/{chat}/messages",status="404"} 1.0' in text
    assert 'route="/v1/push-tokens/{token}",status="204"' in text
    assert 'route="unmatched",status="404"' in text
    assert 'method="other"' in text
    assert not any(word in text for word in ("g-secret", "a-token", "somewhere", "INVENTED", "haneul"))


async def test_the_published_keys_are_those_that_sign(api: Harness) -> None:
    answer = await api.client.get("/.well-known/jwks.json")
    haneul = await api.user("haneul")
    header = json.loads(base64.urlsafe_b64decode(haneul.tokens["access_token"].split(".")[0] + "=="))
    (key,) = answer.json()["keys"]
    assert (key["kid"], key["kty"], key["crv"]) == (header["kid"], "OKP", "Ed25519")
    assert "d" not in key
    assert "max-age" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"name": "온도계"}, 201),
        ({"name": "온도계", "id": "dev-1"}, 201),
        ({"name": "온도계", "id": None}, 201),
        ({"name": "온도계", "id": "dev-"}, 422),
        ({"name": "온도계", "id": "device"}, 422),
        ({"name": "온도계", "id": "dev-" + "x" * 61}, 422),
        ({"name": "온도계", "id": "dev-하늘"}, 422),
        ({"name": "온도계", "id": "dev-a/b"}, 422),
        ({"name": "온도계", "id": "svc-api"}, 422),
        ({"name": ""}, 422),
        ({"name": "x", "owner": "bada"}, 422),
        ({}, 422),
    ],
)
async def test_devices(api: Harness, wish: dict[str, Any], expected: int) -> None:
    haneul = await api.user("haneul")
    answer = await haneul.post("/v1/devices", wish)
    assert answer.status_code == expected, answer.text
    listed = (await haneul.get("/v1/devices")).json()["items"]
    assert len(listed) == (expected == 201)
    if expected == 201:
        made = answer.json()
        assert made["id"].startswith("dev-")
        secret = made.pop("secret")
        assert listed == [{**made, "disabled": False}]
        found = await api.parts.authenticator.authenticate(made["id"], secret.encode())
        assert (found.id, found.owner) == (made["id"], "haneul")


async def test_a_device_id_is_taken_once_by_anybody(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    assert (await haneul.post("/v1/devices", {"name": "하나", "id": "dev-1"})).status_code == 201
    for user in (haneul, bada):
        answer = await user.post("/v1/devices", {"name": "둘", "id": "dev-1"})
        assert (answer.status_code, answer.json()["code"]) == (409, "id_taken")
    assert (await bada.get("/v1/devices")).json()["items"] == []


async def test_push_tokens(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    assert (await haneul.call("PUT", "/v1/push-tokens/t:1", json={"platform": "ios"})).status_code == 204
    (token,) = (await api.stores.push_tokens.of_users(["haneul"]))["haneul"]
    assert (token.token, token.platform) == ("t:1", "ios")
    assert (await bada.call("DELETE", "/v1/push-tokens/t:1")).status_code == 204  # not theirs: nothing happens
    assert (await api.stores.push_tokens.of_users(["haneul"]))["haneul"]
    assert (await bada.call("PUT", "/v1/push-tokens/t:1", json={"platform": "ios"})).status_code == 204
    assert not (await api.stores.push_tokens.of_users(["haneul"])).get("haneul")
    assert (await bada.call("DELETE", "/v1/push-tokens/t:1")).status_code == 204
    assert not (await api.stores.push_tokens.of_users(["bada"])).get("bada")
    for bad in ("안녕", "a%20b", "x" * 1025, "%00"):
        assert (await bada.call("PUT", f"/v1/push-tokens/{bad}", json={"platform": "ios"})).status_code == 422
    for wish in ({}, {"platform": "windows"}, {"platform": "ios", "user": "haneul"}):
        assert (await bada.call("PUT", "/v1/push-tokens/t", json=wish)).status_code == 422


async def test_token_requests_that_are_none(api: Harness) -> None:
    for form, code in [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "invalid_request"),
        ({"grant_type": "password", "username": "haneul"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "PASSWORD", "username": "a", "password": "b"}, "unsupported_grant_type"),
    ]:
        answer = await api.client.post("/v1/auth/token", data=form)
        assert (answer.status_code, answer.json()["code"]) == (422, code), form
    answer = await api.client.post("/v1/auth/token", data={"grant_type": "client_credentials"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_client")
    await api.user("haneul")
    as_json = {"grant_type": "password", "username": "haneul", "password": "x"}
    assert (await api.client.post("/v1/auth/token", json=as_json)).status_code == 422


async def test_unknown_users(api: Harness) -> None:
    haneul = await api.user("haneul")
    for name in ("nobody", "svc-api", "안녕", "x" * 100, "dev-1"):
        answer = await haneul.get(f"/v1/users/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_user")
