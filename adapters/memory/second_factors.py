"""`SecondFactorStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
from chat.models import SecondFactor


class MemorySecondFactors:
    """Second factors by user."""

    def __init__(self) -> None:
        self._factors: dict[str, SecondFactor] = {}

    async def get(self, user: str) -> SecondFactor | None:
        """See `SecondFactorStore.get`."""
        return copied(self._factors[user]) if user in self._factors else None

    async def begin(self, factor: SecondFactor) -> bool:
        """See `SecondFactorStore.begin`."""
        there = self._factors.get(factor.user)
        if there is not None and there.confirmed:
            return False
        self._factors[factor.user] = copied(factor)
        return True

    async def confirm(self, user: str, *, step: int, recovery: Sequence[str]) -> bool:
        """See `SecondFactorStore.confirm`."""
        factor = self._factors.get(user)
        if factor is None or factor.confirmed:
            return False
        factor.confirmed, factor.step, factor.recovery = True, step, list(recovery)
        return True

    async def use_step(self, user: str, step: int) -> bool:
        """See `SecondFactorStore.use_step`."""
        factor = self._factors.get(user)
        if factor is None or not factor.confirmed or factor.step >= step:
            return False
        factor.step = step
        return True

    async def use_recovery(self, user: str, code_hash: str) -> bool:
        """See `SecondFactorStore.use_recovery`."""
        factor = self._factors.get(user)
        if factor is None or not factor.confirmed or code_hash not in factor.recovery:
            return False
        factor.recovery.remove(code_hash)
        return True

    async def remove(self, user: str) -> bool:
        """See `SecondFactorStore.remove`."""
        return self._factors.pop(user, None) is not None
