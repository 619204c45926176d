"""What the broker tells of itself: delivery marks, who came and went, the presence table."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import msgspec
import pytest

from broker import marks, presence_table
from broker.presence_table import PresenceTable
from chat.errors import Unavailable
from mqtt.messages import Message
from mqtt.packets import Disconnect, Packet, PubAck, Publish
from tests.unit.broker.conftest import CHAT, House, Socket

MESSAGES = f"chats/{CHAT}/messages"


def marked(seq: object, number: int = 1) -> Publish:
    return Publish(
        MESSAGES, b"event", 1, packet_id=number, properties={"user_property": [("mark", str(seq)), ("a", "b")]}
    )


def publishes(packets: list[Packet]) -> list[Publish]:
    return [packet for packet in packets if isinstance(packet, Publish)]


async def events(listener: Socket) -> list[tuple[str, dict[str, object]]]:
    """What the broker told services since."""
    got = publishes(await listener.take())
    for packet in got:
        listener.put(PubAck(packet.packet_id))
    return [(packet.topic.removeprefix("$events/"), msgspec.json.decode(packet.payload)) for packet in got]


# ---- delivery marks


async def test_pubacks_become_delivered_marks_one_row_per_member_with_the_highest(house: House) -> None:
    bridge, listener = await house.bridge(), await house.client("svc-demo")
    await listener.subscribe("$events/delivered")
    members = [await house.client(name, version=4) for name in ("user1:a", "user1:b", "user2")]
    for member in members:
        await member.subscribe(MESSAGES)
    for seq in (1, 2, 3):
        bridge.put(marked(seq, seq))
    for member, count in zip(members, (1, 3, 2), strict=True):
        got = publishes(await member.take())
        member.put(*(PubAck(packet.packet_id) for packet in got[:count]))
    house.broker.marks.flush()
    ((name, told),) = await events(listener)
    assert name == "delivered"
    assert sorted(told["marks"]) == [[CHAT, "user1", 3], [CHAT, "user2", 2]]  # type: ignore[call-overload]
    house.broker.marks.flush()
    assert await events(listener) == []


async def test_marks_of_a_large_chat_come_in_few_packets(house: House) -> None:
    listener = await house.client("svc-demo")
    await listener.subscribe("$events/delivered")
    for seq in (1, 2):
        for number in range(marks.BATCH + 1):
            house.broker.marks.note(Message(MESSAGES, b"", 1, mark=seq), f"user{number}")
    house.broker.marks.flush()
    told = [len(one["marks"]) for _, one in await events(listener)]  # type: ignore[arg-type]
    assert told == [marks.BATCH, 1]


async def test_marks_are_told_by_themselves_after_a_moment(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "INTERVAL", 0.0)
    bridge, member = await house.bridge(), await house.client("user1")
    await bridge.subscribe("$events/delivered")
    await member.subscribe(MESSAGES)
    bridge.put(marked(5))
    await member.payloads()
    assert [told["marks"] for name, told in await events(bridge) if name == "delivered"] == [[[CHAT, "user1", 5]]]


async def test_a_mark_is_taken_off_before_delivery(house: House) -> None:
    bridge, member = await house.bridge(), await house.client("user1")
    await member.subscribe(MESSAGES)
    bridge.put(marked(1))
    (got,) = publishes(await member.take())
    assert got.properties == {"user_property": [("a", "b")]}


@pytest.mark.parametrize("mark", ["x", "-1", "", "1.5"])
async def test_a_mark_that_is_no_number_is_nothing(house: House, mark: str) -> None:
    bridge, member = await house.bridge(), await house.client("user1")
    await bridge.subscribe("$events/delivered")
    await member.subscribe(MESSAGES)
    bridge.put(marked(mark))
    assert await member.payloads() == [b"event"]
    house.broker.marks.flush()
    assert await events(bridge) == []


async def test_members_can_not_mark(house: House) -> None:
    one, two, listener = await house.client("user1"), await house.client("user2"), await house.client("svc-demo")
    await listener.subscribe("$events/delivered")
    topic = f"chats/{CHAT}/typing/user1"
    await two.subscribe(f"chats/{CHAT}/typing/+")
    one.put(Publish(topic, b"x", 1, packet_id=1, properties={"user_property": [("mark", "99"), ("ingest", "i")]}))
    (got,) = publishes(await two.take())
    assert got.properties == {}
    two.put(PubAck(got.packet_id))
    house.broker.marks.flush()
    assert await events(listener) == []


async def test_a_refusing_puback_and_qos_0_are_no_delivery(house: House) -> None:
    bridge, one, two = await house.bridge(), await house.client("user1"), await house.client("user2")
    await bridge.subscribe("$events/delivered")
    await one.subscribe(MESSAGES)
    await two.subscribe(MESSAGES, qos=0)
    await bridge.take()
    bridge.put(marked(1))
    (got,) = publishes(await one.take())
    one.put(PubAck(got.packet_id, 0x80))
    house.broker.marks.flush()
    assert publishes(await bridge.take()) == []


# ---- presence


class Table:
    """A presence table that can be away."""

    def __init__(self) -> None:
        self.online: dict[str, int] = {}
        self.away = False
        self.whole = True

    async def replace(self, _broker: str, online: Mapping[str, int]) -> None:
        self.check()
        self.online, self.whole = dict(online), True

    async def update(self, _broker: str, changes: Mapping[str, int]) -> None:
        self.check()
        self.online |= changes

    async def heartbeat(self, _broker: str) -> bool:
        self.check()
        return self.whole

    def check(self) -> None:
        if self.away:
            raise Unavailable("away")


async def test_coming_and_going_is_told_to_services_and_to_those_who_share_a_chat(house: House) -> None:
    services, friend = await house.client("svc-demo"), await house.client("user2")
    await services.subscribe("$events/connected", "$events/disconnected")
    assert await friend.subscribe("users/user1/presence", qos=0) == [0]
    phone = await house.client("user1:phone")
    tablet = await house.client("user1:tablet")
    phone.vanish()
    tablet.put(Disconnect())
    told = await events(services)
    assert [(name, event["client_id"], event["online"]) for name, event in told] == [
        ("connected", "user1:phone", 1),
        ("connected", "user1:tablet", 2),
        ("disconnected", "user1:phone", 1),
        ("disconnected", "user1:tablet", 0),
    ]
    assert {event["principal"] for _, event in told} == {"user1"}
    assert datetime.fromisoformat(str(told[0][1]["at"])).tzinfo is not None
    assert await states(friend) == [("user1", True)]
    house.tick(1.0)
    assert await states(friend) == [], "they may be back in a moment"
    house.tick(1.1)
    (left,) = publishes(await friend.take())
    told_at = msgspec.json.decode(left.payload)
    assert (told_at["online"], told_at["at"]) == (False, told[-1][1]["at"]), "since when, not since it is told"
    late = await house.client("user2:late")
    await late.subscribe("users/user1/presence")
    (kept,) = publishes(await late.take())
    assert kept.retain
    assert msgspec.json.decode(kept.payload)["online"] is False


async def states(client: Socket) -> list[tuple[str, bool]]:
    """Who was told to be online or not, in order."""
    shown = [packet for packet in publishes(await client.take()) if packet.topic.endswith("/presence")]
    return [(packet.topic.split("/")[1], msgspec.json.decode(packet.payload)["online"]) for packet in shown]


async def test_a_connection_that_comes_back_at_once_was_never_away(house: House) -> None:
    services, friend = await house.client("svc-demo"), await house.client("user2")
    await services.subscribe("$events/connected", "$events/disconnected")
    await friend.subscribe("users/user1/presence", qos=0)
    for _ in range(50):
        (await house.client("user1")).vanish()
        house.tick(0.5)
    assert await states(friend) == [("user1", True)]
    assert len(await events(services)) == 100, "services are told of each"
    house.tick(2.1)
    assert await states(friend) == [("user1", False)]
    assert house.broker.presence._told == {"user2"}


async def test_who_came_and_went_before_anybody_was_told_is_not_told(house: House) -> None:
    house.broker.core.limits = replace(house.broker.core.limits, presence_rate=1)
    friend = await house.client("user2")  # takes the one of this second
    await friend.subscribe("users/user1/presence", qos=0)
    (await house.client("user1")).vanish()
    for _ in range(5):
        house.tick(1.0)
    assert await states(friend) == []
    assert house.broker.presence.waiting == 0


async def test_a_storm_is_told_at_a_bounded_rate_and_ends_with_the_truth(house: House) -> None:
    house.broker.core.limits = replace(house.broker.core.limits, presence_rate=10)
    shown: list[tuple[str, bool]] = []
    presence = house.broker.presence
    publish = presence._publish

    def counting(topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        if topic.endswith("/presence"):
            shown.append((topic.split("/")[1], msgspec.json.decode(payload)["online"]))
        publish(topic, payload, qos=qos, retain=retain)

    presence._publish = counting
    house.tick(1.0)
    people = [f"p{number}" for number in range(100)]
    for _ in range(3):  # three waves of everybody
        for user in people:
            presence.connected(user, user)
        for user in people:
            presence.disconnected(user, user)
    for user in people[:60]:
        presence.connected(user, user)
    before = len(shown)
    assert before <= 10
    for _ in range(20):
        house.tick(1.0)
        assert len(shown) - before <= 10
        before = len(shown)
    assert presence.waiting == 0
    assert len(shown) <= 60 + 2 * 10, "each of them once, not once per wave"
    truth = dict(shown)
    assert {user for user, online in truth.items() if online} == set(people[:60])


async def test_a_take_over_leaves_one_connection(house: House) -> None:
    await house.client("user1")
    await house.client("user1")
    assert dict(house.broker.presence.online) == {"user1": 1}


async def test_services_are_nobodys_company(house: House) -> None:
    await house.bridge()
    assert not house.broker.presence.online


async def test_the_presence_table_is_made_whole_after_a_loss(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_table, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(presence_table, "HEARTBEAT_SECONDS", 0.0)
    store = Table()
    table = PresenceTable(store, "broker1", house.broker.presence.online)  # type: ignore[arg-type]
    house.broker.presence.sink = table
    task = asyncio.ensure_future(table.run())
    one = await house.client("user1")
    await house.rest()
    assert (store.online, table.well) == ({"user1": 1}, True)
    store.away = True
    await house.rest()
    await house.client("user2")
    one.vanish()
    await house.rest()
    assert not table.well
    store.away, store.online = False, {}
    await house.rest()
    assert (store.online, table.well) == ({"user2": 1}, True)
    store.whole, store.online = False, {}
    await house.rest()
    assert store.online == {"user2": 1}
    task.cancel()
    await table.forget()
    assert store.online == {}
    store.away = True
    await table.forget()
