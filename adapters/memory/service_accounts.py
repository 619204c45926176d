"""`ServiceAccountStore` in memory."""

from __future__ import annotations

from adapters.memory.records import copied
from chat.models import ServiceAccount


class MemoryServiceAccounts:
    """Service accounts by id."""

    def __init__(self) -> None:
        self._accounts: dict[str, ServiceAccount] = {}

    async def add(self, account: ServiceAccount) -> bool:
        """See `ServiceAccountStore.add`."""
        if account.id in self._accounts:
            return False
        self._accounts[account.id] = copied(account)
        return True

    async def get(self, account: str) -> ServiceAccount | None:
        """See `ServiceAccountStore.get`."""
        return copied(self._accounts[account]) if account in self._accounts else None

    async def page(self, *, after: str = "", limit: int = 50) -> list[ServiceAccount]:
        """See `ServiceAccountStore.page`."""
        return [copied(self._accounts[id_]) for id_ in sorted(self._accounts) if id_ > after][:limit]

    async def set_secret(self, account: str, secret_hash: str) -> bool:
        """See `ServiceAccountStore.set_secret`."""
        if account not in self._accounts:
            return False
        self._accounts[account].secret_hash = secret_hash
        return True

    async def remove(self, account: str) -> bool:
        """See `ServiceAccountStore.remove`."""
        return self._accounts.pop(account, None) is not None
