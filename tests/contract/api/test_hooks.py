"""Other brokers ask: requests as their documents describe them, on both kinds of stores."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import ValidationError
from structlog.testing import capture_logs

from adapters.stores import Stores
from api.clock import now
from api.internal import endpoints
from api.internal.app import create_hooks, read_secret
from api.internal.endpoints import HOOKS, MAX_BODY
from api.settings import Settings
from api.testing import Harness, User, running_api
from chat.errors import Unavailable
from chat.ids import new_message_id
from tests.contract.api.topic_matrix import matrix

SECRET = "a-secret-of-the-other-broker"
BEARER = {"Authorization": f"Bearer {SECRET}"}
RABBIT = "/internal/mqtt/rabbitmq/"
VERNE = "/internal/mqtt/vernemq"


@dataclass
class Hooks:
    """Another broker's view, and the people: haneul and bada share a group, byeol is outside."""

    api: Harness
    client: httpx.AsyncClient
    registry: CollectorRegistry
    haneul: User
    bada: User
    byeol: User
    chat: str
    device: str
    device_secret: str

    async def emqx(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.client.post(f"/internal/mqtt/{path}", json=body, headers=BEARER)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        found: dict[str, Any] = answer.json()
        return found

    async def rabbit(self, path: str, **form: str) -> str:
        answer = await self.client.post(RABBIT + path, data=form, params={"secret": SECRET})
        assert answer.status_code == 200
        return answer.text

    async def verne(self, hook: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.post(
            VERNE, json=body, headers={"vernemq-hook": hook, "accept": "application/json"}, params={"secret": SECRET}
        )
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def hooks(tmp_path: Path, stores: Stores) -> AsyncIterator[Hooks]:
    services = tmp_path / "services"
    services.mkdir()
    (services / "svc-bridge").write_text("s3cret of the bridge")
    (tmp_path / "hooks-secret").write_text(SECRET + "\n")
    chosen = {"api_hooks_secret_file": tmp_path / "hooks-secret", "services_dir": services}
    async with running_api(tmp_path, stores, **chosen) as api:
        registry = CollectorRegistry()
        transport = httpx.ASGITransport(create_hooks(api.parts, registry))
        haneul, bada, byeol = [await api.user(name) for name in ("haneul", "bada.kim", "byeol")]
        wish = {"kind": "group", "title": "산", "members": ["bada.kim"]}
        chat = (await haneul.post("/v1/chats", wish)).json()["id"]
        device = (await haneul.post("/v1/devices", {"name": "온도계", "id": "dev-thermo"})).json()
        async with httpx.AsyncClient(transport=transport, base_url="http://hooks") as client:
            yield Hooks(api, client, registry, haneul, bada, byeol, chat, device["id"], device["secret"])


async def test_the_same_matrix_in_the_words_of_every_broker(hooks: Hooks) -> None:
    for who, action, topic, allowed in matrix(hooks.chat, hooks.device):
        where = (who, action, topic)
        emqx = await hooks.emqx("authz", username=who, action=action, topic=topic)
        assert emqx == {"result": "allow" if allowed else "deny"}, where
        key = topic.replace("/", ".").replace("+", "*")
        asked = {"username": who, "vhost": "/", "resource": "topic", "name": "amq.topic", "tags": ""}
        permission = {"publish": "write", "subscribe": "read"}[action]
        rabbit = await hooks.rabbit("topic", **asked, permission=permission, routing_key=key)
        assert rabbit == ("allow" if allowed else "deny"), where
        for version, v5 in (("", False), ("_m5", True)):
            verne = await hooks.verne(f"auth_on_{action}{version}", verne_question(who, action, topic, v5=v5))
            assert verne == {"result": "ok" if allowed else {"error": "not_allowed"}}, where


def verne_question(who: str, action: str, topic: str, *, v5: bool) -> dict[str, Any]:
    asked: dict[str, Any] = {"username": who, "client_id": f"{who}:1", "mountpoint": ""}
    asked |= {"properties": {}} if v5 else {}
    if action == "publish":
        return asked | {"qos": 1, "topic": topic, "payload": "aGVsbG8=", "retain": False}
    return asked | {"topics": [{"topic": topic, "qos": 1}]}


def emqx_login(**changes: Any) -> dict[str, Any]:
    return {"username": "haneul", "password": "", "clientid": "haneul:phone", "peerhost": "127.0.0.1"} | changes


async def test_logins(hooks: Hooks) -> None:
    token, other = hooks.haneul.tokens["access_token"], hooks.bada.tokens["access_token"]
    for username, password, client_id, allowed in [
        ("haneul", token, "haneul", True),
        ("haneul", token, "haneul:phone", True),
        ("haneul", token, "bada.kim:phone", False),
        ("haneul", token, "haneul:", False),
        ("haneul", token, "", False),
        ("haneul", other, "haneul", False),
        ("haneul", token[:-3], "haneul", False),
        ("haneul", "", "haneul", False),
        ("", token, "haneul", False),
        ("HANEUL", token, "HANEUL", False),
        ("svc-bridge", "s3cret of the bridge", "svc-bridge:1", True),
        ("svc-bridge", "s3cret", "svc-bridge:1", False),
        (hooks.device, hooks.device_secret, hooks.device, True),
        (hooks.device, hooks.device_secret, "haneul", False),
        (hooks.device, "안녕", hooks.device, False),
        ("haneul", "\ud800", "haneul", False),
    ]:
        where = (username, client_id)
        asked = emqx_login(username=username, password=password, clientid=client_id)
        answer = await hooks.client.post("/internal/mqtt/authn", content=json.dumps(asked), headers=BEARER)
        expected: dict[str, Any] = {"result": "deny"}
        if allowed:
            expected = {"result": "allow", "is_superuser": False}
            expected |= {"client_attrs": answer.json().get("client_attrs")} if username == "haneul" else {}
        assert answer.json() == expected, where
        for hook, clean in (("auth_on_register", "clean_session"), ("auth_on_register_m5", "clean_start")):
            verne = {"peer_addr": "127.0.0.1", "peer_port": 8888, "mountpoint": "", "client_id": client_id, clean: True}
            body = json.dumps(verne | {"username": username, "password": password})
            answer = await hooks.client.post(VERNE, content=body, headers={**BEARER, "vernemq-hook": hook})
            assert answer.json() == {"result": "ok" if allowed else {"error": "not_allowed"}}, where
        if password != "\ud800":
            form = {"username": username, "password": password, "client_id": client_id, "vhost": "/"}
            assert await hooks.rabbit("user", **form) == ("allow" if allowed else "deny"), where


async def test_emqx_as_a_form(hooks: Hooks) -> None:
    form = emqx_login(password=hooks.haneul.tokens["access_token"])
    answer = await hooks.client.post("/internal/mqtt/authn", data=form, headers=BEARER)
    assert answer.json()["result"] == "allow"
    form = {"username": "haneul", "action": "subscribe", "topic": f"chats/{hooks.chat}/messages", "sid": "undefined"}
    answer = await hooks.client.post("/internal/mqtt/authz", data=form, headers=BEARER)
    assert answer.json() == {"result": "allow"}


async def test_an_emqx_that_keeps_the_sign_in_refuses_when_it_has_ended(hooks: Hooks) -> None:
    login = emqx_login(password=hooks.haneul.tokens["access_token"])
    sid = (await hooks.emqx("authn", **login))["client_attrs"]["sid"]
    asked = {"username": "haneul", "action": "subscribe", "topic": "users/haneul/inbox", "sid": sid}
    assert await hooks.emqx("authz", **asked) == {"result": "allow"}
    await hooks.api.stores.grants.revoke(sid, now())
    assert await hooks.emqx("authz", **asked) == {"result": "deny"}
    assert await hooks.emqx("authn", **login) == {"result": "deny"}


async def test_who_was_removed_is_refused_with_the_next_question(hooks: Hooks) -> None:
    asked = {"username": "bada.kim", "action": "subscribe", "topic": f"chats/{hooks.chat}/messages"}
    assert await hooks.emqx("authz", **asked) == {"result": "allow"}
    answer = await hooks.haneul.call("DELETE", f"/v1/chats/{hooks.chat}/members/bada.kim")
    assert answer.status_code == 204
    assert await hooks.emqx("authz", **asked) == {"result": "deny"}


async def test_resources_of_rabbitmq(hooks: Hooks) -> None:
    for resource, name, permission, allowed in [
        ("exchange", "amq.topic", "write", True),
        ("exchange", "amq.topic", "read", True),
        ("exchange", "amq.topic", "configure", False),
        ("exchange", "amq.default", "write", False),
        ("exchange", "", "write", False),
        ("queue", "mqtt-subscription-haneulqos0", "configure", True),
        ("queue", "mqtt-subscription-haneul:phoneqos1", "read", True),
        ("queue", "mqtt-subscription-haneul:phoneqos1", "write", True),
        ("queue", "mqtt-subscription-bada.kimqos1", "read", False),
        ("queue", "mqtt-subscription-haneul2qos1", "read", False),
        ("queue", "mqtt-subscription-haneul:phone", "read", False),
        ("queue", "mqtt-subscription-", "read", False),
        ("queue", "everything", "read", False),
        ("topic", "amq.topic", "write", False),
    ]:
        asked = {"username": "haneul", "vhost": "/", "resource": resource, "name": name, "permission": permission}
        expected = "allow" if allowed else "deny"
        assert await hooks.rabbit("resource", **asked) == expected, (resource, name, permission)
        assert await hooks.rabbit("resource", **(asked | {"vhost": "other"})) == "deny"
        assert await hooks.rabbit("resource", **(asked | {"username": "nobody"})) == "deny"
    assert await hooks.rabbit("vhost", username="haneul", vhost="/", ip="127.0.0.1") == "allow"
    assert await hooks.rabbit("vhost", username="haneul", vhost="other", ip="127.0.0.1") == "deny"
    assert await hooks.rabbit("vhost", username="nobody", vhost="/", ip="127.0.0.1") == "deny"


@pytest.mark.parametrize(
    ("exchange", "permission", "key"),
    [
        ("amq.fanout", "read", "users.haneul.inbox"),
        ("amq.topic", "configure", "users.haneul.inbox"),
        ("amq.topic", "read", "users/haneul/inbox"),
        ("amq.topic", "read", "users.haneul+.inbox"),
        ("amq.topic", "read", "users.#"),
        ("amq.topic", "read", ""),
        ("amq.topic", "read", "users..inbox"),
        ("amq.topic", "read", "devices.dev-a.b.telemetry.x"),
    ],
)
async def test_keys_that_no_mqtt_client_of_ours_makes(hooks: Hooks, exchange: str, permission: str, key: str) -> None:
    asked = {"username": "haneul", "vhost": "/", "resource": "topic", "name": exchange, "permission": permission}
    assert await hooks.rabbit("topic", **asked, routing_key=key) == "deny"


async def test_a_subscribe_of_vernemq_is_granted_filter_by_filter(hooks: Hooks) -> None:
    topics = [{"topic": "users/haneul/inbox", "qos": 1}, {"topic": "users/byeol/inbox", "qos": 2}]
    asked = {"username": "haneul", "client_id": "haneul", "mountpoint": "", "topics": topics}
    answer = await hooks.verne("auth_on_subscribe", asked)
    assert answer == {"result": "ok", "topics": [topics[0], {"topic": "users/byeol/inbox", "qos": 0x80}]}
    answer = await hooks.verne("auth_on_subscribe_m5", {**asked, "properties": {}})
    expected = [topics[0], {"topic": "users/byeol/inbox", "qos": 0x87}]
    assert answer == {"result": "ok", "modifiers": {"topics": expected}}
    for hook in ("auth_on_subscribe", "auth_on_subscribe_m5"):
        assert await hooks.verne(hook, {**asked, "topics": []}) == {"result": {"error": "not_allowed"}}


def questions(hooks: Hooks) -> dict[str, tuple[dict[str, Any], str]]:
    """One question per path that is answered with yes, and the no of that path."""
    token = hooks.haneul.tokens["access_token"]
    rabbit = {"username": "haneul", "vhost": "/", "name": "amq.topic", "permission": "read"}
    topic = "users/haneul/inbox"
    verne = {"username": "haneul", "client_id": "haneul", "topic": "users/haneul/sync", "mountpoint": ""}
    return {
        "/internal/mqtt/authn": (emqx_login(password=token), '{"result":"deny"}'),
        "/internal/mqtt/authz": ({"username": "haneul", "action": "subscribe", "topic": topic}, '{"result":"deny"}'),
        "/internal/mqtt/rabbitmq/user": ({"username": "haneul", "password": token}, "deny"),
        "/internal/mqtt/rabbitmq/vhost": ({"username": "haneul", "vhost": "/"}, "deny"),
        "/internal/mqtt/rabbitmq/resource": (rabbit | {"resource": "exchange"}, "deny"),
        "/internal/mqtt/rabbitmq/topic": (
            rabbit | {"resource": "topic", "routing_key": topic.replace("/", ".")},
            "deny",
        ),
        VERNE: (verne, '{"result":{"error":"not_allowed"}}'),
    }


async def test_whatever_is_wrong_with_a_question_the_answer_is_no_with_200(hooks: Hooks) -> None:
    asked = questions(hooks)
    assert set(asked) == set(HOOKS)
    headers = {**BEARER, "vernemq-hook": "auth_on_publish"}
    for path, (body, no) in asked.items():
        good = await hooks.client.post(path, json=body, headers=headers)
        assert good.status_code == 200
        assert good.text != no, path
        twice = json.dumps(body)[:-1] + ', "username": "haneul"}'
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("POST", {"json": body, "headers": {"vernemq-hook": "auth_on_publish"}}),
            ("POST", {"json": body, "headers": headers | {"Authorization": "Bearer wrong"}}),
            ("POST", {"json": body, "headers": headers | {"Authorization": f"Basic {SECRET}"}}),
            ("POST", {"json": body, "headers": {"vernemq-hook": "auth_on_publish"}, "params": {"secret": "안녕"}}),
            ("GET", {"params": body | {"secret": SECRET}, "headers": headers}),
            ("PUT", {"json": body, "headers": headers}),
            ("POST", {"content": b"", "headers": headers}),
            ("POST", {"content": b"{", "headers": headers}),
            ("POST", {"content": b"\xff\xfe", "headers": headers}),
            ("POST", {"content": b"[" * 90_000, "headers": headers}),
            ("POST", {"json": [body], "headers": headers}),
            ("POST", {"content": twice, "headers": headers}),
            ("POST", {"json": body | {"username": {"$ne": ""}}, "headers": headers}),
            ("POST", {"json": body | {"username": None}, "headers": headers}),
            ("POST", {"json": body | {"username": ["haneul"]}, "headers": headers}),
            ("POST", {"json": body | {"username": True}, "headers": headers}),
            ("POST", {"json": body | {"pad": "x" * MAX_BODY}, "headers": headers}),
            ("POST", {"data": {f"f{n}": "x" for n in range(50)}, "headers": headers}),
            ("POST", {"data": {"username": ["haneul", "bada.kim"]}, "headers": headers}),
        ]
        wrong += [("POST", {"json": _without(body, name), "headers": headers}) for name in ("username",)]
        for method, request in wrong:
            answer = await hooks.client.request(method, path, **request)
            assert (answer.status_code, answer.text) == (200, no), (path, method, request)
    text = generate_latest(hooks.registry).decode()
    assert 'pabal_api_hooks_total{answer="allow",broker="rabbitmq",hook="user"} 1.0' in text
    assert 'answer="invalid",broker="emqx",hook="authz"' in text


def _without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


@pytest.mark.parametrize("fault", [Unavailable("mongo is away"), RuntimeError("a bug")])
async def test_stores_that_fail_open_nothing(hooks: Hooks, fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: Any, **__: Any) -> Any:
        raise fault

    authenticator = type(hooks.api.parts.authenticator)
    monkeypatch.setattr(authenticator, "welcome", failing)
    monkeypatch.setattr(authenticator, "authenticate", failing)
    with capture_logs() as said:
        for path, (body, no) in questions(hooks).items():
            headers = {**BEARER, "vernemq-hook": "auth_on_publish"}
            answer = await hooks.client.post(path, json=body, headers=headers)
            assert (answer.status_code, answer.text) == (200, no)
    told = [entry["reason"] for entry in said if entry["event"] == "hook.refused"]
    assert told == [str(fault) if isinstance(fault, Unavailable) else "internal"] * len(HOOKS)
    assert sum(entry["event"] == "hook.failed" for entry in said) == isinstance(fault, RuntimeError) * len(HOOKS)


async def test_more_questions_at_once_than_are_worked_on_are_refused(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MAX_UNDER_WAY", 0)
    for path, (body, no) in questions(hooks).items():
        answer = await hooks.client.post(path, json=body, headers={**BEARER, "vernemq-hook": "auth_on_publish"})
        assert (answer.status_code, answer.text) == (200, no)


async def test_other_paths_are_a_no_too(hooks: Hooks) -> None:
    for path in ("/", "/internal/mqtt", "/internal/mqtt/authn/", "/v1/me", "/healthz", "/internal/mqtt/rabbitmq"):
        answer = await hooks.client.post(path, json={}, headers=BEARER)
        assert (answer.status_code, answer.json()) == (200, {"result": "deny"})


async def test_the_public_api_has_no_hooks(hooks: Hooks) -> None:
    for path in HOOKS:
        assert (await hooks.api.client.post(path, json={}, headers=BEARER)).status_code == 404


async def test_no_secret_no_hooks(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    (tmp_path / "binary").write_bytes(b"\xff" * 40)
    for file in (None, tmp_path / "none", tmp_path / "short", tmp_path / "binary"):
        with pytest.raises(Unavailable):
            read_secret(file)


def test_hooks_are_off_unless_they_have_an_address(tmp_path: Path) -> None:
    chosen = {"mongo_url": "x", "link_secret_file": tmp_path, "keys_dir": tmp_path, "jwks_file": tmp_path}
    assert Settings.model_validate(chosen).hooks_bind is None
    assert Settings.model_validate({**chosen, "api_hooks_bind": "127.0.0.1:8181"}).hooks_bind == ("127.0.0.1", 8181)
    with pytest.raises(ValidationError):
        Settings.model_validate({**chosen, "api_hooks_bind": "8181"})


async def test_secrets_and_tokens_are_in_no_log(hooks: Hooks, capsys: pytest.CaptureFixture[str]) -> None:
    token = hooks.haneul.tokens["access_token"]
    await hooks.client.post("/internal/mqtt/authn", json=emqx_login(password=token), headers={"Authorization": token})
    await hooks.emqx("authn", username="haneul", password=token)
    await hooks.rabbit("user", username="haneul", password=token, client_id=new_message_id())
    said = capsys.readouterr()
    assert token not in said.out + said.err
    assert SECRET not in said.out + said.err
