"""A few clients, a disk that takes its time, and a process that is killed again and again: what clients were told must hold.

The clients keep to the protocol, and remember what MQTT makes them remember: what they have not had acknowledged, and which QoS 2
packet ids they hold. Everything else is chance.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mqtt.packets import (
    ConnAck,
    Disconnect,
    Filter,
    Packet,
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
from mqtt.store import EntryRecord, HeldRecord, MessageRecord, RetainedRecord
from tests.unit.broker.conftest import Socket
from tests.unit.broker.disk import Site, as_stored, holdings

NEVER = float("-inf")
EXPIRY = 3600
NAMES, TOPICS = ("가", "b", "c"), ("t/0", "t/1")
T = TypeVar("T")


@dataclass
class Said:
    """A message that was published, until its publisher knows that it was taken."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    released: bool = False
    targets: list[tuple[str, int]] = field(default_factory=list)
    """Who had subscribed when it was sent: client and life."""


@dataclass
class Client:
    """What a client has in its own memory.

    Attributes:
        life: rises whenever it loses its session, and knows so.
        subscribed: what it was granted in this life: topic -> QoS.
        seen: when it was last connected, on the wall's clock.
        answers: what it has not answered yet.
        held: QoS 2 packet ids that it has had a PUBLISH for.
        sent: what it has published, by packet id.
        got: how often it got each payload in this life.
        due: what it must get in this life.
    """

    name: str
    life: int = 0
    socket: Socket | None = None
    stays: bool = False
    knows: bool = False
    seen: float = 0.0
    last_id: int = 0
    subscribed: dict[str, int] = field(default_factory=dict)
    asked: dict[int, tuple[str, int]] = field(default_factory=dict)
    answers: list[Packet] = field(default_factory=list)
    held: set[int] = field(default_factory=set)
    sent: dict[int, Said] = field(default_factory=dict)
    got: Counter[bytes] = field(default_factory=Counter)
    due: set[tuple[str, bytes]] = field(default_factory=set)
    once: set[bytes] = field(default_factory=set)

    def forget(self) -> None:
        """Its session is gone: begin anew."""
        self.life += 1
        self.knows = False
        for each in (self.subscribed, self.held, self.sent, self.got, self.due, self.asked, self.answers, self.once):
            each.clear()

    def packet_id(self) -> int:
        self.last_id = self.last_id % 200 + 1
        while self.last_id in self.sent or self.last_id in self.asked:
            self.last_id += 1
        return self.last_id


