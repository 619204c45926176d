"""A broker without sockets: fake transports, the policy on memory stores, a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from adapters.memory import memory_stores
from adapters.stores import Stores
from broker.broker import Broker
from broker.chat_policy import ChatPolicy
from broker.connection import Connection
from broker.limits import Limits
from chat.errors import Unauthenticated, Unavailable
from chat.models import Chat, ChatKind, Device, Grant, Member, Principal, PrincipalKind, Role
from chat.topics import INGEST_FILTERS, shared
from chat.tracing import Tracer
from mqtt.codec import Decoder, encode
from mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Properties,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Will,
)

AT = datetime(2026, 5, 4, tzinfo=UTC)
CHAT = "g-1"
P = TypeVar("P")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Accounts:
    """An authenticator: the password of everybody is `pw`, optionally followed by `:sid`."""

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.banned: set[str] = set()

    async def welcome(self, ids: Collection[str]) -> set[str]:
        if self.fails is not None:
            raise self.fails
        return set(ids) - self.banned

    async def certified(self, name: str, password: bytes | None) -> Principal:
        return await self.authenticate(name, b"pw" if name[:3] in {"svc", "dev"} else password)

    async def authenticate(self, username: str | None, password: bytes | None) -> Principal:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        word, _, sid = (password or b"").decode().partition(":")
        if username is None or word != "pw":
            raise Unauthenticated("no")
        kind = {"svc": PrincipalKind.SERVICE, "dev": PrincipalKind.DEVICE}.get(username[:3], PrincipalKind.USER)
        return Principal(username, kind, sid=sid or None)


class Flaky:
    """A store that answers late or not at all. Calls go on to the one it stands before."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.fails = False
        self.gate: asyncio.Event | None = None
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        async def call(*args: object, **kwargs: object) -> object:
            self.calls.append(name)
            if self.fails:
                raise Unavailable("the store is away")
            answer = await getattr(self._store, name)(*args, **kwargs)
            if self.gate is not None:
                await self.gate.wait()
            return answer

        return call


class Socket:
    """A transport that keeps what is written to it; `connection` is the broker's side."""

    peer = "192.0.2.1:1234"
    certificate: str | None = None
    tls = None

    def __init__(self, house: House, version: int) -> None:
        self.house = house
        self.version = version
        self.written = bytearray()
        self.kept: list[Packet] = []
        self.closed = False
        self.paused = False
        self.unsent = 0
        self.connection: Connection = house.broker.connect(self)

    # ---- the broker's side

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True
        self.unsent = 0

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    # ---- the client's side

    def put(self, *packets: Packet) -> None:
        """Send packets in one read, without waiting for anything."""
        self.connection.data_received(b"".join(encode(packet, self.version) for packet in packets))

    async def send(self, *packets: Packet) -> list[Packet]:
        """Send packets, and take what the broker had to say once it has come to rest."""
        self.put(*packets)
        return await self.take()

    async def take(self) -> list[Packet]:
        """What came since."""
        await self.house.rest()
        data, self.written = bytes(self.written), bytearray()
        decoder = Decoder(version=self.version)
        packets = decoder.feed(data)
        assert decoder.failure is None
        assert decoder.pending == 0
        kept, self.kept = self.kept, []
        return kept + packets

    async def one(self, kind: type[P]) -> P:
        """The one packet that came."""
        (packet,) = await self.take()
        assert isinstance(packet, kind)
        return packet

    async def payloads(self) -> list[bytes]:
        """The payloads that came, acknowledged."""
        publishes = [packet for packet in await self.take() if isinstance(packet, Publish)]
        for packet in publishes:
            if packet.qos:
                self.put(PubAck(packet.packet_id))
        return [packet.payload for packet in publishes]

    async def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        """The reasons of the SUBACK; what came beside it is kept for the next `take`."""
        answers = await self.send(Subscribe(9, [Filter(text, qos) for text in filters]))
        (suback,) = (packet for packet in answers if isinstance(packet, SubAck))
        self.kept = [packet for packet in answers if packet is not suback]
        return suback.reasons

    def vanish(self) -> None:
        """The socket is gone."""
        self.closed = True
        self.connection.lost()


