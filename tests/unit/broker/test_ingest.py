"""Acknowledgement after store: a member's PUBACK is the bridge's (P1), and what happens when there is no bridge."""

from __future__ import annotations

import pytest

from mqtt.packets import ConnAck, Disconnect, Packet, Properties, PubAck, Publish, Will
from tests.unit.broker.conftest import CHAT, BuildHouse, House, Socket, reason_of

SEND = f"chats/{CHAT}/send/user1"


def message(
    number: int,
    payload: bytes | None = None,
    *,
    topic: str = SEND,
    dup: bool = False,
    qos: int = 1,
    **properties: object,
) -> Publish:
    block: Properties = properties  # type: ignore[assignment]
    return Publish(
        topic, payload or str(number).encode(), qos, dup=dup, packet_id=number if qos else 0, properties=block
    )


def plain(number: int, *, dup: bool = False) -> Publish:
    """One that has no id of its own."""
    return message(number, dup=dup, content_type="text/plain")


def forwarded(packets: list[Packet]) -> list[Publish]:
    return [packet for packet in packets if isinstance(packet, Publish)]


def ingest_id(packet: Publish) -> str:
    (value,) = (value for name, value in packet.properties.get("user_property", []) if name == "ingest")
    return value


async def test_the_puback_waits_for_the_bridges(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    assert await phone.send(message(7)) == []
    (got,) = forwarded(await bridge.take())
    assert (got.topic, got.payload, got.qos) == (SEND, b"7", 1)
    house.tick(60)
    assert await phone.take() == []
    await bridge.send(PubAck(got.packet_id))
    assert await phone.take() == [PubAck(7)]
    assert phone.connection.unanswered == 0


async def test_acknowledgements_come_back_to_whom_they_belong_in_any_order(house: House) -> None:
    bridge = await house.bridge()
    one, two = await house.client("user1"), await house.client("user2", version=4)
    one.put(message(1), message(2))
    two.put(message(1, b"two", topic=f"chats/{CHAT}/send/user2"))
    got = {packet.payload: packet.packet_id for packet in forwarded(await bridge.take())}
    await bridge.send(PubAck(got[b"two"]), PubAck(got[b"2"]), PubAck(got[b"1"]))
    assert await one.take() == [PubAck(2), PubAck(1)]
    assert await two.take() == [PubAck(1)]


async def test_a_refusal_is_passed_on_to_5_with_code_and_reason(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    phone.put(message(1))
    (got,) = forwarded(await bridge.take())
    said: Properties = {"reason_string": "not JSON", "user_property": [("code", "not_json")]}
    await bridge.send(PubAck(got.packet_id, 0x99, said))
    assert await phone.take() == [PubAck(1, 0x99, said)]
    assert not phone.closed


@pytest.mark.parametrize("reason", [0x83, 0x87, 0x99])
async def test_a_refusal_that_is_the_messages_own_fault_is_acknowledged_to_3_1_1(house: House, reason: int) -> None:
    bridge, phone = await house.bridge(), await house.client("user1", version=4)
    phone.put(message(1))
    (got,) = forwarded(await bridge.take())
    await bridge.send(PubAck(got.packet_id, reason, {"reason_string": "no"}))
    assert await phone.take() == [PubAck(1)]
    assert not phone.closed


@pytest.mark.parametrize("reason", [0x80, 0x97])
async def test_a_refusal_that_is_our_fault_is_never_acknowledged_to_3_1_1(house: House, reason: int) -> None:
    bridge, phone = await house.bridge(), await house.client("user1", version=4)
    phone.put(message(1))
    (got,) = forwarded(await bridge.take())
    await bridge.send(PubAck(got.packet_id, reason))
    assert await phone.take() == []
    assert phone.closed


# ---- stamps


async def test_a_dup_has_the_ingest_id_of_the_first_attempt_also_on_a_new_connection(house: House) -> None:
    bridge = await house.bridge()
    session: Properties = {"session_expiry_interval": 60}
    phone = await house.client("user1", clean=False, properties=session)
    phone.put(plain(1), plain(2))
    first, second = forwarded(await bridge.take())
    phone.vanish()
    phone = await house.client("user1", clean=False, properties=session)
    phone.put(plain(1, dup=True), plain(2, dup=True), plain(3))
    again = forwarded(await bridge.take())
    assert [ingest_id(packet) for packet in again[:2]] == [ingest_id(first), ingest_id(second)]
    assert len({ingest_id(packet) for packet in (first, second, again[2])}) == 3
    await bridge.send(*(PubAck(packet.packet_id) for packet in (first, second, *again)))
    assert await phone.take() == [PubAck(1), PubAck(2), PubAck(3)]  # nothing for the connection that is gone


async def test_a_packet_id_used_again_without_dup_is_a_new_message(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    names = set()
    for _ in range(3):
        phone.put(plain(1))
        (got,) = forwarded(await bridge.take())
        names.add(ingest_id(got))
        await bridge.send(PubAck(got.packet_id))
    assert len(names) == 3


async def test_an_envelope_brings_its_own_id_and_gets_no_other(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    json: Properties = {"content_type": "application/json; charset=utf-8"}
    phone.put(message(1), message(2, **json), message(3, user_property=[("ingest", "forged"), ("trace", "t")]))
    got = forwarded(await bridge.take())
    assert [packet.properties for packet in got] == [{}, json, {"user_property": [("trace", "t")]}]


async def test_what_a_client_stamps_itself_is_taken_off(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    own = [("ingest", "forged"), ("mark", "9"), ("trace", "t")]
    phone.put(message(1, content_type="text/plain", message_expiry_interval=5, user_property=own))
    (got,) = forwarded(await bridge.take())
    assert ingest_id(got) != "forged"
    assert got.properties["user_property"] == [("trace", "t"), ("ingest", ingest_id(got))]
    assert got.properties["content_type"] == "text/plain"


async def test_qos_0_is_stamped_too_and_nobody_waits(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("dev-1")
    await house.join("dev-1")
    topic = f"chats/{CHAT}/send/dev-1"
    phone.put(message(0, b"21.5", topic=topic, qos=0), message(0, b"21.6", topic=topic, qos=0))
    one, two = forwarded(await bridge.take())
    assert ingest_id(one) != ingest_id(two)
    assert (one.qos, phone.connection.unanswered) == (0, 0)


async def test_a_will_to_the_bridge_is_stamped_like_a_publish(house: House) -> None:
    bridge = await house.bridge()
    will = Will(SEND, b"{}", qos=1, properties={"user_property": [("ingest", "forged"), ("a", "b")]})
    phone = await house.client("user1", will=will)
    phone.vanish()
    (got,) = forwarded(await bridge.take())
    assert got.properties["user_property"] == [("a", "b"), ("ingest", ingest_id(got))]
    assert ingest_id(got) != "forged"
    await bridge.send(PubAck(got.packet_id))


async def test_acks_and_sync_requests_wait_for_the_bridge_as_well(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    assert await phone.send(message(1, topic=f"chats/{CHAT}/ack/user1"), message(2, topic="users/user1/sync")) == []
    got = forwarded(await bridge.take())
    await bridge.send(*(PubAck(packet.packet_id) for packet in got))
    assert {reason_of(packet) for packet in await phone.take()} == {0}


# ---- no bridge


async def test_without_a_bridge_5_is_told_at_once(house: House) -> None:
    phone = await house.client("user1")
    (answer,) = await phone.send(message(1))
    assert reason_of(answer) == 0x97
    assert not phone.closed


async def test_without_a_bridge_3_1_1_waits_and_is_then_closed(house: House) -> None:
    phone = await house.client("user1", version=4)
    assert await phone.send(message(1)) == []
    house.tick(house.broker.core.limits.ingest_wait - 0.1)
    assert not phone.closed
    house.tick(0.2)
    assert phone.closed
    assert await phone.take() == []


async def test_a_bridge_that_comes_in_time_gets_what_waits_in_order(house: House) -> None:
    phone = await house.client("user1", version=4)
    phone.put(message(1), message(2))
    bridge = await house.bridge()
    got = forwarded(await bridge.take())
    assert [packet.payload for packet in got] == [b"1", b"2"]
    await bridge.send(*(PubAck(packet.packet_id) for packet in got))
    house.tick(60)
    assert await phone.take() == [PubAck(1), PubAck(2)]
    assert not phone.closed


async def test_when_the_bridge_is_lost_another_gets_its_messages_with_the_same_ingest_ids(house: House) -> None:
    bridges = [await house.bridge(f"svc-bridge:{number}") for number in range(2)]
    phone = await house.client("user1")
    phone.put(plain(1), plain(2))
    first = {bridge: forwarded(await bridge.take()) for bridge in bridges}
    (lost,) = (bridge for bridge, got in first.items() if got)
    (other,) = set(bridges) - {lost}
    lost.vanish()
    again = forwarded(await other.take())
    assert [ingest_id(packet) for packet in again] == [ingest_id(packet) for packet in first[lost]]
    assert await phone.take() == []
    await other.send(*(PubAck(packet.packet_id) for packet in again))
    assert await phone.take() == [PubAck(1), PubAck(2)]


async def test_when_the_last_bridge_is_lost_5_is_told_and_3_1_1_waits(house: House) -> None:
    bridge = await house.bridge(window=1)
    five, four = await house.client("user1"), await house.client("user2", version=4)
    five.put(message(1), message(2))
    four.put(message(1, topic=f"chats/{CHAT}/send/user2"))
    await house.rest()
    bridge.vanish()
    assert [reason_of(packet) for packet in await five.take()] == [0x97, 0x97]
    assert await four.take() == []
    assert not four.closed
    bridge = await house.bridge()
    (got,) = forwarded(await bridge.take())
    await bridge.send(PubAck(got.packet_id))
    assert await four.take() == [PubAck(1)]


async def test_a_bridge_that_takes_its_own_session_over_gets_everything_again(house: House) -> None:
    await house.bridge()
    phone = await house.client("user1", version=4)
    phone.put(message(1))
    await house.rest()
    bridge = await house.bridge()
    (got,) = forwarded(await bridge.take())
    await bridge.send(PubAck(got.packet_id))
    assert await phone.take() == [PubAck(1)]


async def test_a_chat_sticks_to_its_bridge(house: House) -> None:
    bridges = [await house.bridge(f"svc-bridge:{number}") for number in range(3)]
    phones = [await house.client("user1"), await house.client("user2")]
    for number in range(1, 5):
        for phone, user in zip(phones, ("user1", "user2"), strict=True):
            phone.put(message(number, topic=f"chats/{CHAT}/send/{user}"))
    counts = [len(forwarded(await bridge.take())) for bridge in bridges]
    assert sorted(counts) == [0, 0, 8]


# ---- bounds


async def test_more_unanswered_than_the_receive_maximum_ends_5(build: BuildHouse) -> None:
    house = build(receive_maximum=3)
    await house.join("user1")
    await house.bridge()
    phone = await house.client("user1")
    answers = await phone.send(*(message(number) for number in range(1, 5)))
    assert isinstance(answers[-1], Disconnect)
    assert answers[-1].reason == 0x93
    assert phone.closed


async def test_3_1_1_is_read_no_more_until_half_is_answered(build: BuildHouse) -> None:
    house = build(receive_maximum=4)
    await house.join("user1")
    bridge, phone = await house.bridge(), await house.client("user1", version=4, keep_alive=10)
    phone.put(*(message(number) for number in range(1, 7)))
    got = forwarded(await bridge.take())
    assert len(got) == 6
    assert phone.paused
    house.tick(100)
    assert not phone.closed, "its silence is our doing"
    for packet in got[:3]:
        await bridge.send(PubAck(packet.packet_id))
    assert phone.paused
    await bridge.send(PubAck(got[3].packet_id))
    assert not phone.paused
    house.tick(14)
    assert not phone.closed
    house.tick(2)
    assert phone.closed, "its silence is its own again"


async def test_publishers_are_read_no_more_while_the_bridge_is_behind(build: BuildHouse) -> None:
    house = build(ingest_queue=4)
    await house.join("user1")
    bridge, phone = await house.bridge(window=1), await house.client("user1")
    phone.put(*(message(number) for number in range(1, 6)))
    await house.rest()
    assert not phone.paused
    phone.put(message(6))
    await house.rest()
    assert phone.paused
    answered = 0
    while phone.paused:
        (packet,) = forwarded(await bridge.take())
        answered += 1
        bridge.put(PubAck(packet.packet_id))
        assert answered < 6
    assert len(bridge.connection.session.queue) <= 2
    assert await phone.take() == [PubAck(number) for number in range(1, answered + 1)]


async def test_publishers_are_read_again_when_the_bridge_that_was_behind_is_lost(build: BuildHouse) -> None:
    house = build(ingest_queue=1)
    await house.join("user1")
    bridge, phone = await house.bridge(window=1), await house.client("user1")
    phone.put(*(message(number) for number in range(1, 5)))
    await house.rest()
    assert phone.paused
    bridge.vanish()
    assert not phone.paused
    assert len(await phone.take()) == 4


async def test_one_publishers_end_leaves_the_others_acknowledgements(house: House) -> None:
    bridge, gone, stays = await house.bridge(), await house.client("user1"), await house.client("user2")
    gone.put(message(1))
    stays.put(message(1, topic=f"chats/{CHAT}/send/user2"))
    got = forwarded(await bridge.take())
    gone.vanish()
    await bridge.send(*(PubAck(packet.packet_id) for packet in got))
    assert await stays.take() == [PubAck(1)]


async def test_a_publish_without_rights_never_reaches_the_bridge(house: House) -> None:
    bridge, five, four = await house.bridge(), await house.client("user3"), await house.client("user4", version=4)
    (answer,) = await five.send(message(1, topic=f"chats/{CHAT}/send/user3"))
    assert reason_of(answer) == 0x87
    assert await four.subscribe("users/user4/inbox") == [1]
    answers = await four.send(message(1, b'{"id":"m1"}', topic=f"chats/{CHAT}/send/user4"))
    assert PubAck(1) in answers
    (reject,) = forwarded(answers)
    assert b'"m1"' in reject.payload
    assert b'"forbidden"' in reject.payload
    (answer,) = await five.send(message(2, topic=SEND))
    assert reason_of(answer) == 0x87
    assert forwarded(await bridge.take()) == []


async def test_who_is_invited_may_publish_at_once(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user3")
    topic = f"chats/{CHAT}/send/user3"
    await phone.send(message(1, topic=topic))
    await house.join("user3")
    assert await phone.send(message(2, topic=topic)) == []
    assert len(forwarded(await bridge.take())) == 1


async def test_while_rights_can_not_be_checked_nothing_is_taken(house: House) -> None:
    bridge, five, four = await house.bridge(), await house.client("user1"), await house.client("user2", version=4)
    house.chats.fails = True
    (answer,) = await five.send(message(1))
    assert reason_of(answer) == 0x97
    assert await four.send(message(1, topic=f"chats/{CHAT}/send/user2")) == []
    assert four.closed
    assert await five.send(message(0, qos=0)) == []
    assert forwarded(await bridge.take()) == []
    house.chats.fails = False
    assert await five.send(message(1, dup=True)) == []
    assert len(forwarded(await bridge.take())) == 1


async def test_packets_behind_one_that_is_being_decided_wait_in_order(house: House) -> None:
    bridge, phone = await house.bridge(), await house.client("user1")
    phone.put(*(message(number) for number in range(1, 4)))
    phone.put(message(4))
    assert [packet.payload for packet in forwarded(await bridge.take())] == [b"1", b"2", b"3", b"4"]


async def test_connack_of_a_service_has_its_larger_window(house: House) -> None:
    socket, answer = await house.dial("svc-bridge")
    assert isinstance(socket, Socket)
    assert isinstance(answer, ConnAck)
    assert answer.properties["receive_maximum"] == house.broker.core.limits.service_receive_maximum
