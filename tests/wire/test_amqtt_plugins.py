"""`PABAL_BROKER_POLICY=amqtt`: a running broker on which amqtt's plugins decide, and clients that feel it."""

from __future__ import annotations

import json
import os
import queue
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from pwdlib.hashers.argon2 import Argon2Hasher

from stack.ports import free_port
from tests.certificates import Authority, Files
from tests.conftest import running
from tests.wire.conftest import PATIENCE

FILE = "amqtt.plugins.authentication.FileAuthPlugin"
ACL = "amqtt.plugins.topic_checking.TopicAccessControlListPlugin"
RULES = "amqtt_plugin.Rules"  # by the folder: gmqtt brings a package of its own that is named tests
VERSIONS = [paho.MQTTv311, paho.MQTTv5]
PASSWORD = "비밀번호"


def settings(port: int, plugins: list[dict[str, Any]]) -> dict[str, str]:
    return {
        "PABAL_BROKER_POLICY": "amqtt",
        "PABAL_BROKER_AMQTT_PLUGINS": json.dumps(plugins),
        "PABAL_BROKER_TCP": f"127.0.0.1:{port}",
        "PABAL_BROKER_WS": "",
        "PABAL_BROKER_HTTP": "",
        "PABAL_BROKER_SWEEP_SECONDS": "0.2",
    }


@contextmanager
def serving(directory: Path, plugins: list[dict[str, Any]], **more: object) -> Iterator[int]:
    """A broker with these plugins: its port."""
    port = free_port()

    def ready() -> str | None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            return str(error)
        return None

    env = {**settings(port, plugins), "PYTHONPATH": str(Path(__file__).parent)}
    env |= {f"PABAL_BROKER_{name.upper()}": str(value) for name, value in more.items()}
    argv = [sys.executable, "-m", "broker"]
    with mock.patch.dict(os.environ, env), running(argv, directory / "broker.log", ready=ready) as process:
        yield port
    assert process.returncode == 0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A broker with a password file (kim, lee), an ACL, and rules of which topics are not received."""
    directory = tmp_path_factory.mktemp("plugins")
    passwords = directory / "passwords"
    passwords.write_text("".join(f"{name}:{Argon2Hasher().hash(PASSWORD)}\n" for name in ("kim", "lee")))
    both = {"kim": ["home/#"], "lee": ["home/#", "news/+"]}
    plugins = [
        {"class": FILE, "config": {"password_file": str(passwords)}},
        {"class": ACL, "config": {"publish_acl": both, "acl": both}},
        {"class": RULES, "config": {"denied": {"receive": ["home/secret/#"]}}},
    ]
    with serving(directory, plugins) as port:
        yield port
    log = (directory / "broker.log").read_text()
    assert "plugins.loaded" in log
    assert PASSWORD not in log
    assert "Traceback" not in log


class Client:
    """paho's client, with what it was told."""

    def __init__(self, port: int, version: int, name: str, password: str | None, client_id: str) -> None:
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version)
        if password is not None:
            self.paho.username_pw_set(name, password)
        self.connected: queue.Queue[ReasonCode] = queue.Queue()
        self.granted: queue.Queue[list[ReasonCode]] = queue.Queue()
        self.published: queue.Queue[ReasonCode] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.paho.on_connect = lambda _client, _data, _flags, reason, _properties: self.connected.put(reason)
        self.paho.on_subscribe = lambda _client, _data, _mid, reasons, _properties: self.granted.put(reasons)
        self.paho.on_publish = lambda _client, _data, _mid, reason, _properties: self.published.put(reason)
        self.paho.on_message = lambda _client, _data, message: self.messages.put((message.topic, message.payload))
        self.paho.connect("127.0.0.1", port)
        self.paho.loop_start()
        self.reason = self.connected.get(timeout=PATIENCE)

    def subscribe(self, topic: str) -> ReasonCode:
        self.paho.subscribe(topic, qos=1)
        return self.granted.get(timeout=PATIENCE)[0]

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> ReasonCode:
        self.paho.publish(topic, payload, qos=1, retain=retain)
        return self.published.get(timeout=PATIENCE)

    def message(self) -> tuple[str, str]:
        topic, payload = self.messages.get(timeout=PATIENCE)
        return topic, payload.decode()


@contextmanager
def client(
    port: int, version: int, name: str, password: str | None = PASSWORD, client_id: str = ""
) -> Iterator[Client]:
    made = Client(port, version, name, password, client_id)
    try:
        yield made
    finally:
        made.paho.disconnect()
        made.paho.loop_stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_right_password_gets_in_and_no_other(port: int, version: int) -> None:
    with client(port, version, "kim") as kim:
        assert not kim.reason.is_failure
    for name, password in (("kim", "pw"), ("kim", ""), ("park", PASSWORD), ("", None)):
        with client(port, version, name, password) as nobody:
            assert nobody.reason.is_failure