@dataclass
class House:
    """The broker and what stands behind it."""

    stores: Stores
    chats: Flaky
    grants: Flaky
    accounts: Accounts
    clock: Clock
    broker: Broker

    async def rest(self) -> None:
        """Let every task that can go on do so."""
        for _ in range(20):
            await asyncio.sleep(0)

    def tick(self, seconds: float) -> None:
        """So much time passes, and the broker's clock ticks."""
        self.clock.now += seconds
        self.broker.tick()

    async def dial(
        self,
        name: str,
        *,
        version: int = 5,
        clean: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        password: bytes = b"pw",
        username: str | None = None,
        properties: Properties | None = None,
    ) -> tuple[Socket, Packet | None]:
        """Connect as the owner of client id `name`; the socket and the answer."""
        socket = Socket(self, version)
        owner = username if username is not None else name.partition(":")[0]
        connect = Connect(name, version, clean, keep_alive, owner, password, will, properties or {})
        answers = await socket.send(connect)
        socket.kept = answers[1:]
        return socket, answers[0] if answers else None

    async def client(self, name: str, **options: object) -> Socket:
        """The same, let in."""
        socket, answer = await self.dial(name, **options)  # type: ignore[arg-type]
        assert isinstance(answer, ConnAck), answer
        assert answer.reason == 0, answer
        return socket

    async def bridge(self, name: str = "svc-bridge", *, window: int = 1000) -> Socket:
        """A bridge that has subscribed."""
        socket = await self.client(name, properties={"receive_maximum": window})
        assert await socket.subscribe(*map(shared, INGEST_FILTERS)) == [1, 1, 1]
        return socket

    async def join(self, user: str, role: Role = Role.MEMBER, chat: str = CHAT) -> None:
        await self.stores.chats.create(Chat(id=chat, kind=ChatKind.GROUP, created_at=AT, created_by="owner"), [])
        assert await self.stores.chats.add_member(Member(chat=chat, user=user, role=role, joined_at=AT))

    async def expel(self, user: str, chat: str = CHAT) -> None:
        assert await self.stores.chats.remove_member(chat, user, AT)

    async def sign_in(self, user: str, sid: str) -> None:
        expires = datetime(2100, 1, 1, tzinfo=UTC)
        await self.stores.grants.add(Grant(sid=sid, user=user, current=sid, created_at=AT, expires_at=expires))

    async def add_device(self, device: str, owner: str) -> None:
        await self.stores.devices.add(Device(id=device, owner=owner, name="d", secret_hash="", created_at=AT))


BuildHouse = Callable[..., House]


@pytest.fixture(autouse=True)
def no_pause_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say themselves when the disk is busy."""
    monkeypatch.setattr("broker.durability.GATHER_SECONDS", 0.0)


@pytest.fixture
async def build() -> BuildHouse:
    """Build a house with limits of its own: `build(ingest_queue=5)`, or with a tracer."""

    def make(tracer: Tracer | None = None, **limits: object) -> House:
        stores, accounts, clock = memory_stores(), Accounts(), Clock()
        chats, grants = Flaky(stores.chats), Flaky(stores.grants)
        policy = ChatPolicy(accounts, chats, stores.devices, grants, stores.blocks)  # type: ignore[arg-type]
        bounds = Limits(**limits)  # type: ignore[arg-type]
        made = Broker(policy, limits=bounds, ingest_filters=INGEST_FILTERS, tracer=tracer, clock=clock)
        return House(stores, chats, grants, accounts, clock, made)

    return make


@pytest.fixture
async def house(build: BuildHouse) -> House:
    """With a chat `g-1` that has the members user1 and user2; user3 is in no chat."""
    made = build()
    await made.join("user1")
    await made.join("user2")
    return made


def reason_of(packet: Packet | None) -> int:
    """The reason code of a packet that has one."""
    assert isinstance(packet, (PubAck, ConnAck, Disconnect)), packet
    return packet.reason
