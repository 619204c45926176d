"""Topic shapes, roles, paths: who may what on a real broker, cell by cell, against tables that share no code with it (P5).

Each cell is tried on the way it would be gone: a publish and a will count as allowed when somebody who hears everything has
heard them; a subscription when its SUBACK says so; live, retained and queued deliveries, also through a shared subscription,
when the message is at the client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from broker import watch
from chat.envelopes import Invalidation
from chat.models import Role
from mqtt.packets import ConnAck, Properties, Publish, PubRel, Will
from tests.unit.broker.conftest import CHAT, BuildHouse, House, Socket

STAYS: Properties = {"session_expiry_interval": 3600}
LABELS = {
    "owner": "u-owner",
    "admin": "u-admin",
    "member": "u-member",
    "reader": "u-reader",
    "outsider": "u-outsider",
    "former member": "u-former",
    "acquaintance": "u-friend",
    "device owner": "u-keeper",
    "member device": "dev-2",
    "device": "dev-1",
    "service": "svc-demo",
}
"""Who they are. dev-1 belongs to u-keeper and is in no chat; dev-2 is in the chat and belongs to nobody here."""

S = {"service"}
WRITERS = S | {"owner", "admin", "member", "member device"}
LISTENERS = WRITERS | {"reader"}
ALL = set(LABELS)
KNOW_THE_OWNER = LISTENERS | {"acquaintance"}

PUBLISH: dict[str, set[str]] = {
    "chats/g-1/send/{me}": WRITERS,
    "chats/g-1/send/u-zz": S,
    "chats/g-1/send": S,
    "chats/g-1/messages": S,
    "chats/g-1/ack/{me}": LISTENERS,
    "chats/g-1/ack/u-zz": S,
    "chats/g-1/receipts": S,
    "chats/g-1/typing/{me}": WRITERS,
    "chats/g-1/typing/u-zz": S,
    "chats/g-1/typing/": S,
    "chats/g-9/send/{me}": S,
    "users/{me}/inbox": S,
    "users/u-zz/inbox": S,
    "users/{me}/sync": ALL,
    "users/u-zz/sync": S,
    "users/{me}/presence": S,
    "devices/{me}/telemetry/t": S | {"device", "member device"},
    "devices/dev-1/telemetry/t": S | {"device"},
    "devices/dev-9/telemetry/t": S,
    "devices/{me}/commands/on": S,
    "devices/dev-1/commands/on": S | {"device owner"},
    "devices/dev-9/commands/on": S,
    "$events/delivered": S,
    "$SYS/broker/uptime": S,
    "anything/else": S,
    "/": S,
}
"""Topic -> who may publish on it, as a will too. `{me}` is whoever asks."""

SUBSCRIBE: dict[tuple[str, str], set[str]] = {
    ("chats/g-1/messages", "chats/g-1/messages"): LISTENERS,
    ("chats/g-1/receipts", "chats/g-1/receipts"): LISTENERS,
    ("chats/g-1/typing/+", "chats/g-1/typing/u-zz"): LISTENERS,
    ("chats/g-1/typing/u-zz", "chats/g-1/typing/u-zz"): LISTENERS,
    ("chats/g-1/send/{me}", "chats/g-1/send/{me}"): S,
    ("chats/g-1/send/+", "chats/g-1/send/u-zz"): S,
    ("chats/g-1/ack/+", "chats/g-1/ack/u-zz"): S,
    ("chats/g-1/+", "chats/g-1/messages"): S,
    ("chats/g-1/#", "chats/g-1/messages"): S,
    ("chats/+/messages", "chats/g-1/messages"): S,
    ("+/+/messages", "chats/g-1/messages"): S,
    ("chats/#", "chats/g-1/messages"): S,
    ("#", "chats/g-1/messages"): S,
    ("+/#", "chats/g-1/messages"): S,
    ("chats/g-9/messages", "chats/g-9/messages"): S,
    ("users/{me}/inbox", "users/{me}/inbox"): ALL,
    ("users/u-zz/inbox", "users/u-zz/inbox"): S,
    ("users/+/inbox", "users/u-zz/inbox"): S,
    ("users/{me}/sync", "users/{me}/sync"): S,
    ("users/{me}/#", "users/{me}/inbox"): S,
    ("users/u-owner/presence", "users/u-owner/presence"): KNOW_THE_OWNER,
    ("users/+/presence", "users/u-owner/presence"): S,
    ("devices/dev-1/telemetry/#", "devices/dev-1/telemetry/t"): S | {"device owner"},
    ("devices/dev-1/telemetry/+", "devices/dev-1/telemetry/t"): S | {"device owner"},
    ("devices/+/telemetry/#", "devices/dev-1/telemetry/t"): S,
    ("devices/dev-1/#", "devices/dev-1/telemetry/t"): S,
    ("devices/dev-1/commands/#", "devices/dev-1/commands/on"): S | {"device"},
    ("devices/{me}/commands/#", "devices/{me}/commands/on"): S | {"device", "member device"},
    ("$events/+", "$events/delivered"): S,
    ("$events/connected", "$events/connected"): S,
    ("anything/#", "anything/else"): S,
}
"""(filter, a topic that it matches) -> who may subscribe, and is sent what comes."""


@pytest.fixture
async def house(build: BuildHouse) -> House:
    made = build()
    roles = {"owner": Role.OWNER, "admin": Role.ADMIN, "reader": Role.READER, "former member": Role.MEMBER}
    for label in ("owner", "admin", "member", "reader", "former member", "member device"):
        await made.join(LABELS[label], roles.get(label, Role.MEMBER))
    await made.expel(LABELS["former member"])
    for user in (LABELS["acquaintance"], LABELS["owner"]):
        await made.join(user, chat="g-2")
    await made.add_device("dev-1", LABELS["device owner"])
    await made.add_device("dev-2", "u-zz")
    return made


class Everywhere:
    """A service that hears everything, and says what the others are to hear."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    @classmethod
    async def enter(cls, house: House) -> Everywhere:
        socket = await house.client("svc-ear")
        assert await socket.subscribe("#", "$events/#", "$SYS/#", qos=0) == [0, 0, 0]
        await socket.take()
        return cls(socket)

    async def heard(self, topic: str, payload: bytes) -> bool:
        packets = await self._socket.take()
        return any(isinstance(p, Publish) and (p.topic, p.payload) == (topic, payload) for p in packets)

    async def say(self, topic: str, payload: bytes, *, qos: int = 2, retain: bool = False) -> None:
        self._socket.put(Publish(topic, payload, qos, retain, packet_id=5 if qos else 0))
        if qos == 2:
            self._socket.put(PubRel(5))
        await self._socket.take()


