"""Handing pushes to their provider, and keeping how each of them ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from adapters.stores import Stores
from chat.ports import PushSender, RateLimiter
from chat.pushes import Pushed, PushProgress, PushRejected, PushRetry, PushTokenDead, of_user
from workers import metrics
from workers.push.notification import compose
from workers.push.parking import Parking, letter_id
from workers.push.retry import pause
from workers.push.work import Ending, Errand

CHUNK = 64
"""Pushes between two notes of progress: what a kill in the middle may send twice, and what is taken from the quota at once."""

QUOTA = "push"
"""The bucket of all workers together."""

_BUSY = timedelta(seconds=1)
"""After which a token is looked at again that another process is sending to."""

_MILLISECOND = timedelta(milliseconds=1)

_log = structlog.get_logger("push")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and how often.

    Attributes:
        rate: pushes per second of all workers together.
        tries: in a row, for one token; then the push is parked.
        longest_pause: seconds between tries, unless the provider asks for more.
        lease: seconds for which a token is one process's own.
    """

    rate: float
    tries: int
    longest_pause: float
    lease: float


class Sending:
    """Makes pushes.

    Nobody sends to a token for which the provider has named a later time: that is stored with the token, not in Valkey, which may be lost,
    and a token belongs to one process while it is being sent to, so that none has just missed the news.

    Args:
        executor: where the sender's blocking calls run.
        threads: how many of them at once.
        now: UTC.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        progress: PushProgress,
        sender: PushSender,
        quota: RateLimiter,
        parking: Parking,
        executor: Executor,
        threads: int,
        pace: Pace,
        now: Callable[[], datetime],
    ) -> None:
        self._stores = stores
        self._progress = progress
        self._sender = sender
        self._quota = quota
        self._parking = parking
        self._executor = executor
        self._turns = asyncio.Semaphore(threads)
        self._pace = pace
        self._now = now

    async def send(self, errands: Sequence[Errand], *, deadline: float) -> None:
        """Make pushes; what is not made now is noted as `later` in its work.

        Args:
            deadline: of the loop's clock; nothing is begun after it.

        Raises:
            Unavailable: Mongo or Valkey does not answer; what was sent before is noted.
        """
        waiting = list(errands)
        while waiting:
            if asyncio.get_running_loop().time() > deadline:
                return _postpone(waiting, self._now())
            some, rest = _chunk(waiting)
            wait = await self._quota.take(QUOTA, rate=self._pace.rate, burst=self._burst, cost=len(some))
            if wait > 0:
                metrics.QUOTA_WAITS.inc()
                return _postpone(waiting, self._now() + timedelta(seconds=wait))
            await self._send(some, deadline)
            waiting = rest
        return None

    @property
    def _burst(self) -> float:
        return max(self._pace.rate, float(CHUNK))

    async def _send(self, errands: Sequence[Errand], deadline: float) -> None:
        leases = await self._progress.acquire([errand.key[1] for errand in errands], seconds=self._pace.lease)
        ours = dict(leases.ours)
        try:
            _postpone([errand for errand in errands if errand.key[1] in leases.busy], self._now() + _BUSY)
            ready = await self._ready([errand for errand in errands if errand.key[1] in ours])
            badges = await self._badges(ready)
            turns = (self._turn(errand, badges[errand.token.user], deadline) for errand in ready)
            found = await asyncio.gather(*turns, return_exceptions=True)
            failed = [(errand, one) for errand, one in zip(ready, found, strict=True) if isinstance(one, BaseException)]
            for errand, _ in failed:
                del ours[
                    errand.key[1]
                ]  # what the provider said could not be stored: nobody sends there while the lease lasts
            await self._progress.note(_notes(zip(ready, found, strict=True)))
        finally:
            await self._progress.release(ours)
        for _, error in failed:
            raise error

    async def _ready(self, errands: Sequence[Errand]) -> list[Errand]:
        """Those that were not given up before, and whose token has not been told to wait since it was read."""
        held, parked = await asyncio.gather(
            self._stores.push_tokens.held([errand.token.token for errand in errands]),
            self._parking.parked([(errand.marked.event, errand.token) for errand in errands]),
        )
        ready = []
        for errand in errands:
            if letter_id(errand.marked.event, errand.token) in parked:
                continue
            until = held.get(errand.token.token)
            if until is not None and until > self._now():
                errand.work.later(errand.marked.event, until, Ending.RETRY)
            else:
                ready.append(errand)
        return ready

    async def _badges(self, errands: Sequence[Errand]) -> dict[str, int]:
        heads = {errand.work.chat: errand.work.events[0].event.n for errand in errands}
        return await self._stores.chats.unread(list({errand.token.user for errand in errands}), heads=heads)

    async def _turn(self, errand: Errand, badge: int, deadline: float) -> Pushed | None:
        """One push, when a thread is free; None when it was not sent."""
        async with self._turns:
            if asyncio.get_running_loop().time() > deadline:
                _postpone([errand], self._now())
                return None
            return await self._one(errand, badge)

    async def _one(self, errand: Errand, badge: int) -> Pushed | None:
        event, token = errand.marked.event, errand.token
        try:
            push = compose(event, token, errand.work.words[event.sender], errand.shows, badge=badge)
            with metrics.SEND_SECONDS.time():
                await asyncio.get_running_loop().run_in_executor(self._executor, self._sender.send, push)
        except PushTokenDead:
            await self._stores.push_tokens.drop(token.token)
            self._ended(errand, "dead")
            return None
        except PushRejected as error:
            await self._park(errand, str(error), tries=token.failures + 1)
            return None
        except PushRetry as retry:
            await self._again(errand, str(retry), asked=retry.after)
            return None
        except Exception as error:  # noqa: BLE001 - a poison push is tried like the others, then parked with its reason (P9)
            _log.exception("push.failed", message_id=event.id)
            await self._again(errand, f"a fault of ours: {type(error).__name__}", asked=None)
            return None
        if token.failures:
            await self._stores.push_tokens.hold(token.token, until=None, failures=0)
        errand.work.woken = True
        self._ended(errand, "sent")
        return Pushed(event.seq, self._now())

    async def _again(self, errand: Errand, reason: str, *, asked: float | None) -> None:
        """Hold the token for the pause, or give this push up."""
        tries = errand.token.failures + 1
        seconds = pause(tries, asked=asked, longest=self._pace.longest_pause)
        until = self._now() + timedelta(seconds=seconds) + _MILLISECOND  # what is stored is cut to milliseconds
        given_up = tries >= self._pace.tries
        if not given_up or asked is not None:
            await self._stores.push_tokens.hold(errand.token.token, until=until, failures=0 if given_up else tries)
        else:
            await self._stores.push_tokens.hold(errand.token.token, until=None, failures=0)
        if given_up:
            await self._park(errand, reason, tries=tries)
            return
        errand.work.later(errand.marked.event, until, Ending.RETRY)
        metrics.PUSHES.labels("retry").inc()
        _log.warning(
            "push.retry", message_id=errand.marked.event.id, reason=reason, tries=tries, after=round(seconds, 1)
        )

    async def _park(self, errand: Errand, reason: str, *, tries: int) -> None:
        await self._parking.park(errand.marked.event, reason, tries=tries, token=errand.token)
        self._ended(errand, "parked")

    @staticmethod
    def _ended(errand: Errand, outcome: str) -> None:
        metrics.PUSHES.labels(outcome).inc()
        event, token = errand.marked.event, errand.token
        _log.info("push." + outcome, message_id=event.id, chat=event.chat, user=token.user, platform=token.platform)


def _chunk(errands: Sequence[Errand]) -> tuple[list[Errand], list[Errand]]:
    """The next ones, each token once: who is told to wait is told before they are sent the next; and the others."""
    some: dict[str, Errand] = {}
    rest = []
    for errand in errands:
        if len(some) < CHUNK and errand.token.token not in some:
            some[errand.token.token] = errand
        else:
            rest.append(errand)
    return list(some.values()), rest


def _postpone(errands: Iterable[Errand], at: datetime) -> None:
    for errand in errands:
        errand.work.later(errand.marked.event, at, Ending.WAIT)


def _notes(found: Iterable[tuple[Errand, Pushed | BaseException | None]]) -> dict[tuple[str, str], Pushed]:
    """What is remembered of tokens that were sent something, and of users who have it on a screen now."""
    notes: dict[tuple[str, str], Pushed] = {}
    for errand, pushed in found:
        if isinstance(pushed, Pushed):
            notes[errand.key] = notes[errand.work.chat, of_user(errand.token.user)] = pushed
    return notes
