"""Bad input on the real stack: each is refused with a clear reason, costs its sender alone, and stores nothing."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey, import_key
from pymongo import MongoClient

from chat import topics
from chat.envelopes import MAX_SEND_BYTES
from chat.ids import new_message_id
from mqtt.codec import V5, encode
from mqtt.packets import ConnAck, Connect, Disconnect, Filter, PubAck, Publish, SubAck, Subscribe
from mqtt.reasons import Reason
from stack.testing import RunningStack
from tests.wire.conftest import Wire

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery"


class Client(Wire):
    """An MQTT connection that speaks packets."""

    def __init__(self, stack: RunningStack, *, version: int = V5) -> None:
        super().__init__(stack.info["mqtt_port"], version=version)

    def connect(self, user: str | None, password: str | None, client_id: str | None = None) -> ConnAck:
        secret = None if password is None else password.encode()
        packet = Connect(client_id or f"{user}:{secrets.token_hex(4)}", self.version, username=user, password=secret)
        self.send(encode(packet, self.version))
        answer = self.read()
        assert isinstance(answer, ConnAck)
        return answer

    def subscribe(self, *filters: str) -> list[int]:
        self.send(encode(Subscribe(7, [Filter(text, 1) for text in filters]), self.version))
        answer = self.read()
        assert isinstance(answer, SubAck)
        return answer.reasons

    def publish(self, topic: str, payload: bytes) -> PubAck:
        self.send(encode(Publish(topic, payload, 1, packet_id=9), self.version))
        while not isinstance(answer := self.read(), PubAck):
            assert isinstance(answer, Publish)  # on the inbox: a rejection
        return answer


class People:
    """Two members of a chat, and an outsider with a chat of their own."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.http = httpx.Client(base_url=stack.info["api"], timeout=30)
        suffix = secrets.token_hex(4)
        self.ari, self.bo, self.out = f"ari-{suffix}", f"bo-{suffix}", f"out-{suffix}"
        self.tokens = {user: self._account(user) for user in (self.ari, self.bo, self.out)}
        self.chat = self._chat(self.ari, self.bo)
        self.other = self._chat(self.out, self.bo)

    def _account(self, user: str) -> str:
        fields = {"handle": user, "password": PASSWORD, "display_name": "아리 🐦"}
        self.http.post("/v1/auth/register", json=fields).raise_for_status()
        form = {"grant_type": "password", "username": user, "password": PASSWORD}
        return str(self.http.post("/v1/auth/token", data=form).raise_for_status().json()["access_token"])

    def _chat(self, user: str, other: str) -> str:
        fields = {"kind": "group", "title": "방", "members": [other]}
        return str(self.call(user, "POST", "/v1/chats", json=fields).raise_for_status().json()["id"])

    def call(self, user: str, method: str, path: str, **request: Any) -> httpx.Response:
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.tokens[user]}"}, **request)

    def client(self, user: str) -> Client:
        made = Client(self.stack)
        assert made.connect(user, self.tokens[user]).reason == 0
        return made

    def rows(self) -> int:
        with MongoClient[dict[str, Any]](self.stack.info["mongo_url"]) as mongo:
            return mongo["pabal"]["messages"].count_documents({"chat_id": {"$in": [self.chat, self.other]}})


@pytest.fixture(scope="module")
def people(stack: RunningStack) -> Iterator[People]:
    made = People(stack)
    yield made
    made.http.close()


@pytest.fixture
def unharmed(people: People) -> Iterator[None]:
    """Nothing is stored by the test, and somebody else's connection, open all the while, still works."""
    neighbour = people.client(people.bo)
    assert neighbour.subscribe(topics.messages(people.chat)) == [1]
    before = people.rows()
    yield
    assert people.rows() == before
    neighbour.quiet()
    message = new_message_id()
    payload = json.dumps({"id": message, "body": {"text": "아직 여기 있어요"}}).encode()
    neighbour.send(encode(Publish(topics.send(people.chat, people.bo), payload, 1, packet_id=3), V5))
    got = {type(packet): packet for packet in (neighbour.read(), neighbour.read())}
    assert isinstance(event := got[Publish], Publish)
    assert json.loads(event.payload)["id"] == message
    assert isinstance(ack := got[PubAck], PubAck)
    assert ack.reason == 0
    neighbour.close()


