"""`pabal admin` on the real stack: what it shows is so, and what it does is done everywhere."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from chat.ids import new_message_id
from mqtt.codec import encode
from mqtt.packets import ConnAck, Connect, Disconnect, Filter, Publish, SubAck, Subscribe
from mqtt.reasons import Reason
from stack.cli import app
from stack.testing import RunningStack
from tests.wire.conftest import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

PASSWORD = "파발은 밤에도 달린다"


def pabal(stack: RunningStack, *words: str, code: int = 0) -> str:
    """The command's standard output; it runs in this process, against the stack's API."""
    done = CliRunner().invoke(app, ["admin", *words, "--state", str(stack.state.root)])
    assert done.exit_code == code, (words, done.output, done.exception)
    return done.output


def told(stack: RunningStack, *words: str, code: int = 0) -> Any:
    return json.loads(pabal(stack, *words, "--json", code=code))


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


class Person:
    """Somebody who was just registered, with a device."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.token = ""
        self.user = f"user-{secrets.token_hex(4)}"
        self.device = f"dev-{secrets.token_hex(4)}"
        wish = {"handle": self.user, "password": PASSWORD, "display_name": "김하늘 (파발)"}
        self.rest("POST", "/v1/auth/register", json=wish).raise_for_status()
        self.token = self.sign_in().json()["access_token"]
        wish = {"name": "거실 온도계", "id": self.device}
        self.secret: str = self.rest("POST", "/v1/devices", json=wish).json()["secret"]

    def rest(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.request(method, self.stack.info["api"] + path, headers=headers, trust_env=False, **request)

    def sign_in(self) -> httpx.Response:
        form = {"grant_type": "password", "username": self.user, "password": PASSWORD}
        return self.rest("POST", "/v1/auth/token", data=form)

    def connect(self, name: str, password: str) -> tuple[Wire, int]:
        wire = Wire(self.stack.refresh()["mqtt_port"], version=5)
        wire.send(encode(Connect(name, username=name, password=password.encode()), 5))
        answer = wire.read()
        assert isinstance(answer, ConnAck)
        return wire, answer.reason


def test_a_suspension_cuts_a_person_and_their_devices(stack: RunningStack) -> None:
    person = Person(stack)
    (phone, first), (thing, second) = (
        person.connect(person.user, person.token),
        person.connect(person.device, person.secret),
    )
    assert (first, second) == (0, 0)
    listed = told(stack, "connections", "list", person.user)
    assert [row["client_id"] for row in listed] == [person.user]
    assert told(stack, "connections", "show", person.device)["principal"] == person.device

    shown = told(stack, "users", "suspend", person.user, "--reason", "욕설 신고 3건", "--yes")
    assert (shown["state"], [one["disabled"] for one in shown["devices"]]) == ("suspended", [True])
    for wire in (phone, thing):
        answer = wire.read()
        assert isinstance(answer, Disconnect)
        assert answer.reason == Reason.NOT_AUTHORIZED
    assert person.rest("GET", "/v1/me").status_code == 401
    assert person.sign_in().status_code == 401
    for name, password in ((person.user, person.token), (person.device, person.secret)):
        assert person.connect(name, password)[1] >= 0x80

    text = pabal(stack, "users", "show", person.user)
    assert "김하늘 (파발)" in text
    assert "욕설 신고 3건" in text
    assert person.user in pabal(stack, "users", "list", person.user, "--status", "suspended")
    listed = told(stack, "audit", "list", "--target", person.user)  # refused sign-ins come to it within a minute
    (record,) = [one for one in listed if not one["action"].startswith("auth.")]
    assert (record["action"], record["by"], record["reason"]) == ("user.suspended", "admin", "욕설 신고 3건")

    assert told(stack, "users", "let-in", person.user, "--reason", "사과함")["state"] == "active"
    person.token = person.sign_in().json()["access_token"]
    again = [person.connect(*who) for who in ((person.user, person.token), (person.device, person.secret))]
    assert [reason for _, reason in again] == [0, 0]
    cut = told(stack, "connections", "cut", person.device, "--reason", "시험", "--yes")
    assert cut["disconnected"]
    answer = again[1][0].read()
    assert isinstance(answer, Disconnect)
    assert answer.reason == Reason.ADMINISTRATIVE_ACTION


def test_a_shadow_ban_reaches_the_bridge_and_a_message_is_taken_down(stack: RunningStack) -> None:
    haneul, bada = Person(stack), Person(stack)
    wish = {"kind": "group", "title": "주말 등산", "members": [bada.user]}
    chat = haneul.rest("POST", "/v1/chats", json=wish).json()["id"]

    def send(text: str) -> str:
        answer = haneul.rest(
            "POST", f"/v1/chats/{chat}/messages", json={"id": new_message_id(), "body": {"text": text}}
        )
        answer.raise_for_status()
        return str(answer.json()["id"])

    def seen(who: Person) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = who.rest("GET", f"/v1/chats/{chat}/messages").json()["items"]
        return found

    bad = send("욕설입니다")
    assert told(stack, "messages", "delete", bad, "--reason", "욕설", "--yes")["chat"] == chat
    assert "욕설입니다" not in json.dumps(seen(bada), ensure_ascii=False)
    assert [one["type"] for one in seen(bada)][-1] == "delete"
    assert "주말 등산" in pabal(stack, "chats", "list", "--member", bada.user)
    assert told(stack, "chats", "show", chat)["members"] == 2

    told(stack, "users", "shadow", haneul.user, "--reason", "스팸", "--yes")

    def hidden() -> bool:
        send("광고")
        return seen(bada)[-1]["type"] == "void" and seen(haneul)[-1]["type"] == "message"

    until(hidden, "the bridge never heard of the shadow ban")


def test_health_settings_statistics_and_the_audit_log(stack: RunningStack) -> None:
    found = told(stack, "health")
    assert found["well"]
    assert {row["name"] for row in found["processes"]} == {"api", "broker", "bridge", "worker"}
    settings = told(stack, "settings")
    assert settings["bridge"]["PABAL_BRIDGE_BATCH"] == "512"
    assert "PABAL_WORKER_CONCURRENCY" in settings["worker"]
    assert settings["broker"]["PABAL_BROKER_NAME"] == "broker1"
    secrets_of = [file.read_text().strip() for file in (stack.state.root / "services").iterdir()]
    assert not any(
        secret in json.dumps(settings) for secret in [*secrets_of, stack.state.broker_admin.read_text().strip()]
    )
    assert "PABAL_API_BIND" in pabal(stack, "settings", "api")
    assert len(told(stack, "stats")["items"]) == 24
    assert "messages" in pabal(stack, "stats", "--by", "day")
    verified = told(stack, "audit", "verify")
    assert verified["whole"]
    assert told(stack, "audit", "verify", "--anchor", verified["anchor"])["checked"] == 0
    seq = verified["anchor"].partition(":")[0]
    if int(seq) > 1:
        wrong = f"{int(seq) - 1}:{'f' * 64}"
        assert told(stack, "audit", "verify", "--anchor", wrong, code=1)["faults"]


def test_a_broadcast_reaches_inboxes_and_a_chat(stack: RunningStack) -> None:
    person, text = Person(stack), f"오늘 밤 점검합니다 {secrets.token_hex(4)}"
    phone, _ = person.connect(person.user, person.token)
    phone.send(encode(Subscribe(7, [Filter(f"users/{person.user}/inbox", 1)]), 5))
    assert isinstance(phone.read(), SubAck)
    chat = person.rest("POST", "/v1/chats", json={"kind": "group", "title": "산", "members": []}).json()["id"]
    made = told(stack, "broadcasts", "send", text, "--reason", "점검", "--yes")
    into = told(stack, "broadcasts", "send", text, "--chat", chat, "--reason", "점검", "--yes")

    def announced() -> bool:
        packet = phone.read()
        return isinstance(packet, Publish) and json.loads(packet.payload).get("id") == made["id"]

    until(announced, "no announcement on the inbox")
    ids = {made["id"], into["id"]}

    def done() -> bool:
        time.sleep(1)  # each of them is a sign-in
        rows = told(stack, "broadcasts", "list")
        return ids <= {row["id"] for row in rows if row["state"] == "done"}

    until(done, "they are never done")
    items = person.rest("GET", f"/v1/chats/{chat}/messages").json()["items"]
    assert [item["system"]["text"] for item in items if item["type"] == "system" and "text" in item["system"]] == [text]
    assert text in [one["text"] for one in person.rest("GET", "/v1/announcements").json()["items"]]
    assert text in pabal(stack, "broadcasts", "list")


def test_errors_are_clear_and_what_destroys_is_asked_about(stack: RunningStack) -> None:
    assert "no such user (unknown_user)" in " ".join(pabal(stack, "users", "show", "nobody", code=1).split())
    assert "say --yes" in pabal(stack, "users", "ban", "haneul", "--reason", "x", code=1)
    assert "--reason" in pabal(stack, "users", "ban", "haneul", "--yes", code=2)
    assert "admin_only" in pabal(stack, "users", "ban", "admin", "--reason", "x", "--yes", code=1)
    assert "SEQ:HASH" in pabal(stack, "audit", "verify", "--anchor", "x", code=1)
    assert "unknown_connection" in pabal(stack, "connections", "show", "nobody", code=1)
    assert "there is no process x" in pabal(stack, "settings", "x", code=1)