class Kills(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(processors=[_silence])
        self.runner = asyncio.Runner()
        self.site = Site(keep_alive_max=0)
        self.clients = {name: Client(name) for name in NAMES}
        self.number = 0
        self.failed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.runner.run(work)
        except BaseException:
            self.failed = True
            raise

    def do(self, call: Callable[[], None]) -> None:
        """Do something inside the loop, and hear what comes of it."""

        async def doing() -> None:
            call()
            await self._hear()

        self.run(doing())

    def teardown(self) -> None:
        try:
            if not self.failed:
                self.everything_arrives()
        finally:
            self.runner.close()
            structlog.reset_defaults()

    @initialize()
    def first(self) -> None:
        self.run(self.site.start())
        for client in self.clients.values():
            self.here(client)
            for topic in TOPICS:
                self.subscribe(client.name, topic, 2)

    def here(self, client: Client) -> Socket:
        """Its socket; it comes back if it is away."""
        if client.socket is None:
            self.run(self._connect(client, clean=False, stays=True, window=3))
        assert client.socket is not None
        return client.socket

    # ---- clients

    @rule(name=st.sampled_from(NAMES), clean=st.booleans(), stays=st.booleans(), window=st.sampled_from([1, 3, 100]))
    def connect(self, name: str, clean: bool, stays: bool, window: int) -> None:
        self.run(self._connect(self.clients[name], clean=clean, stays=stays, window=window))

    async def _connect(self, client: Client, *, clean: bool, stays: bool, window: int) -> None:
        if client.socket is not None:
            client.seen = self.site.wall.now
        properties: Any = {"session_expiry_interval": EXPIRY if stays else 0, "receive_maximum": window}
        socket, answer = await self.site.house.dial(client.name, clean=clean, properties=properties)
        if answer is None:  # a clean start waits until the disk has forgotten, too
            await self.site.commit()
            answer, *socket.kept = await socket.take()
        assert isinstance(answer, ConnAck)
        assert answer.reason == 0
        if answer.session_present and not client.knows:  # [MQTT-3.2.2-4]: what the broker has, the client has not
            socket.vanish()
            await self._connect(client, clean=True, stays=stays, window=window)
            return
        if clean:
            assert not answer.session_present
        elif client.subscribed and client.stays and self.site.wall.now - client.seen < EXPIRY - 2:
            assert answer.session_present, "a session is gone before its time"
        if not answer.session_present:
            client.forget()
        client.socket, client.stays, client.knows = socket, stays, True
        client.answers.clear()
        client.asked.clear()
        for packet_id, said in client.sent.items():
            socket.put(PubRel(packet_id) if said.released else _publish(said, packet_id, dup=True))
        await self._hear()

    @rule(name=st.sampled_from(NAMES), word=st.booleans())
    def leave(self, name: str, word: bool) -> None:
        client = self.clients[name]
        if client.socket is not None:
            self.do(partial(self._leave, client, client.socket, word=word))

    def _leave(self, client: Client, socket: Socket, *, word: bool) -> None:
        if word:
            socket.put(Disconnect())
        socket.vanish()
        self._gone(client)

    def _gone(self, client: Client) -> None:
        client.socket, client.seen = None, self.site.wall.now
        if not client.stays:
            client.forget()

    @rule(name=st.sampled_from(NAMES), topic=st.sampled_from(TOPICS), qos=st.sampled_from([1, 2]))
    def subscribe(self, name: str, topic: str, qos: int) -> None:
        client = self.clients[name]
        socket = self.here(client)
        packet_id = client.packet_id()
        client.asked[packet_id] = (topic, qos)
        client.subscribed.pop(topic, None)
        client.once.clear()  # which QoS a copy has depends on when the broker came to it
        self.do(partial(socket.put, Subscribe(packet_id, [Filter(topic, qos, retain_handling=2)])))

    @rule(name=st.sampled_from(NAMES), topic=st.sampled_from(TOPICS))
    def unsubscribe(self, name: str, topic: str) -> None:
        client = self.clients[name]
        if client.socket is not None:
            packet_id = client.packet_id()
            client.asked[packet_id] = (topic, 0)
            client.subscribed.pop(topic, None)
            client.due = {(of, payload) for of, payload in client.due if of != topic}
            self.do(partial(client.socket.put, Unsubscribe(packet_id, [topic])))

    @rule(
        name=st.sampled_from(NAMES),
        topic=st.sampled_from(TOPICS),
        qos=st.sampled_from([0, 1, 1, 2, 2]),
        retain=st.booleans(),
        burst=st.integers(1, 4),
    )
    def publish(self, name: str, topic: str, qos: int, retain: bool, burst: int) -> None:
        client = self.clients[name]
        socket = self.here(client)
        packets = []
        for _ in range(burst):
            self.number += 1
            said = Said(topic, b"%d" % self.number, qos, retain)
            for other in self.clients.values():
                granted = other.subscribed.get(topic)
                if granted and other.stays:
                    said.targets.append((other.name, other.life))
                    if min(granted, qos) == 2:
                        other.once.add(said.payload)
            packet_id = client.packet_id() if qos else 0
            if qos:
                client.sent[packet_id] = said
            packets.append(_publish(said, packet_id))
        self.do(partial(socket.put, *packets))

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 5))
    def answer(self, name: str, count: int) -> None:
        self.do(partial(self._answer, self.clients[name], count))

    def _answer(self, client: Client, count: int) -> None:
        if client.socket is not None:
            now, client.answers = client.answers[:count], client.answers[count:]
            client.socket.put(*now)

    async def _hear(self) -> None:
        """What has come, to everybody."""
        for _ in range(3):
            for client in self.clients.values():
                if client.socket is not None:
                    for packet in await client.socket.take():
                        self._heard(client, client.socket, packet)
        await self.site.rest()

    def _heard(self, client: Client, socket: Socket, packet: Packet) -> None:
        if isinstance(packet, Publish | PubRel):
            self._delivered(client, packet)
        elif isinstance(packet, SubAck | UnsubAck):
            self._granted(client, packet)
        elif isinstance(packet, PubAck):
            self._taken(client.sent.pop(packet.packet_id))
        elif isinstance(packet, PubRec):
            said = client.sent[packet.packet_id]
            if not said.released:
                self._taken(said)
            said.released = True
            socket.put(PubRel(packet.packet_id))
        else:
            assert isinstance(packet, PubComp), packet
            del client.sent[packet.packet_id]

    def _delivered(self, client: Client, packet: Publish | PubRel) -> None:
        match packet:
            case Publish(qos=2):
                if packet.packet_id not in client.held:
                    client.held.add(packet.packet_id)
                    self._got(client, packet)
                client.answers.append(PubRec(packet.packet_id))
            case Publish():
                self._got(client, packet)
                if packet.qos:
                    client.answers.append(PubAck(packet.packet_id))
            case PubRel():
                client.held.discard(packet.packet_id)
                client.answers.append(PubComp(packet.packet_id))

    @staticmethod
    def _granted(client: Client, packet: SubAck | UnsubAck) -> None:
        topic, qos = client.asked.pop(packet.packet_id)
        if isinstance(packet, SubAck):
            assert packet.reasons == [qos]
            if topic not in {asked for asked, _ in client.asked.values()}:
                client.subscribed[topic] = qos

    @staticmethod
    def _got(client: Client, packet: Publish) -> None:
        client.got[packet.payload] += 1
        if packet.payload in client.once and packet.qos == 2:
            assert client.got[packet.payload] == 1, "QoS 2 twice"

    def _taken(self, said: Said) -> None:
        """Its publisher may forget it: from here on it must not be lost."""
        for name, life in said.targets:
            client = self.clients[name]
            if client.life == life and said.topic in client.subscribed:
                client.due.add((said.topic, said.payload))

    # ---- the disk, the time, the process

    @rule()
    def the_disk_takes_its_time(self) -> None:
        self.site.disk.gated = True

    @precondition(lambda self: self.site.disk.waiting)
    @rule()
    def the_disk_has_written(self) -> None:
        self.do(self.site.disk.commit)

    @rule()
    def the_disk_is_fast(self) -> None:
        self.site.disk.gated = False
        self.run(self.site.commit())
        self.run(self._hear())

    @rule(seconds=st.sampled_from([1, 100, 1500]))
    def time_passes(self, seconds: int) -> None:
        self.do(partial(self.site.pass_time, seconds))

    @rule(down=st.sampled_from([0, 0, 10, 2000]), written=st.booleans())
    def kill(self, down: int, written: bool) -> None:
        if written:
            self.site.disk.commit()  # on disk, but nobody was told
        known = self.site.journal.idle or written  # else the disk may not know yet that somebody was here again
        for client in self.clients.values():
            if client.socket is not None:
                self._gone(client)
                client.seen = client.seen + down if known else NEVER
        self.run(self.site.crash(down=down))

    # ---- what must hold

    @invariant()
    def what_is_on_disk_is_what_the_broker_holds(self) -> None:
        if self.site.journal.idle:
            changes = self.site.journal.changes
            stored = self.run(as_stored(self.site))
            if self.site.journal.changes == changes:  # both are of the same moment
                assert stored == holdings(self.site.house)

    @rule()
    def everything_arrives(self) -> None:
        """All come back, and answer all: who is owed a message has it then, and nothing of it is left."""
        self.the_disk_is_fast()
        for client in self.clients.values():
            if client.stays or client.socket is not None:
                self.run(self._connect(client, clean=False, stays=client.stays, window=3))
        for _ in range(1000):
            if not any(client.answers for client in self.clients.values() if client.socket is not None):
                break
            for client in self.clients.values():
                self.do(partial(self._answer, client, 100))
        for client in self.clients.values():
            if client.socket is not None:
                lost = {payload for _, payload in client.due} - set(client.got)
                assert not lost, f"{client.name} was never given {sorted(lost)}"
                assert not client.sent
        self._nothing_is_left()

    def _nothing_is_left(self) -> None:
        assert self.site.journal.idle
        counts = self.site.disk.records.counts()
        here = {client.name for client in self.clients.values() if client.socket is not None}
        if here.issuperset(self.site.house.broker.core.sessions):
            assert (counts[EntryRecord], counts[HeldRecord]) == (0, 0)
            assert counts[MessageRecord] == counts[RetainedRecord]


def _publish(said: Said, packet_id: int, *, dup: bool = False) -> Publish:
    return Publish(said.topic, said.payload, said.qos, said.retain, dup=dup, packet_id=packet_id)


def _silence(*_: object) -> Any:
    raise structlog.DropEvent


def test_what_clients_were_told_holds_whenever_the_process_is_killed() -> None:
    run_state_machine_as_test(Kills, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
