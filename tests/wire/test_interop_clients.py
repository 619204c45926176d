"""More of other people's clients: aiomqtt, gmqtt, mosquitto_rr, MQTT.js, and one with the manners of MicroPython's."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiomqtt
import gmqtt
import pytest
from gmqtt.mqtt import constants

from mqtt.packets import Publish
from tests.conftest import unavailable
from tests.corpus import KOREAN, text
from tests.wire.conftest import PATIENCE, Running
from tests.wire.packets import publish, subscribe
from tests.wire.umqtt import MQTTClient, MQTTException

INTEROP = Path(__file__).parent.parent / "interop"
COUNT = 50


# ---- aiomqtt


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("version", list(aiomqtt.ProtocolVersion)[1:], ids=lambda version: version.name)
@pytest.mark.parametrize("qos", [1, 2])
async def test_aiomqtt(broker: Running, version: aiomqtt.ProtocolVersion, transport: Any, qos: int) -> None:
    topic = broker.name()
    port = broker.port if transport == "tcp" else broker.ws_port
    async with (
        asyncio.timeout(PATIENCE),
        aiomqtt.Client("127.0.0.1", port, protocol=version, transport=transport, websocket_path="/mqtt") as client,
    ):
        await client.subscribe(f"{topic}/+", qos=qos)
        for number in range(COUNT):
            await client.publish(f"{topic}/{KOREAN}", f"{KOREAN} {number}", qos=qos)
        got = [await anext(client.messages) for _ in range(COUNT)]
        assert [message.payload for message in got] == [f"{KOREAN} {number}".encode() for number in range(COUNT)]
        assert {(str(message.topic), message.qos) for message in got} == {(f"{topic}/{KOREAN}", qos)}
        await client.unsubscribe(f"{topic}/+")


async def test_aiomqtt_leaves_a_will(broker: Running) -> None:
    topic = broker.name()
    async with asyncio.timeout(PATIENCE), aiomqtt.Client("127.0.0.1", broker.port) as listener:
        await listener.subscribe(topic, qos=1)
        client = aiomqtt.Client("127.0.0.1", broker.port, will=aiomqtt.Will(topic, "안녕히", qos=1))
        await client.__aenter__()
        client._client._sock_close()
        assert (await anext(listener.messages)).payload == "안녕히".encode()


# ---- gmqtt


@pytest.mark.parametrize("version", [constants.MQTTv311, constants.MQTTv50])
@pytest.mark.parametrize("qos", [1, 2])
async def test_gmqtt(broker: Running, version: int, qos: int) -> None:
    topic = broker.name()
    five = version == constants.MQTTv50
    client = gmqtt.Client(broker.name())
    subscribed = asyncio.Event()
    got: asyncio.Queue[tuple[str, bytes, int, list[tuple[str, str]]]] = asyncio.Queue(100)

    async def on_message(_client: Any, name: str, payload: bytes, level: int, properties: dict[str, Any]) -> int:
        await got.put((name, payload, level, properties.get("user_property", [])))
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    async with asyncio.timeout(PATIENCE):
        await client.connect("127.0.0.1", broker.port, version=version)
        try:
            client.subscribe(f"{topic}/+", qos=qos)
            await subscribed.wait()
            pairs = [("누구", "나")] if five else []
            for number in range(COUNT):
                more = {"user_property": pairs} if five else {}
                client.publish(f"{topic}/{KOREAN}", f"{KOREAN} {number}", qos=qos, **more)
            for number in range(COUNT):
                assert await got.get() == (f"{topic}/{KOREAN}", f"{KOREAN} {number}".encode(), qos, pairs)
        finally:
            await client.disconnect()


# ---- mosquitto_rr


def test_mosquitto_rr(broker: Running) -> None:
    program = shutil.which("mosquitto_rr")
    if program is None:
        unavailable("mosquitto_rr is not installed")
    request, response = broker.name(), broker.name()
    responder = broker.v5()
    subscribe(responder, request)
    argv = [program, "-h", "127.0.0.1", "-p", str(broker.port), "-V", "5", "-q", "1", "-W", "15"]
    argv += ["-t", request, "-e", response, "-m", "몇 시?", "-D", "publish", "correlation-data", "상관"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as asking:
        asked = responder.read()
        assert isinstance(asked, Publish)
        assert asked.payload.decode() == "몇 시?"
        assert asked.properties["response_topic"] == response
        correlation = asked.properties["correlation_data"]
        assert correlation == "상관".encode()
        block = b"\x09" + text("상관")
        responder.send(publish(responder, response, "세 시".encode(), flags=2, block=block))
        assert asking.communicate(timeout=30)[0] == "세 시\n"
    assert asking.returncode == 0


# ---- MQTT.js


@pytest.fixture(scope="session")
def mqtt_js(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs MQTT.js. Node is not what this project is made of: without it these tests are skipped, in CI too."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"MQTT.js needs node 20 or later, this is {version.strip()}")
    directory = tmp_path_factory.mktemp("mqtt-js")
    for file in INTEROP.iterdir():
        if file.is_file():
            shutil.copy(file, directory)
    argv = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(
        argv, cwd=directory, capture_output=True, text=True, check=False, timeout=150, env={**os.environ, "CI": "true"}
    )
    if installed.returncode:
        unavailable(f"npm ci failed:\n{installed.stderr[-1000:]}")
    return [node, str(directory / "peer.mjs")]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("transport", ["mqtt", "ws"])
def test_mqtt_js(broker: Running, mqtt_js: list[str], transport: str, version: str, qos: int) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}" if transport == "mqtt" else f"ws://127.0.0.1:{broker.ws_port}/mqtt"
    topic = broker.name()
    argv = [*mqtt_js, url, version, topic, str(qos), str(COUNT)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["granted"] == [qos]
    who = "나" if version == "5" else None
    assert answer["got"] == [
        {"topic": f"{topic}/안녕", "payload": f"안녕하세요 {number}", "qos": qos, "user": who}
        for number in range(COUNT)
    ]


def test_the_lock_of_mqtt_js_names_no_registry() -> None:
    lock = json.loads((INTEROP / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages
    assert all("resolved" not in package and "integrity" in package for package in packages)
    assert "://" not in (INTEROP / "package-lock.json").read_text()


# ---- MicroPython


def micro(broker: Running, **options: Any) -> tuple[MQTTClient, list[tuple[bytes, bytes]]]:
    client = MQTTClient(broker.name().encode(), "127.0.0.1", broker.port, **options)
    got: list[tuple[bytes, bytes]] = []
    client.set_callback(lambda topic, message: got.append((topic, message)))
    return client, got


@pytest.mark.parametrize("qos", [0, 1])
def test_umqtt(broker: Running, qos: int) -> None:
    client, got = micro(broker, keepalive=60)
    topic = broker.name().encode()
    assert client.connect(timeout=PATIENCE) is False
    client.subscribe(topic + b"/#", qos)
    sent = [(topic + f"/{KOREAN}".encode(), f"{KOREAN} {number}".encode()) for number in range(COUNT)]
    for name, message in sent:
        client.publish(name, message, qos=qos)
    while len(got) < COUNT:
        client.wait_msg()
    assert got == sent
    client.ping()
    assert client.wait_msg() is None
    assert client.check_msg() is None
    client.publish(topic + b"/big", b"x" * 40_000, qos=qos)
    while len(got) == COUNT:
        client.wait_msg()
    assert got[-1] == (topic + b"/big", b"x" * 40_000)
    client.disconnect()


def test_umqtt_resumes_is_refused_and_leaves_a_will(broker: Running) -> None:
    topic = broker.name().encode()
    client, got = micro(broker)
    client.connect(clean_session=False, timeout=PATIENCE)
    client.subscribe(topic, 1)
    with pytest.raises(MQTTException):
        client.subscribe(b"denied/#", 1)
    client.disconnect()
    other, _ = micro(broker)
    other.set_last_will(topic, b"gone", qos=1)
    other.connect(timeout=PATIENCE)
    other.publish(topic, b"kept", qos=1)
    other.sock.close()
    assert client.connect(clean_session=False, timeout=PATIENCE) is True
    while len(got) < 2:
        client.wait_msg()
    assert got == [(topic, b"kept"), (topic, b"gone")]
    client.disconnect()
