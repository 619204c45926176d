"""Taking notifications back: a user has seen a chat on one device, and the others need not show it any more.

What is on a screen is known from Valkey and may be forgotten; then it stays there until the user looks at it. So nothing here is tried twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta

import structlog

from adapters.stores import Stores
from chat.models import PushToken
from chat.ports import PushSender
from chat.pushes import PushError, PushProgress, PushRetry, PushTokenDead, of_token, of_user
from workers import metrics
from workers.push.notification import withdrawal
from workers.push.retry import pause

_log = structlog.get_logger("push")


class Withdrawals:
    """Takes back what was pushed.

    Args:
        sender: None: pushes are off, and nothing is on any screen.
        executor: where the sender's blocking calls run.
        lease: seconds for which a token is one process's own.
        longest_pause: seconds, unless the provider asks for more.
        now: UTC.
    """

    def __init__(
        self,
        *,
        stores: Stores,
        progress: PushProgress,
        sender: PushSender | None,
        executor: Executor,
        lease: float,
        longest_pause: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = stores
        self._progress = progress
        self._sender = sender
        self._executor = executor
        self._lease = lease
        self._longest_pause = longest_pause
        self._now = now

    async def withdraw(self, chat: str, user: str) -> int:
        """Take a chat's notification from a user's screens, if they have seen what it is about; from how many it was.

        Raises:
            Unavailable: Mongo or Valkey does not answer.
        """
        member = await self._stores.chats.member(chat, user)
        shown = (await self._progress.pushed({chat: [of_user(user)]})).get((chat, of_user(user)))
        if self._sender is None or member is None or shown is None or member.seen_seq < shown.seq:
            return 0
        tokens = (await self._stores.push_tokens.of_users([user])).get(user, [])
        known = await self._progress.pushed({chat: [of_token(token.token) for token in tokens]})
        have = [token for token in tokens if (chat, of_token(token.token)) in known]
        # Before it is sent: a second job for the same thing finds nothing to do.
        await self._progress.forget(chat, [of_user(user)])
        return await self._send(chat, member.seen_seq, have, self._sender)

    async def _send(self, chat: str, seq: int, tokens: Sequence[PushToken], sender: PushSender) -> int:
        leases = await self._progress.acquire([of_token(token.token) for token in tokens], seconds=self._lease)
        try:
            held = await self._stores.push_tokens.held([token.token for token in tokens])
            free = [
                t for t in tokens if of_token(t.token) in leases.ours and held.get(t.token, self._now()) <= self._now()
            ]
            badges = await self._stores.chats.unread([token.user for token in free], heads={})
            ended = await asyncio.gather(
                *(self._one(chat, seq, token, badges[token.user], sender) for token in free), return_exceptions=True
            )
        finally:
            await self._progress.release(leases.ours)
        for one in ended:
            if isinstance(one, BaseException):
                raise one
        return sum(one for one in ended if one is True)

    async def _one(self, chat: str, seq: int, token: PushToken, badge: int, sender: PushSender) -> bool:
        push = withdrawal(chat, seq, token, badge=badge)
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, sender.send, push)
        except PushTokenDead:
            await self._stores.push_tokens.drop(token.token)
        except PushRetry as retry:
            seconds = pause(1, asked=retry.after, longest=self._longest_pause)
            until = self._now() + timedelta(seconds=seconds, milliseconds=1)
            await self._stores.push_tokens.hold(token.token, until=until, failures=token.failures)
        except PushError as error:
            _log.warning("push.not_withdrawn", chat=chat, user=token.user, reason=str(error))
        else:
            metrics.WITHDRAWN.labels("sent").inc()
            return True
        metrics.WITHDRAWN.labels("failed").inc()
        return False