@pytest.mark.parametrize("version", VERSIONS)
def test_the_acl_decides_who_subscribes_and_publishes(port: int, version: int) -> None:
    with client(port, version, "kim") as kim, client(port, version, "lee") as lee:
        assert not kim.subscribe("home/+").is_failure
        assert kim.subscribe("news/+").is_failure
        assert kim.subscribe("#").is_failure
        assert not lee.subscribe("news/+").is_failure
        refused = kim.publish("news/today", "거짓")
        assert refused.is_failure == (version == paho.MQTTv5)  # a 3.1.1 PUBACK has no room for a no
        assert not lee.publish("news/today", "안녕").is_failure
        assert lee.message() == ("news/today", "안녕")  # what kim published before did not come
        assert not lee.publish("home/lamp", "on").is_failure
        assert kim.message() == ("home/lamp", "on")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_to_be_received_does_not_come(port: int, version: int) -> None:
    with client(port, version, "lee") as lee:
        lee.publish("home/secret/kept", "retained", retain=True)
        lee.publish("home/kept", "retained", retain=True)
        with client(port, version, "kim") as kim:
            assert not kim.subscribe("home/#").is_failure
            assert kim.message() == ("home/kept", "retained")
            lee.publish("home/secret/live", "live")
            lee.publish("home/open", "live")
            assert kim.message() == ("home/open", "live")
            assert kim.messages.empty()
        lee.publish("home/kept", "", retain=True)
        lee.publish("home/secret/kept", "", retain=True)


def test_one_after_the_other_in_order_while_plugins_are_asked(port: int) -> None:
    with client(port, paho.MQTTv311, "kim") as kim, client(port, paho.MQTTv5, "lee") as lee:
        kim.subscribe("home/#")
        topics = [f"home/{number % 7}" for number in range(300)]
        for number, topic in enumerate(topics):
            lee.paho.publish(topic, str(number), qos=1)
        assert [kim.message() for _ in topics] == [(topic, str(number)) for number, topic in enumerate(topics)]


def test_a_user_does_not_get_the_session_of_another(port: int) -> None:
    with client(port, paho.MQTTv5, "kim", client_id="phone") as kim, client(port, paho.MQTTv5, "lee") as lee:
        kim.subscribe("home/#")
        with client(port, paho.MQTTv5, "lee", client_id="phone") as thief:
            assert not thief.reason.is_failure
            lee.publish("home/lamp", "on")
            thief.subscribe("news/+")
            lee.publish("news/end", "end")
            assert thief.message() == ("news/end", "end")


@pytest.mark.parametrize("listener", ["tls", "wss"])
def test_the_certificate_plugin_reads_the_certificate_that_tls_has_verified(listener: str, tmp_path: Path) -> None:
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    server = authority.sign("server")
    plugins = [{"class": "amqtt.contrib.cert.UserAuthCertPlugin", "config": {"uri_domain": "home.example"}}]
    secure = free_port()
    files = {"tls_cert": server.certificate, "tls_key": server.key, "tls_client_ca": clients.file}

    def let_in(client_id: str, certificate: Files, username: str | None = None) -> bool:
        context = ssl.create_default_context(cafile=str(authority.file))
        context.load_cert_chain(certificate.certificate, certificate.key)
        transport = "tcp" if listener == "tls" else "websockets"
        made = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, transport=transport)
        made.tls_set_context(context)
        if username is not None:
            made.username_pw_set(username)
        connected: queue.Queue[ReasonCode] = queue.Queue()
        made.on_connect = lambda _client, _data, _flags, reason, _properties: connected.put(reason)
        made.connect("127.0.0.1", secure)
        made.loop_start()
        try:
            return not connected.get(timeout=PATIENCE).is_failure
        finally:
            made.disconnect()
            made.loop_stop()

    with serving(tmp_path, plugins, **{listener: f"127.0.0.1:{secure}"}, **files) as plain:
        device = clients.sign("lamp", uri="spiffe://home.example/device/lamp")
        assert let_in("lamp", device)
        assert not let_in("door", device)
        assert let_in("lamp", device, "lamp")
        assert not let_in("lamp", device, "kim")
        assert not let_in("lamp", clients.sign("lamp", "door", uri="spiffe://home.example/device/lamp"))
        assert not let_in("lamp", clients.sign("other", uri="spiffe://elsewhere.example/device/lamp"))
        with client(plain, paho.MQTTv311, "", None, client_id="lamp") as without:
            assert without.reason.is_failure


@pytest.mark.parametrize(
    ("changes", "arguments", "words"),
    [
        ({"PABAL_BROKER_AMQTT_PLUGINS": "[]"}, [], "needs plugins"),
        ({"PABAL_BROKER_POLICY": "chat"}, [], "only asked with PABAL_BROKER_POLICY=amqtt"),
        ({}, ["--open"], "choose one"),
        ({"PABAL_BROKER_AMQTT_PLUGINS": "FileAuthPlugin"}, [], "broker_amqtt_plugins"),
        ({"PABAL_BROKER_AMQTT_PLUGINS": '[{"class": "a.B", "options": {}}]'}, [], "options"),
        ({"PABAL_BROKER_AMQTT_PLUGINS": '[{"class": "a.nowhere.B"}]'}, [], "a.nowhere.B"),
        ({"PABAL_BROKER_AMQTT_PLUGINS": json.dumps([{"class": ACL}])}, [], "nobody could connect"),
    ],
)
def test_a_contradiction_stops_the_start(changes: dict[str, str], arguments: list[str], words: str) -> None:
    anonymous = [{"class": "amqtt.plugins.authentication.AnonymousAuthPlugin"}]
    with mock.patch.dict(os.environ, {**settings(free_port(), anonymous), **changes}):
        ended = subprocess.run(
            [sys.executable, "-m", "broker", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    assert ended.returncode in (1, 2)
    assert words in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
