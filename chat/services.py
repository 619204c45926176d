"""Ports to what is no store: presence, invalidations, rate limits, jobs, pushes, the link, log-in. `chat.ports` has them too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import msgspec

from chat.models import Principal, PushToken
from chat.signals import Invalidation
from chat.tracing import TraceContext


class Presence(Protocol):
    """Who is connected, as far as known. It may be lost: then everybody looks away, and pushes are sent that were not needed."""

    async def replace(self, broker: str, online: Mapping[str, int]) -> None:
        """A broker (re)starts or repairs its table: everybody it holds, with their number of connections."""
        ...

    async def update(self, broker: str, changes: Mapping[str, int]) -> None:
        """Principals whose number of connections changed; 0 means gone."""
        ...

    async def heartbeat(self, broker: str) -> bool:
        """The broker's table is valid for another 30 s. False: it is not whole (Valkey was emptied, beats were missed): `replace` it."""
        ...

    async def online(self, users: Sequence[str]) -> set[str]:
        """Those who are connected to any broker that still beats."""
        ...


class Invalidations(Protocol):
    """Cut cached decisions at once, in every process."""

    async def publish(self, message: Invalidation) -> None:
        """Tell everybody. Losing it is allowed: caches have their own sweep."""
        ...

    def listen(self) -> AsyncIterator[Invalidation | None]:
        """Messages as they come; None whenever some may have been missed (connected, reconnected): check everything."""
        ...


class RateLimiter(Protocol):
    """Token buckets shared by processes."""

    async def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> float:
        """Take from the bucket `key` (refilled at `rate` per second up to `burst`); 0.0 if granted, else seconds to wait."""
        ...

    async def spend(self, costs: Mapping[str, float], *, rate: float, burst: float) -> dict[str, float]:
        """Charge several buckets for what has been used already, and tell what is left in each.

        Less than 0 is left when several processes together used more than there was; never less than `-burst`.
        """
        ...

    async def forget(self, key: str) -> None:
        """Fill a bucket."""
        ...


class JobQueue(Protocol):
    """Background work. Losing a job is allowed: sweepers find what was not done."""

    async def enqueue(self, name: str, *args: str, queue: str, trace: TraceContext | None = None) -> None:
        """Send a job by name (`chat.jobs`) with ids as arguments, and the span that it belongs to, if that is recorded."""
        ...

    async def submit(self, name: str, *args: str, queue: str) -> None:
        """The same for somebody who waits until it is in the queue.

        Raises:
            Unavailable: nobody knows whether it is.
        """
        ...


@dataclass(frozen=True, slots=True)
class Push:
    """One push for one installation.

    Attributes:
        token: where to.
        title, text: what the system shows of it; nothing where the token (or the push) is `data_only`.
        data: for the app.
        collapse_key: a newer push with the same one takes the place of this.
        badge: the number on the app's icon; None leaves it as it is.
        data_only: there is nothing to show.
    """

    token: PushToken
    title: str
    text: str | None
    data: Mapping[str, str]
    collapse_key: str
    badge: int | None = None
    data_only: bool = False


class PushSender(Protocol):
    """Hands one push to its provider. Synchronous: workers call it from a process of their own."""

    def send(self, push: Push) -> None:
        """Deliver to the provider.

        Raises:
            PushTokenDead, PushRejected, PushRetry: see `chat.pushes`.
        """
        ...


MARK = "mark"
"""The user property with a `seq` that the bridge puts on what it fans out: what a subscriber's PUBACK stands for."""

INGEST = "ingest"
"""The user property in which the broker passes on the ingest id of what has no id of its own."""

_NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


class Delivery(msgspec.Struct, gc=False):
    """A message that came in on a link and waits to be settled.

    Attributes:
        properties: MQTT 5 user properties, last one wins.
        settle: answer the broker's publish: `settle(reason_code, reason, code)`; with 0x00 the message is done, with a code of
            0x80 or above it is refused and the publisher is told `code` and `reason`. A QoS 0 delivery ignores it.
    """

    topic: str
    payload: bytes
    qos: int
    settle: Callable[[int, str | None, str | None], None]
    content_type: str | None = None
    properties: Mapping[str, str] = _NO_PROPERTIES


Parcel = tuple[str, bytes, int | None]
"""A message that is published with others: its topic, its payload, and its mark, which goes with it as the user property `mark`."""


@dataclass(frozen=True, slots=True)
class Published:
    """The broker's answer to a publish; `code` and `reason` come from whoever refused it."""

    reason_code: int
    reason: str | None = None
    code: str | None = None


class Link(Protocol):
    """A service's connection to the broker: MQTT 5, QoS 1, settled by hand, reconnecting by itself."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Awaitable[Published]:
        """Send one message; the answer comes with the broker's PUBACK (at once for QoS 0).

        Raises:
            Unavailable: the connection is down, or went down before the answer (the message may have been taken).
        """
        ...

    def publish_all(
        self, parcels: Sequence[Parcel], *, traces: Mapping[int, TraceContext] | None = None
    ) -> Awaitable[Sequence[Published | None]]:
        """Send messages with QoS 1, in this order: for many at once it costs half of what as many `publish` do.

        Args:
            traces: the spans that some belong to, by their place in `parcels`: their receivers are told `traceparent`. Not `tracestate`: its
                words are a client's, and members see no words of others that no filter has seen.

        Returns: once there is an answer to each, the answers in the same order; None where the connection was down, or went down before
            the answer (the message may have been taken).
        """
        ...

    async def run(self, filters: Sequence[str], receive: Callable[[list[Delivery]], None]) -> None:
        """Stay connected, subscribe to `filters`, and hand over what arrives, one list per read, until cancelled."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the link is up now."""
        ...


class Authenticator(Protocol):
    """Tells who a connection is. Behind it: tokens, device secrets, service secrets, client certificates."""

    async def welcome(self, ids: Collection[str]) -> set[str]:
        """Those principals who are still let in at all: they exist and are not disabled. One query per kind.

        Raises:
            Unavailable: it can't be found out now.
        """
        ...

    async def certified(self, name: str, password: bytes | None) -> Principal:
        """The principal that a verified client certificate names: a device or service by that alone, a user with the
        access token of a sign-in as well.

        Raises:
            Unauthenticated: it names nobody, somebody who is disabled, or a user without a token.
            Unavailable: it can't be found out now (which denies as well).
        """
        ...

    async def authenticate(self, username: str | None, password: bytes | None) -> Principal:
        """The principal that the credentials prove.

        Raises:
            Unauthenticated: they prove nothing.
            Unavailable: it can't be found out now (which denies as well).
        """
        ...