@pytest.fixture
def signing_key(stack: RunningStack) -> OKPKey:
    file = next(Path(stack.state.root, "keys").glob("*.json"))
    key = import_key(json.loads(file.read_text()))
    assert isinstance(key, OKPKey)
    return key


def forged(user: str, key: OKPKey, *, kid: str | None = None, **changes: Any) -> str:
    """A token for `user`, signed with `key`; `changes` replace claims."""
    now = int(time.time())
    claims = {"iss": "pabal", "aud": "pabal", "sub": user, "sid": "s" * 32, "scope": "user", "jti": "j"}
    claims |= {"iat": now, "nbf": now, "exp": now + 900} | changes
    header = {"alg": "EdDSA", "kid": kid or str(key.kid)}
    return jwt.encode(header, claims, key, algorithms=["EdDSA"])


@pytest.mark.usefixtures("unharmed")
class TestConnect:
    def refused(
        self, stack: RunningStack, user: str | None, password: str | None, client_id: str | None = None
    ) -> ConnAck:
        client = Client(stack)
        answer = client.connect(user, password, client_id)
        client.ended()
        assert answer.properties.get("reason_string"), "the reason is told"
        return answer

    @pytest.mark.parametrize("password", ["wrong", "", None, "a.b.c", "가" * 5000])
    def test_wrong_password(self, stack: RunningStack, people: People, password: str | None) -> None:
        assert self.refused(stack, people.ari, password).reason == Reason.BAD_USER_NAME_OR_PASSWORD

    def test_wrong_password_over_3_1_1(self, stack: RunningStack, people: People) -> None:
        client = Client(stack, version=4)
        client.connect(people.ari, "wrong")
        client.ended()

    def test_expired_token(self, stack: RunningStack, people: People, signing_key: OKPKey) -> None:
        past = int(time.time()) - 3600
        token = forged(people.ari, signing_key, iat=past, nbf=past, exp=past + 900)
        answer = self.refused(stack, people.ari, token)
        assert answer.reason == Reason.BAD_USER_NAME_OR_PASSWORD
        assert "expired" in answer.properties["reason_string"]

    def test_forged_token(self, stack: RunningStack, people: People, signing_key: OKPKey) -> None:
        stranger = OKPKey.generate_key("Ed25519", {"kid": str(signing_key.kid)}, private=True)
        token = forged(people.ari, stranger, kid=str(signing_key.kid))
        assert self.refused(stack, people.ari, token).reason == Reason.BAD_USER_NAME_OR_PASSWORD

    def test_our_own_signature_on_a_sign_in_that_does_not_exist(
        self, stack: RunningStack, people: People, signing_key: OKPKey
    ) -> None:
        assert (
            self.refused(stack, people.ari, forged(people.ari, signing_key)).reason == Reason.BAD_USER_NAME_OR_PASSWORD
        )

    def test_somebody_elses_token(self, stack: RunningStack, people: People) -> None:
        answer = self.refused(stack, people.ari, people.tokens[people.out])
        assert answer.reason == Reason.BAD_USER_NAME_OR_PASSWORD

    def test_foreign_client_id_does_not_take_the_owner_over(self, stack: RunningStack, people: People) -> None:
        owner = Client(stack)
        owner.connect(people.ari, people.tokens[people.ari], f"{people.ari}:phone")
        answer = self.refused(stack, people.out, people.tokens[people.out], f"{people.ari}:phone")
        assert answer.reason == Reason.CLIENT_IDENTIFIER_NOT_VALID
        owner.quiet()
        owner.close()


@pytest.mark.usefixtures("unharmed")
class TestSubscribe:
    @pytest.mark.parametrize(
        "wanted",
        [
            "#",
            "+/#",
            "chats/#",
            "chats/+/messages",
            "users/+/inbox",
            "$share/bridge/chats/+/send/+",
            "$events/delivered",
            "$SYS/#",
        ],
    )
    def test_wildcards_and_what_is_for_services(self, people: People, wanted: str) -> None:
        client = people.client(people.ari)
        assert client.subscribe(wanted) == [Reason.NOT_AUTHORIZED]
        client.quiet()
        client.close()

    def test_chats_and_inboxes_of_others(self, people: People) -> None:
        client = people.client(people.out)
        wanted = [
            topics.messages(people.chat),
            topics.receipts(people.chat),
            topics.typing(people.chat),
            topics.inbox(people.ari),
        ]
        assert client.subscribe(*wanted, topics.messages(people.other)) == [Reason.NOT_AUTHORIZED] * 4 + [1]
        client.close()


