"""The api in this process, for tests: real routes and services, on stores of the test's choice and without sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from adapters.authority import ensure_authority
from adapters.memory.connections import MemoryConnections, MemoryProcesses
from adapters.memory.invalidations import MemoryInvalidations
from adapters.memory.jobs import MemoryJobQueue
from adapters.memory.ratelimit import MemoryRateLimiter
from adapters.memory.recents import MemoryRecents
from adapters.sealing import ensure_seal
from adapters.signing_keys import new_key, write_jwks
from adapters.stores import Stores
from api.app import assemble, create_app, open_providers
from api.clock import now
from api.deps import Parts
from api.settings import Settings
from chat import topics
from chat.envelopes import Event, Invalidation, read_send, read_system
from chat.errors import Unavailable
from chat.history import Recents
from chat.ids import is_service
from chat.models import Receipt, Watermarks
from chat.ports import Delivery, MessageStore, Parcel, Published, RateLimiter
from chat.tracing import TraceContext

PASSWORD = "파발은 밤에도 달린다"  # noqa: S105 - of throw-away users


class RecordingInvalidations(MemoryInvalidations):
    """Keeps what was published. With `fault` set, publishing raises it."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[Invalidation] = []
        self.fault: Exception | None = None

    async def publish(self, message: Invalidation) -> None:
        """Note it."""
        if self.fault is not None:
            raise self.fault
        self.published.append(message)


class BridgeLink:
    """A link with a broker and a bridge at its other end, as far as the api can tell: what is sent is stored, in order.

    Attributes:
        sent: every publish, as (topic, payload).
        answer: what the next publishes get instead: an answer of the broker's, an error to raise, or a function that waits.
    """

    def __init__(self, messages: MessageStore) -> None:
        self._messages = messages
        self.connected = True
        self.sent: list[tuple[str, bytes]] = []
        self.answer: Published | Exception | Callable[[], Awaitable[Published]] | None = None

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Published:
        """See `chat.ports.Link.publish`."""
        del qos, retain, content_type, properties
        self.sent.append((topic, payload))
        if isinstance(self.answer, Published):
            return self.answer
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return await self.answer()
        await self._store(topic, payload)
        return Published(0)

    async def publish_all(
        self, parcels: Sequence[Parcel], *, traces: Mapping[int, TraceContext] | None = None
    ) -> list[Published | None]:
        """See `chat.ports.Link.publish_all`."""
        del traces
        answers: list[Published | None] = []
        for topic, payload, _ in parcels:
            try:
                answers.append(await self.publish(topic, payload))
            except Unavailable:
                answers.append(None)
        return answers

    async def run(self, filters: Sequence[str], receive: Callable[[list[Delivery]], None]) -> None:
        """See `chat.ports.Link.run`: there is nothing to receive."""
        del filters, receive

    async def _store(self, topic: str, payload: bytes) -> None:
        found = topics.parse(topic)
        if found is None or found.kind is not topics.Kind.SEND or found.user is None:
            return
        send = read_system(payload) if is_service(found.user) else read_send(payload)
        if send.id in await self._messages.by_ids([send.id]):
            return
        head = await self._messages.head(found.scope)
        event = Event(
            type=send.type,
            id=send.id,
            chat=found.scope,
            seq=head.seq + 1,
            n=head.n + (send.type == "message"),
            sender=found.user,
            at=now(),
            body=send.body,
            target=send.target,
            reply_to=send.reply_to,
            mentions=send.mentions,
            system=send.system,
        )
        await self._messages.insert([event])
        if send.type == "delete" and send.target is not None:
            await self._messages.rewrite(send.target, body=None, edited_at=None, deleted_at=event.at)


@dataclass
class User:
    """A signed-in user with the shortest way to call."""

    client: httpx.AsyncClient
    id: str
    tokens: dict[str, Any] = field(repr=False)

    async def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request with the access token."""
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}", **request.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **request)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """GET with query parameters."""
        return await self.call("GET", path, params=params)

    async def post(self, path: str, json: Any) -> httpx.Response:
        """POST a JSON body."""
        return await self.call("POST", path, json=json)


@dataclass
class Harness:
    """The running api and what stands round it."""

    app: FastAPI
    client: httpx.AsyncClient
    parts: Parts
    stores: Stores
    link: BridgeLink
    invalidations: RecordingInvalidations
    connections: MemoryConnections
    processes: MemoryProcesses
    jobs: MemoryJobQueue

    async def user(self, handle: str, *, display_name: str | None = None) -> User:
        """A new user, signed in."""
        wish = {"handle": handle, "password": PASSWORD, "display_name": display_name or handle}
        answer = await self.client.post("/v1/auth/register", json=wish)
        answer.raise_for_status()
        return await self.sign_in(handle)

    async def sign_in(self, handle: str, password: str = PASSWORD) -> User:
        """Sign an existing user in."""
        form = {"grant_type": "password", "username": handle, "password": password}
        answer = await self.client.post("/v1/auth/token", data=form)
        answer.raise_for_status()
        return User(self.client, handle, answer.json())

    async def move(
        self, chat: str, user: str, *, delivered: int = 0, seen: int = 0, at: datetime | None = None
    ) -> None:
        """What the bridge does with an acknowledgement: raise the watermarks and log the move."""
        moment, delivered = at or now(), max(delivered, seen)
        seen_n = (await self.stores.messages.n_at(chat, [seen])).get(seen, 0)
        await self.stores.chats.raise_watermarks([Watermarks(chat, user, delivered, seen, seen_n)])
        rows = [Receipt(chat, user, "delivered", delivered, moment)]
        if seen:
            rows.append(Receipt(chat, user, "seen", seen, moment))
        await self.stores.receipts.append(rows)


@asynccontextmanager
async def running_api(
    directory: Path,
    stores: Stores,
    *,
    limiter: RateLimiter | None = None,
    recents: Recents | None = None,
    **settings: Any,
) -> AsyncIterator[Harness]:
    """The api on `stores`, with keys in `directory` and cheap passwords; `settings` as in `api.settings`."""
    new_key(directory / "keys")
    ensure_authority(directory / "ca")
    ensure_seal(directory / "keys")
    write_jwks(directory / "keys", directory / "jwks.json")
    chosen = {
        "mongo_url": "mongodb://unused",
        "link_secret_file": directory / "unused",
        "keys_dir": directory / "keys",
        "jwks_file": directory / "jwks.json",
        "ca_dir": directory / "ca",
        "argon2_memory_kib": 8,
        "argon2_passes": 1,
        **settings,
    }
    link, invalidations = BridgeLink(stores.messages), RecordingInvalidations()
    connections, processes, jobs = MemoryConnections(), MemoryProcesses(), MemoryJobQueue()

    async def health() -> dict[str, bool]:
        return {"mongo": await stores.healthy(), "link": link.connected}

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Parts]:
        async with open_providers(settings.oidc_file) as providers:
            parts = assemble(
                settings,
                stores=stores,
                link=link,
                jobs=jobs,
                invalidations=invalidations,
                limiter=limiter or MemoryRateLimiter(),
                recents=recents or MemoryRecents(),
                health=health,
                connections=connections,
                processes=processes,
                providers=providers,
            )
            yield parts
            parts.passwords.close()

    app = create_app(Settings.model_validate(chosen), opened=opened)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 50000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        yield Harness(app, client, app.state.parts, stores, link, invalidations, connections, processes, jobs)
