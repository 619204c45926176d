from __future__ import annotations

import asyncio

import pytest

from broker import loop_lag
from broker.broker import Broker
from broker.limits import Limits
from broker.marks import WATCH_SECONDS, WATCHED
from broker.metrics import registry
from broker.policy import OpenPolicy
from broker.stats import SAMPLE, SECONDS, Histogram, Stats
from mqtt.packets import Filter, PubAck, Publish, Subscribe
from tests.unit.broker.conftest import BuildHouse, Clock, House, Socket

UPTIME = "$SYS/broker/uptime"


async def tree(client: Socket) -> dict[str, str]:
    """What came below `$SYS`."""
    packets = [packet for packet in await client.take() if isinstance(packet, Publish)]
    assert all(packet.qos == 0 for packet in packets)
    return {packet.topic.removeprefix("$SYS/broker/"): packet.payload.decode() for packet in packets}


# ---- $SYS


async def test_a_service_gets_the_whole_tree_at_once_and_then_regularly(house: House) -> None:
    phone = await house.client("user1", properties={"session_expiry_interval": 90})
    await phone.subscribe("users/user1/inbox")
    phone.vanish()
    service = await house.client("svc-api")
    assert await service.subscribe("$SYS/#") == [1]
    packets = [packet for packet in await service.take() if isinstance(packet, Publish)]
    assert all(packet.retain for packet in packets)
    found = {packet.topic.removeprefix("$SYS/broker/"): packet.payload.decode() for packet in packets}
    assert found["clients/connected"] == "1"
    assert found["clients/disconnected"] == "1"
    assert found["clients/total"] == "2"
    assert found["subscriptions/count"] == "2"
    assert found["uptime"] == "0 seconds"
    assert found["version"].startswith("pabal ")
    assert int(found["bytes/received"]) > 0
    house.tick(9)
    assert await tree(service) == {}
    house.tick(1)
    later = await tree(service)
    assert later.keys() == found.keys()
    assert later["uptime"] == "10 seconds"
    house.tick(10)
    assert (await tree(service))["uptime"] == "20 seconds"


async def test_messages_are_counted_and_their_rate_is_averaged_over_a_minute(house: House) -> None:
    bridge = await house.bridge()
    phone = await house.client("user1")
    await phone.subscribe("chats/g-1/messages", qos=0)
    for _ in range(120):  # one a second for two minutes
        await bridge.send(Publish("chats/g-1/messages", b"x"))
        house.tick(1)
    values = house.broker.sys_topics.values()
    assert values["$SYS/broker/publish/messages/received"] == "120"
    assert values["$SYS/broker/publish/messages/sent"] == "120"
    assert 45 < float(values["$SYS/broker/load/publish/received/1min"]) < 60
    for _ in range(300):
        house.tick(1)
    assert float(house.broker.sys_topics.values()["$SYS/broker/load/publish/received/1min"]) < 1


@pytest.mark.parametrize("text", ["$SYS/#", "$SYS/broker/#", UPTIME, "$SYS/+/uptime", "$share/g/$SYS/#", "#", "+/#"])
async def test_users_and_devices_get_nothing_of_it(house: House, text: str) -> None:
    for name in ("user1", "dev-1"):
        client = await house.client(name)
        assert await client.subscribe(text) in ([0x87], [0x8F])
        house.tick(10)
        assert await tree(client) == {}


async def test_nobody_but_the_broker_publishes_it(house: House) -> None:
    service = await house.client("svc-api")
    await service.subscribe(UPTIME)
    await tree(service)
    phone = await house.client("user1")
    (answer,) = await phone.send(Publish(UPTIME, b"never", 1, packet_id=1))
    assert isinstance(answer, PubAck)
    assert answer.reason == 0x87
    assert await tree(service) == {}


async def test_retain_handling_counts_for_it_too(house: House) -> None:
    service = await house.client("svc-api")
    await service.send(Subscribe(1, [Filter(UPTIME, 1, retain_handling=2)]))
    assert await tree(service) == {}
    await service.send(Subscribe(2, [Filter(UPTIME, 1, retain_handling=1)]))
    assert await tree(service) == {}
    await service.subscribe(UPTIME)
    assert await tree(service) == {"uptime": "0 seconds"}
    assert house.broker.core.retained.count == 0


async def test_an_open_broker_shows_it_to_everybody(build: BuildHouse) -> None:
    house = build()
    house.broker = Broker(OpenPolicy(), limits=Limits(), clock=Clock(), sys_seconds=3)
    client = await house.client("anybody")
    assert await client.subscribe("$SYS/broker/clients/+") == [1]
    assert (await tree(client)).keys() == {"clients/connected", "clients/disconnected", "clients/total"}


# ---- times


async def test_one_publish_in_so_many_is_timed(house: House) -> None:
    stats = house.broker.core.stats
    bridge = await house.bridge()
    phone = await house.client("user1")
    await phone.subscribe("chats/g-1/messages")
    for number in range(3 * SAMPLE):
        bridge.put(Publish("chats/g-1/messages", b"x", 1, packet_id=number + 1))
        await phone.payloads()
    assert sum(stats.to_ack.counts) == 3
    assert sum(stats.to_deliver.counts) == 3


