"""Getting an event's pushes to the provider.

An event has a push mark until its pushes are through, one way or the other. A job takes a lease on the event, so that the job
and the sweeper's copy of it don't send twice; remembers each token that is done, so that a retry sends to the others only; and
takes the mark away at the end. What is killed in between is found by the sweeper once its lease has run out.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec
import structlog

from adapters.stores import Stores
from chat import topics
from chat.envelopes import Event
from chat.errors import Unavailable
from chat.ids import is_device
from chat.jobs import PUSH_EVENT
from chat.models import DeadLetter, PushToken
from chat.ports import Presence, PushSender
from chat.pushes import PushProgress, PushRejected, PushRetry, PushTokenDead
from workers import metrics
from workers.push.decide import Pointless, must_wait, pointless, recipients
from workers.push.notification import compose
from workers.push.retry import PushWait, pause

PAGE = 500
"""Members per query: a large chat is worked through in pages, never held whole."""

_log = structlog.get_logger("push")


class Ending(StrEnum):
    """How a push job ended, other than with a retry."""

    DONE = "done"
    GONE = "gone"  # the mark was gone: another job has done it
    BUSY = "busy"  # another job is at it, or the provider wants a pause
    SKIPPED = "skipped"  # there was nobody to wake, see `Pointless`
    PARKED = "parked"  # given up, in dead letters


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a push job.

    Attributes:
        lease: seconds; longer than a job can take, because its end must not come while the job still sends.
        budget: seconds after which a job stops sending and comes back for the rest.
        tries: after so many the event is parked.
        longest_pause: seconds between tries, unless the provider asks for more.
        max_age: no push for older events.
        grace: how long somebody who looks connected has to acknowledge an event before they are pushed all the same.
        threads: pushes under way at once.
    """

    lease: float
    budget: float
    tries: int
    longest_pause: float
    max_age: timedelta
    threads: int
    grace: timedelta


