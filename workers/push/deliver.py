"""Getting the pushes of marked events to an end.

An event has a push mark until each of its pushes has ended: sent, a dead token, suppressed by a rule, or parked. Work is done chat by chat, so
that each member is pushed one message, the newest, of all that wait: a job takes a lease on the chat, remembers each token that is done, so
that a retry sends to the others only, and takes the marks off at the end. What is killed in between is found by the sweeper.

After a push a chat rests for a moment (`Limits.rest`). What is stored meanwhile is pushed together, however much it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from adapters.stores import Stores
from chat.errors import Unavailable
from chat.ids import is_direct_chat
from chat.ports import Presence
from chat.pushes import Marked, PushProgress, Rule, of_token, of_user
from workers import metrics
from workers.push.audience import Audience, Pair
from workers.push.decide import Choice, Recipient, choose, grace_ends, pointless
from workers.push.parking import Parking
from workers.push.retry import pause
from workers.push.sending import Sending
from workers.push.work import ChatWork, Comeback, Ending, Errand, Outcome, is_done

PAGE = 500
"""Members at a time: a large chat is worked through in pages, never held whole."""

MAX_TOGETHER = 200
"""Marked events that one job looks at beside those that it was given: the newest of their chats. The others have jobs of their own."""

_OLD = timedelta(seconds=15)
"""From this age on the sweeper may look at an event, and is told that somebody is at it."""

_log = structlog.get_logger("push")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a push job. Seconds.

    Attributes:
        lease: longer than a job can take, because its end must not come while the job still sends.
        budget: after it a job begins nothing more and comes back for the rest.
        tries: after so many faults of ours a chat's events are parked.
        longest_pause: between such tries.
        max_age: no push for older marks.
        grace: how long somebody who looks connected has to acknowledge an event before they are pushed all the same.
        rest: how long a chat rests after a push.
    """

    lease: float
    budget: float
    tries: int
    longest_pause: float
    max_age: timedelta
    grace: timedelta
    rest: float


