"""A real RabbitMQ with its MQTT plugin asks our hooks: the same users log in, the same matrix of topics is allowed and refused."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mqtt.codec import V5, V311, encode
from mqtt.packets import ConnAck, Connect, Disconnect, Filter, PubAck, Publish, SubAck, Subscribe
from stack import ports, servers
from stack.testing import RunningStack
from tests.conftest import end, running, unavailable
from tests.contract.api.topic_matrix import matrix
from tests.wire.conftest import Wire

pytestmark = pytest.mark.e2e

PASSWORD = "파발은 밤에도 달린다"
REFUSED = {0x87, 0x90}
"""Not authorized; or no topic that anybody may name."""


@dataclass
class Peer:
    """Another broker that is let decide by us, and the people who are there."""

    port: int
    stack: RunningStack
    names: tuple[str, str, str]
    passwords: dict[str, str]
    chat: str
    device: str


def server() -> Path:
    """RabbitMQ's own start script: Debian's wrapper wants to be another user."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found or shutil.which("epmd") is None:
        unavailable("RabbitMQ is not here, or not where Debian's package puts it")
    return found[-1]


def answers(port: int) -> str | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as error:
        return str(error)
    return None


@contextmanager
def hooks_api(stack: RunningStack, directory: Path) -> Iterator[str]:
    """A second API of the stack, with hooks; yields their address with the secret to come."""
    secret = secrets.token_hex(16)
    (directory / "secret").write_text(secret)
    bind = f"127.0.0.1:{ports.free_port()}"
    state = stack.state
    environment = {
        "PABAL_API_BIND": f"127.0.0.1:{ports.free_port()}",
        "PABAL_API_HOOKS_BIND": bind,
        "PABAL_API_HOOKS_SECRET_FILE": str(directory / "secret"),
        "PABAL_MONGO_URL": stack.info["mongo_url"],
        "PABAL_VALKEY_URL": stack.info["valkey_url"],
        "PABAL_MQTT_PORT": str(stack.info["mqtt_port"]),
        "PABAL_LINK_SECRET_FILE": str(state.service_secret("svc-api")),
        "PABAL_KEYS_DIR": str(state.directory("keys")),
        "PABAL_SERVICES_DIR": str(state.directory("services")),
        "PABAL_JWKS_FILE": str(state.jwks),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        port = int(bind.rpartition(":")[2])
        with running([sys.executable, "-m", "api"], directory / "api.log", ready=lambda: answers(port)):
            yield f"http://{bind}/internal/mqtt/rabbitmq/{{}}?secret={secret}"


@contextmanager
def rabbitmq(directory: Path, hook: str) -> Iterator[int]:
    """RabbitMQ that knows nobody but by our hooks; yields its MQTT port. It has its own epmd, which ends with it."""
    script = server()
    mqtt, amqp, epmd, distribution = (ports.free_port() for _ in range(4))
    paths = "\n".join(f"auth_http.{name}_path = {hook.format(name)}" for name in ("user", "vhost", "resource", "topic"))
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.default = 127.0.0.1:{amqp}\nmqtt.listeners.tcp.default = 127.0.0.1:{mqtt}\n"
        f"mqtt.allow_anonymous = false\nauth_backends.1 = http\nauth_http.http_method = post\n{paths}\n"
    )
    (directory / "enabled_plugins").write_text("[rabbitmq_auth_backend_http,rabbitmq_mqtt].\n")
    (directory / "environment").touch()
    environment = {
        "HOME": str(directory),  # the cookie
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_NODENAME": f"pabal-{secrets.token_hex(4)}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "config"),
        "RABBITMQ_LOG_BASE": str(directory / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "environment"),
    }
    names = subprocess.Popen(
        servers.launched(["epmd", "-port", str(epmd)]), env={**os.environ, **environment}, stdin=subprocess.DEVNULL
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with running([str(script)], directory / "rabbitmq.log", ready=lambda: answers(mqtt)):
                yield mqtt
    finally:
        end(names)


def account(http: httpx.Client, user: str) -> str:
    wish = {"handle": user, "password": PASSWORD, "display_name": "김하늘"}
    http.post("/v1/auth/register", json=wish).raise_for_status()
    form = {"grant_type": "password", "username": user, "password": PASSWORD}
    return str(http.post("/v1/auth/token", data=form).raise_for_status().json()["access_token"])


@pytest.fixture(scope="module")
def peer(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    server()
    suffix = secrets.token_hex(4)
    names = (f"haneul-{suffix}", f"bada.kim-{suffix}", f"byeol-{suffix}")
    with httpx.Client(base_url=stack.info["api"], timeout=30) as http:
        passwords = {name: account(http, name) for name in names}
        headers = {"Authorization": f"Bearer {passwords[names[0]]}"}
        wish = {"kind": "group", "title": "산", "members": [names[1]]}
        chat = http.post("/v1/chats", json=wish, headers=headers).raise_for_status().json()["id"]
        wish = {"name": "온도계", "id": f"dev-{suffix}"}
        device = http.post("/v1/devices", json=wish, headers=headers).raise_for_status().json()
    passwords[device["id"]] = device["secret"]
    directory = tmp_path_factory.mktemp("rabbitmq")
    with hooks_api(stack, directory) as hook, rabbitmq(directory, hook) as port:
        yield Peer(port, stack, names, passwords, chat, device["id"])


class Client(Wire):
    """A client of RabbitMQ (3.1.1), or of ours (5: its reason codes tell more)."""

    def __init__(self, port: int, user: str, password: str, *, version: int, client_id: str | None = None) -> None:
        super().__init__(port, version=version)
        name = client_id or f"{user}:{secrets.token_hex(4)}"
        packet = Connect(name, version, username=user, password=password.encode())
        self.send(encode(packet, version))
        try:
            answer = self.read()
        except (EOFError, ConnectionResetError):
            self.accepted = False
            return
        assert isinstance(answer, ConnAck)
        self.accepted = answer.reason == 0

    def may_publish(self, topic: str) -> bool:
        """QoS 1. RabbitMQ closes the connection of whoever may not."""
        self.send(encode(Publish(topic, b"{}", 1, packet_id=9), self.version))
        try:
            while isinstance(answer := self.read(), Publish):
                pass
        except (EOFError, ConnectionResetError):
            return False
        assert isinstance(answer, PubAck | Disconnect)
        return answer.reason not in REFUSED

    def may_subscribe(self, filter_: str) -> bool:
        self.send(encode(Subscribe(7, [Filter(filter_, 1)]), self.version))
        try:
            while not isinstance(answer := self.read(), SubAck):
                assert isinstance(answer, Publish)
        except (EOFError, ConnectionResetError):
            return False
        return answer.reasons[0] < 0x80


def test_the_same_users_log_in(peer: Peer) -> None:
    haneul, bada, _ = peer.names
    token = peer.passwords[haneul]
    attempts: list[tuple[dict[str, Any], bool]] = [
        ({"user": haneul, "password": token}, True),
        ({"user": haneul, "password": token, "client_id": haneul}, True),
        ({"user": bada, "password": peer.passwords[bada]}, True),
        ({"user": peer.device, "password": peer.passwords[peer.device]}, True),
        ({"user": haneul, "password": token, "client_id": f"{bada}:phone"}, False),
        ({"user": bada, "password": token}, False),
        ({"user": haneul, "password": token[:-4]}, False),
        ({"user": haneul, "password": ""}, False),
        ({"user": "guest", "password": "guest"}, False),
        ({"user": peer.device, "password": "wrong"}, False),
        ({"user": "svc-bridge", "password": "wrong"}, False),
    ]
    for attempt, expected in attempts:
        for port, version in ((peer.port, V311), (int(peer.stack.info["mqtt_port"]), V5)):
            client = Client(port, **attempt, version=version)
            assert client.accepted == expected, (attempt["user"], attempt.get("client_id"), version)
            client.close()


def test_the_same_matrix_of_topics(peer: Peer) -> None:
    rows = [row for row in matrix(peer.chat, peer.device, *peer.names) if row[0] in peer.passwords]
    assert len(rows) > 35
    for who, action, topic, allowed in rows:
        for port, version in ((peer.port, V311), (int(peer.stack.info["mqtt_port"]), V5)):
            client = Client(port, who, peer.passwords[who], version=version)
            assert client.accepted
            found = client.may_publish(topic) if action == "publish" else client.may_subscribe(topic)
            assert found == allowed, (who, action, topic, version)
            client.close()


def test_what_is_allowed_arrives(peer: Peer) -> None:
    """Typing needs no bridge: it goes from member to member, in RabbitMQ too."""
    haneul, bada, _ = peer.names
    reader = Client(peer.port, bada, peer.passwords[bada], version=V311)
    assert reader.may_subscribe(f"chats/{peer.chat}/typing/+")
    writer = Client(peer.port, haneul, peer.passwords[haneul], version=V311)
    assert writer.may_publish(f"chats/{peer.chat}/typing/{haneul}")
    event = reader.read()
    assert isinstance(event, Publish)
    assert event.topic == f"chats/{peer.chat}/typing/{haneul}"
    reader.close()
    writer.close()


def test_who_is_removed_is_refused_at_the_next_subscription(peer: Peer) -> None:
    haneul, bada, _ = peer.names
    client = Client(peer.port, bada, peer.passwords[bada], version=V311)
    assert client.may_subscribe(f"chats/{peer.chat}/messages")
    headers = {"Authorization": f"Bearer {peer.passwords[haneul]}"}
    where = f"{peer.stack.info['api']}/v1/chats/{peer.chat}/members/{bada}"
    assert httpx.delete(where, headers=headers).status_code == 204
    again = Client(peer.port, bada, peer.passwords[bada], version=V311)
    assert not again.may_subscribe(f"chats/{peer.chat}/messages")
    client.close()
    again.close()