async def test_what_nobody_gets_is_acknowledged_and_not_delivered(house: House) -> None:
    stats = house.broker.core.stats
    bridge = await house.bridge()
    for number in range(SAMPLE):
        bridge.put(Publish("chats/g-1/messages", b"x", 1, packet_id=number + 1))
    await house.rest()
    assert sum(stats.to_ack.counts) == 1
    assert sum(stats.to_deliver.counts) == 0
    for _ in range(SAMPLE):
        bridge.put(Publish("chats/g-1/messages", b"x"))
    await house.rest()
    assert sum(stats.to_ack.counts) == 1


async def test_an_ingested_publish_is_timed_until_the_bridge_has_answered(house: House) -> None:
    stats = house.broker.core.stats
    bridge = await house.bridge()
    phone = await house.client("user1")
    for number in range(SAMPLE):
        phone.put(Publish("chats/g-1/send/user1", b"{}", 1, packet_id=number + 1))
    sent = [packet for packet in await bridge.take() if isinstance(packet, Publish)]
    assert sum(stats.to_ack.counts) == 0
    house.clock.now += 2
    await bridge.send(*(PubAck(packet.packet_id) for packet in sent))
    assert sum(stats.to_ack.counts) == 1
    assert stats.to_ack.total == pytest.approx(2.0)


def test_a_histogram_is_cumulative_and_has_no_upper_end() -> None:
    histogram = Histogram()
    for seconds in (0.0, SECONDS[0], 0.0002, 0.3, 99.0):
        histogram.observe(seconds)
    buckets = dict(histogram.cumulative())
    assert buckets["0.0001"] == 2
    assert buckets["0.00025"] == 3
    assert buckets["0.25"] == 3
    assert buckets["0.5"] == 4
    assert buckets["5.0"] == 4
    assert buckets["+Inf"] == 5
    assert histogram.total == pytest.approx(99.3003)


async def test_the_loop_is_seen_to_be_late() -> None:
    stats = Stats(0.0)
    watching = asyncio.create_task(loop_lag.watch(stats, every=0.001))
    while not sum(stats.loop_lag.counts):
        await asyncio.sleep(0.001)
    watching.cancel()
    assert stats.loop_lag.total >= 0


async def test_metrics_show_sessions_by_state_queues_and_times(house: House) -> None:
    bridge = await house.bridge()
    gone = await house.client("user1", properties={"session_expiry_interval": 90})
    await gone.subscribe("chats/g-1/messages")
    gone.vanish()
    for number in range(3):
        await bridge.send(Publish("chats/g-1/messages", b"x", 1, packet_id=number + 1))
    shown = registry(house.broker.core)

    def value(name: str, **labels: str) -> float | None:
        return shown.get_sample_value(name, labels)

    assert value("pabal_broker_sessions", state="connected") == 1
    assert value("pabal_broker_sessions", state="away") == 1
    assert value("pabal_broker_queued_messages") == 3
    assert value("pabal_broker_queue_depth_max") == 3
    assert value("pabal_broker_inflight_messages") == 0
    for name in ("publish_ack", "publish_deliver", "loop_lag"):
        assert value(f"pabal_broker_{name}_seconds_count") == 0
        assert value(f"pabal_broker_{name}_seconds_bucket", le="+Inf") == 0


def _event(seq: int, packet_id: int) -> Publish:
    return Publish(
        "chats/g-1/messages", b"x", 1, packet_id=packet_id, properties={"user_property": [("mark", str(seq))]}
    )


async def test_a_stored_event_is_timed_until_each_receiver_has_acknowledged_it(house: House) -> None:
    stats = house.broker.core.stats
    bridge = await house.bridge()
    phone, tablet = await house.client("user1"), await house.client("user2")
    for client in (phone, tablet):
        await client.subscribe("chats/g-1/messages")
    await bridge.send(_event(1, 1))
    for client, seconds in ((phone, 0.5), (tablet, 1.0)):
        house.clock.now += seconds
        delivered = await client.one(Publish)
        await client.send(PubAck(delivered.packet_id))
    assert sum(stats.to_receiver.counts) == 2
    assert stats.to_receiver.total == pytest.approx(0.5 + 1.5)


async def test_who_was_away_is_no_slow_receiver(house: House) -> None:
    stats = house.broker.core.stats
    bridge = await house.bridge()
    phone = await house.client("user1")
    await phone.subscribe("chats/g-1/messages")
    await bridge.send(_event(1, 1))
    house.clock.now += WATCH_SECONDS
    await phone.send(PubAck((await phone.one(Publish)).packet_id))
    assert sum(stats.to_receiver.counts) == 0


async def test_so_many_events_are_timed_at_a_time(house: House) -> None:
    stats = house.broker.core.stats
    bridge = await house.bridge()
    phone = await house.client("user1")
    await phone.subscribe("chats/g-1/messages")
    await bridge.send(*(_event(seq, seq) for seq in range(1, WATCHED + 11)))
    got = [packet for packet in await phone.take() if isinstance(packet, Publish)]
    await phone.send(*(PubAck(packet.packet_id) for packet in got))
    assert len(got) == WATCHED + 10
    assert sum(stats.to_receiver.counts) == WATCHED
    house.clock.now += WATCH_SECONDS
    await bridge.send(_event(WATCHED + 11, 1))
    await phone.send(PubAck((await phone.one(Publish)).packet_id))
    assert sum(stats.to_receiver.counts) == WATCHED + 1
