"""Sessions, wills, time and the end: the broker without sockets."""

from __future__ import annotations

import pytest

from broker.broker import Broker
from broker.limits import Limits
from broker.metrics import registry
from broker.policy import Action, Identity, OpenPolicy, Undecided
from mqtt.packets import ConnAck, Connect, Disconnect, Packet, Properties, PubAck, Publish, Will
from tests.unit.broker.conftest import CHAT, BuildHouse, Clock, House, Socket, reason_of

MESSAGES = f"chats/{CHAT}/messages"
STAYS: Properties = {"session_expiry_interval": 60}


def publishes(packets: list[Packet]) -> list[Publish]:
    return [packet for packet in packets if isinstance(packet, Publish)]


# ---- sessions and their timers


async def test_an_old_timer_does_not_end_a_session_that_somebody_came_back_to(house: House) -> None:
    one = await house.client("user1", clean=False, properties=STAYS)
    one.vanish()
    house.tick(50)
    one = await house.client("user1", clean=False, properties=STAYS)
    one.vanish()
    house.tick(50)  # the first timer was due long ago, the second is not
    one, answer = await house.dial("user1", clean=False, properties=STAYS)
    assert isinstance(answer, ConnAck)
    assert answer.session_present
    one.vanish()
    house.tick(61)
    assert not house.broker.core.sessions
    assert house.broker.core.index.size == 0


async def test_an_old_will_is_not_published_for_a_later_goodbye(house: House) -> None:
    watcher = await house.client("user2")
    await watcher.subscribe(f"chats/{CHAT}/typing/+")
    will = Will(f"chats/{CHAT}/typing/user1", b"will", properties={"will_delay_interval": 30})
    one = await house.client("user1", clean=False, properties=STAYS, will=will)
    one.vanish()
    house.tick(10)
    one = await house.client("user1", clean=False, properties=STAYS)
    one.put(Disconnect())
    house.tick(25)
    assert await watcher.payloads() == []


@pytest.mark.parametrize(("delay", "expiry", "due"), [(30, 60, 30), (30, 10, 10), (30, 0, 0), (0, 60, 0)])
async def test_a_will_is_due_after_its_delay_or_with_the_session(
    house: House, delay: int, expiry: int, due: int
) -> None:
    watcher = await house.client("user2")
    await watcher.subscribe(f"chats/{CHAT}/typing/+")
    will = Will(f"chats/{CHAT}/typing/user1", b"will", properties={"will_delay_interval": delay})
    one = await house.client("user1", clean=False, properties={"session_expiry_interval": expiry}, will=will)
    one.vanish()
    if due:
        house.tick(due - 0.5)
        assert await watcher.payloads() == []
        house.tick(1)
    assert await watcher.payloads() == [b"will"]


async def test_a_delayed_will_is_due_when_a_clean_start_ends_its_session(house: House) -> None:
    """5.0 §3.1.3.2.2: and only then, not once more after its delay."""
    watcher = await house.client("user2")
    await watcher.subscribe(f"chats/{CHAT}/typing/+")
    will = Will(f"chats/{CHAT}/typing/user1", b"will", properties={"will_delay_interval": 30})
    one = await house.client("user1", clean=False, properties=STAYS, will=will)
    one.vanish()
    assert await watcher.payloads() == []
    again = await house.client("user1", clean=True, properties=STAYS)
    assert await watcher.payloads() == [b"will"]
    again.put(Disconnect())
    house.tick(70)
    assert await watcher.payloads() == []


async def test_a_will_expires_counted_from_its_publication(house: House) -> None:
    watcher = await house.client("user2", properties=STAYS, clean=False)
    await watcher.subscribe(f"chats/{CHAT}/typing/+")
    block: Properties = {"will_delay_interval": 30, "message_expiry_interval": 20}
    will = Will(f"chats/{CHAT}/typing/user1", b"will", qos=1, properties=block)
    one = await house.client("user1", clean=False, properties=STAYS, will=will)
    one.vanish()
    house.tick(31)
    (got,) = publishes(await watcher.take())
    assert got.properties == {"message_expiry_interval": 20}


async def test_a_session_belongs_to_its_principal() -> None:
    house = House(None, None, None, None, Clock(), Broker(OpenPolicy(), limits=Limits(), clock=Clock()))  # type: ignore[arg-type]
    one = await house.client("c", username="a", clean=False, properties=STAYS)
    await one.subscribe("secret/#")
    one.vanish()
    two, answer = await house.dial("c", username="b", clean=False, properties=STAYS)
    assert isinstance(answer, ConnAck)
    assert not answer.session_present
    assert not two.connection.session.subscriptions


async def test_sessions_without_a_connection_are_bounded(build: BuildHouse) -> None:
    house = build(sessions=2)
    for name in ("user1", "user2", "user3"):
        socket = await house.client(name, clean=False, properties=STAYS)
        if name != "user1":
            socket.vanish()
    assert len(house.broker.core.sessions) == 2


# ---- time


async def test_keep_alive_is_one_and_a_half_times_what_was_agreed(house: House) -> None:
    one, none, old = (
        await house.client("user1", keep_alive=10),
        await house.client("user2"),
        await house.client("user3", version=4),
    )
    house.tick(14)
    assert not one.closed
    house.tick(2)
    assert reason_of((await one.take())[-1]) == 0x8D
    assert one.closed
    house.tick(880)
    assert not none.closed
    house.tick(10)
    assert none.closed, "5 is given a keep alive by the server"
    assert not old.closed, "3.1.1 without one may be silent for ever"


async def test_a_login_that_never_comes_is_closed(house: House) -> None:
    socket = Socket(house, 5)
    house.tick(9)
    assert not socket.closed
    house.tick(2)
    assert socket.closed