async def enter(house: House, label: str, **options: object) -> Socket:
    return await house.client(f"{LABELS[label]}:x", **options)


async def got(socket: Socket, payload: bytes) -> bool:
    return payload in await socket.payloads()


Ask = Callable[[House, Everywhere, str, str], Awaitable[bool]]


@pytest.mark.parametrize("shape", PUBLISH)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_publish(house: House, shape: str, qos: int) -> None:
    ear, allowed = await Everywhere.enter(house), set()
    for label, me in LABELS.items():
        topic = shape.format(me=me)
        socket = await enter(house, label)
        socket.put(Publish(topic, label.encode(), qos, packet_id=1 if qos else 0))
        if await ear.heard(topic, label.encode()):
            allowed.add(label)
    assert allowed == PUBLISH[shape]


@pytest.mark.parametrize("shape", PUBLISH)
async def test_will(house: House, shape: str) -> None:
    ear, allowed, told = await Everywhere.enter(house), set(), set()
    for label, me in LABELS.items():
        topic = shape.format(me=me)
        socket, answer = await house.dial(f"{me}:x", will=Will(topic, label.encode(), 1))
        assert isinstance(answer, ConnAck)
        if answer.reason == 0:
            told.add(label)
            socket.vanish()
        if await ear.heard(topic, label.encode()):
            allowed.add(label)
    assert allowed == told == PUBLISH[shape]