class PushDelivery:
    """Pushes events, one at a time.

    Args:
        sender: None: pushes are off, and events lose their mark.
        executor: where the sender's blocking calls run; has `limits.threads` threads.
        now: UTC.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        presence: Presence,
        progress: PushProgress,
        sender: PushSender | None,
        executor: Executor,
        limits: Limits,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = stores
        self._presence = presence
        self._progress = progress
        self._sender = sender
        self._executor = executor
        self._limits = limits
        self._now = now

    async def push(self, message_id: str, *, tries: int) -> Ending:
        """Push one event to everybody who waits for it.

        Args:
            message_id: the event's id.
            tries: the number of this try, from 1.

        Raises:
            PushRetry: some of it has to be tried again, `after` so many seconds (never None).
            Unavailable: Mongo or Valkey does not answer.
        """
        lease = await self._progress.acquire(message_id, seconds=self._limits.lease)
        if lease is None:
            return Ending.BUSY
        try:
            ending = await self._push(message_id)
        except PushWait as wait:
            await self._progress.hold(message_id, lease, seconds=wait.after or 0.0)
            raise
        except PushRetry as retry:
            return await self._again(message_id, lease, retry, tries)
        except Unavailable:
            with suppress(Unavailable):
                await self._progress.release(message_id, lease)
            raise
        except Exception as error:  # noqa: BLE001 - a poison event is tried like the others, then parked with its reason (P9)
            _log.exception("push.failed", message_id=message_id)
            return await self._again(message_id, lease, PushRetry(f"a fault of ours: {type(error).__name__}"), tries)
        await self._progress.release(message_id, lease)
        return ending

    async def _push(self, message_id: str) -> Ending:
        event = await self._stores.messages.push_claim(message_id)
        if event is None:
            return Ending.GONE
        why = pointless(event, now=self._now(), max_age=self._limits.max_age)
        if why is Pointless.TOO_OLD:
            await self._park(message_id, "it was still not pushed when it was too old to be", tries=0)
            return Ending.PARKED
        if why is not None or self._sender is None:
            await self._stores.messages.push_done(message_id)
            _log.info("push.skipped", message_id=message_id, why=why.value if why else "off")
            return Ending.SKIPPED
        await self._send_all(event, self._sender)
        await self._stores.messages.push_done(message_id)
        return Ending.DONE

    async def _again(self, message_id: str, lease: str, retry: PushRetry, tries: int) -> Ending:
        """Hold the event for the pause, or give it up."""
        if tries >= self._limits.tries:
            await self._park(message_id, str(retry), tries=tries)
            await self._progress.release(message_id, lease)
            return Ending.PARKED
        after = pause(tries, asked=retry.after, longest=self._limits.longest_pause)
        if retry.after is not None:  # also should Valkey, which has the hold, be emptied
            await self._stores.messages.push_hold(message_id, self._now() + timedelta(seconds=after))
        with suppress(Unavailable):  # the job itself comes back when it should
            await self._progress.hold(message_id, lease, seconds=after)
        raise PushRetry(str(retry), after=after) from retry

    async def _park(self, message_id: str, reason: str, *, tries: int) -> None:
        event = (await self._stores.messages.by_ids([message_id])).get(message_id)
        if event is not None:
            await self._stores.dead_letters.add(self._letter(event, reason, tries=tries))
        await self._stores.messages.push_done(message_id)
        _log.error("push.parked", message_id=message_id, reason=reason, tries=tries)

    def _letter(self, event: Event, reason: str, *, tries: int, token: PushToken | None = None) -> DeadLetter:
        """Ids only: the text is in the event, and the push token (a secret of its installation) in its collection."""
        which = f":{hashlib.sha256(token.token.encode()).hexdigest()[:16]}" if token else ""
        about = {"message_id": event.id} | ({"user": token.user} if token else {})
        return DeadLetter(
            id=f"push:{event.id}{which}",
            topic=topics.messages(event.chat),
            payload=msgspec.json.encode(about),
            reason=reason,
            tries=tries,
            at=self._now(),
            properties={"job": "push"},
            kind="push",
            job=None if token else PUSH_EVENT,  # what FCM refused for one token for good is never sent again
            args=[event.id],
        )

    async def _send_all(self, event: Event, sender: PushSender) -> None:
        """Send to every token that still needs it; raises `PushRetry` when some need it still."""
        deadline = asyncio.get_running_loop().time() + self._limits.budget
        title = await self._title(event)
        retries: list[PushRetry] = []
        wait = must_wait(event, now=self._now(), grace=self._limits.grace)
        looking = 0
        async for tokens, connected in self._waiting_tokens(event, wait=wait):
            looking += connected
            for start in range(0, len(tokens), self._limits.threads):
                if asyncio.get_running_loop().time() > deadline:
                    raise PushRetry("the job's time was up before its last push")
                some = tokens[start : start + self._limits.threads]
                sending = (self._send_one(event, token, title, sender) for token in some)
                for ending in await asyncio.gather(*sending, return_exceptions=True):
                    if isinstance(ending, PushRetry):
                        retries.append(ending)
                    elif ending is not None:
                        raise ending
        if retries:
            asked = [retry.after for retry in retries if retry.after is not None]
            raise PushRetry(f"{len(retries)} pushes: {retries[0]}", after=max(asked, default=None))
        if looking:
            left = event.at + self._limits.grace - self._now()
            raise PushWait(f"{looking} connected and without it so far", after=max(0.0, left.total_seconds()))

    async def _waiting_tokens(self, event: Event, *, wait: bool) -> AsyncIterator[tuple[list[PushToken], int]]:
        """Tokens that need the event, a page of members at a time; and how many look connected and are waited for."""
        after = ""
        while members := await self._stores.chats.members(event.chat, after=after, limit=PAGE):
            after = members[-1].user
            users = recipients(event, members, now=self._now())
            out = await self._stores.admin.kept_out(users)  # who is suspended hears of nothing
            users = [user for user in users if user not in out]
            online = await self._presence.online(users) if wait else set()
            users = [user for user in users if user not in online]
            of_users = await self._stores.push_tokens.of_users(users)
            tokens = [token for user in users for token in of_users.get(user, [])]
            sent = await self._progress.sent(event.id, [token.token for token in tokens])
            yield [token for token in tokens if token.token not in sent], len(online)

    async def _send_one(self, event: Event, token: PushToken, title: str, sender: PushSender) -> None:
        """One push; `PushRetry` when it has to be tried again."""
        push = compose(event, token, title=title)
        loop = asyncio.get_running_loop()
        outcome = "sent"
        try:
            with metrics.SEND_SECONDS.time():
                await loop.run_in_executor(self._executor, sender.send, push)
        except PushRetry:
            metrics.PUSHES.labels("retry").inc()
            raise
        except PushTokenDead:
            outcome = "dead"
            await self._stores.push_tokens.drop(token.token)
        except PushRejected as error:
            outcome = "rejected"
            await self._stores.dead_letters.add(self._letter(event, str(error), tries=1, token=token))
        await self._progress.add_sent(event.id, token.token)
        metrics.PUSHES.labels(outcome).inc()
        _log.info("push." + outcome, message_id=event.id, chat=event.chat, user=token.user, platform=token.platform)

    async def _title(self, event: Event) -> str:
        """The chat's title, else the name of who sent it."""
        chat = await self._stores.chats.get(event.chat)
        if chat is not None and chat.title:
            return chat.title
        return await self._name(event.sender)

    async def _name(self, sender: str) -> str:
        if is_device(sender):
            device = await self._stores.devices.get(sender)
            return device.name if device is not None and device.name else sender
        user = await self._stores.users.get(sender)
        return user.display_name if user is not None and user.display_name else sender
