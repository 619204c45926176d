"""Other people's clients against our broker: paho, mosquitto's tools, amqtt."""

from __future__ import annotations

import queue
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from amqtt.client import MQTTClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.conftest import unavailable
from tests.corpus import KOREAN
from tests.wire.conftest import PATIENCE, Running

VERSIONS = [paho.MQTTv311, paho.MQTTv5]


@contextmanager
def paho_client(
    broker: Running, version: int, *, transport: str = "tcp", client_id: str = "", topics: tuple[str, ...] = ()
) -> Iterator[tuple[paho.Client, queue.Queue[paho.MQTTMessage]]]:
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id=client_id or broker.name(), protocol=version, transport=transport
    )
    messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
    ready: queue.Queue[object] = queue.Queue()
    client.on_message = lambda _client, _data, message: messages.put(message)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: ready.put(reason)
    client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: ready.put(reasons[0])
    client.connect("127.0.0.1", broker.port if transport == "tcp" else broker.ws_port)
    client.loop_start()
    try:
        assert not ready.get(timeout=PATIENCE).is_failure  # type: ignore[attr-defined]
        for topic in topics:
            client.subscribe(topic, qos=2)
            assert not ready.get(timeout=PATIENCE).is_failure  # type: ignore[attr-defined]
        yield client, messages
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho(broker: Running, version: int, transport: str, qos: int) -> None:
    base = broker.name()
    with (
        paho_client(broker, version, transport=transport, topics=(f"{base}/+",)) as (client, messages),
        paho_client(broker, version) as (sender, _),
    ):
        sent = [f"{KOREAN} {number}".encode() for number in range(100)]
        infos = [sender.publish(f"{base}/{KOREAN}", payload, qos=qos) for payload in sent]
        for info in infos:
            info.wait_for_publish(PATIENCE)
        got = [messages.get(timeout=PATIENCE) for _ in sent]
        assert [message.payload for message in got] == sent
        assert {(message.topic, message.qos) for message in got} == {(f"{base}/{KOREAN}", qos)}
        client.unsubscribe(f"{base}/+")


def test_paho_with_properties_of_5(broker: Running) -> None:
    topic = broker.name()
    with paho_client(broker, paho.MQTTv5, topics=(topic,)) as (client, messages):
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("안녕", "하세요")]
        properties.ContentType = "application/json"
        client.publish(topic, b"{}", qos=1, properties=properties).wait_for_publish(PATIENCE)
        got = messages.get(timeout=PATIENCE)
        assert got.properties is not None
        assert got.properties.UserProperty == [("안녕", "하세요")]
        assert got.properties.ContentType == "application/json"


def test_paho_resumes_a_session(broker: Running) -> None:
    name, topic = broker.name(), broker.name()
    messages: queue.Queue[bytes] = queue.Queue()

    def make() -> paho.Client:
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv311, clean_session=False
        )
        client.on_message = lambda _client, _data, message: messages.put(message.payload)
        client.connect("127.0.0.1", broker.port)
        return client

    subscribed: queue.Queue[int] = queue.Queue()
    first = make()
    first.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    first.on_subscribe = lambda *_: subscribed.put(1)
    first.loop_start()
    subscribed.get(timeout=PATIENCE)
    first.disconnect()
    first.loop_stop()
    with paho_client(broker, paho.MQTTv5) as (sender, _):
        for number in range(10):
            sender.publish(topic, str(number), qos=1).wait_for_publish(PATIENCE)
    second = make()
    second.loop_start()
    try:
        assert [messages.get(timeout=PATIENCE) for _ in range(10)] == [str(number).encode() for number in range(10)]
    finally:
        second.disconnect()
        second.loop_stop()


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        unavailable(f"{name} is not installed")
    return found


@pytest.mark.parametrize("qos", ["0", "1", "2"])
@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquittos_tools(broker: Running, version: str, qos: str) -> None:
    common = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", version, "-t", broker.name(), "-q", qos]

    def publish(word: str) -> None:
        subprocess.run([tool("mosquitto_pub"), *common, "-m", word, "-r"], check=True, timeout=30)

    publish("하나")
    argv = [tool("mosquitto_sub"), *common, "-C", "2", "-W", "15"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "하나\n"  # retained: so it has subscribed
        publish("둘")
        assert listener.stdout.read() == "둘\n"
    assert listener.returncode == 0


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_amqtts_client(broker: Running, qos: int) -> None:
    topic = broker.name()
    client = MQTTClient(client_id=broker.name())
    await client.connect(f"mqtt://127.0.0.1:{broker.port}/")
    try:
        assert await client.subscribe([(topic, qos)]) == [qos]
        for number in range(20):
            await client.publish(topic, f"{KOREAN} {number}".encode(), qos=qos)
        for number in range(20):
            message = await client.deliver_message(timeout_duration=PATIENCE)
            assert message is not None
            assert message.data == f"{KOREAN} {number}".encode()
    finally:
        await client.disconnect()