async def test_who_does_not_read_gets_no_qos_0_is_not_read_and_is_closed_in_the_end(house: House) -> None:
    bridge, one, two = await house.bridge(), await house.client("user1"), await house.client("user2")
    for socket in (one, two):
        await socket.subscribe(MESSAGES, f"chats/{CHAT}/typing/+")
    one.connection.write_paused()
    assert one.paused
    two.kept = await two.send(Publish(f"chats/{CHAT}/typing/user2", b"typing"))
    bridge.put(Publish(MESSAGES, b"event", 1, packet_id=1))
    assert await two.payloads() == [b"typing", b"event"]
    assert [packet.payload for packet in publishes(await one.take())] == [b"event"]
    one.connection.write_resumed()
    assert not one.paused
    one.connection.write_paused()
    house.tick(29)
    assert not one.closed
    house.tick(2)
    assert one.closed
    assert house.broker.core.stats.dropped["slow_consumer_qos0"] == 1


async def test_at_the_end_everybody_is_told_and_no_will_is_published(house: House) -> None:
    watcher = await house.client("user2", version=4)
    await watcher.subscribe(f"chats/{CHAT}/typing/+")
    one = await house.client("user1", will=Will(f"chats/{CHAT}/typing/user1", b"will"))
    house.broker.drain()
    assert reason_of(await one.one(Disconnect)) == 0x8B
    assert one.closed
    assert watcher.closed
    assert await watcher.take() == []
    for version in (4, 5):
        late, answer = await house.dial("user1", version=version)
        assert reason_of(answer) == 0x88, "nobody is let in any more"
        assert late.closed


@pytest.mark.parametrize("state", ["login", "open", "later"])
@pytest.mark.parametrize("version", [4, 5])
async def test_who_is_sent_away_is_told_where_to_go(house: House, state: str, version: int) -> None:
    """5.0 §4.11: MQTT 5 is told in whatever state it is; 3.1.1 can only be refused or closed."""
    phone = Socket(house, version)
    hello = Connect("user1", version, username="user1", password=b"pw")
    if state == "open":
        await phone.send(hello)
    elif state == "login":
        phone.put(hello)
    house.broker.drain("mqtt2.example:8883")
    if state == "later":
        assert not phone.closed
        phone.put(hello)
    answers = await phone.take()
    assert phone.closed
    if version == 5:
        assert reason_of(answers[-1]) == 0x9C
        assert answers[-1].properties["server_reference"] == "mqtt2.example:8883"  # type: ignore[union-attr]
        assert isinstance(answers[-1], Disconnect if state == "open" else ConnAck)
    else:
        assert answers == ([] if state == "open" else [ConnAck(False, 0x88)])
    assert "user1" not in house.broker.core.connections


async def test_nothing_is_looked_up_for_who_comes_while_the_broker_leaves(house: House) -> None:
    house.accounts.fails = AssertionError("asked")
    house.broker.drain("mqtt2.example:8883")
    _, answer = await house.dial("user1", password=b"wrong")
    assert reason_of(answer) == 0x9C


async def test_a_reference_that_is_too_long_for_a_client_is_left_out(house: House) -> None:
    """[MQTT-3.14.2-3, 3.1.2-24]"""
    phone = await house.client("user1", properties={"maximum_packet_size": 40})
    house.broker.drain("mqtt-with-a-long-name.example:8883")
    answer = await phone.one(Disconnect)
    assert (answer.reason, answer.properties) == (0x9C, {})


# ---- an error of ours


async def test_a_fault_of_ours_ends_one_connection_only(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await house.client("user1"), await house.client("user2")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(house.broker.router, "publish", fail)
    answers = await one.send(Publish(f"chats/{CHAT}/typing/user1", b"x"))
    assert reason_of(answers[-1]) == 0x80
    assert one.closed
    assert not two.closed


async def test_a_policy_that_fails_lets_nobody_in(house: House) -> None:
    house.accounts.fails = ZeroDivisionError()
    socket, answer = await house.dial("user1")
    assert answer is None
    assert socket.closed
    house.accounts.fails = Undecided("away")
    _, answer = await house.dial("user1")
    assert reason_of(answer) == 0x88


async def test_an_open_policy_denies_by_name() -> None:
    policy = OpenPolicy(["a/#"])
    answers = await policy.decide(Action.SUBSCRIBE, [(Identity("x"), "a/#"), (Identity("x"), "a/b")])
    assert answers == [False, True]
    assert policy.known(Identity("x"), Action.PUBLISH, "a/#")


# ---- what is counted


async def test_what_is_refused_and_dropped_is_counted(house: House) -> None:
    one = await house.client("user1")
    await house.dial("user2", password=b"wrong")
    await one.subscribe("#")
    await one.send(Publish("nowhere", b"x", 1, packet_id=1))
    text = {sample.name: 0.0 for metric in registry(house.broker.core).collect() for sample in metric.samples}
    for metric in registry(house.broker.core).collect():
        for sample in metric.samples:
            text[sample.name] += sample.value
    assert text["pabal_broker_connections"] == 1
    assert text["pabal_broker_connects_total"] == 2
    assert text["pabal_broker_refused_total"] == 2
    assert text["pabal_broker_bytes_in_total"] > 0


async def test_a_client_is_told_no_reason_strings_when_it_wants_none(house: House) -> None:
    one = await house.client("user3", properties={"request_problem_information": 0})
    (answer,) = await one.send(Publish(f"chats/{CHAT}/send/user3", b"x", 1, packet_id=1))
    assert answer == PubAck(1, 0x87)
