"""A device publishes bytes and waits until they are stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from clients.python import Closed, ConnectRefused, Device, OutboxFull, SendRefused, SendTimeout
from mqtt.packets import PubAck

House = Any
"""`conftest.House`; test folders are no packages."""

CHAT = "g-1"


@pytest.fixture
def device(house: House) -> Iterator[Device]:
    with Device("127.0.0.1", house.port, device="dev-thermo", secret="s", window=1) as made:
        yield made


def test_plain_bytes_over_3_1_1(house: House, device: Device) -> None:
    house.answers.append(PubAck(0, 0x10))  # taken, and not an envelope that the house could store
    device.publish_reading(CHAT, "21.5 °C".encode())
    (packet,) = house.sends
    assert (packet.topic, packet.payload, packet.qos) == ("chats/g-1/send/dev-thermo", "21.5 °C".encode(), 1)
    (connect,) = house.connects
    assert (connect.version, connect.username, connect.password) == (4, "dev-thermo", b"s")
    assert connect.client_id == "dev-thermo"
    assert connect.clean_start


def test_a_reading_that_is_not_acknowledged_is_sent_again_after_a_reconnect(house: House, device: Device) -> None:
    house.answers += [None, PubAck(0, 0x10)]
    with pytest.raises(SendTimeout):
        device.publish_reading(CHAT, b"1", timeout=0.1)
    with pytest.raises(OutboxFull):
        device.publish_reading(CHAT, b"2")
    timer = threading.Timer(0.1, house.cut)
    timer.start()
    while len(house.sends) < 2:
        threading.Event().wait(0.01)
    timer.join()
    assert [packet.payload for packet in house.sends] == [b"1", b"1"]


def test_a_refusal_over_5_is_raised(house: House) -> None:
    house.answers.append(PubAck(0, 0x87))
    with (
        Device("127.0.0.1", house.port, device="dev-thermo", secret="s", protocol=5) as device,
        pytest.raises(SendRefused) as refused,
    ):
        device.publish_reading(CHAT, b"1")
    assert refused.value.reason_code == 0x87


def test_a_wrong_secret_is_refused(house: House) -> None:
    house.refuse_connect.append(0x86)
    with pytest.raises(ConnectRefused):
        Device("127.0.0.1", house.port, device="dev-thermo", secret="s").connect()


def test_a_closed_device_says_so(device: Device) -> None:
    device.close()
    with pytest.raises(Closed):
        device.publish_reading(CHAT, b"1")
