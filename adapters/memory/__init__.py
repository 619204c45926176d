"""In-memory twins of the ports, with the same semantics; `tests/contract/` runs the same tests on both.

Usage::

    stores = memory_stores()
"""

from __future__ import annotations

from adapters.memory.chats import MemoryChats
from adapters.memory.dead_letters import MemoryDeadLetters
from adapters.memory.grants import MemoryGrants
from adapters.memory.messages import MemoryMessages
from adapters.memory.notices import MemoryNotices
from adapters.memory.push_tokens import MemoryPushTokens
from adapters.memory.receipts import MemoryReceipts
from adapters.memory.second_factors import MemorySecondFactors
from adapters.memory.service_accounts import MemoryServiceAccounts
from adapters.memory.users import MemoryDevices, MemoryUsers
from adapters.stores import Stores

__all__ = ["Stores", "memory_stores"]


def memory_stores() -> Stores:
    """A bundle of empty stores that live as long as the process."""
    notices = MemoryNotices()
    return Stores(
        messages=MemoryMessages(),
        chats=MemoryChats(notices),
        notices=notices,
        receipts=MemoryReceipts(),
        users=MemoryUsers(),
        devices=MemoryDevices(),
        grants=MemoryGrants(),
        push_tokens=MemoryPushTokens(),
        dead_letters=MemoryDeadLetters(),
        service_accounts=MemoryServiceAccounts(),
        second_factors=MemorySecondFactors(),
        healthy=_healthy,
        close=_close,
    )


async def _healthy() -> bool:
    return True


async def _close() -> None:
    """There is nothing to end."""
