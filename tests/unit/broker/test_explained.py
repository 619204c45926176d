"""Why something was refused: reason strings and stable codes, within what the client takes and wants."""

from __future__ import annotations

import pytest

from broker.broker import Broker
from broker.limits import Limits
from broker.policy import OpenPolicy
from chat.errors import Forbidden, Unavailable
from mqtt.codec import encode
from mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Properties,
    PubAck,
    Publish,
    PubRec,
    SubAck,
    Subscribe,
    Will,
)
from tests.unit.broker.conftest import CHAT, Clock, House, Socket

SEND = f"chats/{CHAT}/send"
NOT_THEIRS = f"{SEND}/user3"


def said(code: str, reason: str) -> Properties:
    return {"reason_string": reason, "user_property": [("code", code)]}


ACKS = pytest.mark.parametrize(("qos", "answer"), [(1, PubAck), (2, PubRec)])


@ACKS
async def test_a_refusal_of_the_brokers_own_has_the_code_that_the_inbox_has(
    house: House, qos: int, answer: type[PubAck | PubRec]
) -> None:
    phone = await house.client("user3")
    (refused,) = await phone.send(Publish(NOT_THEIRS, b"x", qos, packet_id=1))
    assert refused == answer(1, 0x87, said(Forbidden.code, "not authorized to publish on this topic"))


@ACKS
async def test_while_rights_can_not_be_checked_the_code_is_unavailable(
    house: House, qos: int, answer: type[PubAck | PubRec]
) -> None:
    phone = await house.client("user1")
    house.chats.fails = True
    (refused,) = await phone.send(Publish(f"{SEND}/user1", b"x", qos, packet_id=1))
    assert refused == answer(1, 0x97, said(Unavailable.code, "unavailable: try again"))
    (suback,) = await phone.send(Subscribe(9, [Filter(f"chats/{CHAT}/messages", 1)]))
    assert suback == SubAck(9, [0x80], said(Unavailable.code, "rights can't be checked now: try again"))


@ACKS
async def test_without_a_bridge_the_code_is_unavailable(house: House, qos: int, answer: type[PubAck | PubRec]) -> None:
    phone = await house.client("user1")
    (refused,) = await phone.send(Publish(f"{SEND}/user1", b"x", qos, packet_id=1))
    assert refused == answer(1, 0x97, said(Unavailable.code, "unavailable: no bridge"))


async def test_who_wants_no_explanation_gets_none_but_in_connack_and_disconnect(house: House) -> None:
    """[MQTT-3.1.2-29]"""
    phone = await house.client("user3", properties={"request_problem_information": 0})
    answers = await phone.send(
        Publish(NOT_THEIRS, b"x", 1, packet_id=1),
        Publish(NOT_THEIRS, b"x", 2, packet_id=2),
        Subscribe(9, [Filter(f"chats/{CHAT}/messages", 1)]),
        Auth(),
    )
    assert answers[:3] == [PubAck(1, 0x87), PubRec(2, 0x87), SubAck(9, [0x87])]
    assert isinstance(answers[3], Disconnect)
    assert answers[3].properties["reason_string"]


# ---- within the client's maximum packet size: all, the reason string alone, the bare reason


@ACKS
async def test_what_explains_gives_way_to_the_clients_maximum_packet_size(
    house: House, qos: int, answer: type[PubAck | PubRec]
) -> None:
    """[MQTT-3.4.2-2, -3, 3.5.2-2, -3]"""
    all_of_it = said(Forbidden.code, "not authorized to publish on this topic")
    text_only: Properties = {"reason_string": all_of_it["reason_string"]}
    whole, shorter = (len(encode(answer(1, 0x87, each), 5)) for each in (all_of_it, text_only))
    for most, left in ((whole, all_of_it), (whole - 1, text_only), (shorter, text_only), (shorter - 1, {})):
        phone = await house.client("user3", properties={"maximum_packet_size": most})
        assert await phone.send(Publish(NOT_THEIRS, b"x", qos, packet_id=1)) == [answer(1, 0x87, left)]


async def test_a_disconnects_reason_string_gives_way(house: House) -> None:
    """[MQTT-3.14.2-3]"""
    why: Properties = {"reason_string": "nothing heard for one and a half keep alives"}
    whole = len(encode(Disconnect(0x8D, why), 5))
    for most, left in ((whole, why), (whole - 1, {})):
        phone = await house.client("user1", keep_alive=10, properties={"maximum_packet_size": most})
        house.tick(16)
        assert await phone.one(Disconnect) == Disconnect(0x8D, left)


async def test_a_refused_connacks_reason_string_gives_way(house: House) -> None:
    """[MQTT-3.2.2-19]"""
    for most, left in ((1000, {"reason_string"}), (20, set())):
        _, answer = await house.dial("user1", password=b"wrong", properties={"maximum_packet_size": most})
        assert isinstance(answer, ConnAck)
        assert answer.reason == 0x86
        assert set(answer.properties) == left


