"""A broker on a session store that tests hold in their hands: they let batches through, make them fail, and kill the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from adapters.memory.sessions import MemorySessions
from broker.broker import Broker
from broker.durability import GATHER_SECONDS, Durability
from broker.limits import Limits
from broker.policy import OpenPolicy, Policy
from broker.restoring import restore
from chat.topics import INGEST_FILTERS
from mqtt.journal import Journal
from mqtt.outgoing import Outgoing
from mqtt.packets import Packet, Properties, PubAck, Publish
from mqtt.qos2 import Awaits, Held
from mqtt.session import Session
from mqtt.store import Batch, MessageRecord, Record
from tests.unit.broker.conftest import Clock, House, Socket

STAYS: Properties = {"session_expiry_interval": 3600}

Write = tuple[Batch, Callable[[Exception | None], None]]


class Disk:
    """What outlives a process.

    Attributes:
        gated: batches wait for `commit`.
        fails: what a write ends with instead.
    """

    def __init__(self) -> None:
        self.records = MemorySessions()
        self.gated = False
        self.fails: Exception | None = None
        self.waiting: list[Write] = []
        self.mount = 0
        """Which process may write: those before it are dead."""

    def commit(self) -> None:
        """Write what waits."""
        waiting, self.waiting = self.waiting, []
        for batch, done in waiting:
            self.records.write(batch, done)

    def pull_the_plug(self) -> None:
        """What was not written is lost, and the process writes no more."""
        self.waiting = []
        self.mount += 1

    @property
    def bodies(self) -> int:
        """How many message bodies are stored."""
        return self.records.counts()[MessageRecord]


class Store:
    """The session store as one process sees it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._mount = disk.mount
        self.starts = disk.records.starts

    def counts(self) -> dict[type[Record], int]:
        return self._disk.records.counts()

    def load(self) -> Iterator[Record]:
        return self._disk.records.load()

    def write(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        if self._mount != self._disk.mount:
            return
        if self._disk.fails is not None:
            done(self._disk.fails)
        elif self._disk.gated:
            self._disk.waiting.append((batch, done))
        else:
            self._disk.records.write(batch, done)

    def close(self) -> None:
        pass


class Site:
    """One broker process after the other on the same disk, while the wall's clock goes on.

    Args:
        policy: of every process.
        ingest: whether publishes on the ingest topics wait for the bridge.
        limits: likewise.
    """

    def __init__(self, policy: Policy | None = None, *, ingest: bool = False, **limits: Any) -> None:
        self.disk = Disk()
        self.wall = Clock()
        self.wall.now = 1_795_340_000.0
        self.policy = policy or OpenPolicy()
        self.house: House
        self.durability: Durability
        self._filters = INGEST_FILTERS if ingest else ()
        self.limits = limits

    async def start(self) -> House:
        """A process; its monotonic clock has nothing to do with that of the one before."""
        clock = Clock()
        clock.now = 17.0 * self.disk.records.starts
        broker = Broker(self.policy, limits=Limits(**self.limits), ingest_filters=self._filters, clock=clock)
        self.house = House(None, None, None, None, clock, broker)  # type: ignore[arg-type]
        store = Store(self.disk)
        self.durability = Durability(broker.core, store, wall=self.wall)
        await restore(broker, store, self.durability.journal)
        return self.house

    @property
    def journal(self) -> Journal:
        return self.durability.journal

    async def crash(self, *, down: float = 0.0) -> House:
        """Kill the process, and start another so many seconds later."""
        self.disk.pull_the_plug()
        self.wall.now += down
        self.disk.records.reopen()
        return await self.start()

    async def rest(self) -> None:
        await self.house.rest()

    async def commit(self) -> None:
        """Let everything be written, and what follows from it as well."""
        for _ in range(50):
            await self.rest()
            if not self.disk.waiting:
                return
            self.disk.commit()
            await asyncio.sleep(GATHER_SECONDS)  # the pause before the next batch
        raise AssertionError("the journal does not come to rest")

    def pass_time(self, seconds: float) -> None:
        """On the wall and in the process."""
        self.wall.now += seconds
        self.house.tick(seconds)


async def sub(socket: Socket, *filters: str, qos: int = 1) -> None:
    """Subscribe, and be granted it."""
    assert await socket.subscribe(*filters, qos=qos) == [qos] * len(filters)


async def back(house: House, name: str, **options: object) -> tuple[Socket, list[Packet]]:
    """Come back to a session that is there, and what the broker says first."""
    socket, answer = await house.dial(name, clean=False, properties=STAYS, **options)  # type: ignore[arg-type]
    assert getattr(answer, "session_present", None) is True, answer
    return socket, await socket.take()


def published(packets: list[Packet]) -> list[Publish]:
    """The PUBLISHes among packets, all else must be acknowledgements."""
    assert all(isinstance(packet, Publish | PubAck) for packet in packets), packets
    return [packet for packet in packets if isinstance(packet, Publish)]


def holdings(house: House) -> dict[str, object]:
    """All that a broker holds for sessions that outlive their connections, in words that mean the same in every process."""
    core = house.broker.core
    journal = core.journal
    assert journal is not None

    def waits(packet_id: int, each: Outgoing) -> object:
        awaits = Awaits.PUBREC if each.awaits is Awaits.COMMIT else each.awaits
        share = each.share is not None
        if each.withdrawn:
            return (packet_id, "withdrawn", awaits)
        message = each.message
        ends = None if message.expires_at is None else round(journal.on_wall(message.expires_at), 3)
        body = (
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            repr(message.properties),
            ends,
            message.mark,
        )
        return (packet_id, body, message.publisher, awaits, each.retain, each.identifiers, share)

    def holding(session: Session) -> object:
        sent = [(packet_id, each) for packet_id, each in session.inflight.items() if each.key]
        # PUBLISHes among each other, and PUBRELs among each other, have an order; the one and the other have none.
        sent.sort(key=lambda item: item[1].awaits is Awaits.PUBCOMP)
        purged = [(packet_id, each) for packet_id, each in session._withdrawn.items() if each.key]
        return {
            "owner": (session.principal, session.uid, session.expiry),
            "subscriptions": session.subscriptions,
            "sent": [waits(packet_id, each) for packet_id, each in sent],
            "withdrawn": sorted(repr(waits(packet_id, each)) for packet_id, each in purged),
            "queue": [waits(0, each) for each in session.queue if each.key],
            "held": {packet_id for packet_id, held in session.inbound.held.items() if held is Held.RECEIVED},
        }

    kept = {name: holding(session) for name, session in core.sessions.items() if session.journal is not None}
    retained = {m.topic: m.payload for m in core.retained.find("#", core.clock()) if m.publisher}
    return {"sessions": kept, "retained": retained}


async def as_stored(site: Site) -> dict[str, object]:
    """The same, of a process that would start now; nothing changes by asking."""
    copy = Site(site.policy, **site.limits)
    copy.wall.now = site.wall.now
    for kind, records in site.disk.records._records.items():
        copy.disk.records._records[kind] = dict(records)
    copy.disk.records.starts = site.disk.records.starts + 1
    copy.disk.gated = True
    return holdings(await copy.start())


async def away(house: House, name: str, *filters: str, qos: int = 1) -> None:
    """A client subscribed, and went."""
    socket = await house.client(name, properties=STAYS)
    await sub(socket, *filters, qos=qos)
    socket.vanish()
    await house.rest()


async def say(house: House, topic: str, *payloads: bytes, qos: int = 1, **options: object) -> None:
    """Publish, and have it acknowledged."""
    speaker = await house.client("speaker")
    for number, payload in enumerate(payloads, 1):
        answers = await speaker.send(Publish(topic, payload, qos, packet_id=number, **options))  # type: ignore[arg-type]
        assert len(answers) == 1
