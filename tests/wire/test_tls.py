"""MQTT over TLS and secure WebSocket: certificates made here, both versions of TLS, client certificates as a login."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from stack.ports import free_port
from tests.certificates import Authority, Files
from tests.corpus import connect
from tests.wire.conftest import CONNACK4, PATIENCE, PING, PONG, Running, Start, start_broker

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
UPGRADE = (
    "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: mqtt\r\n{more}\r\n"
)


class House:
    """A broker with TLS: its authorities, its files, its ports."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.clients = Authority(directory, "clients")
        self.stranger = Authority(directory, "stranger")
        self.server = self.authority.sign("server")
        self.tls_port, self.wss_port = free_port(), free_port()
        self.broker: Running

    def arguments(self, *more: str) -> list[str]:
        return [
            *("--bind-tls", f"127.0.0.1:{self.tls_port}", "--bind-wss", f"127.0.0.1:{self.wss_port}"),
            *("--cert", str(self.server.certificate), "--key", str(self.server.key), *more),
        ]

    def with_clients(self, mode: str) -> list[str]:
        return self.arguments("--client-ca", str(self.clients.file), "--client-cert", mode)

    def trusting(self, client: Files | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def dial(
        self, client: Files | None = None, *, version: ssl.TLSVersion | None = None, wss: bool = False
    ) -> ssl.SSLSocket:
        port = self.wss_port if wss else self.tls_port
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        return self.trusting(client, version).wrap_socket(sock, server_hostname="127.0.0.1")

    def login(self, client: Files | None = None, *, username: str | None = None, client_id: str = "c") -> bytes:
        """The answer to a CONNECT of 3.1.1, or nothing if the connection ends."""
        name = username.encode() if username is not None else None
        rest, flags = (b"", 2) if name is None else (struct.pack(">H", len(name)) + name, 0x82)
        try:
            with self.dial(client) as sock:
                sock.sendall(connect(client_id, level=4, flags=flags, rest=rest))
                return sock.recv(100)
        except (ssl.SSLError, ConnectionError):  # of TLS 1.3, or already of 1.2: an alert, or no more than a reset
            return b""


@contextmanager
def running(directory: Path, mode: str | None = None) -> Iterator[House]:
    house = House(directory)
    with start_broker(directory, house.arguments() if mode is None else house.with_clients(mode)) as broker:
        house.broker = broker
        yield house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """No client certificates."""
    with running(tmp_path_factory.mktemp("tls")) as made:
        yield made


@pytest.fixture(scope="module")
def optional(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A client certificate may be shown."""
    with running(tmp_path_factory.mktemp("optional"), "optional") as made:
        yield made


# ---- TLS


@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_of_tls(house: House, version: ssl.TLSVersion) -> None:
    with house.dial(version=version) as sock:
        assert sock.version() == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[version]
        sock.sendall(connect("c", level=4) + PING)
        assert sock.recv(4) == CONNACK4
        assert sock.recv(2) == PONG
        sock.sendall(b"\xe0\0")
        assert sock.recv(1) == b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_versions_are_refused(house: House) -> None:
    context = house.trusting()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", house.tls_port), timeout=PATIENCE) as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock, server_hostname="127.0.0.1")


def test_who_does_not_know_the_authority_goes(house: House) -> None:
    with (
        socket.create_connection(("127.0.0.1", house.tls_port), timeout=PATIENCE) as sock,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context(cafile=str(house.stranger.file)).wrap_socket(sock, server_hostname="127.0.0.1")
    assert house.login() == CONNACK4


def test_packets_larger_than_a_record_pass_both_ways(house: House) -> None:
    payload = os.urandom(200_000)
    with house.dial() as sock:
        body = b"\0\x05large" + payload
        size = bytes((len(body) & 0x7F | 0x80, len(body) >> 7 & 0x7F | 0x80, len(body) >> 14))
        sock.sendall(connect("large", level=4))
        assert sock.recv(4) == CONNACK4
        sock.sendall(b"\x82\x0a\0\x01\0\x05large\0" + b"\x30" + size + body)
        answer = b""
        while len(answer) < 5 + 4 + len(body):
            more = sock.recv(65_536)
            assert more, "the broker closed the connection"
            answer += more
        assert answer == b"\x90\x03\0\x01\0" + b"\x30" + size + body


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
def test_paho(house: House, version: int, transport: str) -> None:
    messages: queue.Queue[bytes] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=version, transport=transport)
    client.tls_set_context(house.trusting())
    topic = f"paho/{version}/{transport}"
    client.on_message = lambda _client, _data, message: messages.put(message.payload)
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: client.publish(topic, "안녕하세요".encode(), qos=1)
    client.connect("127.0.0.1", house.tls_port if transport == "tcp" else house.wss_port)
    client.loop_start()
    try:
        assert messages.get(timeout=PATIENCE).decode() == "안녕하세요"
    finally:
        client.disconnect()
        client.loop_stop()


def test_mosquitto_pub_and_sub(house: House) -> None:
    tools = [shutil.which(name) for name in ("mosquitto_pub", "mosquitto_sub")]
    if None in tools:
        pytest.skip("mosquitto's tools are not installed")
    common = ["-h", "127.0.0.1", "-p", str(house.tls_port), "--cafile", str(house.authority.file), "-t", "tools"]
    subprocess.run([str(tools[0]), *common, "-m", "하나", "-r", "-q", "1"], check=True, timeout=30)
    got = subprocess.run([str(tools[1]), *common, "-C", "1", "-W", "15"], check=True, timeout=30, capture_output=True)
    assert got.stdout.decode() == "하나\n"


# ---- peers that speak something else, or nothing


def test_plain_bytes_on_the_tls_port_harm_nobody(house: House) -> None:
    with house.dial() as other:
        other.sendall(connect("other", level=4))
        assert other.recv(4) == CONNACK4
        for first in (
            connect("plain", level=4),
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\xff\xff" + bytes(2000),
            b"\0",
        ):
            with socket.create_connection(("127.0.0.1", house.tls_port), timeout=PATIENCE) as sock:
                sock.sendall(first)
                if len(first) > 1:
                    drain(sock)
        other.sendall(PING)
        assert other.recv(2) == PONG


def drain(sock: socket.socket) -> bytes:
    """Everything until the end."""
    answer = b""
    try:
        while more := sock.recv(65_536):
            answer += more
    except ConnectionError:
        pass
    return answer


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a hello"])
def test_a_handshake_that_stalls_is_cut(tmp_path: Path, said: bytes) -> None:
    house = House(tmp_path)
    with start_broker(tmp_path, house.arguments(), connect_timeout=1):
        for port in (house.tls_port, house.wss_port):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
                sock.sendall(said)
                assert drain(sock) == b""
        with house.dial() as silent:  # the same time again from the handshake to the CONNECT
            assert silent.recv(1) == b""


def test_stalled_handshakes_count_as_connections(tmp_path: Path) -> None:
    house = House(tmp_path)
    with start_broker(tmp_path, house.arguments(), connections=3) as broker:
        time.sleep(0.2)  # the probes of the start have gone
        stalled = [socket.create_connection(("127.0.0.1", house.tls_port), timeout=PATIENCE) for _ in range(3)]
        time.sleep(0.2)
        broker.wire().ended()
        for sock in stalled:
            sock.close()
        for _ in range(100):
            wire = broker.wire()
            wire.send(connect("c", level=4))
            with contextlib.suppress(EOFError, ConnectionError):
                wire.expect(CONNACK4)
                return
            time.sleep(0.05)
        pytest.fail("the places of those who left were not given back")


# ---- client certificates


def test_a_client_certificate_is_a_login(optional: House) -> None:
    device = optional.clients.sign("dev-thermometer")
    assert optional.login(device, client_id="dev-thermometer") == CONNACK4
    assert optional.login(device, client_id="dev-thermometer", username="dev-thermometer") == CONNACK4


def test_it_is_nobody_elses_login(optional: House) -> None:
    device = optional.clients.sign("dev-lamp")
    assert optional.login(device, username="dev-door") == b"\x20\x02\0\x04"


@pytest.mark.parametrize("names", [(), ("dev-a", "dev-b")], ids=["none", "two"])
def test_a_certificate_needs_exactly_one_common_name(optional: House, names: tuple[str, ...]) -> None:
    assert optional.login(optional.clients.sign(*names)) == b"\x20\x02\0\x05"


def test_where_it_is_optional_one_may_do_without(optional: House) -> None:
    assert optional.login(username="anybody") == CONNACK4


def test_a_certificate_of_another_authority_or_an_old_one_is_refused(optional: House) -> None:
    assert optional.login(optional.stranger.sign("dev-foreign")) == b""
    assert optional.login(optional.authority.sign("dev-other")) == b""
    assert optional.login(optional.clients.sign("dev-old", expired=True)) == b""
    assert optional.login() == CONNACK4


def test_without_a_client_ca_no_certificate_counts(house: House) -> None:
    device = house.clients.sign("dev-unasked")
    assert house.login(device, username="somebody-else") == CONNACK4


def test_where_it_is_required_nobody_comes_in_without(tmp_path: Path) -> None:
    with running(tmp_path, "required") as house:
        assert house.login() == b""
        assert house.login(house.stranger.sign("dev-foreign")) == b""
        assert house.login(house.clients.sign("dev-known")) == CONNACK4


# ---- secure WebSocket


def upgrade(sock: socket.socket, more: str = "") -> str:
    sock.sendall(UPGRADE.format(more=more).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, head
        head += byte
    return head.decode()


@pytest.mark.parametrize("secure", [False, True])
def test_the_origin_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    monkeypatch.setenv("PABAL_BROKER_WS_ORIGINS", '["https://chat.example"]')
    with running(tmp_path) as house:
        for origin, status in (("https://chat.example", 101), ("https://evil.example", 403), ("null", 403)):
            plain = socket.create_connection(("127.0.0.1", house.broker.ws_port), timeout=PATIENCE)
            with house.dial(wss=True) if secure else plain as sock:
                assert upgrade(sock, f"Origin: {origin}\r\n").startswith(f"HTTP/1.1 {status} ")
            plain.close()


# ---- SIGHUP


def serial(house: House) -> str:
    with house.dial() as sock:
        return str((sock.getpeercert() or {})["serialNumber"])


def changed(house: House, before: str) -> str:
    """The serial number of the certificate once it is another one."""
    deadline = time.monotonic() + PATIENCE
    while (now := serial(house)) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def logged(directory: Path, event: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(event in log.read_text() for log in directory.glob("broker-*.log")):
        assert time.monotonic() < deadline, f"{event} was not logged"
        time.sleep(0.05)


def test_sighup_swaps_the_certificate_for_new_connections(tmp_path: Path) -> None:
    with running(tmp_path) as house, house.dial() as old:
        old.sendall(connect("old", level=4))
        assert old.recv(4) == CONNACK4
        first = serial(house)
        house.authority.sign("renewed", file="server")  # over the same files
        assert serial(house) == first
        os.kill(house.broker.pid, signal.SIGHUP)
        second = changed(house, first)
        assert second != first
        old.sendall(PING)
        assert old.recv(2) == PONG
        house.server.key.write_bytes(house.authority.sign("other").key.read_bytes())  # of another certificate
        os.kill(house.broker.pid, signal.SIGHUP)
        logged(tmp_path, "certificates.failed")
        assert serial(house) == second


def test_sighup_replaces_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    file = tmp_path / "limits.env"
    file.write_text("PABAL_BROKER_LIMIT_TOPIC_LEVELS=8\n")
    monkeypatch.setenv("PABAL_BROKER_LIMITS_FILE", str(file))
    topic = b"\0\x0ba/b/c/d/e/f"
    with start() as broker:
        client = broker.v4()
        client.send(b"\x32\x0f" + topic + b"\0\x01")
        client.expect(b"\x40\x02\0\x01")
        file.write_text("PABAL_BROKER_LIMIT_TOPIC_LEVELS=zwei\n")
        os.kill(broker.pid, signal.SIGHUP)
        logged(tmp_path, "limits.failed")
        file.write_text("PABAL_BROKER_LIMIT_TOPIC_LEVELS=5\n")
        os.kill(broker.pid, signal.SIGHUP)
        logged(tmp_path, "limits.reloaded")
        other = broker.v4()
        other.send(b"\x32\x0f" + topic + b"\0\x01")
        other.ended()
        client.quiet()


# ---- what can't be started


def refused(arguments: list[str]) -> str:
    argv = [sys.executable, "-m", "broker", "--open", *arguments]
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 2, done
    return done.stderr


def test_what_is_wrong_with_the_files_is_said_at_the_start(tmp_path: Path) -> None:
    house = House(tmp_path)
    good, other = house.server, house.authority.sign("other")
    secret = house.authority.sign("secret", password=b"hush")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    tls = ["--bind-tls", f"127.0.0.1:{house.tls_port}"]

    def said(certificate: Path, key: Path, *more: str) -> str:
        return refused([*tls, "--cert", str(certificate), "--key", str(key), *more])

    assert "needs a certificate and its key" in refused(tls)
    assert "missing.pem can't be read: No such file" in said(tmp_path / "missing.pem", good.key)
    assert "missing.key can't be read: No such file" in said(good.certificate, tmp_path / "missing.key")
    assert "does not belong to the certificate" in said(good.certificate, other.key)
    assert "can't be used" in said(text, good.key)
    assert "encrypted" in said(secret.certificate, secret.key)
    assert "need a client CA" in said(good.certificate, good.key, "--client-cert", "required")
    assert "client CA" in said(good.certificate, good.key, "--client-ca", str(text))
    assert "loopback" in refused(["--bind-tls", "0.0.0.0:1", "--cert", str(good.certificate), "--key", str(good.key)])