def body(**fields: Any) -> bytes:
    return json.dumps({"id": new_message_id(), "body": {"text": "안녕"}} | fields).encode()


def sized(size: int) -> bytes:
    """A valid envelope of exactly so many bytes."""
    empty = len(json.dumps({"id": new_message_id(), "body": {"text": ""}}))
    return json.dumps({"id": new_message_id(), "body": {"text": "x" * (size - empty)}}).encode()


@pytest.mark.usefixtures("unharmed")
class TestPublish:
    def refused(self, people: People, topic: str, payload: bytes, *, user: str | None = None) -> tuple[int, str]:
        """The PUBACK's reason code and the rejection's code, which also comes on the inbox."""
        client = people.client(user or people.ari)
        assert client.subscribe(topics.inbox(user or people.ari)) == [1]
        client.send(encode(Publish(topic, payload, 1, packet_id=9), V5))
        ack = reject = None
        while ack is None or reject is None:
            match client.read():
                case PubAck() as ack:
                    pass
                case Publish(payload=told):
                    reject = json.loads(told)
        client.quiet()
        client.close()
        assert reject["type"] == "reject"
        assert reject["reason"]
        return ack.reason, reject["code"]

    def test_another_members_send_topic(self, people: People) -> None:
        topic = topics.send(people.chat, people.bo)
        assert self.refused(people, topic, body()) == (Reason.NOT_AUTHORIZED, "forbidden")

    def test_a_chat_of_others(self, people: People) -> None:
        topic = topics.send(people.other, people.ari)
        assert self.refused(people, topic, body()) == (Reason.NOT_AUTHORIZED, "forbidden")

    def test_an_unknown_chat_looks_like_a_chat_of_others(self, people: People) -> None:
        topic = topics.send("g-" + "0" * 32, people.ari)
        assert self.refused(people, topic, body()) == (Reason.NOT_AUTHORIZED, "forbidden")

    @pytest.mark.parametrize(
        ("payload", "code"),
        [
            (lambda: b"hello", "not_json"),
            (lambda: b"\xff\xfe", "not_json"),
            (lambda: b"", "not_json"),
            (lambda: b"[" * 10_000, "invalid_envelope"),
            (lambda: body(extra=1), "invalid_envelope"),
            (lambda: body(body={"text": "a", "colour": "red"}), "invalid_envelope"),
            (lambda: body(sender="admin"), "invalid_envelope"),
            (lambda: body(body={"text": 5}), "invalid_envelope"),
            (lambda: body(body={}), "invalid_envelope"),
            (lambda: body(body={"text": "a", "cipher": "b"}), "invalid_envelope"),
            (lambda: body(id="1"), "invalid_id"),
            (lambda: body(id=7), "invalid_envelope"),
            (lambda: body(type="system"), "invalid_envelope"),
            (lambda: sized(MAX_SEND_BYTES + 1), "too_large"),
        ],
    )
    def test_what_is_no_envelope(self, people: People, payload: Callable[[], bytes], code: str) -> None:
        reason, told = self.refused(people, topics.send(people.chat, people.ari), payload())
        assert told == code
        assert reason >= Reason.UNSPECIFIED_ERROR

    def test_3_1_1_is_acknowledged_and_told_on_the_inbox(self, stack: RunningStack, people: People) -> None:
        client = Client(stack, version=4)
        client.connect(people.ari, people.tokens[people.ari])
        client.subscribe(topics.inbox(people.ari))
        client.send(encode(Publish(topics.send(people.chat, people.ari), body(extra=1), 1, packet_id=9), 4))
        kinds = {type(client.read()), type(client.read())}
        assert kinds == {PubAck, Publish}
        client.close()

    def test_a_packet_over_the_brokers_limit_ends_its_own_connection(self, people: People) -> None:
        client = people.client(people.ari)
        client.send(b"\x32\xff\xff\xff\x7f")
        answer = client.read()
        assert isinstance(answer, Disconnect)
        assert answer.reason == Reason.PACKET_TOO_LARGE
        client.ended()

    def test_the_inbox_of_others_and_system_topics(self, people: People) -> None:
        client = people.client(people.out)
        for topic in (
            topics.inbox(people.ari),
            topics.messages(people.chat),
            topics.receipts(people.chat),
            "$events/delivered",
            "x",
        ):
            assert client.publish(topic, b"{}").reason == Reason.NOT_AUTHORIZED
        client.close()