class PushDelivery:
    """Pushes marked events.

    Args:
        sending: None: pushes are off, and events lose their mark.
        now: UTC.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        presence: Presence,
        progress: PushProgress,
        audience: Audience,
        sending: Sending | None,
        parking: Parking,
        limits: Limits,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = stores
        self._presence = presence
        self._progress = progress
        self._audience = audience
        self._sending = sending
        self._parking = parking
        self._limits = limits
        self._now = now

    async def push(self, message_ids: Sequence[str], *, tries: int = 1) -> Outcome:
        """Push events to everybody who waits for them, and with them what else waits in their chats.

        Args:
            message_ids: of any chats.
            tries: the number of this try, from 1.

        Raises:
            Unavailable: Mongo or Valkey does not answer.
        """
        outcome = Outcome()
        marked = await self._stores.messages.push_claims(message_ids)
        outcome.endings[Ending.GONE] += len(set(message_ids)) - len(marked)
        works = _by_chat(marked)
        leases = await self._progress.acquire(list(works), seconds=self._limits.lease)
        for chat, wait in leases.busy.items():
            after = wait or pause(tries, longest=self._limits.lease)
            self._come_back(outcome, works.pop(chat), after, Ending.BUSY, tries=0 if wait else tries)
        try:
            await self._claim(works)
            await self._push_chats(works, leases.ours, tries, outcome)
        finally:
            # Those that are through have been given back. After a fault the rest is free for whoever tries again.
            with suppress(Unavailable):
                await self._progress.release(leases.ours)
        return outcome

    async def _claim(self, works: Mapping[str, ChatWork]) -> None:
        """Add what else waits in these chats, and tell the sweeper that somebody is at what is old enough for it."""
        oldest = {chat: work.events[-1].event.seq for chat, work in works.items()}
        for chat, newer in _by_chat(await self._stores.messages.push_newer(oldest, limit=MAX_TOGETHER)).items():
            works[chat].add(newer.events)
        now = self._now()
        old = [m.event.id for work in works.values() for m in work.events if now - m.since > _OLD]
        await self._progress.postpone(old, seconds=self._limits.lease)

    async def _push_chats(
        self, works: Mapping[str, ChatWork], leases: Mapping[str, str], tries: int, outcome: Outcome
    ) -> None:
        """All of them together; if something unexpected happens, one by one, so that it stays with its own chat (P9)."""
        try:
            await self._push_together(list(works.values()), outcome)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            if len(works) > 1:
                for chat, work in works.items():
                    alone = ChatWork(chat, work.events)
                    await self._push_chats({chat: alone}, {chat: leases[chat]}, tries, outcome)
                return
            _log.exception("push.failed", chats=list(works))
            for work in works.values():
                await self._failed(work, error, tries, outcome)
            return
        await self._finish(list(works.values()), leases, outcome)

    async def _push_together(self, works: Sequence[ChatWork], outcome: Outcome) -> None:
        await self._weed(works, outcome)
        works = [work for work in works if work.events]
        if self._sending is None or not works:
            return
        await self._audience.name(works)
        deadline = asyncio.get_running_loop().time() + self._limits.budget
        async for pairs in self._pairs(works):
            await self._sending.send(await self._errands(pairs), deadline=deadline)

    async def _weed(self, works: Sequence[ChatWork], outcome: Outcome) -> None:
        """Leave only what somebody may be pushed for; what nobody is loses its mark."""
        now, done = self._now(), []
        for work, marked in [(one, marked) for one in works for marked in one.events]:
            event = marked.event
            rule = Rule.OFF if self._sending is None else pointless(event, now=now)
            if rule is not None:
                metrics.SUPPRESSED.labels(rule.value).inc()
                outcome.endings[Ending.SKIPPED] += 1
            elif now - marked.since > self._limits.max_age:
                await self._parking.park(event, "it was still not pushed when it was too old to be", tries=0)
                outcome.endings[Ending.PARKED] += 1
            else:
                continue
            done.append(event.id)
            work.drop(event)
        await self._stores.messages.push_done(*done)

    async def _pairs(self, works: Sequence[ChatWork]) -> AsyncIterator[list[Pair]]:
        """Members with their chat's work: those of all chats between two at once, then each group page by page."""
        direct = {work.chat: work for work in works if is_direct_chat(work.chat)}
        if direct:
            found = await self._stores.chats.members_by_chat(list(direct))
            yield [(direct[chat], member) for chat, members in found.items() for member in members]
        for work in works:
            after = ""
            while work.chat not in direct:
                members = await self._stores.chats.members(work.chat, after=after, limit=PAGE)
                if not members:
                    break
                after = members[-1].user
                yield [(work, member) for member in members]

    async def _errands(self, pairs: Iterable[Pair]) -> list[Errand]:
        """The pushes to be made for these members; what their chats' works have to know is noted there."""
        now = self._now()
        choices = [
            (work, recipient, choose(work.events, recipient, now=now))
            for work, recipient in await self._audience.recipients(pairs)
        ]
        known = await self._progress.pushed(_names(choices))
        online = await self._online([(r, c.push) for _, r, c in choices if c.push is not None], now)
        errands: list[Errand] = []
        for work, recipient, choice in choices:
            user, marked = recipient.member.user, choice.push
            shown = known.get((work.chat, of_user(user)))
            # What they were pushed and have acknowledged since was sent, not suppressed.
            work.suppress(
                [(event, rule) for event, rule in choice.suppressed if shown is None or shown.seq < event.seq]
            )
            if marked is None:
                continue
            needing = [t for t in recipient.tokens if not is_done(marked, known.get((work.chat, of_token(t.token))))]
            ends = grace_ends(marked.event, self._limits.grace)
            if needing and user in online and now < ends:
                work.later(marked.event, ends, Ending.WAIT)
                continue
            errands += [Errand(work, marked, token, recipient.preferences.shows) for token in needing]
        return errands

    async def _online(self, chosen: Sequence[tuple[Recipient, Marked]], now: datetime) -> set[str]:
        """Those of the users who look connected, as far as that matters: their message is younger than the grace."""
        young = [r.member.user for r, marked in chosen if now < grace_ends(marked.event, self._limits.grace)]
        return await self._presence.online(young) if young else set()

    async def _finish(self, works: Sequence[ChatWork], leases: Mapping[str, str], outcome: Outcome) -> None:
        """Take the marks off what is done with, let chats rest that were pushed, and see what comes back when."""
        done: list[str] = []
        for work in works:
            left = {marked.event.id for marked in work.left()}
            ended = [marked.event.id for marked in work.events if marked.event.id not in left]
            done += ended
            outcome.endings[Ending.DONE] += len(ended)
        await self._stores.messages.push_done(*done)
        woken = {work.chat: leases[work.chat] for work in works if work.woken}
        await self._progress.release(woken, hold=self._limits.rest)
        for work in works:
            for rule, count in work.suppressed().items():
                metrics.SUPPRESSED.labels(rule.value).inc(count)
            if work.left():
                at, ending = work.due()
                after = max((at - self._now()).total_seconds(), self._limits.rest if work.woken else 0.0)
                self._come_back(outcome, work, after, ending)
        await self._postpone(outcome.comebacks)

    def _come_back(self, outcome: Outcome, work: ChatWork, after: float, ending: Ending, *, tries: int = 0) -> None:
        ids = tuple(marked.event.id for marked in work.left() or work.events)
        outcome.endings[ending] += len(ids)
        outcome.comebacks.append(Comeback(ids, max(0.0, after), tries))

    async def _postpone(self, comebacks: Iterable[Comeback]) -> None:
        """The sweeper leaves what comes back alone until then; a job that is lost meanwhile is found soon after."""
        for comeback in comebacks:
            await self._progress.postpone(comeback.message_ids, seconds=comeback.after + self._limits.lease / 2)

    async def _failed(self, work: ChatWork, error: Exception, tries: int, outcome: Outcome) -> None:
        """A fault of ours: try again, or park what is there."""
        reason = f"a fault of ours: {type(error).__name__}"
        if tries < self._limits.tries:
            after = pause(tries, longest=self._limits.longest_pause)
            return self._come_back(outcome, ChatWork(work.chat, work.events), after, Ending.RETRY, tries=tries)
        for marked in work.events:
            await self._parking.park(marked.event, reason, tries=tries)
        await self._stores.messages.push_done(*(marked.event.id for marked in work.events))
        outcome.endings[Ending.PARKED] += len(work.events)
        return None


def _by_chat(marked: Iterable[Marked]) -> dict[str, ChatWork]:
    events: dict[str, list[Marked]] = {}
    for one in marked:
        events.setdefault(one.event.chat, []).append(one)
    works = {chat: ChatWork(chat, []) for chat in events}
    for chat, work in works.items():
        work.add(events[chat])
    return works


def _names(choices: Iterable[tuple[ChatWork, Recipient, Choice]]) -> dict[str, list[str]]:
    """Of whom progress is wanted: of those who are pushed something, and of those who have it."""
    names: dict[str, list[str]] = {}
    for work, recipient, choice in choices:
        if choice.push is not None or any(rule is Rule.DELIVERED for _, rule in choice.suppressed):
            of_chat = names.setdefault(work.chat, [])
            of_chat.append(of_user(recipient.member.user))
            of_chat += [of_token(token.token) for token in recipient.tokens]
    return names
