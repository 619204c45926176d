"""A chat, its people, and a worker's pushing on twins of everything outside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.memory import memory_stores
from adapters.memory.presence import MemoryPresence
from adapters.memory.push import MemoryPushSender
from adapters.memory.push_progress import MemoryPushProgress
from adapters.memory.ratelimit import MemoryRateLimiter
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, PushToken, Role, User
from chat.push_preferences import PushPreferences
from workers import metrics
from workers.push.audience import Audience
from workers.push.deliver import Limits, PushDelivery
from workers.push.parking import Parking
from workers.push.sending import Pace, Sending
from workers.push.withdraw import Withdrawals
from workers.push.work import Ending, Outcome

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=3)
REST = 3.0
LIMITS = Limits(lease=60, budget=30, tries=3, longest_pause=60, max_age=timedelta(hours=12), grace=GRACE, rest=REST)
PACE = Pace(rate=8_000, tries=3, longest_pause=60, lease=60)
AWAY = ["user3-android", "user3-web", "user4-android", "user4-web", "user5-android", "user5-web"]


class Clock:
    """Seconds that rise when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


class World:
    """A chat of five, of which user1 writes, user2 is online, and the others have two installations each."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.clock = Clock()
        self.stores = memory_stores()
        self.presence = MemoryPresence()
        self.progress = MemoryPushProgress(clock=self.clock)
        self.sender = MemoryPushSender()
        self.executor = executor
        self.delivery = self.new_delivery()
        self.withdrawals = Withdrawals(
            stores=self.stores,
            progress=self.progress,
            sender=self.sender,
            executor=executor,
            lease=60,
            longest_pause=60,
            now=self.clock.now,
        )

    def new_delivery(
        self,
        limits: Limits = LIMITS,
        pace: Pace = PACE,
        *,
        off: bool = False,
        progress: MemoryPushProgress | None = None,
    ) -> PushDelivery:
        parking = Parking(self.stores.dead_letters, self.clock.now)
        sending = Sending(
            stores=self.stores,
            progress=progress or self.progress,
            sender=self.sender,
            quota=MemoryRateLimiter(clock=self.clock),
            parking=parking,
            executor=self.executor,
            threads=4,
            pace=pace,
            now=self.clock.now,
        )
        return PushDelivery(
            stores=self.stores,
            presence=self.presence,
            progress=progress or self.progress,
            audience=Audience(self.stores, frozenset({"android", "web"})),
            sending=None if off else sending,
            parking=parking,
            limits=limits,
            now=self.clock.now,
        )

    async def fill(self, *, title: str | None = "가족", users: int = 5) -> None:
        names = [f"user{number}" for number in range(1, users + 1)]
        chat = Chat(id="g-1", kind=ChatKind.GROUP, created_at=NOW, created_by="user1", title=title)
        members = [
            # user2 is online, and has everything that is sent
            Member(chat="g-1", user=name, role=Role.MEMBER, joined_at=NOW, delivered_seq=1000 if name == "user2" else 0)
            for name in names
        ]
        await self.stores.chats.create(chat, members)
        await self.stores.users.add(User(id="user1", display_name="김철수", password_hash="", created_at=NOW))
        for name in names:
            for platform in ("android", "web"):
                token = PushToken(token=f"{name}-{platform}", user=name, platform=platform, updated_at=NOW)
                await self.stores.push_tokens.put(token)
        await self.presence.replace("b1", {"user2": 1})

    async def message(self, **changes: Any) -> str:
        chat = changes.get("chat", "g-1")
        head = await self.stores.messages.head(chat)
        fields: dict[str, Any] = {
            "type": "message",
            "id": new_message_id(),
            "chat": chat,
            "seq": head.seq + 1,
            "n": head.n + 1,
            "sender": "user1",
            "at": self.clock.now(),
            "body": Body(text="안녕하세요"),
        }
        event = Event(**(fields | changes))
        await self.stores.messages.insert([event], push=frozenset({event.id}))
        return event.id

    async def wish(self, user: str, **wishes: Any) -> None:
        await self.stores.push_preferences.put(PushPreferences(user, **wishes))

    async def change(self, user: str, **changes: Any) -> None:
        assert await self.stores.memberships.arrange("g-1", user, changes)

    async def push(self, *message_ids: str, tries: int = 1) -> Outcome:
        return await self.delivery.push(message_ids, tries=tries)

    async def marked(self, message_id: str) -> bool:
        return await self.stores.messages.push_claim(message_id) is not None

    def tokens(self) -> list[str]:
        return sorted(push.token.token for push in self.sender.delivered)

    def attempts(self) -> list[str]:
        return sorted(push.token.token for push in self.sender.attempts)


class Counted:
    """What counters have gained since it was made."""

    def __init__(self) -> None:
        self._before = _counts()

    def __call__(self) -> dict[str, float]:
        now = _counts()
        return {name: now[name] - self._before.get(name, 0) for name in now if now[name] != self._before.get(name, 0)}


def _counts() -> dict[str, float]:
    found = {}
    for counter, prefix in ((metrics.PUSHES, ""), (metrics.SUPPRESSED, ""), (metrics.WITHDRAWN, "withdrawn_")):
        for sample in next(iter(counter.collect())).samples:
            if sample.name.endswith("_total"):
                found[prefix + next(iter(sample.labels.values()))] = sample.value
    return found


def ended(outcome: Outcome) -> dict[Ending, int]:
    """The endings of a job that there were."""
    return {ending: count for ending, count in outcome.endings.items() if count}


def hasty(**changes: Any) -> Limits:
    return replace(LIMITS, **changes)