async def test_a_subacks_reason_string_gives_way_and_one_that_is_too_large_is_not_sent(house: House) -> None:
    """[MQTT-3.9.2-1, 3.1.2-24, -25]"""
    phone = await house.client("user3", properties={"maximum_packet_size": 20})
    refused = Filter(f"chats/{CHAT}/messages", 1)
    assert await phone.send(Subscribe(9, [refused] * 10)) == [SubAck(9, [0x87] * 10)]
    assert await phone.send(Subscribe(9, [refused] * 20)) == []
    assert house.broker.core.stats.dropped["too_large_for_client"] == 1


# ---- only reasons that the packet may carry: whatever is read here was checked against the standard's tables


async def reasons_of(phone: Socket, *packets: Packet) -> list[int]:
    found: list[int] = []
    for answer in await phone.send(*packets):
        found += answer.reasons if isinstance(answer, SubAck) else [answer.reason]  # type: ignore[union-attr]
    return found


async def test_every_refusal_has_a_reason_of_its_packet(house: House) -> None:
    """[MQTT-3.2.2-8, 3.4.2-1, 3.5.2-1, 3.9.3-2, 3.14.2-1]"""
    phone = await house.client("user1")
    publishes = [Publish(NOT_THEIRS, b"x", qos, packet_id=qos) for qos in (1, 2)]
    assert await reasons_of(phone, *publishes) == [0x87, 0x87]
    text: Properties = {"payload_format_indicator": 1}
    typing = f"chats/{CHAT}/typing/user1"
    assert await reasons_of(phone, Publish(typing, b"\xff", 1, packet_id=3, properties=text)) == [0x99]
    assert await reasons_of(phone, Publish(typing, b"x", 1, packet_id=4)) == [0x10]
    assert await reasons_of(phone, Subscribe(9, [Filter("#"), Filter("a/#/b"), Filter("$share/g")])) == [
        0x87,
        0x8F,
        0x8F,
    ]
    house.chats.fails = True
    assert await reasons_of(phone, Publish(f"{SEND}/user1", b"x", 1, packet_id=5)) == [0x97]
    house.chats.fails = False
    assert await reasons_of(phone, Auth()) == [0x82]


@pytest.mark.parametrize(
    ("connect", "reason"),
    [
        (Connect("user1", username="user1", password=b"no"), 0x86),
        (Connect("user2", username="user1", password=b"pw"), 0x85),
        (Connect("user1", username="user1", password=b"pw", properties={"authentication_method": "m"}), 0x8C),
        (Connect("user1", username="user1", password=b"pw", will=Will(NOT_THEIRS, b"")), 0x87),
        (Connect("user1", username="user1", password=b"pw", will=Will("$SYS/broker/uptime", b"")), 0x87),
        (Connect("user1", username="user1", password=b"pw", will=Will("a/" * 40, b"")), 0x90),
        (
            Connect(
                "user1",
                username="user1",
                password=b"pw",
                will=Will("a", b"\xff", properties={"payload_format_indicator": 1}),
            ),
            0x99,
        ),
    ],
)
async def test_a_refused_connect_gets_a_reason_of_a_connack_and_is_closed(
    house: House, connect: Connect, reason: int
) -> None:
    """[MQTT-3.2.2-8, 3.1.3-8]"""
    socket = Socket(house, 5)
    (answer,) = await socket.send(connect)
    assert isinstance(answer, ConnAck)
    assert answer.reason == reason
    assert answer.properties["reason_string"]
    assert socket.closed
    assert not house.broker.core.connections


async def test_no_will_on_the_brokers_own_topics_where_everything_else_is_allowed() -> None:
    broker = Broker(OpenPolicy(), limits=Limits(), clock=Clock())
    house = House(None, None, None, None, broker.core.clock, broker)  # type: ignore[arg-type]
    for topic in ("$SYS/broker/uptime", "$share/g/a"):
        _, answer = await house.dial("c", will=Will(topic, b""))
        assert isinstance(answer, ConnAck)
        assert answer.reason == 0x87


# ---- 3.1.1


async def test_a_fault_that_passes_closes_a_3_1_1_connection(house: House) -> None:
    """3.1.1 [MQTT-4.8.0-1]: there is no answer that would say it; the client tries again on a new connection."""
    phone = await house.client("user1", version=4)
    house.chats.fails = True
    assert await phone.send(Publish(f"{SEND}/user1", b"x", 1, packet_id=1)) == []
    assert phone.closed


async def test_a_qos_0_publish_that_nobody_can_decide_on_is_dropped_and_counted(house: House) -> None:
    phone = await house.client("user1", version=4)
    house.chats.fails = True
    assert await phone.send(Publish(f"{SEND}/user1", b"x", 0)) == []
    assert not phone.closed
    assert house.broker.core.stats.dropped["undecided_qos0"] == 1
