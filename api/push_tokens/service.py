"""Push tokens: where FCM, or a browser's own push service, reaches the installations of a user."""

from __future__ import annotations

from dataclasses import dataclass

from api.clock import now
from chat.models import Principal, PushToken, Subscription
from chat.ports import PushTokenStore


@dataclass(frozen=True, slots=True)
class PushTokenService:
    """The decisions of `/v1/push-tokens`."""

    tokens: PushTokenStore
    max_tokens: int

    async def put(
        self,
        token: str,
        platform: str,
        *,
        caller: Principal,
        data_only: bool = False,
        subscription: Subscription | None = None,
    ) -> None:
        """The installation is the caller's now, whoever used it before: a phone that changes hands changes its token's user."""
        mine = await self._mine(caller)
        others = sorted((t for t in mine if t.token != token), key=lambda t: t.updated_at)
        for oldest in others[: len(others) - self.max_tokens + 1]:
            await self.tokens.drop(oldest.token)
        await self.tokens.put(
            PushToken(
                token=token,
                user=caller.id,
                platform=platform,
                updated_at=now(),
                data_only=data_only,
                subscription=subscription,
            )
        )

    async def drop(self, token: str, *, caller: Principal) -> None:
        """Forget a token of the caller's; one of somebody else stays, and the answer does not tell."""
        if any(known.token == token for known in await self._mine(caller)):
            await self.tokens.drop(token)

    async def _mine(self, caller: Principal) -> list[PushToken]:
        return (await self.tokens.of_users([caller.id])).get(caller.id, [])
