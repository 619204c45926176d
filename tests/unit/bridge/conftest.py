"""A bridge on memory twins: `world` has one running, with chat `c1` (user1, user2, dev-thermo) and `c2` (user2, user3)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from adapters.memory import memory_stores
from adapters.memory.invalidations import MemoryInvalidations
from adapters.memory.jobs import MemoryJobQueue
from adapters.memory.link import MemoryBroker, MemoryLink
from adapters.memory.messages import MemoryMessages
from adapters.memory.presence import MemoryPresence
from adapters.memory.push_progress import MemoryPushProgress
from adapters.memory.ratelimit import MemoryRateLimiter
from adapters.stores import Stores
from bridge.app import Bridge
from bridge.settings import Settings
from chat import topics
from chat.envelopes import Body, Event, Send, encode
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Role
from chat.ports import Inserted, Published
from chat.tracing import TraceContext, Tracer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Messages(MemoryMessages):
    """A message store that can be told to fail: `before` and `after` are called around each insert and may raise."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[Sequence[Event]], None] = lambda _events: None
        self.after_insert: Callable[[Sequence[Event]], None] = lambda _events: None
        self.inserts: list[list[Event]] = []

    async def insert(self, events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
        await asyncio.sleep(0)  # as the real one: others run meanwhile
        self.before(events)
        answers = await super().insert(events, push=push)
        self.inserts.append(list(events))
        self.after_insert(events)
        return answers


class World:
    """A bridge, its stores, and somebody who publishes."""

    def __init__(self, stores: Stores, broker: MemoryBroker, *, tracer: Tracer | None = None, **settings: Any) -> None:
        self.stores = stores
        self.broker = broker
        self.bridge_link = broker.link()
        self.phone: MemoryLink = broker.link()
        self.presence = MemoryPresence()
        self.invalidations = MemoryInvalidations()
        self.jobs = MemoryJobQueue()
        self.limiter = MemoryRateLimiter()
        self.progress = MemoryPushProgress()
        self.registry = CollectorRegistry()
        values = {
            "bridge_receipts_every": 0.01,
            "bridge_drain": 2.0,
            "bridge_duplicates": 0,
            "link_secret_file": Path("unused"),
        } | settings
        self.bridge = Bridge(
            Settings(**values),
            link=self.bridge_link,
            stores=stores,
            presence=self.presence,
            invalidations=self.invalidations,
            jobs=self.jobs,
            limiter=self.limiter,
            progress=self.progress,
            registry=self.registry,
            tracer=tracer,
        )
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.bridge.run(self.stop))

    @property
    def messages(self) -> Messages:
        assert isinstance(self.stores.messages, Messages)
        return self.stores.messages

    async def send(
        self,
        chat: str,
        user: str,
        text: str = "안녕하세요",
        *,
        id_: str | None = None,
        raw: bytes | None = None,
        content_type: str | None = None,
        ingest: str | None = None,
        trace: TraceContext | None = None,
        **fields: Any,
    ) -> Published:
        if raw is None:
            fields.setdefault("body", Body(text=text))
            raw = encode(Send(id=id_ or new_message_id(), **fields))
        properties = ({"ingest": ingest} if ingest else {}) | ({} if trace is None else trace.headers)
        return await self.phone.publish(topics.send(chat, user), raw, content_type=content_type, properties=properties)

    async def publish(self, topic: str, value: Any) -> Published:
        raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return await self.phone.publish(topic, raw)

    async def history(self, chat: str) -> list[Event]:
        return as_read(await self.stores.messages.after(chat, 0, 10_000))

    def fanned(self, chat: str) -> list[Event]:
        return [msgspec.json.decode(sent.payload, type=Event) for sent in self.broker.on(topics.messages(chat))]

    def inbox(self, user: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(sent.payload) for sent in self.broker.on(topics.inbox(user))]

    def receipts(self, chat: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(sent.payload) for sent in self.broker.on(topics.receipts(chat))]

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"pabal_bridge_{name}_total", labels) or 0.0

    async def ready(self) -> None:
        await self.broker.subscribed(self.bridge_link)

    async def close(self) -> None:
        if self.task.done():  # killed by its test
            return
        self.bridge_link.up = True
        self.stop.set()
        await self.task


def as_read(events: list[Event]) -> list[Event]:
    """Events as a reader gets them: the memory store keeps the stricter types of the way up."""
    return msgspec.json.decode(msgspec.json.encode(events), type=list[Event])


def fresh_stores() -> Stores:
    return dataclasses.replace(memory_stores(), messages=Messages())


async def populate(stores: Stores) -> None:
    for chat, users in (("c1", ("user1", "user2", "dev-thermo")), ("c2", ("user2", "user3"))):
        members = [Member(chat, user, Role.MEMBER, NOW) for user in users]
        await stores.chats.create(Chat(chat, ChatKind.GROUP, NOW, users[0]), members)


@pytest.fixture
async def make_world() -> AsyncIterator[Callable[..., Any]]:
    """Several bridges, on the same stores and broker when these are given."""
    worlds: list[World] = []

    async def make(stores: Stores | None = None, broker: MemoryBroker | None = None, **settings: Any) -> World:
        if stores is None:
            stores = fresh_stores()
            await populate(stores)
        made = World(stores, broker or MemoryBroker(), **settings)
        worlds.append(made)
        await made.ready()
        return made

    yield make
    for made in worlds:
        await made.close()


@pytest.fixture
async def world(make_world: Callable[..., Any]) -> World:
    made: World = await make_world()
    return made
