# ruff: noqa: PLC0415 -- each build imports the process that it breaks, and no other
"""Builds that break one promise each on purpose. `broken_process.py` runs the one that a file names, in place of the real process.

Each is patched where the promise is kept, as little as will do; the checker must find each of them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace


@dataclass(frozen=True, slots=True)
class Build:
    """A build.

    Attributes:
        process: that is broken.
        breaks: patches its code; run inside it before it starts.
        finding: of the checker.
    """

    process: str
    breaks: Callable[[], None]
    finding: str


def acknowledge_first() -> None:
    """P1: the acknowledgement when a message arrives, the write some time later."""
    from bridge import ingest

    offer, run = ingest.Ingest.offer, ingest.Ingest._run

    def eager(self: Any, delivery: Any, **named: Any) -> None:
        delivery.settle(0, None, None)
        offer(self, replace(delivery, settle=lambda *_: None), **named)

    async def late(self: Any, batch: Any) -> None:
        await asyncio.sleep(0.2)  # so that a kill always finds something acknowledged and not yet stored
        await run(self, batch)

    ingest.Ingest.offer = eager  # type: ignore[method-assign]
    ingest.Ingest._run = late  # type: ignore[method-assign]


def tell_what_is_not_stored() -> None:
    """P2: some messages are fanned out and never written."""
    from adapters.mongo.messages import MongoMessages
    from chat.ports import Inserted

    insert = MongoMessages.insert

    async def leaky(self: Any, events: Any, **named: Any) -> Any:
        kept = [event for event in events if event.seq % 40]
        answers = iter(await insert(self, kept, **named))
        return [next(answers) if event.seq % 40 else Inserted(stored=True) for event in events]

    MongoMessages.insert = leaky  # type: ignore[method-assign]


def leave_holes() -> None:
    """P3: `seq` is skipped now and then, and nobody fills the slot."""
    from bridge import order

    advance = order.ChatHead.advance

    def skipping(self: Any, *values: Any) -> None:
        advance(self, *values)
        if self.seq % 40 == 0:
            self.seq += 1

    async def unfilled(self: Any, chat: str, head: Any) -> tuple[list[Any], Any]:
        return [], await self._messages.slots(chat, 1, head.seq)

    order.ChatHead.advance = skipping  # type: ignore[method-assign]
    order.Order._fill = unfilled  # type: ignore[method-assign]


def store_repeats() -> None:
    """P4: the message id is no fence any more."""
    from adapters.mongo import messages
    from bridge.repeats import Recent
    from chat.ids import new_message_id

    document = messages.to_document

    def fresh(*values: Any, **named: Any) -> Any:
        return {**document(*values, **named), "_id": new_message_id()}

    messages.to_document = fresh
    Recent.get = lambda *_: None  # type: ignore[method-assign]


def let_everybody_in() -> None:
    """P5: the broker asks nobody."""
    from broker.chat_policy import ChatPolicy

    ChatPolicy.known = lambda *_: True  # type: ignore[method-assign]


def see_the_future() -> None:
    """P6: watermarks beyond what there is."""
    from adapters.mongo.chats import MongoChats

    raise_watermarks = MongoChats.raise_watermarks

    async def beyond(self: Any, moves: Any) -> None:
        ahead = [msgspec.structs.replace(move, seen_seq=move.seen_seq + 1_000) for move in moves]
        await raise_watermarks(self, ahead)

    MongoChats.raise_watermarks = beyond  # type: ignore[method-assign]


def miss_silently() -> None:
    """P7: whoever was away is told that there was nothing."""
    from bridge.syncing import Syncing
    from chat import sync

    async def nothing(self: Any, user: str, chat: str, cursor: int, head: Any, request: Any, **_: Any) -> Any:
        del self, user, cursor
        return sync.page(chat, head.seq, [], head, limit=request.limit, req=request.req)

    Syncing._one = nothing  # type: ignore[method-assign]


def keep_everything() -> None:
    """P8: memory grows with every message."""
    from bridge.ingest import Ingest

    kept: list[bytes] = []
    offer = Ingest.offer

    def hoarding(self: Any, delivery: Any, **named: Any) -> None:
        kept.append(b"x" * 2_000_000)
        offer(self, delivery, **named)

    Ingest.offer = hoarding  # type: ignore[method-assign]


def park_nowhere() -> None:
    """P9: dead letters are said to be kept."""
    from adapters.mongo.dead_letters import MongoDeadLetters

    async def gone(*_: Any) -> None:
        return None

    MongoDeadLetters.add = gone  # type: ignore[method-assign]


def scatter() -> None:
    """A chat sticks to no bridge: each message goes to any. Slower, and no promise is broken, as long as the fences stand."""
    from mqtt.index import Group

    def anyone(self: Any, topic: str, available: Callable[[Any], bool]) -> Any:
        del topic
        able = [member for member in self.members if available(member)]
        return random.choice(able) if able else None  # noqa: S311 -- chance, not secrecy

    Group.choose = anyone  # type: ignore[method-assign]


SCATTER = "scatter"

BUILDS = {
    "P1": Build("bridge", acknowledge_first, "lost"),
    "P2": Build("bridge", tell_what_is_not_stored, "phantom"),
    "P3": Build("bridge", leave_holes, "gap"),
    "P4": Build("bridge", store_repeats, "twice"),
    "P5": Build("broker", let_everybody_in, "intruder"),
    "P6": Build("bridge", see_the_future, "watermark"),
    "P7": Build("bridge", miss_silently, "missed"),
    "P8": Build("bridge", keep_everything, "unbounded"),
    "P9": Build("bridge", park_nowhere, "unparked"),
}
