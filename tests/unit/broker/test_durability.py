"""What is acknowledged is on disk before, what need not be is not, and a disk that fails makes everybody wait and nobody lose."""

from __future__ import annotations

import pytest

from broker import durability
from mqtt.packets import (
    ConnAck,
    Filter,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from mqtt.store import EntryRecord, HeldRecord, MessageRecord, SessionRecord, SubscriptionRecord
from tests.unit.broker.conftest import Socket
from tests.unit.broker.disk import STAYS, Site, away, sub


@pytest.fixture
async def site() -> Site:
    made = Site()
    await made.start()
    return made


async def settled(socket: Socket, site: Site, *expected: object) -> None:
    """Nothing yet; once the disk has it, this."""
    assert await socket.take() == []
    await site.commit()
    assert await socket.take() == list(expected)


# ---- who waits


async def test_a_puback_waits_for_what_the_message_left_behind(site: Site) -> None:
    await away(site.house, "lee", "대화/#")
    kim = await site.house.client("kim")
    site.disk.gated = True
    kim.put(Publish("대화/1", "안녕".encode(), 1, packet_id=1), Publish("대화/2", b"2", 1, packet_id=2))
    await settled(kim, site, PubAck(1), PubAck(2))
    assert site.disk.records.counts()[EntryRecord] == 2


async def test_a_puback_of_what_nobody_waits_for_comes_at_once(site: Site) -> None:
    reader, kim = await site.house.client("lee"), await site.house.client("kim")
    await sub(reader, "a")
    site.disk.gated = True
    assert await kim.send(Publish("a", b"1", 1, packet_id=1)) == [PubAck(1)]
    assert await kim.send(Publish("nobody", b"1", 1, packet_id=2)) == [PubAck(2, 0x10)]
    assert not site.disk.waiting
    assert await reader.payloads() == [b"1"]


async def test_pubacks_keep_their_order_also_when_only_some_need_the_disk(site: Site) -> None:
    """[MQTT-4.6.0-2] asks for the order of the PUBLISHes."""
    await away(site.house, "lee", "kept")
    kim = await site.house.client("kim")
    site.disk.gated = True
    kim.put(Publish("kept", b"", 1, packet_id=1), Publish("other", b"", 1, packet_id=2))
    await settled(kim, site, PubAck(1), PubAck(2, 0x10))


async def test_both_acknowledgements_of_qos_2_wait(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    site.disk.gated = True
    kim.put(Publish("a", b"1", 2, packet_id=5))
    await settled(kim, site, PubRec(5, 0x10))
    assert site.disk.records.counts()[HeldRecord] == 1
    kim.put(PubRel(5))
    await settled(kim, site, PubComp(5))
    assert site.disk.records.counts()[HeldRecord] == 0


async def test_a_repeat_is_not_answered_before_the_first_is_on_disk(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    site.disk.gated = True
    kim.put(Publish("a", b"1", 2, packet_id=5), Publish("a", b"1", 2, dup=True, packet_id=5))
    await settled(kim, site, PubRec(5, 0x10), PubRec(5))


async def test_a_clean_start_waits_until_the_old_session_is_gone(site: Site) -> None:
    await away(site.house, "kim", "a")
    site.disk.gated = True
    socket, answer = await site.house.dial("kim", clean=True)
    assert answer is None
    await site.commit()
    connack = await socket.one(ConnAck)
    assert not connack.session_present
    assert site.disk.records.counts()[SessionRecord] == 0
    assert await socket.send(PingReq()) == [PingResp()]


async def test_suback_and_unsuback_wait(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    site.disk.gated = True
    kim.put(Subscribe(1, [Filter("대화/#", 1)]))
    await settled(kim, site, SubAck(1, [1]))
    assert site.disk.records.counts()[SubscriptionRecord] == 1
    kim.put(Unsubscribe(2, ["대화/#"]))
    await settled(kim, site, UnsubAck(2, [0]))
    assert site.disk.records.counts()[SubscriptionRecord] == 0


async def test_a_client_whose_session_ends_with_its_connection_does_not_wait(site: Site) -> None:
    other = await site.house.client("other", properties=STAYS)
    kim = await site.house.client("kim")
    site.disk.gated = True
    other.put(Subscribe(1, [Filter("x", 1)]))
    await site.rest()
    assert site.disk.waiting
    assert await kim.send(Subscribe(1, [Filter("a", 2)])) == [SubAck(1, [2])]
    assert await kim.send(Publish("a", b"1", 1, packet_id=1)) == [Publish("a", b"1", 1, packet_id=1), PubAck(1)]
    assert await kim.send(PubAck(1), Unsubscribe(2, ["a"])) == [UnsubAck(2, [0])]
    assert await kim.send(PingReq()) == [PingResp()]
    assert await other.take() == []


async def test_a_pingresp_comes_behind_what_waits(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    site.disk.gated = True
    kim.put(Subscribe(1, [Filter("a", 1)]), PingReq())
    await settled(kim, site, SubAck(1, [1]), PingResp())


async def test_a_qos_2_message_is_sent_once_its_packet_id_is_on_disk_and_released_likewise(site: Site) -> None:
    lee, kim = await site.house.client("lee", properties=STAYS), await site.house.client("kim")
    await sub(lee, "a", qos=2)
    site.disk.gated = True
    kim.put(Publish("a", b"1", 2, packet_id=1))
    await settled(lee, site, Publish("a", b"1", 2, packet_id=1))
    lee.put(PubRec(1))
    await settled(lee, site, PubRel(1))
    lee.put(PubComp(1))
    await site.commit()
    assert site.disk.bodies == 0


async def test_a_qos_1_message_is_sent_before_it_is_on_disk(site: Site) -> None:
    """At least once is its promise: who gets it twice after a kill was told so."""
    lee, kim = await site.house.client("lee", properties=STAYS), await site.house.client("kim")
    await sub(lee, "a")
    site.disk.gated = True
    kim.put(Publish("a", b"1", 1, packet_id=1))
    assert await lee.take() == [Publish("a", b"1", 1, packet_id=1)]
    await settled(kim, site, PubAck(1))


async def test_a_qos_2_message_of_a_session_that_is_not_to_stay_after_all_is_sent_nevertheless(site: Site) -> None:
    """Its client comes back while the packet id is being written, and says that the session ends with this connection."""
    lee, kim = await site.house.client("lee", properties=STAYS), await site.house.client("kim")
    await sub(lee, "a", qos=2)
    site.disk.gated = True
    kim.put(Publish("a", b"1", 2, packet_id=1))
    await site.rest()
    lee, _ = await site.house.dial("lee", clean=False)
    await site.commit()
    assert await lee.take() == [Publish("a", b"1", 2, packet_id=1)]


async def test_a_qos_2_message_is_not_sent_while_its_session_is_held(site: Site) -> None:
    """Somebody may have lost a right: what is written meanwhile is sent when that is known."""
    lee, kim = await site.house.client("lee", properties=STAYS), await site.house.client("kim")
    await sub(lee, "a", qos=2)
    site.disk.gated = True
    kim.put(Publish("a", b"1", 2, packet_id=1))
    await site.rest()
    session = lee.connection.session
    session.hold()
    await site.commit()
    assert await lee.take() == []
    session.release(site.house.clock())
    site.house.broker.core.touch(session)
    assert await lee.take() == [Publish("a", b"1", 2, packet_id=1)]


# ---- what is written, and what is not


async def test_what_is_acknowledged_in_time_is_never_written(site: Site) -> None:
    lee, kim = await site.house.client("lee", properties=STAYS), await site.house.client("kim", properties=STAYS)
    await sub(lee, "a", "a/#")
    site.disk.gated = True
    lee.put(Subscribe(3, [Filter("keeps/the/disk/busy", 0)]))
    await site.rest()
    kim.put(*(Publish("a", b"%d" % number, 1, packet_id=number) for number in range(1, 101)))
    assert len(await lee.payloads()) == 100
    await site.rest()
    written = site.disk.waiting[:]
    await site.commit()
    assert [len(batch.saved.get(MessageRecord, [])) for batch, _ in written] == [0]
    assert (site.disk.bodies, site.disk.records.counts()[EntryRecord]) == (0, 0)
    assert [type(packet) for packet in await kim.take()] == [PubAck] * 100
    assert site.journal.idle


async def test_a_body_is_stored_once_and_goes_with_the_last_who_waits_for_it(site: Site) -> None:
    for name in ("one", "two", "three"):
        await away(site.house, name, "a")
    kim = await site.house.client("kim")
    assert await kim.send(Publish("a", b"1", 1, packet_id=1, retain=True)) == [PubAck(1)]
    assert (site.disk.bodies, site.disk.records.counts()[EntryRecord]) == (1, 3)
    for name in ("one", "two", "three"):
        socket = await site.house.client(name, clean=False, properties=STAYS)
        assert await socket.payloads() == [b"1"]
        await site.rest()
    assert (site.disk.bodies, site.disk.records.counts()[EntryRecord]) == (1, 0)  # it is retained
    await kim.send(Publish("a", b"", 1, packet_id=2, retain=True))
    for name in ("one", "two", "three"):
        await site.house.client(name, clean=True)
    await site.rest()
    assert set(site.disk.records.counts().values()) == {0}


async def test_nothing_is_left_of_sessions_that_end(site: Site) -> None:
    for name in ("expires", "cleans", "resigns"):
        await away(site.house, name, "a", qos=2)
    kim = await site.house.client("kim")
    await kim.send(Publish("a", b"1", 2, packet_id=1), Publish("a", b"2", 1, packet_id=2))
    assert site.disk.bodies == 2
    await site.house.client("cleans", clean=True)
    await site.house.client("resigns", clean=False)  # expiry 0: it is not to outlive this connection
    await site.rest()
    left = [record for record in site.disk.records.load() if isinstance(record, SessionRecord)]
    assert [record.client_id for record in left] == ["expires"]
    site.pass_time(3601)
    await site.rest()
    assert set(site.disk.records.counts().values()) == {0}
    assert site.journal.idle


# ---- a disk that fails


def _well(site: Site) -> bool:
    return site.durability.well


async def test_while_the_disk_fails_nothing_is_acknowledged_and_then_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "RETRY_SECONDS", 0.0)
    await away(site.house, "lee", "a")
    kim, park = await site.house.client("kim"), await site.house.client("park", properties=STAYS)
    site.disk.fails = OSError("no space left on device")
    kim.put(*(Publish("a", b"%d" % number, 1, packet_id=number) for number in range(1, 6)))
    park.put(Subscribe(1, [Filter("b", 1)]))
    for _ in range(5):
        assert await kim.take() == []
        assert await park.take() == []
    assert site.durability.well is False
    assert site.house.broker.core.stats.store_failures >= 2
    assert site.disk.records.counts()[MessageRecord] == 0
    site.disk.fails = None
    for _ in range(5):
        await site.rest()
    assert _well(site)
    assert await kim.take() == [PubAck(number) for number in range(1, 6)]
    assert await park.take() == [SubAck(1, [1])]
    await site.crash()
    lee = await site.house.client("lee", clean=False, properties=STAYS)
    assert await lee.payloads() == [b"1", b"2", b"3", b"4", b"5"]


async def test_a_publisher_does_not_fill_the_memory_while_the_disk_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "RETRY_SECONDS", 0.0)
    site = Site(receive_maximum=10)
    await site.start()
    await away(site.house, "lee", "a")
    old, new = await site.house.client("old", version=4), await site.house.client("new")
    site.disk.fails = OSError("no space left on device")
    for number in range(1, 13):
        old.put(Publish("a", b"", 1, packet_id=number))
    assert old.paused is True
    new.put(*(Publish("a", b"", 1, packet_id=number) for number in range(1, 13)))
    assert new.closed  # it was told the receive maximum, and did not keep to it [MQTT-3.3.4-7]
    site.disk.fails = None
    for _ in range(5):
        await site.rest()
    assert list(old.connection.pauses) == []
    assert len(await old.take()) == 12


async def test_a_broker_that_ends_writes_what_is_left(site: Site) -> None:
    kim = await site.house.client("kim", properties=STAYS)
    kim.put(Subscribe(1, [Filter("a", 1)]))
    await site.durability.close()
    assert site.disk.records.counts()[SubscriptionRecord] == 1


async def test_a_broker_that_ends_does_not_wait_for_a_disk_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "CLOSE_SECONDS", 0.05)
    site.disk.gated = True
    await site.house.client("kim", properties=STAYS)
    await site.durability.close()
    assert site.disk.waiting
