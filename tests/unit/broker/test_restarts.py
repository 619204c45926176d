"""A broker is killed, and another starts on what is on disk: what its clients find."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mqtt.packets import (
    Filter,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)
from mqtt.store import (
    Batch,
    EntryRecord,
    HeldRecord,
    MessageRecord,
    RetainedRecord,
    StoreUnusable,
    SubscriptionRecord,
    WillRecord,
)
from tests.unit.broker.conftest import CHAT, House
from tests.unit.broker.disk import STAYS, Site, as_stored, away, back, holdings, published, say, sub


@pytest.fixture
async def site() -> Site:
    made = Site()
    await made.start()
    return made


# ---- subscriptions and what waits


async def test_subscriptions_come_back_with_their_options(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    plain, loud = Filter("대화/+", 2, no_local=True), Filter("#", 1, retain_as_published=True)
    await kim.send(Subscribe(1, [plain], {"subscription_identifier": [7]}), Subscribe(2, [loud]))
    before = holdings(site.house)
    house = await site.crash()
    assert holdings(house) == before
    kim, _ = await back(house, "kim")
    kim.put(Publish("대화/1", b"own", 1, packet_id=1))
    await say(house, "대화/1", b"kept", retain=True)
    own, kept = published(await kim.take())
    assert (own.payload, own.properties) == (b"own", {})
    assert (kept.qos, kept.retain, kept.properties) == (1, True, {"subscription_identifier": [7]})


async def test_what_waits_comes_in_its_order_and_as_it_was(site: Site) -> None:
    await away(site.house, "kim", "a/#", qos=2)
    said: Properties = {
        "user_property": [("이름", "안녕 👋"), ("이름", "again")],
        "correlation_data": b"\x00\xff",
        "response_topic": "답",
        "content_type": "text/plain",
        "payload_format_indicator": 1,
        "message_expiry_interval": 100,
    }
    await say(site.house, "a/1", b"1", b"2", b"3")
    await say(site.house, "a/2", "끝".encode(), properties=said)
    house = await site.crash(down=60)
    _, packets = await back(house, "kim")
    got = published(packets)
    assert [packet.payload for packet in got] == [b"1", b"2", b"3", "끝".encode()]
    assert [packet.dup for packet in got] == [False] * 4
    assert got[3].properties == {**said, "message_expiry_interval": 40}


async def test_messages_expire_while_the_broker_is_down(site: Site) -> None:
    await away(site.house, "kim", "a")
    await say(site.house, "a", b"old", properties={"message_expiry_interval": 30})
    await say(site.house, "a", b"young", properties={"message_expiry_interval": 3000})
    house = await site.crash(down=31)
    kim, _ = await back(house, "kim")
    kim, packets = await back(house, "kim")
    assert [packet.payload for packet in published(packets)] == [b"young"]
    await kim.send(PubAck(published(packets)[0].packet_id))
    await site.rest()
    assert site.disk.bodies == 0


async def test_the_clock_of_the_wall_may_jump_back(site: Site) -> None:
    await away(site.house, "kim", "a")
    house = await site.crash(down=-100_000)
    site.pass_time(3500)
    await back(house, "kim")


# ---- what is under way


async def test_unacknowledged_qos_1_comes_again_under_its_packet_id(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    await sub(kim, "a")
    await say(site.house, "a", b"1", b"2", b"3")
    first, second, third = published(await kim.take())
    await kim.send(PubAck(second.packet_id))
    house = await site.crash()
    kim, packets = await back(house, "kim")
    again = [(packet.packet_id, packet.payload, packet.dup) for packet in published(packets)]
    assert again == [(first.packet_id, b"1", True), (third.packet_id, b"3", True)]
    await say(house, "a", b"4")
    (fourth,) = published(await kim.take())
    assert fourth.packet_id not in {first.packet_id, third.packet_id}


async def test_qos_2_before_pubrec_is_the_publish_and_after_it_the_pubrel_only(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    await sub(kim, "a", qos=2)
    await say(site.house, "a", b"1", b"2", qos=2)
    one, two = published(await kim.take())
    assert await kim.send(PubRec(one.packet_id)) == [PubRel(one.packet_id)]
    house = await site.crash()
    kim, packets = await back(house, "kim")
    assert packets == [Publish("a", b"2", 2, dup=True, packet_id=two.packet_id), PubRel(one.packet_id)]
    await kim.send(PubComp(one.packet_id))
    assert await kim.send(PubRec(two.packet_id)) == [PubRel(two.packet_id)]
    await kim.send(PubComp(two.packet_id))
    assert (site.disk.bodies, site.disk.records.counts()[EntryRecord]) == (0, 0)


async def test_a_publish_that_never_left_is_sent_with_the_packet_id_that_is_on_disk(site: Site) -> None:
    """Killed between the commit and the sending: DUP says "perhaps", which is all that is known."""
    kim = await site.house.client("kim", properties=STAYS)
    await sub(kim, "a", qos=2)
    site.disk.gated = True
    speaker = await site.house.client("speaker")
    speaker.put(Publish("a", b"1", 2, packet_id=1))
    await site.rest()
    site.disk.commit()  # and nobody gets to hear of it
    house = await site.crash()
    site.disk.gated = False
    _, packets = await back(house, "kim")
    assert packets == [Publish("a", b"1", 2, dup=True, packet_id=1)]


async def test_a_packet_id_that_the_client_may_hold_is_not_used_for_another_message(site: Site) -> None:
    """Its message was withdrawn (a right ended), the client still has it as QoS 2: PUBREL first."""
    kim = await site.house.client("kim", properties=STAYS)
    await sub(kim, "a", qos=2)
    await say(site.house, "a", b"secret", qos=2)
    (sent,) = published(await kim.take())
    kim.connection.session.purge(lambda message: message.topic == "a")
    await site.rest()
    assert site.disk.bodies == 0
    before = holdings(site.house)
    house = await site.crash()
    assert holdings(house) == before
    kim, packets = await back(house, "kim")
    assert packets == [PubRel(sent.packet_id)]
    await say(house, "a", b"next", qos=2)
    (fresh,) = published(await kim.take())
    assert (fresh.payload, fresh.packet_id != sent.packet_id) == (b"next", True)
    await kim.send(PubComp(sent.packet_id))
    assert site.disk.records.counts()[EntryRecord] == 1


async def test_a_client_may_take_less_at_once_than_before(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    await sub(kim, "a")
    await say(site.house, "a", b"1", b"2", b"3")
    house = await site.crash()
    kim, _ = await house.dial("kim", clean=False, properties={**STAYS, "receive_maximum": 1})
    for expected in (b"1", b"2", b"3"):
        (packet,) = published(await kim.take())
        assert (packet.payload, packet.dup) == (expected, True)
        kim.put(PubAck(packet.packet_id))


# ---- what clients publish


async def test_pubrels_come_in_the_order_of_the_pubrecs_after_a_restart_too(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    await sub(kim, "a", qos=2)
    await say(site.house, "a", b"1", b"2", b"3", qos=2)
    one, two, three = (packet.packet_id for packet in published(await kim.take()))
    order = [three, one, two]
    for packet_id in order:
        assert await kim.send(PubRec(packet_id)) == [PubRel(packet_id)]
    kim, packets = await back(await site.crash(), "kim")
    assert packets == [PubRel(packet_id) for packet_id in order]


async def test_a_qos_2_publish_that_is_repeated_after_a_restart_is_not_delivered_twice(site: Site) -> None:
    await away(site.house, "lee", "a", qos=2)
    kim = await site.house.client("kim", properties=STAYS)
    assert await kim.send(Publish("a", b"1", 2, packet_id=9)) == [PubRec(9)]
    house = await site.crash()
    kim, _ = await back(house, "kim")
    assert await kim.send(Publish("a", b"1", 2, dup=True, packet_id=9)) == [PubRec(9)]
    assert await kim.send(PubRel(9)) == [PubComp(9)]
    assert await kim.send(PubRel(9)) == [PubComp(9, 0x92)]
    _, packets = await back(house, "lee")
    assert [packet.payload for packet in published(packets)] == [b"1"]
    assert site.disk.records.counts()[HeldRecord] == 0


async def test_a_publish_that_was_not_acknowledged_may_be_sent_again(site: Site) -> None:
    await away(site.house, "lee", "a", qos=2)
    kim = await site.house.client("kim", properties=STAYS)
    site.disk.gated = True
    kim.put(Publish("a", b"1", 2, packet_id=9))
    assert await kim.take() == []
    house = await site.crash()
    site.disk.gated = False
    kim, _ = await back(house, "kim")
    assert await kim.send(Publish("a", b"1", 2, dup=True, packet_id=9)) == [PubRec(9)]
    _, packets = await back(house, "lee")
    assert [packet.payload for packet in published(packets)] == [b"1"]


# ---- retained messages


async def test_retained_messages_are_replaced_cleared_and_expire(site: Site) -> None:
    await say(site.house, "온도", b"20", b"21", retain=True)
    await say(site.house, "gone", b"1", b"", retain=True)
    await say(site.house, "brief", b"1", retain=True, properties={"message_expiry_interval": 10})
    site.house.broker.send("presence/kim", b"online", retain=True)  # about this process
    await site.rest()
    assert site.disk.bodies == 2
    house = await site.crash(down=11)
    kim = await house.client("kim")
    await sub(kim, "#")
    got = [(packet.topic, packet.payload, packet.retain) for packet in published(await kim.take())]
    assert got == [("온도", b"21", True)]
    site.pass_time(1)
    await site.rest()
    assert (site.disk.bodies, site.disk.records.counts()[RetainedRecord]) == (1, 1)


async def test_the_brokers_own_takes_the_place_of_a_clients(site: Site) -> None:
    await say(site.house, "state", b"client", retain=True)
    site.house.broker.send("state", b"broker", retain=True)
    await site.rest()
    assert (site.disk.bodies, site.disk.records.counts()[RetainedRecord]) == (0, 0)


async def test_fewer_retained_messages_are_allowed_than_there_are(site: Site) -> None:
    for number in range(5):
        await say(site.house, f"t/{number}", b"1", retain=True)
    site.limits = {"retained": 3}
    house = await site.crash()
    await site.rest()
    assert house.broker.core.retained.count == 3
    assert house.broker.core.stats.dropped["retained_full"] == 2
    assert (site.disk.bodies, site.disk.records.counts()[RetainedRecord]) == (3, 3)


# ---- shared subscriptions


async def test_what_waits_for_one_member_of_a_group_goes_to_another(site: Site) -> None:
    for name in ("one", "two"):
        await away(site.house, name, "$share/모임/a/#")
    await say(site.house, "a/1", b"1")
    house = await site.crash()
    (holder,) = (name for name, session in house.broker.core.sessions.items() if session.queue)
    group = house.broker.core.index.group("$share/모임/a/#")
    assert group is not None
    assert house.broker.core.sessions[holder].queue[0].share is group
    other = "two" if holder == "one" else "one"
    there, packets = await back(house, other)
    assert packets == []
    holding, packets = await back(house, holder)
    assert [packet.payload for packet in published(packets)] == [b"1"]
    holding.vanish()
    assert await there.payloads() == [b"1"]


# ---- rights, and the bridge


async def test_the_rights_of_a_session_are_asked_about_again(house: House) -> None:
    """What was taken away while the broker was down, nobody has told it."""
    site = Site(house.broker.core.policy)
    await site.start()
    topic = f"chats/{CHAT}/messages"
    kim = await site.house.client("user1:phone", properties=STAYS)
    await sub(kim, topic)
    kim.vanish()
    bridge = await site.house.client("svc-bridge")
    assert await bridge.send(Publish(topic, b"secret", 1, packet_id=1)) == [PubAck(1)]
    assert site.disk.bodies == 1
    await house.expel("user1")
    after = await site.crash()
    kim, packets = await back(after, "user1:phone")
    assert packets == []
    assert kim.connection.session.subscriptions == {}
    await site.rest()
    assert (site.disk.bodies, site.disk.records.counts()[SubscriptionRecord]) == (0, 0)


async def test_a_devices_plain_resend_has_its_name_also_after_a_restart(house: House) -> None:
    """Plain bytes have no id: by the name that the broker gives them the bridge knows a repeat."""
    await house.add_device("dev-1", "user1")
    await house.join("dev-1")
    site = Site(house.broker.core.policy, ingest=True)
    await site.start()
    reading = Publish(f"chats/{CHAT}/send/dev-1", b"21.5", 1, packet_id=3, properties={"content_type": "text/plain"})
    bridge = await site.house.bridge()
    device = await site.house.client("dev-1", properties=STAYS)
    site.disk.gated = True
    device.put(reading)
    assert await bridge.take() == []  # its name is not on disk yet
    await site.commit()
    (first,) = published(await bridge.take())
    after = await site.crash()
    site.disk.gated = False
    bridge = await after.bridge()
    device, _ = await back(after, "dev-1")
    device.put(replace(reading, dup=True), replace(reading, payload=b"22", packet_id=4))
    again, other = published(await bridge.take())
    assert again.properties == first.properties
    assert other.properties != first.properties


# ---- records that contradict each other


@pytest.mark.parametrize(
    "record",
    [
        EntryRecord(7, 99, None, 1, 1, False, (), ""),
        EntryRecord(7, 99, 98, 1, 1, False, (), ""),
        EntryRecord(7, 99, None, 1, 9, False, (), ""),
        HeldRecord(99, 1),
        WillRecord(99, False, None, "t", b"", 0, False, {}),
        RetainedRecord("t", 98),
    ],
    ids=lambda record: type(record).__name__,
)
async def test_what_belongs_to_nothing_is_not_passed_over(site: Site, record: EntryRecord) -> None:
    site.disk.records.write(Batch({type(record): [record]}), lambda _: None)
    with pytest.raises(StoreUnusable, match=f"contradicts itself: {type(record).__name__}"):
        await site.crash()


async def test_asking_changes_nothing(site: Site) -> None:
    await away(site.house, "kim", "a", qos=2)
    await say(site.house, "a", b"1", qos=2)
    assert await as_stored(site) == holdings(site.house)
    assert site.disk.records.counts()[MessageRecord] == 1
    answer = await (await site.house.client("lee", properties=STAYS)).send(Subscribe(1, [Filter("b", 1)]))
    assert answer == [SubAck(1, [1])]
    assert await as_stored(site) != {}
