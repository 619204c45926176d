"""QoS 2 and what waits for it: the bridge, delivery receipts, the client's receive maximum, share groups."""

from __future__ import annotations

import pytest

from broker.broker import Broker
from broker.limits import Limits
from broker.policy import OpenPolicy
from mqtt.packets import ConnAck, Disconnect, Properties, PubAck, PubComp, Publish, PubRec, PubRel
from tests.unit.broker.conftest import CHAT, BuildHouse, Clock, House, Socket

SEND = f"chats/{CHAT}/send/user1"


def open_house(**limits: int) -> House:
    clock = Clock()
    broker = Broker(OpenPolicy(), limits=Limits(**limits), clock=clock)  # type: ignore[arg-type]
    return House(None, None, None, None, clock, broker)  # type: ignore[arg-type]


async def got(bridge: Socket) -> list[Publish]:
    return [packet for packet in await bridge.take() if isinstance(packet, Publish)]


async def test_the_pubrec_waits_for_the_bridge(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    for dup in (False, True):
        assert await phone.send(Publish(SEND, b"1", 2, dup=dup, packet_id=7)) == []
    (one,) = await got(bridge)
    assert one.qos == 1
    await bridge.send(PubAck(one.packet_id))
    assert await phone.take() == [PubRec(7)]
    assert await phone.send(Publish(SEND, b"1", 2, dup=True, packet_id=7)) == [PubRec(7)]
    assert await got(bridge) == []
    assert await phone.send(PubRel(7)) == [PubComp(7)]
    assert (phone.connection.unanswered, phone.connection.unreleased) == (0, 0)


async def test_a_refusal_of_the_bridge_is_the_pubrecs(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    phone.put(Publish(SEND, b"1", 2, packet_id=7))
    (one,) = await got(bridge)
    said: Properties = {"reason_string": "not JSON", "user_property": [("code", "not_json")]}
    await bridge.send(PubAck(one.packet_id, 0x99, said))
    assert await phone.take() == [PubRec(7, 0x99, said)]
    assert not phone.connection.session.inbound.held


async def test_what_the_bridge_had_not_answered_is_forwarded_again_under_its_name(house: House) -> None:
    stays: Properties = {"session_expiry_interval": 60}
    bridge, phone = await house.bridge(), await house.client("user1", clean=False, properties=stays)
    phone.put(Publish(SEND, b"1", 2, packet_id=7))
    (first,) = await got(bridge)
    phone.vanish()
    phone = await house.client("user1", clean=False, properties=stays)
    phone.put(Publish(SEND, b"1", 2, dup=True, packet_id=7))
    (second,) = await got(bridge)
    assert first.properties == second.properties
    await bridge.send(PubAck(first.packet_id), PubAck(second.packet_id))
    assert await phone.take() == [PubRec(7)]


async def test_more_than_the_receive_maximum_ends_the_connection(build: BuildHouse) -> None:
    """[MQTT-3.3.4-7]: what has a PUBREC and no PUBREL counts too."""
    house = build(receive_maximum=2)
    await house.join("user1")
    phone = await house.client("user1")
    topic = f"chats/{CHAT}/typing/user1"
    phone.put(*(Publish(topic, b"x", 2, packet_id=number) for number in (1, 2)))
    assert [type(packet) for packet in await phone.take()] == [PubRec, PubRec]
    await phone.send(PubRel(1))
    await phone.send(Publish(topic, b"x", 2, packet_id=3))
    assert not phone.closed
    (answer,) = await phone.send(Publish(topic, b"x", 2, packet_id=4))
    assert isinstance(answer, Disconnect)
    assert answer.reason == 0x93


async def test_3_1_1_is_read_on_though_it_has_released_nothing(build: BuildHouse) -> None:
    house = build(receive_maximum=2)
    await house.join("user1")
    phone = await house.client("user1", version=4)
    answers = await phone.send(*(Publish(f"chats/{CHAT}/typing/user1", b"x", 2, packet_id=n) for n in range(1, 9)))
    assert answers == [PubRec(number) for number in range(1, 9)]
    assert not phone.paused


async def test_a_pubrec_is_a_delivery(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    topic = f"chats/{CHAT}/messages"
    await phone.subscribe(topic, qos=2)
    bridge.put(Publish(topic, b"event", 2, packet_id=1, properties={"user_property": [("mark", "5")]}))
    (one,) = await got(phone)
    assert await phone.send(PubRec(one.packet_id)) == [PubRel(one.packet_id)]
    assert list(house.broker.marks._highest.values()) == [5]


# ---- share groups


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_a_member_that_goes_has_not_acknowledged_goes_to_another_but_for_qos_2(qos: int) -> None:
    """[MQTT-4.8.2-4, -5]: what it may know as QoS 2 stays its own."""
    house = open_house()
    stays: Properties = {"session_expiry_interval": 60}
    one, two = [await house.client(name, clean=False, properties=stays) for name in ("one", "two")]
    for member in (one, two):
        await member.subscribe("$share/g/t", qos=qos)
    sender = await house.client("sender")
    await sender.send(Publish("t", b"x", qos, packet_id=1))
    (first,) = [*await got(one), *await got(two)] or [None]
    holder = next(s for s in (one, two) if s.connection.session.inflight)
    other = two if holder is one else one
    assert first is not None
    holder.vanish()
    again = await got(other)
    assert [packet.payload for packet in again] == ([b"x"] if qos == 1 else [])
    back, answer = await house.dial(holder.connection.session.client_id, clean=False, properties=stays)
    assert isinstance(answer, ConnAck)
    assert [packet.payload for packet in await got(back)] == ([] if qos == 1 else [b"x"])


async def test_with_nobody_there_a_member_that_goes_keeps_its_own() -> None:
    house = open_house()
    stays: Properties = {"session_expiry_interval": 60}
    one = await house.client("one", clean=False, properties=stays)
    await one.subscribe("$share/g/t")
    await one.send(Publish("t", b"x", 1, packet_id=1))
    one.vanish()
    back, _ = await house.dial("one", clean=False, properties=stays)
    (packet,) = await got(back)
    assert packet.dup
