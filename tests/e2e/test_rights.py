"""Rights end at once (P5): a member who was removed, a sign-in that was ended, a user who was banned; also while the broker is down.

Order is asserted, by `seq`, and never a time: whoever waits, waits for something that has to come.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest
from pymongo import MongoClient

from adapters.valkey.connection import connect as connect_valkey
from adapters.valkey.invalidations import ValkeyInvalidations
from chat import topics
from chat.envelopes import Invalidation
from chat.ids import new_message_id
from mqtt.codec import encode
from mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)
from mqtt.reasons import Reason
from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.wire.conftest import Wire

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery"
HOUR = 3600


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


class Phone(Wire):
    """An MQTT 5 client that acknowledges what comes and remembers the `seq` of each event, per chat."""

    def __init__(self, house: House, user: str, *, client_id: str | None = None, clean: bool = True) -> None:
        super().__init__(house.stack.refresh()["mqtt_port"], version=5)
        self.user = user
        self.client_id = client_id or f"{user}:{secrets.token_hex(4)}"
        self.came: list[tuple[str, int]] = []
        connect = Connect(
            self.client_id,
            clean_start=clean,
            username=user,
            password=house.tokens[user].encode(),
            properties={} if clean else {"session_expiry_interval": HOUR},
        )
        self.say(connect)
        answer = self.read()
        assert isinstance(answer, ConnAck)
        self.connack = answer

    def say(self, packet: Packet) -> None:
        self.send(encode(packet, 5))

    def hear(self) -> Packet:
        """The next packet; an event is noted and acknowledged."""
        packet = self.read()
        if isinstance(packet, Publish):
            if packet.qos:
                self.say(PubAck(packet.packet_id))
            if packet.topic.endswith("/messages"):
                event = json.loads(packet.payload)
                self.came.append((event["chat"], event["seq"]))
        return packet

    def subscribe(self, *filters: str) -> list[int]:
        self.say(Subscribe(7, [Filter(text, 1) for text in filters]))
        while not isinstance(answer := self.hear(), SubAck):
            pass
        return answer.reasons

    def write(self, topic: str, payload: bytes) -> int:
        self.say(Publish(topic, payload, 1, packet_id=9))
        while not isinstance(answer := self.hear(), PubAck):
            pass
        return answer.reason

    def pinged(self) -> None:
        """Everything that was written before the answer to a ping has been read."""
        self.say(PingReq())
        while not isinstance(self.hear(), PingResp):
            pass

    def has(self, chat: str, seq: int) -> None:
        """Read until this event has come."""
        while (chat, seq) not in self.came:
            self.hear()

    def goodbye(self) -> int:
        """Read to the end; why the broker closed."""
        while not isinstance(packet := self.hear(), Disconnect):
            pass
        self.ended()
        return packet.reason


class House:
    """Ari owns the chat; Bo and Cho are in it. All of them are members of a second chat too."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.http = httpx.Client(base_url=stack.info["api"], timeout=30, trust_env=False)
        suffix = secrets.token_hex(4)
        self.ari, self.bo, self.cho = (f"{name}-{suffix}" for name in ("ari", "bo", "cho"))
        self.tokens: dict[str, str] = {}
        self.refresh: dict[str, str] = {}
        for user in (self.ari, self.bo, self.cho):
            fields = {"handle": user, "password": PASSWORD, "display_name": "보리 🌾"}
            self.http.post("/v1/auth/register", json=fields).raise_for_status()
            self.sign_in(user)
        self.chat, self.other = self._chat("첫째 방"), self._chat("둘째 방")

    def sign_in(self, user: str) -> str:
        """A sign-in of its own; the refresh token."""
        tokens = self.token(grant_type="password", username=user, password=PASSWORD).raise_for_status().json()
        self.tokens[user], self.refresh[user] = tokens["access_token"], tokens["refresh_token"]
        return self.refresh[user]

    def token(self, **form: str) -> httpx.Response:
        return self.http.post("/v1/auth/token", data=form)

    def end_sign_in(self, refresh: str) -> None:
        """Over REST: a refresh token that is shown twice was stolen, and ends the sign-in."""
        self.token(grant_type="refresh_token", refresh_token=refresh).raise_for_status()
        assert self.token(grant_type="refresh_token", refresh_token=refresh).status_code == 401

    def revoke(self, refresh: str) -> None:
        """Over REST, as an app does that signs out."""
        self.http.post("/v1/auth/revoke", data={"token": refresh}).raise_for_status()

    def sign_out_elsewhere(self, refresh: str) -> None:
        """Over REST: the newest sign-in ends all the others."""
        del refresh
        self.call(self.bo, "DELETE", "/v1/me/sessions").raise_for_status()

    def _chat(self, title: str) -> str:
        fields = {"kind": "group", "title": title, "members": [self.bo, self.cho]}
        return str(self.call(self.ari, "POST", "/v1/chats", json=fields).raise_for_status().json()["id"])

    def call(self, user: str, method: str, path: str, **request: Any) -> httpx.Response:
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.tokens[user]}"}, **request)

    def say(self, chat: str, text: str) -> int:
        """Ari writes, over REST; the `seq` under which it is stored."""
        message = {"id": new_message_id(), "type": "message", "body": {"text": text}}

        def sent() -> int:
            answer = self.call(self.ari, "POST", f"/v1/chats/{chat}/messages", json=message)
            assert answer.status_code in {200, 201, 503}, answer.text
            return 0 if answer.status_code == 503 else int(answer.json()["seq"])

        return int(until(sent, "the stack stores nothing"))

    def remove(self, user: str) -> None:
        self.call(self.ari, "DELETE", f"/v1/chats/{self.chat}/members/{user}").raise_for_status()

    def ban(self, user: str, *, told: bool) -> None:
        """No route does this yet: write what one will write, and tell whom it will tell."""
        with MongoClient[dict[str, Any]](self.stack.info["mongo_url"]) as mongo:
            found = mongo["pabal"]["users"].update_one({"_id": user}, {"$set": {"disabled": True}})
            assert found.modified_count == 1
        if told:
            asyncio.run(self._tell(Invalidation(kind="principal", user=user)))

    async def _tell(self, news: Invalidation) -> None:
        client = connect_valkey(self.stack.info["valkey_url"])
        await ValkeyInvalidations(client).publish(news)
        await client.aclose()

    def filters(self, phone: Phone) -> set[str]:
        """What a session subscribes to, as the broker's administrator sees it."""
        url = self.stack.info["metrics"]["broker"].replace("/metrics", f"/admin/clients/{phone.client_id}")
        secret = self.stack.state.broker_admin.read_text().strip()
        answer = httpx.get(url, headers={"Authorization": f"Bearer {secret}"}, trust_env=False)
        return {row["filter"] for row in answer.raise_for_status().json()["filters"]}

    @contextmanager
    def broker_down(self) -> Iterator[None]:
        """The broker is killed, and its supervisor can't start it again until the block ends."""
        supervisor, broker = self.stack.process.pid, self.stack.refresh()["processes"]["broker"]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            psutil.Process(broker).kill()
            until(lambda: not _runs(broker), "the broker does not die")
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)
        until(lambda: self.stack.refresh()["processes"].get("broker", broker) != broker, "nobody starts the broker")
        health = self.stack.info["metrics"]["broker"].replace("/metrics", "/healthz")
        until(lambda: _well(health), "the broker does not come back")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _well(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def rights_stack(module_stacks: Stacks) -> RunningStack:
    """Its broker sweeps often, so that what nobody tells is found out in a test's time."""
    return module_stacks(env={"PABAL_BROKER_SWEEP_SECONDS": "2"})


@pytest.fixture
def house(rights_stack: RunningStack) -> Iterator[House]:
    made = House(rights_stack)
    yield made
    made.http.close()


def listening(house: House, user: str, **options: Any) -> Phone:
    phone = Phone(house, user, **options)
    assert phone.connack.reason == 0
    assert phone.subscribe(topics.messages(house.chat), topics.messages(house.other)) == [1, 1]
    return phone


def test_a_removed_member_gets_nothing_that_is_stored_afterwards(house: House) -> None:
    bo, cho = listening(house, house.bo), listening(house, house.cho)
    before = [house.say(house.chat, f"{number}: 안녕하세요") for number in range(5)]
    for phone in (bo, cho):
        phone.has(house.chat, before[-1])
    house.remove(house.bo)
    after = [house.say(house.chat, f"{number}: 비밀 🤫") for number in range(20)]
    last = house.say(house.other, "여기에는 아직 있다")
    cho.has(house.chat, after[-1])
    bo.has(house.other, last)
    until(lambda: house.filters(bo) == {topics.messages(house.other)}, "the subscription stays")
    bo.pinged()
    assert [seq for chat, seq in bo.came if chat == house.chat] == before
    left = before[-1] + 1  # the system event that says so, which the one who left does not get either
    assert [seq for chat, seq in cho.came if chat == house.chat] == [*before, left, *after]
    assert bo.subscribe(topics.messages(house.chat)) == [Reason.NOT_AUTHORIZED]
    assert bo.write(topics.send(house.chat, house.bo), b"{}") == Reason.NOT_AUTHORIZED
    assert cho.subscribe(topics.messages(house.chat)) == [1]


@pytest.mark.parametrize("how", [House.end_sign_in, House.revoke, House.sign_out_elsewhere])
def test_a_sign_in_that_ends_ends_its_connections_and_no_others(
    house: House, how: Callable[[House, str], None]
) -> None:
    stolen = house.refresh[house.bo]
    first = listening(house, house.bo)
    house.sign_in(house.bo)
    second, cho = listening(house, house.bo), listening(house, house.cho)
    how(house, stolen)
    assert first.goodbye() == Reason.NOT_AUTHORIZED
    for phone in (second, cho):
        phone.pinged()


@pytest.mark.parametrize("told", [True, False])
def test_a_banned_user_loses_every_connection(house: House, told: bool) -> None:
    phones = [listening(house, house.bo), listening(house, house.bo)]
    cho = listening(house, house.cho)
    house.ban(house.bo, told=told)
    for phone in phones:
        assert phone.goodbye() == Reason.NOT_AUTHORIZED
    assert Phone(house, house.bo).connack.reason == Reason.BAD_USER_NAME_OR_PASSWORD
    cho.pinged()


# ---- while the broker is down, so that nobody hears of it


def test_who_was_removed_while_the_broker_was_down_gets_nothing_of_the_chat(house: House) -> None:
    """Nothing that waited for them either; and the other chat, of which they are a member still, goes on."""
    bo, cho = listening(house, house.bo, clean=False), listening(house, house.cho, clean=False)
    seen = house.say(house.chat, "아직 함께")
    for phone in (bo, cho):
        phone.has(house.chat, seen)
        phone.vanish()
    waiting = house.say(house.chat, "자리를 비운 사이에")
    with house.broker_down():
        house.remove(house.bo)
    house.say(house.chat, "떠난 뒤에")
    old = Phone(house, house.bo, client_id=bo.client_id, clean=False)
    assert old.connack.reason == 0
    old.pinged()
    reasons = old.subscribe(topics.messages(house.chat), topics.messages(house.other))
    assert reasons == [Reason.NOT_AUTHORIZED, 1]
    stays = Phone(house, house.cho, client_id=cho.client_id, clean=False)
    if stays.connack.session_present:
        stays.has(house.chat, waiting)
    assert stays.subscribe(topics.messages(house.chat)) == [1]
    last, elsewhere = house.say(house.chat, "비밀 🤫"), house.say(house.other, "여기에는 아직 있다")
    stays.has(house.chat, last)
    old.has(house.other, elsewhere)
    old.pinged()
    assert [seq for chat, seq in old.came if chat == house.chat] == []
    assert house.filters(old) == {topics.messages(house.other)}


@pytest.mark.parametrize("banned", [True, False])
def test_whose_sign_in_ended_while_the_broker_was_down_is_not_let_in_again(house: House, banned: bool) -> None:
    bo, cho = listening(house, house.bo, clean=False), listening(house, house.cho, clean=False)
    with house.broker_down():
        if banned:
            house.ban(house.bo, told=True)
        else:
            house.end_sign_in(house.refresh[house.bo])
    for phone in (bo, cho):
        phone.close()
    again = Phone(house, house.bo, client_id=bo.client_id, clean=False)
    assert again.connack.reason == Reason.BAD_USER_NAME_OR_PASSWORD
    again.ended()
    house.say(house.chat, "비밀 🤫")
    assert Phone(house, house.cho, client_id=cho.client_id, clean=False).connack.reason == 0