async def _subscribed(house: House, ear: Everywhere, label: str, shape: str) -> bool:  # noqa: ARG001 - as the others
    (reason,) = await (await enter(house, label)).subscribe(shape, qos=2)
    assert reason in {2, 0x87}
    return reason == 2


async def _live(house: House, ear: Everywhere, label: str, shape: str, *, qos: int = 1, share: str = "") -> bool:
    socket = await enter(house, label)
    await socket.subscribe(share + shape, qos=qos)
    await socket.take()
    await ear.say(_topic(shape, label), b"live")
    return await got(socket, b"live")


async def _live_qos0(house: House, ear: Everywhere, label: str, shape: str) -> bool:
    return await _live(house, ear, label, shape, qos=0)


async def _shared(house: House, ear: Everywhere, label: str, shape: str) -> bool:
    return await _live(house, ear, label, shape, share="$share/g/")


async def _retained(house: House, ear: Everywhere, label: str, shape: str) -> bool:
    socket = await enter(house, label)  # first, for the broker itself retains their presence
    await ear.say(_topic(shape, label), b"kept", retain=True)
    await socket.subscribe(shape)
    return await got(socket, b"kept")


async def _queued(house: House, ear: Everywhere, label: str, shape: str) -> bool:
    socket = await enter(house, label, properties=STAYS)
    await socket.subscribe(shape)
    socket.vanish()
    await ear.say(_topic(shape, label), b"waits")
    socket = await enter(house, label, clean=False, properties=STAYS)
    return await got(socket, b"waits")


def _topic(shape: str, label: str) -> str:
    wanted = {text.format(me=LABELS[label]): topic for text, topic in SUBSCRIBE}
    return wanted[shape].format(me=LABELS[label])


PATHS: dict[str, Ask] = {
    "subscribe": _subscribed,
    "live": _live,
    "live, QoS 0": _live_qos0,
    "shared": _shared,
    "retained": _retained,
    "queued": _queued,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", SUBSCRIBE, ids=lambda shape: shape[0])
async def test_listening(house: House, shape: tuple[str, str], path: str) -> None:
    ear, allowed = await Everywhere.enter(house), set()
    for label, me in LABELS.items():
        if await PATHS[path](house, ear, label, shape[0].format(me=me)):
            allowed.add(label)
    wanted = S if path == "shared" else SUBSCRIBE[shape]
    if path == "retained" and house.broker.ingest.wants(shape[1].format(me="u-zz")):
        wanted = set()  # what goes to the bridge is kept in the database, not here
    assert allowed == wanted


# ---- the same for those who were let in, and then lost their right


CHATS_OWN = [shape for shape in SUBSCRIBE if SUBSCRIBE[shape] == LISTENERS]


@pytest.mark.parametrize("path", ["live", "live, QoS 0", "retained", "queued before", "queued after"])
@pytest.mark.parametrize("shape", CHATS_OWN, ids=lambda shape: shape[0])
async def test_whoever_leaves_the_chat_is_sent_nothing_more_of_it(
    house: House, shape: tuple[str, str], path: str
) -> None:
    ear = await Everywhere.enter(house)
    text, topic = shape
    for label in sorted(LISTENERS - S):
        secret = label.encode()
        socket = await enter(house, label, properties=STAYS)
        qos = 0 if path.endswith("0") else 1
        assert await socket.subscribe(text, qos=qos) == [qos]
        if path.startswith("queued"):
            socket.vanish()
        if path == "queued before":
            await ear.say(topic, secret)
        await house.expel(LABELS[label])
        watch.apply(house.broker, Invalidation(kind="member", chat=CHAT, user=LABELS[label]))
        await house.rest()
        if path.startswith("queued"):
            await ear.say(topic, secret)
            socket = await enter(house, label, clean=False, properties=STAYS)
        elif path == "retained":
            await ear.say(topic, secret, retain=True)
            assert await socket.subscribe(text) == [0x87]
        else:
            await ear.say(topic, secret)
        assert not await got(socket, secret), label
        assert text not in socket.connection.session.subscriptions