def test_the_largest_message_is_stored(people: People) -> None:
    client = people.client(people.ari)
    before = people.rows()
    assert client.publish(topics.send(people.chat, people.ari), sized(MAX_SEND_BYTES)).reason == 0
    assert people.rows() == before + 1
    client.close()


@pytest.mark.usefixtures("unharmed")
class TestRest:
    def problem(self, answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = answer.json()
        assert {"type", "title", "status", "code"} <= set(found)
        if code:
            assert found["code"] == code
        return found

    def test_wrong_password(self, people: People) -> None:
        answers = [
            people.http.post(
                "/v1/auth/token", data={"grant_type": "password", "username": user, "password": "wrong one"}
            )
            for user in (people.ari, "nobody-" + secrets.token_hex(4))
        ]
        told = [self.problem(answer, 401) for answer in answers]
        assert told[0] == told[1], "whether the user exists is not told"

    def test_tokens(self, people: People, signing_key: OKPKey) -> None:
        past = int(time.time()) - 3600
        for token in (
            "x",
            forged(people.ari, signing_key, iat=past, nbf=past, exp=past + 1),
            forged(people.ari, signing_key),
        ):
            answer = people.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
            self.problem(answer, 401)
        self.problem(people.http.get("/v1/me"), 401)

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            ({"id": "1", "body": {"text": "a"}}, "invalid_id"),
            ({"id": "01890a5d-ac96-774b-bcce-b302099a8057", "body": {"text": 5}}, "invalid_envelope"),
            ({"id": "01890a5d-ac96-774b-bcce-b302099a8057", "body": {"text": "a"}, "zz": 1}, "invalid_envelope"),
            ({"body": {"text": "a"}}, "invalid_envelope"),
        ],
    )
    def test_messages(self, people: People, sent: dict[str, Any], code: str) -> None:
        self.problem(people.call(people.ari, "POST", f"/v1/chats/{people.chat}/messages", json=sent), 422, code)

    def test_not_json_and_too_large(self, people: People) -> None:
        path = f"/v1/chats/{people.chat}/messages"
        self.problem(people.call(people.ari, "POST", path, content=b"hello"), 422)
        self.problem(people.call(people.ari, "POST", path, content=sized(MAX_SEND_BYTES + 1)), 413, "too_large")
        self.problem(people.call(people.ari, "POST", path, content=b"x" * 2_000_000), 413)

    def test_chats_of_others_and_unknown_chats_answer_alike(self, people: People) -> None:
        for method, rest in (("GET", "/messages"), ("POST", "/messages"), ("GET", "/members"), ("POST", "/members")):
            request: dict[str, Any] = {}
            if method == "POST":
                request["json"] = {"members": [people.ari]} if rest == "/members" else json.loads(body())
            told = []
            for chat in (people.other, "g-" + "0" * 32):
                found = self.problem(
                    people.call(people.ari, method, f"/v1/chats/{chat}{rest}", **request), 404, "unknown_chat"
                )
                told.append({name: value for name, value in found.items() if name != "instance"})
            assert told[0] == told[1]

    @pytest.mark.parametrize(
        "fields",
        [
            {"kind": "group", "title": "방", "members": [], "colour": "red"},
            {"kind": "crowd", "title": "방", "members": []},
            {"kind": "group", "title": 5, "members": []},
            {"kind": "group", "title": "방", "members": "bo"},
            {"kind": "direct", "members": []},
        ],
    )
    def test_chat_fields(self, people: People, fields: dict[str, Any]) -> None:
        self.problem(people.call(people.ari, "POST", "/v1/chats", json=fields), 422)
